//! The admin area: sign-in, pages, figures, debug text, API document and explorer (contract §10).

use http::header::{self, HeaderValue};
use http::{Method, StatusCode};
use tokio::time::Instant;

use super::answer::{Answer, Problem, TEXT};
use super::request::{Request, parameter};
use super::rights::sign_out_cookie;
use super::{App, openapi, pages};

/// How long a wrong sign-in takes at least: guessing many passwords takes long.
const WRONG_SIGN_IN: std::time::Duration = std::time::Duration::from_millis(500);

/// Bytes of the sign-in form.
const MAX_FORM: usize = 8 * 1024;

/// Sends who has no rights to the sign-in page.
pub(super) fn sign_in_first(app: &App, request: &Request) -> Problem {
    Problem::Elsewhere(request.address_of("/admin/sign_in", &app.config, &app.local))
}

pub(super) fn page() -> Answer {
    Answer::page(pages::ADMIN)
}

pub(super) fn explorer() -> Answer {
    Answer::page(pages::EXPLORER).same_origin()
}

pub(super) fn api_document() -> Answer {
    Answer::new(super::answer::JSON, openapi::document())
}

pub(super) async fn figures(app: &App) -> Result<Answer, Problem> {
    let uptime = app.started.elapsed();
    let figures =
        app.node.ask(move |state| state.figures(uptime, env!("CARGO_PKG_VERSION"))).await?;
    Ok(Answer::json(&figures))
}

/// What the runtime is doing, as text.
pub(super) async fn debug(app: &App) -> Result<Answer, Problem> {
    let figures = app.node.ask(|state| (state.sequence(), state.next_deadline())).await?;
    let runtime = tokio::runtime::Handle::current().metrics();
    let uptime = app.started.elapsed().as_secs();
    let deadline = figures.1.map_or_else(
        || "none".to_owned(),
        |when| format!("{:?} from now", when.since(crate::clock::now())),
    );
    let text = format!(
        "channelstream {}\nuptime: {uptime} s\ntasks: {}\nlines: {}\nlisteners: {}\n\
         frames: {}\nnext expiry: {deadline}\n",
        env!("CARGO_PKG_VERSION"),
        runtime.num_alive_tasks(),
        app.lines.count(),
        app.node.hub().count(),
        figures.0,
    );
    Ok(Answer::new(TEXT, text))
}

pub(super) fn static_file(path: &str) -> Result<Answer, Problem> {
    // Pages of applications, which are of other origins, import it from here.
    if let Some((content_type, body)) = pages::client_file(path) {
        return Ok(Answer::new(content_type, body));
    }
    let (content_type, body) =
        pages::static_file(path).ok_or(Problem::NotFound { nearest: None })?;
    Ok(Answer::new(content_type, body).same_origin())
}

/// The form, or what came of it.
pub(super) async fn sign_in(app: &App, mut request: Request) -> Result<Answer, Problem> {
    if request.head.method != Method::POST {
        return Ok(Answer::page(pages::sign_in_page("", None)));
    }
    let body = request.body(MAX_FORM, app.config.body_timeout).await?;
    // No waiting from here to the counting, or many at once would all find few failures.
    if let Some(wait) = app.sign_ins.wait(request.peer, Instant::now()) {
        return Err(Problem::TooManySignIns(wait));
    }
    let form = String::from_utf8_lossy(&body);
    let field = |name| parameter(&form, name).flatten().unwrap_or_default().trim().to_owned();
    let (user, password) = (field("username"), field("password"));
    // Both are compared in any case, so that time tells nothing.
    let right_user = crate::config::Secret::new(app.config.admin_user.trim()).matches(&user);
    let right_password = app.config.admin_secret.matches(&password);
    if !(right_user & right_password) {
        app.sign_ins.count(request.peer, Instant::now());
        tracing::warn!(peer = %request.peer, "a sign-in failed");
        tokio::time::sleep(WRONG_SIGN_IN).await;
        let error = "The user name or the password is not right.";
        return Ok(Answer::page(pages::sign_in_page(&user, Some(error))));
    }
    app.sign_ins.forget(request.peer);
    let cookie = app.gate.sign_in_cookie(&app.config, request.is_https(&app.config));
    redirect(&request.address_of("/admin", &app.config, &app.local), cookie)
}

pub(super) fn sign_out(app: &App, request: &Request) -> Result<Answer, Problem> {
    let cookie = sign_out_cookie(request.is_https(&app.config));
    redirect(&request.address_of("/admin/sign_in", &app.config, &app.local), cookie)
}

/// Somewhere else, with a cookie.
fn redirect(address: &str, cookie: Option<HeaderValue>) -> Result<Answer, Problem> {
    let location =
        HeaderValue::from_str(address).map_err(|_| Problem::Elsewhere(address.to_owned()))?;
    let mut answer = Answer::page("").with_status(StatusCode::FOUND).same_origin();
    answer = answer.with(header::LOCATION, location);
    if let Some(cookie) = cookie {
        answer = answer.with(header::SET_COOKIE, cookie);
    }
    Ok(answer)
}
