//! What all parts of a round share: how much there is of everything, the kinds of channels, and how far the
//! round is.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::model::{Record, Stream};
use crate::wire::{Line, PATIENCE, Site};

/// After a socket was closed by its client a connection lives for so long (contract §13),
pub(crate) const AFTER_CLOSE: Duration = Duration::from_millis(500);

/// and for so long after anything else, by `gc_conns_after`.
pub(crate) const AFTER_LISTENER: Duration = Duration::from_secs(2);

/// A TCP connection that the server has closed is reset if the peer keeps it open for so long.
pub(crate) const UNTIL_CUT: Duration = Duration::from_secs(5);

/// Numbers from here on say that no more comes.
pub(crate) const MARK: u64 = 1 << 40;

/// How much there is of everything.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The first users, who are posted to in private: `u0`, `u1` and so on.
    pub(crate) users: usize,
    /// Clients that hold cursors.
    pub(crate) followers: usize,
    pub(crate) channels: usize,
    pub(crate) publishers: usize,
    /// Who write messages that grow, each in a channel of its own: `g0`, `g1` and so on.
    pub(crate) writers: usize,
    /// Milliseconds that a publisher rests at most.
    pub(crate) pace: usize,
    pub(crate) time: Duration,
}

/// What all parts of a round share.
pub(crate) struct Round {
    pub(crate) site: Site,
    pub(crate) plan: Plan,
    pub(crate) record: Record,
    numbers: Cell<u64>,
    stopped: Cell<bool>,
    marked: Cell<bool>,
    over: Cell<bool>,
    ready: Cell<usize>,
}

/// Whether the messages of a channel are large.
pub(crate) fn is_wide(channel: usize) -> bool {
    channel % 8 >= 6
}

pub(crate) fn tells_state(channel: usize) -> bool {
    channel % 8 == 3
}

pub(crate) fn stores_frames(channel: usize) -> bool {
    channel % 8 != 4
}

/// Whether all of a stream comes from one publisher: private frames, and large messages, which a
/// witness could be too slow for.
pub(crate) fn is_serial(stream: Stream) -> bool {
    match stream {
        Stream::Channel(channel) => is_wide(channel),
        Stream::Private(_) => true,
    }
}

pub(crate) fn settings(channel: usize) -> Value {
    json!({
        "notify_presence": matches!(channel % 8, 1 | 2),
        "broadcast_presence_with_user_lists": channel % 8 == 2,
        "notify_state": tells_state(channel),
        "store_frames": stores_frames(channel),
        "store_history": matches!(channel % 8, 5 | 7),
        "history_size": 10,
    })
}

impl Round {
    pub(crate) fn new(site: Site, plan: Plan) -> Self {
        let (stopped, marked, over) = Default::default();
        let (record, numbers, ready) = (Record::default(), Cell::new(0), Cell::new(0));
        Self { site, plan, record, numbers, stopped, marked, over, ready }
    }

    /// Lets clients and publishers come to an end.
    pub(crate) fn stop(&self) {
        self.stopped.set(true);
    }

    /// Each channel and user was told that no more comes.
    pub(crate) fn has_marked(&self) {
        self.marked.set(true);
    }

    /// Lets those leave who have stayed to the end.
    pub(crate) fn end(&self) {
        self.over.set(true);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.get()
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stopped.get()
    }

    pub(crate) fn marked(&self) -> bool {
        self.marked.get()
    }

    pub(crate) fn one_is_ready(&self) {
        self.ready.set(self.ready.get() + 1);
    }

    /// A number that no other message has.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.set(self.numbers.get() + 1);
        self.numbers.get()
    }

    pub(crate) fn mark(&self) -> u64 {
        MARK + self.number()
    }

    /// The streams of a connection in which it has not heard that no more comes.
    pub(crate) fn unmarked(&self, life: usize, channels: &BTreeSet<usize>) -> BTreeSet<Stream> {
        let life = &self.record.lives.borrow()[life];
        let mut streams: BTreeSet<_> = channels.iter().copied().map(Stream::Channel).collect();
        streams.insert(Stream::Private(life.user));
        let received = life.listeners.iter().flat_map(|listener| &listener.received);
        for mark in received.filter(|received| received.number >= MARK) {
            streams.remove(&mark.stream);
        }
        streams
    }

    pub(crate) async fn call(&self, path: &str, body: &Value) -> Value {
        let mut line = Line::open(self.site.any()).await.unwrap();
        let answer = line.request("POST", path, &body.to_string()).await;
        match answer {
            Ok((200, body)) => serde_json::from_slice(&body).unwrap(),
            other => panic!("{path} was answered {other:?}"),
        }
    }

    /// How long all together may take for what each of them has to do.
    pub(crate) fn patience(&self) -> Duration {
        PATIENCE * if self.site.breaks { 6 } else { 1 }
    }

    /// Waits until so many have said that they are ready.
    pub(crate) async fn all_ready(&self, count: usize) {
        let begun = Instant::now();
        while self.ready.get() < count {
            assert!(
                begun.elapsed() < self.patience(),
                "only {} of {count} are ready",
                self.ready.get()
            );
            sleep(Duration::from_millis(5)).await;
        }
        self.ready.set(0);
    }
}
