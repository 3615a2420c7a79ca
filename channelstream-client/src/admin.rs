//! Calls to the admin area.

use bytes::Bytes;
use channelstream_core::protocol::Figures;

use crate::call::Repeats;
use crate::client::{Client, FIGURES};
use crate::error::Error;

impl Client {
    /// What the server counts and holds: users, connections, channels, messages (contract §10).
    ///
    /// # Errors
    ///
    /// A caller without rights is redirected to the sign-in page, which is an error of the kind
    /// [`Refused`](crate::ErrorKind::Refused) here.
    pub async fn figures(&self) -> Result<Figures, Error> {
        self.send(FIGURES, Bytes::new(), Repeats::Harmless).await
    }
}
