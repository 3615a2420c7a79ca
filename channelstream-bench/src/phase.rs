//! One stretch of publishing: a publisher on its own thread, the listeners on this one, and what it
//! cost the peer.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::line::Line;
use crate::listeners::{Listeners, Sent};
use crate::peer::Peer;

/// For one phase, however slow the peer.
const PATIENCE: Duration = Duration::from_secs(120);

/// Without any delivery, after the last publish.
const SILENCE: Duration = Duration::from_secs(3);

/// After the last delivery: what else the peer does belongs to it, and what comes double, comes now.
const AFTER: Duration = Duration::from_millis(100);

/// What is published, and how fast.
pub(crate) struct Load {
    /// Numbers of the messages.
    pub(crate) ids: Range<usize>,
    /// Bytes of the text of each.
    pub(crate) size: usize,
    /// Messages in one request.
    pub(crate) batch: usize,
    pub(crate) pace: Pace,
}

/// When the next message may go.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// As long as less than so many messages are not yet with all their listeners.
    InFlight(usize),
    /// So many a second, whatever the peer does; a late one counts from when it was due.
    PerSecond(u32),
}

/// What came of it.
pub(crate) struct Phase {
    pub(crate) deliveries: usize,
    /// From the first publish to the last delivery.
    pub(crate) time: Duration,
    /// CPU time of the peer.
    pub(crate) cpu: Duration,
}

/// How far the deliveries are: told by who reads, waited for by who publishes.
struct Progress {
    /// How many there were, and how many the publisher waits for: it is woken for no less, since
    /// it would take its time from the peer.
    counts: Mutex<(usize, usize)>,
    reached: Condvar,
    given_up: AtomicBool,
}

/// Publishes, and reads until everything has come to everybody, or nothing comes any more.
pub(crate) fn run(peer: &Peer, listeners: &mut Listeners, load: &Load) -> Result<Phase> {
    let audience: Vec<usize> = (0..listeners.channels()).map(|id| listeners.audience(id)).collect();
    let owed = load.ids.clone().map(|id| audience[id % audience.len()]).sum();
    let progress = Progress {
        counts: Mutex::new((0, 0)),
        reached: Condvar::new(),
        given_up: AtomicBool::new(false),
    };
    let mut line = Line::open(peer.process.address)?;
    listeners.idle(AFTER)?;

    let before = peer.process.cpu()?;
    let begin = Instant::now();
    let mut last = begin;
    let mut deliveries = 0;
    let sent = Arc::clone(&listeners.sent);
    thread::scope(|scope| {
        let publisher = scope.spawn(|| publish(peer, &mut line, load, &sent, &audience, &progress));
        let mut reading = Ok(());
        while deliveries < owed && begin.elapsed() < PATIENCE {
            let heard = listeners.turn(Duration::from_millis(5));
            let Ok(heard) = heard.map_err(|error| reading = Err(error)) else { break };
            if heard > 0 {
                last = Instant::now();
                deliveries += heard;
                progress.tell(deliveries);
            } else if publisher.is_finished() && last.elapsed() > SILENCE {
                break;
            }
        }
        progress.given_up.store(true, Ordering::Release);
        let publishing = publisher.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        reading.and(publishing)
    })?;
    listeners.idle(AFTER)?;
    let cpu = peer.process.cpu()? - before;
    listeners.faults.missing += owed - deliveries;
    Ok(Phase { deliveries, time: last - begin, cpu })
}

fn publish(
    peer: &Peer,
    line: &mut Line,
    load: &Load,
    sent: &Sent,
    audience: &[usize],
    progress: &Progress,
) -> Result<()> {
    let begin = Instant::now();
    let largest = audience.iter().max().copied().unwrap_or(0);
    let mut owed = 0_usize;
    for first in load.ids.clone().step_by(load.batch) {
        let ids = first..load.ids.end.min(first + load.batch);
        let request = peer.publish(ids.clone(), audience.len(), load.size);
        let mut moment = Instant::now();
        match load.pace {
            Pace::InFlight(most) => {
                let most = most.saturating_sub(load.batch) * largest;
                if !progress.wait_for(owed.saturating_sub(most)) {
                    return Ok(());
                }
                moment = Instant::now();
            }
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
            owed += audience[id % audience.len()];
        }
        line.call(&request)?;
    }
    Ok(())
}

impl Progress {
    fn tell(&self, deliveries: usize) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.0 = deliveries;
        if deliveries >= counts.1 {
            self.reached.notify_one();
        }
    }

    /// Waits for so many deliveries. False: they will not come.
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
