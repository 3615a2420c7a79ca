//! A journal in memory: a queue.

use tokio::sync::mpsc;

use super::{Entry, Error};

/// Entries that may wait. They are applied in microseconds, so that many waiting means that the
/// machine is far behind, and refusing is kinder than queueing.
const CAPACITY: usize = 8192;

#[derive(Clone, Debug)]
pub(super) struct Appender(mpsc::Sender<Entry>);

#[derive(Debug)]
pub(super) struct Reader(mpsc::Receiver<Entry>);

pub(super) fn open() -> (Appender, Reader) {
    let (sender, receiver) = mpsc::channel(CAPACITY);
    (Appender(sender), Reader(receiver))
}

impl Appender {
    pub(super) fn append(&self, entry: Entry) -> Result<(), Error> {
        self.0.try_send(entry).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Error::Full,
            mpsc::error::TrySendError::Closed(_) => Error::Closed,
        })
    }
}

impl Reader {
    pub(super) async fn next(&mut self, batch: &mut Vec<Entry>, most: usize) -> usize {
        self.0.recv_many(batch, most).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

    use channelstream_core::state::{Command, Envelope, Moment};

    use super::*;
    use crate::clock::Clock;

    fn entry(id: u64) -> Entry {
        let stamp = Clock::going_on_from(Moment::default()).stamp();
        Entry { id, envelope: Envelope { stamp, command: Command::Tick } }
    }

    #[tokio::test]
    async fn what_was_accepted_comes_out_once_and_in_order() {
        let (appender, mut reader) = open();
        for id in 0..CAPACITY as u64 {
            appender.append(entry(id)).unwrap();
        }
        assert!(matches!(appender.append(entry(0)), Err(Error::Full)));
        let mut seen = Vec::new();
        while seen.len() < CAPACITY {
            reader.next(&mut seen, 1000).await;
        }
        assert!(seen.iter().map(|entry| entry.id).eq(0..CAPACITY as u64));
        drop(reader);
        assert!(matches!(appender.append(entry(0)), Err(Error::Closed)));
    }
}
