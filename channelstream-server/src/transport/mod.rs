//! The ways that events take to a listener.

pub(crate) mod long_poll;
pub(crate) mod websocket;
