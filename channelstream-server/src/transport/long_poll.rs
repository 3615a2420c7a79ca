//! `/listen`: one listener over a long poll, which gathers events for a moment (contract §6).

use std::time::Duration;

use bytes::Bytes;
use channelstream_core::protocol::FieldErrors;
use channelstream_core::state::{ConnectionId, ListenerKind, Refusal, Reply};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::app::App;
use crate::http::answer::{Answer, JSON, SCRIPT};
use crate::http::connection_limit::EndsWithPeer;
use crate::http::problem::Problem;
use crate::http::request::Request;
use crate::listener::Listener;
use crate::listener::outbox::{Outbox, Sink};
use crate::node;
use crate::wire::{Encoding, Ending};

/// How often a poll on a connection with a socket looks whether the socket is still there.
const RETRY: Duration = Duration::from_millis(250);

/// How long a poll waits for more events after one.
const QUIET: Duration = Duration::from_millis(250);

/// How long a poll waits for more events after the first at most.
const GATHERING: Duration = Duration::from_secs(1);

pub(crate) async fn listen(app: &App, request: Request) -> Result<Answer, Problem> {
    let connection =
        super::connection(&request).map_err(|_| Problem::Texts(&["Wrong UUID format"]))?;
    let callback = callback(&request)?;
    let since = super::since(&request)?;
    let appends = super::appends(&request)?;
    if request.head.method == http::Method::HEAD {
        return head(app, connection).await;
    }
    // An answer to a client that has left would take the events along.
    let _ends_with_peer = EndsWithPeer::begin(&request.head.tcp);
    let place = super::reserve(app, request.peer)?;
    // Whatever happens from here on, also if the peer goes away, dropping the listener closes it. What
    // was taken out of its outbox counts as sent, what is left there does not.
    let sink = Sink::Pull(Notify::new());
    let encoding = if since.is_some() { Encoding::JsonWithSeq } else { Encoding::Json };
    let mut listener = Listener::new(&app.node, place, connection, sink, encoding, since);
    let deadline = Instant::now() + app.settings().config.wake_connections_after;
    let mut opened = listener.open(ListenerKind::Poll, appends).await;
    // A socket gets the events. But it may be about to end, and then this poll is the listener.
    while matches!(opened, Ok(Reply::Occupied)) && Instant::now() < deadline {
        is_over(listener.outbox(), deadline.min(Instant::now() + RETRY)).await;
        if listener.outbox().ending().is_some() {
            break;
        }
        opened = listener.open(ListenerKind::Poll, appends).await;
    }
    match opened {
        Ok(Reply::Occupied) => {}
        Ok(_) => gather(listener.outbox(), deadline).await,
        Err(node::Error::Refused(Refusal::UnknownConnection)) => {
            listener.outbox().end(Ending::Ended);
            return Err(Problem::UnknownConnection);
        }
        Err(error) => return Err(error.into()),
    }
    super::count_end(app, listener.outbox().ending(), request.peer);
    Ok(answer(&listener.outbox().take(), callback.as_deref()))
}

/// Returns the head of an answer without events: HEAD takes nothing away, and waits for nothing.
async fn head(app: &App, connection: ConnectionId) -> Result<Answer, Problem> {
    match app.node.ask(move |state| state.knows_connection(connection)).await? {
        true => Ok(Answer::new(JSON, "[]")),
        false => Err(Problem::UnknownConnection),
    }
}

/// Waits for a first event, and then as long as more come, within limits.
async fn gather(outbox: &Outbox, deadline: Instant) {
    while outbox.is_empty() {
        if is_over(outbox, deadline).await {
            return;
        }
    }
    // There is more than one answer takes: the client fetches it with its next poll.
    if outbox.is_behind() {
        return;
    }
    let latest = Instant::now() + GATHERING;
    while !is_over(outbox, (Instant::now() + QUIET).min(latest)).await {}
}

/// Waits for a change. Returns `true` if there is none before `deadline`, or the listener is to end.
async fn is_over(outbox: &Outbox, deadline: Instant) -> bool {
    outbox.ending().is_some() || timeout_at(deadline, outbox.changed()).await.is_err()
}

/// Encodes the events as a list; with a callback, as a script that calls it.
fn answer(events: &[Bytes], callback: Option<&str>) -> Answer {
    let list = [&b"["[..], &events.join(&b","[..]), b"]"].concat();
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

/// Returns the JSONP callback, if one is named. It must be a dotted identifier, so that no script can
/// be injected.
fn callback(request: &Request) -> Result<Option<String>, Problem> {
    let Some(given) = request.parameter("callback") else { return Ok(None) };
    match given {
        name if name.is_empty() => Ok(None),
        name if is_dotted_identifier(&name) => Ok(Some(name.into_owned())),
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
