//! A shard: the listeners that live on one thread, and the writer beside them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use channelstream_core::state::{EndReason, ListenerId, Sequence};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::hub::Parcel;
use crate::listener::outbox::{Bounds, Ending, Outbox, Patience, Way};
use crate::listener::writer::Writer;

/// Slots of the wheel of heartbeats: an interval is divided by so many.
const BEATS: u32 = 50;

/// Bits of an id that tell the place in the shard; above it, the shard's number has six: there are at
/// most 64 threads.
const PLACE_BITS: u32 = 26;

/// Parcels carried out before others get a turn.
const BATCH: usize = 64;

/// The listeners of one thread.
#[derive(Debug)]
pub(crate) struct Shard {
    number: u32,
    thread: Handle,
    listeners: Mutex<Listeners>,
    writer: Arc<Writer>,
    bounds: Bounds,
}

#[derive(Debug, Default)]
struct Listeners {
    slots: Vec<Option<Arc<Outbox>>>,
    free: Vec<u32>,
    opened: u32,
    /// Sockets by the part of the heartbeat interval in which they were opened.
    beats: Vec<Vec<ListenerId>>,
    beat: usize,
    /// Number of the newest frame that was carried out.
    latest: Sequence,
}

/// Which shard a listener is in: the upper part of its id's lower half.
pub(crate) fn number(id: ListenerId) -> usize {
    (lower_half(id.get()) >> PLACE_BITS) as usize
}

/// Where in its shard a listener is.
fn place(id: ListenerId) -> u32 {
    lower_half(id.get()) & ((1 << PLACE_BITS) - 1)
}

fn lower_half(id: u64) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "the upper half is the count")]
    let half = id as u32;
    half
}

impl Shard {
    pub(crate) fn new(number: u32, thread: Handle, bounds: Bounds) -> Self {
        let beats = vec![Vec::new(); BEATS as usize];
        let listeners = Mutex::new(Listeners { beats, ..Listeners::default() });
        Self { number, thread, listeners, writer: Arc::default(), bounds }
    }

    fn listeners(&self) -> std::sync::MutexGuard<'_, Listeners> {
        self.listeners.lock().expect("nothing that holds the listeners can panic")
    }

    pub(crate) fn thread(&self) -> &Handle {
        &self.thread
    }

    pub(crate) fn writer(&self) -> &Arc<Writer> {
        &self.writer
    }

    pub(crate) fn open(&self, way: Way) -> Arc<Outbox> {
        self.listeners().open(self.number, way)
    }

    /// Carries out what comes into the inbox, until nobody can send any more.
    pub(crate) async fn receive(self: Arc<Self>, mut inbox: mpsc::Receiver<Parcel>) {
        let mut parcels = Vec::with_capacity(BATCH);
        while inbox.recv_many(&mut parcels, BATCH).await > 0 {
            parcels.drain(..).for_each(|parcel| self.carry_out(parcel));
        }
    }

    pub(crate) fn carry_out(&self, parcel: Parcel) {
        let mut listeners = self.listeners();
        match parcel {
            Parcel::Frames { sequences, bytes, catchup, to } => {
                for outbox in to.iter().filter_map(|id| listeners.get(*id)) {
                    if outbox.push(sequences.clone(), &bytes, catchup, self.bounds) {
                        self.writer.add(Arc::clone(outbox));
                    }
                }
                // What is caught up on has old numbers.
                listeners.latest = listeners.latest.max(sequences.end - 1);
            }
            Parcel::End { listener, reason } => {
                let Some(outbox) = listeners.get(listener) else { return };
                match reason {
                    EndReason::Superseded { by } => match listeners.get(by) {
                        Some(newer) => {
                            let called = outbox.hand_over(newer);
                            self.call(outbox, called.older);
                            self.call(newer, called.newer);
                        }
                        None => self.call(outbox, outbox.end(Ending::Superseded)),
                    },
                    EndReason::Ended => self.call(outbox, outbox.end(Ending::Ended)),
                }
            }
            Parcel::Account { outbox, known, answer } => {
                // Who asked may have gone meanwhile.
                let _ = answer.send(outbox.sent(known.max(listeners.latest)));
            }
            Parcel::LeftBehind { outbox, answer } => {
                let _ = answer.send(outbox.left_behind());
            }
            Parcel::GoOn(outbox) => outbox.go_on(),
            Parcel::Forget(listener) => listeners.remove(listener),
            // The end of the server may have run out of time.
            Parcel::Settle(tell) => drop(tell.send(())),
        }
    }

    /// Puts an outbox on the writer's list, if it asks for that.
    pub(crate) fn call(&self, outbox: &Arc<Outbox>, asked: bool) {
        if asked {
            self.writer.add(Arc::clone(outbox));
        }
    }

    pub(crate) fn all(&self) -> Vec<Arc<Outbox>> {
        self.listeners().slots.iter().flatten().map(Arc::clone).collect()
    }

    /// Ends at most so many of the listeners that are not at their end yet; how many it were.
    pub(crate) fn end_some(&self, ending: Ending, most: usize) -> usize {
        let listeners = self.listeners();
        let going_on = listeners.slots.iter().flatten().filter(|one| one.ending().is_none());
        going_on.take(most).map(|outbox| self.call(outbox, outbox.end(ending))).count()
    }

    /// Sends heartbeats for ever: to each socket one per `every`, counted from its opening. One
    /// sweep for all of them, since a timer each would be memory that nothing else needs.
    pub(crate) async fn beat(self: Arc<Self>, every: Duration, patience: Patience) {
        let step = (every / BEATS).max(Duration::from_millis(1));
        let mut steps = interval(step);
        steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            steps.tick().await;
            let turn = self.listeners().next_beat();
            for outbox in turn {
                let asked = outbox.beat(patience);
                self.call(&outbox, asked);
            }
        }
    }
}

impl Listeners {
    fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// An id is the shard, the place in it and, above them, a count that tells apart the listeners
    /// that had one place.
    fn open(&mut self, shard: u32, way: Way) -> Arc<Outbox> {
        self.opened = self.opened.wrapping_add(1);
        let is_socket = matches!(way, Way::Socket(_));
        let place = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("a process has fewer files than that")
        });
        let id = u64::from(self.opened) << 32 | u64::from(shard << PLACE_BITS | place);
        let outbox = Arc::new(Outbox::new(ListenerId::new(id), way));
        self.slots[place as usize] = Some(Arc::clone(&outbox));
        if is_socket {
            let beat = self.beat;
            self.beats[beat].push(outbox.id);
        }
        outbox
    }

    fn get(&self, id: ListenerId) -> Option<&Arc<Outbox>> {
        self.slots.get(place(id) as usize)?.as_ref().filter(|outbox| outbox.id == id)
    }

    fn remove(&mut self, id: ListenerId) {
        if self.get(id).is_some() {
            self.slots[place(id) as usize] = None;
            self.free.push(place(id));
        }
        if self.count() == 0 {
            self.slots = Vec::new();
            self.free = Vec::new();
        }
    }

    /// The sockets whose turn it is; those that are gone are forgotten.
    fn next_beat(&mut self) -> Vec<Arc<Outbox>> {
        self.beat = (self.beat + 1) % self.beats.len();
        let mut turn = std::mem::take(&mut self.beats[self.beat]);
        let mut outboxes = Vec::with_capacity(turn.len());
        turn.retain(|id| match self.get(*id) {
            Some(outbox) => {
                outboxes.push(Arc::clone(outbox));
                true
            }
            None => false,
        });
        self.beats[self.beat] = turn;
        outboxes
    }
}
