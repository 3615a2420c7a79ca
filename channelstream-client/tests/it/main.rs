//! The client against a real server in this process, and against one that misbehaves.
#![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

mod batches;
mod broken_connections;
mod calls;
mod failures;
mod keys;
mod listening;
mod proxy;
mod reexports;
mod requests;
mod restarts;
mod retries;
mod server;
mod signatures;
mod streaming;
mod stub;
mod test_server;
mod tls;
mod without_cursors;

#[path = "../../examples/whole_life.rs"]
#[expect(dead_code, reason = "the test does not call `main`")]
mod whole_life;
