//! `Endpoint`: the methods and paths of the server, and addresses built from them.

use std::fmt::{self, Display, Formatter};

use http::Method;
use reqwest::Url;

pub(crate) const CONNECT: Endpoint = post("/connect");
pub(crate) const SUBSCRIBE: Endpoint = post("/subscribe");
pub(crate) const UNSUBSCRIBE: Endpoint = post("/unsubscribe");
pub(crate) const USER_STATE: Endpoint = post("/user_state");
pub(crate) const MESSAGE: Endpoint = post("/message");
pub(crate) const MESSAGE_EDIT: Endpoint =
    Endpoint { method: &Method::PATCH, path: "/message", asks: false };
pub(crate) const MESSAGE_DELETE: Endpoint = delete("/message");
pub(crate) const CANCEL: Endpoint = post("/cancel");
pub(crate) const CHANNELS_DELETE: Endpoint = delete("/channels");
pub(crate) const CHANNEL_CONFIG: Endpoint = post("/channel_config");
pub(crate) const INFO: Endpoint = question("/info");
pub(crate) const DISCONNECT: Endpoint = post("/disconnect");
pub(crate) const DISCONNECT_USER: Endpoint = post("/disconnect_user");
pub(crate) const RELOAD: Endpoint = question("/reload");
pub(crate) const LIST_CHANNELS: Endpoint = question("/list_channels");
pub(crate) const LIST_USERS: Endpoint = question("/list_users");
pub(crate) const HISTORY: Endpoint = question("/history");
pub(crate) const ADMIN_STATS: Endpoint = question("/admin/admin.json");
pub(crate) const METRICS: Endpoint = get("/admin/stats.json");
pub(crate) const DEBUG: Endpoint = get("/admin/debug");
#[cfg(feature = "test-server")]
pub(crate) const ADVANCE: Endpoint = question("/test/advance");
#[cfg(feature = "listen")]
pub(crate) const WEBSOCKET: Endpoint = get("/ws");
#[cfg(feature = "listen")]
pub(crate) const LONG_POLL: Endpoint = get("/listen");

/// A method and a path below the server's address.
#[derive(Clone, Copy)]
pub(crate) struct Endpoint {
    pub(crate) method: &'static Method,
    pub(crate) path: &'static str,
    /// A question changes nothing, so that its repeats need no key.
    pub(crate) asks: bool,
}

const fn post(path: &'static str) -> Endpoint {
    Endpoint { method: &Method::POST, path, asks: false }
}

const fn delete(path: &'static str) -> Endpoint {
    Endpoint { method: &Method::DELETE, path, asks: false }
}

const fn question(path: &'static str) -> Endpoint {
    Endpoint { method: &Method::POST, path, asks: true }
}

const fn get(path: &'static str) -> Endpoint {
    Endpoint { method: &Method::GET, path, asks: true }
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
