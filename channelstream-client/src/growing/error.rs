//! `StreamError`: why a message grows no further.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use channelstream_core::protocol::{Status, Taken};

use crate::error::Error;

/// Why a [`MessageStream`](crate::MessageStream) is over. It is returned again by each later call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StreamError {
    /// A reader, or another program, has canceled the message.
    Cancelled,
    /// Another program has ended the message otherwise: `done` or `failed`.
    Ended(Status),
    /// The server does not know the message: it was deleted, or the server was restarted since.
    Unknown,
    /// The message was not opened as one that grows.
    NotOpen,
    /// There is no such channel or user, so that the message is nowhere. The text is that of
    /// [`Receipt::problem`](crate::Receipt::problem).
    Nowhere(Cow<'static, str>),
    /// Another producer goes on with the message.
    TakenOver,
    /// The server does not append the piece, for example because the message would exceed its
    /// `max_growing_size`. The message is as it was before the piece.
    Refused(Cow<'static, str>),
    /// A request failed, after its repeats.
    Call(Arc<Error>),
    /// The runtime of the stream has stopped.
    Stopped,
}

impl StreamError {
    /// Returns `true` if the message was canceled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled)
    }

    /// Returns the error of the failed request, if that is the reason.
    #[must_use]
    pub fn call(&self) -> Option<&Error> {
        match self {
            Self::Call(error) => Some(error),
            _ => None,
        }
    }

    pub(super) fn ended(status: Status) -> Self {
        match status {
            Status::Cancelled => Self::Cancelled,
            status => Self::Ended(status),
        }
    }

    /// Returns why the server did not take an item.
    pub(super) fn of(taken: &Taken) -> Self {
        match (taken.status, taken.reason.as_deref()) {
            (Some(status), _) if status.is_final() => Self::ended(status),
            (_, Some(Taken::UNKNOWN)) => Self::Unknown,
            (_, Some(Taken::NOT_OPEN)) => Self::NotOpen,
            // The steps of a stream are without gaps, so they are not its own that are there.
            (_, Some(Taken::STEP_MISSING)) => Self::TakenOver,
            _ => Self::Refused(taken.reason.clone().unwrap_or("no reason given".into())),
        }
    }
}

impl Display for StreamError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str("the message was canceled"),
            Self::Ended(Status::Failed) => {
                f.write_str("the message was given up by another program")
            }
            Self::Ended(_) => f.write_str("the message was finished by another program"),
            Self::Unknown => f.write_str(
                "the server does not know the message: it was deleted, or the server was restarted",
            ),
            Self::NotOpen => f.write_str("the message is not one that grows"),
            Self::Nowhere(problem) => write!(f, "the message went nowhere: {problem}"),
            Self::TakenOver => f.write_str("another producer has taken over the message"),
            Self::Refused(reason) => write!(f, "the server does not append this: {reason}"),
            Self::Call(error) => Display::fmt(error, f),
            Self::Stopped => f.write_str("the runtime of the stream has stopped"),
        }
    }
}

/// The text of [`Call`](StreamError::Call) is that of its error, so its source is that of its error, too.
impl StdError for StreamError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.call()?.source()
    }
}

impl From<Error> for StreamError {
    fn from(error: Error) -> Self {
        Self::Call(Arc::new(error))
    }
}
