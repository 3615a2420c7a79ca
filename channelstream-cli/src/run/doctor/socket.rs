//! `Socket`: a websocket opened as a page would open it.

use std::time::Duration;

use anyhow::{Result, anyhow};
use channelstream_client::{StatusCode, Uuid};
use futures_util::StreamExt as _;
use reqwest::Upgraded;
use reqwest::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::probe::{Probe, send};

/// An open websocket.
pub(super) struct Socket(WebSocketStream<Upgraded>);

/// The result of waiting for a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// The text arrived after this time.
    Arrived(Duration),
    /// The TCP connection was closed or cut after this time.
    Cut(Duration),
    /// Neither happened in time.
    Silence,
}

impl Socket {
    pub(super) async fn open(probe: &Probe, conn_id: Uuid, patience: Duration) -> Result<Self> {
        let silent = |_| anyhow!("the upgrade was not answered within {} s", patience.as_secs());
        timeout(patience, Self::upgrade(probe, conn_id)).await.map_err(silent)?
    }

    async fn upgrade(probe: &Probe, conn_id: Uuid) -> Result<Self> {
        let key = generate_key();
        let request = probe
            .websocket(conn_id)
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, &key);
        let response = send(request).await?;
        let status = response.status();
        if status != StatusCode::SWITCHING_PROTOCOLS {
            let body = response.text().await.unwrap_or_default();
            return Err(anyhow!("the upgrade was answered with {status}{}", reason(&body)));
        }
        let accept = response.headers().get(SEC_WEBSOCKET_ACCEPT).map(|value| value.as_bytes());
        if accept != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
            return Err(anyhow!(
                "the upgrade was answered by something other than a websocket server"
            ));
        }
        let upgraded = response.upgrade().await?;
        Ok(Self(WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await))
    }

    /// Waits for a text that satisfies `is_it`.
    pub(super) async fn wait_for(
        &mut self,
        patience: Duration,
        is_it: impl Fn(&str) -> bool,
    ) -> Waited {
        let started = Instant::now();
        let waiting = async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Text(text))) if is_it(&text) => {
                        return Waited::Arrived(started.elapsed());
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => {
                        return Waited::Cut(started.elapsed());
                    }
                    Some(Ok(_)) => {}
                }
            }
        };
        timeout(patience, waiting).await.unwrap_or(Waited::Silence)
    }
}

/// Returns the message of an error response of the server; the pages of proxies have none.
fn reason(body: &str) -> String {
    let body: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let message = body.as_ref().and_then(|body| body["message"].as_str());
    message.map_or_else(String::new, |message| format!(": {message}"))
}
