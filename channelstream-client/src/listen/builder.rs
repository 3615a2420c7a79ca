//! `EventStreamBuilder`: from a connection to a `EventStream`.

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

/// The settings of a [`EventStream`] in the making; [`EventStream::builder`], [`Client::listen`] and
/// [`Client::listen_as`] start one.
#[must_use]
pub struct EventStreamBuilder {
    place: Place,
    conn_id: Option<Uuid>,
    settings: Settings,
    renew: Option<Renew>,
    roots: Option<Vec<u8>>,
}

/// Where to listen.
pub(super) enum Place {
    Client(Client),
    Address(String),
}

/// The server as listeners see it.
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

/// Makes new connections.
pub(super) type Renew = Box<dyn FnMut() -> Renewing + Send>;

type Renewing = Pin<Box<dyn Future<Output = Result<Uuid, Error>> + Send>>;

impl EventStreamBuilder {
    pub(super) fn new(place: Place, conn_id: Option<Uuid>) -> Self {
        let backoff =
            Backoff { first: Duration::from_millis(250), longest: Duration::from_secs(30) };
        let settings =
            Settings { silence: DEFAULT_SILENCE, backoff, websocket: true, long_poll: true };
        Self { place, conn_id, settings, renew: None, roots: None }
    }

    /// After how long without any sign of the server, heartbeats included, the line counts as
    /// dead; also how long opening one may take. Default 15 s. If the server's
    /// `heartbeat_interval` or `wake_connections_after` is longer than 5 s, make this three
    /// times as long.
    pub fn silence(mut self, silence: Duration) -> Self {
        self.settings.silence = silence;
        self
    }

    /// The pause after a first failure. It doubles with each further one, up to
    /// [`longest_pause`](Self::longest_pause), and begins anew when something was heard; each is
    /// cut by chance to between a half and the whole. Default 0.25 s.
    pub fn first_pause(mut self, pause: Duration) -> Self {
        self.settings.backoff.first = pause;
        self
    }

    /// The longest pause between attempts. Default 30 s.
    pub fn longest_pause(mut self, pause: Duration) -> Self {
        self.settings.backoff.longest = pause;
        self
    }

    /// Trusts servers by these certificates alone, as
    /// [`ClientBuilder::root_certificates`](crate::ClientBuilder::root_certificates) does. A
    /// client's listener trusts whom its client trusts, whatever is given here.
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

    /// Makes a new connection when the server doesn't know the old one any more, as after a
    /// restart: it returns the new one's id, perhaps by asking the backend that knows the secret.
    /// If it fails, it is called again after a pause.
    ///
    /// A connection that is disconnected while it is listened on over a websocket is not renewed:
    /// somebody wanted it to end.
    ///
    /// ```no_run
    /// use channelstream_client::{EventStream, Uuid};
    ///
    /// # async fn ask_my_backend() -> std::io::Result<Uuid> { Ok(Uuid::nil()) }
    /// # async fn listen() -> Result<(), Box<dyn std::error::Error>> {
    /// let first = ask_my_backend().await?;
    /// let listener = EventStream::builder("https://push.example.com", first)
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
            Box::pin(async move { made.await.map_err(|error| Error::renewal(error.into())) })
        };
        self.renew = Some(Box::new(make));
        self
    }

    /// Makes the listener. Nothing is sent before it is waited for.
    ///
    /// # Errors
    ///
    /// Of the kind [`Builder`](crate::ErrorKind::Builder): the address is none, the root
    /// certificates are none, or TLS cannot be set up.
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
        Ok(EventStream::new(Reconnector::new(server, self.settings, self.conn_id, self.renew)))
    }
}

/// Shows neither the address, which may hold a password, nor the connection's id, which lets
/// anybody listen.
impl Debug for EventStreamBuilder {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStreamBuilder")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
