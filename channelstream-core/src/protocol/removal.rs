//! The body of `POST /disconnect_user`, and its answer.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::append::Between;
use super::body::Body;
use super::field_errors::{FieldError, Rejected, WRONG_TYPE};
use super::read::{Form, Object, Text, USER, read_object};
use super::schema::Schema;

/// The body of `POST /disconnect_user`: ends all connections of a user, and refuses new ones for a while.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DisconnectUser {
    /// The name of the user, who need not exist.
    pub user: String,
    /// The reason, for the user: at most 123 characters, none of them a control character. A close frame
    /// has at most 123 bytes of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The seconds for which `/connect` refuses the user. 0 lets it in again; without the field this
    /// stays as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refuse_for: Option<u64>,
}

impl DisconnectUser {
    /// The longest `refuse_for`, in seconds: 31 days.
    pub const LONGEST: u64 = 31 * 86_400;

    /// Creates a request that ends all connections of this user.
    pub fn new(user: impl Into<String>) -> Self {
        Self { user: user.into(), reason: None, refuse_for: None }
    }

    /// Sets the reason, which the user is told.
    #[must_use]
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Sets the seconds for which `/connect` refuses the user; 0 lets it in again.
    #[must_use]
    pub fn refuse_for(mut self, seconds: u64) -> Self {
        self.refuse_for = Some(seconds);
        self
    }

    /// Reads a body.
    ///
    /// # Errors
    /// Returns all errors of the body.
    pub fn read(body: &Body<'_>) -> Result<Self, Rejected> {
        read_object(body, WRONG_TYPE, Self::fields)
    }

    pub(super) fn fields(object: &mut Object<'_>) -> Self {
        Self {
            user: object.required("user", USER),
            reason: object.optional("reason", Reason),
            refuse_for: object.optional("refuse_for", Between(0, Self::LONGEST)),
        }
    }
}

/// The answer of `POST /disconnect_user`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UserDisconnected {
    /// The name of the user.
    pub user: Arc<str>,
    /// How many connections were ended.
    pub connections: u64,
    /// The seconds for which `/connect` refuses the user from now on; 0 if it does not.
    pub refused_for: u64,
}

#[cfg(feature = "state")]
impl UserDisconnected {
    pub(crate) fn new(user: Arc<str>, connections: u64, refused_for: u64) -> Self {
        Self { user, connections, refused_for }
    }
}

/// A sentence for a user, without control characters.
#[derive(Clone, Copy)]
struct Reason;

impl Reason {
    /// In characters. Those beyond ASCII may not all find place in a close frame.
    const LENGTH: Text = Text { min: 1, max: 123 };
}

impl Form<'_> for Reason {
    type Value = String;

    fn read(&self, raw: &RawValue) -> Result<String, FieldError> {
        let text = Self::LENGTH.read(raw)?;
        if text.contains(char::is_control) {
            return Err(FieldError::text("Has a control character."));
        }
        Ok(text)
    }

    fn schema(&self) -> Schema {
        Self::LENGTH.schema()
    }
}
