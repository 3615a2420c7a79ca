//! Calls to the admin area.

use bytes::Bytes;
use channelstream_core::protocol::AdminStats;

use crate::client::Client;
use crate::endpoint::{ADMIN_STATS, DEBUG};
use crate::error::Error;
use crate::retry::Repeats;

impl Client {
    /// What the server counts and holds: users, connections, channels, messages (contract §10).
    ///
    /// All histories are in it: with many channels it is large, and costs the server accordingly.
    ///
    /// # Errors
    ///
    /// A caller without rights is redirected to the sign-in page, which is an error of the kind
    /// [`Refused`](crate::ErrorKind::Refused) here.
    pub async fn admin_stats(&self) -> Result<AdminStats, Error> {
        self.send(ADMIN_STATS, Bytes::new(), Repeats::Harmless).await
    }

    /// A few figures of what the server is doing, which cost it nothing to tell (contract §10):
    /// the version in the first line, then lines of the form `name: value`, such as `listeners`,
    /// `lines` and `frames`. Which there are may change with each version.
    ///
    /// # Errors
    ///
    /// As for [`admin_stats`](Self::admin_stats).
    pub async fn debug_text(&self) -> Result<String, Error> {
        let read = |answer: &[u8]| Ok(String::from_utf8_lossy(answer).into_owned());
        self.send_and_read(DEBUG, Bytes::new(), Repeats::Harmless, read).await
    }
}
