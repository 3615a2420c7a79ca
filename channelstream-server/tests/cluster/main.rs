//! Several servers on one real Redis: one server to everybody, whatever is killed, stopped or wiped.
//! `CHANNELSTREAM_CLUSTER=full` runs more rounds; `CHANNELSTREAM_TEST_SERVER` names another server program.
//! Without a `redis-server` and an `nginx` in the path, the tests fail.

#![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]
#![allow(clippy::disallowed_methods, reason = "a test may wait")]
#![cfg(target_os = "linux")]

#[path = "../it/app.rs"]
#[allow(dead_code, reason = "the other tests need more of it")]
mod app;
mod away;
#[allow(dead_code, reason = "the crash tests need more of it")]
mod backend;
mod breaks;
mod cluster;
mod compose;
#[allow(dead_code, reason = "the other tests need more of it")]
mod crowd;
#[path = "../storm/dice.rs"]
mod dice;
mod doctor;
#[path = "../storm/ear.rs"]
mod ear;
mod ends;
#[path = "../storm/follower.rs"]
mod follower;
mod guests;
mod kill;
mod meddling;
#[path = "../storm/model.rs"]
#[allow(dead_code, reason = "the storm needs more of it")]
mod model;
#[path = "../it/nginx.rs"]
#[allow(dead_code, reason = "the other tests need more of it")]
mod nginx;
#[path = "../storm/order.rs"]
#[allow(dead_code, reason = "the storm needs more of it")]
mod order;
#[path = "../storm/page.rs"]
mod page;
#[path = "../it/process.rs"]
#[allow(dead_code, reason = "the other tests need more of it")]
mod process;
mod proxy;
#[path = "../storm/publisher.rs"]
mod publisher;
mod redis;
mod rolling;
#[path = "../storm/round.rs"]
#[allow(dead_code, reason = "the storm needs more of it")]
mod round;
mod same;
mod secure;
mod slots;
mod storm;
mod visitor;
#[path = "../storm/wire.rs"]
#[allow(dead_code, reason = "the storm needs more of it")]
mod wire;

/// Returns how many rounds there are: `few`, or `many` if the full sizes are asked for.
fn rounds(few: usize, many: usize) -> usize {
    let is_full = std::env::var_os("CHANNELSTREAM_CLUSTER").is_some_and(|value| value == "full");
    if is_full { many } else { few }
}
