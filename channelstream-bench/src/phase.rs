//! One phase of publishing: publishers on threads of their own, the listeners on this one, and the cost for
//! the peer.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::connection::Connection;
use crate::listeners::{Listeners, Sent};
use crate::peer::Peer;

/// The maximum duration of a phase.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The time without a delivery after the last publish, after which the phase ends.
const SILENCE: Duration = Duration::from_secs(3);

/// The time that is still measured after the last delivery, for the peer's remaining work and for
/// duplicates.
const AFTER: Duration = Duration::from_millis(100);

/// The messages to publish, and their pace.
pub(crate) struct Load {
    /// The numbers of the messages.
    pub(crate) ids: Range<usize>,
    /// The size of each text in bytes.
    pub(crate) size: usize,
    /// The number of messages in one request.
    pub(crate) batch: usize,
    pub(crate) pace: Pace,
}

/// When the next message may be sent.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// While fewer than this many messages wait for delivery to all their listeners.
    InFlight(usize),
    /// When this many publishers at once have their answers. A channel is always of the same publisher, which
    /// keeps its order.
    Publishers(usize),
    /// This many per second, however slow the peer is. The latency of a late message counts from the
    /// time at which it was due.
    PerSecond(u32),
}

/// The result of a phase.
pub(crate) struct Phase {
    pub(crate) deliveries: usize,
    /// The time from the first publish to the last delivery.
    pub(crate) time: Duration,
    /// The CPU time of the peer.
    pub(crate) cpu: Duration,
}

/// The number of deliveries so far, which the listeners report and the publisher waits for.
struct Progress {
    /// The number of deliveries, and the number that the publisher waits for. The publisher is not
    /// woken earlier, since that would take CPU time from the peer.
    counts: Mutex<(usize, usize)>,
    reached: Condvar,
    given_up: AtomicBool,
}

/// Publishes, and reads until every message has reached every listener, or no more messages arrive.
pub(crate) fn run(peer: &Peer, listeners: &mut Listeners, load: &Load) -> Result<Phase> {
    let audience: Vec<usize> = (0..listeners.channels()).map(|id| listeners.audience(id)).collect();
    let expected = load.ids.clone().map(|id| audience[id % audience.len()]).sum();
    let progress = Progress {
        counts: Mutex::new((0, 0)),
        reached: Condvar::new(),
        given_up: AtomicBool::new(false),
    };
    let publishers = match load.pace {
        Pace::Publishers(count) => count,
        Pace::InFlight(_) | Pace::PerSecond(_) => 1,
    };
    let connections = (0..publishers).map(|_| peer.open());
    let connections = connections.collect::<Result<Vec<_>>>()?;
    listeners.idle(AFTER)?;

    let before = peer.process.cpu()?;
    let begin = Instant::now();
    let mut last = begin;
    let mut deliveries = 0;
    let sent = Arc::clone(&listeners.sent);
    thread::scope(|scope| {
        let (audience, sent, progress) = (&audience[..], &sent, &progress);
        let publishing = connections.into_iter().enumerate().map(|(number, connection)| {
            let is_mine = move |id: &usize| id % audience.len() % publishers == number;
            scope.spawn(move || publish(peer, connection, load, is_mine, sent, audience, progress))
        });
        let publishing: Vec<_> = publishing.collect();
        let mut reading = Ok(());
        while deliveries < expected && begin.elapsed() < TIMEOUT {
            let received = listeners.turn(Duration::from_millis(5));
            let Ok(received) = received.map_err(|error| reading = Err(error)) else { break };
            if received > 0 {
                last = Instant::now();
                deliveries += received;
                progress.report(deliveries);
            } else if publishing.iter().all(ScopedJoinHandle::is_finished)
                && last.elapsed() > SILENCE
            {
                break;
            }
        }
        progress.given_up.store(true, Ordering::Release);
        for publisher in publishing {
            publisher.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        reading
    })?;
    listeners.idle(AFTER)?;
    let cpu = peer.process.cpu()? - before;
    listeners.errors.missing += expected - deliveries;
    Ok(Phase { deliveries, time: last - begin, cpu })
}

fn publish(
    peer: &Peer,
    mut connection: Connection,
    load: &Load,
    is_mine: impl Fn(&usize) -> bool,
    sent: &Sent,
    audience: &[usize],
    progress: &Progress,
) -> Result<()> {
    let begin = Instant::now();
    let largest = audience.iter().max().copied().unwrap_or(0);
    let mut expected = 0_usize;
    for first in load.ids.clone().step_by(load.batch).filter(is_mine) {
        let ids = first..load.ids.end.min(first + load.batch);
        let request = peer.publish(ids.clone(), audience.len(), load.size);
        let mut moment = Instant::now();
        match load.pace {
            Pace::InFlight(most) => {
                let most = most.saturating_sub(load.batch) * largest;
                if !progress.wait_for(expected.saturating_sub(most)) {
                    return Ok(());
                }
                moment = Instant::now();
            }
            Pace::Publishers(_) if progress.given_up.load(Ordering::Acquire) => return Ok(()),
            Pace::Publishers(_) => {}
            Pace::PerSecond(rate) => {
                let number = u32::try_from(first - load.ids.start)?;
                let due = begin + Duration::from_secs(1) * number / rate;
                if let Some(early) = due.checked_duration_since(moment) {
                    thread::sleep(early);
                }
                moment = if due > moment { Instant::now() } else { due };
            }
        }
        for id in ids {
            sent.note(id, moment);
            expected += audience[id % audience.len()];
        }
        connection.call(&request)?;
    }
    Ok(())
}

impl Progress {
    fn report(&self, deliveries: usize) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.0 = deliveries;
        if deliveries >= counts.1 {
            self.reached.notify_one();
        }
    }

    /// Waits for `wanted` deliveries. Returns `false` if the phase ended before.
    fn wait_for(&self, wanted: usize) -> bool {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.1 = wanted;
        while counts.0 < wanted {
            if self.given_up.load(Ordering::Acquire) {
                return false;
            }
            let waited = self.reached.wait_timeout(counts, Duration::from_millis(50));
            counts = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}
