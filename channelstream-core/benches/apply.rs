//! What single steps cost: applying commands, encoding an event, reading a body.

use std::hint::black_box;
use std::time::Duration;

use channelstream_core::protocol::{
    Bounds, Connect, Event, InfoOptions, NewMessage, Timestamp, parse, read_messages,
};
use channelstream_core::state::{
    Appends, CatchUp, Command, ConnectionId, Delivery, Envelope, ListenerId, ListenerKind, Moment,
    NodeId, Outcome, Rules, Stamp, State,
};
use criterion::measurement::{Measurement as _, WallTime};
use criterion::{Bencher, BenchmarkId, Criterion};

const LONG: Duration = Duration::from_secs(1_000_000_000);
const STEP: Duration = Duration::from_millis(1);

/// A state that ends connections after a step when asked to, and never by itself.
struct World {
    state: State,
    now: Moment,
    seed: u128,
}

impl World {
    /// With users `user0` and so on, each with one connection in the channel `room`.
    fn with_connections(count: u64) -> Self {
        let rules = Rules { connection_timeout: LONG, closing_grace: STEP, ..Rules::default() };
        let mut world = Self {
            state: State::new(rules).for_node(NodeId::new(1)),
            now: Moment::default(),
            seed: 0,
        };
        for number in 0..count {
            world.apply(connect(number));
        }
        world
    }

    fn with_listeners(count: u64) -> Self {
        let mut world = Self::with_connections(count);
        for number in 0..count {
            let connection = id(number);
            let listener = ListenerId::new(number);
            world.apply(Command::Open {
                connection,
                listener,
                kind: ListenerKind::Socket,
                catch_up: CatchUp::Deliver,
                appends: Appends::AsEvents,
            });
        }
        world
    }

    fn envelope(&mut self, command: Command) -> Envelope {
        self.seed += 1;
        Envelope {
            node: NodeId::new(1),
            number: 0,
            stamp: Stamp { now: Timestamp::default(), moment: self.now, seed: self.seed },
            command,
            repeat: None,
        }
    }

    fn apply(&mut self, command: Command) -> Outcome {
        let envelope = self.envelope(command);
        self.state.apply(envelope)
    }
}

fn id(number: u64) -> ConnectionId {
    ConnectionId::from_u128(number.into())
}

fn connect(number: u64) -> Command {
    let mut request = Connect::new(format!("user{number}")).channels(["room"]);
    request.info =
        InfoOptions { include_users: false, include_history: false, ..InfoOptions::default() };
    Command::Connect { connection: id(number), request: Box::new(request) }
}

fn message() -> NewMessage {
    let payload = serde_json::json!({"text": "x".repeat(200)});
    NewMessage::to_channel("user0", "room", payload).expect("it is an object")
}

/// What applying one command costs, without what goes before it and after it.
fn only(
    bencher: &mut Bencher<'_>,
    world: &mut World,
    commands: impl Fn(&mut World) -> Envelope,
    after: impl Fn(&mut World),
) {
    bencher.iter_custom(|times| {
        let mut spent = Duration::ZERO;
        for _ in 0..times {
            let envelope = commands(world);
            let begin = WallTime.start();
            let outcome = black_box(world.state.apply(envelope));
            spent += WallTime.end(begin);
            drop(outcome);
            after(world);
        }
        spent
    });
}

fn publish(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("publish to members");
    for members in [1, 1000, 10_000] {
        let mut world = World::with_listeners(members);
        group.bench_function(BenchmarkId::from_parameter(members), |bencher| {
            let command = |world: &mut World| world.envelope(Command::Publish(vec![message()]));
            only(bencher, &mut world, command, |_| {});
        });
    }
    group.finish();
}

/// One more connection beside others, which is gone before the next.
fn connecting(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("connect beside connections");
    for others in [100, 10_000] {
        let mut world = World::with_connections(others);
        group.bench_function(BenchmarkId::from_parameter(others), |bencher| {
            let command = |world: &mut World| world.envelope(connect(others));
            only(bencher, &mut world, command, |world| {
                world.apply(Command::Disconnect(id(others)));
                world.now = world.now.after(2 * STEP);
                world.apply(Command::Tick);
            });
        });
    }
    group.finish();
}

/// The end of a hundred connections at once beside others that stay.
fn collecting(criterion: &mut Criterion) {
    const ENDING: u64 = 100;
    let mut group = criterion.benchmark_group("collect 100 beside connections");
    for others in [100, 10_000] {
        let mut world = World::with_connections(others);
        group.bench_function(BenchmarkId::from_parameter(others), |bencher| {
            let command = |world: &mut World| {
                for number in others..others + ENDING {
                    world.apply(connect(number));
                    world.apply(Command::Disconnect(id(number)));
                }
                world.now = world.now.after(2 * STEP);
                world.envelope(Command::Tick)
            };
            only(bencher, &mut world, command, |world| {
                assert!(
                    !world.state.knows_connection(id(others)),
                    "the connection should be reaped"
                );
            });
        });
    }
    group.finish();
}

fn encode(criterion: &mut Criterion) {
    let outcome = World::with_listeners(1).apply(Command::Publish(vec![message()]));
    let event: Option<Event> = outcome.deliveries.into_iter().find_map(|delivery| match delivery {
        Delivery::Event { event, .. } => Some(event),
        Delivery::End { .. } | Delivery::TakesOver { .. } => None,
    });
    let event = event.expect("a member gets what is published");
    criterion.bench_function("encode an event", |bencher| {
        bencher.iter(|| black_box(&event).encode(false));
    });
}

fn read(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read a body of messages");
    for messages in [1, 10] {
        let body = serde_json::to_vec(&vec![message(); messages]).expect("messages are JSON");
        group.bench_function(BenchmarkId::from_parameter(messages), |bencher| {
            bencher.iter(|| {
                let body = parse(black_box(&body), Bounds::default()).expect("the body is JSON");
                read_messages(&body).expect("the body is without faults")
            });
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    publish(&mut criterion);
    connecting(&mut criterion);
    collecting(&mut criterion);
    encode(&mut criterion);
    read(&mut criterion);
    criterion.final_summary();
}
