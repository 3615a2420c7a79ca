//! The real program, by itself and against a real server.
#![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

mod help;
mod program;
mod secrets;
mod server;
mod signatures;
mod traffic;
