//! A real-time push server: channels, presence, state and history over websockets and long polls.
//!
//! The program `channelstream-server` is a thin coat around [`Server`], which other programs and
//! tests can run as well:
//!
//! ```
//! use channelstream_server::{Config, Server};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Requests and the writer of frames take turns on one thread: a runtime with more threads
//! // works, but costs more per delivery.
//! let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! runtime.block_on(async {
//!     let server = Server::bind(Config { port: 0, ..Config::default() }).await?;
//!     println!("listening on {}", server.local_addr());
//!     let shutdown = async { /* until a signal comes */ };
//!     server.run(shutdown).await?;
//!     Ok(())
//! })
//! # }
//! ```

mod admin;
mod api;
mod app;
mod clock;
pub mod config;
mod http;
mod journal;
mod limits;
mod listener;
mod node;
mod pages;
#[doc(hidden)]
pub mod program;
mod router;
mod server;
mod tcp;
mod thread;
mod transport;
mod wire;

pub use config::Config;
pub use server::{Server, ServerError};
