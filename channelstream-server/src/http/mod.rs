//! HTTP: what every request goes through, and what serves each call.

pub(crate) mod accept;
mod admin;
mod allowance;
mod answer;
mod backend;
mod browser;
mod host;
mod openapi;
mod pages;
mod poll;
mod refusal;
mod request;
mod rights;
mod routes;
mod socket;
mod stall;
mod tutorial;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use channelstream_core::protocol::{self, Body, Bounds};
use channelstream_signer::InvalidSeparator;
use http::Response;
use hyper::upgrade::OnUpgrade;
use tokio::time::Instant;
use warp::Filter;

use crate::config::Config;
use crate::node::Node;
use accept::{Head, Lines};
use allowance::Allowance;
use answer::{Answer, Common, Problem, TEXT, respond};
use request::Request;
use rights::Gate;
use routes::{Access, Call};

/// The time in which one address may make `max_requests_per_address` requests.
const REQUESTS_WINDOW: Duration = Duration::from_secs(10);

/// What handlers share.
pub(crate) struct App {
    config: Config,
    node: Node,
    gate: Gate,
    common_headers: Common,
    /// Failed sign-ins.
    sign_ins: Allowance,
    requests: Allowance,
    lines: Arc<Lines>,
    live: admin::Live,
    started: Instant,
    /// Whether only this machine reaches the server.
    is_on_loopback: bool,
    /// The address that is listened on, as text.
    local: String,
}

impl App {
    /// # Errors
    /// Never: the signers have the usual separator.
    pub(crate) fn new(
        config: Config,
        node: Node,
        local: SocketAddr,
    ) -> Result<Self, InvalidSeparator> {
        Ok(Self {
            gate: Gate::new(&config)?,
            common_headers: Common::new(&config.allow_cors),
            sign_ins: Allowance::new(config.max_failed_sign_ins, config.failed_sign_ins_window),
            requests: Allowance::new(config.max_requests_per_address, REQUESTS_WINDOW),
            lines: Arc::new(Lines::new(config.max_connections, config.max_connections_per_address)),
            live: admin::Live::new(),
            started: Instant::now(),
            is_on_loopback: local.ip().to_canonical().is_loopback(),
            local: local.to_string(),
            config,
            node,
        })
    }

    /// Lets the pages that are told live go, at the beginning of the drain.
    pub(crate) fn close_pages(&self) {
        self.live.close();
    }

    /// Whether all lines have ended.
    pub(crate) fn has_no_lines(&self) -> bool {
        self.lines.count() == 0
    }

    /// Counts a request, unless its address has made too many. Loopback, proxies and addresses that
    /// may post speak for many and are not counted.
    fn admit(&self, request: &Request) -> Result<(), Problem> {
        let peer = request.peer;
        let Config { trusted_proxies, allow_posting_from, .. } = &self.config;
        if peer.is_loopback() || trusted_proxies.contains(peer) || allow_posting_from.contains(peer)
        {
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

    /// The whole body of a request to the API.
    async fn body(&self, request: &mut Request) -> Result<Bytes, Problem> {
        request.body(self.config.max_body_size, self.config.body_timeout).await
    }

    fn json<'a>(&self, body: &'a [u8]) -> Result<Body<'a>, Problem> {
        let Config { max_json_depth: depth, max_json_elements: elements, .. } = self.config;
        protocol::parse(body, Bounds { depth, elements }).map_err(Problem::NotJson)
    }
}

/// Every request as one warp filter. The filter only extracts; what is answered is decided below,
/// in the order that the contract fixes, which rejections could not keep.
pub(crate) fn routes(
    app: Arc<App>,
) -> impl Filter<Extract = (Response<Bytes>,), Error = warp::Rejection> + Clone {
    warp::ext::get::<Arc<Head>>()
        .and(warp::ext::optional::<OnUpgrade>())
        .and(warp::body::stream())
        .then(move |head: Arc<Head>, upgrade, body| {
            let app = Arc::clone(&app);
            async move {
                let pieces = Box::pin(futures_util::StreamExt::map(body, |piece| {
                    Result::map(piece, request::piece)
                }));
                let trusted = &app.config.trusted_proxies;
                let began = Instant::now();
                let mut request = Request::new(Arc::clone(&head), upgrade, pieces, trusted);
                let path = request.path.take();
                let outcome = answer_one(&app, path.as_deref(), request).await;
                let response = respond(outcome, &head.headers, &app.common_headers);
                tracing::debug!(
                    method = %head.method,
                    path = path.as_deref().unwrap_or("(undecodable)"),
                    status = response.status().as_u16(),
                    micros = began.elapsed().as_micros(),
                    "answered"
                );
                response
            }
        })
}

/// Checks the head, then in the order of contract §3 (scheme, address, signature, path, rights), then serves.
async fn answer_one(
    app: &Arc<App>,
    path: Option<&str>,
    mut request: Request,
) -> Result<Answer, Problem> {
    if let Some(fault) = request.head.fault {
        return Err(Problem::Malformed(fault));
    }
    app.admit(&request)?;
    let path = path.ok_or(Problem::NotFound { nearest: None })?;
    let method = request.head.method.clone();
    if routes::find(method.as_str(), path).is_some_and(|route| route.call == Call::Socket) {
        return socket::open(app, &mut request);
    }
    if app.config.enforce_https && !request.is_https(&app.config) {
        return Err(Problem::HttpsOnly);
    }
    let has_cookie_area = path == "/admin" || path.starts_with("/admin/");
    let may_sign_in = has_cookie_area || path == "/api-explorer" || path.starts_with("/openapi");
    let is_signed_in = may_sign_in && app.gate.is_signed_in(&request.head.headers, &app.config);
    let has_rights = is_signed_in || app.gate.may_post(&request, &app.config)?;
    // Others than backends call the same endpoints below paths of their own.
    let (path, may_call) = if let Some(endpoint) = tutorial::simulated(path) {
        tutorial::allow(app, &request)?;
        (endpoint, true)
    } else if let Some(endpoint) = admin::acting(path) {
        admin::allow(&request, endpoint, is_signed_in)?;
        (endpoint, true)
    } else {
        (path, has_rights)
    };
    if method == http::Method::OPTIONS {
        return Ok(Answer::new(TEXT, ""));
    }
    let route = routes::find(method.as_str(), path)
        .ok_or_else(|| Problem::NotFound { nearest: routes::nearest(path) })?;
    match route.access {
        Access::Open => {}
        Access::Backend if may_call => {}
        Access::Admin | Access::Documents if has_rights => {}
        Access::Admin => return Err(admin::sign_in_first(app, &request)),
        Access::Backend | Access::Documents => return Err(Problem::Forbidden),
    }
    match route.call {
        Call::Connect => backend::connect(app, request).await,
        Call::Subscribe => backend::subscribe(app, request).await,
        Call::Unsubscribe => backend::unsubscribe(app, request).await,
        Call::UserState => backend::user_state(app, request).await,
        Call::Publish => backend::publish(app, request).await,
        Call::Edit => backend::edit(app, request).await,
        Call::Delete => backend::delete(app, request).await,
        Call::Configure => backend::configure(app, request).await,
        Call::Info => backend::info(app, request).await,
        Call::Disconnect => backend::disconnect(app, request).await,
        Call::Listen => poll::listen(app, request).await,
        Call::Socket => socket::open(app, &mut request),
        Call::Tutorial => tutorial::page(app, &request),
        Call::Admin => Ok(admin::page()),
        Call::AdminSocket => admin::watch(app, &mut request, is_signed_in),
        Call::Figures => admin::figures(app).await,
        Call::Debug => admin::debug(app).await,
        Call::SignIn => admin::sign_in(app, request).await,
        Call::SignOut => admin::sign_out(app, &request),
        Call::Explorer => Ok(admin::explorer()),
        Call::OldDocument => Ok(Answer::new(answer::JSON, openapi::old_document())),
        Call::Document => Ok(Answer::new(answer::JSON, openapi::document())),
        Call::StaticFile => admin::static_file(path),
    }
}
