//! The core as its callers see it: scenarios in virtual time, properties, snapshots, reading.
#![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

mod world;

mod addressing;
mod catchup;
mod clocks;
mod connecting;
mod cursors;
mod deleting;
mod edits;
mod epochs;
mod events;
mod expiry;
mod fading;
mod followers;
mod growing;
mod growing_late;
mod growing_pages;
mod history;
mod info;
#[cfg(target_os = "linux")]
mod largest;
mod levels;
mod listening;
mod listing;
mod long_run;
mod nodes;
mod nodes_random;
mod nodes_world;
mod notices;
mod paging;
mod presence;
mod properties;
mod random;
mod reading;
mod removal;
mod repeats;
mod snapshots;
mod stored;
mod subscribing;
mod user_state;
mod views;
#[cfg(target_os = "linux")]
mod workloads;
