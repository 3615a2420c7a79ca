//! The meaning of the channelstream protocol: its types, its rules and its state.
//!
//! This crate does no IO, reads no clock and draws no random numbers.
//!
//! * [`protocol`] holds what travels on the wire: requests, replies and events. Its readers accept
//!   every form that the contract allows, and report all errors of a request at once.
//! * `state` (the feature `state`, on by default) holds who is where, what is stored, who receives what
//!   and what expires. A client builds without it.
//!
//! # From a request to its deliveries
//!
//! Everything that happens is a `Command` in an `Envelope`, which carries the time and a seed.
//! `State::apply` turns it into an `Outcome`: a reply, and the deliveries that follow. The same
//! envelopes in the same order give the same state and the same outcomes on every machine. An envelope
//! has a form in bytes (`state::stored`), so that a journal can keep it and another node can apply it.
//!
#![cfg_attr(feature = "state", doc = "```")]
#![cfg_attr(not(feature = "state"), doc = "```ignore")]
//! use channelstream_core::protocol::{Bounds, Connect, Timestamp, parse, read_messages};
//! use channelstream_core::state::{
//!     Appends, CatchUp, Command, ConnectionId, Delivery, Envelope, ListenerId, ListenerKind, Moment, NodeId, Reply,
//!     Rules, Stamp, State,
//! };
//!
//! let node = NodeId::new(1);
//! let mut state = State::new(Rules::default()).for_node(node);
//! let mut number = 0;
//! let mut apply = |command| {
//!     number += 1;
//!     let stamp = Stamp {
//!         now: Timestamp::from_micros(0),
//!         moment: Moment::default(),
//!         seed: u128::from(number),
//!     };
//!     state.apply(Envelope { node, number, stamp, command, repeat: None })
//! };
//!
//! // A backend connects ann, and her browser listens.
//! let connection = ConnectionId::from_u128(1);
//! let request = Box::new(Connect::new("ann").channels(["news"]));
//! let outcome = apply(Command::Connect { connection, request });
//! let Ok(Reply::Connected(connected)) = outcome.reply else { panic!("it is accepted") };
//! assert_eq!(connected.channels, ["news"]);
//! let (listener, kind) = (ListenerId::new(1), ListenerKind::Socket);
//! let appends = Appends::AsEvents;
//! let catch_up = CatchUp::Deliver;
//! apply(Command::Open { connection, listener, kind, catch_up, appends });
//!
//! // The body of a request becomes an event for her.
//! let body = br#"[{"user": "bot", "channel": "news", "message": {"text": "hello"}}]"#;
//! let messages = read_messages(&parse(body, Bounds::default())?).expect("it has no errors");
//! let outcome = apply(Command::Publish(messages));
//! let [Delivery::Event { to, event, .. }] = &outcome.deliveries[..] else { panic!("one event") };
//! assert_eq!(to[..], [listener]);
//! assert!(event.encode(false).contains(r#""message":{"text": "hello"}"#));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod duration;
pub mod protocol;
#[cfg(feature = "state")]
pub mod state;

pub use duration::{NotADuration, parse_duration};
