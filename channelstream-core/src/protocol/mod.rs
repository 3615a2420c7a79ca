//! What travels on the wire: the bodies of requests and answers, and the events.
//!
//! The `read` functions accept every form of a value that contract §4 allows, and report all errors of
//! a body at once as [`FieldErrors`].

mod advance;
mod append;
mod body;
mod cursor;
mod event;
mod field_errors;
mod growth;
mod history;
mod json_schema;
mod listing;
mod message;
mod payload;
mod read;
pub(crate) mod redact;
mod reload;
mod removal;
mod reply;
mod request;
mod scalar;
mod schema;
mod settings;
mod strict;
mod timestamp;

pub use advance::{Advance, Advanced};
#[cfg(feature = "state")]
pub(crate) use append::steps;
pub use append::{
    Append, AppendRequest, Cancel, Change, Opening, Piece, Pieces, Taken, read_pieces,
};
pub use body::{Body, Bounds, NotJson, parse};
pub use cursor::{Cursor, Epoch, NotACursor};
pub use event::{Action, Event, Gap, GapReason, Presence, UserStateChange};
pub use field_errors::{FieldError, FieldErrors, Named, Rejected};
pub use growth::{Growth, Status};
pub use history::{HistoryPage, PastMessage, ReadHistory};
pub use indexmap::IndexMap;
pub use json_schema::request_schemas;
pub use listing::{ChannelEntry, ChannelList, ListChannels, ListUsers, UserEntry, UserList};
pub use message::{Address, Delete, Edit, Message, NewMessage};
pub use payload::{Payload, PayloadError};
pub use read::parse_uuid;
pub use reload::Reloaded;
pub use removal::{DisconnectUser, UserDisconnected};
pub use reply::{
    AdminStats, AdminUser, ChangeReply, Changed, ChannelView, ChannelsDeleted, ChannelsInfo,
    Connected, Posted, Receipt, Subscribed, Unsubscribed, UserStateSet, UserView,
};
pub use request::{
    Configure, Connect, DeleteChannels, Disconnect, Info, InfoOptions, SetUserState, Subscribe,
    Unsubscribe, read_changes, read_deletes, read_messages,
};
pub use scalar::{Scalar, UserState};
pub use settings::{ChannelConfig, ChannelSettings};
pub use timestamp::{DateTime, InEvent, Timestamp};
pub use uuid::Uuid;
