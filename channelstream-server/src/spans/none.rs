//! No spans, where the feature `otlp` is off.

use std::convert::Infallible;

use channelstream_core::state::Delivery;

use super::About;
use crate::metrics::delivery::Accepted;

/// There is no export.
pub(crate) enum Export {}

/// Does nothing.
pub(crate) fn init() -> Result<Option<Export>, Infallible> {
    Ok(None)
}

/// Serves a request.
pub(crate) async fn traced<T>(
    _: About<'_>,
    serving: impl Future<Output = T>,
    _: impl FnOnce(&T) -> u16,
) -> T {
    serving.await
}

/// No commands.
#[derive(Debug, Default)]
pub(crate) struct Appended {}

/// There is no span.
pub(crate) enum Applying {}

impl Appended {
    pub(crate) fn note(&self, _: u64) {}

    pub(crate) fn forget(&self, _: u64) {}

    pub(crate) fn apply(&self, _: u64) -> Option<Applying> {
        None
    }
}

/// No writes.
#[derive(Debug, Default)]
pub(crate) struct Writes {}

impl Writes {
    pub(crate) fn begin(&self, _: &Applying, _: Accepted, _: &[Delivery]) {}

    pub(crate) fn written(&self, _: Accepted, _: u64) {}
}
