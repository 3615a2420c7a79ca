//! Client for the channelstream push server: signed, typed calls from Rust services.
//!
//! Browsers listen; backends decide who listens to what, and publish. This crate is the backend's
//! side, and, with the feature `listen`, the listening side for Rust programs.
//!
//! # Five minutes
//!
//! A [`Client`] is an address and the secret from the server's settings. Make one for the whole
//! program: it is cheap to clone, and clones share everything.
//!
//! ```no_run
//! use channelstream_client::{Client, NewMessage, json};
//!
//! # async fn tour() -> Result<(), channelstream_client::Error> {
//! let client = Client::new("http://127.0.0.1:8000", "secret")?;
//! client.publish(NewMessage::to_channel("editor", "news", json!({"text": "Hello!"}))).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Nobody hears that yet. Who wants to hear needs a connection, which only a backend can make: it
//! knows who somebody is, and what they may hear. The page then listens with the connection's id,
//! at `/ws?conn_id=...`.
//!
//! ```no_run
//! # use channelstream_client::{Client, Connect, InfoOptions, NewMessage, Subscribe, json};
//! # async fn tour(client: Client) -> Result<(), channelstream_client::Error> {
//! // Somebody opened a page: a connection for them, in two channels.
//! let connected = client.connect(&Connect::new("ann").channels(["news", "chat"])).await?;
//! println!("ann may listen as {}", connected.conn_id);
//! client.subscribe(&Subscribe::new(connected.conn_id, ["sports"])).await?;
//!
//! // To everybody in a channel, and to one user wherever they are; one request.
//! let sent = client
//!     .publish(&[
//!         NewMessage::to_channel("editor", "news", json!({"text": "Hello!"})),
//!         NewMessage::to_users("editor", ["ann"], json!({"text": "Hello, Ann."})),
//!     ])
//!     .await?;
//! println!("the first has the id {}", sent[0].uuid);
//!
//! // Who is there?
//! let info = client.info(&InfoOptions::default().channels(["news"])).await?;
//! for channel in info.channels.values() {
//!     println!("{}: {} users", channel.name, channel.total_users);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Requests are plain structs with public fields: begin with their constructors, and set the
//! rest by `..`, so that fields of later versions do no harm.
//!
//! ```
//! use channelstream_client::{ChannelConfig, Connect, Scalar};
//!
//! let request = Connect {
//!     user_state: [("name".to_owned(), Scalar::from("Ann"))].into(),
//!     state_public_keys: vec!["name".to_owned()],
//!     channel_configs: [(
//!         "chat".to_owned(),
//!         ChannelConfig { notify_presence: Some(true), ..ChannelConfig::default() },
//!     )]
//!     .into(),
//!     ..Connect::new("ann").channels(["chat"])
//! };
//! ```
//!
//! # Listening
//!
//! With the feature `listen`, a `Listener` is a stream of what happens to a connection. It comes
//! over a websocket, or long polls where a proxy lets none through; it opens a new line when one
//! breaks or is silent for too long, takes what was missed from the server's catch-up, and says
//! where something may be missing.
//!
#![cfg_attr(feature = "listen", doc = "```no_run")]
#![cfg_attr(not(feature = "listen"), doc = "```ignore")]
//! use channelstream_client::{Client, Connect, Content, Event};
//!
//! # async fn listen(client: Client) -> Result<(), channelstream_client::Error> {
//! let mut listener = client.listen_as(Connect::new("robot").channels(["news"])).build()?;
//! while let Some(event) = listener.next().await {
//!     match event {
//!         Event::Frame(frame) => {
//!             if let Content::Message { user, .. } = &frame.content {
//!                 println!("{user} says {:?}", frame.payload::<serde_json::Value>());
//!             }
//!         }
//!         Event::Gap(gap) => println!("something may be missing: {gap:?}"),
//!         Event::Interrupted { error, pause, .. } => println!("{error}; again in {pause:?}"),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The server keeps its state in memory, and forgets connections when it is restarted. A listener
//! of `Client::listen_as` then connects again by itself. A program without the secret listens with
//! `Listener::builder`, and is given a way to ask its backend for another connection.
//!
//! # Very many messages
//!
//! [`Client::publish_all`] takes any iterator and [`Client::publish_stream`] any stream. They cut
//! it to the server's bounds, and when something fails they tell exactly how far they came:
//!
//! ```no_run
//! # use channelstream_client::{Client, Error, NewMessage, json};
//! # async fn publish(client: Client) -> Result<(), Error> {
//! let messages = (0..100_000)
//!     .map(|number| NewMessage::to_channel("counter", "numbers", json!({"number": number})));
//! match client.publish_all(messages).await {
//!     Ok(published) => println!("{} in {} requests", published.messages, published.requests),
//!     Err(error) => {
//!         println!("{} were taken; {}", error.published().messages, error.error());
//!         // These were perhaps taken, if `error.is_in_doubt()`, or not. With their ids they can
//!         // be sent again, before what comes after them.
//!         let unpublished: Vec<NewMessage> = error.into_unpublished();
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # When a call fails
//!
//! [`Error::kind`] tells what to do about it, [`Error::faults`] what the server found wrong with
//! each field, [`Error::is_in_doubt`] whether the server may have done it nevertheless. The text
//! is fit for a log: no secret and no signature is in it. If a signature is refused because this
//! machine's clock is wrong, it says so, and [`Error::clock_skew`] by how much.
//!
//! ```no_run
//! # use channelstream_client::{Client, ErrorKind, NewMessage};
//! # async fn publish(client: Client, message: NewMessage) {
//! match client.publish(message).await {
//!     Ok(sent) => println!("{} taken", sent.len()),
//!     Err(error) if error.faults().is_some() => println!("my mistake: {error}"),
//!     Err(error) if error.is_retryable() => println!("later, then: {error}"),
//!     Err(error) => println!("{error}"),
//! }
//! # }
//! ```
//!
//! # Repeats
//!
//! A [`Client`] repeats requests by itself, by its [`RetryPolicy`], if they fail in a way that may
//! pass. Where for sure nothing was carried out (nobody could be reached; 408 and 429; a 503 in
//! which the server says so), every request is repeated. Else the first request may have been carried out though its answer didn't
//! come, and what a second one does decides:
//!
//! | call | what a repeat may do |
//! | --- | --- |
//! | `info`, `figures` | nothing |
//! | `connect` | nothing: the client gives connections their ids, and one id is one connection. The reference server, Channelstream 0.7.1, makes a second one, which it forgets 15 s later |
//! | `subscribe`, `unsubscribe`, `disconnect` | nothing; but the answer tells of the second time: `subscribed_to` may be empty, a connection that has just ended unknown |
//! | `set_user_state`, `configure` | it may set again what somebody else has changed in between; `changed_state` tells of the second time |
//! | `edit`, `delete` | listeners may be told twice, and an edit may come after a later one of somebody else |
//! | `publish_all`, `publish_stream`, `publish` with an id in each message | messages may be heard twice, and stand in the history twice, each time with the same id |
//! | `publish` without ids | it is not repeated |
//!
//! # Features
//!
//! | feature | what for | default |
//! | --- | --- | --- |
//! | `listen` | `Listener` and what it tells; brings `tokio-tungstenite` | no |
//!
//! # Examples
//!
//! In `examples/`: `first_steps`, `whole_life`, `warp_app` (sign-in, and pages that listen),
//! `chat` (rooms, presence, private messages), `batch_publisher`, and `surviving_listener`.
//!
//! # Types of other crates
//!
//! [`ClientBuilder::http_client`] takes a `reqwest::Client` of version 0.13, and
//! [`Client::publish_stream`] and `Listener` know the `Stream` of `futures-core` 0.3. Everything
//! needs a tokio runtime with IO and time. TLS is rustls with the system's certificates, or those of
//! [`ClientBuilder::root_certificates`], for websockets as for requests. A `reqwest::Client` of one's own should speak HTTP/1 only
//! (`http1_only`): over HTTP/2 no websocket opens, and listeners fall back to polls.

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod admin;
mod batch;
mod builder;
mod call;
mod client;
mod error;
#[cfg(feature = "listen")]
mod listen;
mod proxy;
mod retry;
mod skew;

#[cfg(feature = "listen")]
pub use channelstream_core::protocol::Action;
pub use channelstream_core::protocol::{
    Address, AdminStats, AdminUser, Changed, ChannelConfig, ChannelSettings, ChannelView,
    ChannelsDeleted, ChannelsInfo, Configure, Connect, Connected, DateTime, Delete, DeleteChannels,
    Edit, FieldError, FieldErrors, InfoOptions, Message, NewMessage, Payload, Posted, Receipt,
    Scalar, SetUserState, Subscribe, Subscribed, Timestamp, Unsubscribe, Unsubscribed, UserState,
    UserStateSet, UserView, Uuid,
};
pub use channelstream_core::{NotADuration, parse_duration};
pub use channelstream_signer::TimestampSigner;
pub use http::StatusCode;
pub use serde_json::json;

pub use crate::batch::{PublishError, Published};
pub use crate::builder::ClientBuilder;
pub use crate::client::Client;
pub use crate::error::{Error, ErrorKind};
#[cfg(feature = "listen")]
pub use crate::listen::{Content, End, Event, Frame, Gap, Listener, ListenerBuilder, Transport};
pub use crate::retry::RetryPolicy;
pub use crate::skew::ClockSkew;
