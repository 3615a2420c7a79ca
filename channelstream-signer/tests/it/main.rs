//! The signer from outside: against recorded and live itsdangerous, tampering, properties, files.
#![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

mod exchange;
mod files;
mod live;
mod properties;
mod refusals;
mod request;
mod settings;
mod vectors;
mod webhooks;
