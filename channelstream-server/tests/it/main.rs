//! The server from outside: settings and the program.

#![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]
#![allow(clippy::disallowed_methods, reason = "a test may wait")]

mod admin;
mod admin_live;
mod app;
mod channels;
mod config;
mod cursors;
mod doctor;
mod embedded;
mod event_stream;
mod growing;
mod health;
mod hostile_browser;
#[cfg(target_os = "linux")]
mod hostile_clock;
mod hostile_connections;
mod hostile_fairness;
mod hostile_headers;
mod hostile_heads;
mod hostile_http;
mod hostile_lists;
mod hostile_process;
mod hostile_proxy;
mod ini;
mod journal_tools;
mod lifecycle;
mod limits;
mod logs;
mod metrics;
#[cfg(target_os = "linux")]
mod metrics_files;
mod nginx;
mod nodes;
mod openapi;
mod openapi_current;
mod pages;
mod pings;
mod poll;
mod process;
mod raw;
mod readme;
#[cfg(target_os = "linux")]
#[path = "../cluster/redis.rs"]
#[allow(dead_code, reason = "the cluster needs more of it")]
mod redis;
mod refused;
mod repeats;
mod rights;
mod scrape;
mod shutdown;
mod socket;
mod strict;
mod tutorial;
mod websocket;
mod wrong_types;
