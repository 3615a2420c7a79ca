//! Cursors: the place of an event in the order of one server's life, as text for clients (contract §14).

use std::fmt::{self, Debug, Display, Formatter};
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// The life of one order of events. A server whose order begins anew has another epoch, so that a
/// cursor of an earlier life is recognized and not misread. A later life has a greater epoch.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Epoch(u64);

impl Epoch {
    /// Creates an epoch from a number, which has to be greater than those of earlier lives and must
    /// never be used twice: the time with random low bits.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the epoch as a number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl Display for Epoch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// A place in the order of events: everything up to it was received. Clients keep it as opaque text.
///
/// ```
/// use channelstream_core::protocol::{Cursor, Epoch};
///
/// let cursor = Cursor { epoch: Epoch::new(0x7f3a_c01e), sequence: 1842, is_net: false };
/// assert_eq!(cursor.to_string(), "7f3ac01e-1842");
/// assert_eq!("7f3ac01e-1842".parse(), Ok(cursor));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// The life of the order.
    pub epoch: Epoch,
    /// The number of an event in it; 0 is before the first.
    pub sequence: u64,
    /// Whether messages before this place may have been received as they were later, because they were
    /// read together with what they had grown by.
    pub is_net: bool,
}

/// The error for a text that is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{}", Self::TEXT)]
pub struct NotACursor;

impl NotACursor {
    /// The error as a text.
    pub const TEXT: &str = "Not a cursor.";
}

impl Display for Cursor {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}{}", self.epoch, self.sequence, if self.is_net { "n" } else { "" })
    }
}

impl Cursor {
    /// The largest number that is read: JavaScript counts as far. A server does not come to it.
    const LARGEST: u64 = 1 << 53;
}

impl FromStr for Cursor {
    type Err = NotACursor;

    /// Reads exactly the form that [`Display`] writes.
    fn from_str(text: &str) -> Result<Self, NotACursor> {
        let (place, is_net) = text.strip_suffix('n').map_or((text, false), |place| (place, true));
        let (epoch, sequence) = place.split_once('-').ok_or(NotACursor)?;
        let cursor = Self {
            epoch: Epoch(u64::from_str_radix(epoch, 16).map_err(|_| NotACursor)?),
            sequence: sequence.parse().map_err(|_| NotACursor)?,
            is_net,
        };
        // A sign, leading zeros and capital letters parse as numbers.
        let is_exact = cursor.sequence <= Self::LARGEST && cursor.to_string() == text;
        if is_exact { Ok(cursor) } else { Err(NotACursor) }
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_nothing_else_is() {
        for cursor in [
            Cursor::default(),
            Cursor { epoch: Epoch::new(0xa), sequence: 7, is_net: true },
            Cursor { epoch: Epoch::new(1 << 32), sequence: 7, is_net: false },
            Cursor { epoch: Epoch::new(u64::MAX), sequence: 1 << 53, is_net: false },
        ] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
            let json = serde_json::to_string(&cursor).unwrap();
            assert_eq!(json, format!("\"{cursor}\""));
            assert_eq!(serde_json::from_str::<Cursor>(&json).unwrap(), cursor);
        }
        for text in [
            "",
            "-",
            "7",
            "0000000a-",
            "0000000a-+7",
            "0000000a-07",
            "0000000A-7",
            "a-7",
            "00000000a-7",
            "0000000a-9007199254740993",
            "0000000a-18446744073709551615",
            "0000000a-18446744073709551616",
            "0000000a-7 ",
            "10000000000000000-7",
            "0000000a-n",
            "0000000a-7nn",
            "0000000a-7-7",
            "0000000é-7",
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(NotACursor), "{text}");
        }
    }
}
