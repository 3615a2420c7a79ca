//! A journal in memory: a queue.

use channelstream_core::state::Envelope;
use tokio::sync::mpsc;

use super::Error;

/// How many envelopes may wait. They are applied in microseconds: if so many are waiting, the machine
/// is far behind, and to refuse more is better than to queue them.
const CAPACITY: usize = 8192;

#[derive(Clone, Debug)]
pub(super) struct Appender(mpsc::Sender<Envelope>);

#[derive(Debug)]
pub(super) struct Reader(mpsc::Receiver<Envelope>);

pub(super) fn open() -> (Appender, Reader) {
    let (sender, receiver) = mpsc::channel(CAPACITY);
    (Appender(sender), Reader(receiver))
}

impl Appender {
    pub(super) fn append(&self, envelope: Envelope) -> Result<(), Error> {
        self.0.try_send(envelope).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Error::Full,
            mpsc::error::TrySendError::Closed(_) => Error::Closed,
        })
    }
}

impl Reader {
    pub(super) async fn next(&mut self, batch: &mut Vec<Envelope>, most: usize) -> usize {
        self.0.recv_many(batch, most).await
    }
}

#[cfg(test)]
mod tests {

    use channelstream_core::state::{Command, Moment, NodeId};

    use super::*;
    use crate::clock::Clock;

    fn envelope(number: u64) -> Envelope {
        let stamp = Clock::going_on_from(Moment::default()).stamp();
        Envelope { node: NodeId::new(1), number, stamp, command: Command::Tick, repeat: None }
    }

    #[tokio::test]
    async fn what_was_accepted_is_returned_once_and_in_order() {
        let (appender, mut reader) = open();
        for number in 0..CAPACITY as u64 {
            appender.append(envelope(number)).unwrap();
        }
        assert!(matches!(appender.append(envelope(0)), Err(Error::Full)));
        let mut seen = Vec::new();
        while seen.len() < CAPACITY {
            reader.next(&mut seen, 1000).await;
        }
        assert!(seen.iter().map(|envelope| envelope.number).eq(0..CAPACITY as u64));
        drop(reader);
        assert!(matches!(appender.append(envelope(0)), Err(Error::Closed)));
    }
}
