//! Transports: opening a websocket, receiving from it, and sending one long poll.

use std::time::Duration;

use channelstream_core::protocol::Uuid;
use futures_util::StreamExt;
use http::header::{
    ACCEPT, CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
    USER_AGENT, WWW_AUTHENTICATE,
};
use http::{HeaderValue, StatusCode};
use reqwest::Upgraded;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};

use super::builder::Server;
use super::event::{Sent, parse_events};
use crate::call::{self, JSON};
use crate::endpoint::{Endpoint, LONG_POLL, WEBSOCKET, redacted};
use crate::error::{Answered, Error};

/// The maximum size of a message in bytes, so that the peer cannot fill this program's memory.
const MAX_TEXT: usize = 16 * 1024 * 1024;

/// The time for sending the answer to a close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The outcome of opening a websocket.
pub(super) enum Opening {
    Open(Box<Socket>),
    /// The server refused the cursor.
    NoCursor,
    /// The server, or a proxy before it, does not support websockets.
    NoWebsocket(Error),
    Failed(Error),
}

/// The outcome of waiting on a websocket.
pub(super) enum Received {
    /// Items; an empty list is a heartbeat.
    Events(Vec<Sent>),
    /// A message without a meaning, which still proves that the TCP connection is alive.
    Other,
    /// The server closed the websocket, with a code if it sent one.
    Closed(Option<CloseFrame>),
    /// The TCP connection is broken or silent.
    Broken(Error),
}

/// The outcome of a poll.
pub(super) enum Polled {
    Events(Vec<Sent>),
    /// The server refused the cursor.
    NoCursor,
    UnknownConnection,
    Failed(Error),
}

pub(super) type Socket = WebSocketStream<Upgraded>;

impl Server {
    /// Opens a websocket with an ordinary request, so that it has the certificates, proxies and
    /// credentials of all other requests.
    pub(super) async fn open_websocket(
        &self,
        conn_id: Uuid,
        since: Option<&str>,
        silence: Duration,
    ) -> Opening {
        let opening = match timeout(silence, self.upgrade(conn_id, since)).await {
            Ok(opening) => opening,
            // Some proxies let an upgrade hang.
            Err(_) => Opening::NoWebsocket(Error::silence(WEBSOCKET, silence)),
        };
        match opening {
            Opening::Open(socket) => Opening::Open(socket),
            Opening::NoCursor => Opening::NoCursor,
            Opening::NoWebsocket(error) => Opening::NoWebsocket(self.with_proxy(error)),
            Opening::Failed(error) => Opening::Failed(self.with_proxy(error)),
        }
    }

    async fn upgrade(&self, conn_id: Uuid, since: Option<&str>) -> Opening {
        let key = generate_key();
        let request = self
            .request(WEBSOCKET, conn_id, since)
            .header(CONNECTION, HeaderValue::from_static("Upgrade"))
            .header(UPGRADE, HeaderValue::from_static("websocket"))
            .header(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))
            .header(SEC_WEBSOCKET_KEY, &key);
        let transport = |error| Error::transport(WEBSOCKET, &redacted(&self.address), error);
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Opening::Failed(transport(error)),
        };
        let status = response.status();
        if is_refusal_of(since, status) {
            return Opening::NoCursor;
        }
        if status != StatusCode::SWITCHING_PROTOCOLS {
            let headers = std::mem::take(response.headers_mut());
            let answered = Answered { status, headers, body: Vec::new() };
            let error = Error::status_of(WEBSOCKET, &answered);
            // A busy server may accept a websocket later.
            return match error.is_retryable() {
                true => Opening::Failed(error),
                false => Opening::NoWebsocket(error),
            };
        }
        let accept = response.headers().get(SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes);
        if accept != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
            let text = format!("the answer to {WEBSOCKET} is not that of a websocket server");
            return Opening::NoWebsocket(Error::broken(text));
        }
        match response.upgrade().await {
            Ok(upgraded) => {
                let config = WebSocketConfig::default()
                    .read_buffer_size(16 * 1024)
                    .max_message_size(Some(MAX_TEXT))
                    .max_frame_size(Some(MAX_TEXT));
                let socket =
                    WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await;
                Opening::Open(Box::new(socket))
            }
            Err(error) => Opening::Failed(transport(error)),
        }
    }

    /// Sends one long poll and waits for its answer.
    pub(super) async fn poll(
        &self,
        conn_id: Uuid,
        since: Option<&str>,
        silence: Duration,
    ) -> Polled {
        match self.poll_once(conn_id, since, silence).await {
            Polled::Failed(error) => Polled::Failed(self.with_proxy(error)),
            polled => polled,
        }
    }

    /// Adds the proxy to an error.
    fn with_proxy(&self, error: Error) -> Error {
        error.through(self.proxy.as_deref())
    }

    async fn poll_once(&self, conn_id: Uuid, since: Option<&str>, silence: Duration) -> Polled {
        let request = self.request(LONG_POLL, conn_id, since).header(ACCEPT, JSON).timeout(silence);
        let answered = match call::receive(LONG_POLL, &redacted(&self.address), request).await {
            Ok(answered) => answered,
            Err(error) => return Polled::Failed(error),
        };
        // A proxy that requires credentials sends this header; the server does not.
        let is_proxys = answered.headers.contains_key(WWW_AUTHENTICATE);
        if answered.status == StatusCode::UNAUTHORIZED && !is_proxys {
            return Polled::UnknownConnection;
        }
        if is_refusal_of(since, answered.status) {
            return Polled::NoCursor;
        }
        if !answered.status.is_success() {
            return Polled::Failed(Error::status_of(LONG_POLL, &answered));
        }
        let events = std::str::from_utf8(&answered.body).ok().map(parse_events);
        match events {
            Some(Ok(events)) => Polled::Events(events),
            Some(Err(error)) => Polled::Failed(Error::unreadable(LONG_POLL, &error)),
            None => {
                let text = format!("the answer to {LONG_POLL} is not UTF-8");
                Polled::Failed(Error::broken(text))
            }
        }
    }

    /// Creates a request to listen from a cursor on or, without one, from where the connection stands.
    /// Servers that do not know cursors ignore the parameter.
    fn request(
        &self,
        endpoint: Endpoint,
        conn_id: Uuid,
        since: Option<&str>,
    ) -> reqwest::RequestBuilder {
        let mut url = endpoint.url(&self.address);
        url.query_pairs_mut()
            .append_pair("conn_id", &conn_id.to_string())
            .append_pair("since", since.unwrap_or_default());
        let request = self.http.request(endpoint.method.clone(), url);
        match &self.user_agent {
            Some(user_agent) => request.header(USER_AGENT, user_agent),
            None => request,
        }
    }
}

/// Returns `true` if the server refuses the cursor: nothing else in the request can be invalid.
fn is_refusal_of(since: Option<&str>, status: StatusCode) -> bool {
    since.is_some() && status == StatusCode::UNPROCESSABLE_ENTITY
}

/// Waits for the next message on a websocket.
pub(super) async fn receive(socket: &mut Socket, silence: Duration) -> Received {
    let message = match timeout(silence, socket.next()).await {
        Ok(Some(Ok(message))) => message,
        Ok(Some(Err(error))) => {
            return Received::Broken(Error::broken_because("the websocket broke off", error));
        }
        Ok(None) => return Received::Broken(Error::broken("the websocket broke off")),
        Err(_) => return Received::Broken(Error::silence(WEBSOCKET, silence)),
    };
    match message {
        Message::Text(text) => match parse_events(&text) {
            Ok(events) => Received::Events(events),
            Err(error) => Received::Broken(Error::unreadable(WEBSOCKET, &error)),
        },
        Message::Close(close) => {
            // Polling the socket once more sends the answer. It does not matter whether it arrives.
            let _ = timeout(CLOSE_TIMEOUT, socket.next()).await;
            Received::Closed(close)
        }
        _ => Received::Other,
    }
}
