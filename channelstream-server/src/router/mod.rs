//! The order of checks that every request goes through, and what serves each call.

pub(crate) mod auth;
pub(crate) mod browser;
pub(crate) mod routes;

use std::sync::Arc;

use crate::admin;
use crate::api::{self, openapi};
use crate::app::App;
use crate::http::answer::{Answer, JSON, Problem, TEXT};
use crate::http::request::Request;
use crate::pages::{self, tutorial};
use crate::transport::{long_poll, websocket};
use routes::{Access, Call};

/// Checks the head, then in the order of contract §3 (scheme, address, signature, path, rights), then serves.
pub(crate) async fn answer(
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
        return websocket::open(app, &mut request);
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
    } else if let Some(endpoint) = admin::action(path) {
        admin::allow_action(&request, endpoint, is_signed_in)?;
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
        Call::Connect => api::connect(app, request).await,
        Call::Subscribe => api::subscribe(app, request).await,
        Call::Unsubscribe => api::unsubscribe(app, request).await,
        Call::UserState => api::user_state(app, request).await,
        Call::Publish => api::publish(app, request).await,
        Call::Edit => api::edit(app, request).await,
        Call::Delete => api::delete(app, request).await,
        Call::Configure => api::configure(app, request).await,
        Call::DeleteChannels => api::delete_channels(app, request).await,
        Call::Info => api::info(app, request).await,
        Call::Disconnect => api::disconnect(app, request).await,
        Call::Listen => long_poll::listen(app, request).await,
        Call::Socket => websocket::open(app, &mut request),
        Call::Tutorial => tutorial::page(app, &request),
        Call::Admin => Ok(admin::page()),
        Call::AdminSocket => admin::open_feed(app, &mut request, is_signed_in),
        Call::Figures => admin::figures(app).await,
        Call::Debug => admin::debug(app).await,
        Call::Stats => admin::stats(app).await,
        Call::SignIn => admin::sign_in(app, request).await,
        Call::SignOut => admin::sign_out(app, &request),
        Call::Explorer => Ok(admin::explorer()),
        Call::OldDocument => Ok(Answer::new(JSON, openapi::old_document())),
        Call::Document => Ok(Answer::new(JSON, openapi::document())),
        Call::StaticFile => pages::static_file(path, &request.head.headers),
    }
}
