//! `listen`: what a connection is sent, as it comes.

use std::future::pending;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use channelstream_client::{
    Client, Connect, Content, DateTime, End, Error, ErrorKind, Event, Frame, Gap, Listener,
    Timestamp, Transport, Uuid, json,
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

/// How long the server may take to end our connection when we leave.
const FAREWELL: Duration = Duration::from_secs(2);

/// How long what was heard may take to be written once we leave: nobody may be reading.
const LAST_WORDS: Duration = Duration::from_secs(1);

pub(super) async fn listen(access: &AccessArgs, args: &ListenArgs) -> Result<(), Failure> {
    let mut end = Ending { interrupt: Interrupt::new()?, reader: Reader::new() };
    let Some(user) = &args.user else {
        // There is one without a user, says the command line.
        let conn_id = args.conn_id.unwrap_or_default();
        // Whoever listens needs no secret.
        let origin = Origin::Default;
        let mut builder = Listener::builder(access::url(access)?, conn_id);
        if let Some(pem) = access::roots(access)? {
            builder = builder.root_certificates(pem);
        }
        let listener = builder.build().map_err(|error| Failure::of_client(error, &origin))?;
        let mut course = Course::new(args, &origin);
        let outcome = course.follow(listener, &mut end).await;
        return outcome.and(course.close(&mut end).await);
    };
    let (client, origin) = access::client(access)?;
    let request = Connect::new(user).channels(args.channel.clone());
    let own = Own { client, request, conn_id: Arc::default() };
    let mut course = Course::new(args, &origin);
    let outcome = listen_on_own(&own, &mut course, &mut end).await;
    if !course.ended {
        own.leave().await;
    }
    outcome.and(course.close(&mut end).await)
}

async fn listen_on_own(
    own: &Own,
    course: &mut Course<'_>,
    end: &mut Ending,
) -> Result<(), Failure> {
    // Here, and not in the listener, which would try for ever.
    let connected = tokio::select! {
        connected = own.connect() => connected,
        () = end.wanted() => return Ok(()),
    };
    let failed = |error| Failure::of_client(error, course.origin);
    let conn_id = connected.map_err(failed)?;
    let again = own.clone();
    let listener = own.client.listen(conn_id).renewed_by(move || {
        let own = again.clone();
        async move { own.connect().await }
    });
    let listener = listener.build().map_err(failed)?;
    course.follow(listener, end).await
}

/// Why to end before there is anything more to tell.
struct Ending {
    interrupt: Interrupt,
    reader: Reader,
}

impl Ending {
    async fn wanted(&mut self) {
        tokio::select! {
            () = self.interrupt.heard() => {}
            () = self.reader.gone() => {}
        }
    }
}

/// A connection of our own, which is made again when the server does not know it any more.
#[derive(Clone)]
struct Own {
    client: Client,
    request: Connect,
    /// That of the connection, and whether it was made for sure.
    conn_id: Arc<Mutex<Option<(Uuid, bool)>>>,
}

impl Own {
    /// Its id is known before it is made, so that it can be ended whatever comes in between.
    async fn connect(&self) -> Result<Uuid, Error> {
        let conn_id = match self.conn_id() {
            Some((conn_id, false)) => conn_id,
            _ => Uuid::new_v4(),
        };
        self.note(conn_id, false);
        let request = Connect { conn_id: Some(conn_id), ..self.request.clone() };
        self.client.connect(&request).await?;
        self.note(conn_id, true);
        Ok(conn_id)
    }

    /// If it fails, the connection ends by itself after a while.
    async fn leave(&self) {
        if let Some((conn_id, _)) = self.conn_id() {
            let _ = timeout(FAREWELL, self.client.disconnect(conn_id)).await;
        }
    }

    fn conn_id(&self) -> Option<(Uuid, bool)> {
        *self.conn_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, conn_id: Uuid, is_made: bool) {
        let mut noted = self.conn_id.lock().unwrap_or_else(PoisonError::into_inner);
        *noted = Some((conn_id, is_made));
    }
}

/// How it has gone so far.
struct Course<'a> {
    args: &'a ListenArgs,
    origin: &'a Origin,
    heard: u64,
    opened: bool,
    /// Whether the connection is over, or somebody else's.
    ended: bool,
    /// Whether we were asked to leave.
    left: bool,
    printer: Printer,
    /// What is to be printed.
    text: Vec<u8>,
}

impl<'a> Course<'a> {
    fn new(args: &'a ListenArgs, origin: &'a Origin) -> Self {
        let (printer, text) = (Printer::new(), Vec::new());
        Self { args, origin, heard: 0, opened: false, ended: false, left: false, printer, text }
    }

    async fn follow(&mut self, mut listener: Listener, end: &mut Ending) -> Result<(), Failure> {
        let over = async {
            match self.args.r#for {
                Some(time) => sleep(time).await,
                None => pending().await,
            }
        };
        tokio::pin!(over);
        loop {
            let event = tokio::select! {
                event = listener.next() => event,
                () = end.wanted() => return self.leave(),
                error = self.printer.failed() => return Err(error.into()),
                () = &mut over => return self.time_is_over(),
            };
            let Some(event) = event else { return Ok(()) };
            let outcome = self.take(event);
            let text = std::mem::take(&mut self.text);
            if !text.is_empty() {
                tokio::select! {
                    printed = self.printer.print(text) => printed?,
                    () = end.wanted() => return self.leave(),
                }
            }
            if outcome? {
                return Ok(());
            }
        }
    }

    fn leave(&mut self) -> Result<(), Failure> {
        self.left = true;
        Ok(())
    }

    /// Waits until all is printed, unless we are asked (once more) to leave.
    async fn close(&mut self, end: &mut Ending) -> Result<(), Failure> {
        let left = self.left;
        tokio::select! {
            printed = self.printer.finish() => Ok(printed?),
            () = end.wanted() => Ok(()),
            () = sleep(LAST_WORDS), if left => Ok(()),
        }
    }

    fn time_is_over(&self) -> Result<(), Failure> {
        match self.args.count {
            Some(count) => {
                Err(anyhow::anyhow!("only {} of {count} frames came in time", self.heard).into())
            }
            None => Ok(()),
        }
    }

    /// Prints it; whether that was all.
    fn take(&mut self, event: Event) -> Result<bool, Failure> {
        match event {
            Event::Frame(frame) => {
                self.heard += 1;
                self.print(&frame)?;
                return Ok(self.args.count.is_some_and(|count| self.heard >= count));
            }
            Event::Opened { conn_id, transport, .. } => {
                self.opened = true;
                let transport = match transport {
                    Transport::Websocket => "websocket",
                    Transport::LongPoll => "long_poll",
                    _ => "other",
                };
                self.tell(
                    &json!({ "event": "opened", "conn_id": conn_id, "transport": transport }),
                    || format!("listening on {conn_id} by {}", transport.replace('_', " ")),
                )?;
            }
            Event::Gap(gap) => {
                let (reason, channel, text) = match gap {
                    Gap::BrokenLine => ("broken_line", None, "the line broke without a word"),
                    Gap::FullCatchup { channel, .. } => {
                        ("full_catchup", channel, "the server keeps no more than it sent")
                    }
                    Gap::NewConnection => ("new_connection", None, "the connection is a new one"),
                    _ => ("other", None, "the reason is not known here"),
                };
                self.tell(
                    &json!({ "event": "gap", "reason": reason, "channel": channel }),
                    || format!("something may be missing: {text}"),
                )?;
            }
            Event::Interrupted { error, .. }
                if matches!(error.kind(), ErrorKind::Refused | ErrorKind::Scheme)
                    && !self.opened =>
            {
                return Err(Failure::of_client(error, self.origin));
            }
            Event::Interrupted { error, pause, .. } => {
                let (text, pause) = (error.to_string(), pause.as_secs_f64());
                self.tell(
                    &json!({ "event": "interrupted", "error": text, "pause": pause }),
                    || format!("{text}; again in {pause:.1} s"),
                )?;
            }
            Event::Ended(end) => return self.ended(end),
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
            End::Superseded => ("superseded", "somebody else listens on the connection now"),
            _ => ("other", "the listener ended"),
        };
        if self.args.json {
            output::json_line(&mut self.text, &json!({ "event": "ended", "reason": reason }))?;
        }
        match end {
            End::Disconnected => Ok(true),
            End::UnknownConnection => Err(Failure::from(anyhow::anyhow!(text)).with_hint(
                "it ended, or the server was restarted: `channelstream connect` makes another",
            )),
            _ => Err(anyhow::anyhow!(text).into()),
        }
    }

    /// Tells what becomes of the line.
    fn tell(&mut self, value: &Value, text: impl Fn() -> String) -> Result<(), Failure> {
        if self.args.json {
            output::json_line(&mut self.text, value)?;
        } else if !self.args.quiet {
            output::say(&text());
        }
        Ok(())
    }

    fn print(&mut self, frame: &Frame) -> Result<(), Failure> {
        let out = &mut self.text;
        if self.args.json {
            // As it was sent: no number is rounded on the way.
            let raw: &RawValue = serde_json::from_str(frame.json()).map_err(anyhow::Error::new)?;
            return Ok(output::json_line(out, &Told { event: "frame", frame: raw })?);
        }
        if self.args.raw {
            return Ok(output::raw_json_line(out, frame.json())?);
        }
        Ok(writeln!(out, "{}", output::plain(&told(frame, now())))?)
    }
}

#[derive(serde::Serialize)]
struct Told<'a> {
    event: &'static str,
    frame: &'a RawValue,
}

fn now() -> DateTime {
    // Nobody wants to know to the microsecond when something came.
    Timestamp::default().after(Duration::from_secs(unix_now())).into()
}

/// The end of an id: where they are made one after the other or by the clock, beginnings are alike.
fn short(id: Uuid) -> String {
    let mut text = id.to_string();
    text.split_off(text.len() - 8)
}

/// A frame in one line for people; `now` is when it came.
fn told(frame: &Frame, now: DateTime) -> String {
    let place = frame.channel.as_deref().unwrap_or("(private)");
    let (time, text) = match &frame.content {
        Content::Message { user, message, timestamp, edited, .. } => {
            let text = message.as_deref().map_or("", RawValue::get);
            let edited = if edited.is_some() { " (edited)" } else { "" };
            (*timestamp, format!("{user}: {text}{edited}"))
        }
        Content::Edit { user, message, timestamp, edited, .. } => {
            let user = user.as_deref().map_or_else(String::new, |user| format!(" {user}:"));
            let text = message.as_deref().map_or("", RawValue::get);
            (edited.or(*timestamp).unwrap_or(now), format!("edited:{user} {text}"))
        }
        Content::Delete => (now, "deleted".to_owned()),
        Content::Presence { user, action, timestamp, .. } => {
            let action = to_value(action).ok();
            let action = action.as_ref().and_then(Value::as_str).unwrap_or_default();
            (*timestamp, format!("{user} {action}"))
        }
        Content::UserState { user, timestamp, state, .. } => {
            (*timestamp, format!("{user} is now {}", shown(state)))
        }
        _ => (now, frame.json().to_owned()),
    };
    let text = format!("{} {} {place} {text}", time.in_utc(), short(frame.uuid));
    if frame.catchup { format!("{text} (caught up)") } else { text }
}
