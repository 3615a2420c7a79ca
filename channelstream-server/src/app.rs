//! What handlers share: settings, the node, and what limits and counts requests.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::Guard;
use bytes::Bytes;
use channelstream_core::protocol::{self, Body};
use channelstream_core::state::Refusal;
use http::header::RETRY_AFTER;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::admin;
use crate::clock;
use crate::config::Config;
use crate::http::body::{BodyError, BodyLimit};
use crate::http::connection::Shared;
use crate::http::forwarded;
use crate::http::problem::Problem;
use crate::http::rate_limiter::RateLimiter;
use crate::http::request::Request;
use crate::http::tls::Tls;
use crate::journal;
use crate::limits::{Limit, Limits};
use crate::metrics::Metrics;
use crate::node::{self, Node};
use crate::reload::Reload;
use crate::router::auth::Auth;
use crate::router::browser;
use crate::router::nonces::{Arrival, Nonces};
use crate::settings::{Current, Settings};
use crate::socket::LocalAddr;
use crate::webhooks::Webhooks;

/// The time in which one address may make `max_requests_per_address` requests.
pub(crate) const REQUESTS_WINDOW: Duration = Duration::from_secs(10);

/// The size limit of a body without permissions: the requests that need none are short.
const UNAUTHORIZED_BODY: BodyLimit =
    BodyLimit { bytes: 8 * 1024, name: "fixed, for requests without permissions" };

/// What handlers share.
pub(crate) struct App {
    pub(crate) current: Current,
    pub(crate) reload: Reload,
    /// The addresses that the server listens on.
    pub(crate) local_addrs: Vec<LocalAddr>,
    pub(crate) node: Node,
    /// Failed sign-ins.
    pub(crate) sign_ins: RateLimiter,
    pub(crate) requests: RateLimiter,
    /// The signatures over requests that counted.
    pub(crate) nonces: Nonces,
    /// What TCP connections share.
    pub(crate) http: Arc<Shared>,
    /// The certificate and key, if the server speaks TLS.
    pub(crate) tls: Option<Arc<Tls>>,
    /// Each request of a backend holds a clone while it is answered, and the drain waits for these.
    /// A poll holds none, because it waits for others.
    pub(crate) active_requests: Arc<()>,
    /// Becomes true when the drain begins.
    pub(crate) draining: watch::Sender<bool>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) webhooks: Webhooks,
    pub(crate) notes: forwarded::Notes,
    pub(crate) feed: admin::Feed,
    pub(crate) started: Instant,
    /// The same by the wall clock, in seconds since 1970.
    pub(crate) started_at: f64,
    /// Whether only this machine reaches the server.
    pub(crate) is_on_loopback: bool,
    /// The first TCP address that the server listens on, or `localhost`.
    pub(crate) local: String,
}

impl App {
    pub(crate) fn new(
        config: Config,
        node: Node,
        limits: Arc<Limits>,
        metrics: Arc<Metrics>,
        webhooks: Webhooks,
        local: &[LocalAddr],
        tls: Option<Tls>,
    ) -> Self {
        let tcp = local.iter().find_map(LocalAddr::tcp);
        let port = tcp.map(|address| address.port());
        let auth = Auth::new(&config, port.unwrap_or(config.port));
        Self {
            reload: Reload::default(),
            sign_ins: RateLimiter::new(config.max_failed_sign_ins, config.failed_sign_ins_window),
            nonces: Nonces::new(Arrival { time: clock::unix_seconds(), instant: Instant::now() }),
            requests: RateLimiter::new(config.max_requests_per_address, REQUESTS_WINDOW),
            http: Arc::new(Shared::new(&config, Arc::clone(&limits), Arc::clone(&metrics))),
            tls: tls.map(Arc::new),
            active_requests: Arc::default(),
            draining: watch::Sender::new(false),
            limits,
            metrics,
            webhooks,
            notes: forwarded::Notes::default(),
            feed: admin::Feed::new(),
            started: Instant::now(),
            started_at: clock::seconds_since_1970(),
            is_on_loopback: local.iter().all(LocalAddr::is_of_this_machine),
            local: tcp.map_or_else(|| "localhost".to_owned(), |address| address.to_string()),
            local_addrs: local.to_vec(),
            current: Current::new(Settings::new(config, auth)),
            node,
        }
    }

    /// Returns the settings as they are now.
    pub(crate) fn settings(&self) -> Guard<Arc<Settings>> {
        self.current.get()
    }

    /// How many requests of backends are being answered, except polls.
    pub(crate) fn requests(&self) -> usize {
        Arc::strong_count(&self.active_requests) - 1
    }

    /// Waits until the drain begins.
    pub(crate) async fn drain_begins(&self) {
        let mut draining = self.draining.subscribe();
        // The sender lives as long as this.
        let _ = draining.wait_for(|is_draining| *is_draining).await.map(drop);
    }

    /// How many TCP connections are open.
    pub(crate) fn tcp_connections(&self) -> usize {
        self.http.connections.count()
    }

    /// Takes samples for the charts of the admin page. Never returns.
    pub(crate) async fn take_samples(self: Arc<Self>) {
        admin::take_samples(&self).await;
    }

    /// Closes the feeds of open admin pages.
    pub(crate) fn close_pages(&self) {
        self.feed.close();
    }

    /// Counts a request against its address. Loopback, proxies and addresses that may post stand
    /// for many clients and are not counted.
    ///
    /// # Errors
    /// Returns an error if the address has made too many requests.
    pub(crate) fn admit(&self, request: &Request) -> Result<(), Problem> {
        let peer = request.peer;
        let Config { trusted_proxies, allow_posting_from, .. } = &request.settings.config;
        if peer.is_of_this_machine()
            || peer.is_in(trusted_proxies)
            || peer.is_in(allow_posting_from)
        {
            return Ok(());
        }
        self.requests.admit(peer, Instant::now()).map_err(|retry_after| {
            self.limits.refused(Limit::RequestsPerAddress, peer);
            let what = "too many requests from this address (max_requests_per_address)";
            Problem::TooMany { what, retry_after }
        })
    }

    /// Checks that the secret `setting` counts for this request. A default secret is well known, so
    /// it does not suffice where a page of another site may be behind the request.
    ///
    /// # Errors
    /// Returns an error if the secret is the default and does not count.
    pub(crate) fn check_default(
        &self,
        setting: &'static str,
        request: &Request,
    ) -> Result<(), Problem> {
        if !request.settings.default_secrets.contains(&setting) {
            return Ok(());
        }
        browser::may_use_defaults(request, self.is_on_loopback).map_err(|why| {
            let why = format!(
                "{setting} is the well-known default, which does not count for this request: \
                 {why}; set {setting} to something of your own"
            );
            Problem::Refused(why.into())
        })
    }

    /// Reads the whole body of a request to the API.
    pub(crate) async fn body(&self, request: &mut Request) -> Result<Bytes, Problem> {
        let (most, time) = {
            let Config { max_body_size, body_timeout, .. } = request.settings.config;
            (max_body_size, body_timeout)
        };
        let limit = if request.permissions.backend {
            BodyLimit { bytes: most, name: "max_body_size" }
        } else {
            UNAUTHORIZED_BODY
        };
        Ok(request.body(limit, time).await?)
    }

    pub(crate) fn json<'a>(&self, body: &'a [u8]) -> Result<Body<'a>, Problem> {
        let parsed = protocol::parse(body, self.settings().config.json_bounds());
        parsed.map_err(|error| BodyError::NotJson(error).into())
    }
}

impl From<node::Error> for Problem {
    fn from(error: node::Error) -> Self {
        match error {
            node::Error::Refused(refusal @ Refusal::CannotCancel) => {
                Self::Refused(refusal.to_string().into())
            }
            node::Error::Refused(refusal @ Refusal::UserRefused { seconds, .. }) => Self::With(
                Box::new(Self::Refused(refusal.to_string().into())),
                RETRY_AFTER,
                seconds.into(),
            ),
            node::Error::Refused(refusal @ Refusal::LevelTooLow) => {
                Self::Unavailable(refusal.to_string().into())
            }
            node::Error::Refused(refusal) => Self::FieldErrors(refusal.field_errors()),
            node::Error::Unavailable(why @ journal::Error::InDoubt) => {
                Self::InDoubt(why.to_string().into())
            }
            node::Error::Unavailable(
                why @ (journal::Error::NoSpace
                | journal::Error::NoMemory
                | journal::Error::NoWrites
                | journal::Error::Away
                | journal::Error::Late),
            ) => Self::Unavailable(why.to_string().into()),
            node::Error::Unavailable(_) => Self::Unavailable(error.to_string().into()),
            node::Error::Stopped => Self::Stopped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_that_takes_nothing_has_done_nothing() {
        for error in [journal::Error::Full, journal::Error::NoSpace, journal::Error::Closed] {
            let problem = Problem::from(node::Error::from(error));
            assert!(matches!(problem, Problem::Unavailable(_)), "{problem:?}");
        }
        assert!(matches!(Problem::from(node::Error::Stopped), Problem::Stopped));
    }
}
