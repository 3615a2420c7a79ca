//! `listen`: prints the events of a connection as they arrive.

use std::future::pending;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use channelstream_client::{
    Client, Connect, DateTime, End, Error, ErrorKind, Event, EventKind, EventStream, Gap,
    GapReason, Status, StreamEvent, Timestamp, Transport, Uuid, json,
};
use channelstream_signer::unix_now;
use serde_json::value::RawValue;
use serde_json::{Value, to_value};
use tokio::time::{sleep, timeout};

use super::connections::shown;
use crate::access::{self, Origin};
use crate::args::{AccessArgs, ListenArgs};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output;
use crate::printer::Printer;
use crate::reader::Reader;

/// The time limit for ending the created connection on exit.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The time limit for writing the remaining output on exit, since its reader may not read.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) async fn listen(access: &AccessArgs, args: &ListenArgs) -> Result<(), Failure> {
    let mut stop = Stop { interrupt: Interrupt::new()?, reader: Reader::new() };
    let Some(user) = &args.user else {
        // The command line requires an id if there is no user.
        let conn_id = args.conn_id.unwrap_or_default();
        // Listening needs no secret.
        let origin = Origin::Default;
        let mut builder = EventStream::builder(access::url(access)?, conn_id)
            .since(args.since.clone().unwrap_or_default());
        if let Some(pem) = access::roots(access)? {
            builder = builder.root_certificates(pem);
        }
        let events = builder.build().map_err(|error| Failure::of_client(error, &origin))?;
        let mut session = Session::new(args, &origin);
        let outcome = session.follow(events, &mut stop).await;
        return outcome.and(session.close(&mut stop).await);
    };
    let (client, origin) = access::client(access)?;
    let request = Connect::new(user).channels(args.channel.clone());
    let connection = OwnConnection { client, request, conn_id: Arc::default() };
    let mut session = Session::new(args, &origin);
    let outcome = listen_on_own(&connection, &mut session, &mut stop).await;
    if !session.ended {
        connection.end().await;
    }
    outcome.and(session.close(&mut stop).await)
}

async fn listen_on_own(
    connection: &OwnConnection,
    session: &mut Session<'_>,
    stop: &mut Stop,
) -> Result<(), Failure> {
    // The first connection is made here, since the stream would retry without end.
    let connected = tokio::select! {
        connected = connection.connect() => connected,
        () = stop.requested() => return Ok(()),
    };
    let failed = |error| Failure::of_client(error, session.origin);
    let conn_id = connected.map_err(failed)?;
    let renewed = connection.clone();
    let since = session.args.since.clone().unwrap_or_default();
    let events = connection.client.listen(conn_id).since(since).renewed_by(move || {
        let connection = renewed.clone();
        async move { connection.connect().await }
    });
    let events = events.build().map_err(failed)?;
    session.follow(events, stop).await
}

/// The reasons to stop that come from outside: signals, and a closed standard output.
struct Stop {
    interrupt: Interrupt,
    reader: Reader,
}

impl Stop {
    async fn requested(&mut self) {
        tokio::select! {
            () = self.interrupt.received() => {}
            () = self.reader.closed() => {}
        }
    }
}

/// A connection that this command creates, and creates again when the server no longer knows it.
#[derive(Clone)]
struct OwnConnection {
    client: Client,
    request: Connect,
    /// The id, and whether the server confirmed the connection.
    conn_id: Arc<Mutex<Option<(Uuid, bool)>>>,
}

impl OwnConnection {
    /// Creates the connection. The id is chosen here, so that the connection can be ended even if the
    /// answer does not arrive.
    async fn connect(&self) -> Result<Uuid, Error> {
        let conn_id = match self.conn_id() {
            Some((conn_id, false)) => conn_id,
            _ => Uuid::new_v4(),
        };
        self.set_conn_id(conn_id, false);
        let request = Connect { conn_id: Some(conn_id), ..self.request.clone() };
        self.client.connect(request).await?;
        self.set_conn_id(conn_id, true);
        Ok(conn_id)
    }

    /// Ends the connection. If that fails, the connection expires by itself.
    async fn end(&self) {
        if let Some((conn_id, _)) = self.conn_id() {
            let _ = timeout(DISCONNECT_TIMEOUT, self.client.disconnect(conn_id)).await;
        }
    }

    fn conn_id(&self) -> Option<(Uuid, bool)> {
        *self.conn_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_conn_id(&self, conn_id: Uuid, is_confirmed: bool) {
        let mut current = self.conn_id.lock().unwrap_or_else(PoisonError::into_inner);
        *current = Some((conn_id, is_confirmed));
    }
}

/// Prints the events of a stream and decides when to end.
struct Session<'a> {
    args: &'a ListenArgs,
    origin: &'a Origin,
    received: u64,
    opened: bool,
    /// Whether the connection ended, or another listener took it over.
    ended: bool,
    /// Whether the command was asked to stop.
    stopped: bool,
    printer: Printer,
    /// Output that was not yet passed to the printer.
    text: Vec<u8>,
}

impl<'a> Session<'a> {
    fn new(args: &'a ListenArgs, origin: &'a Origin) -> Self {
        Self {
            args,
            origin,
            received: 0,
            opened: false,
            ended: false,
            stopped: false,
            printer: Printer::new(),
            text: Vec::new(),
        }
    }

    async fn follow(&mut self, mut events: EventStream, stop: &mut Stop) -> Result<(), Failure> {
        let time_limit = async {
            match self.args.r#for {
                Some(time) => sleep(time).await,
                None => pending().await,
            }
        };
        tokio::pin!(time_limit);
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = stop.requested() => return self.stop(),
                error = self.printer.failed() => return Err(error.into()),
                () = &mut time_limit => return self.timed_out(),
            };
            let Some(event) = event else { return Ok(()) };
            let outcome = self.take(event);
            let text = std::mem::take(&mut self.text);
            if !text.is_empty() {
                tokio::select! {
                    printed = self.printer.print(text) => printed?,
                    () = stop.requested() => return self.stop(),
                }
            }
            if outcome? {
                return Ok(());
            }
        }
    }

    fn stop(&mut self) -> Result<(), Failure> {
        self.stopped = true;
        Ok(())
    }

    /// Waits until everything is printed, or until the next request to stop.
    async fn close(&mut self, stop: &mut Stop) -> Result<(), Failure> {
        let stopped = self.stopped;
        tokio::select! {
            printed = self.printer.finish() => Ok(printed?),
            () = stop.requested() => Ok(()),
            () = sleep(FLUSH_TIMEOUT), if stopped => Ok(()),
        }
    }

    fn timed_out(&self) -> Result<(), Failure> {
        match self.args.count {
            Some(count) => {
                let received = self.received;
                Err(anyhow::anyhow!("only {received} of {count} events arrived in time").into())
            }
            None => Ok(()),
        }
    }

    /// Prints an event; returns `true` if it is the last one.
    fn take(&mut self, event: StreamEvent) -> Result<bool, Failure> {
        match event {
            StreamEvent::Event(event) => {
                self.received += 1;
                self.print(&event)?;
                return Ok(self.args.count.is_some_and(|count| self.received >= count));
            }
            StreamEvent::Opened { conn_id, transport, .. } => {
                self.opened = true;
                let transport = match transport {
                    Transport::Websocket => "websocket",
                    Transport::LongPoll => "long_poll",
                    _ => "other",
                };
                self.report(
                    &json!({ "event": "opened", "conn_id": conn_id, "transport": transport }),
                    || format!("listening on {conn_id} by {}", transport.replace('_', " ")),
                )?;
            }
            StreamEvent::Gap(gap) => {
                let (reason, channel, text) = match gap {
                    Gap::Lost { channel, reason, .. } => lost(channel, reason),
                    Gap::LostOtherwise { channel, .. } => {
                        ("unknown", channel, "the server has lost events")
                    }
                    Gap::BrokenTransport => {
                        ("broken_line", None, "the TCP connection broke without a close")
                    }
                    Gap::FullCatchup { channel, .. } => {
                        ("full_catchup", channel, "the server stores no more events than it sent")
                    }
                    Gap::NewConnection => ("new_connection", None, "the connection is a new one"),
                    _ => ("other", None, "unknown reason"),
                };
                let place = channel.as_ref().map_or_else(String::new, |name| format!(" in {name}"));
                self.report(
                    &json!({ "event": "gap", "reason": reason, "channel": channel }),
                    || format!("events may be missing{place}: {text}"),
                )?;
            }
            StreamEvent::Interrupted { error, .. }
                if matches!(error.kind(), ErrorKind::Refused | ErrorKind::Scheme)
                    && !self.opened =>
            {
                return Err(Failure::of_client(error, self.origin));
            }
            StreamEvent::Interrupted { error, pause, .. } => {
                let (text, pause) = (error.to_string(), pause.as_secs_f64());
                self.report(
                    &json!({ "event": "interrupted", "error": text, "pause": pause }),
                    || format!("{text}; retrying in {pause:.1} s"),
                )?;
            }
            StreamEvent::Ended(end) => return self.ended(end),
            _ => {}
        }
        Ok(false)
    }

    fn ended(&mut self, end: End) -> Result<bool, Failure> {
        self.ended = true;
        let (reason, text) = match end {
            End::Disconnected => ("disconnected", "the connection was disconnected"),
            End::UnknownConnection => {
                ("unknown_connection", "the server does not know the connection")
            }
            End::Superseded => ("superseded", "another listener took over the connection"),
            _ => ("other", "the stream of events ended"),
        };
        if self.args.json {
            output::json_line(&mut self.text, &json!({ "event": "ended", "reason": reason }))?;
        }
        match end {
            End::Disconnected => Ok(true),
            End::UnknownConnection => Err(Failure::from(anyhow::anyhow!(text)).with_hint(
                "it ended, or the server was restarted; `channelstream connect` creates another",
            )),
            _ => Err(anyhow::anyhow!(text).into()),
        }
    }

    /// Prints a change of the state of the stream.
    fn report(&mut self, value: &Value, text: impl Fn() -> String) -> Result<(), Failure> {
        if self.args.json {
            output::json_line(&mut self.text, value)?;
        } else if !self.args.quiet {
            output::say(&text());
        }
        Ok(())
    }

    fn print(&mut self, event: &Event) -> Result<(), Failure> {
        let out = &mut self.text;
        if self.args.json {
            // The raw JSON keeps numbers exactly as they were sent.
            let raw: &RawValue = serde_json::from_str(event.json()).map_err(anyhow::Error::new)?;
            return Ok(output::json_line(out, &FrameLine { event: "frame", frame: raw })?);
        }
        if self.args.raw {
            return Ok(output::raw_json_line(out, event.json())?);
        }
        Ok(writeln!(out, "{}", output::plain(&one_line(event, now())))?)
    }
}

/// A line of `--json` for an event.
#[derive(serde::Serialize)]
struct FrameLine<'a> {
    event: &'static str,
    frame: &'a RawValue,
}

/// Returns the word, the channel and the text for events that the server has lost.
fn lost(
    channel: Option<String>,
    reason: GapReason,
) -> (&'static str, Option<String>, &'static str) {
    let (word, text) = match reason {
        GapReason::Evicted => ("evicted", "the server does not store them any more"),
        GapReason::Epoch => ("epoch", "the server was restarted, or does not know the cursor"),
        GapReason::Window => ("window", "the user was away for too long"),
    };
    (word, channel, text)
}

/// Returns what follows the payload of a message that grows.
fn grown(status: Option<Status>) -> &'static str {
    match status {
        None => "",
        Some(Status::Open) => " (grows)",
        Some(Status::Done) => " (done)",
        Some(Status::Cancelled) => " (cancelled)",
        Some(Status::Failed) => " (failed)",
        Some(Status::Stalled) => " (stalled)",
    }
}

fn now() -> DateTime {
    // Whole seconds are precise enough for a time of arrival.
    Timestamp::default().after(Duration::from_secs(unix_now())).into()
}

/// Returns the last eight characters of an id; the first ones are alike for ids that are made in
/// sequence or from the clock.
fn short(id: Uuid) -> String {
    let mut text = id.to_string();
    text.split_off(text.len() - 8)
}

/// Formats an event as one line for people; `now` is the time of its arrival.
fn one_line(event: &Event, now: DateTime) -> String {
    let place = event.channel.as_deref().unwrap_or("(private)");
    let (time, text) = match &event.kind {
        EventKind::Message { user, payload, timestamp, edited, growth, .. } => {
            let text = payload.as_deref().map_or("", RawValue::get);
            let edited = if edited.is_some() { " (edited)" } else { "" };
            let grown = grown(growth.map(|growth| growth.status));
            (*timestamp, format!("{user}: {text}{edited}{grown}"))
        }
        EventKind::Append { append, status, .. } => {
            let text = serde_json::to_string(append).unwrap_or_default();
            (now, format!("appended: {text}{}", grown(*status)))
        }
        EventKind::Edit { user, payload, timestamp, edited, .. } => {
            let user = user.as_deref().map_or_else(String::new, |user| format!(" {user}:"));
            let text = payload.as_deref().map_or("", RawValue::get);
            (edited.or(*timestamp).unwrap_or(now), format!("edited:{user} {text}"))
        }
        EventKind::Delete => (now, "deleted".to_owned()),
        EventKind::Presence { user, action, timestamp, .. } => {
            let action = to_value(action).ok();
            let action = action.as_ref().and_then(Value::as_str).unwrap_or_default();
            (*timestamp, format!("{user} {action}"))
        }
        EventKind::UserState { user, timestamp, state, .. } => {
            (*timestamp, format!("{user} is now {}", shown(state)))
        }
        _ => (now, event.json().to_owned()),
    };
    let text = format!("{} {} {place} {text}", time.in_utc(), short(event.uuid));
    if event.catchup { format!("{text} (caught up)") } else { text }
}
