//! HTTP: what every request goes through, and what serves each call.

pub(crate) mod accept;
mod accepting;
mod admin;
mod allowance;
mod answer;
mod backend;
mod browser;
mod forwarded;
mod host;
mod openapi;
mod pages;
mod poll;
mod prefer;
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
use crate::limits::Limits;
use crate::node::Node;
use accept::{Head, Lines};
use accepting::Accepting;
use allowance::Allowance;
use answer::{Answer, BodyBound, Common, Problem, TEXT, respond};
use request::Request;
use rights::Gate;
use routes::{Access, Call};

/// The time in which one address may make `max_requests_per_address` requests.
const REQUESTS_WINDOW: Duration = Duration::from_secs(10);

/// The most that is read of a body for who has no rights: what needs none is short.
const BODY_WITHOUT_RIGHTS: BodyBound =
    BodyBound { bytes: 8 * 1024, name: "fixed, for requests without rights" };

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
    /// Whether connections can be accepted.
    accepting: Accepting,
    /// Held by each request with rights that is being answered: the end waits for what these bring.
    /// Not by a poll, which waits for others.
    under_way: Arc<()>,
    limits: Arc<Limits>,
    notes: forwarded::Notes,
    live: admin::Live,
    started: Instant,
    /// Whether only this machine reaches the server.
    is_on_loopback: bool,
    /// The settings that are the defaults which everybody knows.
    default_secrets: Vec<&'static str>,
    /// The (first) address that is listened on, as text.
    local: String,
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
            notes: forwarded::Notes::default(),
            live: admin::Live::new(),
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
    fn check_default(&self, setting: &'static str, request: &Request) -> Result<(), Problem> {
        if !self.default_secrets.contains(&setting) {
            return Ok(());
        }
        browser::may_use_defaults(request, self.is_on_loopback)
            .map_err(|why| Problem::WellKnown(setting, why))
    }

    /// The whole body of a request to the API.
    async fn body(&self, request: &mut Request) -> Result<Bytes, Problem> {
        let most = if request.has_rights {
            BodyBound { bytes: self.config.max_body_size, name: "max_body_size" }
        } else {
            BODY_WITHOUT_RIGHTS
        };
        request.body(most, self.config.body_timeout).await
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
                let began = Instant::now();
                let head_of_request = Arc::clone(&head);
                let mut request =
                    Request::new(head_of_request, upgrade, pieces, &app.config, &app.notes);
                let (id, peer, path) = (request.id, request.peer, request.path.take());
                let outcome = answer_one(&app, path.as_deref(), request).await;
                if let Some(limit) = outcome.as_ref().err().and_then(Problem::limit) {
                    app.limits.refused(limit, peer);
                }
                let shown = path.as_deref().unwrap_or(head.uri.path());
                let response = respond(outcome, &head.headers, shown, &app.common_headers);
                tracing::debug!(
                    request = id,
                    %peer,
                    method = %head.method,
                    path = path.as_deref().unwrap_or("(undecodable)"),
                    status = response.status().as_u16(),
                    micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
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
    let path = path.ok_or(Problem::NotFound("the path is not UTF-8".into()))?;
    let method = request.head.method.clone();
    if routes::find(method.as_str(), path).is_some_and(|route| route.call == Call::Socket) {
        return socket::open(app, &mut request);
    }
    if app.config.enforce_https && !request.is_https() {
        return Err(Problem::HttpsOnly);
    }
    let may_sign_in =
        admin::is_below(path) || path == "/api-explorer" || path.starts_with("/openapi");
    let is_signed_in = may_sign_in && app.gate.is_signed_in(&request.head.headers, &app.config);
    let signs = !is_signed_in && app.gate.may_post(&request, &app.config)?;
    let well_known = if signs { app.check_default("secret", &request).err() } else { None };
    let has_rights = is_signed_in || (signs && well_known.is_none());
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
        .ok_or_else(|| Problem::NotFound(routes::missing(method.as_str(), path).into()))?;
    request.has_rights = may_call;
    match route.access {
        Access::Open => {}
        Access::Backend if may_call => {}
        Access::Admin | Access::Documents if has_rights => {}
        access => {
            return Err(match (well_known, access) {
                (Some(problem), _) => problem,
                (None, Access::Admin) => admin::sign_in_first(app, &request),
                (None, _) => Problem::Forbidden,
            });
        }
    }
    let counts = may_call && route.call != Call::Listen;
    let _under_way = counts.then(|| Arc::clone(&app.under_way));
    match route.call {
        Call::Connect => backend::connect(app, request).await,
        Call::Subscribe => backend::subscribe(app, request).await,
        Call::Unsubscribe => backend::unsubscribe(app, request).await,
        Call::UserState => backend::user_state(app, request).await,
        Call::Publish => backend::publish(app, request).await,
        Call::Edit => backend::edit(app, request).await,
        Call::Delete => backend::delete(app, request).await,
        Call::Configure => backend::configure(app, request).await,
        Call::DeleteChannels => backend::delete_channels(app, request).await,
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
        Call::StaticFile => pages::static_file(path, &request.head.headers),
    }
}
