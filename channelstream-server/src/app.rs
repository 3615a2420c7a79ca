//! What handlers share: settings, the node, and the parts that bound and count requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use channelstream_core::protocol::{self, Body, Bounds};
use channelstream_signer::InvalidSeparator;
use tokio::time::Instant;

use crate::admin;
use crate::config::Config;
use crate::http::accepting::Accepting;
use crate::http::answer::{BodyBound, Common, Problem};
use crate::http::connection::Lines;
use crate::http::forwarded;
use crate::http::rate_limiter::Allowance;
use crate::http::request::Request;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::node::Node;
use crate::router::auth::Gate;
use crate::router::browser;

/// The time in which one address may make `max_requests_per_address` requests.
const REQUESTS_WINDOW: Duration = Duration::from_secs(10);

/// The most that is read of a body for who has no rights: what needs none is short.
const BODY_WITHOUT_RIGHTS: BodyBound =
    BodyBound { bytes: 8 * 1024, name: "fixed, for requests without rights" };

/// What handlers share.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) node: Node,
    pub(crate) gate: Gate,
    pub(crate) common_headers: Common,
    /// Failed sign-ins.
    pub(crate) sign_ins: Allowance,
    pub(crate) requests: Allowance,
    pub(crate) lines: Arc<Lines>,
    /// Whether connections can be accepted.
    pub(crate) accepting: Accepting,
    /// Held by each request with rights that is being answered: the end waits for what these bring.
    /// Not by a poll, which waits for others.
    pub(crate) under_way: Arc<()>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) notes: forwarded::Notes,
    pub(crate) feed: admin::Feed,
    pub(crate) started: Instant,
    /// Whether only this machine reaches the server.
    pub(crate) is_on_loopback: bool,
    /// The settings that are the defaults which everybody knows.
    pub(crate) default_secrets: Vec<&'static str>,
    /// The (first) address that is listened on, as text.
    pub(crate) local: String,
}

impl App {
    /// # Errors
    /// Never: the signers have the usual separator.
    pub(crate) fn new(
        config: Config,
        node: Node,
        limits: Arc<Limits>,
        local: &[SocketAddr],
    ) -> Result<Self, InvalidSeparator> {
        Ok(Self {
            gate: Gate::new(&config, local.first().map_or(config.port, SocketAddr::port))?,
            common_headers: Common::new(&config.allow_cors),
            sign_ins: Allowance::new(config.max_failed_sign_ins, config.failed_sign_ins_window),
            requests: Allowance::new(config.max_requests_per_address, REQUESTS_WINDOW),
            lines: Arc::new(Lines::new(config.max_connections, config.max_connections_per_address)),
            accepting: Accepting::default(),
            under_way: Arc::default(),
            limits,
            metrics: Arc::default(),
            notes: forwarded::Notes::default(),
            feed: admin::Feed::new(),
            started: Instant::now(),
            is_on_loopback: local.iter().all(|local| local.ip().to_canonical().is_loopback()),
            local: local.first().map(ToString::to_string).unwrap_or_default(),
            default_secrets: config.default_secrets(),
            config,
            node,
        })
    }

    /// How many requests with rights are being answered, waiting polls aside.
    pub(crate) fn requests(&self) -> usize {
        Arc::strong_count(&self.under_way) - 1
    }

    /// Keeps figures for the charts of pages to come; never ends.
    pub(crate) async fn take_samples(self: Arc<Self>) {
        admin::take_samples(&self).await;
    }

    /// Lets the pages that are told live go, with the listeners.
    pub(crate) fn close_pages(&self) {
        self.feed.close();
    }

    /// Whether all lines have ended.
    pub(crate) fn has_no_lines(&self) -> bool {
        self.lines.count() == 0
    }

    /// Counts a request, unless its address has made too many. Loopback, proxies and addresses that
    /// may post speak for many and are not counted.
    pub(crate) fn admit(&self, request: &Request) -> Result<(), Problem> {
        let peer = request.peer;
        let Config { trusted_proxies, allow_posting_from, .. } = &self.config;
        if peer.is_loopback() || peer.is_in(trusted_proxies) || peer.is_in(allow_posting_from) {
            return Ok(());
        }
        let now = Instant::now();
        match self.requests.wait(peer, now) {
            Some(seconds) => Err(Problem::TooManyRequests(seconds)),
            None => {
                self.requests.count(peer, now);
                Ok(())
            }
        }
    }

    /// While the secret `setting` is the default that everybody knows, knowing it is not enough.
    ///
    /// # Errors
    /// If a page of somebody else may be behind the request.
    pub(crate) fn check_default(
        &self,
        setting: &'static str,
        request: &Request,
    ) -> Result<(), Problem> {
        if !self.default_secrets.contains(&setting) {
            return Ok(());
        }
        browser::may_use_defaults(request, self.is_on_loopback)
            .map_err(|why| Problem::WellKnown(setting, why))
    }

    /// The whole body of a request to the API.
    pub(crate) async fn body(&self, request: &mut Request) -> Result<Bytes, Problem> {
        let most = if request.has_rights {
            BodyBound { bytes: self.config.max_body_size, name: "max_body_size" }
        } else {
            BODY_WITHOUT_RIGHTS
        };
        request.body(most, self.config.body_timeout).await
    }

    pub(crate) fn json<'a>(&self, body: &'a [u8]) -> Result<Body<'a>, Problem> {
        let Config { max_json_depth: depth, max_json_elements: elements, .. } = self.config;
        protocol::parse(body, Bounds { depth, elements }).map_err(Problem::NotJson)
    }
}
