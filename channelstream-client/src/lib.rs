//! Client for the channelstream push server: signed, typed calls from Rust services.
//!
//! Backends publish messages and decide which users may listen to which channels; browsers listen. This
//! crate is the backend's side and, with the feature `listen`, the listening side for Rust programs.
//!
//! # Five minutes
//!
//! A [`Client`] has the server's address and the secret of its settings. Create one for the whole
//! program: it is cheap to clone, and clones share everything.
//!
//! ```no_run
//! use channelstream_client::{Client, NewMessage, json};
//!
//! # async fn tour() -> Result<(), channelstream_client::Error> {
//! let client = Client::new("http://127.0.0.1:8000", "secret")?;
//! client.publish(NewMessage::to_channel("editor", "news", json!({"text": "Hello!"}))?).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Nobody receives that message yet. A listener needs a connection, which only a backend can create,
//! since it knows the user and what the user may receive. The page then listens with the connection's
//! id, at `/ws?conn_id=...`.
//!
//! ```no_run
//! # use channelstream_client::{Client, Connect, InfoOptions, NewMessage, Subscribe, json};
//! # async fn tour(client: Client) -> Result<(), channelstream_client::Error> {
//! // A user opened a page: create a connection that is in two channels.
//! let connected = client.connect(Connect::new("ann").channels(["news", "chat"])).await?;
//! println!("ann may listen as {}", connected.conn_id);
//! client.subscribe(Subscribe::new(connected.conn_id, ["sports"])).await?;
//!
//! // One request: a message to everybody in a channel, and one to a user in any channel.
//! let sent = client
//!     .publish([
//!         NewMessage::to_channel("editor", "news", json!({"text": "Hello!"}))?,
//!         NewMessage::to_users("editor", ["ann"], json!({"text": "Hello, Ann."}))?,
//!     ])
//!     .await?;
//! println!("the first has the id {}", sent[0].uuid);
//!
//! // Who is there?
//! let info = client.info(InfoOptions::default().channels(["news"])).await?;
//! for channel in info.channels.values() {
//!     println!("{}: {} users", channel.name, channel.total_users);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Requests are plain structs with public fields. Start from a constructor and set the rest with
//! `..`, so that fields of later versions do not break the code.
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
//! With the feature `listen`, an `EventStream` yields the events of a connection. It uses a
//! websocket, or long polling where a proxy blocks websockets. It reconnects when the TCP connection
//! breaks or is silent for too long, receives what it missed from its cursor on, and reports where events
//! are missing.
//!
#![cfg_attr(feature = "listen", doc = "```no_run")]
#![cfg_attr(not(feature = "listen"), doc = "```ignore")]
//! use channelstream_client::{Client, Connect, EventKind, StreamEvent, Value};
//!
//! # async fn listen(client: Client) -> Result<(), channelstream_client::Error> {
//! let mut events = client.listen_as(Connect::new("robot").channels(["news"])).build()?;
//! while let Some(event) = events.next().await {
//!     match event {
//!         StreamEvent::Event(event) => {
//!             if let EventKind::Message { user, .. } = &event.kind {
//!                 println!("{user} says {:?}", event.payload::<Value>());
//!             }
//!         }
//!         StreamEvent::Gap(gap) => println!("something may be missing: {gap:?}"),
//!         StreamEvent::Interrupted { error, pause, .. } => println!("{error}; again in {pause:?}"),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The server keeps its state in memory and loses connections when it is restarted. A stream of
//! `Client::listen_as` then creates a new connection by itself. A program without the secret uses
//! `EventStream::builder`, with a function that requests a new connection from its backend.
//!
//! # Messages that grow
//!
//! The answer of a language model is shown while it is made. [`Client::stream`] opens a message that
//! grows: listeners receive what is appended, and who comes later the message as it is by then.
//!
//! ```no_run
//! # use channelstream_client::{Client, NewMessage, StreamError, json};
//! # async fn answer(client: Client, words: Vec<String>) -> Result<(), Box<dyn std::error::Error>> {
//! let message = NewMessage::to_channel("bot", "chat:42", json!({"text": ""}))?;
//! let mut answer = client.stream(message).cancel_by(["ann"]).await?;
//! for word in words {
//!     match answer.append(&word).await {
//!         Err(StreamError::Cancelled) => return Ok(()),
//!         outcome => outcome?,
//!     }
//! }
//! answer.finish().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Text is never doubled: the server takes each step of a [`MessageStream`] once, however often it is
//! repeated. Another process takes over with [`Client::resume`]. A page cancels the message with the
//! browser's `connection.cancel`, a program with [`Client::cancel`]. [`Client::append`] is a single append.
//!
//! # Large numbers of messages
//!
//! [`Client::publish_all`] takes any iterator and [`Client::publish_stream`] any stream. They split
//! it into requests within the server's limits, and report exactly how far they got if one fails:
//!
//! ```no_run
//! # use channelstream_client::{Client, Error, NewMessage, json};
//! # async fn publish(client: Client) -> Result<(), Error> {
//! let messages = (0..100_000)
//!     .map(|number| NewMessage::to_channel("counter", "numbers", json!({"number": number})))
//!     .collect::<Result<Vec<_>, _>>()?;
//! match client.publish_all(messages).await {
//!     Ok(published) => println!("{} in {} requests", published.messages, published.requests),
//!     Err(error) => {
//!         println!("{} were accepted; {}", error.published().messages, error.error());
//!         // If `error.is_in_doubt()`, these may have been accepted. Since they have ids, they can
//!         // be sent again, before the messages that follow them.
//!         let unpublished: Vec<NewMessage> = error.into_unpublished();
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # When a call fails
//!
//! [`Error::kind`] says what to do, [`Error::field_errors`] what is wrong with each field of the
//! request, and [`Error::is_in_doubt`] whether the server may have carried it out. The text is
//! safe to log: it contains no secret and no signature. `Display` has the outer sentence and
//! [`source`](std::error::Error::source) the causes; `{error:#}` shows both. If a signature was
//! refused because this machine's clock is wrong, the text says so, and [`Error::clock_skew`] by
//! how much.
//!
//! ```no_run
//! # use channelstream_client::{Client, ErrorKind, NewMessage};
//! # async fn publish(client: Client, message: NewMessage) {
//! match client.publish(message).await {
//!     Ok(sent) => println!("{} accepted", sent.len()),
//!     Err(error) if error.field_errors().is_some() => println!("invalid request: {error}"),
//!     Err(error) if error.is_retryable() => println!("try again later: {error}"),
//!     Err(error) => println!("{error:#}"),
//! }
//! # }
//! ```
//!
//! # Repeats
//!
//! A [`Client`] repeats requests by itself, according to its [`RetryPolicy`], if they fail in a way
//! that may be temporary. If a request certainly was not carried out (the server was unreachable;
//! 408 and 429; a 503 in which the server says so), it is always repeated. Otherwise it may have
//! been carried out although its answer did not arrive.
//!
//! For this case each call that changes something has a key (`Idempotency-Key`), the same for all of its
//! requests. A server that knows keys carries them out once and gives the first answer to each repeat,
//! so every call is repeated safely, for up to five minutes. The client learns from the answers whether
//! its server knows keys; before the first answer it assumes that it does not. A restart of the server
//! forgets keys, as it forgets messages and connections.
//!
//! On other servers, the effect of a second request decides:
//!
//! | call | effect of a repeat on a server without keys |
//! | --- | --- |
//! | `info`, `admin_stats` | nothing |
//! | `connect` | nothing: the client chooses the id, and one id is one connection. The reference server, Channelstream 0.7.1, creates a second one, which expires after 15 s |
//! | `subscribe`, `unsubscribe`, `disconnect`, `disconnect_user`, `delete_channels` | nothing; but the answer is that of the second request: `subscribed_to` may be empty, a connection that has just ended unknown |
//! | `set_user_state`, `configure` | it may overwrite what another client changed in between; `changed_state` is that of the second request |
//! | `change`, `append` with a step in each append, `cancel` | nothing; but the answer about a message that the first request ended is `taken: false` |
//! | `change`, `append` without steps | it is not repeated |
//! | `edit`, `delete` | listeners may be notified twice, and an edit may override a later one of another client |
//! | `publish_all`, `publish_stream`, `publish` with an id in each message | messages may be delivered and stored in the history twice, with the same id each time |
//! | `publish` without ids | it is not repeated |
//!
//! # Features
//!
//! | feature | purpose | default |
//! | --- | --- | --- |
//! | `listen` | `EventStream` and its events; adds `tokio-tungstenite` | no |
//! | `test-server` | `TestServer`: the real server for tests, with a clock that they put ahead; adds `tempfile` | no |
//!
//! # Examples
//!
//! In `examples/`: `first_steps`, `whole_life`, `axum_app` (a room), `warp_app` (sign-in, pages that listen),
//! `chat` (rooms, presence, private messages), `assistant` (answers that grow), `batch_publisher`, and
//! `surviving_listener`.
//!
//! # Types of other crates
//!
//! The types that signatures need are re-exported: ids as [`Uuid`], maps as [`IndexMap`], the trait
//! [`Stream`], and the crates [`reqwest`], [`serde_json`] (also its [`json!`] and [`Value`]) and
//! [`signer`]. The request and answer types are those of
//! `channelstream-core`, whose versions follow this crate's. Everything needs a tokio runtime with
//! IO and time. TLS is rustls with the system's certificates, or those of
//! [`ClientBuilder::root_certificates`], for websockets as for requests. A custom
//! [`http_client`](ClientBuilder::http_client) should use HTTP/1 only (`http1_only`): over HTTP/2 no
//! websocket opens, and streams fall back to long polling.

/// Compiles the examples of the README.
#[cfg(all(doctest, feature = "listen"))]
#[doc = include_str!("../README.md")]
struct Readme;

mod admin;
mod batch;
mod builder;
mod call;
mod client;
mod endpoint;
mod error;
mod growing;
#[cfg(feature = "listen")]
mod listen;
mod proxy;
mod retry;
mod signing;
mod skew;
#[cfg(feature = "test-server")]
mod test_server;

#[cfg(feature = "listen")]
pub use channelstream_core::protocol::Action;
pub use channelstream_core::protocol::{
    Address, AdminStats, AdminUser, AppendRequest, Change, ChangeReply, Changed, ChannelConfig,
    ChannelEntry, ChannelList, ChannelSettings, ChannelView, ChannelsDeleted, ChannelsInfo,
    Configure, Connect, Connected, Cursor, DateTime, Delete, DeleteChannels, DisconnectUser, Edit,
    FieldError, FieldErrors, GapReason, Growth, HistoryPage, InEvent, IndexMap, InfoOptions,
    ListChannels, ListUsers, Message, NewMessage, Opening, PastMessage, Payload, PayloadError,
    Piece, Pieces, Posted, ReadHistory, Receipt, Reloaded, Scalar, SetUserState, Status, Subscribe,
    Subscribed, Taken, Timestamp, Unsubscribe, Unsubscribed, UserDisconnected, UserEntry, UserList,
    UserState, UserStateSet, UserView, Uuid,
};
pub use channelstream_core::{NotADuration, parse_duration};
pub use channelstream_signer::{self as signer, TimestampSigner};
pub use futures_util::Stream;
pub use http::StatusCode;
pub use reqwest;
pub use serde_json::{self, Value, json};

pub use crate::admin::Metrics;
pub use crate::batch::{PublishError, Published};
pub use crate::builder::ClientBuilder;
pub use crate::client::Client;
pub use crate::error::{Error, ErrorKind};
pub use crate::growing::{MessageSink, MessageStream, MessageStreamBuilder, StreamError};
#[cfg(feature = "listen")]
pub use crate::listen::{
    End, Event, EventKind, EventStream, EventStreamBuilder, Gap, StreamEvent, Transport,
};
pub use crate::retry::RetryPolicy;
pub use crate::skew::ClockSkew;
#[cfg(feature = "test-server")]
pub use crate::test_server::{TestServer, TestServerBuilder, TestServerError};
