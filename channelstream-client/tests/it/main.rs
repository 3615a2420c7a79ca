//! The client against a real server in this process, and against one that misbehaves.
#![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

mod batches;
mod calls;
mod failures;
mod requests;
mod retries;
mod server;
mod stub;
