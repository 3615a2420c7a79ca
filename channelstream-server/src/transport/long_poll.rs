//! `/listen`: one listener over a long poll, which gathers events for a moment (contract §6).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use channelstream_core::protocol::{FieldErrors, parse_uuid};
use channelstream_core::state::{Closing, ConnectionId, ListenerKind, Refusal, Reply};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::app::App;
use crate::http::answer::{Answer, FULL, JSON, Problem, SCRIPT};
use crate::http::connection::EndsWithPeer;
use crate::http::request::Request;
use crate::limits::Limit;
use crate::listener::outbox::{Ending, Outbox, Way};
use crate::node::{self, Node};
use crate::wire::websocket::events_in;

/// A poll beside a socket looks so often whether the socket is still there.
const AGAIN: Duration = Duration::from_millis(250);

/// A poll waits so long for more behind an event,
const QUIET: Duration = Duration::from_millis(250);

/// but not longer than this behind the first.
const GATHERING: Duration = Duration::from_secs(1);

pub(crate) async fn listen(app: &App, request: Request) -> Result<Answer, Problem> {
    const WRONG: Problem = Problem::Texts(&["Wrong UUID format"]);
    let connection = request.parameter("conn_id").flatten().ok_or(WRONG)?;
    let connection = ConnectionId::from(parse_uuid(&connection).ok_or(WRONG)?);
    let callback = callback(&request)?;
    if request.head.method == http::Method::HEAD {
        return head(app, connection).await;
    }
    // An answer to who has left would take the events along.
    let _ends_with_peer = EndsWithPeer::begin(&request.head.line);
    let Ok(outbox) = app.node.hub().open(connection, Way::Poll(Notify::new())) else {
        app.limits.refused(Limit::Listeners, request.peer);
        return Err(Problem::Unavailable(FULL.into()));
    };
    // Whatever happens from here on, also if the peer goes away, dropping this closes the listener.
    let mut poll = Poll { node: app.node.clone(), connection, outbox, is_open: false };
    let deadline = Instant::now() + app.config.wake_connections_after;
    let mut opened = poll.open().await;
    // A socket has the events; but it may be on its way out, and then this poll is the listener.
    while matches!(opened, Ok(Reply::Occupied)) && Instant::now() < deadline {
        poll.ends_by(deadline.min(Instant::now() + AGAIN)).await;
        if poll.outbox.ending().is_some() {
            break;
        }
        opened = poll.open().await;
    }
    match opened {
        Ok(Reply::Occupied) => {}
        Ok(_) => poll.gather(deadline).await,
        Err(node::Error::Refused(Refusal::UnknownConnection)) => {
            return Err(Problem::UnknownConnection);
        }
        Err(error) => return Err(error.into()),
    }
    if poll.outbox.ending() == Some(Ending::Slow) {
        app.limits.refused(Limit::Outbox, request.peer);
    }
    Ok(answer(&poll.outbox.take(), callback.as_deref()))
}

/// The head of an answer without events: HEAD takes nothing away, and waits for nothing.
async fn head(app: &App, connection: ConnectionId) -> Result<Answer, Problem> {
    match app.node.ask(move |state| state.knows_connection(connection)).await? {
        true => Ok(Answer::new(JSON, "[]")),
        false => Err(Problem::UnknownConnection),
    }
}

/// A listener that waits for its one answer. What it took out of its outbox counts as sent, what
/// is left there does not.
struct Poll {
    node: Node,
    connection: ConnectionId,
    outbox: Arc<Outbox>,
    /// Whether the state has answered: before, its outbox may yet be given what waits.
    is_open: bool,
}

impl Poll {
    async fn open(&mut self) -> Result<Reply, node::Error> {
        self.is_open = false;
        let opened = self.node.open(self.connection, &self.outbox, ListenerKind::Poll).await;
        self.is_open = true;
        opened
    }

    /// Waits for a first event, and then as long as more come, within bounds.
    async fn gather(&self, deadline: Instant) {
        while self.outbox.is_empty() {
            if self.ends_by(deadline).await {
                return;
            }
        }
        let latest = Instant::now() + GATHERING;
        while !self.ends_by((Instant::now() + QUIET).min(latest)).await {}
    }

    /// Waits for a change; whether there is none before `deadline`, or the listener is to end.
    async fn ends_by(&self, deadline: Instant) -> bool {
        self.outbox.ending().is_some() || timeout_at(deadline, self.outbox.changed()).await.is_err()
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        let (node, connection, outbox) =
            (self.node.clone(), self.connection, Arc::clone(&self.outbox));
        let is_open = self.is_open;
        tokio::spawn(async move {
            // What the peer did not wait for is on its way all the same, and with it frames for the
            // outbox: they must be there before it is told what was not sent.
            if !is_open {
                let _ = node.ask(|_| ()).await;
            }
            let sent = node.hub().sent(&outbox).await;
            node.close(connection, &outbox, Closing::Otherwise, sent).await;
        });
    }
}

/// The events as a list; with a callback, as a script that calls it.
fn answer(frames: &[Bytes], callback: Option<&str>) -> Answer {
    let mut list = Vec::with_capacity(frames.iter().map(Bytes::len).sum());
    list.push(b'[');
    for (number, event) in frames.iter().flat_map(|frames| events_in(frames)).enumerate() {
        if number > 0 {
            list.push(b',');
        }
        list.extend_from_slice(event);
    }
    list.push(b']');
    match callback {
        None => Answer::new(JSON, list),
        Some(callback) => {
            // In texts only: nothing else of JSON has these characters.
            let list = String::from_utf8_lossy(&list)
                .replace('<', "\\u003c")
                .replace('\u{2028}', "\\u2028")
                .replace('\u{2029}', "\\u2029");
            Answer::new(SCRIPT, format!("{callback}({list})"))
        }
    }
}

/// The JSONP callback, if one is named: a dotted identifier, so that nothing can be slipped in.
fn callback(request: &Request) -> Result<Option<String>, Problem> {
    let Some(given) = request.parameter("callback") else { return Ok(None) };
    match given {
        Some(name) if name.is_empty() => Ok(None),
        Some(name) if is_dotted_identifier(&name) => Ok(Some(name)),
        _ => {
            let text = "Not a dotted JavaScript identifier of at most 128 characters.";
            Err(FieldErrors::from_texts("callback", [text]).into())
        }
    }
}

fn is_dotted_identifier(name: &str) -> bool {
    let is_identifier = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '$')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_$".contains(&byte))
    };
    name.len() <= 128 && name.split('.').all(is_identifier)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callbacks() {
        for good in ["cb", "a.b.c", "_x", "$", "jQuery_1.cb2"] {
            assert!(is_dotted_identifier(good), "{good}");
        }
        let long = "x".repeat(129);
        for bad in ["1a", "a..b", ".a", "a.", "a;alert(1)//", "<script>", "é", "a b", &long] {
            assert!(!is_dotted_identifier(bad), "{bad}");
        }
    }
}
