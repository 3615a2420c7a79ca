//! `Client`: one typed call for each endpoint that a backend uses.

use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use channelstream_core::protocol::{
    AppendRequest, Cancel, Change, ChangeReply, ChannelList, ChannelsDeleted, ChannelsInfo,
    Configure, Connect, Connected, Delete, DeleteChannels, Disconnect, DisconnectUser, Edit,
    HistoryPage, Info, InfoOptions, ListChannels, ListUsers, NewMessage, Posted, ReadHistory,
    Reloaded, SetUserState, Subscribe, Subscribed, Taken, Unsubscribe, Unsubscribed,
    UserDisconnected, UserList, UserStateSet, Uuid,
};
use http::HeaderValue;
use reqwest::Url;

use crate::endpoint::{
    CANCEL, CHANNEL_CONFIG, CHANNELS_DELETE, CONNECT, DISCONNECT, DISCONNECT_USER, HISTORY, INFO,
    LIST_CHANNELS, LIST_USERS, MESSAGE, MESSAGE_DELETE, MESSAGE_EDIT, RELOAD, SUBSCRIBE,
    UNSUBSCRIBE, USER_STATE, redacted,
};
use crate::error::Error;
use crate::retry::{Repeats, RetryPolicy};
use crate::signing::Signing;

/// A handle to a server for backends: every request is signed with the secret.
///
/// Clones are cheap and share their connections; make one client for the whole program. Calls may
/// run concurrently. A call is one request, which is repeated with a fresh signature where that
/// helps and [does no harm](crate#repeats). An answer of more than 64 MiB is an error.
///
/// # Errors
///
/// All calls fail in the ways that [`Error::kind`] describes. The `Errors` section of a call lists
/// what the server may refuse it for.
#[derive(Clone)]
pub struct Client(pub(crate) Arc<Parts>);

/// The shared state of a client.
pub(crate) struct Parts {
    pub(crate) http: reqwest::Client,
    /// Without a trailing slash, query or fragment, except that a bare host has its one slash.
    pub(crate) address: Url,
    /// The proxy that requests go through, without user and password.
    pub(crate) proxy: Option<String>,
    pub(crate) signing: Signing,
    pub(crate) timeout: Duration,
    pub(crate) user_agent: Option<HeaderValue>,
    pub(crate) retries: RetryPolicy,
    pub(crate) max_body_size: usize,
    pub(crate) strict: bool,
    pub(crate) idempotency_keys: bool,
    /// Whether the newest answer to a request with a key shows that the server knows keys.
    pub(crate) server_knows_keys: AtomicBool,
}

impl Client {
    /// Returns the proxy of the environment (`HTTP_PROXY` and the like) that requests go through,
    /// without its user and password. The proxies of a custom
    /// [`http_client`](crate::ClientBuilder::http_client) are not known here.
    #[must_use]
    pub fn proxy(&self) -> Option<&str> {
        self.0.proxy.as_deref()
    }

    /// Creates a connection for a user, who is created if new, and joins channels with it
    /// (contract §5). Give the answer's `conn_id` to the browser, which listens with it.
    ///
    /// Without a `conn_id` in the request, the client generates one, so that a repeated request
    /// does not create a second connection. Every `conn_id` is a secret of its user.
    ///
    /// # Errors
    ///
    /// 422 for names, states and settings out of bounds, and for a `conn_id` that another user
    /// has.
    pub async fn connect(&self, request: impl Into<Connect>) -> Result<Connected, Error> {
        let mut request = request.into();
        request.conn_id.get_or_insert_with(Uuid::new_v4);
        self.call(CONNECT, &request, Repeats::Harmless).await
    }

    /// Adds a connection to channels, which are created if new (contract §5).
    ///
    /// # Errors
    ///
    /// 422 for an unknown connection, which includes one that has ended, and for an empty list of
    /// channels.
    pub async fn subscribe(&self, request: impl Into<Subscribe>) -> Result<Subscribed, Error> {
        self.call(SUBSCRIBE, &request.into(), Repeats::Harmless).await
    }

    /// Removes a connection from channels; those it is not in are ignored (contract §5).
    ///
    /// # Errors
    ///
    /// As for [`subscribe`](Self::subscribe).
    pub async fn unsubscribe(
        &self,
        request: impl Into<Unsubscribe>,
    ) -> Result<Unsubscribed, Error> {
        self.call(UNSUBSCRIBE, &request.into(), Repeats::Harmless).await
    }

    /// Sets keys of a user's state, and which of them are public (contract §5).
    ///
    /// # Errors
    ///
    /// 422 for an unknown user.
    pub async fn set_user_state(
        &self,
        request: impl Into<SetUserState>,
    ) -> Result<UserStateSet, Error> {
        self.call(USER_STATE, &request.into(), Repeats::Harmless).await
    }

    /// Sends one message or several, in this order and in one request (contract §5).
    ///
    /// ```no_run
    /// # use channelstream_client::{Client, Error, NewMessage, json};
    /// # async fn publish(client: Client, many: Vec<NewMessage>) -> Result<(), Error> {
    /// client.publish(NewMessage::to_channel("ann", "news", json!({"text": "Hello!"}))?).await?;
    /// client.publish(many).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The answer has the messages with id and time filled in, and reports for each how many
    /// listeners it was sent to and whether it was stored. A message without an address, or to a
    /// channel or user that does not exist, is not an error, since nobody was there to receive it:
    /// [`Receipt::problem`] reports it. (Older servers report nothing of this and leave out messages
    /// without an address, as they do for
    /// [clients that are not strict](crate::ClientBuilder::strict).)
    ///
    /// [`Receipt::problem`]: crate::Receipt::problem
    ///
    /// A request whose outcome is in doubt is repeated if the server [knows keys](crate#repeats), or
    /// if each message has an id (`uuid`) of its own, so that receivers can recognize a repeat. For large numbers of messages there are
    /// [`publish_all`](Self::publish_all) and [`publish_stream`](Self::publish_stream).
    ///
    /// # Errors
    ///
    /// 422 if any message is invalid, in which case none is sent; 413 if together they are larger
    /// than the server's `max_body_size` (1 MiB by default).
    pub async fn publish(
        &self,
        messages: impl Into<Vec<NewMessage>>,
    ) -> Result<Vec<Posted>, Error> {
        let messages = messages.into();
        let all_have_ids = messages.iter().all(|message| message.uuid.is_some());
        let repeats = if all_have_ids { Repeats::Harmless } else { Repeats::Doubling };
        self.call(MESSAGE, &messages, repeats).await
    }

    /// Changes messages that were sent before, in the history and in what is stored for absent
    /// listeners, and notifies the listeners (contract §8).
    ///
    /// The answer repeats the edits with the time of editing filled in; it does not say whether a
    /// message was found. On a server without [keys](crate#repeats) a repeated request may notify the
    /// listeners twice.
    ///
    /// # Errors
    ///
    /// As for [`publish`](Self::publish).
    pub async fn edit(&self, edits: impl Into<Vec<Edit>>) -> Result<Vec<Edit>, Error> {
        self.call(MESSAGE_EDIT, &edits.into(), Repeats::Harmless).await
    }

    /// Changes messages, in this order and in one request: edits, and what lets growing messages grow or
    /// ends them. [`stream`](Self::stream) does it for one message.
    ///
    /// The answers are in the same order. An item that the server does not take is no error, and the
    /// others are taken nevertheless: [`Taken::taken`](crate::Taken::taken).
    ///
    /// On a server without [keys](crate#repeats), a request whose outcome is in doubt is repeated only if
    /// each append has a [step](AppendRequest::step), which the server takes once.
    ///
    /// # Errors
    ///
    /// As for [`publish`](Self::publish).
    pub async fn change(&self, changes: impl Into<Vec<Change>>) -> Result<Vec<ChangeReply>, Error> {
        let changes = changes.into();
        let is_once = |change: &Change| match change {
            Change::Edit(_) => true,
            Change::Append(request) => request.append.is_empty() || request.step.is_some(),
        };
        let repeats =
            if changes.iter().all(is_once) { Repeats::Harmless } else { Repeats::Doubling };
        let replies: Vec<ChangeReply> = self.call(MESSAGE_EDIT, &changes, repeats).await?;
        match replies.len() == changes.len() {
            true => Ok(replies),
            false => Err(Error::unexpected(MESSAGE_EDIT, "has another number of items")),
        }
    }

    /// Lets a growing message grow, or ends it. An item that changes nothing shows that the publisher
    /// lives, and its answer how far the message has grown. Otherwise like [`change`](Self::change).
    ///
    /// ```no_run
    /// # use channelstream_client::{AppendRequest, Client, Error, Uuid};
    /// # async fn append(client: Client, id: Uuid) -> Result<(), Error> {
    /// let more = AppendRequest::new(id, Some("chat:42".to_owned())).text("text", "Hello").step(1);
    /// let taken = client.append(more).await?;
    /// if !taken.taken {
    ///     println!("{:?} {:?}", taken.status, taken.reason);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`publish`](Self::publish).
    pub async fn append(&self, request: AppendRequest) -> Result<Taken, Error> {
        match self.change(Change::Append(request)).await?.pop() {
            Some(ChangeReply::Taken(taken)) => Ok(*taken),
            _ => Err(Error::unexpected(MESSAGE_EDIT, "is not that of an append")),
        }
    }

    /// Cancels a growing message for the user of a connection, whom its publisher allowed to. The
    /// publisher learns it from its next append. If the message has ended already, the answer says how.
    ///
    /// A program may do so without the secret: the connection's id is enough.
    ///
    /// # Errors
    ///
    /// 422 for an unknown connection; 403 for a message that is unknown or that the user may not cancel.
    pub async fn cancel(
        &self,
        conn_id: impl Into<Uuid>,
        uuid: impl Into<Uuid>,
    ) -> Result<Taken, Error> {
        let cancel = Cancel { conn_id: conn_id.into(), uuid: uuid.into() };
        self.call(CANCEL, &cancel, Repeats::Harmless).await
    }

    /// Removes messages that were sent before, and notifies the listeners (contract §8). The answer
    /// repeats the request. On a server without [keys](crate#repeats) a repeated request may notify the
    /// listeners twice.
    ///
    /// # Errors
    ///
    /// As for [`publish`](Self::publish).
    pub async fn delete(&self, deletes: impl Into<Vec<Delete>>) -> Result<Vec<Delete>, Error> {
        self.call(MESSAGE_DELETE, &deletes.into(), Repeats::Harmless).await
    }

    /// Sets all six settings of channels, which are created if new (contract §5). Without settings,
    /// a new channel is created and an existing one is unchanged.
    ///
    /// # Errors
    ///
    /// 422 for settings out of bounds; then no channel is changed.
    pub async fn configure(&self, request: impl Into<Configure>) -> Result<ChannelsInfo, Error> {
        self.call(CHANNEL_CONFIG, &request.into(), Repeats::Harmless).await
    }

    /// Deletes channels with their history and stored events. All members leave, and listeners are
    /// notified as if the members had unsubscribed (contract §5). The answer lists which channels
    /// existed; an unknown one is not an error. On a server without [keys](crate#repeats) the answer to a
    /// repeated request may report channels as unknown that the first one deleted.
    ///
    /// # Errors
    ///
    /// 422 for an empty list and for names out of bounds; then none is deleted.
    pub async fn delete_channels(
        &self,
        request: impl Into<DeleteChannels>,
    ) -> Result<ChannelsDeleted, Error> {
        self.call(CHANNELS_DELETE, &request.into(), Repeats::Harmless).await
    }

    /// Returns information about channels, their users and histories (contract §4). Unknown
    /// channels are left out.
    ///
    /// # Errors
    ///
    /// Only those of every call.
    pub async fn info(&self, options: impl Into<InfoOptions>) -> Result<ChannelsInfo, Error> {
        self.call(INFO, &Info { info: options.into() }, Repeats::Harmless).await
    }

    /// Returns a page of the channels, by name (contract §14). `next` of a page is `after` of the next one.
    ///
    /// # Errors
    ///
    /// 422 for a limit out of bounds.
    pub async fn list_channels(
        &self,
        request: impl Into<ListChannels>,
    ) -> Result<ChannelList, Error> {
        self.call(LIST_CHANNELS, &request.into(), Repeats::Harmless).await
    }

    /// Returns a page of the users, by name, as [`list_channels`](Self::list_channels) does.
    ///
    /// # Errors
    ///
    /// 422 for a limit out of bounds.
    pub async fn list_users(&self, request: impl Into<ListUsers>) -> Result<UserList, Error> {
        self.call(LIST_USERS, &request.into(), Repeats::Harmless).await
    }

    /// Returns a page of the history of a channel, oldest first (contract §14). `next` of a page is `since` of
    /// the next one; `cursor` of the last one is `since` for what comes later.
    ///
    /// # Errors
    ///
    /// 422 for an unknown channel, and for a limit out of bounds.
    pub async fn history(&self, request: impl Into<ReadHistory>) -> Result<HistoryPage, Error> {
        self.call(HISTORY, &request.into(), Repeats::Harmless).await
    }

    /// Ends a connection; its listener is closed within a second (contract §6). Returns `false` if
    /// the connection was unknown.
    ///
    /// # Errors
    ///
    /// Only those of every call.
    pub async fn disconnect(&self, conn_id: impl Into<Uuid>) -> Result<bool, Error> {
        let conn_id = conn_id.into();
        self.call(DISCONNECT, &Disconnect { conn_id }, Repeats::Harmless).await
    }

    /// Ends all connections of a user at once, and refuses new ones for a while if the request says so
    /// (contract §14). The user need not exist. Without [keys](crate#repeats), the answer to a repeated
    /// request does not count the connections that the first one ended.
    ///
    /// # Errors
    ///
    /// 422 for a name, reason or time out of bounds; then nothing is done.
    pub async fn disconnect_user(
        &self,
        request: impl Into<DisconnectUser>,
    ) -> Result<UserDisconnected, Error> {
        self.call(DISCONNECT_USER, &request.into(), Repeats::Harmless).await
    }

    /// Lets the server read its settings again (contract §14). The answer names the settings that have
    /// changed, and those that count after a restart.
    ///
    /// # Errors
    ///
    /// 409 if anything is wrong with the settings, whose message says what; then nothing has changed.
    pub async fn reload(&self) -> Result<Reloaded, Error> {
        self.call(RELOAD, &serde_json::Map::new(), Repeats::Harmless).await
    }
}

impl Debug for Client {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("address", &redacted(&self.0.address))
            .field("timeout", &self.0.timeout)
            .finish_non_exhaustive()
    }
}
