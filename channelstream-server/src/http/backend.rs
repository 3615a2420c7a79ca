//! The backend API: `/connect` … `/info`. Each reads, submits and answers (contract §5).

use std::sync::Mutex;

use channelstream_core::protocol::{
    self, Body, Configure, Connect, Disconnect, Faults, Info, InfoOptions, SetUserState, Subscribe,
    Unsubscribe, Uuid,
};
use channelstream_core::state::{Command, Reply};

use super::App;
use super::answer::{Answer, Problem};
use super::request::Request;
use crate::clock;

pub(super) async fn connect(app: &App, mut request: Request) -> Result<Answer, Problem> {
    let body = app.body(&mut request).await?;
    let request = Connect::read(&app.json(&body)?)?;
    let connection = request.conn_id.unwrap_or_else(clock::secret_id);
    submit(app, Command::Connect { connection, request: Box::new(request) }).await
}

pub(super) async fn subscribe(app: &App, mut request: Request) -> Result<Answer, Problem> {
    let body = app.body(&mut request).await?;
    let in_query = connection_in_query(&request);
    let read = |body: &Body<'_>, known: &dyn Fn(Uuid) -> bool| {
        Subscribe::read(body, in_query.as_deref(), known)
    };
    let request = read_with_connection(app, &app.json(&body)?, read).await?;
    submit(app, Command::Subscribe(request)).await
}

pub(super) async fn unsubscribe(app: &App, mut request: Request) -> Result<Answer, Problem> {
    let body = app.body(&mut request).await?;
    let in_query = connection_in_query(&request);
    let read = |body: &Body<'_>, known: &dyn Fn(Uuid) -> bool| {
        Unsubscribe::read(body, in_query.as_deref(), known)
    };
    let request = read_with_connection(app, &app.json(&body)?, read).await?;
    submit(app, Command::Unsubscribe(request)).await
}

/// A request that is faulty elsewhere is read again once it is known whether its connection
/// exists, so that all faults are told at once. One without faults is not held up: the state
/// refuses it if the connection is not there.
async fn read_with_connection<T>(
    app: &App,
    body: &Body<'_>,
    read: impl Fn(&Body<'_>, &dyn Fn(Uuid) -> bool) -> Result<T, Faults>,
) -> Result<T, Problem> {
    let named = Mutex::new(None);
    let note = |id| {
        *named.lock().expect("no thread panics here") = Some(id);
        true
    };
    let faults = match read(body, &note) {
        Ok(request) => return Ok(request),
        Err(faults) => faults,
    };
    let Some(id) = named.into_inner().expect("no thread panics here") else {
        return Err(faults.into());
    };
    let known = app.node.ask(move |state| state.knows_connection(id)).await?;
    Ok(read(body, &|_| known)?)
}

pub(super) async fn user_state(app: &App, mut request: Request) -> Result<Answer, Problem> {
    let body = app.body(&mut request).await?;
    let body = app.json(&body)?;
    let mut named = None;
    let note = |name: &str| {
        named = Some(name.to_owned());
        true
    };
    let request = match (SetUserState::read(&body, note), named) {
        (Ok(request), _) => request,
        (Err(faults), None) => return Err(faults.into()),
        (Err(_), Some(name)) => {
            let known = app.node.ask(move |state| state.knows_user(&name)).await?;
            SetUserState::read(&body, |_| known)?
        }
    };
    submit(app, Command::SetUserState(request)).await
}

pub(super) async fn publish(app: &App, mut request: Request) -> Result<Answer, Problem> {
    let body = app.body(&mut request).await?;
    let messages = protocol::read_messages(&app.json(&body)?)?;
    submit(app, Command::Publish(messages)).await
}

pub(super) async fn edit(app: &App, mut request: Request) -> Result<Answer, Problem> {
    let body = app.body(&mut request).await?;
    let edits = protocol::read_edits(&app.json(&body)?)?;
    submit(app, Command::Edit(edits)).await
}

pub(super) async fn delete(app: &App, mut request: Request) -> Result<Answer, Problem> {
    let body = app.body(&mut request).await?;
    let deletes = protocol::read_deletes(&app.json(&body)?)?;
    submit(app, Command::Delete(deletes)).await
}

pub(super) async fn configure(app: &App, mut request: Request) -> Result<Answer, Problem> {
    let body = app.body(&mut request).await?;
    let request = Configure::read(&app.json(&body)?)?;
    submit(app, Command::Configure(request)).await
}

/// `/info`, by any method: without a body, about all channels.
pub(super) async fn info(app: &App, mut request: Request) -> Result<Answer, Problem> {
    let body = app.body(&mut request).await?;
    let options =
        if body.is_empty() { InfoOptions::default() } else { Info::read(&app.json(&body)?)?.info };
    let info = app.node.ask(move |state| state.info(&options)).await?;
    Answer::about(info.channels.len(), info).await
}

/// `/disconnect` needs no rights: who knows the id may end the connection.
pub(super) async fn disconnect(app: &App, mut request: Request) -> Result<Answer, Problem> {
    let Disconnect { conn_id } = if request.head.method == http::Method::POST {
        let body = app.body(&mut request).await?;
        Disconnect::read(&app.json(&body)?)?
    } else {
        Disconnect::read_query(connection_in_query(&request).as_deref())?
    };
    submit(app, Command::Disconnect(conn_id)).await
}

/// What stands for the connection in the query; what is not UTF-8 is no id.
fn connection_in_query(request: &Request) -> Option<String> {
    request.parameter("conn_id").map(Option::unwrap_or_default)
}

async fn submit(app: &App, command: Command) -> Result<Answer, Problem> {
    Ok(match app.node.submit(command).await? {
        Reply::Connected(body) => Answer::about(body.channels_info.channels.len(), body).await?,
        Reply::Subscribed(body) => Answer::about(body.channels_info.channels.len(), body).await?,
        Reply::Unsubscribed(body) => Answer::about(body.channels_info.channels.len(), body).await?,
        Reply::UserStateSet(body) => Answer::json(&body),
        Reply::Configured(body) => Answer::about(body.channels.len(), body).await?,
        Reply::Published(body) => Answer::json(&body),
        Reply::Edited(body) => Answer::json(&body),
        Reply::Deleted(body) => Answer::json(&body),
        Reply::Disconnected(known) => Answer::json(&known),
        Reply::Opened | Reply::Occupied | Reply::Done => Answer::json(&()),
    })
}
