//! The hub: this node's listeners, and the carrying out of deliveries to them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use channelstream_core::state::{Delivery, EndReason, ListenerId, Sequence};
use tokio::time::{MissedTickBehavior, interval};

use crate::frame_codec::event_frames;
use crate::outbox::{Bounds, Ending, Outbox, Patience, Way};
use crate::writer::Writer;

/// Slots of the wheel of heartbeats: an interval is divided by so many.
const BEATS: u32 = 50;

/// The most frames that travel as one through the outboxes.
const RUN: usize = 32;

/// All listeners of this node.
#[derive(Debug)]
pub(crate) struct Hub {
    listeners: Mutex<Listeners>,
    writer: Arc<Writer>,
    bounds: Bounds,
    most: usize,
    /// Number of the newest frame that was delivered here.
    latest: AtomicU64,
}

#[derive(Debug, Default)]
struct Listeners {
    slots: Vec<Option<Arc<Outbox>>>,
    free: Vec<u32>,
    opened: u32,
    /// Sockets by the part of the heartbeat interval in which they were opened.
    beats: Vec<Vec<ListenerId>>,
    beat: usize,
}

impl Hub {
    pub(crate) fn new(writer: Arc<Writer>, bounds: Bounds, most: usize) -> Self {
        let listeners =
            Listeners { beats: vec![Vec::new(); BEATS as usize], ..Listeners::default() };
        let listeners = Mutex::new(listeners);
        Self { listeners, writer, bounds, most, latest: AtomicU64::new(0) }
    }

    fn listeners(&self) -> std::sync::MutexGuard<'_, Listeners> {
        self.listeners.lock().expect("nothing that holds the listeners can panic")
    }

    /// Takes in a listener; gives its way back if there are as many as there may be.
    pub(crate) fn open(&self, way: Way) -> Result<Arc<Outbox>, Way> {
        let mut listeners = self.listeners();
        if listeners.count() >= self.most {
            return Err(way);
        }
        Ok(listeners.open(way))
    }

    /// Whether there is place for one more listener.
    pub(crate) fn has_place(&self) -> bool {
        self.listeners().count() < self.most
    }

    /// Forgets a listener; called by who opened it, once the state knows that it is over.
    pub(crate) fn remove(&self, id: ListenerId) {
        self.listeners().remove(id);
    }

    /// How many listeners there are.
    pub(crate) fn count(&self) -> usize {
        self.listeners().count()
    }

    /// Number of the newest frame that was delivered here.
    pub(crate) fn latest(&self) -> Sequence {
        self.latest.load(Ordering::Acquire)
    }

    /// Carries out deliveries in their order; afterwards all frames up to `latest` were.
    pub(crate) fn deliver(&self, deliveries: &[Delivery], latest: Sequence) {
        if !deliveries.is_empty() {
            let listeners = self.listeners();
            for run in deliveries.chunk_by(runs_on).flat_map(|run| run.chunks(RUN)) {
                self.carry_out(&listeners, run);
            }
        }
        self.latest.store(latest, Ordering::Release);
    }

    /// Carries out one delivery, or several that are a run.
    fn carry_out(&self, listeners: &Listeners, run: &[Delivery]) {
        match run {
            [] => {}
            [Delivery::Frame { to, sequence, catchup, .. }, ..] => {
                let events: Vec<String> = run.iter().filter_map(encoded).collect();
                let bytes = event_frames(&events);
                let sequences = *sequence..*sequence + events.len() as Sequence;
                for outbox in to.iter().filter_map(|id| listeners.get(*id)) {
                    if outbox.push(sequences.clone(), &bytes, *catchup, self.bounds) {
                        self.writer.add(Arc::clone(outbox));
                    }
                }
            }
            [Delivery::End { listener, reason }, ..] => {
                let Some(outbox) = listeners.get(*listener) else { return };
                match reason {
                    EndReason::Superseded { by } => match listeners.get(*by) {
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
        }
    }

    /// Puts an outbox on the writer's list, if it asks for that.
    pub(crate) fn call(&self, outbox: &Arc<Outbox>, asked: bool) {
        if asked {
            self.writer.add(Arc::clone(outbox));
        }
    }

    /// Ends at most so many of the listeners that are not at their end yet.
    pub(crate) fn end_some(&self, ending: Ending, most: usize) {
        let listeners = self.listeners();
        let going_on = listeners.slots.iter().flatten().filter(|one| one.ending().is_none());
        for outbox in going_on.take(most) {
            self.call(outbox, outbox.end(ending));
        }
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

/// Whether two deliveries can travel as one: frames with consecutive numbers for the same
/// listeners, as the messages of one request are.
fn runs_on(one: &Delivery, next: &Delivery) -> bool {
    match (one, next) {
        (
            Delivery::Frame { to: these, sequence: one, catchup: was, .. },
            Delivery::Frame { to: those, sequence: next, catchup: is, .. },
        ) => *next == one + 1 && was == is && these == those,
        _ => false,
    }
}

fn encoded(delivery: &Delivery) -> Option<String> {
    match delivery {
        Delivery::Frame { frame, catchup, .. } => Some(frame.encode(*catchup)),
        Delivery::End { .. } => None,
    }
}

/// The slot in an id: its lower half.
fn slot(ListenerId(id): ListenerId) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "the upper half is the count")]
    let slot = id as u32;
    slot
}

impl Listeners {
    fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// An id is the slot and, above it, a count that tells the listeners of one slot apart.
    fn open(&mut self, way: Way) -> Arc<Outbox> {
        self.opened = self.opened.wrapping_add(1);
        let is_socket = matches!(way, Way::Socket(_));
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("a process has fewer files than that")
        });
        let id = ListenerId(u64::from(self.opened) << 32 | u64::from(slot));
        let outbox = Arc::new(Outbox::new(id, way));
        self.slots[slot as usize] = Some(Arc::clone(&outbox));
        if is_socket {
            let beat = self.beat;
            self.beats[beat].push(id);
        }
        outbox
    }

    fn get(&self, id: ListenerId) -> Option<&Arc<Outbox>> {
        self.slots.get(slot(id) as usize)?.as_ref().filter(|outbox| outbox.id == id)
    }

    fn remove(&mut self, id: ListenerId) {
        if self.get(id).is_some() {
            self.slots[slot(id) as usize] = None;
            self.free.push(slot(id));
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
