//! The backend API: `/connect` … `/info`. Each handler reads, submits and answers (contract §5).

mod advance;
pub(crate) mod health;
mod idempotency;
pub(crate) mod metrics;
pub(crate) mod openapi;
pub(crate) mod pipe;
pub(crate) mod prefer;
mod reload;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use channelstream_core::protocol::{
    self, Body, Cancel, Configure, Connect, DeleteChannels, Disconnect, DisconnectUser,
    FieldErrors, Info, InfoOptions, ListChannels, ListUsers, ReadHistory, Rejected, SetUserState,
    Subscribe, Unsubscribe,
};
use channelstream_core::state::{
    ChangeReply, Command, ConnectionId, Listing, Refusal, Reply, State,
};

use crate::api::idempotency::Key;
use crate::api::prefer::Preferences;
use crate::app::App;
use crate::clock;
use crate::http::answer::Answer;
use crate::http::problem::Problem;
use crate::http::request::Request;
use crate::limits::Limit;
use crate::node;
pub(crate) use advance::advance;
pub(crate) use reload::reload;

/// The size, in bytes, of a body that takes about a millisecond to read.
const LARGE: usize = 64 * 1024;

pub(crate) async fn connect(app: &App, request: Request) -> Result<Answer, Problem> {
    let (caller, request) = app.read(request, Connect::read).await?;
    let connection = ConnectionId::from(request.conn_id.unwrap_or_else(clock::secret_id));
    caller.submit(Command::Connect { connection, request: Box::new(request) }).await
}

pub(crate) async fn subscribe(app: &App, request: Request) -> Result<Answer, Problem> {
    let (caller, request) = app.read(request, Subscribe::read).await?;
    caller.submit(Command::Subscribe(request)).await
}

pub(crate) async fn unsubscribe(app: &App, request: Request) -> Result<Answer, Problem> {
    let (caller, request) = app.read(request, Unsubscribe::read).await?;
    caller.submit(Command::Unsubscribe(request)).await
}

pub(crate) async fn user_state(app: &App, request: Request) -> Result<Answer, Problem> {
    let (caller, request) = app.read(request, SetUserState::read).await?;
    caller.submit(Command::SetUserState(request)).await
}

pub(crate) async fn publish(app: &App, request: Request) -> Result<Answer, Problem> {
    let (caller, messages) = app.read(request, protocol::read_messages).await?;
    caller.submit(Command::Publish(messages)).await
}

pub(crate) async fn change(app: &App, request: Request) -> Result<Answer, Problem> {
    let (caller, changes) = app.read(request, protocol::read_changes).await?;
    caller.submit(Command::Change(changes)).await
}

pub(crate) async fn delete(app: &App, request: Request) -> Result<Answer, Problem> {
    let (caller, deletes) = app.read(request, protocol::read_deletes).await?;
    caller.submit(Command::Delete(deletes)).await
}

pub(crate) async fn configure(app: &App, request: Request) -> Result<Answer, Problem> {
    let caller = Caller::receive(app, request).await?;
    let request = match caller.read(Configure::read).await {
        Err(Problem::FieldErrors(errors)) if !caller.prefer.is_strict() => {
            return Err(Configure::errors_of_first(errors).into());
        }
        read => read?,
    };
    caller.submit(Command::Configure(request)).await
}

pub(crate) async fn delete_channels(app: &App, request: Request) -> Result<Answer, Problem> {
    let (caller, request) = app.read(request, DeleteChannels::read).await?;
    caller.submit(Command::DeleteChannels(request)).await
}

pub(crate) async fn disconnect_user(app: &App, request: Request) -> Result<Answer, Problem> {
    let (caller, request) = app.read(request, DisconnectUser::read).await?;
    caller.submit(Command::DisconnectUser(Box::new(request))).await
}

/// Answers `/list_channels`. Without a body it is the first page.
pub(crate) async fn list_channels(app: &App, request: Request) -> Result<Answer, Problem> {
    let caller = Caller::receive(app, request).await?;
    let request = Arc::new(caller.read_or_default(ListChannels::read).await?);
    let of = Arc::clone(&request);
    let listing = app.list(move |state, listing| state.look_at_channels(&of, listing)).await?;
    Ok(caller.prefer.applied(Answer::json(&listing.page(&request))))
}

/// Answers `/list_users`. Without a body it is the first page.
pub(crate) async fn list_users(app: &App, request: Request) -> Result<Answer, Problem> {
    let caller = Caller::receive(app, request).await?;
    let request = Arc::new(caller.read_or_default(ListUsers::read).await?);
    let of = Arc::clone(&request);
    let listing = app.list(move |state, listing| state.look_at_users(&of, listing)).await?;
    Ok(caller.prefer.applied(Answer::json(&listing.page(&request))))
}

/// Answers `/history`.
pub(crate) async fn history(app: &App, request: Request) -> Result<Answer, Problem> {
    let (caller, request) = app.read(request, ReadHistory::read).await?;
    let page = app.node.ask(move |state| state.page_of_history(&request)).await?;
    let page = page.ok_or_else(|| FieldErrors::from_texts("channel", ["Unknown channel"]))?;
    Ok(caller.prefer.applied(Answer::json(&page)))
}

/// Answers `/info`, by any method. Without a body it is about all channels.
pub(crate) async fn info(app: &App, request: Request) -> Result<Answer, Problem> {
    let caller = Caller::receive(app, request).await?;
    let options = if caller.body.is_empty() {
        InfoOptions::default()
    } else {
        caller.read(Info::read).await?.info
    };
    let info = app.node.ask(move |state| state.info(&options)).await?;
    Ok(caller.prefer.applied(Answer::about(info.channels.len(), info).await?))
}

/// Answers `/disconnect`, which needs no permission: a client that knows the id may end the connection.
pub(crate) async fn disconnect(app: &App, request: Request) -> Result<Answer, Problem> {
    if request.head.method == http::Method::POST {
        let (caller, Disconnect { conn_id }) = app.read(request, Disconnect::read).await?;
        return caller.submit(Command::Disconnect(conn_id.into())).await;
    }
    let Disconnect { conn_id } = Disconnect::read_query(connection_in_query(&request).as_deref())?;
    let connection = ConnectionId::from(conn_id);
    // HEAD changes nothing: it answers what GET would answer.
    if request.head.method == http::Method::HEAD {
        let known = app.node.ask(move |state| state.knows_connection(connection)).await?;
        return Ok(Answer::json(&known));
    }
    submit(app, preferences(&request), Command::Disconnect(connection)).await
}

/// Answers `/cancel`, which needs no permission: the publisher named the users who may cancel.
pub(crate) async fn cancel(app: &App, request: Request) -> Result<Answer, Problem> {
    let (caller, Cancel { conn_id, uuid }) = app.read(request, Cancel::read).await?;
    caller.submit(Command::Cancel { connection: conn_id.into(), message: uuid }).await
}

impl App {
    /// Makes a list in steps. The loop does other things between two of them.
    async fn list<E: Send + 'static>(
        &self,
        step: impl Fn(&State, &mut Listing<E>) -> bool + Clone + Send + 'static,
    ) -> Result<Listing<E>, node::Error> {
        let mut listing = Listing::default();
        loop {
            let step = step.clone();
            let question = move |state: &State| {
                let is_last = step(state, &mut listing);
                (listing, is_last)
            };
            let is_last;
            (listing, is_last) = self.node.ask(question).await?;
            if is_last {
                return Ok(listing);
            }
        }
    }

    /// Receives a request and reads its body.
    async fn read<T>(
        &self,
        request: Request,
        read: fn(&Body<'_>) -> Result<T, Rejected>,
    ) -> Result<(Caller<'_>, T), Problem> {
        let caller = Caller::receive(self, request).await?;
        let request = caller.read(read).await?;
        Ok((caller, request))
    }
}

/// The client behind a request whose body was received.
struct Caller<'a> {
    app: &'a App,
    body: Bytes,
    prefer: Preferences,
    key: Option<Box<Key>>,
    /// The value of `conn_id` in the query.
    conn_id: Option<String>,
}

impl<'a> Caller<'a> {
    async fn receive(app: &'a App, mut request: Request) -> Result<Self, Problem> {
        let prefer = preferences(&request);
        let key = Key::of(&request, &prefer)?;
        let body = app.body(&mut request).await?;
        let conn_id = connection_in_query(&request);
        Ok(Self { app, body, prefer, key, conn_id })
    }

    /// Returns what `read` makes of the body.
    async fn read<T>(&self, read: fn(&Body<'_>) -> Result<T, Rejected>) -> Result<T, Problem> {
        let rejected = {
            let body = self.app.json(&self.body)?;
            let body = body.conn_id(self.conn_id.as_deref()).strict(self.prefer.is_strict());
            match read(&body) {
                Ok(request) => return Ok(request),
                Err(rejected) => rejected,
            }
        };
        Err(self.all_errors(rejected).await?.into())
    }

    /// Returns the same, or the default if there is no body.
    async fn read_or_default<T: Default>(
        &self,
        read: fn(&Body<'_>) -> Result<T, Rejected>,
    ) -> Result<T, Problem> {
        if self.body.is_empty() { Ok(T::default()) } else { self.read(read).await }
    }

    /// Adds the error of what is named and does not exist, so that all errors are reported at once. A
    /// request without errors does not wait for this: the state refuses it.
    async fn all_errors(&self, rejected: Rejected) -> Result<FieldErrors, Problem> {
        let Rejected { mut errors, named, .. } = rejected;
        let Some(named) = named else { return Ok(errors) };
        if let Some(refusal) = self.app.node.ask(move |state| state.unknown(&named)).await? {
            errors.merge_first(refusal.field_errors());
        }
        Ok(errors)
    }

    async fn submit(self, command: Command) -> Result<Answer, Problem> {
        // To read a large body takes time, and to apply it as much again: others get a turn between.
        if self.body.len() > LARGE {
            tokio::task::yield_now().await;
        }
        let Self { app, body, prefer, key, .. } = self;
        let Some(key) = key else { return submit(app, prefer, command).await };
        let (reply, replayed) = app.node.submit_once(command, key.with_body(&body)).await?;
        if replayed {
            app.metrics.answers_replayed.increment();
        }
        let reply = reply.map_err(node::Error::from);
        idempotency::report(answer(app, prefer, reply, true).await, replayed)
    }
}

fn preferences(request: &Request) -> Preferences {
    Preferences::of(&request.head.headers, request.settings.config.strict_requests)
}

/// Returns `conn_id` of the query. A value that is not UTF-8 is no valid id.
fn connection_in_query(request: &Request) -> Option<String> {
    request.parameter("conn_id").map(Cow::into_owned)
}

/// Counts a refusal, if its reason is a limit of growing messages.
fn count(app: &App, reason: &str) {
    if let Some(limit) = Limit::of_growing(reason) {
        app.limits.refused(limit, None);
    }
}

async fn submit(app: &App, prefer: Preferences, command: Command) -> Result<Answer, Problem> {
    answer(app, prefer, app.node.submit(command).await, false).await
}

async fn answer(
    app: &App,
    prefer: Preferences,
    reply: Result<Reply, node::Error>,
    has_key: bool,
) -> Result<Answer, Problem> {
    let reply = reply.inspect_err(|error| {
        if let node::Error::Refused(Refusal::CannotOpen { reason, .. }) = error {
            count(app, reason);
        }
    })?;
    let answer = match reply {
        Reply::Published(posted) => prefer.posted(posted, has_key),
        Reply::Connected(connected) => prefer.connected(*connected).await?,
        Reply::Changed(replies) => {
            for reply in &replies {
                if let ChangeReply::Taken(taken) = reply {
                    count(app, taken.reason.as_deref().unwrap_or_default());
                }
            }
            Answer::json(&replies)
        }
        reply => Answer::about(reply.channels(), reply).await?,
    };
    Ok(prefer.applied(answer))
}
