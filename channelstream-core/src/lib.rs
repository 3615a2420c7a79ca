//! What the channelstream protocol means: its types, its rules and its state.
//!
//! The promise of this crate: no IO, no clock, no luck. Everything that happens is a
//! [`Command`](state::Command) in an [`Envelope`](state::Envelope) that carries the time and a
//! seed, and [`State::apply`](state::State::apply) turns it into an
//! [`Outcome`](state::Outcome): a reply and the deliveries that follow. The same envelopes in the
//! same order give the same state and the same outcomes, on every machine.
//!
//! * [`protocol`] holds what travels on the wire: requests, replies and events, with readers
//!   that take every form the contract allows and report all faults of a request at once.
//! * [`state`] holds who is where, what is stored, who gets what and what expires.
//!
//! ```
//! use channelstream_core::protocol::Connect;
//! use channelstream_core::protocol::Timestamp;
//! use channelstream_core::state::{
//!     Command, ConnectionId, Envelope, Moment, Reply, Rules, Stamp, State,
//! };
//!
//! let mut state = State::new(Rules::default());
//! let outcome = state.apply(&Envelope {
//!     stamp: Stamp { now: Timestamp::from_micros(0), moment: Moment::default(), seed: 7 },
//!     command: Command::Connect {
//!         connection: ConnectionId::from_u128(1),
//!         request: Box::new(Connect::new("ann").channels(["news"])),
//!     },
//! });
//! let Ok(Reply::Connected(answer)) = outcome.reply else { panic!("a plain connect is accepted") };
//! assert_eq!(answer.channels, ["news"]);
//! ```

mod duration;
pub mod protocol;
pub mod state;

pub use duration::{NotADuration, parse_duration};
