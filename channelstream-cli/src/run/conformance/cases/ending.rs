//! Cases of listeners that end, or that a server sends away.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::args::ListenTransport;
use crate::run::conformance::door::Visit;
use crate::run::conformance::events::{cursor, message};
use crate::run::conformance::line::Line;
use crate::run::conformance::stage::{Application, Stage};
use crate::run::conformance::verdict::{Deviation, Played};

/// The code of a close in order, and that of a server that leaves.
const NORMAL: u16 = 1000;
const GOING_AWAY: u16 = 1001;

/// How often servers leave, or do not know a connection, one after the other.
const TIMES: u32 = 7;
/// The least that this takes, since all but the first time there is a pause that grows.
const LEAST: Duration = Duration::from_millis(800);

/// Sends the listener to the next server.
fn leave(line: Line) -> Played {
    let reason = "the server is shutting down";
    match line.transport {
        ListenTransport::Sse => line.end(&format!(": {reason}\n\nretry: 300\n\n")),
        _ => line.close(GOING_AWAY, reason),
    }
}

/// Fails if what took so long came without pauses.
fn has_paused(begun: Instant, what: &str) -> Played {
    let took = begun.elapsed();
    if took < LEAST {
        let expected = format!("pauses that grow, so that {TIMES} {what} take {LEAST:?} or more");
        return Err(Deviation::new(expected, format!("{took:.1?}")));
    }
    Ok(())
}

pub(super) fn drain_circle(stage: &mut Stage) -> Played {
    let mut line = stage.listen()?;
    stage.deliver(&mut line, &[message(2)])?;
    let begun = Instant::now();
    for _ in 0..TIMES {
        leave(line)?;
        line = stage.listener(&cursor(2))?;
    }
    has_paused(begun, "departures")?;
    stage.deliver(&mut line, &[message(3).caught_up()])?;
    stage.finish(line)
}

pub(super) fn renewal_circle(stage: &mut Stage) -> Played {
    stage.order_listening(Some(&cursor(2)))?;
    let begun = Instant::now();
    for _ in 0..TIMES {
        let visit = stage.listening(&cursor(2))?;
        unknown(stage, visit, &cursor(2))?;
    }
    let line = stage.listener(&cursor(2))?;
    has_paused(begun, "connections")?;
    stage.finish(line)
}

pub(super) fn drain(stage: &mut Stage) -> Played {
    let mut line = stage.listen()?;
    stage.deliver(&mut line, &[message(2)])?;
    leave(line)?;
    let mut line = stage.listener(&cursor(2))?;
    stage.deliver(&mut line, &[message(3).caught_up()])?;
    stage.finish(line)
}

/// Answers a request to listen as for a connection that the server does not know.
fn unknown(stage: &mut Stage, visit: Visit, since: &str) -> Played {
    let json = json!({ "message": "Unauthorized", "code": "401 Unauthorized" });
    match stage.transport {
        ListenTransport::Websocket => stage.open(visit, since)?.close(NORMAL, ""),
        ListenTransport::Sse => Ok(visit.answer_empty("204 No Content")?),
        ListenTransport::Poll => Ok(visit.answer("401 Unauthorized", "", &json)?),
    }
}

pub(super) fn unknown_connection(stage: &mut Stage) -> Played {
    stage.application = Application::Absent;
    stage.order_listening(None)?;
    let visit = stage.listening("")?;
    unknown(stage, visit, "")?;
    stage.told_alone(&json!({ "event": "ended", "reason": "unknown_connection" }))?;
    stage.stop()?;
    stage.is_left_alone()
}

pub(super) fn renewal(stage: &mut Stage) -> Played {
    let mut line = stage.listen()?;
    let first = line.conn_id.clone();
    stage.deliver(&mut line, &[message(2)])?;
    if line.transport == ListenTransport::Poll {
        stage.poll(&mut line)?;
    }
    line.cut();
    let visit = stage.listening(&cursor(2))?;
    unknown(stage, visit, &cursor(2))?;
    let visit = stage.listening(&cursor(2))?;
    if visit.parameter("conn_id") == Some(&*first) {
        return Err(Deviation::new("another connection, of the application", visit.line()));
    }
    let mut line = stage.open(visit, &cursor(2))?;
    // A listener without a cursor could not tell whether something is missing. This one knows.
    stage.deliver(&mut line, &[message(3).caught_up()])?;
    stage.finish(line)
}

pub(super) fn disconnected(stage: &mut Stage) -> Played {
    let mut line = stage.listen()?;
    stage.deliver(&mut line, &[message(2)])?;
    let conn_id = line.conn_id.clone();
    match line.transport {
        ListenTransport::Sse => line.end("")?,
        _ => line.close(NORMAL, "banned for an hour")?,
    }
    over(stage, &conn_id, "disconnected")
}

pub(super) fn superseded(stage: &mut Stage) -> Played {
    let mut line = stage.listen()?;
    stage.deliver(&mut line, &[message(2)])?;
    let conn_id = line.conn_id.clone();
    let reason = "superseded by a newer listener";
    match line.transport {
        ListenTransport::Sse => line.end(&format!(": {reason}\n\nretry: 86400000\n\n"))?,
        _ => line.close(NORMAL, reason)?,
    }
    over(stage, &conn_id, "superseded")
}

/// Waits until a listener has ended for this reason, or listens with another connection.
fn over(stage: &mut Stage, conn_id: &str, reason: &str) -> Played {
    let expected = json!({ "event": "ended", "reason": reason });
    let mut next = stage.told_or_visit(&expected)?;
    if let Some(visit) = next.take_if(|visit| visit.path == "/sse" && reason == "disconnected") {
        // The end of an event stream does not say whose end it is: the next answer does.
        visit.answer_empty("204 No Content")?;
        next = stage.told_or_visit(&json!({ "event": "ended" }))?;
    }
    let Some(visit) = next else {
        stage.stop()?;
        return stage.is_left_alone();
    };
    if visit.parameter("conn_id") == Some(conn_id) {
        return Err(Deviation::new(format!("{expected}, or another connection"), visit.line()));
    }
    stage.check_listening(&visit, &cursor(2))?;
    let line = stage.open(visit, &cursor(2))?;
    stage.finish(line)
}
