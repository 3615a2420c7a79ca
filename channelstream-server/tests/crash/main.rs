//! Servers with a journal in files that crash: killed under load, with torn and damaged files, without
//! space, twice at once. `CHANNELSTREAM_CRASH=full` runs as many rounds as it takes to trust them;
//! `CHANNELSTREAM_TEST_SERVER` names another server program, such as a released one.

#![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]
#![allow(clippy::disallowed_methods, reason = "a test may wait")]
#![cfg(target_os = "linux")]

mod activation;
#[path = "../it/app.rs"]
#[allow(dead_code, reason = "the other tests need more of it")]
mod app;
#[path = "../cluster/backend.rs"]
mod backend;
#[path = "../cluster/crowd.rs"]
#[allow(dead_code, reason = "the other tests need more of it")]
mod crowd;
mod crowd_returns;
mod full;
mod journal;
mod kill;
#[path = "../it/process.rs"]
#[allow(dead_code, reason = "the other tests need more of it")]
mod process;
mod refused;
mod restart;
mod torn;
mod visitor;

/// Returns how many rounds there are: `few`, or `many` if the full sizes are asked for.
fn rounds(few: u32, many: u32) -> u32 {
    let is_full = std::env::var_os("CHANNELSTREAM_CRASH").is_some_and(|value| value == "full");
    if is_full { many } else { few }
}
