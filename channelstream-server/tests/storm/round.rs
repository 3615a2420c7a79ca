//! One round of a storm: channels, witnesses, publishers and clients; then quiet, and the verdict.

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};

use crate::client::Client;
use crate::dice::Dice;
use crate::follower::Follower;
use crate::model::{Record, Stream};
use crate::order::Order;
use crate::publisher;
use crate::verdict;
use crate::wire::{Incoming, Line, PATIENCE, Site, Socket};

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
    pub(crate) clients: usize,
    /// Clients that hold cursors, beside the others.
    pub(crate) followers: usize,
    pub(crate) channels: usize,
    pub(crate) publishers: usize,
    /// Milliseconds that a publisher rests at most.
    pub(crate) pace: usize,
    pub(crate) time: Duration,
}

/// What came of a round.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) frames: usize,
    pub(crate) done: HashMap<&'static str, usize>,
    pub(crate) faults: Vec<String>,
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

fn settings(channel: usize) -> Value {
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

    async fn call(&self, path: &str, body: &Value) -> Value {
        let mut line = Line::open(self.site.any()).await.unwrap();
        let answer = line.request(&self.site, "POST", path, &body.to_string()).await;
        match answer {
            Ok((200, body)) => serde_json::from_slice(&body).unwrap(),
            other => panic!("{path} was answered {other:?}"),
        }
    }

    /// Hears everything in a channel, as long as the round lasts.
    async fn witness(self: Rc<Self>, channel: usize) {
        let body = json!({"username": format!("w{channel}"), "channels": [format!("c{channel}")]});
        let told = self.call("/connect", &body).await;
        let id = told["conn_id"].as_str().unwrap();
        let mut socket = Socket::open(self.site.any(), id, false).await.unwrap();
        socket.ping().await.unwrap();
        while !self.over.get() {
            match socket.next(Instant::now() + Duration::from_millis(50)).await {
                None => {}
                Some(Incoming::Pong) => self.one_is_ready(),
                Some(Incoming::Text(text)) => match self.record.read(usize::MAX, &text) {
                    Ok(received) => {
                        let witnesses = &mut self.record.witnesses.borrow_mut();
                        witnesses.entry(channel).or_default().extend(received);
                    }
                    Err(error) => self.record.fault(error),
                },
                other => {
                    return self.record.fault(format!("the witness of {channel}: {other:?}"));
                }
            }
        }
        socket.cut();
    }

    async fn all_ready(&self, count: usize) {
        let begun = Instant::now();
        while self.ready.get() < count {
            assert!(begun.elapsed() < PATIENCE, "only {} of {count} are ready", self.ready.get());
            sleep(Duration::from_millis(5)).await;
        }
        self.ready.set(0);
    }
}

/// Lets a round happen and judges it.
pub(crate) async fn run(site: Site, plan: Plan, dice: Dice) -> Outcome {
    let Plan { clients, followers, channels, publishers, time, .. } = plan;
    let round = Rc::new(Round {
        site,
        plan,
        record: Record::default(),
        numbers: Cell::new(0),
        stopped: Cell::new(false),
        marked: Cell::new(false),
        over: Cell::new(false),
        ready: Cell::new(0),
    });
    let configs = (0..channels).map(|channel| (format!("c{channel}"), settings(channel)));
    round.call("/channel_config", &Value::Object(configs.collect())).await;
    let witness = |channel| spawn_local(Rc::clone(&round).witness(channel));
    let witnesses: Vec<_> =
        (0..channels).filter(|channel| !is_wide(*channel)).map(witness).collect();
    round.all_ready(witnesses.len()).await;

    let client = |user| {
        let dice = dice.part(1000 + user as u64);
        spawn_local(Client::new(Rc::clone(&round), dice, user).run())
    };
    let clients: Vec<_> = (0..clients).map(client).collect();
    let follower = |user: usize| {
        let dice = dice.part(100_000 + user as u64);
        spawn_local(Follower::new(Rc::clone(&round), dice, user).run())
    };
    let followers: Vec<_> = (clients.len()..clients.len() + followers).map(follower).collect();
    let publisher = |number: usize| {
        let dice = dice.part(number as u64);
        spawn_local(publisher::publish(Rc::clone(&round), dice, number))
    };
    let publishers: Vec<_> = (0..publishers).map(publisher).collect();
    sleep(time).await;
    round.stopped.set(true);
    for publisher in publishers {
        publisher.await.unwrap();
    }
    round.all_ready(clients.len() + followers.len()).await;
    publisher::mark_the_end(&round).await;
    round.marked.set(true);
    let mut sockets = Vec::new();
    for client in clients {
        sockets.extend(client.await.unwrap());
    }
    for follower in followers {
        follower.await.unwrap();
    }
    round.over.set(true);
    for witness in witnesses {
        witness.await.unwrap();
    }
    // Half of them leave at once, half without a word.
    for (number, mut socket) in sockets.into_iter().enumerate() {
        if number % 2 == 0 {
            let _ = socket.close().await;
        } else {
            socket.cut();
        }
    }
    judge(&round.record, channels)
}

fn judge(record: &Record, channels: usize) -> Outcome {
    let mut orders = HashMap::new();
    let mut frames = 0;
    for channel in 0..channels {
        let stream = Stream::Channel(channel);
        if is_serial(stream) {
            orders.insert(stream, Order::of_posts(record, stream));
            continue;
        }
        let heard = record.witnesses.borrow_mut().remove(&channel).unwrap_or_default();
        frames += heard.len();
        judge_state_changes(record, channel, &heard);
        orders.insert(stream, Order::of_channel(record, channel, &heard));
    }
    for followed in record.followed.borrow().iter() {
        for channel in followed.channels() {
            frames += followed.check(record, channel, &orders[&Stream::Channel(channel)]);
        }
    }
    for life in record.lives.borrow().iter() {
        let own = Stream::Private(life.user);
        orders.entry(own).or_insert_with(|| Order::of_posts(record, own));
        for stream in (0..channels).map(Stream::Channel).chain([own]) {
            frames += verdict::check(record, life, stream, &orders[&stream]);
        }
    }
    Outcome { frames, done: record.done.take(), faults: record.faults.take() }
}

/// Each change of a state is sent once in each channel that its user was in.
fn judge_state_changes(record: &Record, channel: usize, heard: &[crate::model::Received]) {
    let changes = heard
        .iter()
        .filter(|heard| matches!(heard.key, crate::model::Key::StateChange(_)))
        .map(|heard| heard.number);
    let mut told = BTreeSet::new();
    for number in changes {
        if !told.insert(number) {
            record.fault(format!("change {number} of a state is sent twice in {channel}"));
        }
    }
    for (number, channels) in record.state_changes.borrow().iter() {
        if channels.contains(&channel) && !told.contains(number) {
            record.fault(format!("change {number} of a state is not sent in {channel}"));
        }
    }
}
