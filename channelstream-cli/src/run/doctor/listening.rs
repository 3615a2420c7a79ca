//! The checks of websocket and long polling: delivery of messages, and survival of silence.

use std::cell::RefCell;
use std::time::Duration;

use channelstream_client::{Client, Connect, NewMessage, StatusCode, Uuid, json};
use tokio::time::Instant;

use super::Findings;
use super::probe::{Probe, describe};
use super::socket::{Socket, Waited};
use crate::failure::Failure;

const USER: &str = "channelstream-doctor";
/// The time limit for the delivery of a message.
const DELIVERY: Duration = Duration::from_secs(3);

const POLL: &str = "long poll";
const WEBSOCKET: &str = "websocket";
const IDLE: &str = "idle lines";

const LOG: &str = "see the server's log";
const UPGRADE: &str = "a proxy must forward Upgrade; in nginx: proxy_http_version 1.1; \
     proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";";
const OLD_HTTP: &str = "in nginx: proxy_http_version 1.1;";
const BUFFERS: &str = "a proxy must not buffer responses; in nginx: proxy_buffering off;";
pub(super) const CUTS: &str = "a proxy must tolerate silence for longer than the server's \
     heartbeat_interval and wake_connections_after; in nginx: proxy_read_timeout 60s;";

/// The connections of the checks, kept so that they are ended in any case.
pub(super) struct Connections {
    client: Client,
    conn_ids: RefCell<Vec<Uuid>>,
}

impl Connections {
    pub(super) fn new(client: Client) -> Self {
        Self { client, conn_ids: RefCell::default() }
    }

    /// Creates a connection for one check; reports a fault and returns `None` if that fails.
    async fn connect(
        &self,
        name: &'static str,
        findings: &mut Findings,
    ) -> Result<Option<Uuid>, Failure> {
        let conn_id = Uuid::new_v4();
        self.conn_ids.borrow_mut().push(conn_id);
        let request = Connect { conn_id: Some(conn_id), ..Connect::new(USER) };
        match self.client.connect(request).await {
            Ok(_) => Ok(Some(conn_id)),
            Err(error) => {
                findings.fault(name, error.to_string(), LOG)?;
                Ok(None)
            }
        }
    }

    /// Ends all connections.
    pub(super) async fn end(&self) {
        for conn_id in self.conn_ids.take() {
            // If this fails, the connection expires by itself.
            let _ = self.client.disconnect(conn_id).await;
        }
    }
}

pub(super) async fn all(
    probe: &Probe,
    connections: &Connections,
    patience: Duration,
    has_upgrades: bool,
    findings: &mut Findings,
) -> Result<(), Failure> {
    let client = &connections.client;
    // The poll comes first: the websocket, which receives every message of the user, is to receive
    // a single one and then silence.
    let polls_work = match connections.connect(POLL, findings).await? {
        Some(conn_id) => {
            let works = long_poll(probe, client, conn_id, patience, findings).await?;
            connections.end().await;
            works
        }
        None => false,
    };
    let mut socket = None;
    if !has_upgrades {
        findings.skipped(WEBSOCKET, "this version of HTTP has no websockets")?;
    } else if let Some(conn_id) = connections.connect(WEBSOCKET, findings).await? {
        socket = websocket(probe, client, conn_id, patience, findings).await?;
    }
    // A new connection, for which no message is stored.
    let poll = if polls_work { connections.connect(IDLE, findings).await? } else { None };
    idle(socket, probe, poll, patience, findings).await
}

/// Sends a message to the user of the checks, and returns its id.
async fn publish(client: &Client) -> Result<String, channelstream_client::Error> {
    let id = Uuid::new_v4();
    client.publish(NewMessage::to_users(USER, [USER], json!({}))?.id(id)).await?;
    Ok(id.to_string())
}

/// Checks the websocket and the delivery over it; returns the socket if both work.
async fn websocket(
    probe: &Probe,
    client: &Client,
    conn_id: Uuid,
    patience: Duration,
    findings: &mut Findings,
) -> Result<Option<Socket>, Failure> {
    const DELIVERED: &str = "delivery";
    let mut socket = match Socket::open(probe, conn_id, patience).await {
        Ok(socket) => socket,
        Err(error) => {
            let detail = describe(&error);
            let advice = if detail.contains("HTTP/1.0") { OLD_HTTP } else { UPGRADE };
            findings.fault(WEBSOCKET, detail, advice)?;
            return Ok(None);
        }
    };
    findings.good(WEBSOCKET, "it opens")?;
    let id = match publish(client).await {
        Ok(id) => id,
        Err(error) => {
            findings.fault(DELIVERED, error.to_string(), LOG)?;
            return Ok(None);
        }
    };
    match socket.wait_for(DELIVERY, |text| text.contains(&id)).await {
        Waited::Arrived(time) => {
            let detail = format!("a message arrived after {} ms", time.as_millis());
            findings.good(DELIVERED, detail)?;
            return Ok(Some(socket));
        }
        Waited::Cut(time) => {
            let detail = format!("the connection was cut after {} ms", time.as_millis());
            findings.fault(DELIVERED, detail, CUTS)?;
        }
        Waited::Silence => {
            let detail = format!("no message arrived within {} s", DELIVERY.as_secs());
            findings.fault(DELIVERED, detail, BUFFERS)?;
        }
    }
    Ok(None)
}

/// Checks the delivery by a long poll.
async fn long_poll(
    probe: &Probe,
    client: &Client,
    conn_id: Uuid,
    patience: Duration,
    findings: &mut Findings,
) -> Result<bool, Failure> {
    let (answer, id) = tokio::join!(probe.poll(conn_id, patience), publish(client));
    let (detail, advice) = match (answer, id) {
        (_, Err(error)) => (error.to_string(), LOG.to_owned()),
        (Ok(answer), Ok(id)) if answer.status == StatusCode::OK && answer.body.contains(&id) => {
            findings.good(POLL, "a message arrived")?;
            return Ok(true);
        }
        (Ok(answer), _) if answer.status == StatusCode::OK => {
            ("the message did not arrive".to_owned(), "does a proxy cache /listen?".to_owned())
        }
        (Ok(answer), _) => (format!("the answer was {}", answer.status), CUTS.to_owned()),
        (Err(error), _) => (describe(&error), format!("{CUTS} {BUFFERS}")),
    };
    findings.fault(POLL, detail, advice)?;
    Ok(false)
}

/// Watches idle connections until the server gives a sign of life: a heartbeat on the websocket, an
/// empty answer to the poll.
async fn idle(
    socket: Option<Socket>,
    probe: &Probe,
    poll: Option<Uuid>,
    patience: Duration,
    findings: &mut Findings,
) -> Result<(), Failure> {
    let on_socket = async {
        let mut socket = socket?;
        Some(socket.wait_for(patience, |text| text == "[]").await)
    };
    let on_poll = async {
        let started = Instant::now();
        let answer = probe.poll(poll?, patience).await;
        Some((answer, started.elapsed()))
    };
    let (socket, poll) = tokio::join!(on_socket, on_poll);
    let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
    let (mut good, mut silent, mut cut) = (Vec::new(), Vec::new(), Vec::new());
    match socket {
        None => {}
        Some(Waited::Arrived(time)) => {
            good.push(format!("a heartbeat arrived after {}", seconds(time)));
        }
        Some(Waited::Cut(time)) => {
            cut.push(format!("an idle websocket was cut after {}", seconds(time)));
        }
        Some(Waited::Silence) => {
            silent.push(format!(
                "no heartbeat arrived within {}, and the connection was not cut",
                seconds(patience)
            ));
        }
    }
    match poll {
        None => {}
        Some((Ok(answer), time)) if answer.status == StatusCode::OK => {
            good.push(format!("an empty poll ended after {}", seconds(time)));
        }
        Some((Ok(answer), time)) => {
            let status = answer.status;
            cut.push(format!("an idle poll was answered with {status} after {}", seconds(time)));
        }
        Some((Err(_), time)) if time >= patience => {
            silent.push(format!("an empty poll did not end within {}", seconds(patience)));
        }
        Some((Err(error), time)) => {
            cut.push(format!("an idle poll was cut after {}: {}", seconds(time), describe(&error)));
        }
    }
    if !cut.is_empty() {
        return findings.fault(IDLE, cut.join("; "), CUTS);
    }
    if !silent.is_empty() {
        let advice = format!(
            "{BUFFERS} If the server's heartbeat_interval or wake_connections_after is longer, \
             increase --patience"
        );
        return findings.fault(IDLE, silent.join("; "), advice);
    }
    if good.is_empty() {
        return findings.skipped(IDLE, "no connection to watch");
    }
    findings.good(IDLE, good.join("; "))
}
