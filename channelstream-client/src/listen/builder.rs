//! `EventStreamBuilder`: the settings of an `EventStream`.

use std::error::Error as StdError;
use std::fmt::{self, Debug, Formatter};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use channelstream_core::protocol::Uuid;
use http::HeaderValue;
use reqwest::Url;

use super::EventStream;
use super::reconnector::Reconnector;
use crate::builder::{default_http_client, parse_address, user_agent};
use crate::client::Client;
use crate::error::Error;
use crate::retry::Backoff;

/// Three heartbeats of a server with its default settings.
const DEFAULT_SILENCE: Duration = Duration::from_secs(15);

/// A builder of an [`EventStream`], created by [`EventStream::builder`], [`Client::listen`] and
/// [`Client::listen_as`].
#[must_use]
pub struct EventStreamBuilder {
    place: Place,
    conn_id: Option<Uuid>,
    settings: Settings,
    renew: Option<Renew>,
    roots: Option<Vec<u8>>,
    since: Option<String>,
}

/// The server to listen to.
pub(super) enum Place {
    Client(Client),
    Address(String),
}

/// The server as a stream reaches it.
pub(super) struct Server {
    pub(super) http: reqwest::Client,
    pub(super) address: Url,
    pub(super) proxy: Option<String>,
    pub(super) user_agent: Option<HeaderValue>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) silence: Duration,
    pub(super) backoff: Backoff,
    pub(super) websocket: bool,
    pub(super) long_poll: bool,
}

/// Creates new connections.
pub(super) type Renew = Box<dyn FnMut() -> Renewing + Send>;

pub(super) type Renewing = Pin<Box<dyn Future<Output = Result<Renewed, Error>> + Send>>;

/// A new connection.
pub(super) struct Renewed {
    pub(super) conn_id: Uuid,
    /// Where a listener of the connection begins, if the server told.
    pub(super) cursor: Option<String>,
}

impl EventStreamBuilder {
    pub(super) fn new(place: Place, conn_id: Option<Uuid>) -> Self {
        let backoff =
            Backoff { first: Duration::from_millis(250), longest: Duration::from_secs(30) };
        let settings =
            Settings { silence: DEFAULT_SILENCE, backoff, websocket: true, long_poll: true };
        Self { place, conn_id, settings, renew: None, roots: None, since: None }
    }

    /// Sets the time without events and heartbeats after which the TCP connection counts as dead. It
    /// also bounds the time for opening one. The default is 15 s. If the server's
    /// `heartbeat_interval` or `wake_connections_after` is longer than 5 s, set three times as much.
    pub fn silence(mut self, silence: Duration) -> Self {
        self.settings.silence = silence;
        self
    }

    /// Sets the pause after a first failure. The pause doubles with each further failure, up to
    /// [`longest_pause`](Self::longest_pause), and is reset when an event or heartbeat arrives. Jitter
    /// shortens each pause to between half of it and the whole. The default is 0.25 s.
    pub fn first_pause(mut self, pause: Duration) -> Self {
        self.settings.backoff.first = pause;
        self
    }

    /// Sets the longest pause between attempts. The default is 30 s.
    pub fn longest_pause(mut self, pause: Duration) -> Self {
        self.settings.backoff.longest = pause;
        self
    }

    /// Trusts only these root certificates, as
    /// [`ClientBuilder::root_certificates`](crate::ClientBuilder::root_certificates) does. This has no
    /// effect on a stream of a [`Client`], which has the certificates of the client.
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots = Some(pem.into());
        self
    }

    /// Listens over websockets only.
    pub fn only_websocket(mut self) -> Self {
        (self.settings.websocket, self.settings.long_poll) = (true, false);
        self
    }

    /// Listens over long polls only.
    pub fn only_long_poll(mut self) -> Self {
        (self.settings.websocket, self.settings.long_poll) = (false, true);
        self
    }

    /// Begins with the events after this cursor, which is what [`EventStream::cursor`] of an earlier stream
    /// returned, in this program or in one that has ended. Without a cursor, a stream begins with what the
    /// connection has not been sent.
    ///
    /// The server recovers what it still has, for a connection of the same user in the same channels, and
    /// reports the rest as [gaps](crate::Gap::Lost). It reports a cursor that it cannot read as a gap, too.
    /// A server that does not know cursors ignores it.
    ///
    /// ```no_run
    /// # use channelstream_client::{Client, Connect, Error};
    /// # async fn listen(client: Client, stored: String) -> Result<(), Error> {
    /// let robot = Connect::new("robot").channels(["news"]);
    /// let mut events = client.listen_as(robot).since(stored).build()?;
    /// while let Some(event) = events.next().await {
    ///     println!("{event:?}; from here on: {:?}", events.cursor());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn since(mut self, cursor: impl Into<String>) -> Self {
        self.since = Some(cursor.into()).filter(|cursor| !cursor.is_empty());
        self
    }

    /// Sets a function that creates a new connection when the server no longer knows the old one, as
    /// after a restart. The function returns the id of the new connection, for example by requesting
    /// it from the backend that has the secret. If the function fails, it is called again after a
    /// pause.
    ///
    /// A connection that is disconnected while the stream listens on it over a websocket is not
    /// renewed, since it was ended on purpose.
    ///
    /// ```no_run
    /// use channelstream_client::{EventStream, Uuid};
    ///
    /// # async fn ask_my_backend() -> std::io::Result<Uuid> { Ok(Uuid::nil()) }
    /// # async fn listen() -> Result<(), Box<dyn std::error::Error>> {
    /// let first = ask_my_backend().await?;
    /// let events = EventStream::builder("https://push.example.com", first)
    ///     .renewed_by(|| ask_my_backend())
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn renewed_by<F, E>(mut self, mut make: impl FnMut() -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<Uuid, E>> + Send + 'static,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let make = move || -> Renewing {
            let made = make();
            Box::pin(async move {
                let conn_id = made.await.map_err(|error| Error::renewal(error.into()))?;
                Ok(Renewed { conn_id, cursor: None })
            })
        };
        self.renew = Some(Box::new(make));
        self
    }

    pub(super) fn renewed(mut self, renew: Renew) -> Self {
        self.renew = Some(renew);
        self
    }

    /// Creates the stream. Nothing is sent before the stream is polled.
    ///
    /// # Errors
    ///
    /// An error of the kind [`Builder`](crate::ErrorKind::Builder) if the address or the root
    /// certificates are invalid, or TLS cannot be set up.
    pub fn build(self) -> Result<EventStream, Error> {
        let server = match self.place {
            Place::Client(client) => {
                let parts = &*client.0;
                Server {
                    http: parts.http.clone(),
                    address: parts.address.clone(),
                    proxy: parts.proxy.clone(),
                    user_agent: parts.user_agent.clone(),
                }
            }
            Place::Address(text) => {
                let address = parse_address(&text)?;
                let (http, proxy) = default_http_client(&address, self.roots.as_deref())?;
                Server { http, address, proxy, user_agent: user_agent(None, true)? }
            }
        };
        let reconnector =
            Reconnector::new(server, self.settings, self.conn_id, self.renew, self.since.clone());
        Ok(EventStream::new(reconnector, self.since))
    }
}

/// The output has neither the address, which may contain a password, nor the connection's id, which
/// allows to listen.
impl Debug for EventStreamBuilder {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStreamBuilder")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
