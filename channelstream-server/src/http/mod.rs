//! HTTP mechanics: connections, requests, answers, and which headers count. No endpoint is here.

pub(crate) mod accepting;
pub(crate) mod answer;
pub(crate) mod bind;
pub(crate) mod body;
pub(crate) mod connection;
pub(crate) mod connection_limit;
pub(crate) mod cors;
pub(crate) mod forwarded;
pub(crate) mod header;
pub(crate) mod host;
pub(crate) mod linger;
pub(crate) mod negotiate;
pub(crate) mod peer;
pub(crate) mod problem;
pub(crate) mod rate_limiter;
pub(crate) mod request;
pub(crate) mod service;
pub(crate) mod stall;
