//! `Client`: one typed call for each endpoint that a backend uses.

use std::fmt::{self, Debug, Display, Formatter};
use std::sync::Arc;
use std::time::Duration;

use channelstream_core::protocol::{
    ChannelsDeleted, ChannelsInfo, Configure, Connect, Connected, Delete, DeleteChannels,
    Disconnect, Edit, Info, InfoOptions, NewMessage, Posted, SetUserState, Subscribe, Subscribed,
    Unsubscribe, Unsubscribed, UserStateSet, Uuid,
};
use channelstream_signer::TimestampSigner;
use http::{HeaderValue, Method};
use reqwest::Url;

use crate::builder::ClientBuilder;
use crate::call::Repeats;
use crate::error::Error;
use crate::retry::RetryPolicy;

/// A handle on a server, for backends: everything it asks is signed with the secret.
///
/// Clones are cheap and share their lines to the server; make one for the whole program. Calls
/// may run at the same time. A call is one request, which is repeated, signed freshly, where
/// that helps and [does no harm](crate#repeats). An answer of more than 64 MiB is an error.
///
/// # Errors
///
/// All calls fail in the same ways, told by [`Error::kind`]; what is said of a call's errors
/// below is what the server may refuse it for.
#[derive(Clone)]
pub struct Client(pub(crate) Arc<Parts>);

/// What a client is made of.
pub(crate) struct Parts {
    pub(crate) http: reqwest::Client,
    /// Without a slash, query or fragment at its end, except that a bare host has its one slash.
    pub(crate) address: Url,
    /// Through which requests go, without user and password.
    pub(crate) proxy: Option<String>,
    pub(crate) signer: TimestampSigner,
    pub(crate) timeout: Duration,
    pub(crate) user_agent: Option<HeaderValue>,
    pub(crate) retries: RetryPolicy,
    pub(crate) max_body_size: usize,
    pub(crate) strict: bool,
}

/// A method and a path below the server's address.
#[derive(Clone, Copy)]
pub(crate) struct Endpoint {
    pub(crate) method: &'static Method,
    pub(crate) path: &'static str,
}

const fn post(path: &'static str) -> Endpoint {
    Endpoint { method: &Method::POST, path }
}

const CONNECT: Endpoint = post("/connect");
const SUBSCRIBE: Endpoint = post("/subscribe");
const UNSUBSCRIBE: Endpoint = post("/unsubscribe");
const USER_STATE: Endpoint = post("/user_state");
pub(crate) const MESSAGE: Endpoint = post("/message");
const MESSAGE_EDIT: Endpoint = Endpoint { method: &Method::PATCH, path: "/message" };
const MESSAGE_DELETE: Endpoint = Endpoint { method: &Method::DELETE, path: "/message" };
const CHANNELS_DELETE: Endpoint = Endpoint { method: &Method::DELETE, path: "/channels" };
const CHANNEL_CONFIG: Endpoint = post("/channel_config");
const INFO: Endpoint = post("/info");
const DISCONNECT: Endpoint = post("/disconnect");
pub(crate) const FIGURES: Endpoint = post("/admin/admin.json");
pub(crate) const DEBUG: Endpoint = Endpoint { method: &Method::GET, path: "/admin/debug" };
pub(crate) const STATS: Endpoint = Endpoint { method: &Method::GET, path: "/admin/stats.json" };

impl Endpoint {
    /// Its whole address on a server.
    pub(crate) fn url(self, address: &Url) -> Url {
        let mut url = address.clone();
        url.set_path(&format!("{}{}", address.path().trim_end_matches('/'), self.path));
        url
    }
}

impl Display for Endpoint {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

impl Client {
    /// A client for the server at `address` with the default settings.
    ///
    /// The address may have a path before the server's own ones, as behind a proxy, and may end
    /// in a slash or not: `http://127.0.0.1:8000`, `https://example.com/push/`.
    ///
    /// # Errors
    ///
    /// Those of [`ClientBuilder::build`].
    pub fn new(address: impl Into<String>, secret: impl AsRef<[u8]>) -> Result<Self, Error> {
        Self::builder(address).secret(secret).build()
    }

    /// A client for the server at `address` with settings of one's own.
    pub fn builder(address: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(address.into())
    }

    /// The proxy of the environment (`HTTP_PROXY` and the like) through which requests go, without
    /// its user and password. Those of one's own [`http_client`](ClientBuilder::http_client) are not
    /// known here.
    #[must_use]
    pub fn proxy(&self) -> Option<&str> {
        self.0.proxy.as_deref()
    }

    pub(crate) fn from_parts(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Makes a connection for a user, who is created if new, and joins channels with it
    /// (contract §5). Give the answer's `conn_id` to the browser: with it, it can listen.
    ///
    /// Without a `conn_id` in the request, this client draws one, so that a repeated request
    /// doesn't make a second connection. Like any, the id is a secret of its user.
    ///
    /// # Errors
    ///
    /// 422 for names, states and settings out of bounds, and for a `conn_id` in another user's
    /// use.
    pub async fn connect(&self, request: &Connect) -> Result<Connected, Error> {
        if request.conn_id.is_some() {
            return self.call(CONNECT, request, Repeats::Harmless).await;
        }
        let request = Connect { conn_id: Some(Uuid::new_v4()), ..request.clone() };
        self.call(CONNECT, &request, Repeats::Harmless).await
    }

    /// A connection joins channels, which are created if new (contract §5).
    ///
    /// # Errors
    ///
    /// 422 for a connection that is unknown, also because it ended meanwhile, and for an empty
    /// list of channels.
    pub async fn subscribe(&self, request: &Subscribe) -> Result<Subscribed, Error> {
        self.call(SUBSCRIBE, request, Repeats::Harmless).await
    }

    /// A connection leaves channels; those it isn't in are passed over (contract §5).
    ///
    /// # Errors
    ///
    /// As for [`subscribe`](Self::subscribe).
    pub async fn unsubscribe(&self, request: &Unsubscribe) -> Result<Unsubscribed, Error> {
        self.call(UNSUBSCRIBE, request, Repeats::Harmless).await
    }

    /// Sets keys of a user's state, and which of them others may see (contract §5).
    ///
    /// # Errors
    ///
    /// 422 for an unknown user.
    pub async fn set_user_state(&self, request: &SetUserState) -> Result<UserStateSet, Error> {
        self.call(USER_STATE, request, Repeats::Harmless).await
    }

    /// Sends one message or several, in this order and in one request (contract §5).
    ///
    /// ```no_run
    /// # use channelstream_client::{Client, Error, NewMessage, json};
    /// # async fn publish(client: Client, many: Vec<NewMessage>) -> Result<(), Error> {
    /// client.publish(NewMessage::to_channel("ann", "news", json!({"text": "Hello!"}))).await?;
    /// client.publish(&many).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The answer has them with id and time filled in, and tells of each how many listeners it was
    /// sent to and whether it was stored. An address that is missing, or a channel or user that
    /// doesn't exist, is no error, since nobody was there to hear it: [`Receipt::problem`] tells.
    /// (Older servers tell nothing of this and leave out what had no address, as they do for
    /// [clients that are not strict](crate::ClientBuilder::strict).)
    ///
    /// [`Receipt::problem`]: crate::Receipt::problem
    ///
    /// The request is repeated after a doubtful end only if each message has an id (`uuid`) of
    /// its own: then those who hear a message twice can tell. For very many messages there are
    /// [`publish_all`](Self::publish_all) and [`publish_stream`](Self::publish_stream).
    ///
    /// # Errors
    ///
    /// 422 if any of them is faulty, and then none is sent; 413 if together they are larger than
    /// the server takes (1 MiB unless it is set otherwise).
    pub async fn publish(&self, messages: impl AsRef<[NewMessage]>) -> Result<Vec<Posted>, Error> {
        let messages = messages.as_ref();
        let all_have_ids = messages.iter().all(|message| message.uuid.is_some());
        let repeats = if all_have_ids { Repeats::Harmless } else { Repeats::Doubling };
        self.call(MESSAGE, messages, repeats).await
    }

    /// Changes messages that were sent before, in the history and for those who have yet to
    /// catch up, and tells the listeners (contract §8).
    ///
    /// The answer repeats the edits with the time of editing filled in; whether a message was
    /// found can't be told from it. A repeated request may tell the listeners twice.
    ///
    /// # Errors
    ///
    /// As for [`publish`](Self::publish).
    pub async fn edit(&self, edits: impl AsRef<[Edit]>) -> Result<Vec<Edit>, Error> {
        self.call(MESSAGE_EDIT, edits.as_ref(), Repeats::Harmless).await
    }

    /// Removes messages that were sent before, and tells the listeners (contract §8). The answer
    /// repeats the request. A repeated request may tell the listeners twice.
    ///
    /// # Errors
    ///
    /// As for [`publish`](Self::publish).
    pub async fn delete(&self, deletes: impl AsRef<[Delete]>) -> Result<Vec<Delete>, Error> {
        self.call(MESSAGE_DELETE, deletes.as_ref(), Repeats::Harmless).await
    }

    /// Sets all six settings of channels, which are created if new (contract §5). Without
    /// settings, a new channel is created and an existing one left as it is.
    ///
    /// # Errors
    ///
    /// 422 for settings out of bounds; then no channel is changed.
    pub async fn configure(&self, request: &Configure) -> Result<ChannelsInfo, Error> {
        self.call(CHANNEL_CONFIG, request, Repeats::Harmless).await
    }

    /// Deletes channels with history and stored frames. Who is in them parts, and those who listen
    /// are told so, as if they were unsubscribed (contract §5). The answer tells which there were;
    /// one that wasn't is no error. A repeated request may tell that there was none of them any more.
    ///
    /// # Errors
    ///
    /// 422 for an empty list and for names out of bounds; then none is deleted.
    pub async fn delete_channels(
        &self,
        request: &DeleteChannels,
    ) -> Result<ChannelsDeleted, Error> {
        self.call(CHANNELS_DELETE, request, Repeats::Harmless).await
    }

    /// Asks about channels, their users and histories (contract §4). Unknown channels are left
    /// out of the answer.
    ///
    /// # Errors
    ///
    /// None but those of every call.
    pub async fn info(&self, options: &InfoOptions) -> Result<ChannelsInfo, Error> {
        self.call(INFO, &Info { info: options.clone() }, Repeats::Harmless).await
    }

    /// Ends a connection; its listener is closed within a second (contract §6). False: it was
    /// unknown.
    ///
    /// # Errors
    ///
    /// None but those of every call.
    pub async fn disconnect(&self, conn_id: Uuid) -> Result<bool, Error> {
        self.call(DISCONNECT, &Disconnect { conn_id }, Repeats::Harmless).await
    }
}

impl Debug for Client {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("address", &shown(&self.0.address))
            .field("timeout", &self.0.timeout)
            .finish_non_exhaustive()
    }
}

/// The address without user and password.
pub(crate) fn shown(address: &Url) -> String {
    let path = address.path().trim_end_matches('/');
    format!("{}{path}", address.origin().ascii_serialization())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_can_be_shared() {
        fn check<T: Clone + Send + Sync + 'static>() {}
        check::<Client>();
        check::<ClientBuilder>();
    }
}
