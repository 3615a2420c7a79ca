//! The order of checks that every request passes before its route serves it.

pub(crate) mod auth;
pub(crate) mod browser;
pub(crate) mod nonces;
pub(crate) mod routes;
pub(crate) mod signature;

use std::sync::Arc;

use http::header::ORIGIN;
use http::{Method, Response};
use hyper::upgrade::OnUpgrade;
use tracing::Instrument as _;

use crate::admin;
use crate::api::metrics;
use crate::app::App;
use crate::http::answer::{Answer, Content, TEXT};
use crate::http::body::Chunks;
use crate::http::problem::Problem;
use crate::http::request::{Head, Permissions, Request};
use crate::http::service::Service;
use crate::pages::{self, tutorial};
use crate::spans::{self, About};
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
    let settings = Arc::clone(&app.settings());
    let request = Request::new(Arc::clone(head), upgrade, body, settings, &app.notes);
    let (peer, path, line) = (request.peer, request.path.clone(), request.line.clone());
    let endpoint = routes::endpoint(path.as_deref().unwrap_or_default());
    let trace = request.trace;
    let serving = async || match place {
        Place::Server => serve(app, request).await,
        Place::Metrics => serve_metrics(app, request).await,
    };
    let outcome = match trace {
        None => serving().await,
        // At the highest level, so that no line of the request lacks it.
        Some(trace) => {
            let (trace_id, span_id) = (trace.trace_id(), trace.span_id());
            let span = tracing::error_span!("request", %trace_id, %span_id);
            Box::pin(serving()).instrument(span).await
        }
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
    let response =
        answer.into_response(head.headers.get(ORIGIN), &app.http.settings().common_headers);
    app.metrics.requests.count(endpoint, response.status().as_u16());
    match line {
        Some(line) => line.answer(response, routes::is_probe(endpoint)),
        None => response,
    }
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

/// Returns whether a request is signed in by a cookie, and whether it is signed.
fn authenticate(
    app: &App,
    path: &str,
    request: &mut Request,
    takes_stream: bool,
) -> Result<(bool, bool), Problem> {
    let settings = Arc::clone(&request.settings);
    if settings.config.enforce_https && !request.is_https() {
        return Err(Problem::HttpsOnly);
    }
    let is_signed_in = routes::accepts_cookie(path) && settings.is_signed_in(&request.head.headers);
    let is_signed = !is_signed_in && app.check_signature(&settings, request, takes_stream)?;
    Ok((is_signed_in, is_signed))
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
    let route = routes::find(method.as_str(), endpoint).or_else(|| {
        let has_test_clock = request.settings.config.test_clock;
        has_test_clock.then(|| routes::find_for_tests(method.as_str(), endpoint)).flatten()
    });
    let is_first = |access| matches!(access, Access::Handshake | Access::Probe);
    if let Some(route) = route.filter(|route| is_first(route.access)) {
        return route.serve(app, request).await;
    }
    let takes_stream = route.is_some_and(|route| route.takes_stream);
    let (signed_in, is_signed) = authenticate(app, &path, &mut request, takes_stream)?;
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
    // What others send is not traced: they could have everything traced.
    if !(signed && route.access == Access::Backend) {
        return route.serve(app, request).await;
    }
    let version = request.head.version;
    let about = About { trace: request.trace, method: &method, route: route.path, version };
    let status = |outcome: &Result<Answer, Problem>| {
        outcome.as_ref().map_or_else(Problem::status, Answer::status).as_u16()
    };
    spans::traced(about, route.serve(app, request), status).await
}
