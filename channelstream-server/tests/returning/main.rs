//! Clients that hold a cursor and come back: what they get after every kind of break, what it costs, and
//! what it costs others. `CHANNELSTREAM_RETURNING=full` runs the full sizes, which take minutes;
//! `CHANNELSTREAM_TEST_SERVER` names another server program, such as a released one.

#![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]
#![allow(clippy::disallowed_methods, reason = "a test may wait")]
#![cfg(target_os = "linux")]

mod answers;
#[path = "../it/app.rs"]
#[allow(dead_code, reason = "the other tests need more of it")]
mod app;
mod client;
mod costs;
mod cuts;
mod dice;
mod memory;
mod missed;
#[path = "../it/process.rs"]
#[allow(dead_code, reason = "the other tests need more of it")]
mod process;
mod slow;
mod wire;

use std::time::Duration;

/// For something to come, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether the full sizes are asked for.
fn is_full() -> bool {
    std::env::var_os("CHANNELSTREAM_RETURNING").is_some_and(|value| value == "full")
}
