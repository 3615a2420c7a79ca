//! The checks of websocket and long poll: whether messages come through, and silence is borne.

use std::cell::RefCell;
use std::time::Duration;

use channelstream_client::{Client, Connect, NewMessage, StatusCode, Uuid, json};
use tokio::time::Instant;

use super::Findings;
use super::lines::{Socket, Waited};
use super::probe::{Probe, told};
use crate::failure::Failure;

const USER: &str = "channelstream-doctor";
/// How long a message may take.
const DELIVERY: Duration = Duration::from_secs(3);

const POLL: &str = "long poll";
const WEBSOCKET: &str = "websocket";
const IDLE: &str = "idle lines";

const LOG: &str = "look into the server's log";
const UPGRADE: &str = "a proxy has to pass Upgrade on; in nginx: proxy_http_version 1.1; \
     proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";";
const OLD_HTTP: &str = "in nginx: proxy_http_version 1.1;";
const BUFFERS: &str = "a proxy must not keep answers back; in nginx: proxy_buffering off;";
pub(super) const CUTS: &str = "a proxy must bear silence for longer than the server's \
     heartbeat_interval and wake_connections_after; in nginx: proxy_read_timeout 60s;";

/// The connections that we make, to be ended whatever comes.
pub(super) struct Guests {
    client: Client,
    made: RefCell<Vec<Uuid>>,
}

impl Guests {
    pub(super) fn new(client: Client) -> Self {
        Self { client, made: RefCell::default() }
    }

    /// A connection for one check; nothing if there is none, which is a fault.
    async fn connect(
        &self,
        name: &'static str,
        findings: &mut Findings,
    ) -> Result<Option<Uuid>, Failure> {
        let conn_id = Uuid::new_v4();
        self.made.borrow_mut().push(conn_id);
        let request = Connect { conn_id: Some(conn_id), ..Connect::new(USER) };
        match self.client.connect(&request).await {
            Ok(_) => Ok(Some(conn_id)),
            Err(error) => {
                findings.fault(name, error.to_string(), LOG)?;
                Ok(None)
            }
        }
    }

    /// Ends all of them.
    pub(super) async fn leave(&self) {
        for conn_id in self.made.take() {
            // If it fails, the connection ends by itself after a while.
            let _ = self.client.disconnect(conn_id).await;
        }
    }
}

pub(super) async fn all(
    probe: &Probe,
    guests: &Guests,
    patience: Duration,
    has_upgrades: bool,
    findings: &mut Findings,
) -> Result<(), Failure> {
    let client = &guests.client;
    // First, since a socket hears every message, and is to hear one and then silence.
    let polls_work = match guests.connect(POLL, findings).await? {
        Some(conn_id) => {
            let works = long_poll(probe, client, conn_id, patience, findings).await?;
            guests.leave().await;
            works
        }
        None => false,
    };
    let mut socket = None;
    if !has_upgrades {
        findings.skipped(WEBSOCKET, "there are none over this HTTP")?;
    } else if let Some(conn_id) = guests.connect(WEBSOCKET, findings).await? {
        socket = websocket(probe, client, conn_id, patience, findings).await?;
    }
    // A new one, for which nothing is kept.
    let poll = if polls_work { guests.connect(IDLE, findings).await? } else { None };
    idle(socket, probe, poll, patience, findings).await
}

/// Sends ourselves a message; its id, by which it is found.
async fn publish(client: &Client) -> Result<String, channelstream_client::Error> {
    let id = Uuid::new_v4();
    client.publish(NewMessage::to_users(USER, [USER], json!({})).id(id)).await?;
    Ok(id.to_string())
}

/// An open socket over which messages come.
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
            let detail = told(&error);
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
        Waited::Came(time) => {
            findings.good(DELIVERED, format!("a message came after {} ms", time.as_millis()))?;
            return Ok(Some(socket));
        }
        Waited::Cut(time) => {
            let detail = format!("the line was cut after {} ms", time.as_millis());
            findings.fault(DELIVERED, detail, CUTS)?;
        }
        Waited::Silence => {
            let detail = format!("no message came within {} s", DELIVERY.as_secs());
            findings.fault(DELIVERED, detail, BUFFERS)?;
        }
    }
    Ok(None)
}

/// Whether messages come by it.
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
            findings.good(POLL, "it brings a message")?;
            return Ok(true);
        }
        (Ok(answer), _) if answer.status == StatusCode::OK => {
            ("it does not bring the message".to_owned(), "does a proxy cache /listen?".to_owned())
        }
        (Ok(answer), _) => (format!("it was answered with {}", answer.status), CUTS.to_owned()),
        (Err(error), _) => (told(&error), format!("{CUTS} {BUFFERS}")),
    };
    findings.fault(POLL, detail, advice)?;
    Ok(false)
}

/// Watches lines on which nothing is said until the server says that it is there: on a socket by
/// a heartbeat, in a poll by an empty answer.
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
        let begun = Instant::now();
        let answer = probe.poll(poll?, patience).await;
        Some((answer, begun.elapsed()))
    };
    let (socket, poll) = tokio::join!(on_socket, on_poll);
    let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
    let (mut good, mut silent, mut cut) = (Vec::new(), Vec::new(), Vec::new());
    match socket {
        None => {}
        Some(Waited::Came(time)) => good.push(format!("a heartbeat came after {}", seconds(time))),
        Some(Waited::Cut(time)) => {
            cut.push(format!("a silent websocket was cut after {}", seconds(time)));
        }
        Some(Waited::Silence) => {
            silent.push(format!(
                "no heartbeat came within {}, nor was the line cut",
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
            cut.push(format!("a silent poll was answered with {status} after {}", seconds(time)));
        }
        Some((Err(_), time)) if time >= patience => {
            silent.push(format!("an empty poll did not end within {}", seconds(patience)));
        }
        Some((Err(error), time)) => {
            cut.push(format!("a silent poll was cut after {}: {}", seconds(time), told(&error)));
        }
    }
    if !cut.is_empty() {
        return findings.fault(IDLE, cut.join("; "), CUTS);
    }
    if !silent.is_empty() {
        let advice = format!(
            "{BUFFERS} If the server's heartbeat_interval or wake_connections_after is longer, \
             say so with --patience"
        );
        return findings.fault(IDLE, silent.join("; "), advice);
    }
    if good.is_empty() {
        return findings.skipped(IDLE, "there is none to watch");
    }
    findings.good(IDLE, good.join("; "))
}
