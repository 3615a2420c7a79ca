//! The bytes of each transport.

pub(crate) mod websocket;
