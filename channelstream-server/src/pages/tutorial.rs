//! The tutorial: its page at `/`, and the permission to simulate a backend there.
//!
//! `/tutorial/connect` does what `/connect` does for a signed request, and so on for the other
//! endpoints of backends. This module decides which requests are allowed without a signature.

use http::header::HeaderName;

use crate::app::App;
use crate::config::Tutorial;
use crate::http::answer::Answer;
use crate::http::negotiate::{asks_for_html, is_json};
use crate::http::problem::Problem;
use crate::http::request::Request;
use crate::pages;
use crate::router::browser::{is_same_origin, names_loopback};

/// Headers that proxies add, beside all that begin with `x-forwarded`. A request that came through a
/// proxy is not local, whatever its address.
const OF_PROXIES: [&str; 9] = [
    "forwarded",
    "via",
    "x-real-ip",
    "x-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "x-scheme",
    "x-url-scheme",
    "x-script-name",
];

/// Answers with the page, which says whether it simulates, and if not, why. A request that does not
/// ask for HTML gets the answer of the reference, which has nothing at this address.
pub(crate) fn page(app: &App, request: &Request) -> Result<Answer, Problem> {
    if app.settings().config.tutorial == Tutorial::Off {
        return Err(Problem::NotFound("the tutorial, which was here, is switched off".into()));
    }
    if !asks_for_html(&request.head.headers) {
        let what = "there is nothing here but a page for browsers, which ask for text/html";
        return Err(Problem::NotFound(what.into()));
    }
    Ok(Answer::page(pages::tutorial_page(standing(app, request))).same_origin())
}

/// Allows a request of the page.
///
/// # Errors
/// If the client may not simulate, or if a page of another origin sent the request.
pub(crate) fn allow(app: &App, request: &Request) -> Result<(), Problem> {
    let refused =
        |why| Problem::Refused(format!("the tutorial does not act for this request: {why}").into());
    standing(app, request).map_err(refused)?;
    if !is_json(&request.head.headers) {
        return Err(refused("only a body of application/json is simulated"));
    }
    if is_same_origin(request).is_err() {
        return Err(refused("only the server's own page may simulate"));
    }
    Ok(())
}

/// Whether the client may simulate, and if not, why.
fn standing(app: &App, request: &Request) -> Result<(), &'static str> {
    let settings = app.settings();
    match settings.config.tutorial {
        Tutorial::Off => Err("the tutorial is switched off"),
        Tutorial::On => Ok(()),
        Tutorial::Auto if settings.is_signed_in(&request.head.headers) => Ok(()),
        Tutorial::Auto => is_local(app, request),
    }
}

/// Whether the request comes from this machine. This grants nothing new: a client that reaches the
/// server and knows the default secret can sign. So a proxy on this machine that adds no header
/// opens nothing.
fn is_local(app: &App, request: &Request) -> Result<(), &'static str> {
    let headers = &request.head.headers;
    if !app.is_on_loopback {
        return Err("the server listens for other machines too");
    }
    let settings = app.settings();
    let allowed = &settings.config.allow_posting_from;
    if !request.head.tcp.peer.is_loopback() || !request.peer.is_in(allowed) {
        return Err("the request does not come from the server's own machine");
    }
    let is_of_proxy = |name: &HeaderName| {
        name.as_str().starts_with("x-forwarded") || OF_PROXIES.contains(&name.as_str())
    };
    if headers.keys().any(is_of_proxy) {
        return Err("the request comes through a proxy");
    }
    // A link of another site may lead to the page, so its origin is not checked here.
    if !names_loopback(request) {
        return Err("the address is not 127.0.0.1 or localhost");
    }
    if !settings.default_secrets.contains(&"secret") {
        return Err("the server has a secret of its own");
    }
    Ok(())
}
