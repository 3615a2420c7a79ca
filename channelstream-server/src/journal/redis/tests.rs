//! The journal in a real Redis: what the scripts accept and refuse, and nodes that share it.

use std::net::TcpListener;
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};

use channelstream_core::protocol::{Address, NewMessage};
use channelstream_core::state::{Command, Moment, Rules};
use tempfile::TempDir;
use tokio::process::Child;
use tokio::time::{sleep, timeout};

use super::protocol::message::{Answer, Appended, Beginning, Run, View};
use super::*;
use crate::clock::{self, Clock};

/// A Redis of a test's own, which keeps nothing.
struct Redis {
    port: u16,
    process: Child,
    _directory: TempDir,
}

impl Redis {
    async fn start(port: u16) -> Self {
        let directory = TempDir::new().unwrap();
        let process = tokio::process::Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"])
            .arg(port.to_string())
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("redis-server has to be installed");
        let redis = Self { port, process, _directory: directory };
        let client = Client::open(redis.url()).unwrap();
        eventually("Redis answers", async || {
            client.get_multiplexed_async_connection().await.is_ok()
        })
        .await;
        redis
    }

    async fn anywhere() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self::start(port).await
    }

    /// Kills it, and starts another one that has nothing.
    async fn start_anew(mut self) -> Self {
        self.process.kill().await.unwrap();
        Self::start(self.port).await
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }
}

/// Waits until something is so.
async fn eventually(what: &str, is_so: impl AsyncFn() -> bool) {
    let waits = async {
        while !is_so().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(60), waits).await.unwrap_or_else(|_| panic!("never: {what}"));
}

fn publish(clock: &Clock, node: NodeId, number: u64) -> Envelope {
    let message = NewMessage::new("bot", Address::channel("news"));
    let (stamp, command) = (clock.stamp(), Command::Publish(vec![message]));
    Envelope { node, number, stamp, command, repeat: None }
}

/// The envelopes by which a node begins epochs.
fn begins(node: NodeId, clock: Arc<Clock>) -> impl Fn(Epoch, bool) -> Envelope + Send + Sync {
    move |above, alone| {
        let command = Command::Begin { epoch: clock::epoch(above), alone };
        Envelope { node, number: 0, stamp: clock.stamp(), command, repeat: None }
    }
}

/// What a node knows.
struct Known {
    state: State,
    /// What it applied: node, number, and the digest after it.
    applied: Vec<(NodeId, u64, u64)>,
    standing: Standing,
    /// What was told of its envelopes that were not given out.
    undone: Vec<(u64, Result<Fate, Refused>)>,
    /// How many epochs it began.
    begun: usize,
}

/// A node with its driver.
struct Node {
    id: NodeId,
    clock: Arc<Clock>,
    envelopes: mpsc::Sender<Envelope>,
    known: Arc<Mutex<Known>>,
    _tasks: JoinSet<()>,
}

impl Node {
    fn start(redis: &Redis, id: u64) -> Self {
        let id = NodeId::new(id);
        let clock = Arc::new(Clock::going_on_from(Moment::default()));
        let begins = begins(id, Arc::clone(&clock));
        let (driver, mut ends) =
            Driver::new(id, &redis.url(), "test", Settings::default(), Order::default(), begins)
                .unwrap();
        let state = State::new(Rules::default()).for_node(id);
        let standing = Standing::Away;
        let (applied, undone, begun) = (Vec::new(), Vec::new(), 0);
        let known = Arc::new(Mutex::new(Known { state, applied, standing, undone, begun }));
        let mut tasks = JoinSet::new();
        tasks.spawn(driver.run());
        let (shared, snapshots) = (Arc::clone(&known), ends.snapshots);
        tasks.spawn(async move {
            while let Some(told) = ends.told.recv().await {
                let snapshot = {
                    let mut known = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    known.hear(id, told)
                };
                if let Some(snapshot) = snapshot {
                    snapshots.send(snapshot).await.unwrap();
                }
            }
        });
        Self { id, clock, envelopes: ends.envelopes, known, _tasks: tasks }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn follows(&self) {
        let follows = async || self.known().standing == Standing::Following;
        eventually("the node follows", follows).await;
    }

    async fn publish(&self, numbers: std::ops::RangeInclusive<u64>) {
        for number in numbers {
            self.envelopes.send(publish(&self.clock, self.id, number)).await.unwrap();
        }
    }
}

impl Known {
    fn hear(&mut self, node: NodeId, told: Told) -> Option<(Position, Bytes)> {
        match told {
            Told::Entry(position, entry) => {
                let envelope = channelstream_core::state::stored::decode(&entry.bytes).unwrap();
                if self.state.apply(envelope).is_new && entry.number > 0 {
                    self.applied.push((entry.node, entry.number, self.state.digest()));
                }
                assert_eq!(self.state.order().position(), position);
            }
            Told::Restart(state) => self.state = state.for_node(node),
            Told::Fate(number, fate) => self.undone.push((number, Ok(fate))),
            Told::Refused(number, refused) => self.undone.push((number, Err(refused))),
            Told::Snapshot => {
                let snapshot = self.state.snapshot().into();
                return Some((self.state.order().position(), snapshot));
            }
            Told::Standing(standing) => self.standing = standing,
            Told::Notice(notice) => {
                self.begun += usize::from(matches!(notice, Notice::Begins { .. }));
            }
        }
        None
    }

    fn has(&self, node: NodeId, number: u64) -> bool {
        self.state.order().has(node, number)
    }
}

#[tokio::test]
async fn nodes_share_one_order_and_bring_back_what_redis_loses() {
    let redis = Redis::anywhere().await;
    let nodes = [1, 2, 3].map(|id| Node::start(&redis, id));
    for node in &nodes {
        node.follows().await;
    }
    for node in &nodes {
        node.publish(1..=300).await;
    }
    let all_have = async |number: u64| {
        for node in &nodes {
            let has = async || nodes.iter().all(|of| node.known().has(of.id, number));
            eventually("all is applied", has).await;
        }
    };
    all_have(300).await;

    let old = nodes[0].known().state.epoch();
    let redis = redis.start_anew().await;
    let is_back = async || {
        nodes.iter().all(|node| {
            let known = node.known();
            known.standing == Standing::Following && known.state.epoch() > old
        })
    };
    eventually("a later epoch has begun", is_back).await;
    for node in &nodes {
        node.publish(301..=600).await;
    }
    all_have(600).await;

    let newcomer = Node::start(&redis, 4);
    newcomer.follows().await;
    let last = nodes.iter().map(|node| node.known().state.order().position()).max();
    let has_all = async || Some(newcomer.known().state.order().position()) >= last;
    eventually("the newcomer has read all", has_all).await;
    let digest = newcomer.known().state.digest();
    let applied = nodes[0].known().applied.clone();
    assert_eq!(applied.len(), 1800);
    for node in &nodes {
        let known = node.known();
        assert_eq!(known.state.digest(), digest);
        assert_eq!(known.applied, applied);
        assert!(known.undone.is_empty(), "{:?}", known.undone);
    }
    let begun = nodes.iter().map(|node| node.known().begun).sum::<usize>();
    assert_eq!(begun, 2, "one epoch of each Redis");
}

/// A line of a test's own.
async fn line(redis: &Redis, node: u64) -> (LineTask, mpsc::Receiver<(u64, Line, Heard)>) {
    let client = Client::open(redis.url()).unwrap();
    let connection = client.get_multiplexed_async_connection().await.unwrap();
    let (hears, heard) = mpsc::channel(100);
    let (id, clock) = (NodeId::new(node), Arc::new(Clock::going_on_from(Moment::default())));
    let task = LineTask {
        line: Line::Append,
        session: 1,
        node: id,
        connection,
        keys: Keys::new("test"),
        begins: Arc::new(begins(id, clock)),
        heard: hears,
    };
    (task, heard)
}

#[tokio::test]
async fn redis_begins_an_epoch_only_where_it_was_seen_to_end() {
    let redis = Redis::anywhere().await;
    let (mut line, _heard) = line(&redis, 1).await;
    let Answer::Met { run, view } = line.carry_out(Request::Meet).await.unwrap() else {
        panic!("it was met")
    };
    assert_eq!(view, View::default());

    let clock = Clock::going_on_from(Moment::default());
    let entry = |number| Entry::of(&publish(&clock, NodeId::new(1), number));
    // Nothing is appended or put back where there is nothing.
    let epoch = Epoch::new(5);
    let append = Request::Append { epoch, entry: entry(1) };
    let answer = line.carry_out(append).await.unwrap();
    assert!(matches!(answer, Answer::Appended(Appended::Refused)));
    let nowhere = Position { epoch, number: 0 };
    let entries = vec![(Position { epoch, number: 1 }, entry(1))];
    line.carry_out(Request::PutBack { after: nowhere, entries }).await.unwrap();

    let state = State::new(Rules::default());
    let beginning = Beginning {
        seen: None,
        end: None,
        run: run.clone(),
        above: Epoch::default(),
        after: Position::default(),
        epochs: Vec::new(),
        alone: true,
        instead: Some(state.snapshot().into()),
    };
    let other_end = Beginning { end: Some(nowhere), ..beginning.clone() };
    let other_head = Beginning { seen: Some(epoch), ..beginning.clone() };
    for (beginning, wanted) in [
        (other_end, false),
        (other_head, false),
        (beginning.clone(), true),
        (beginning.clone(), false),
    ] {
        let answer = line.carry_out(Request::Begin(Box::new(beginning))).await.unwrap();
        assert!(matches!(answer, Answer::Begun { is_done } if is_done == wanted));
    }
    let Answer::Met { view, .. } = line.carry_out(Request::Meet).await.unwrap() else {
        panic!("it was met")
    };
    let head = view.head.unwrap();
    let begun = Position { epoch: head.epoch, number: 0 };
    assert_eq!((head.run, view.end), (run, Some(begun)));
    assert_eq!(head.epochs, [(head.epoch, Position::default())]);
    let Answer::Loaded(Some((order, _))) = line.carry_out(Request::Load).await.unwrap() else {
        panic!("there is a snapshot")
    };
    assert_eq!(order, Order::default());

    // Entries follow each other, also those that are put back.
    let append = Request::Append { epoch: head.epoch, entry: entry(1) };
    let answer = line.carry_out(append).await.unwrap();
    assert!(matches!(answer, Answer::Appended(Appended::Done)));
    let older = Request::Append { epoch: Epoch::new(head.epoch.get() - 1), entry: entry(2) };
    let answer = line.carry_out(older).await.unwrap();
    assert!(matches!(answer, Answer::Appended(Appended::Refused)));
    let at = |number| Position { epoch: head.epoch, number };
    for (after, number) in [(0, 2), (1, 2), (1, 3), (2, 3)] {
        let entries = vec![(at(number), entry(number))];
        line.carry_out(Request::PutBack { after: at(after), entries }).await.unwrap();
    }
    let read = Request::Read { after: Position::default(), waits: false };
    let Answer::Entries(entries) = line.carry_out(read).await.unwrap() else {
        panic!("it was read")
    };
    let found: Vec<_> = entries.iter().map(|(position, entry)| (*position, entry.number)).collect();
    assert_eq!(found, [(at(0), 0), (at(1), 1), (at(2), 2), (at(3), 3)]);

    // A newer snapshot takes the place of an older one, and the journal is cut behind that one.
    let mut state = State::new(Rules::default());
    for (_, entry) in &entries[..2] {
        state.apply(channelstream_core::state::stored::decode(&entry.bytes).unwrap());
    }
    for (epoch, position) in [(head.epoch, at(1)), (Epoch::new(1), at(2)), (head.epoch, at(0))] {
        let snapshot = state.snapshot().into();
        line.carry_out(Request::Save { epoch, position, snapshot }).await.unwrap();
    }
    let Answer::Loaded(Some((order, _))) = line.carry_out(Request::Load).await.unwrap() else {
        panic!("there is a snapshot")
    };
    assert_eq!(order.position(), at(1));
}

#[tokio::test]
async fn claims_are_of_one_run_and_end() {
    let redis = Redis::anywhere().await;
    let (mut one, _heard) = line(&redis, u64::MAX).await;
    let (mut other, _heard) = line(&redis, 2).await;
    let position = Position { epoch: Epoch::new(1_800_000_000_000_000), number: 7 };
    let claim = |run: &str| Request::Claim { run: Run::new(run), position };
    let claims = |answer| match answer {
        Answer::Claims { claims, .. } => claims,
        _ => panic!("they are claims"),
    };
    assert_eq!(claims(one.carry_out(claim("a b")).await.unwrap()), [(one.node, position)]);
    assert_eq!(claims(other.carry_out(claim("b")).await.unwrap()), [(other.node, position)]);
    let both = claims(other.carry_out(claim("a b")).await.unwrap());
    assert_eq!(both.len(), 2);
    let is_over = async || {
        let (mut other, _heard) = line(&redis, 2).await;
        claims(other.carry_out(claim("a b")).await.unwrap()) == [(other.node, position)]
    };
    eventually("the claim of the one is over", is_over).await;
}
