//! The server from outside: settings and the program.

#![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

mod admin;
mod admin_live;
mod app;
mod config;
mod hostile_connections;
mod hostile_fairness;
mod hostile_heads;
mod hostile_http;
mod ini;
mod lifecycle;
mod limits;
mod logs;
mod openapi;
mod openapi_current;
mod pings;
mod poll;
mod process;
mod raw;
mod readme;
mod rights;
mod shutdown;
mod socket;
mod tutorial;
mod websocket;
mod wrong_types;
