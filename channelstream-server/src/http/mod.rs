//! HTTP mechanics: connections, requests, answers, and which headers count. No endpoint is here.

pub(crate) mod accepting;
pub(crate) mod access;
pub(crate) mod answer;
mod begin;
pub(crate) mod bind;
pub(crate) mod body;
pub(crate) mod certificate;
pub(crate) mod connection;
pub(crate) mod connection_limit;
pub(crate) mod cors;
pub(crate) mod forwarded;
pub(crate) mod header;
pub(crate) mod host;
mod http2;
pub(crate) mod linger;
pub(crate) mod negotiate;
pub(crate) mod peer;
pub(crate) mod problem;
pub(crate) mod rate_limiter;
pub(crate) mod request;
pub(crate) mod service;
mod settings_frames;
pub(crate) mod stall;
pub(crate) mod tls;
pub(crate) mod trace_context;
pub(crate) mod unread;
