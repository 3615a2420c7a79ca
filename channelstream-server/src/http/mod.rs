//! HTTP: connections, requests and answers, and what of them is believed; no endpoint.

pub(crate) mod accepting;
pub(crate) mod answer;
pub(crate) mod bind;
pub(crate) mod connection;
pub(crate) mod forwarded;
pub(crate) mod header;
pub(crate) mod host;
pub(crate) mod linger;
pub(crate) mod peer;
pub(crate) mod rate_limiter;
pub(crate) mod request;
mod service;
pub(crate) mod stall;
