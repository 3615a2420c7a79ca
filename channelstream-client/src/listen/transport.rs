//! One line to the server: opening a websocket, reading it, and making one poll.

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
use super::event::{Event, parse_events};
use crate::call::{JSON, receive};
use crate::endpoint::{Endpoint, LONG_POLL, WEBSOCKET, redacted};
use crate::error::{Answered, Error};

/// Larger texts are given up, so that nothing on the other end can fill this program's memory.
const MAX_TEXT: usize = 16 * 1024 * 1024;

/// How long the server is given to take the answer to its close frame.
const FAREWELL: Duration = Duration::from_secs(1);

/// What came of trying to open a websocket.
pub(super) enum Opening {
    Open(Box<Socket>),
    /// The server, or what stands before it, doesn't do websockets.
    NoWebsocket(Error),
    Failed(Error),
}

/// What came of waiting on a websocket.
pub(super) enum Heard {
    /// Frames, or none: a heartbeat.
    Frames(Vec<Event>),
    /// Something without a meaning, which shows that the line lives.
    Life,
    /// The server said good-bye, with a code if it gave one.
    Closed(Option<CloseFrame>),
    /// The line is dead.
    Broken(Error),
}

/// What came of a poll.
pub(super) enum Polled {
    Frames(Vec<Event>),
    UnknownConnection,
    Failed(Error),
}

pub(super) type Socket = WebSocketStream<Upgraded>;

impl Server {
    /// Opens a websocket by an ordinary request, so that certificates, proxies and credentials
    /// are those of all other requests.
    pub(super) async fn open_websocket(&self, conn_id: Uuid, patience: Duration) -> Opening {
        let opening = match timeout(patience, self.upgrade(conn_id)).await {
            Ok(opening) => opening,
            // Some proxies let an upgrade hang.
            Err(_) => Opening::NoWebsocket(Error::silence(WEBSOCKET, patience)),
        };
        match opening {
            Opening::Open(socket) => Opening::Open(socket),
            Opening::NoWebsocket(error) => Opening::NoWebsocket(self.named(error)),
            Opening::Failed(error) => Opening::Failed(self.named(error)),
        }
    }

    async fn upgrade(&self, conn_id: Uuid) -> Opening {
        let key = generate_key();
        let request = self
            .request(WEBSOCKET, conn_id)
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
        if status != StatusCode::SWITCHING_PROTOCOLS {
            let headers = std::mem::take(response.headers_mut());
            let answered = Answered { status, headers, body: Vec::new() };
            let error = Error::status_of(WEBSOCKET, &answered);
            // One that is busy may do better later.
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

    /// Asks once for what the connection was sent, and waits for it.
    pub(super) async fn poll(&self, conn_id: Uuid, patience: Duration) -> Polled {
        match self.poll_once(conn_id, patience).await {
            Polled::Failed(error) => Polled::Failed(self.named(error)),
            polled => polled,
        }
    }

    /// The error with the proxy that is in between.
    fn named(&self, error: Error) -> Error {
        error.through(self.proxy.as_deref())
    }

    async fn poll_once(&self, conn_id: Uuid, patience: Duration) -> Polled {
        let request = self.request(LONG_POLL, conn_id).header(ACCEPT, JSON).timeout(patience);
        let answered = match receive(LONG_POLL, &redacted(&self.address), request).await {
            Ok(answered) => answered,
            Err(error) => return Polled::Failed(error),
        };
        // A proxy that wants to know who asks says how to tell it.
        let asks_who = answered.headers.contains_key(WWW_AUTHENTICATE);
        if answered.status == StatusCode::UNAUTHORIZED && !asks_who {
            return Polled::UnknownConnection;
        }
        if !answered.status.is_success() {
            return Polled::Failed(Error::status_of(LONG_POLL, &answered));
        }
        let frames = std::str::from_utf8(&answered.body).ok().map(parse_events);
        match frames {
            Some(Ok(frames)) => Polled::Frames(frames),
            Some(Err(error)) => Polled::Failed(Error::unreadable(LONG_POLL, &error)),
            None => {
                let text = format!("the answer to {LONG_POLL} is not UTF-8");
                Polled::Failed(Error::broken(text))
            }
        }
    }

    fn request(&self, endpoint: Endpoint, conn_id: Uuid) -> reqwest::RequestBuilder {
        let mut url = endpoint.url(&self.address);
        url.query_pairs_mut().append_pair("conn_id", &conn_id.to_string());
        let request = self.http.request(endpoint.method.clone(), url);
        match &self.user_agent {
            Some(user_agent) => request.header(USER_AGENT, user_agent),
            None => request,
        }
    }
}

/// Waits for the next thing on a websocket.
pub(super) async fn hear(socket: &mut Socket, patience: Duration) -> Heard {
    let message = match timeout(patience, socket.next()).await {
        Ok(Some(Ok(message))) => message,
        Ok(Some(Err(error))) => {
            return Heard::Broken(Error::broken_because("the websocket broke off", error));
        }
        Ok(None) => return Heard::Broken(Error::broken("the websocket broke off")),
        Err(_) => return Heard::Broken(Error::silence(WEBSOCKET, patience)),
    };
    match message {
        Message::Text(text) => match parse_events(&text) {
            Ok(frames) => Heard::Frames(frames),
            Err(error) => Heard::Broken(Error::unreadable(WEBSOCKET, &error)),
        },
        Message::Close(close) => {
            // The answer to it leaves with the next step; whether it arrives is all the same.
            let _ = timeout(FAREWELL, socket.next()).await;
            Heard::Closed(close)
        }
        _ => Heard::Life,
    }
}
