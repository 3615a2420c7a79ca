//! The real program, alone and against a real server.
#![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

mod authority;
mod batch;
mod bench;
mod clock;
mod commands;
mod conformance;
mod doctor;
#[cfg(unix)]
mod ending;
mod fault;
mod help;
mod life;
mod listen;
mod nginx;
mod outside;
mod profiles;
mod program;
mod proxies;
#[cfg(target_os = "linux")]
mod readme;
mod secrets;
mod server;
mod shown;
mod signatures;
mod stream;
#[cfg(target_os = "linux")]
mod terminal;
#[cfg(target_os = "linux")]
mod top;
mod traffic;
mod webhooks;
mod whole;
