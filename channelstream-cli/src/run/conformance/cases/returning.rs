//! Cases of listeners that come back.

use std::time::Duration;

use serde_json::json;

use crate::args::ListenTransport;
use crate::run::conformance::events::{self, CHANNEL, append, cursor, message, open, uuid};
use crate::run::conformance::line::Line;
use crate::run::conformance::stage::Stage;
use crate::run::conformance::verdict::{Deviation, Played};

/// How many requests are refused one after the other.
const REFUSALS: usize = 6;
/// The least that the pauses between them add up to. Those of a client that takes its pauses of 0.1 s
/// and 1 s as the bounds of what grows add up to more, and those of one that does not grow to less.
const LEAST: Duration = Duration::from_secs(1);
/// What a server that is busy asks for.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// The silence after which a client that has such a setting gives a TCP connection up.
const SILENCE: f64 = 3.0;
/// The time between two heartbeats, and how many there are where they keep a listener.
const BEAT: Duration = Duration::from_millis(250);
const BEATS: u32 = 20;

pub(super) fn cut(stage: &mut Stage) -> Played {
    let mut line = stage.listen()?;
    stage.deliver(&mut line, &[message(2), message(3)])?;
    let cursor = cut_while_waiting(stage, line)?;
    let mut line = stage.listener(&cursor)?;
    stage.deliver(&mut line, &[message(4).caught_up(), message(5)])?;
    let cursor = cut_while_waiting(stage, line)?;
    let mut line = stage.listener(&cursor)?;
    stage.deliver(&mut line, &[message(6).caught_up()])?;
    stage.finish(line)
}

/// Cuts the transport while the client waits for more, and returns the cursor with which it returns.
fn cut_while_waiting(stage: &mut Stage, mut line: Line) -> Played<String> {
    if line.transport == ListenTransport::Poll {
        stage.poll(&mut line)?;
    }
    let cursor = line.cursor.clone();
    line.cut();
    Ok(cursor)
}

pub(super) fn cut_at_once(stage: &mut Stage) -> Played {
    // What was sent before the end arrives before it.
    let line = stage.listen()?;
    line.cut();
    let mut line = stage.listener(&cursor(1))?;
    stage.deliver(&mut line, &[message(2).caught_up()])?;
    stage.finish(line)
}

pub(super) fn cut_in_event(stage: &mut Stage) -> Played {
    let mut line = stage.listen()?;
    stage.deliver(&mut line, &[message(2)])?;
    // All but the last byte, of which an event stream would make an event.
    let mut bytes = line.bytes(&[message(3)]);
    let missing = if line.transport == ListenTransport::Sse { 3 } else { 1 };
    bytes.truncate(bytes.len() - missing);
    line.write(&bytes)?;
    line.cut();
    let mut line = stage.listener(&cursor(2))?;
    stage.deliver(&mut line, &[message(3).caught_up()])?;
    stage.finish(line)
}

pub(super) fn growing(stage: &mut Stage) -> Played {
    let mut line = stage.listen()?;
    stage.send(&mut line, &[open(2), append(3, 2, 0, "one")])?;
    stage.told(&open(2).told())?;
    stage.told(&json!({ "event": "appended", "uuid": uuid(2), "from": 0, "rev": 1 }))?;
    let cursor = cut_while_waiting(stage, line)?;
    let mut line = stage.listener(&cursor)?;
    // What was appended meanwhile comes as one.
    stage.send(&mut line, &[append(6, 2, 1, " two three").with("rev", 4).caught_up()])?;
    stage.told(&json!({
        "event": "appended", "uuid": uuid(2), "channel": CHANNEL, "from": 1, "rev": 4,
        "append": { "text": " two three" }, "catchup": true,
    }))?;
    // Or the message comes whole, and replaces what is known of it.
    let whole = events::with_payload(2, json!({ "text": "one two three!" }));
    let mut whole = whole.with("status", "done").with("rev", 6).caught_up();
    whole.seq = events::cursor(8);
    stage.deliver(&mut line, &[whole])?;
    stage.finish(line)
}

pub(super) fn backoff(stage: &mut Stage) -> Played {
    let mut line = stage.listen()?;
    stage.deliver(&mut line, &[message(2)])?;
    let cursor = cut_while_waiting(stage, line)?;
    let mut pauses = Vec::new();
    let mut answered = None;
    for _ in 0..REFUSALS {
        let visit = stage.listening(&cursor)?;
        pauses.extend(answered.map(|answered| visit.at.duration_since(answered)));
        answered = Some(visit.at);
        visit.answer("503 Service Unavailable", "", &json!({ "message": "later" }))?;
    }
    let visit = stage.listening(&cursor)?;
    pauses.extend(answered.map(|answered| visit.at.duration_since(answered)));
    let mut line = stage.open(visit, &cursor)?;
    stage.deliver(&mut line, &[message(3).caught_up()])?;
    let total: Duration = pauses.iter().sum();
    if total < LEAST {
        return Err(Deviation::new(
            format!("pauses that grow, {REFUSALS} of them {LEAST:?} or more"),
            format!("{total:.1?}: {pauses:.2?}"),
        ));
    }
    stage.finish(line)
}

pub(super) fn retry_after(stage: &mut Stage) -> Played {
    stage.longest_pause = 5.0;
    let mut line = stage.listen()?;
    stage.deliver(&mut line, &[message(2)])?;
    let cursor = cut_while_waiting(stage, line)?;
    let visit = stage.listening(&cursor)?;
    let asked = visit.at;
    let header = format!("Retry-After: {}\r\n", RETRY_AFTER.as_secs());
    visit.answer("503 Service Unavailable", &header, &json!({ "message": "later" }))?;
    let visit = stage.listening(&cursor)?;
    let pause = visit.at.duration_since(asked);
    if pause < RETRY_AFTER {
        return Err(Deviation::new(format!("a pause of {RETRY_AFTER:?}"), format!("{pause:.2?}")));
    }
    let mut line = stage.open(visit, &cursor)?;
    stage.deliver(&mut line, &[message(3).caught_up()])?;
    stage.finish(line)
}

pub(super) fn foreign(stage: &mut Stage) -> Played {
    let mut line = stage.listen()?;
    stage.deliver(&mut line, &[message(2)])?;
    let cursor = cut_while_waiting(stage, line)?;
    let page = "<html><title>Please sign in</title></html>";
    for status in ["200 OK", "403 Forbidden", "200 OK"] {
        stage.listening(&cursor)?.answer_as(status, "text/html", "", page)?;
    }
    let mut line = stage.listener(&cursor)?;
    stage.deliver(&mut line, &[message(3).caught_up()])?;
    stage.finish(line)
}

pub(super) fn redirect(stage: &mut Stage) -> Played {
    let elsewhere = stage.another_door()?;
    let mut line = stage.listen()?;
    stage.deliver(&mut line, &[message(2)])?;
    let cursor = cut_while_waiting(stage, line)?;
    let header = format!("Location: {}/elsewhere\r\n", elsewhere.url);
    stage.listening(&cursor)?.answer_as("307 Temporary Redirect", "text/html", &header, "")?;
    // A request to the other server would come first, and has another path.
    let mut line = stage.listener(&cursor)?;
    stage.deliver(&mut line, &[message(3).caught_up()])?;
    stage.finish(line)
}

pub(super) fn cursor_refused(stage: &mut Stage) -> Played {
    // A page does not see why a websocket was refused, and has another transport for that.
    stage.may_poll = true;
    let mut line = stage.listen()?;
    stage.deliver(&mut line, &[message(2)])?;
    let old = cut_while_waiting(stage, line)?;
    let expected = "a request to listen without the cursor that was refused";
    let mut visit = stage.visit(&expected)?;
    for _ in 0..REFUSALS {
        if visit.since().as_ref() != Some(&old) {
            break;
        }
        let body = json!({ "since": ["Not a cursor."] });
        visit.answer("422 Unprocessable Content", "", &body)?;
        visit = stage.visit(&expected)?;
    }
    stage.check_listening(&visit, "")?;
    let mut line = stage.open(visit, "")?;
    stage.send(&mut line, &[events::begins(3)])?;
    stage.send(&mut line, &[message(4)])?;
    stage.told(&json!({ "event": "gap", "channel": null, "reason": "epoch" }))?;
    stage.told(&message(4).told())?;
    stage.finish(line)
}

pub(super) fn silence(stage: &mut Stage) -> Played {
    stage.silence = SILENCE;
    let mut line = stage.listen()?;
    stage.deliver(&mut line, &[message(2)])?;
    beat(stage, &mut line, 4)?;
    // The script keeps the TCP connection open.
    let mut next = stage.listener(&cursor(2))?;
    stage.deliver(&mut next, &[message(3).caught_up()])?;
    drop(line);
    stage.finish(next)
}

pub(super) fn heartbeats(stage: &mut Stage) -> Played {
    stage.silence = SILENCE;
    let mut line = stage.listen()?;
    stage.deliver(&mut line, &[message(2)])?;
    beat(stage, &mut line, BEATS)?;
    stage.deliver(&mut line, &[message(3)])?;
    stage.finish(line)
}

/// Sends heartbeats alone; a client that asks anything meanwhile has given the transport up.
fn beat(stage: &mut Stage, line: &mut Line, times: u32) -> Played {
    for _ in 0..times {
        stage.heartbeat(line)?;
        if stage.is_visited_within(BEAT)? {
            return stage.is_left_alone();
        }
    }
    Ok(())
}

pub(super) fn mute(stage: &mut Stage) -> Played {
    stage.silence = SILENCE;
    let mut line = stage.listen()?;
    stage.deliver(&mut line, &[message(2)])?;
    line.cut();
    let unanswered = stage.listening(&cursor(2))?;
    let mut line = stage.listener(&cursor(2))?;
    stage.deliver(&mut line, &[message(3).caught_up()])?;
    drop(unanswered);
    stage.finish(line)
}

pub(super) fn ping(stage: &mut Stage) -> Played {
    let mut line = stage.listen()?;
    stage.deliver(&mut line, &[message(2)])?;
    line.ping(b"")?;
    line.ping(b"a payload")?;
    stage.deliver(&mut line, &[message(3)])?;
    stage.finish(line)
}
