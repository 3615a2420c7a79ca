//! `POST /message/stream`: the pipe, a request whose body is appended to a message while it arrives.
//!
//! Nothing is read while an append is carried out, so that a fast producer waits for the server.

mod pieces;

use std::time::Duration;

use channelstream_core::protocol::{
    self, AppendRequest, FieldError, FieldErrors, NewMessage, Status, Taken,
};
use channelstream_core::state::{ChangeReply, Command, Refusal, Reply};
use futures_util::StreamExt;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

use crate::api::idempotency::Key;
use crate::app::App;
use crate::clock;
use crate::http::answer::Answer;
use crate::http::body::{BodyError, Broken};
use crate::http::header;
use crate::http::problem::Problem;
use crate::http::request::Request;
use crate::{journal, node};
use pieces::{Format, Pieces};

/// What waits to be appended is appended at once when it has so many bytes.
const MOST_WAITING: usize = 64 * 1024;

/// How often a pipe that sends nothing looks whether its message was canceled or closed.
const LOOK: Duration = Duration::from_secs(1);

/// How long, and how often, a pipe waits for place in a full journal.
const FULL: (Duration, u32) = (Duration::from_millis(50), 100);

/// Nobody but the server knows which bytes of a text are one step.
const NO_STEP: &str = "Counts lines: needs the type application/x-ndjson.";

/// A repeat of a stream goes on with it; it is no repeat of its answer.
const NO_KEY: &str = "Idempotency-Key does not apply to a stream: use uuid and step.";

pub(crate) async fn stream(app: &App, mut request: Request) -> Result<Answer, Problem> {
    if Key::of(&request, &super::preferences(&request))?.is_some() {
        return Err(FieldErrors::from_texts("request", [NO_KEY]).into());
    }
    let format = format(&request)?;
    let message = message(app, &request)?;
    let key = request.parameter("key").filter(|key| !key.is_empty());
    let key = key.map_or_else(|| "text".to_owned(), |key| key.into_owned());
    let step = step(&request)?;
    if step.is_some() && matches!(format, Format::Text) {
        return Err(FieldErrors::from_texts("step", [NO_STEP]).into());
    }
    let mut pieces = Pieces::new(format, key, step);
    pieces.check()?;
    let mut chunks = request.chunks()?;
    let mut pipe = Pipe::open(app, message).await?;
    let mut last_heard = Instant::now();
    // The first piece is appended at once.
    let mut next = Instant::now();
    loop {
        let idle = last_heard + app.settings().config.pipe_timeout;
        let look = idle.min(Instant::now() + LOOK);
        tokio::select! {
            biased;
            () = app.drain_begins() => {
                let taken = pipe.append(&mut pieces, None).await?;
                return Err(Problem::GoElsewhere(Box::new(taken)));
            }
            () = sleep_until(next), if !pieces.is_empty() => {
                pipe.append(&mut pieces, None).await?;
                next = Instant::now() + app.settings().config.append_interval;
            }
            chunk = chunks.next(), if pieces.size() < MOST_WAITING => {
                last_heard = Instant::now();
                let outcome = match chunk {
                    // The body has not come to its end.
                    Some(Ok(chunk)) => pieces.take(app, &chunk).map(|()| false),
                    Some(Err(Broken)) => Err(BodyError::Broken.into()),
                    None => pieces.end(app).map(|()| true),
                };
                match outcome {
                    Ok(false) => {}
                    Ok(true) => {
                        let taken = pipe.append(&mut pieces, Some(Status::Done)).await?;
                        return Ok(Answer::json(&taken));
                    }
                    // What arrived before the mistake counts.
                    Err(problem) => {
                        pipe.append(&mut pieces, None).await?;
                        return Err(problem);
                    }
                }
                if pieces.size() >= MOST_WAITING {
                    next = Instant::now();
                }
            }
            () = sleep_until(look) => {
                if last_heard + app.settings().config.pipe_timeout <= Instant::now() {
                    return Err(BodyError::Idle.into());
                }
                pipe.look().await?;
            }
        }
    }
}

/// Returns how the body is to be read.
fn format(request: &Request) -> Result<Format, Problem> {
    let given = header::text(&request.head.headers, &CONTENT_TYPE).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    match essence.to_ascii_lowercase().as_str() {
        "" | "text/plain" => Ok(Format::Text),
        "application/x-ndjson" => Ok(Format::Lines),
        _ => Err(BodyError::Type(essence.to_owned()).into()),
    }
}

/// Returns the message that the query describes. It is checked like that of a body.
fn message(app: &App, request: &Request) -> Result<NewMessage, Problem> {
    let mut fields = serde_json::Map::new();
    fields.insert("status".to_owned(), "open".into());
    for name in ["user", "channel", "uuid", "append_timeout", "no_history"] {
        if let Some(value) = request.parameter(name) {
            fields.insert(name.to_owned(), value.into());
        }
    }
    for name in ["cancel_by", "pm_users", "exclude_users"] {
        let users: Vec<Value> = request.parameters(name).map(Value::from).collect();
        fields.insert(name.to_owned(), users.into());
    }
    let body = json!([fields]).to_string();
    let read = protocol::read_messages(&app.json(body.as_bytes())?);
    let mut messages = read.map_err(|rejected| of_item(rejected.errors))?;
    let mut message = messages.pop().expect("a list of one was read");
    if message.address.channel.is_none() {
        let text = "Missing data for required field.";
        return Err(FieldErrors::from_texts("channel", [text]).into());
    }
    message.uuid.get_or_insert_with(clock::secret_id);
    Ok(message)
}

/// Returns the errors of the only item of a list.
fn of_item(errors: FieldErrors) -> FieldErrors {
    if let Some((_, FieldError::Inner(inner))) = errors.iter().next() {
        return inner.clone();
    }
    errors
}

fn step(request: &Request) -> Result<Option<u64>, FieldErrors> {
    let Some(text) = request.parameter("step") else { return Ok(None) };
    match text.parse() {
        Ok(step) if step > 0 => Ok(Some(step)),
        _ => Err(FieldErrors::from_texts("step", ["Must be at least 1."])),
    }
}

/// A message while a body is appended to it.
struct Pipe<'a> {
    app: &'a App,
    uuid: protocol::Uuid,
    channel: Option<String>,
}

impl<'a> Pipe<'a> {
    /// Opens the message, or takes up one that is open.
    async fn open(app: &'a App, message: NewMessage) -> Result<Self, Problem> {
        let uuid = message.uuid.unwrap_or_default();
        let pipe = Self { app, uuid, channel: message.address.channel.clone() };
        let known = app.node.ask(move |state| state.growth(uuid).is_some()).await?;
        if known {
            pipe.submit(vec![pipe.item()]).await?;
            return Ok(pipe);
        }
        match app.node.submit(Command::Publish(vec![message])).await {
            Ok(_) => Ok(pipe),
            Err(node::Error::Refused(refusal @ Refusal::CannotOpen { .. })) => {
                if let Refusal::CannotOpen { reason, .. } = &refusal {
                    super::count(app, reason);
                }
                Err(of_item(refusal.field_errors()).into())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn item(&self) -> AppendRequest {
        AppendRequest::new(self.uuid, self.channel.clone())
    }

    /// Appends what waits, and ends the message if there is a status.
    async fn append(
        &mut self,
        pieces: &mut Pieces,
        status: Option<Status>,
    ) -> Result<Taken, Problem> {
        let mut items = pieces.items(&self.item());
        // A producer that counts has a number for the end too, whatever was gathered with it.
        if status.is_some() && (items.is_empty() || pieces.are_counted()) {
            items.push(pieces.counted(self.item()));
        }
        match items.last_mut() {
            Some(last) => last.status = status,
            None => items.push(self.item()),
        }
        self.submit(items).await
    }

    /// Carries out items, in their order.
    async fn submit(&self, items: Vec<AppendRequest>) -> Result<Taken, Problem> {
        let (pause, mut tries) = FULL;
        loop {
            let changes = items.iter().cloned().map(protocol::Change::Append).collect();
            let reply = match self.app.node.submit(Command::Change(changes)).await {
                Err(node::Error::Unavailable(journal::Error::Full)) if tries > 0 => {
                    tries -= 1;
                    sleep(pause).await;
                    continue;
                }
                reply => reply?,
            };
            let Reply::Changed(replies) = reply else { unreachable!("another reply to a change") };
            let mut last = None;
            for reply in replies {
                match reply {
                    ChangeReply::Taken(taken) if taken.taken => last = Some(taken),
                    ChangeReply::Taken(taken) => return Err(Problem::NotTaken(taken)),
                    ChangeReply::Edited(_) => unreachable!("an append is read as an append"),
                }
            }
            return Ok(*last.expect("each item has a reply, and there is one at least"));
        }
    }

    /// Returns an error if the message was canceled, closed or deleted.
    async fn look(&self) -> Result<(), Problem> {
        let uuid = self.uuid;
        let growth = self.app.node.ask(move |state| state.growth(uuid)).await?;
        if growth.is_some_and(|growth| growth.is_open()) {
            return Ok(());
        }
        // The answer to an append of nothing says why.
        self.submit(vec![self.item()]).await.map(drop)
    }
}
