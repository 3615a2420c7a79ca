//! Client for the channelstream push server: signed, typed calls from Rust services.
//!
//! Browsers listen; backends decide who listens to what, and publish. This crate is the backend's
//! side. A first tour:
//!
//! ```no_run
//! use channelstream_client::{Address, Client, Connect, InfoOptions, NewMessage};
//!
//! # async fn tour() -> Result<(), channelstream_client::Error> {
//! // Where the server is, and the secret from its settings. Clones share everything.
//! let client = Client::new("http://127.0.0.1:8000", "secret")?;
//!
//! // Somebody opened a page: a connection for them, in two channels. The page gets `conn_id`
//! // and listens with it, at `/ws?conn_id=...`.
//! let connected = client.connect(&Connect::new("ann").channels(["news", "chat"])).await?;
//! println!("ann may listen as {}", connected.conn_id);
//!
//! // To everybody in a channel, and to one user wherever they are; one request.
//! let sent = client
//!     .publish(&[
//!         NewMessage::new("editor", Address::channel("news")).message([("text", "Hello!")]),
//!         NewMessage::new("editor", Address::users(["ann"])).message([("text", "Hello, Ann.")]),
//!     ])
//!     .await?;
//! println!("the first has the id {}", sent[0].uuid);
//!
//! // Who is there?
//! let info = client.info(&InfoOptions::default()).await?;
//! for channel in info.channels.values() {
//!     println!("{}: {} users", channel.name, channel.total_users);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Requests and answers are plain structs with public fields: build what is common with their
//! constructors, and set the rest.
//!
//! ```
//! use channelstream_client::{ChannelSettings, Connect, Scalar};
//!
//! let request = Connect {
//!     user_state: [("name".to_owned(), Scalar::from("Ann"))].into(),
//!     state_public_keys: vec!["name".to_owned()],
//!     channel_configs: [(
//!         "chat".to_owned(),
//!         ChannelSettings { notify_presence: true, ..ChannelSettings::default() },
//!     )]
//!     .into(),
//!     ..Connect::new("ann").channels(["chat"])
//! };
//! ```
//!
//! # When a call fails
//!
//! [`Error::kind`] tells what to do about it, [`Error::faults`] what the server found wrong with
//! each field. The text is fit for a log: no secret and no signature is in it.
//!
//! ```no_run
//! # use channelstream_client::{Client, ErrorKind, NewMessage};
//! # async fn publish(client: Client, message: NewMessage) {
//! match client.publish(&[message]).await {
//!     Ok(sent) => println!("{} taken", sent.len()),
//!     Err(error) if error.kind() == ErrorKind::Connect => println!("later, then: {error}"),
//!     Err(error) if error.faults().is_some() => println!("my mistake: {error}"),
//!     Err(error) => println!("{error}"),
//! }
//! # }
//! ```
//!
//! # Types of other crates
//!
//! [`ClientBuilder::http_client`] takes a `reqwest::Client` of version 0.13. TLS is rustls with
//! the system's certificates.

mod admin;
mod batch;
mod builder;
mod call;
mod client;
mod error;
mod retry;
mod skew;

pub use channelstream_core::protocol::{
    Address, Changed, ChannelSettings, ChannelView, ChannelsInfo, Configure, Connect, Connected,
    DateTime, Delete, Edit, Fault, Faults, Figures, FiguresUser, InfoOptions, Message, NewMessage,
    Payload, Scalar, SetUserState, Subscribe, Subscribed, Timestamp, Unsubscribe, Unsubscribed,
    UserState, UserStateSet, UserView, Uuid,
};
pub use channelstream_signer::TimestampSigner;
pub use http::StatusCode;
pub use serde_json::json;

pub use crate::batch::{PublishError, Published};
pub use crate::builder::ClientBuilder;
pub use crate::client::Client;
pub use crate::error::{Error, ErrorKind};
pub use crate::retry::RetryPolicy;
pub use crate::skew::ClockSkew;
