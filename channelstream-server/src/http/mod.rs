//! HTTP: what every request goes through, and the one routing table.

pub(crate) mod accept;
mod admin;
mod allowance;
mod answer;
mod backend;
mod browser;
mod openapi;
mod pages;
mod poll;
mod refusal;
mod request;
mod rights;
mod socket;
mod tutorial;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use channelstream_core::protocol::{self, Bounds};
use channelstream_signer::InvalidSeparator;
use http::Response;
use hyper::upgrade::OnUpgrade;
use serde_json::value::RawValue;
use tokio::time::Instant;
use warp::Filter;

use crate::config::Config;
use crate::node::Node;
use accept::{Head, Lines};
use allowance::Allowance;
use answer::{Answer, Problem, TET, respond};
use request::Request;
use rights::Gate;

/// The time in which one address may make `max_requests_per_address` requests.
const REQUESTS_WINDOW: Duration = Duration::from_secs(10);

/// What handlers share.
pub(crate) struct App {
    config: Config,
    node: Node,
    gate: Gate,
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

    fn json<'a>(&self, body: &'a [u8]) -> Result<&'a RawValue, Problem> {
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
                let response = respond(outcome, &head.headers, &app.config.allow_cors);
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

/// Paths that may have been meant by one that leads nowhere, beside those of the backend API.
const OTHER_PATHS: [&str; 5] = ["/listen", "/disconnect", "/ws", "/admin", "/api-explorer"];

/// Checks in the order of contract §3 (scheme, address, signature, path, rights), then serves.
async fn answer_one(
    app: &Arc<App>,
    path: Option<&str>,
    mut request: Request,
) -> Result<Answer, Problem> {
    app.admit(&request)?;
    let path = path.ok_or(Problem::NotFound { nearest: None })?;
    if path == "/ws" {
        return socket::open(app, &mut request);
    }
    if app.config.enforce_https && !request.is_https(&app.config) {
        return Err(Problem::HttpsOnly);
    }
    let is_admin_area = path == "/admin" || path.starts_with("/admin/");
    let may_sign_in = is_admin_area || path == "/openapi.json" || path == "/api-explorer";
    let is_signed_in = may_sign_in && app.gate.is_signed_in(&request.head.headers, &app.config);
    let has_rights = is_signed_in || app.gate.may_post(&request, &app.config)?;
    let backend = if has_rights { Ok(()) } else { Err(Problem::Forbidden) };
    let (path, backend) = if let Some(endpoint) = tutorial::simulated(path) {
        (endpoint, Ok(tutorial::allow(app, &request)?))
    } else if let Some(endpoint) = admin::acting(path) {
        (endpoint, Ok(admin::allow(&request, endpoint, is_signed_in)?))
    } else {
        (path, backend)
    };
    let admin = |request: &Request| {
        if has_rights { Ok(()) } else { Err(admin::sign_in_first(app, request)) }
    };
    // A HEAD is a GET whose body is left out at the end.
    let method = match request.head.method.as_str() {
        "HEAD" => "GET",
        other => other,
    };
    match (method, path) {
        ("OPTIONS", _) => Ok(Answer::new(TET, "")),
        ("POST", "/connect") => {
            backend?;
            backend::connect(app, request).await
        }
        ("POST", "/subscribe") => {
            backend?;
            backend::subscribe(app, request).await
        }
        ("POST", "/unsubscribe") => {
            backend?;
            backend::unsubscribe(app, request).await
        }
        ("POST", "/user_state") => {
            backend?;
            backend::user_state(app, request).await
        }
        ("POST", "/message") => {
            backend?;
            backend::publish(app, request).await
        }
        ("PATCH", "/message") => {
            backend?;
            backend::edit(app, request).await
        }
        ("DELETE", "/message") => {
            backend?;
            backend::delete(app, request).await
        }
        ("POST", "/channel_config") => {
            backend?;
            backend::configure(app, request).await
        }
        (_, "/info") => {
            backend?;
            backend::info(app, request).await
        }
        (_, "/disconnect") => backend::disconnect(app, request).await,
        ("GET", "/listen") => poll::listen(app, request).await,
        ("GET", "/") => tutorial::page(app, &request),
        ("GET", "/admin") => admin(&request).map(|()| admin::page()),
        ("GET", "/api-explorer") => admin(&request).map(|()| admin::explorer()),
        ("GET", "/openapi.json") => backend.map(|()| admin::api_document()),
        ("GET" | "POST", "/admin/admin.json") => {
            admin(&request)?;
            admin::figures(app).await
        }
        ("GET", "/admin/ws") => admin::watch(app, &mut request, is_signed_in),
        ("GET", "/admin/debug") => {
            admin(&request)?;
            admin::debug(app).await
        }
        ("GET" | "POST", "/admin/sign_in") => admin::sign_in(app, request).await,
        (_, "/admin/sign_out") => admin::sign_out(app, &request),
        ("GET", path) if path.starts_with("/static/") => admin::static_file(path),
        (_, path) => Err(Problem::NotFound { nearest: nearest(path) }),
    }
}

/// The path that is meant most likely, if one is near.
fn nearest(path: &str) -> Option<&'static str> {
    /// Longer ones are not worth the look.
    const LONGEST: usize = 40;
    if path.len() > LONGEST {
        return None;
    }
    let likeness = |known: &str| strsim::jaro_winkler(known, path);
    let paths = backend::PATHS.into_iter().chain(OTHER_PATHS);
    let best = paths.max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) > 0.8 && best != path).then_some(best)
}
