//! A journal in memory: a queue, through which envelopes move as they are.

use tokio::sync::mpsc;

use super::{Appender, CAPACITY, Reader};

pub(super) fn open() -> (Appender, Reader) {
    let (sender, receiver) = mpsc::channel(CAPACITY);
    (Appender::Memory(sender), Reader::Queue(receiver))
}
