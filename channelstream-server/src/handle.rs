//! The handle: requests to the server from within its own process, without HTTP.

use std::fmt;
use std::sync::Arc;

use channelstream_core::protocol::{
    self, Body, ChannelsDeleted, ChannelsInfo, Configure, Connect, Connected, Delete,
    DeleteChannels, DisconnectUser, Edit, FieldErrors, InfoOptions, NewMessage, NotJson,
    PayloadError, Posted, Rejected, SetUserState, Subscribe, Subscribed, Unsubscribe, Unsubscribed,
    UserDisconnected, UserStateSet, Uuid,
};
use channelstream_core::state::{ChangeReply, Command, ConnectionId, Refusal, Reply};
use serde::Serialize;
use thiserror::Error;

use crate::node::{self, Node};
use crate::settings::Current;
use crate::{clock, journal};

/// Sends requests to a [`Server`](crate::Server) in the same process. Cheap to clone.
///
/// The methods are the endpoints of the backend API, with the same checks and the same effects, but
/// without HTTP, signatures and rate limits. Requests wait until [`Server::run`](crate::Server::run)
/// is called.
#[derive(Clone)]
pub struct Handle {
    node: Node,
    current: Current,
}

/// Why the server did not carry out a request of a [`Handle`].
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HandleError {
    /// Fields of the request are invalid. Nothing was done.
    #[error("the request is invalid: {}", serde_json::to_string(.0).unwrap_or_default())]
    Invalid(FieldErrors),
    /// The request exceeds `max_json_depth` or `max_json_elements`. Nothing was done.
    #[error(transparent)]
    TooComplex(#[from] NotJson),
    /// The payload of a message is not a JSON object. Nothing was done.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The request contradicts the state, for example because its connection is unknown. Nothing was
    /// done.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too many requests are waiting. Nothing was done.
    #[error("the server is overloaded")]
    Overloaded,
    /// The disk of the journal is full. Nothing was done.
    #[error("the journal's disk is full")]
    NoSpace,
    /// The journal is away, or takes nothing now. Nothing was done.
    #[error("the journal is away, or takes nothing now")]
    Away,
    /// Nothing tells whether the request was carried out.
    #[error("the journal did not confirm the request")]
    InDoubt,
    /// The server has stopped. If it stopped just now, the request may have been carried out.
    #[error("the server has stopped")]
    Stopped,
}

impl From<node::Error> for HandleError {
    fn from(error: node::Error) -> Self {
        match error {
            node::Error::Refused(refusal) => Self::Refused(refusal),
            node::Error::Unavailable(journal::Error::Full) => Self::Overloaded,
            node::Error::Unavailable(journal::Error::NoSpace) => Self::NoSpace,
            node::Error::Unavailable(
                journal::Error::Away
                | journal::Error::Late
                | journal::Error::NoMemory
                | journal::Error::NoWrites,
            ) => Self::Away,
            node::Error::Unavailable(journal::Error::InDoubt) => Self::InDoubt,
            node::Error::Unavailable(journal::Error::Closed) | node::Error::Stopped => {
                Self::Stopped
            }
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl Handle {
    pub(crate) fn new(node: Node, current: Current) -> Self {
        Self { node, current }
    }

    /// Creates a connection for a user. A client that has the `conn_id` of the reply can listen with
    /// it; without one in the request, a random id is chosen.
    ///
    /// # Errors
    /// See [`HandleError`].
    pub async fn connect(&self, request: &Connect) -> Result<Connected, HandleError> {
        let request = self.read(request, Connect::read)?;
        let connection = ConnectionId::from(request.conn_id.unwrap_or_else(clock::secret_id));
        let command = Command::Connect { connection, request: Box::new(request) };
        match self.node.submit(command).await? {
            Reply::Connected(reply) => Ok(*reply),
            _ => unreachable!("another reply to a connect"),
        }
    }

    /// Lets a connection join channels.
    ///
    /// # Errors
    /// See [`HandleError`].
    pub async fn subscribe(&self, request: &Subscribe) -> Result<Subscribed, HandleError> {
        let request = self.read(request, Subscribe::read)?;
        match self.node.submit(Command::Subscribe(request)).await? {
            Reply::Subscribed(reply) => Ok(*reply),
            _ => unreachable!("another reply to a subscribe"),
        }
    }

    /// Lets a connection leave channels.
    ///
    /// # Errors
    /// See [`HandleError`].
    pub async fn unsubscribe(&self, request: &Unsubscribe) -> Result<Unsubscribed, HandleError> {
        let request = self.read(request, Unsubscribe::read)?;
        match self.node.submit(Command::Unsubscribe(request)).await? {
            Reply::Unsubscribed(reply) => Ok(*reply),
            _ => unreachable!("another reply to an unsubscribe"),
        }
    }

    /// Changes the state of a user.
    ///
    /// # Errors
    /// See [`HandleError`].
    pub async fn set_user_state(
        &self,
        request: &SetUserState,
    ) -> Result<UserStateSet, HandleError> {
        let request = self.read(request, SetUserState::read)?;
        match self.node.submit(Command::SetUserState(request)).await? {
            Reply::UserStateSet(reply) => Ok(*reply),
            _ => unreachable!("another reply to a user state"),
        }
    }

    /// Publishes messages, in their order. Returns each as it was accepted, with the number of
    /// listeners that it was sent to.
    ///
    /// # Errors
    /// See [`HandleError`].
    pub async fn publish(
        &self,
        messages: impl Into<Vec<NewMessage>>,
    ) -> Result<Vec<Posted>, HandleError> {
        let messages = self.read(&messages.into(), protocol::read_messages)?;
        match self.node.submit(Command::Publish(messages)).await? {
            Reply::Published(posted) => Ok(posted),
            _ => unreachable!("another reply to a publish"),
        }
    }

    /// Changes messages that were published before. Returns the edits as they were sent.
    ///
    /// # Errors
    /// See [`HandleError`].
    pub async fn edit(&self, edits: impl Into<Vec<Edit>>) -> Result<Vec<Edit>, HandleError> {
        let changes = self.read(&edits.into(), protocol::read_changes)?;
        let Reply::Changed(replies) = self.node.submit(Command::Change(changes)).await? else {
            unreachable!("another reply to an edit")
        };
        let edit = |reply| match reply {
            ChangeReply::Edited(edit) => Arc::unwrap_or_clone(edit),
            ChangeReply::Taken(_) => unreachable!("an edit is read as an edit"),
        };
        Ok(replies.into_iter().map(edit).collect())
    }

    /// Removes messages that were published before. Returns the removals as they were sent.
    ///
    /// # Errors
    /// See [`HandleError`].
    pub async fn delete(
        &self,
        deletes: impl Into<Vec<Delete>>,
    ) -> Result<Vec<Delete>, HandleError> {
        let deletes = self.read(&deletes.into(), protocol::read_deletes)?;
        match self.node.submit(Command::Delete(deletes)).await? {
            Reply::Deleted(deletes) => Ok(deletes.into_iter().map(Arc::unwrap_or_clone).collect()),
            _ => unreachable!("another reply to a delete"),
        }
    }

    /// Creates channels with these settings, or changes the settings of those that exist.
    ///
    /// # Errors
    /// See [`HandleError`].
    pub async fn configure(&self, request: &Configure) -> Result<ChannelsInfo, HandleError> {
        let request = self.read(request, Configure::read)?;
        match self.node.submit(Command::Configure(request)).await? {
            Reply::Configured(reply) => Ok(*reply),
            _ => unreachable!("another reply to a configure"),
        }
    }

    /// Removes channels with their settings and history.
    ///
    /// # Errors
    /// See [`HandleError`].
    pub async fn delete_channels(
        &self,
        request: &DeleteChannels,
    ) -> Result<ChannelsDeleted, HandleError> {
        let request = self.read(request, DeleteChannels::read)?;
        match self.node.submit(Command::DeleteChannels(request)).await? {
            Reply::ChannelsDeleted(reply) => Ok(*reply),
            _ => unreachable!("another reply to a removal of channels"),
        }
    }

    /// Ends all connections of a user, and refuses new ones for a while.
    ///
    /// # Errors
    /// See [`HandleError`].
    pub async fn disconnect_user(
        &self,
        request: &DisconnectUser,
    ) -> Result<UserDisconnected, HandleError> {
        let request = self.read(request, DisconnectUser::read)?;
        match self.node.submit(Command::DisconnectUser(Box::new(request))).await? {
            Reply::UserDisconnected(reply) => Ok(*reply),
            _ => unreachable!("another reply to a removal of a user"),
        }
    }

    /// Returns information about channels, their users and their history.
    ///
    /// # Errors
    /// See [`HandleError`].
    pub async fn info(&self, options: &InfoOptions) -> Result<ChannelsInfo, HandleError> {
        let options = options.clone();
        Ok(self.node.ask(move |state| state.info(&options)).await?)
    }

    /// Ends a connection. Returns `true` if it was known.
    ///
    /// # Errors
    /// See [`HandleError`].
    pub async fn disconnect(&self, conn_id: Uuid) -> Result<bool, HandleError> {
        match self.node.submit(Command::Disconnect(conn_id.into())).await? {
            Reply::Disconnected(was_known) => Ok(was_known),
            _ => unreachable!("another reply to a disconnect"),
        }
    }

    /// Passes a request through the checks of the HTTP interface, so that both accept the same.
    fn read<R: Serialize + ?Sized, T>(
        &self,
        request: &R,
        read: impl FnOnce(&Body<'_>) -> Result<T, Rejected>,
    ) -> Result<T, HandleError> {
        let json = serde_json::to_vec(request)
            .expect("requests hold texts, numbers and JSON under keys that are texts");
        let body = protocol::parse(&json, self.current.get().config.json_bounds())?;
        read(&body).map_err(|rejected| HandleError::Invalid(rejected.errors))
    }
}
