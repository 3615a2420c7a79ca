//! The server from outside: settings and the program.

#![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]
#![allow(clippy::disallowed_methods, reason = "a test may wait")]

mod access_log;
mod admin;
mod admin_live;
mod app;
mod channels;
mod config;
mod cursors;
mod doctor;
mod embedded;
mod event_stream;
mod fading;
mod frames;
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
mod hostile_http2;
mod hostile_lists;
mod hostile_process;
mod hostile_proxy;
mod hostile_signatures;
mod http2;
mod ini;
mod journal_tools;
mod lifecycle;
mod limits;
mod listing;
mod logs;
mod metrics;
#[cfg(target_os = "linux")]
mod metrics_files;
mod nginx;
mod nodes;
mod openapi;
mod openapi_current;
mod pages;
mod paging;
mod pings;
mod poll;
mod process;
mod proxies;
mod raw;
mod readme;
#[cfg(target_os = "linux")]
#[path = "../cluster/redis.rs"]
#[allow(dead_code, reason = "the cluster needs more of it")]
mod redis;
mod refused;
mod reload;
mod removal;
mod repeats;
mod rights;
mod scrape;
mod shutdown;
mod socket;
mod strict;
#[cfg(target_os = "linux")]
mod systemd;
mod test_clock;
mod tls;
mod tls_files;
mod tutorial;
#[cfg(unix)]
mod unix;
mod webhooks;
mod websocket;
mod whole;
mod wrong_types;
