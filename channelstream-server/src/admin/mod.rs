//! The admin area: sign-in, pages, feed, stats, actions and explorer (contract §10).

mod feed;
mod journal;
mod past;
mod stats;
mod subscription;
mod view;
mod webhooks;

use http::header::{self, HeaderValue};
use http::{Method, StatusCode};
use tokio::time::Instant;

use crate::app::App;
use crate::config::{Config, Secret};
use crate::http::answer::Answer;
use crate::http::body::BodyLimit;
use crate::http::negotiate::{asks_for_html, is_json};
use crate::http::problem::{Problem, status_page};
use crate::http::request::{Request, parameter};
use crate::limits::Limit;
use crate::pages;
use crate::router::browser::{is_of_another_site, is_same_origin};
pub(crate) use feed::{Feed, open as open_feed};
pub(crate) use past::take_samples;
pub(crate) use stats::{admin_json, debug, json as stats};

/// The shortest time that a failed sign-in takes, which slows down guessing.
const WRONG_SIGN_IN: std::time::Duration = std::time::Duration::from_millis(500);

/// The largest sign-in form.
const MAX_FORM: BodyLimit = BodyLimit { bytes: 8 * 1024, name: "fixed, for this form" };

/// Redirects a request without permissions to the sign-in page, which leads back to the page.
pub(crate) fn sign_in_first(app: &App, request: &Request) -> Answer {
    let headers = &request.head.headers;
    let path = if request.path() == "/api-explorer" && asks_for_html(headers) {
        "/admin/sign_in?next=api-explorer"
    } else {
        "/admin/sign_in"
    };
    let address = request.address_of(path, &app.settings().config, &app.local);
    let page = |status, message: &str| pages::error_page(request.path(), status, message);
    status_page(StatusCode::FOUND, &format!("see {address}"), headers, &page).redirect(&address)
}

/// Checks an action of the admin page, which has nothing but the sign-in cookie. Browsers send the
/// cookie with requests of other sites' pages as well. So the request must come from this server's own
/// page, and be of a kind that other pages cannot send without a preflight.
///
/// # Errors
/// Fails if nobody is signed in, or the request may come from another site.
pub(crate) fn allow_action(
    request: &Request,
    endpoint: &str,
    is_signed_in: bool,
) -> Result<(), Problem> {
    let headers = &request.head.headers;
    if !is_signed_in {
        return Err(Problem::Refused("sign in first".into()));
    }
    if matches!(request.head.method, Method::GET | Method::HEAD) || !is_json(headers) {
        let why = "only a body of application/json is taken here";
        return Err(Problem::Refused(why.into()));
    }
    is_same_origin(request).map_err(|why| Problem::Refused(why.into()))?;
    // OPTIONS is a preflight and changes nothing.
    if request.head.method != Method::OPTIONS {
        let (id, peer, method) = (request.id, request.peer, &request.head.method);
        tracing::info!(request = id, %peer, %method, endpoint, "admin action");
    }
    Ok(())
}

pub(crate) fn page() -> Answer {
    Answer::page(pages::ADMIN.as_str())
}

pub(crate) fn explorer() -> Answer {
    Answer::page(pages::EXPLORER.as_str()).same_origin()
}

/// Serves the sign-in form, and checks it when it is sent.
pub(crate) async fn sign_in(app: &App, mut request: Request) -> Result<Answer, Problem> {
    let next = match request.parameter("next").as_deref() {
        Some("api-explorer") => Some("api-explorer"),
        _ => None,
    };
    if request.head.method != Method::POST {
        return Ok(Answer::page(pages::sign_in_page("", None, next)));
    }
    let is_browser = asks_for_html(&request.head.headers);
    // First of all, so that a page of another site cannot use up the attempts.
    if let Err(problem) = may_sign_in(app, &request) {
        if !is_browser {
            return Err(problem);
        }
        let error = format!("Not signed in: {}.", problem.message());
        return Ok(Answer::page(pages::sign_in_page("", Some(&error), next))
            .with_status(StatusCode::FORBIDDEN));
    }
    let body = request.body(MAX_FORM, app.settings().config.body_timeout).await?;
    // Counted as failed until it succeeds: of many concurrent attempts, none sees few failures.
    if let Err(wait) = app.sign_ins.admit(request.peer, Instant::now()) {
        app.limits.refused(Limit::FailedSignIns, request.peer);
        if !is_browser {
            let what = "too many failed sign-ins, try again later (max_failed_sign_ins)";
            return Err(Problem::TooMany { what, retry_after: wait });
        }
        let error = format!("Too many failed sign-ins from your address. Try again in {wait} s.");
        return Ok(Answer::page(pages::sign_in_page("", Some(&error), next))
            .with_status(StatusCode::TOO_MANY_REQUESTS)
            .with(header::RETRY_AFTER, HeaderValue::from(wait)));
    }
    let form = String::from_utf8_lossy(&body);
    let field = |name| parameter(&form, name).unwrap_or_default().trim().to_owned();
    let (user, password) = (field("username"), field("password"));
    // Both are always compared, so that the time reveals nothing.
    let (right_user, right_password) = {
        let Config { admin_user, admin_secret, .. } = &app.settings().config;
        (Secret::new(admin_user.trim()).matches(&user), admin_secret.matches(&password))
    };
    if !(right_user & right_password) {
        app.metrics.sign_ins_failed.increment();
        tracing::warn!(request = request.id, peer = %request.peer, "sign-in failed");
        tokio::time::sleep(WRONG_SIGN_IN).await;
        let error = "The user name or the password is not right.";
        return Ok(Answer::page(pages::sign_in_page(&user, Some(error), next)));
    }
    app.sign_ins.remove(request.peer);
    let settings = app.settings();
    let cookie = settings.auth.sign_in_cookie(&request, &settings.config);
    let path = if next.is_some() { "/api-explorer" } else { "/admin" };
    Ok(redirect(&request.address_of(path, &settings.config, &app.local), cookie))
}

/// Checks that the sign-in form may be sent from its page.
fn may_sign_in(app: &App, request: &Request) -> Result<(), Problem> {
    if is_of_another_site(request) {
        let why = is_same_origin(request).err().unwrap_or_default();
        return Err(Problem::Refused(why.into()));
    }
    app.check_default("admin_secret", request)
}

pub(crate) fn sign_out(app: &App, request: &Request) -> Result<Answer, Problem> {
    let settings = app.settings();
    let address = request.address_of("/admin/sign_in", &settings.config, &app.local);
    // HEAD changes nothing, not even in a browser.
    if request.head.method == Method::HEAD {
        return Ok(redirect(&address, None));
    }
    Ok(redirect(&address, settings.auth.sign_out_cookies(request, &settings.config)))
}

/// Redirects to `address` and sets cookies.
fn redirect(address: &str, cookies: impl IntoIterator<Item = HeaderValue>) -> Answer {
    let answer = Answer::page("").redirect(address);
    cookies.into_iter().fold(answer, |answer, cookie| answer.with(header::SET_COOKIE, cookie))
}
