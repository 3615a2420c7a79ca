//! `Client`: one typed call for each endpoint that a backend uses.

use std::fmt::{self, Debug, Display, Formatter};
use std::sync::Arc;
use std::time::Duration;

use channelstream_core::protocol::{
    ChannelsInfo, Configure, Connect, Connected, Delete, Disconnect, Edit, Info, InfoOptions,
    Message, NewMessage, SetUserState, Subscribe, Subscribed, Unsubscribe, Unsubscribed,
    UserStateSet, Uuid,
};
use channelstream_signer::TimestampSigner;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, USER_AGENT};
use http::{HeaderValue, Method};
use reqwest::Url;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::builder::ClientBuilder;
use crate::error::Error;

/// Larger answers are given up, so that nothing on the other end can fill this program's memory.
const MAX_ANSWER: usize = 64 * 1024 * 1024;
const SIGNATURE: HeaderName = HeaderName::from_static("x-channelstream-secret");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A handle on a server, for backends: everything it asks is signed with the secret.
///
/// Clones are cheap and share their lines to the server; make one for the whole program. Calls
/// may run at the same time. Each call is one request, signed freshly and never repeated.
/// An answer of more than 64 MiB is an error.
///
/// # Errors
///
/// All calls fail in the same ways, told by [`Error::kind`]; what is said of a call's errors
/// below is what the server may refuse it for.
#[derive(Clone)]
pub struct Client(Arc<Parts>);

/// What a client is made of.
pub(crate) struct Parts {
    pub(crate) http: reqwest::Client,
    /// Without a slash, query or fragment at its end, except that a bare host has its one slash.
    pub(crate) address: Url,
    pub(crate) signer: TimestampSigner,
    pub(crate) timeout: Duration,
    pub(crate) user_agent: Option<HeaderValue>,
}

/// A method and a path below the server's address.
#[derive(Clone, Copy)]
pub(crate) struct Endpoint {
    method: &'static Method,
    path: &'static str,
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
const CHANNEL_CONFIG: Endpoint = post("/channel_config");
const INFO: Endpoint = post("/info");
const DISCONNECT: Endpoint = post("/disconnect");
pub(crate) const FIGURES: Endpoint = post("/admin/admin.json");

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

    pub(crate) fn from_parts(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Makes a connection for a user, who is created if new, and joins channels with it
    /// (contract §5). Give the answer's `conn_id` to the browser: with it, it can listen.
    ///
    /// # Errors
    ///
    /// 422 for names, states and settings out of bounds, and for a `conn_id` in another user's
    /// use.
    pub async fn connect(&self, request: &Connect) -> Result<Connected, Error> {
        self.call(CONNECT, request).await
    }

    /// A connection joins channels, which are created if new (contract §5).
    ///
    /// # Errors
    ///
    /// 422 for a connection that is unknown, also because it ended meanwhile, and for an empty
    /// list of channels.
    pub async fn subscribe(&self, request: &Subscribe) -> Result<Subscribed, Error> {
        self.call(SUBSCRIBE, request).await
    }

    /// A connection leaves channels; those it isn't in are passed over (contract §5).
    ///
    /// # Errors
    ///
    /// As for [`subscribe`](Self::subscribe).
    pub async fn unsubscribe(&self, request: &Unsubscribe) -> Result<Unsubscribed, Error> {
        self.call(UNSUBSCRIBE, request).await
    }

    /// Sets keys of a user's state, and which of them others may see (contract §5).
    ///
    /// # Errors
    ///
    /// 422 for an unknown user.
    pub async fn set_user_state(&self, request: &SetUserState) -> Result<UserStateSet, Error> {
        self.call(USER_STATE, request).await
    }

    /// Sends messages, in this order and in one request (contract §5).
    ///
    /// The answer has them with id and time filled in, without those that had no address. A
    /// channel or user that doesn't exist is no error: nobody was there to hear it.
    ///
    /// # Errors
    ///
    /// 422 if any of them is faulty, and then none is sent; 413 if together they are larger than
    /// the server takes (1 MiB unless it is set otherwise).
    pub async fn publish(&self, messages: &[NewMessage]) -> Result<Vec<Message>, Error> {
        self.call(MESSAGE, messages).await
    }

    /// Changes messages that were sent before, in the history and for those who have yet to
    /// catch up, and tells the listeners (contract §8).
    ///
    /// The answer repeats the edits with the time of editing filled in; whether a message was
    /// found can't be told from it.
    ///
    /// # Errors
    ///
    /// As for [`publish`](Self::publish).
    pub async fn edit(&self, edits: &[Edit]) -> Result<Vec<Edit>, Error> {
        self.call(MESSAGE_EDIT, edits).await
    }

    /// Removes messages that were sent before, and tells the listeners (contract §8). The answer
    /// repeats the request.
    ///
    /// # Errors
    ///
    /// As for [`publish`](Self::publish).
    pub async fn delete(&self, deletes: &[Delete]) -> Result<Vec<Delete>, Error> {
        self.call(MESSAGE_DELETE, deletes).await
    }

    /// Sets all six settings of channels, which are created if new (contract §5). Without
    /// settings, a new channel is created and an existing one left as it is.
    ///
    /// # Errors
    ///
    /// 422 for settings out of bounds; then no channel is changed.
    pub async fn configure(&self, request: &Configure) -> Result<ChannelsInfo, Error> {
        self.call(CHANNEL_CONFIG, request).await
    }

    /// Asks about channels, their users and histories (contract §4). Unknown channels are left
    /// out of the answer.
    ///
    /// # Errors
    ///
    /// None but those of every call.
    pub async fn info(&self, options: &InfoOptions) -> Result<ChannelsInfo, Error> {
        self.call(INFO, &Info { info: options.clone() }).await
    }

    /// Ends a connection; its listener is closed within a second (contract §6). False: it was
    /// unknown.
    ///
    /// # Errors
    ///
    /// None but those of every call.
    pub async fn disconnect(&self, conn_id: Uuid) -> Result<bool, Error> {
        self.call(DISCONNECT, &Disconnect { conn_id }).await
    }

    /// Sends a request with a JSON body and reads the answer.
    async fn call<T: DeserializeOwned>(
        &self,
        endpoint: Endpoint,
        body: &(impl Serialize + ?Sized),
    ) -> Result<T, Error> {
        let body = serde_json::to_vec(body).map_err(|error| {
            Error::settings_because(format!("the request {endpoint} is no JSON"), error)
        })?;
        self.send(endpoint, body).await
    }

    /// Sends one signed request; an empty body is none.
    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        endpoint: Endpoint,
        body: Vec<u8>,
    ) -> Result<T, Error> {
        let parts = &*self.0;
        let signature = parts.signer.sign(endpoint.path);
        let mut signature = HeaderValue::from_str(&signature).map_err(|error| {
            Error::settings_because("what the signer makes cannot stand in a header", error)
        })?;
        signature.set_sensitive(true);
        let mut request = parts
            .http
            .request(endpoint.method.clone(), endpoint.url(&parts.address))
            .timeout(parts.timeout)
            .header(SIGNATURE, signature)
            .header(ACCEPT, JSON);
        if let Some(user_agent) = &parts.user_agent {
            request = request.header(USER_AGENT, user_agent);
        }
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, JSON);
        }
        let transport = |error| Error::transport(endpoint, &shown(&parts.address), error);
        let response = request.body(body).send().await.map_err(transport)?;
        let status = response.status();
        let answer = read(response, MAX_ANSWER)
            .await
            .map_err(transport)?
            .ok_or_else(|| Error::too_large(endpoint, MAX_ANSWER))?;
        if !status.is_success() {
            return Err(Error::status_of(endpoint, status, &answer));
        }
        serde_json::from_slice(&answer).map_err(|error| Error::unreadable(endpoint, &error))
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
fn shown(address: &Url) -> String {
    let path = address.path().trim_end_matches('/');
    format!("{}{path}", address.origin().ascii_serialization())
}

/// The whole body, or nothing if it has more than `limit` bytes.
async fn read(
    mut response: reqwest::Response,
    limit: usize,
) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if chunk.len() > limit - body.len() {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_are_read_up_to_the_limit() {
        let answer = || reqwest::Response::from(http::Response::new("12345"));
        assert_eq!(read(answer(), 5).await.unwrap(), Some(b"12345".to_vec()));
        assert_eq!(read(answer(), 4).await.unwrap(), None);
    }

    #[test]
    fn clients_can_be_shared() {
        fn check<T: Clone + Send + Sync + 'static>() {}
        check::<Client>();
        check::<ClientBuilder>();
    }
}
