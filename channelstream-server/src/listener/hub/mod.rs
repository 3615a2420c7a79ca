//! The hub: all listeners of this node, and the delivery of events to them.
//!
//! The listeners are divided over the threads, one [`Shard`] per thread. All listeners of one
//! connection are in the same shard, since one may take over from another. The shard of the thread
//! that owns the state carries out its commands at once; the others receive theirs through inboxes,
//! in the same order.

#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use channelstream_core::protocol::Cursor;
use channelstream_core::state::{ConnectionId, Delivery, ListenerId, Sent, Sequence, Since};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::outbox::{Bounds, EncodedPortion, Ending, Keepalive, Outbox, SetBounds, Sink};
use super::run::{self, Run};
pub(crate) use super::shard::Backlog;
use super::shard::{Address, Shard, ShardCommand};
use crate::metrics::Metrics;
use crate::metrics::delivery::Accepted;
use crate::places::{Place, Places};
use crate::wire::Encoding;

/// The most events in one run.
const RUN: usize = 32;

/// Commands that may wait for a shard. When there are more, the loop waits for the shard, and with the
/// loop the journal fills, which refuses what is too much.
const INBOX: usize = 1024;

/// All listeners of this node.
#[derive(Debug)]
pub(crate) struct Hub {
    shards: Vec<Arc<Shard>>,
    /// The inboxes of all shards but the first, which needs none.
    inboxes: Vec<mpsc::Sender<ShardCommand>>,
    /// Decides in which shard a connection is.
    hasher: RandomState,
    /// One place for each listener.
    places: Arc<Places>,
    /// The bounds of each outbox.
    bounds: Arc<SetBounds>,
    /// The number of the newest event that was sent to its shards.
    latest: AtomicU64,
}

/// What has to run for one shard, on its own thread.
pub(crate) struct ShardTasks {
    pub(crate) thread: Handle,
    shard: Arc<Shard>,
    inbox: Option<mpsc::Receiver<ShardCommand>>,
}

impl Hub {
    /// Creates a hub with a shard on each of the threads, and what has to run there. The first thread
    /// must be the one that calls [`Hub::deliver`]. Listeners that read on come out of `asking`.
    pub(crate) fn new(
        threads: Vec<Handle>,
        bounds: Bounds,
        max_listeners: usize,
        asking: &mpsc::UnboundedSender<Arc<Outbox>>,
        metrics: &Arc<Metrics>,
    ) -> (Self, Vec<ShardTasks>) {
        let bounds = Arc::new(SetBounds::new(bounds));
        let mut tasks = Vec::new();
        let mut inboxes = Vec::new();
        for (number, thread) in (0..).zip(threads) {
            let (asking, metrics) = (asking.clone(), Arc::clone(metrics));
            let bounds = Arc::clone(&bounds);
            let shard = Arc::new(Shard::new(number, thread.clone(), bounds, asking, metrics));
            let inbox = (number > 0).then(|| {
                let (sender, receiver) = mpsc::channel(INBOX);
                inboxes.push(sender);
                receiver
            });
            tasks.push(ShardTasks { thread, shard, inbox });
        }
        let hub = Self {
            shards: tasks.iter().map(|tasks| Arc::clone(&tasks.shard)).collect(),
            inboxes,
            hasher: RandomState::new(),
            places: Places::new(max_listeners),
            bounds,
            latest: AtomicU64::new(0),
        };
        (hub, tasks)
    }

    /// Returns the thread on which the listeners of a connection live.
    pub(crate) fn thread(&self, connection: ConnectionId) -> &Handle {
        self.home(connection).thread()
    }

    fn home(&self, connection: ConnectionId) -> &Arc<Shard> {
        let number = self.hasher.hash_one(connection) % self.shards.len() as u64;
        #[expect(clippy::cast_possible_truncation, reason = "it is less than the length")]
        &self.shards[number as usize]
    }

    /// Sets other bounds, for what comes from now on. Listeners that are open stay.
    pub(crate) fn set(&self, bounds: Bounds, max_listeners: usize) {
        self.bounds.set(bounds);
        self.places.set_most(max_listeners);
    }

    /// Reserves the place of one listener. Returns `None` if there are `max_listeners` already.
    pub(crate) fn reserve(&self) -> Option<Place> {
        self.places.take()
    }

    /// Returns the number of listeners, including those that are about to open.
    pub(crate) fn count(&self) -> usize {
        self.places.taken()
    }

    /// Opens an outbox in the shard of its connection.
    pub(crate) fn open(
        &self,
        connection: ConnectionId,
        sink: Sink,
        encoding: Encoding,
        since: Option<Since>,
    ) -> Arc<Outbox> {
        let reader = since.map(|since| (connection, since));
        self.home(connection).open(sink, encoding, reader)
    }

    /// Removes a listener, after all that was delivered before: a newer listener may take that over.
    /// Must be called once, when the state knows that the listener has ended.
    pub(crate) async fn remove(&self, id: ListenerId) {
        self.send(Address::unpack(id).shard, ShardCommand::Remove(id)).await;
    }

    /// Returns the listeners for which most bytes wait, at most `most` of them, and how many there are
    /// for which anything waits.
    pub(crate) fn most_behind(&self, most: usize) -> (Vec<(ListenerId, Bounds)>, usize) {
        let all = self.shards.iter().flat_map(|shard| shard.all());
        let waiting = all.map(|outbox| (outbox.id, outbox.waiting()));
        let mut behind: Vec<_> = waiting.filter(|(_, waiting)| waiting.bytes > 0).collect();
        behind.sort_unstable_by_key(|(_, waiting)| std::cmp::Reverse(waiting.bytes));
        let count = behind.len();
        behind.truncate(most);
        (behind, count)
    }

    /// Returns how many tasks the first thread has.
    pub(crate) fn tasks(&self) -> usize {
        self.shards[0].thread().metrics().num_alive_tasks()
    }

    /// Adds up what waits for all listeners, a few at a time. No lock is held longer, and others have a
    /// turn in between.
    pub(crate) async fn backlog(&self) -> Backlog {
        const SLOTS: usize = 512;
        let mut sum = Backlog::default();
        for shard in &self.shards {
            let mut slots = 0..SLOTS;
            while let Some(part) = shard.backlog(slots.clone()) {
                sum.add(&part);
                slots = slots.end..slots.end + SLOTS;
                tokio::task::yield_now().await;
            }
        }
        sum
    }

    /// Carries out deliveries in their order, up to the event `latest`. If they come of a publish that
    /// was `accepted` then, the time until they are written is measured.
    pub(crate) async fn deliver(
        &self,
        mut deliveries: Vec<Delivery>,
        latest: Cursor,
        accepted: Option<Accepted>,
    ) {
        for run in deliveries.chunk_by_mut(run::continues).flat_map(|run| run.chunks_mut(RUN)) {
            match run {
                [] => {}
                [Delivery::End { listener, reason }, ..] => {
                    let (listener, reason) = (*listener, reason.clone());
                    let command = ShardCommand::End { listener, reason };
                    self.send(Address::unpack(listener).shard, command).await;
                }
                [Delivery::TakesOver { listener, is_done }, ..] => {
                    let (listener, is_done) = (*listener, *is_done);
                    let command = ShardCommand::TakeOver { listener, is_done };
                    self.send(Address::unpack(listener).shard, command).await;
                }
                [Delivery::Event { to, sequence, catchup, .. }, ..] => {
                    let (to, first, is_catchup) = (std::mem::take(to), *sequence, *catchup);
                    let events = run.iter().filter_map(run::json).collect();
                    let first = Cursor { sequence: first, ..latest };
                    let run = Run::new(first, is_catchup, events).since(accepted);
                    self.spread(run, to).await;
                }
            }
        }
        self.latest.store(latest.sequence, Ordering::Release);
    }

    /// Brings a portion to a listener that asked for it, behind all that was delivered before.
    pub(crate) async fn bring(&self, outbox: Arc<Outbox>, portion: EncodedPortion) {
        let shard = Address::unpack(outbox.id).shard;
        self.send(shard, ShardCommand::Read { outbox, portion }).await;
    }

    /// Sends a run to each shard that has listeners for it.
    async fn spread(&self, run: Run, to: Vec<ListenerId>) {
        let run = Arc::new(run);
        if self.inboxes.is_empty() {
            self.shards[0].carry_out(ShardCommand::Deliver { run, to });
            return;
        }
        let mut shards = vec![Vec::new(); self.shards.len()];
        to.into_iter().for_each(|id| shards[Address::unpack(id).shard as usize].push(id));
        for (number, to) in (0..).zip(shards).filter(|(_, to)| !to.is_empty()) {
            let run = Arc::clone(&run);
            self.send(number, ShardCommand::Deliver { run, to }).await;
        }
    }

    /// Sends a command to a shard. A shard whose thread is gone, at the server's end, needs none.
    async fn send(&self, shard: u32, command: ShardCommand) {
        match shard.checked_sub(1) {
            None => self.shards[0].carry_out(command),
            Some(inbox) => drop(self.inboxes[inbox as usize].send(command).await),
        }
    }

    /// Returns what was really sent to a listener, of all that was delivered before. Nothing is sent
    /// to it from then on.
    pub(crate) async fn sent(&self, outbox: &Arc<Outbox>) -> Sent {
        let known = self.latest.load(Ordering::Acquire);
        let (answer, sent) = oneshot::channel();
        let command = ShardCommand::Report { outbox: Arc::clone(outbox), known, answer };
        self.send(Address::unpack(outbox.id).shard, command).await;
        match sent.await {
            Ok(sent) => sent,
            Err(_) => outbox.sent(known), // its thread is gone
        }
    }

    /// Looks at all listeners, behind all that was delivered so far, of which `known` is the newest event.
    pub(crate) async fn look(&self, known: Sequence) -> Look {
        let mut reports = Vec::with_capacity(self.shards.len());
        for (number, _) in (0..).zip(&self.shards) {
            let (answer, report) = oneshot::channel();
            self.send(number, ShardCommand::Look { most: NAMED + 1, answer }).await;
            reports.push(report);
        }
        Look { known, reports }
    }

    /// Returns the outbox of a listener.
    pub(crate) fn outbox(&self, listener: ListenerId) -> Option<Arc<Outbox>> {
        self.shards.get(Address::unpack(listener).shard as usize)?.outbox(listener)
    }

    /// Waits until all that was delivered so far is in the outboxes.
    pub(crate) async fn settle(&self) {
        for (number, _) in (0..).zip(&self.shards) {
            let (answer, settled) = oneshot::channel();
            self.send(number, ShardCommand::Settle(answer)).await;
            // A thread that is gone has nothing left to carry out.
            let _ = settled.await;
        }
    }

    /// Returns what was sent to the listener from which this one took over, if that was too slow: what
    /// that listener was not sent could not be taken over, and the state does not know of it yet.
    pub(super) async fn sent_before(&self, outbox: &Arc<Outbox>) -> Option<Sent> {
        let (answer, sent) = oneshot::channel();
        let command = ShardCommand::ReportOlder { outbox: Arc::clone(outbox), answer };
        self.send(Address::unpack(outbox.id).shard, command).await;
        sent.await.ok().flatten() // `None` as well if its thread is gone
    }

    /// Lets a listener that took over from a slow one take what is delivered from here on.
    pub(super) async fn resume(&self, outbox: &Arc<Outbox>) {
        let command = ShardCommand::Resume(Arc::clone(outbox));
        self.send(Address::unpack(outbox.id).shard, command).await;
    }

    /// Ends at most `most` of the listeners that are not at their end yet.
    pub(crate) fn end_some(&self, ending: Ending, most: usize) {
        let mut left = most;
        for shard in &self.shards {
            left -= shard.end_some(ending, left);
        }
    }
}

/// How many listeners that were not sent everything are named at most.
const NAMED: usize = 256;

/// A look at all listeners, whose reports are to come.
pub(crate) struct Look {
    known: Sequence,
    reports: Vec<oneshot::Receiver<Vec<(ListenerId, Sequence)>>>,
}

impl Look {
    /// Returns a number up to which all listeners were sent everything, and those that were sent less, each
    /// with its own number. If there are too many of these, the number is lower. Returns `None` if a
    /// shard is gone.
    pub(crate) async fn reports(self) -> Option<(Sequence, Vec<(ListenerId, Sequence)>)> {
        let mut behind = Vec::new();
        for report in self.reports {
            behind.append(&mut report.await.ok()?);
        }
        behind.retain(|(_, sent)| *sent < self.known);
        behind.sort_unstable_by_key(|(_, sent)| *sent);
        let sent = behind.get(NAMED).map_or(self.known, |(_, sent)| *sent);
        behind.retain(|(_, its)| *its < sent);
        Some((sent, behind))
    }
}

impl ShardTasks {
    /// Writes to the shard's sockets, forever.
    pub(crate) fn write(&self) -> impl Future<Output = ()> + use<> {
        Arc::clone(self.shard.writer()).run()
    }

    /// Sends heartbeats, forever.
    pub(crate) fn send_heartbeats(
        &self,
        every: Duration,
        keepalive: Keepalive,
    ) -> impl Future<Output = ()> + use<> {
        Arc::clone(&self.shard).send_heartbeats(every, keepalive)
    }

    /// Carries out the commands of the shard's inbox. Returns `None` if it has no inbox.
    pub(crate) fn receive(self) -> Option<impl Future<Output = ()>> {
        let Self { shard, inbox, .. } = self;
        inbox.map(|inbox| shard.receive(inbox))
    }
}
