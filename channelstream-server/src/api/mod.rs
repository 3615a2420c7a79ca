//! The backend API: `/connect` … `/info`. Each reads, submits and answers (contract §5).

pub(crate) mod openapi;
pub(crate) mod prefer;

use std::sync::Mutex;

use bytes::Bytes;
use channelstream_core::protocol::{
    self, Body, Configure, Connect, DeleteChannels, Disconnect, FieldErrors, Info, InfoOptions,
    RequestBody, SetUserState, Subscribe, Unsubscribe, Uuid,
};
use channelstream_core::state::{Command, Reply};

use crate::api::prefer::Preferences;
use crate::app::App;
use crate::clock;
use crate::http::answer::{Answer, Problem};
use crate::http::request::Request;

/// Bytes of a body that takes about a millisecond to read.
const LARGE: usize = 64 * 1024;

/// A request whose body has come, and how it is to be handled.
struct Asked<'a> {
    app: &'a App,
    body: Bytes,
    prefer: Preferences,
    /// What stands for the connection in the query.
    in_query: Option<String>,
}

impl<'a> Asked<'a> {
    async fn read(app: &'a App, mut request: Request) -> Result<Self, Problem> {
        let body = app.body(&mut request).await?;
        let in_query = connection_in_query(&request);
        Ok(Self { app, body, prefer: preferences(app, &request), in_query })
    }

    fn json(&self) -> Result<Body<'_>, Problem> {
        self.app.json(&self.body)
    }

    /// What `read` makes of the body.
    fn take<T>(
        &self,
        of: RequestBody,
        read: impl FnOnce(&Body<'_>) -> Result<T, FieldErrors>,
    ) -> Result<T, Problem> {
        let body = self.json()?;
        Ok(self.prefer.check(of, &body, read(&body))?)
    }

    async fn submit(&self, command: Command) -> Result<Answer, Problem> {
        // Reading a large body takes time, and applying it as much again: others have a turn between.
        if self.body.len() > LARGE {
            tokio::task::yield_now().await;
        }
        submit(self.app, self.prefer, command).await
    }
}

fn preferences(app: &App, request: &Request) -> Preferences {
    Preferences::of(&request.head.headers, app.config.strict_requests)
}

pub(crate) async fn connect(app: &App, request: Request) -> Result<Answer, Problem> {
    let asked = Asked::read(app, request).await?;
    let request = asked.take(RequestBody::Connect, Connect::read)?;
    let connection = request.conn_id.unwrap_or_else(clock::secret_id);
    asked.submit(Command::Connect { connection, request: Box::new(request) }).await
}

pub(crate) async fn subscribe(app: &App, request: Request) -> Result<Answer, Problem> {
    let asked = Asked::read(app, request).await?;
    let read = |body: &Body<'_>, known: &dyn Fn(Uuid) -> bool| {
        Subscribe::read(body, asked.in_query.as_deref(), known)
    };
    let request = read_with_connection(&asked, RequestBody::Subscribe, read).await?;
    asked.submit(Command::Subscribe(request)).await
}

pub(crate) async fn unsubscribe(app: &App, request: Request) -> Result<Answer, Problem> {
    let asked = Asked::read(app, request).await?;
    let read = |body: &Body<'_>, known: &dyn Fn(Uuid) -> bool| {
        Unsubscribe::read(body, asked.in_query.as_deref(), known)
    };
    let request = read_with_connection(&asked, RequestBody::Unsubscribe, read).await?;
    asked.submit(Command::Unsubscribe(request)).await
}

/// A request that is faulty elsewhere is read again once it is known whether its connection
/// exists, so that all faults are told at once. One without faults is not held up: the state
/// refuses it if the connection is not there.
async fn read_with_connection<T>(
    asked: &Asked<'_>,
    of: RequestBody,
    read: impl Fn(&Body<'_>, &dyn Fn(Uuid) -> bool) -> Result<T, FieldErrors>,
) -> Result<T, Problem> {
    let body = asked.json()?;
    let read = |known: &dyn Fn(Uuid) -> bool| asked.prefer.check(of, &body, read(&body, known));
    let named = Mutex::new(None);
    let note = |id| {
        *named.lock().expect("no thread panics here") = Some(id);
        true
    };
    let faults = match read(&note) {
        Ok(request) => return Ok(request),
        Err(faults) => faults,
    };
    let Some(id) = named.into_inner().expect("no thread panics here") else {
        return Err(faults.into());
    };
    let known = asked.app.node.ask(move |state| state.knows_connection(id)).await?;
    Ok(read(&|_| known)?)
}

pub(crate) async fn user_state(app: &App, request: Request) -> Result<Answer, Problem> {
    let asked = Asked::read(app, request).await?;
    let mut named = None;
    let note = |name: &str| {
        named = Some(name.to_owned());
        true
    };
    let read = asked.take(RequestBody::UserState, |body| SetUserState::read(body, note));
    let request = match (read, named) {
        (Err(Problem::FieldErrors(_)), Some(name)) => {
            let known = app.node.ask(move |state| state.knows_user(&name)).await?;
            asked.take(RequestBody::UserState, |body| SetUserState::read(body, |_| known))?
        }
        (read, _) => read?,
    };
    asked.submit(Command::SetUserState(request)).await
}

pub(crate) async fn publish(app: &App, request: Request) -> Result<Answer, Problem> {
    let asked = Asked::read(app, request).await?;
    let messages = asked.take(RequestBody::Messages, protocol::read_messages)?;
    asked.submit(Command::Publish(messages)).await
}

pub(crate) async fn edit(app: &App, request: Request) -> Result<Answer, Problem> {
    let asked = Asked::read(app, request).await?;
    let edits = asked.take(RequestBody::Edits, protocol::read_edits)?;
    asked.submit(Command::Edit(edits)).await
}

pub(crate) async fn delete(app: &App, request: Request) -> Result<Answer, Problem> {
    let asked = Asked::read(app, request).await?;
    let deletes = asked.take(RequestBody::Deletes, protocol::read_deletes)?;
    asked.submit(Command::Delete(deletes)).await
}

pub(crate) async fn configure(app: &App, request: Request) -> Result<Answer, Problem> {
    let asked = Asked::read(app, request).await?;
    let request = match asked.take(RequestBody::Configure, Configure::read) {
        Err(Problem::FieldErrors(faults)) if !asked.prefer.is_strict() => {
            return Err(Configure::errors_of_first(faults).into());
        }
        read => read?,
    };
    asked.submit(Command::Configure(request)).await
}

pub(crate) async fn delete_channels(app: &App, request: Request) -> Result<Answer, Problem> {
    let asked = Asked::read(app, request).await?;
    let request = asked.take(RequestBody::DeleteChannels, DeleteChannels::read)?;
    asked.submit(Command::DeleteChannels(request)).await
}

/// `/info`, by any method: without a body, about all channels.
pub(crate) async fn info(app: &App, request: Request) -> Result<Answer, Problem> {
    let asked = Asked::read(app, request).await?;
    let options = if asked.body.is_empty() {
        InfoOptions::default()
    } else {
        asked.take(RequestBody::Info, Info::read)?.info
    };
    let info = app.node.ask(move |state| state.info(&options)).await?;
    Ok(asked.prefer.applied(Answer::about(info.channels.len(), info).await?))
}

/// `/disconnect` needs no rights: who knows the id may end the connection.
pub(crate) async fn disconnect(app: &App, request: Request) -> Result<Answer, Problem> {
    if request.head.method == http::Method::POST {
        let asked = Asked::read(app, request).await?;
        let Disconnect { conn_id } = asked.take(RequestBody::Disconnect, Disconnect::read)?;
        return asked.submit(Command::Disconnect(conn_id)).await;
    }
    let Disconnect { conn_id } = Disconnect::read_query(connection_in_query(&request).as_deref())?;
    // HEAD changes nothing: it tells what would be answered.
    if request.head.method == http::Method::HEAD {
        let known = app.node.ask(move |state| state.knows_connection(conn_id)).await?;
        return Ok(Answer::json(&known));
    }
    submit(app, preferences(app, &request), Command::Disconnect(conn_id)).await
}

/// What stands for the connection in the query; what is not UTF-8 is no id.
fn connection_in_query(request: &Request) -> Option<String> {
    request.parameter("conn_id").map(Option::unwrap_or_default)
}

async fn submit(app: &App, prefer: Preferences, command: Command) -> Result<Answer, Problem> {
    let answer = match app.node.submit(command).await? {
        Reply::Connected(body) => Answer::about(body.channels_info.channels.len(), body).await?,
        Reply::Subscribed(body) => Answer::about(body.channels_info.channels.len(), body).await?,
        Reply::Unsubscribed(body) => Answer::about(body.channels_info.channels.len(), body).await?,
        Reply::UserStateSet(body) => Answer::json(&body),
        Reply::Configured(body) => Answer::about(body.channels.len(), body).await?,
        Reply::ChannelsDeleted(body) => Answer::json(&body),
        Reply::Published(posted) => prefer.posted(posted),
        Reply::Edited(body) => Answer::json(&body),
        Reply::Deleted(body) => Answer::json(&body),
        Reply::Disconnected(known) => Answer::json(&known),
        Reply::Opened | Reply::Occupied | Reply::Done => Answer::json(&()),
    };
    Ok(prefer.applied(answer))
}
