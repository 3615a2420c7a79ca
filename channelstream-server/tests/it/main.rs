//! The server from outside: settings and the program.

#![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

mod admin;
mod app;
mod config;
mod ini;
mod lifecycle;
mod logs;
mod openapi;
mod poll;
mod process;
mod readme;
mod rights;
mod shutdown;
mod socket;
