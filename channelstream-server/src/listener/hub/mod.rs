//! The hub: this node's listeners, and the carrying out of deliveries to them.
//!
//! The listeners are divided over the threads, a [`Shard`] each; all listeners of one connection
//! are in the same, since one may take over from another. The shard of the thread that owns the
//! state is served at once, the others get parcels into their inboxes, in the same order.

#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use channelstream_core::state::{ConnectionId, Delivery, EndReason, ListenerId, Sent, Sequence};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::listener::outbox::{Bounds, Ending, Outbox, Patience, Way};
use crate::listener::shard::{self, Shard};
use crate::wire::websocket::event_frames;

/// The most frames that travel as one through the outboxes.
const RUN: usize = 32;

/// Parcels that may wait for a thread. When there are more, the loop waits for it, and with the
/// loop the journal fills, which refuses what is too much.
const INBOX: usize = 1024;

/// All listeners of this node.
#[derive(Debug)]
pub(crate) struct Hub {
    shards: Vec<Arc<Shard>>,
    /// The ways to the shards behind the first, which needs none.
    inboxes: Vec<mpsc::Sender<Parcel>>,
    /// Decides which connection is where.
    hasher: RandomState,
    most: usize,
    open: AtomicUsize,
    /// Number of the newest frame that was given to the shards it is for.
    latest: AtomicU64,
}

/// What a shard is asked to do.
#[derive(Debug)]
pub(crate) enum Parcel {
    /// To bring event frames to some of its listeners.
    Frames { sequences: Range<Sequence>, bytes: Bytes, catchup: bool, to: Vec<ListenerId> },
    /// To end one of its listeners.
    End { listener: ListenerId, reason: EndReason },
    /// To tell what was sent to a listener, behind all that was given before.
    Account { outbox: Arc<Outbox>, known: Sequence, answer: oneshot::Sender<Sent> },
    /// To tell whether a listener took over from one that had been too slow; see [`Hub::left_behind`].
    LeftBehind { outbox: Arc<Outbox>, answer: oneshot::Sender<Option<Sent>> },
    /// To let such a listener go on.
    GoOn(Arc<Outbox>),
    /// To forget one of its listeners.
    Forget(ListenerId),
    /// To tell that all is carried out that was given before.
    Settle(oneshot::Sender<()>),
}

/// What serves one shard, on its own thread.
pub(crate) struct Parts {
    /// Where it runs.
    pub(crate) thread: Handle,
    shard: Arc<Shard>,
    inbox: Option<mpsc::Receiver<Parcel>>,
}

impl Hub {
    /// A hub with a shard on each of the threads, and what has to run there. The first thread is
    /// the one that will call [`Hub::deliver`].
    pub(crate) fn new(threads: Vec<Handle>, bounds: Bounds, most: usize) -> (Self, Vec<Parts>) {
        let mut parts = Vec::new();
        let mut inboxes = Vec::new();
        for (number, thread) in (0..).zip(threads) {
            let shard = Arc::new(Shard::new(number, thread.clone(), bounds));
            let inbox = (number > 0).then(|| {
                let (sender, receiver) = mpsc::channel(INBOX);
                inboxes.push(sender);
                receiver
            });
            parts.push(Parts { thread, shard, inbox });
        }
        let shards = parts.iter().map(|parts| Arc::clone(&parts.shard)).collect();
        let (open, latest) = (AtomicUsize::new(0), AtomicU64::new(0));
        (Self { shards, inboxes, hasher: RandomState::new(), most, open, latest }, parts)
    }

    /// The thread on which the listeners of a connection live.
    pub(crate) fn thread(&self, connection: ConnectionId) -> &Handle {
        self.home(connection).thread()
    }

    fn home(&self, connection: ConnectionId) -> &Arc<Shard> {
        let number = self.hasher.hash_one(connection) % self.shards.len() as u64;
        #[expect(clippy::cast_possible_truncation, reason = "it is less than the length")]
        &self.shards[number as usize]
    }

    fn shard(&self, id: ListenerId) -> &Arc<Shard> {
        &self.shards[shard::number(id)]
    }

    /// Takes in a listener; gives its way back if there are as many as there may be.
    pub(crate) fn open(&self, connection: ConnectionId, way: Way) -> Result<Arc<Outbox>, Way> {
        if self.open.fetch_add(1, Ordering::AcqRel) >= self.most {
            self.open.fetch_sub(1, Ordering::AcqRel);
            return Err(way);
        }
        Ok(self.home(connection).open(way))
    }

    /// Whether there is place for one more listener.
    pub(crate) fn has_place(&self) -> bool {
        self.count() < self.most
    }

    /// Forgets a listener, behind all that was delivered before: of that, a newer one may have to
    /// take something over. Called once by who opened it, when the state knows that it is over.
    pub(crate) async fn remove(&self, id: ListenerId) {
        self.open.fetch_sub(1, Ordering::AcqRel);
        self.give(shard::number(id), Parcel::Forget(id)).await;
    }

    /// How many listeners there are.
    pub(crate) fn count(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// The listeners for whom most bytes wait, at most so many, and how many there are for whom
    /// anything waits.
    pub(crate) fn most_behind(&self, most: usize) -> (Vec<(ListenerId, Bounds)>, usize) {
        let all = self.shards.iter().flat_map(|shard| shard.all());
        let waiting = all.map(|outbox| (outbox.id, outbox.waiting()));
        let mut behind: Vec<_> = waiting.filter(|(_, waiting)| waiting.bytes > 0).collect();
        behind.sort_unstable_by_key(|(_, waiting)| std::cmp::Reverse(waiting.bytes));
        let count = behind.len();
        behind.truncate(most);
        (behind, count)
    }

    /// Carries out deliveries in their order, up to the frame `latest`.
    pub(crate) async fn deliver(&self, mut deliveries: Vec<Delivery>, latest: Sequence) {
        for run in deliveries.chunk_by_mut(runs_on).flat_map(|run| run.chunks_mut(RUN)) {
            match run {
                [] => {}
                [Delivery::End { listener, reason }, ..] => {
                    let (listener, reason) = (*listener, *reason);
                    self.give(shard::number(listener), Parcel::End { listener, reason }).await;
                }
                [Delivery::Event { to, sequence, catchup, .. }, ..] => {
                    let (to, first, catchup) = (std::mem::take(to), *sequence, *catchup);
                    let events: Vec<String> = run.iter().filter_map(encoded).collect();
                    let bytes = event_frames(&events);
                    let sequences = first..first + events.len() as Sequence;
                    let frames = |to| {
                        let (sequences, bytes) = (sequences.clone(), bytes.clone());
                        Parcel::Frames { sequences, bytes, catchup, to }
                    };
                    self.spread(to, frames).await;
                }
            }
        }
        self.latest.store(latest, Ordering::Release);
    }

    /// Gives frames to each shard that has listeners for them.
    async fn spread(&self, to: Vec<ListenerId>, frames: impl Fn(Vec<ListenerId>) -> Parcel) {
        if self.inboxes.is_empty() {
            self.shards[0].carry_out(frames(to));
            return;
        }
        let mut shards = vec![Vec::new(); self.shards.len()];
        to.into_iter().for_each(|id| shards[shard::number(id)].push(id));
        for (number, to) in shards.into_iter().enumerate().filter(|(_, to)| !to.is_empty()) {
            self.give(number, frames(to)).await;
        }
    }

    /// Gives a parcel to a shard. One whose thread is gone, at the server's end, needs none.
    async fn give(&self, number: usize, parcel: Parcel) {
        match number.checked_sub(1) {
            None => self.shards[0].carry_out(parcel),
            Some(behind) => drop(self.inboxes[behind].send(parcel).await),
        }
    }

    /// What was really sent to a listener, of all that was delivered before. Nothing is sent to it
    /// any more.
    pub(crate) async fn sent(&self, outbox: &Arc<Outbox>) -> Sent {
        let known = self.latest.load(Ordering::Acquire);
        let (answer, sent) = oneshot::channel();
        let parcel = Parcel::Account { outbox: Arc::clone(outbox), known, answer };
        self.give(shard::number(outbox.id), parcel).await;
        match sent.await {
            Ok(sent) => sent,
            Err(_) => outbox.sent(known), // its thread is gone
        }
    }

    /// Waits until all that was delivered so far is in the outboxes.
    pub(crate) async fn settle(&self) {
        for number in 0..self.shards.len() {
            let (tell, settled) = oneshot::channel();
            self.give(number, Parcel::Settle(tell)).await;
            // A thread that is gone has nothing left to carry out.
            let _ = settled.await;
        }
    }

    /// What was sent to the listener before this one, if that had been too slow: what it was not sent
    /// cannot be handed over, and the state does not know of it yet.
    pub(crate) async fn left_behind(&self, outbox: &Arc<Outbox>) -> Option<Sent> {
        let (answer, left_behind) = oneshot::channel();
        let parcel = Parcel::LeftBehind { outbox: Arc::clone(outbox), answer };
        self.give(shard::number(outbox.id), parcel).await;
        left_behind.await.ok().flatten() // none as well if its thread is gone
    }

    /// Lets a listener take frames that was left behind: what is delivered from here on.
    pub(crate) async fn go_on(&self, outbox: &Arc<Outbox>) {
        self.give(shard::number(outbox.id), Parcel::GoOn(Arc::clone(outbox))).await;
    }

    /// Puts an outbox on its writer's list, if it asks for that.
    pub(crate) fn call(&self, outbox: &Arc<Outbox>, asked: bool) {
        self.shard(outbox.id).call(outbox, asked);
    }

    /// Ends at most so many of the listeners that are not at their end yet.
    pub(crate) fn end_some(&self, ending: Ending, most: usize) {
        let mut left = most;
        for shard in &self.shards {
            left -= shard.end_some(ending, left);
        }
    }
}

impl Parts {
    /// Writes to the shard's sockets, for ever.
    pub(crate) fn write(&self) -> impl Future<Output = ()> + use<> {
        Arc::clone(self.shard.writer()).run()
    }

    /// Sends heartbeats, for ever.
    pub(crate) fn beat(
        &self,
        every: Duration,
        patience: Patience,
    ) -> impl Future<Output = ()> + use<> {
        Arc::clone(&self.shard).beat(every, patience)
    }

    /// Carries out what comes into the shard's inbox; none, if it has no inbox.
    pub(crate) fn receive(self) -> Option<impl Future<Output = ()>> {
        let Self { shard, inbox, .. } = self;
        inbox.map(|inbox| shard.receive(inbox))
    }
}

/// Whether two deliveries can travel as one: frames with consecutive numbers for the same
/// listeners, as the messages of one request are.
fn runs_on(one: &Delivery, next: &Delivery) -> bool {
    match (one, next) {
        (
            Delivery::Event { to: these, sequence: one, catchup: was, .. },
            Delivery::Event { to: those, sequence: next, catchup: is, .. },
        ) => *next == one + 1 && was == is && these == those,
        _ => false,
    }
}

fn encoded(delivery: &Delivery) -> Option<String> {
    match delivery {
        Delivery::Event { event, catchup, .. } => Some(event.encode(*catchup)),
        Delivery::End { .. } => None,
    }
}
