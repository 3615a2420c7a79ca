//! Webhooks: what an application hears of, posted to a URL of its own.
//!
//! The loop that owns the state hands notices over and never waits. All else runs on a thread of its own:
//! the queue, its file, and the requests.

mod attempts;
mod event;
mod queue;
mod sender;
mod store;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use channelstream_core::protocol::Timestamp;
use channelstream_core::state::Notice;
use channelstream_signer::webhook::WebhookSigner;
use tokio::sync::{Notify, mpsc};

use crate::config::{Config, Secret};
use crate::limits::{Limit, Limits};

pub(crate) use attempts::Attempt;
use attempts::Attempts;
pub(crate) use sender::Sender;
use store::Store;

/// How many outcomes with notices may be on their way to the thread.
const OUTCOMES: usize = 4096;

/// The notices of one outcome, and the time of day.
struct Told {
    notices: Vec<Notice>,
    time: Timestamp,
}

/// The end that the server has: hands over what happened, and tells how it goes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Webhooks(Arc<Shared>);

struct Shared {
    told: mpsc::Sender<Told>,
    settings: ArcSwap<Config>,
    /// Other settings count, or the same ones anew.
    changed: Notify,
    /// Whether notices are of use: there is a receiver, and it has not said that it is gone.
    wanted: AtomicBool,
    limits: Arc<Limits>,
    figures: Figures,
    attempts: Mutex<Attempts>,
}

/// What is counted.
#[derive(Debug, Default)]
struct Figures {
    /// Webhooks that wait or are being sent, those that the thread has yet to take included.
    waiting: AtomicUsize,
    /// When the oldest of them was queued.
    oldest: Mutex<Option<Instant>>,
    delivered: AtomicU64,
    given_up: AtomicU64,
    gone: AtomicU64,
    dropped: AtomicU64,
    succeeded: AtomicU64,
    failed: AtomicU64,
    failing: AtomicBool,
}

/// The figures at one moment.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) waiting: u64,
    /// Seconds; 0 if nothing waits.
    pub(crate) oldest: f64,
    /// What became of webhooks, by outcome.
    pub(crate) outcomes: Vec<(&'static str, u64)>,
    /// What became of attempts, by outcome.
    pub(crate) attempts: Vec<(&'static str, u64)>,
}

/// Creates both ends. What waits is kept in `file`, if there is one, and goes on from there; its second says
/// whether each write is brought to disk.
///
/// # Errors
/// Returns an error if the file cannot be read or written.
pub(crate) fn new(
    config: &Config,
    limits: Arc<Limits>,
    file: Option<(PathBuf, bool)>,
) -> io::Result<(Webhooks, Sender)> {
    let (told, receiver) = mpsc::channel(OUTCOMES);
    let shared = Shared {
        told,
        settings: ArcSwap::from_pointee(config.clone()),
        changed: Notify::new(),
        wanted: AtomicBool::new(config.webhook_url.is_some()),
        limits,
        figures: Figures::default(),
        attempts: Mutex::default(),
    };
    let webhooks = Webhooks(Arc::new(shared));
    let kept = file.map(|(path, syncs)| Store::open(&path, syncs)).transpose()?;
    let sender = Sender::new(webhooks.clone(), receiver, kept);
    Ok((webhooks, sender))
}

impl Webhooks {
    /// Lets other settings count. A receiver that was gone is asked again, and what waits is sent at once.
    pub(crate) fn set(&self, config: &Config) {
        self.0.settings.store(Arc::new(config.clone()));
        self.0.wanted.store(config.webhook_url.is_some(), Ordering::Relaxed);
        self.0.changed.notify_one();
    }

    /// Returns `true` if notices are of use.
    pub(crate) fn are_wanted(&self) -> bool {
        self.0.wanted.load(Ordering::Relaxed)
    }

    /// Takes what happened in one step. It never waits: what there is no room for is dropped and counted.
    pub(crate) fn offer(&self, mut notices: Vec<Notice>, time: Timestamp) {
        if !self.are_wanted() {
            return;
        }
        let settings = self.0.settings.load();
        notices.retain(|notice| settings.webhook_events.contains(&event::event(notice)));
        let waiting = self.0.figures.waiting.load(Ordering::Relaxed);
        let room = settings.max_webhooks.saturating_sub(waiting);
        let too_many = notices.len().saturating_sub(room);
        notices.truncate(room);
        let count = notices.len();
        let mut dropped = too_many;
        if count > 0 {
            self.0.figures.waiting.fetch_add(count, Ordering::Relaxed);
            if self.0.told.try_send(Told { notices, time }).is_err() {
                self.0.figures.waiting.fetch_sub(count, Ordering::Relaxed);
                dropped += count;
            }
        }
        if dropped > 0 {
            self.0.figures.dropped.fetch_add(dropped as u64, Ordering::Relaxed);
            self.0.limits.refused(Limit::Webhooks, None);
        }
    }

    /// Returns how it goes.
    pub(crate) fn standing(&self) -> Standing {
        let figures = &self.0.figures;
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let oldest = *figures.oldest.lock().unwrap_or_else(PoisonError::into_inner);
        Standing {
            waiting: figures.waiting.load(Ordering::Relaxed) as u64,
            oldest: oldest.map(|since| since.elapsed().as_secs_f64()).unwrap_or_default(),
            outcomes: vec![
                ("delivered", get(&figures.delivered)),
                ("given_up", get(&figures.given_up)),
                ("gone", get(&figures.gone)),
                ("dropped", get(&figures.dropped)),
            ],
            attempts: vec![
                ("succeeded", get(&figures.succeeded)),
                ("failed", get(&figures.failed)),
            ],
        }
    }

    /// Returns the last attempts, the newest first.
    pub(crate) fn attempts(&self) -> Vec<Attempt> {
        self.0.attempts.lock().unwrap_or_else(PoisonError::into_inner).newest()
    }

    /// Returns `true` if the last attempt failed.
    pub(crate) fn are_failing(&self) -> bool {
        self.0.figures.failing.load(Ordering::Relaxed)
    }
}

/// Returns what signs, if there are secrets.
fn signer(secrets: &[Secret]) -> Option<WebhookSigner> {
    WebhookSigner::new(secrets.iter().map(Secret::expose)).ok()
}
