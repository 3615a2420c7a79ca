//! Calls to the admin endpoints.

use std::collections::BTreeMap;

use bytes::Bytes;
use channelstream_core::protocol::AdminStats;
use serde::Deserialize;

use crate::client::Client;
use crate::endpoint::{ADMIN_STATS, DEBUG, METRICS};
use crate::error::Error;
use crate::retry::Repeats;

/// The metrics of a server.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Metrics {
    /// The version of the server.
    pub version: String,
    /// The metrics by name: each a number, or an object of numbers by label.
    pub metrics: BTreeMap<String, serde_json::Value>,
}

impl Metrics {
    /// Returns the metric of this name, or `None` if the server has none or has it only by label.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<f64> {
        self.metrics.get(name)?.as_f64()
    }
}

impl Client {
    /// Returns the metrics of the server, such as `listeners` and `messages_posted_total`. This call
    /// costs the server nearly nothing.
    ///
    /// # Errors
    ///
    /// As for [`admin_stats`](Self::admin_stats).
    pub async fn metrics(&self) -> Result<Metrics, Error> {
        self.send(METRICS, Bytes::new(), Repeats::Harmless).await
    }

    /// Returns the whole state of the server: users, connections, and channels with their histories
    /// (contract §10). With many channels the answer is large and costs the server accordingly.
    ///
    /// # Errors
    ///
    /// A client without permission is redirected to the sign-in page, which is an error of the kind
    /// [`Refused`](crate::ErrorKind::Refused).
    pub async fn admin_stats(&self) -> Result<AdminStats, Error> {
        self.send(ADMIN_STATS, Bytes::new(), Repeats::Harmless).await
    }

    /// Returns the metrics as text (contract §10): the version in the first line, then lines of the
    /// form `name: value`. The names may change with each version.
    ///
    /// # Errors
    ///
    /// As for [`admin_stats`](Self::admin_stats).
    pub async fn debug_text(&self) -> Result<String, Error> {
        let read = |answer: &[u8]| Ok(String::from_utf8_lossy(answer).into_owned());
        self.send_and_read(DEBUG, Bytes::new(), Repeats::Harmless, read).await
    }
}
