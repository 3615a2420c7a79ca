//! A real-time push server: channels, presence, state and history over websockets and long polls.
//!
//! This crate is the program `channelstream-server` and the library that it is made of. Backends
//! publish messages to channels, browsers listen, and the server keeps track of who is where. What it
//! does on the wire is in `docs/wire-contract.md`; most users run the program and need none of this.
//!
//! # A tour
//!
//! A [`Server`] is bound, then run until a future completes:
//!
//! ```
//! use channelstream_server::{Config, Server};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Requests and the writer of events share one thread: a runtime with more threads works, but
//! // each delivery costs more. For more cores there is `Config::threads`.
//! let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! runtime.block_on(async {
//!     let server = Server::bind(Config { port: 0, ..Config::default() }).await?;
//!     println!("listening on {}", server.local_addrs()[0]);
//!     let shutdown = async { /* until a signal arrives */ };
//!     server.run(shutdown).await?;
//!     Ok(())
//! })
//! # }
//! ```
//!
//! [`Config`] has a field for each setting of the program; [`Config::default`] has the defaults of the
//! program. Secrets are of the type [`Secret`], which does not print its content; lists of addresses
//! are [`Networks`].
//!
//! Where the socket comes from elsewhere, [`Server::from_listener`] takes it.
//!
//! ## Publishing from the same process
//!
//! An application that serves its own routes beside the push server publishes through a [`Handle`],
//! without HTTP and signatures. The requests are the types of [`protocol`]:
//!
//! ```
//! use channelstream_server::protocol::{Connect, NewMessage};
//! use channelstream_server::{Config, Server};
//! use serde_json::json;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::bind(Config { port: 0, ..Config::default() }).await?;
//! let handle = server.handle();
//! let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
//! let running = tokio::spawn(server.run(async { drop(stopped.await) }));
//!
//! // A browser listens with this id.
//! let ann = handle.connect(&Connect::new("ann").channels(["news"])).await?;
//! let message = NewMessage::to_channel("server", "news", json!({"text": "hello"}))?;
//! let posted = handle.publish(message).await?;
//! assert_eq!(posted[0].receipt.recipients, Some(0), "{} does not listen yet", ann.conn_id);
//!
//! drop(stop);
//! running.await??;
//! # Ok(())
//! # }
//! ```
//!
//! `examples/embedded.rs` is such an application, with routes of its own.
//!
//! ## Errors and logs
//!
//! [`ServerError`] and [`HandleError`] are typed; `source()` returns the cause. The server logs through
//! [`tracing`](https://docs.rs/tracing); the embedding program chooses the subscriber.
//!
//! # Features
//!
//! * `jemalloc` (default): the program allocates with jemalloc. The library never sets an allocator.

mod admin;
mod api;
mod app;
mod clock;
pub mod config;
mod files;
mod handle;
mod http;
mod journal;
mod limits;
mod listener;
mod metrics;
mod node;
mod pages;
mod places;
#[doc(hidden)]
pub mod program;
mod readings;
mod reload;
mod router;
mod server;
mod settings;
#[cfg(test)]
mod simulation;
mod socket;
mod spans;
mod suggest;
mod thread;
mod transport;
mod webhooks;
mod wire;

pub use crate::http::tls::TlsError;
pub use channelstream_core::protocol;
pub use channelstream_core::state::Refusal;
pub use config::{Config, Networks, Secret};
pub use handle::{Handle, HandleError};
pub use journal::SharedJournal;
pub use reload::{ReloadError, Reloader};
pub use server::{Server, ServerError};
pub use socket::{BoundSocket, LocalAddr};

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
