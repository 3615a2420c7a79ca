//! Reading on: a listener that holds a cursor and is behind reads what it missed from the state.
//!
//! Such a listener is never closed for being slow. What does not fit into its outbox is not queued:
//! the outbox notes up to where it received events, takes no live ones, and asks for the next portion
//! when it has become empty. The loop that owns the state reads the portion, which also says whether
//! there is more. If there is no more, live events follow.

use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use channelstream_core::state::{ConnectionId, Reading, Sequence, Since};

use super::Outbox;
use super::queue::{Item, Queue};

/// What the outbox of a listener that holds a cursor knows of its reading.
#[derive(Debug)]
pub(super) struct Reader {
    connection: ConnectionId,
    /// How far it has read, while it is behind.
    behind: Option<Reading>,
    /// Whether it has asked for the next portion.
    is_asking: bool,
}

/// A portion that was read, encoded for the listener.
#[derive(Debug)]
pub(crate) struct EncodedPortion {
    /// The number of each event, and its bytes. A gap and a first cursor have no number: the state does
    /// not have to know whether they were sent.
    pub(crate) events: Vec<(Option<Sequence>, Bytes)>,
    /// How far the listener has read with it; `None` if live events follow.
    pub(crate) behind: Option<Reading>,
}

impl Reader {
    pub(super) fn new(connection: ConnectionId, since: Since) -> Box<Self> {
        Box::new(Self { connection, behind: Some(Reading::new(since)), is_asking: false })
    }

    pub(super) fn is_behind(&self) -> bool {
        self.behind.is_some()
    }
}

impl Queue {
    /// Returns `true` if the listener has to read on before it takes live events.
    pub(super) fn is_behind(&self) -> bool {
        self.reader.as_ref().is_some_and(|reader| reader.is_behind())
    }

    /// Lets a listener fall behind after the event with this number. Returns `false` if it cannot read
    /// by itself.
    pub(super) fn fall_behind(&mut self, sequence: Sequence) -> bool {
        let Some(reader) = &mut self.reader else { return false };
        reader.behind = Some(Reading::new(Since::Sent { sequence, is_new: false }));
        true
    }

    /// Returns the number up to which everything was put into the queue, if the listener is behind.
    pub(super) fn behind_since(&self) -> Option<Sequence> {
        let reading = self.reader.as_ref()?.behind.as_ref()?;
        Some(reading.position().unwrap_or(0))
    }

    /// Lets a listener that has no cursor yet begin behind what an older listener was sent.
    pub(super) fn begin_behind(&mut self, sequence: Sequence) {
        if let Some(behind) = self.reader.as_mut().and_then(|reader| reader.behind.as_mut())
            && behind.begins_at_record()
        {
            *behind = Reading::new(Since::Sent { sequence, is_new: true });
        }
    }

    /// Returns `true`, once for each portion, if it is time to ask for the next.
    pub(super) fn asks(&mut self) -> bool {
        let is_free = self.end.is_none() && !self.finished && self.items.is_empty();
        match &mut self.reader {
            Some(reader) if is_free && reader.is_behind() => {
                !mem::replace(&mut reader.is_asking, true)
            }
            _ => false,
        }
    }
}

impl Outbox {
    /// Returns `true` if the listener has more to read than what waits.
    pub(crate) fn is_behind(&self) -> bool {
        self.queue().is_behind()
    }

    /// Asks for the next portion, if the listener is behind, has taken all that waited, and does not
    /// wait for a portion already.
    pub(crate) fn read_on(self: &Arc<Self>) {
        let mut queue = self.queue();
        if queue.asks() {
            drop(queue);
            self.writer.ask(Arc::clone(self));
        }
    }

    /// Returns where the next portion begins, for which the listener has asked.
    pub(crate) fn asked(&self) -> Option<(ConnectionId, Reading)> {
        let queue = self.queue();
        let reader = queue.reader.as_ref().filter(|_| queue.end.is_none())?;
        Some((reader.connection, reader.behind.clone()?))
    }

    /// Lets the listener ask again for the portion that it could not have yet.
    pub(in crate::listener) fn asks_again(&self) {
        if let Some(reader) = &mut self.queue().reader {
            reader.is_asking = false;
        }
    }

    /// Queues a portion. It fits, because nothing waits before it but control frames.
    pub(in crate::listener) fn put_portion(self: &Arc<Self>, portion: EncodedPortion) {
        let mut queue = self.queue();
        let Some(reader) = &mut queue.reader else { return };
        reader.is_asking = false;
        reader.behind = portion.behind;
        if queue.end.is_some() {
            return;
        }
        for (number, bytes) in portion.events {
            let sequences = number.map_or(0..0, |number| number..number + 1);
            queue.put(Item { sequences, bytes, accepted: None });
        }
        // If nothing came of it, nobody else asks on.
        if queue.asks() {
            self.writer.ask(Arc::clone(self));
        }
        self.schedule(queue);
    }
}
