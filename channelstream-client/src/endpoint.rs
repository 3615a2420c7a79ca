//! `Endpoint`: the methods and paths of the server, and addresses built from them.

use std::fmt::{self, Display, Formatter};

use http::Method;
use reqwest::Url;

pub(crate) const CONNECT: Endpoint = post("/connect");
pub(crate) const SUBSCRIBE: Endpoint = post("/subscribe");
pub(crate) const UNSUBSCRIBE: Endpoint = post("/unsubscribe");
pub(crate) const USER_STATE: Endpoint = post("/user_state");
pub(crate) const MESSAGE: Endpoint = post("/message");
pub(crate) const MESSAGE_EDIT: Endpoint = Endpoint { method: &Method::PATCH, path: "/message" };
pub(crate) const MESSAGE_DELETE: Endpoint = Endpoint { method: &Method::DELETE, path: "/message" };
pub(crate) const CHANNELS_DELETE: Endpoint =
    Endpoint { method: &Method::DELETE, path: "/channels" };
pub(crate) const CHANNEL_CONFIG: Endpoint = post("/channel_config");
pub(crate) const INFO: Endpoint = post("/info");
pub(crate) const DISCONNECT: Endpoint = post("/disconnect");
pub(crate) const ADMIN_STATS: Endpoint = post("/admin/admin.json");
pub(crate) const METRICS: Endpoint = get("/admin/stats.json");
pub(crate) const DEBUG: Endpoint = get("/admin/debug");
#[cfg(feature = "listen")]
pub(crate) const WEBSOCKET: Endpoint = get("/ws");
#[cfg(feature = "listen")]
pub(crate) const LONG_POLL: Endpoint = get("/listen");

/// A method and a path below the server's address.
#[derive(Clone, Copy)]
pub(crate) struct Endpoint {
    pub(crate) method: &'static Method,
    pub(crate) path: &'static str,
}

const fn post(path: &'static str) -> Endpoint {
    Endpoint { method: &Method::POST, path }
}

const fn get(path: &'static str) -> Endpoint {
    Endpoint { method: &Method::GET, path }
}

impl Endpoint {
    /// Returns the endpoint's full address on a server.
    pub(crate) fn url(self, address: &Url) -> Url {
        let mut url = address.clone();
        url.set_path(&format!("{}{}", address.path().trim_end_matches('/'), self.path));
        url
    }
}

impl Display for Endpoint {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

/// Returns the address without user and password.
pub(crate) fn redacted(address: &Url) -> String {
    let path = address.path().trim_end_matches('/');
    format!("{}{path}", address.origin().ascii_serialization())
}
