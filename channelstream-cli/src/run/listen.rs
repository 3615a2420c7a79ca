//! `listen`: what a connection is sent, as it comes.

use std::future::pending;
use std::io::{Write as _, stdout};
use std::time::Duration;

use channelstream_client::{
    Client, Connect, Content, End, ErrorKind, Event, Frame, Gap, Listener, Transport, Uuid, json,
};
use serde_json::value::RawValue;
use serde_json::{Value, to_value};
use tokio::time::{sleep, timeout};

use super::connections::shown;
use crate::access::{self, Origin};
use crate::args::{AccessArgs, ListenArgs};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output;

/// How long the server may take to end our connection when we leave.
const FAREWELL: Duration = Duration::from_secs(2);

pub(super) async fn listen(access: &AccessArgs, args: &ListenArgs) -> Result<(), Failure> {
    let mut interrupt = Interrupt::new()?;
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
        return Course::new(args, &origin).follow(listener, &mut interrupt).await;
    };
    let (client, origin) = access::client(access)?;
    let request = Connect::new(user).channels(args.channel.clone());
    // Here, and not in the listener, which would try for ever.
    let connected = client.connect(&request).await;
    let connected = connected.map_err(|error| Failure::of_client(error, &origin))?;
    let again = client.clone();
    let listener = client.listen(connected.conn_id).renewed_by(move || {
        let (client, request) = (again.clone(), request.clone());
        async move { client.connect(&request).await.map(|connected| connected.conn_id) }
    });
    let listener = listener.build().map_err(|error| Failure::of_client(error, &origin))?;
    let mut course = Course { conn_id: Some(connected.conn_id), ..Course::new(args, &origin) };
    let outcome = course.follow(listener, &mut interrupt).await;
    leave(&client, course.conn_id).await;
    outcome
}

/// If it fails, the connection ends by itself after a while.
async fn leave(client: &Client, conn_id: Option<Uuid>) {
    if let Some(conn_id) = conn_id {
        let _ = timeout(FAREWELL, client.disconnect(conn_id)).await;
    }
}

/// How it has gone so far.
struct Course<'a> {
    args: &'a ListenArgs,
    origin: &'a Origin,
    heard: u64,
    opened: bool,
    /// The connection that is listened on, until it ends.
    conn_id: Option<Uuid>,
}

impl<'a> Course<'a> {
    fn new(args: &'a ListenArgs, origin: &'a Origin) -> Self {
        Self { args, origin, heard: 0, opened: false, conn_id: None }
    }

    async fn follow(
        &mut self,
        mut listener: Listener,
        interrupt: &mut Interrupt,
    ) -> Result<(), Failure> {
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
                () = interrupt.heard() => return Ok(()),
                () = &mut over => return self.time_is_over(),
            };
            let Some(event) = event else { return Ok(()) };
            if self.take(event)? {
                return Ok(());
            }
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
                self.conn_id = self.conn_id.map(|_| conn_id);
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
                if error.kind() == ErrorKind::Refused && !self.opened =>
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
        self.conn_id = None;
        let (reason, text) = match end {
            End::Disconnected => ("disconnected", "the connection was disconnected"),
            End::UnknownConnection => {
                ("unknown_connection", "the server does not know the connection")
            }
            End::Superseded => ("superseded", "somebody else listens on the connection now"),
            _ => ("other", "the listener ended"),
        };
        if self.args.json {
            output::json_line(&mut stdout(), &json!({ "event": "ended", "reason": reason }))?;
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
    fn tell(&self, value: &Value, text: impl Fn() -> String) -> Result<(), Failure> {
        if self.args.json {
            output::json_line(&mut stdout(), value)?;
        } else if !self.args.quiet {
            output::say(&output::plain(&text()));
        }
        Ok(())
    }

    fn print(&self, frame: &Frame) -> Result<(), Failure> {
        let mut out = stdout();
        if self.args.json {
            // As it was sent: no number is rounded on the way.
            let raw: &RawValue = serde_json::from_str(frame.json()).map_err(anyhow::Error::new)?;
            return Ok(output::json_line(&mut out, &Told { event: "frame", frame: raw })?);
        }
        let line = match self.args.raw {
            true => frame.json().to_owned(),
            false => output::plain(&told(frame)),
        };
        writeln!(out, "{line}")?;
        Ok(out.flush()?)
    }
}

#[derive(serde::Serialize)]
struct Told<'a> {
    event: &'static str,
    frame: &'a RawValue,
}

/// A frame in one line for people.
fn told(frame: &Frame) -> String {
    let place = frame.channel.as_deref().unwrap_or("(private)");
    let id = frame.uuid;
    let text = match &frame.content {
        Content::Message { user, message, timestamp, .. } => {
            let text = message.as_deref().map_or("", RawValue::get);
            format!("{} {place} {user}: {text}", timestamp.in_utc())
        }
        Content::Edit { user, message, .. } => {
            let user = user.as_deref().map_or_else(String::new, |user| format!(" {user}:"));
            let text = message.as_deref().map_or("", RawValue::get);
            format!("{place} edited {id}:{user} {text}")
        }
        Content::Delete => format!("{place} deleted {id}"),
        Content::Presence { user, action, timestamp, .. } => {
            let action = to_value(action).ok();
            let action = action.as_ref().and_then(Value::as_str).unwrap_or_default();
            format!("{} {place} {user} {action}", timestamp.in_utc())
        }
        Content::UserState { user, timestamp, state, .. } => {
            format!("{} {place} {user} is now {}", timestamp.in_utc(), shown(state))
        }
        _ => frame.json().to_owned(),
    };
    if frame.catchup { format!("{text} (caught up)") } else { text }
}
