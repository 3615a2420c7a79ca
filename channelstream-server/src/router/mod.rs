//! The order of checks that every request passes before its route serves it.

pub(crate) mod auth;
pub(crate) mod browser;
pub(crate) mod routes;

use std::sync::Arc;

use http::header::ORIGIN;
use http::{Method, Response};
use hyper::upgrade::OnUpgrade;
use tokio::time::Instant;

use crate::admin;
use crate::api::metrics;
use crate::app::App;
use crate::http::answer::{Answer, Content, TEXT};
use crate::http::body::Chunks;
use crate::http::problem::Problem;
use crate::http::request::{Head, Permissions, Request};
use crate::http::service::Service;
use crate::pages::{self, tutorial};
use routes::{Access, Caller};

impl Service for App {
    async fn answer(
        self: Arc<Self>,
        head: Arc<Head>,
        upgrade: Option<OnUpgrade>,
        body: Chunks,
    ) -> Response<Content> {
        answer(&self, &head, upgrade, body, Place::Server).await
    }
}

/// What answers at the address of the metrics, where there is nothing else.
pub(crate) struct MetricsAddress(pub(crate) Arc<App>);

impl Service for MetricsAddress {
    async fn answer(
        self: Arc<Self>,
        head: Arc<Head>,
        upgrade: Option<OnUpgrade>,
        body: Chunks,
    ) -> Response<Content> {
        answer(&self.0, &head, upgrade, body, Place::Metrics).await
    }
}

/// The address at which a request arrived.
#[derive(Clone, Copy)]
enum Place {
    Server,
    Metrics,
}

/// Serves a request, and makes the response of the outcome.
async fn answer(
    app: &Arc<App>,
    head: &Arc<Head>,
    upgrade: Option<OnUpgrade>,
    body: Chunks,
    place: Place,
) -> Response<Content> {
    let began = Instant::now();
    let request = Request::new(Arc::clone(head), upgrade, body, &app.config, &app.notes);
    let (id, peer, path) = (request.id, request.peer, request.path.clone());
    let endpoint = routes::endpoint(path.as_deref().unwrap_or_default());
    let outcome = match place {
        Place::Server => serve(app, request).await,
        Place::Metrics => serve_metrics(app, request).await,
    };
    if let Some(limit) = outcome.as_ref().err().and_then(Problem::limit) {
        app.limits.refused(limit, peer);
    }
    let shown = path.as_deref().unwrap_or(head.uri.path());
    let mut answer = outcome.unwrap_or_else(|problem| {
        problem.into_answer(&head.headers, &|status, message| {
            pages::error_page(shown, status, message)
        })
    });
    // No page of another origin may read the admin area. A request that names no page gets the
    // very answer of the reference.
    if routes::is_admin(shown) && browser::names_a_page(&head.headers) {
        answer = answer.same_origin();
    }
    let response = answer.into_response(head.headers.get(ORIGIN), &app.http.common_headers);
    app.metrics.requests.count(endpoint, response.status().as_u16());
    tracing::debug!(
        request = id,
        %peer,
        method = %head.method,
        path = path.as_deref().unwrap_or("(undecodable)"),
        status = response.status().as_u16(),
        micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
        "request answered"
    );
    response
}

/// Serves a request at the address of the metrics.
async fn serve_metrics(app: &Arc<App>, request: Request) -> Result<Answer, Problem> {
    if let Some(error) = request.head.error {
        return Err(Problem::BadHead(error));
    }
    app.admit(&request)?;
    if request.path() != routes::METRICS
        || !matches!(request.head.method, Method::GET | Method::HEAD)
    {
        return Err(Problem::NotFound("not found; GET /metrics is all there is".into()));
    }
    metrics::tell(app, request).await
}

/// Checks a request in the order of contract §3 and serves it: head, rate, path, scheme, cookie,
/// address and signature, page, method, permissions.
async fn serve(app: &Arc<App>, mut request: Request) -> Result<Answer, Problem> {
    if let Some(error) = request.head.error {
        return Err(Problem::BadHead(error));
    }
    app.admit(&request)?;
    let path = request.path.clone().ok_or(Problem::NotFound("the path is not UTF-8".into()))?;
    let (caller, endpoint) = routes::split_caller(&path);
    let method = request.head.method.clone();
    let route = routes::find(method.as_str(), endpoint);
    let is_first = |access| matches!(access, Access::Handshake | Access::Probe);
    if let Some(route) = route.filter(|route| is_first(route.access)) {
        return route.serve(app, request).await;
    }
    if app.config.enforce_https && !request.is_https() {
        return Err(Problem::HttpsOnly);
    }
    let signed_in =
        routes::accepts_cookie(&path) && app.auth.is_signed_in(&request.head.headers, &app.config);
    let is_signed = !signed_in && app.auth.is_signed(&request, &app.config)?;
    let well_known = if is_signed { app.check_default("secret", &request).err() } else { None };
    let has_permissions = signed_in || (is_signed && well_known.is_none());
    let backend = match caller {
        Caller::Client => has_permissions,
        Caller::Tutorial => tutorial::allow(app, &request).map(|()| true)?,
        Caller::AdminPage => admin::allow_action(&request, endpoint, signed_in).map(|()| true)?,
    };
    if method == Method::OPTIONS {
        return Ok(Answer::new(TEXT, ""));
    }
    let route = route
        .ok_or_else(|| Problem::NotFound(routes::missing(method.as_str(), endpoint).into()))?;
    let signed = backend && is_signed && caller == Caller::Client;
    request.permissions = Permissions { backend, signed, signed_in };
    match route.access {
        Access::Handshake | Access::Probe | Access::Open => {}
        Access::Backend if backend => {}
        Access::Admin | Access::Documents if has_permissions => {}
        access => {
            return match (well_known, access) {
                (Some(problem), _) => Err(problem),
                (None, Access::Admin) => Ok(admin::sign_in_first(app, &request)),
                (None, _) => Err(Problem::Forbidden),
            };
        }
    }
    route.serve(app, request).await
}
