//! The signer from outside: against recorded and live itsdangerous, tampering, properties.
#![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

mod exchange;
mod live;
mod properties;
mod refusals;
mod settings;
mod vectors;
