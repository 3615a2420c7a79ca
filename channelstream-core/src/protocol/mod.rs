//! What travels on the wire: bodies of requests and answers, and the event frames.
//!
//! Reading is lenient in form and complete in complaint: `read` functions accept every form of a
//! value that contract §4 names and collect all faults of a body as [`Faults`].

mod body;
mod fault;
mod frame;
mod message;
mod read;
mod reply;
mod request;
mod scalar;
mod schema;
mod settings;
mod strict;
mod timestamp;

pub use body::{Body, Bounds, NotJson, parse};
pub use fault::{Fault, Faults};
pub use frame::{Action, Frame, Presence, UserStateChange};
pub use message::{Address, Delete, Edit, Message, NewMessage, Payload};
pub use read::parse_uuid;
pub use reply::{
    Changed, ChannelView, ChannelsDeleted, ChannelsInfo, Connected, Figures, FiguresUser, Posted,
    Receipt, Subscribed, Unsubscribed, UserStateSet, UserView,
};
pub use request::{
    Configure, Connect, DeleteChannels, Disconnect, Info, InfoOptions, SetUserState, Subscribe,
    Unsubscribe, read_deletes, read_edits, read_messages,
};
pub use scalar::{Scalar, UserState};
pub use schema::request_schemas;
pub use settings::{ChannelConfig, ChannelSettings};
pub use strict::{RequestBody, unknown_fields};
pub use timestamp::{DateTime, InFrame, Timestamp};
pub use uuid::Uuid;
