//! The server from outside: settings and the program.

#![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

mod config;
mod ini;
mod readme;
