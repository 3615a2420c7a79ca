//! The tutorial: its page at `/`, and for whom the server stands in for a backend there.
//!
//! `/tutorial/connect` and its kin do what `/connect` and its kin do for a signed request. What
//! vouches for them in the place of a signature is decided here.

use http::header::HeaderName;

use crate::app::App;
use crate::config::Tutorial;
use crate::http::answer::Answer;
use crate::http::negotiate::{asks_for_html, is_json};
use crate::http::problem::Problem;
use crate::http::request::Request;
use crate::pages;
use crate::router::browser::{is_same_origin, names_loopback};

/// What proxies add, beside everything that begins with `x-forwarded`: who comes through one is not
/// local, whatever the address says.
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

/// The page: it says whether it can be played with, and if not, why. Who does not ask for pages gets
/// what the reference has at this address, which is nothing.
pub(crate) fn page(app: &App, request: &Request) -> Result<Answer, Problem> {
    if app.config.tutorial == Tutorial::Off {
        return Err(Problem::NotFound("the tutorial, which was here, is switched off".into()));
    }
    if !asks_for_html(&request.head.headers) {
        let what = "there is nothing here but a page for browsers, which ask for text/html";
        return Err(Problem::NotFound(what.into()));
    }
    Ok(Answer::page(pages::tutorial_page(standing(app, request))).same_origin())
}

/// Lets a request of the page be simulated.
///
/// # Errors
/// If the one who asks may not, or if a page of another origin asks in their name.
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

/// Whether the one who asks may simulate, and if not, why not.
fn standing(app: &App, request: &Request) -> Result<(), &'static str> {
    match app.config.tutorial {
        Tutorial::Off => Err("the tutorial is switched off"),
        Tutorial::On => Ok(()),
        Tutorial::Auto if app.auth.is_signed_in(&request.head.headers, &app.config) => Ok(()),
        Tutorial::Auto => is_local(app, request),
    }
}

/// Nobody gets here what they could not do anyway: whoever reaches the server and knows the
/// default secret can sign. So a proxy on this machine that leaves no trace opens nothing.
fn is_local(app: &App, request: &Request) -> Result<(), &'static str> {
    let headers = &request.head.headers;
    if !app.is_on_loopback {
        return Err("the server listens for other machines too");
    }
    if !request.head.tcp.peer.is_loopback() || !request.peer.is_in(&app.config.allow_posting_from) {
        return Err("the request does not come from the server's own machine");
    }
    let is_of_proxy = |name: &HeaderName| {
        name.as_str().starts_with("x-forwarded") || OF_PROXIES.contains(&name.as_str())
    };
    if headers.keys().any(is_of_proxy) {
        return Err("the request comes through a proxy");
    }
    // The page itself may be asked for by a link of another site, so no more is held against it.
    if !names_loopback(request) {
        return Err("the address is not 127.0.0.1 or localhost");
    }
    if !app.default_secrets.contains(&"secret") {
        return Err("the server has a secret of its own");
    }
    Ok(())
}
