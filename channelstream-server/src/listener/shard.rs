//! A shard: the listeners that live on one thread, and the writer that serves their sockets.

use std::collections::BinaryHeap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use channelstream_core::state::{ConnectionId, EndReason, ListenerId, Sent, Sequence, Since};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};

use super::outbox::{EncodedPortion, Ending, Keepalive, Outbox, SetBounds, Sink};
use super::run::Run;
use super::writer::Writer;
use crate::metrics::Metrics;
use crate::wire::{Encoding, Transport};

/// Steps of the heartbeat wheel in one heartbeat interval.
const WHEEL_STEPS: u32 = 50;

/// Commands carried out before other tasks get a turn.
const BATCH: usize = 64;

/// What a listener's id consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) shard: u32,
    pub(super) slot: u32,
    /// Distinguishes the listeners that had the same slot.
    pub(super) generation: u32,
}

impl Address {
    /// Bits of the slot, in the lower half of an id. The six above are the shard's: there are at most
    /// 64 threads.
    const SLOT_BITS: u32 = 26;

    pub(super) fn pack(self) -> ListenerId {
        let place = self.shard << Self::SLOT_BITS | self.slot;
        ListenerId::new(u64::from(self.generation) << 32 | u64::from(place))
    }

    pub(super) fn unpack(id: ListenerId) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "the halves are taken apart")]
        let (generation, place) = ((id.get() >> 32) as u32, id.get() as u32);
        let (shard, slot) = (place >> Self::SLOT_BITS, place & ((1 << Self::SLOT_BITS) - 1));
        Self { shard, slot, generation }
    }
}

/// What a shard has to do, in the order in which it was sent.
#[derive(Debug)]
pub(super) enum ShardCommand {
    /// Brings events to some of the shard's listeners.
    Deliver { run: Arc<Run>, to: Vec<ListenerId> },
    /// Brings a portion to a listener that asked for it.
    Read { outbox: Arc<Outbox>, portion: EncodedPortion },
    /// Lets a listener wait for what an older one on another node was sent, or no more.
    TakeOver { listener: ListenerId, is_done: bool },
    /// Ends a listener.
    End { listener: ListenerId, reason: EndReason },
    /// Reports what was sent to a listener, which ends with that.
    Report { outbox: Arc<Outbox>, known: Sequence, answer: oneshot::Sender<Sent> },
    /// Reports what was sent to the older listener, if that was too slow; see [`Outbox::sent_before`].
    ReportOlder { outbox: Arc<Outbox>, answer: oneshot::Sender<Option<Sent>> },
    /// Lets a listener that took over from a slow one take events again.
    Resume(Arc<Outbox>),
    /// Reports which listeners were not sent everything, and up to which number they were: at most `most`,
    /// those with the lowest numbers.
    Look { most: usize, answer: oneshot::Sender<Vec<(ListenerId, Sequence)>> },
    /// Removes a listener.
    Remove(ListenerId),
    /// Reports that all commands before it are carried out.
    Settle(oneshot::Sender<()>),
}

/// How many listeners there are, and what waits for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backlog {
    /// Listeners, by the number of the transport.
    pub(crate) by_transport: [u64; Transport::ALL.len()],
    /// Listeners for which something waits.
    pub(crate) waiting: u64,
    /// Listeners that read stored events.
    pub(crate) behind: u64,
    /// The size of what waits.
    pub(crate) bytes: u64,
}

impl Backlog {
    pub(super) fn add(&mut self, other: &Self) {
        self.by_transport.iter_mut().zip(other.by_transport).for_each(|(sum, more)| *sum += more);
        self.waiting += other.waiting;
        self.behind += other.behind;
        self.bytes += other.bytes;
    }
}

/// The listeners of one thread.
#[derive(Debug)]
pub(super) struct Shard {
    number: u32,
    thread: Handle,
    listeners: Mutex<Listeners>,
    writer: Arc<Writer>,
    bounds: Arc<SetBounds>,
}

#[derive(Debug, Default)]
struct Listeners {
    slots: Vec<Option<Arc<Outbox>>>,
    free: Vec<u32>,
    /// How many listeners were opened.
    opened: u32,
    /// The sockets, by the step of the heartbeat interval in which they were opened.
    wheel: Vec<Vec<ListenerId>>,
    step: usize,
    /// The number of the newest event that was delivered.
    latest: Sequence,
}

impl Shard {
    pub(super) fn new(
        number: u32,
        thread: Handle,
        bounds: Arc<SetBounds>,
        asking: mpsc::UnboundedSender<Arc<Outbox>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let wheel = vec![Vec::new(); WHEEL_STEPS as usize];
        let listeners = Mutex::new(Listeners { wheel, ..Listeners::default() });
        let writer = Arc::new(Writer::new(asking, metrics));
        Self { number, thread, listeners, writer, bounds }
    }

    fn listeners(&self) -> MutexGuard<'_, Listeners> {
        self.listeners.lock().expect("nothing that holds the listeners can panic")
    }

    pub(super) fn thread(&self) -> &Handle {
        &self.thread
    }

    pub(super) fn writer(&self) -> &Arc<Writer> {
        &self.writer
    }

    pub(super) fn open(
        &self,
        sink: Sink,
        encoding: Encoding,
        reader: Option<(ConnectionId, Since)>,
    ) -> Arc<Outbox> {
        let writer = Arc::clone(&self.writer);
        let mut listeners = self.listeners();
        listeners.open(self.number, |id| Outbox::new(id, sink, encoding, writer, reader))
    }

    /// Carries out the commands of the inbox until it is closed.
    pub(super) async fn receive(self: Arc<Self>, mut inbox: mpsc::Receiver<ShardCommand>) {
        let mut commands = Vec::with_capacity(BATCH);
        while inbox.recv_many(&mut commands, BATCH).await > 0 {
            commands.drain(..).for_each(|command| self.carry_out(command));
        }
    }

    pub(super) fn carry_out(&self, command: ShardCommand) {
        let mut listeners = self.listeners();
        match command {
            ShardCommand::Deliver { run, to } => {
                let bounds = self.bounds.get();
                for outbox in to.iter().filter_map(|id| listeners.get(*id)) {
                    outbox.push(&run, bounds);
                }
                // Catch-up has old numbers.
                listeners.latest = listeners.latest.max(run.sequences().end - 1);
            }
            ShardCommand::Read { outbox, portion } => outbox.put_portion(portion),
            ShardCommand::TakeOver { listener, is_done } => {
                if let Some(outbox) = listeners.get(listener) {
                    outbox.take_over(is_done);
                }
            }
            ShardCommand::End { listener, reason } => {
                let Some(outbox) = listeners.get(listener) else { return };
                match reason {
                    EndReason::Superseded { by } => match listeners.get(by) {
                        Some(newer) => outbox.migrate(newer, listeners.latest),
                        None => outbox.end(Ending::Superseded),
                    },
                    EndReason::SupersededElsewhere => outbox.supersede(),
                    EndReason::NodeSilent => outbox.end(Ending::NodeSilent),
                    EndReason::Ended => outbox.end(Ending::Ended),
                    EndReason::Disconnected { reason } => outbox.end_because(&reason),
                }
            }
            // Whoever waited for an answer may be gone by now.
            ShardCommand::Report { outbox, known, answer } => {
                let _ = answer.send(outbox.sent(known.max(listeners.latest)));
            }
            ShardCommand::ReportOlder { outbox, answer } => {
                let _ = answer.send(outbox.sent_before());
            }
            ShardCommand::Look { most, answer } => drop(answer.send(listeners.behind(most))),
            ShardCommand::Resume(outbox) => outbox.resume(),
            ShardCommand::Remove(listener) => listeners.remove(listener),
            ShardCommand::Settle(answer) => drop(answer.send(())),
        }
    }

    pub(super) fn all(&self) -> Vec<Arc<Outbox>> {
        self.listeners().slots.iter().flatten().map(Arc::clone).collect()
    }

    /// Adds up what waits for the listeners of some slots. Returns `None` behind the last slot.
    pub(super) fn backlog(&self, slots: Range<usize>) -> Option<Backlog> {
        let listeners = self.listeners();
        let end = slots.end.min(listeners.slots.len());
        let slots = listeners.slots.get(slots.start..end).filter(|slots| !slots.is_empty())?;
        let mut sum = Backlog::default();
        for (transport, waiting, is_behind) in slots.iter().flatten().map(|one| one.backlog()) {
            sum.by_transport[transport as usize] += 1;
            sum.bytes += waiting.bytes as u64;
            sum.waiting += u64::from(waiting.frames > 0);
            sum.behind += u64::from(is_behind);
        }
        Some(sum)
    }

    pub(super) fn outbox(&self, listener: ListenerId) -> Option<Arc<Outbox>> {
        self.listeners().get(listener).map(Arc::clone)
    }

    /// Ends at most `most` of the listeners that are not at their end yet. Returns how many it ended.
    pub(super) fn end_some(&self, ending: Ending, most: usize) -> usize {
        let listeners = self.listeners();
        let open = listeners.slots.iter().flatten().filter(|one| one.ending().is_none());
        open.take(most).map(|outbox| outbox.end(ending)).count()
    }

    /// Sends heartbeats forever: to each socket one per `every`, counted from its opening. One sweep
    /// serves all of them, since a timer for each would be memory that nothing else needs.
    pub(super) async fn send_heartbeats(self: Arc<Self>, every: Duration, keepalive: Keepalive) {
        let step = (every / WHEEL_STEPS).max(Duration::from_millis(1));
        let mut steps = interval(step);
        steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            steps.tick().await;
            let due = self.listeners().next_step();
            due.iter().for_each(|outbox| outbox.heartbeat(keepalive));
        }
    }
}

impl Listeners {
    fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Puts a new listener into a free slot.
    fn open(&mut self, shard: u32, create: impl FnOnce(ListenerId) -> Arc<Outbox>) -> Arc<Outbox> {
        self.opened = self.opened.wrapping_add(1);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("a process has fewer files than that")
        });
        let outbox = create(Address { shard, slot, generation: self.opened }.pack());
        self.slots[slot as usize] = Some(Arc::clone(&outbox));
        if outbox.socket().is_some() {
            self.wheel[self.step].push(outbox.id);
        }
        outbox
    }

    fn get(&self, id: ListenerId) -> Option<&Arc<Outbox>> {
        let slot = Address::unpack(id).slot;
        self.slots.get(slot as usize)?.as_ref().filter(|outbox| outbox.id == id)
    }

    /// Returns the listeners that were not sent everything, those with the lowest numbers.
    fn behind(&self, most: usize) -> Vec<(ListenerId, Sequence)> {
        let mut lowest = BinaryHeap::new();
        for outbox in self.slots.iter().flatten() {
            let Some(sent) = outbox.sent_whole() else { continue };
            lowest.push((sent, outbox.id));
            if lowest.len() > most {
                lowest.pop();
            }
        }
        lowest.into_iter().map(|(sent, id)| (id, sent)).collect()
    }

    fn remove(&mut self, id: ListenerId) {
        if self.get(id).is_some() {
            let slot = Address::unpack(id).slot;
            self.slots[slot as usize] = None;
            self.free.push(slot);
        }
        if self.count() == 0 {
            self.slots = Vec::new();
            self.free = Vec::new();
        }
    }

    /// Turns the wheel and returns the sockets whose turn it is. Sockets that are gone leave the wheel.
    fn next_step(&mut self) -> Vec<Arc<Outbox>> {
        self.step = (self.step + 1) % self.wheel.len();
        let mut ids = std::mem::take(&mut self.wheel[self.step]);
        let mut outboxes = Vec::with_capacity(ids.len());
        ids.retain(|id| match self.get(*id) {
            Some(outbox) => {
                outboxes.push(Arc::clone(outbox));
                true
            }
            None => false,
        });
        self.wheel[self.step] = ids;
        outboxes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_packed_into_an_id_and_back() {
        for (shard, slot, generation) in [(0, 0, 1), (63, (1 << 26) - 1, u32::MAX), (5, 9, 77)] {
            let address = Address { shard, slot, generation };
            assert_eq!(Address::unpack(address.pack()), address);
        }
    }
}
