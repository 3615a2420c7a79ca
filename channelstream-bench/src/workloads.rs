//! The workloads: their listeners, their messages and their metrics.

use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Map, Value, json};

use crate::connection::Connection;
use crate::listeners::{DeliveryErrors, Listeners};
use crate::peer::{Kind, Peer, name};
use crate::phase::{self, Load, Pace, Phase};
use crate::report::{Ratio, Sample, spread};
use crate::transport::Transport;

/// A workload: its name, description, kinds of peers, and function.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) kinds: &'static [Kind],
    pub(crate) run: fn(Kind, &PathBuf) -> Result<Sample>,
}

const ALL: &[Kind] = &[Kind::Limit1, Kind::Log, Kind::Server];
const SERVER: &[Kind] = &[Kind::Server];
const JOURNALS: &[Kind] = &[Kind::Limit1, Kind::Log, Kind::Server, Kind::File, Kind::Redis];

/// All workloads, in the order in which they run.
pub(crate) const WORKLOADS: [Workload; 16] = [
    Workload { name: "A", about: "1,000 listeners, 32 in flight", kinds: ALL, run: fan_out },
    Workload { name: "A1", about: "the same, one in flight", kinds: ALL, run: one_in_flight },
    Workload { name: "A2", about: "the same, two in flight", kinds: ALL, run: two_in_flight },
    Workload { name: "K", about: "A with 10 messages in a request", kinds: ALL, run: batches },
    Workload {
        name: "B",
        about: "500 channels of 2 listeners",
        kinds: JOURNALS,
        run: many_channels,
    },
    Workload {
        name: "B32",
        about: "the same, 32 publishers at once",
        kinds: JOURNALS,
        run: many_publishers,
    },
    Workload { name: "C", about: "1,000 and 10,000 idle sockets", kinds: SERVER, run: idle },
    Workload { name: "D", about: "100 listeners, 100 messages/s", kinds: ALL, run: paced },
    Workload {
        name: "E",
        about: "100 listeners of 16 KiB messages, one stalls",
        kinds: &[Kind::Limit1, Kind::Server],
        run: stalled,
    },
    Workload {
        name: "T",
        about: "200 listeners by websocket, with TLS, by event stream and by long poll",
        kinds: SERVER,
        run: transports,
    },
    Workload {
        name: "connect",
        about: "/connect at 100 and at 10,000 connections",
        kinds: SERVER,
        run: connect,
    },
    Workload {
        name: "channels",
        about: "a publish to 2 beside 10, 10,000 and 100,000 channels",
        kinds: SERVER,
        run: channels,
    },
    Workload {
        name: "users",
        about: "a publish to 2 beside none and 100,000 users",
        kinds: SERVER,
        run: users,
    },
    Workload {
        name: "memory",
        about: "10,000 listeners come and go, twice",
        kinds: SERVER,
        run: memory,
    },
    Workload {
        name: "snapshot",
        about: "questions while 100,000 connections are brought into a snapshot",
        kinds: &[Kind::Server, Kind::File, Kind::Redis],
        run: snapshot,
    },
    Workload {
        name: "restart",
        about: "a restart with 1,000,000 connections",
        kinds: &[Kind::File],
        run: restart,
    },
];

const PER_DELIVERY: &str = "cpu_us_per_delivery";
const PER_PUBLISH: &str = "cpu_us_per_publish";
const P99: &str = "p99_ms";
const WEBSOCKET: &str = "cpu_us_websocket";
const TLS: &str = "cpu_us_tls";
const EVENT_STREAM: &str = "cpu_us_event_stream";
const LONG_POLL: &str = "cpu_us_long_poll";

/// The ratios to report. Those of CPU time compare with the yardstick that does the same work.
pub(crate) const RATIOS: [Ratio; 22] = [
    at_most("A", PER_DELIVERY, Kind::Log, PER_DELIVERY, 1.3),
    at_most("A", P99, Kind::Log, P99, 2.5),
    // With one message in flight no write can be saved: each frame is a write of its own.
    at_most("A1", PER_DELIVERY, Kind::Limit1, PER_DELIVERY, 1.3),
    at_most("A2", PER_DELIVERY, Kind::Limit1, PER_DELIVERY, 0.8),
    at_most("K", PER_DELIVERY, Kind::Log, PER_DELIVERY, 1.5),
    at_most("B", PER_PUBLISH, Kind::Limit1, PER_PUBLISH, 1.5),
    Ratio { ours: Kind::File, ..at_most("B", PER_PUBLISH, Kind::Server, PER_PUBLISH, 1.15) },
    Ratio { ours: Kind::File, ..at_most("B32", PER_PUBLISH, Kind::Server, PER_PUBLISH, 1.15) },
    Ratio { ours: Kind::Redis, ..at_most("B32", PER_PUBLISH, Kind::Server, PER_PUBLISH, 1.5) },
    at_most("D", P99, Kind::Limit1, P99, 1.3),
    Ratio {
        at_least: true,
        ..at_most("E", "others_per_s_stalled", Kind::Server, "others_per_s", 0.9)
    },
    at_most("T", TLS, Kind::Server, WEBSOCKET, 1.5),
    at_most("T", EVENT_STREAM, Kind::Server, WEBSOCKET, 1.4),
    at_most("T", LONG_POLL, Kind::Server, WEBSOCKET, 2.0),
    at_most("connect", "cpu_us_at_10000", Kind::Server, "cpu_us_at_100", 1.2),
    at_most("channels", "cpu_us_at_10000", Kind::Server, "cpu_us_at_10", 1.2),
    at_most("channels", "cpu_us_at_100000", Kind::Server, "cpu_us_at_10", 1.2),
    at_most("users", "cpu_us_at_100000", Kind::Server, "cpu_us_at_0", 1.2),
    at_most("memory", "mb_after_second", Kind::Server, "mb_after_first", 1.1),
    at_most("memory", "mb_after_second", Kind::Server, "mb_at_start", 1.1),
    Ratio { ours: Kind::File, ..at_most("snapshot", "p99_ms", Kind::Server, "p99_ms", 2.0) },
    Ratio { ours: Kind::Redis, ..at_most("snapshot", "p99_ms", Kind::Server, "p99_ms", 2.0) },
];

const fn at_most(
    workload: &'static str,
    metric: &'static str,
    of: Kind,
    base: &'static str,
    bound: f64,
) -> Ratio {
    Ratio { workload, metric, ours: Kind::Server, of, base, bound, at_least: false }
}

/// The number of messages before the measured ones, so that all buffers have grown.
const WARM_UP: usize = 20;

const TEXT: usize = 200;

fn fan_out(kind: Kind, server: &PathBuf) -> Result<Sample> {
    one_channel(kind, server, 600, 32, 1)
}

fn one_in_flight(kind: Kind, server: &PathBuf) -> Result<Sample> {
    one_channel(kind, server, 300, 1, 1)
}

fn two_in_flight(kind: Kind, server: &PathBuf) -> Result<Sample> {
    one_channel(kind, server, 300, 2, 1)
}

fn batches(kind: Kind, server: &PathBuf) -> Result<Sample> {
    one_channel(kind, server, 2000, 32, 10)
}

fn one_channel(
    kind: Kind,
    server: &PathBuf,
    messages: usize,
    in_flight: usize,
    batch: usize,
) -> Result<Sample> {
    let pace = Pace::InFlight(in_flight);
    let (phase, mut listeners) =
        saturated(kind, server, [1000, 1, WARM_UP, messages], pace, batch)?;
    let mut metrics = vec![
        (PER_DELIVERY, each(phase.cpu, phase.deliveries)),
        ("deliveries_per_s", per_second(phase.deliveries, phase.time)),
    ];
    metrics.extend(latencies(&mut listeners.latencies));
    Ok(Sample { metrics, errors: listeners.errors })
}

fn many_channels(kind: Kind, server: &PathBuf) -> Result<Sample> {
    publishes_to_two(kind, server, Pace::InFlight(32), 5000)
}

fn many_publishers(kind: Kind, server: &PathBuf) -> Result<Sample> {
    publishes_to_two(kind, server, Pace::Publishers(32), 20_000)
}

fn publishes_to_two(kind: Kind, server: &PathBuf, pace: Pace, count: usize) -> Result<Sample> {
    let (phase, mut listeners) = saturated(kind, server, [1000, 500, 500, count], pace, 1)?;
    let mut metrics = vec![
        (PER_PUBLISH, each(phase.cpu, count)),
        ("publishes_per_s", per_second(count, phase.time)),
    ];
    metrics.extend(latencies(&mut listeners.latencies));
    Ok(Sample { metrics, errors: listeners.errors })
}

/// Opens listeners in channels, publishes `first` messages to warm up, then the measured ones.
fn saturated(
    kind: Kind,
    server: &PathBuf,
    [listeners, channels, first, messages]: [usize; 4],
    pace: Pace,
    batch: usize,
) -> Result<(Phase, Listeners)> {
    let peer = Peer::start(kind, server, &[])?;
    let mut all = Listeners::new(channels, first + messages)?;
    all.open(&peer, listeners)?;
    let warm = Load { ids: 0..first, size: TEXT, batch, pace: Pace::InFlight(8.max(2 * batch)) };
    phase::run(&peer, &mut all, &warm)?;
    all.latencies.clear();
    let ids = first..first + messages;
    let load = Load { ids, size: TEXT, batch, pace };
    Ok((phase::run(&peer, &mut all, &load)?, all))
}

fn idle(kind: Kind, server: &PathBuf) -> Result<Sample> {
    let mut metrics = Vec::new();
    let mut errors = DeliveryErrors::default();
    for (count, bytes, cpu, busy) in [
        (1000, "bytes_each_of_1000", "cpu_us_per_open_of_1000", "cpu_percent_idle_1000"),
        (10_000, "bytes_each_of_10000", "cpu_us_per_open_of_10000", "cpu_percent_idle_10000"),
    ] {
        let peer = Peer::start(kind, server, &[])?;
        let mut listeners = Listeners::new(1, 0)?;
        let (memory, spent) = (peer.process.memory()?, peer.process.cpu()?);
        listeners.open(&peer, count)?;
        metrics.push((cpu, each(peer.process.cpu()? - spent, count)));
        // Wait for the first heartbeat of each listener.
        listeners.idle(Duration::from_secs(6))?;
        let spent = peer.process.cpu()?;
        listeners.idle(Duration::from_secs(5))?;
        metrics.push((busy, (peer.process.cpu()? - spent).as_secs_f64() / 5.0 * 100.0));
        let grown = peer.process.memory()?.saturating_sub(memory);
        metrics.push((bytes, grown as f64 / count as f64));
        errors += listeners.errors;
    }
    Ok(Sample { metrics, errors })
}

fn paced(kind: Kind, server: &PathBuf) -> Result<Sample> {
    const MESSAGES: usize = 1000;
    let peer = Peer::start(kind, server, &[])?;
    let mut listeners = Listeners::new(1, WARM_UP + MESSAGES)?;
    listeners.open(&peer, 100)?;
    let warm = Load { ids: 0..WARM_UP, size: TEXT, batch: 1, pace: Pace::InFlight(8) };
    phase::run(&peer, &mut listeners, &warm)?;
    listeners.latencies.clear();
    let ids = WARM_UP..WARM_UP + MESSAGES;
    let load = Load { ids, size: TEXT, batch: 1, pace: Pace::PerSecond(100) };
    let phase = phase::run(&peer, &mut listeners, &load)?;
    let mut metrics = vec![(PER_DELIVERY, each(phase.cpu, phase.deliveries))];
    metrics.extend(latencies(&mut listeners.latencies));
    Ok(Sample { metrics, errors: listeners.errors })
}

fn stalled(kind: Kind, server: &PathBuf) -> Result<Sample> {
    const MESSAGES: usize = 1280;
    const SLOW: usize = 50;
    /// A channel stores the last hundred messages. From then on each message replaces another.
    const FIRST: usize = 200;
    let peer = Peer::start(kind, server, &[])?;
    let mut listeners = Listeners::new(1, FIRST + 2 * MESSAGES)?;
    listeners.open(&peer, 100)?;
    let run = |listeners: &mut Listeners, first: usize, count: usize| {
        let ids = first..first + count;
        let load = Load { ids, size: 16 * 1024, batch: 1, pace: Pace::InFlight(8) };
        let phase = phase::run(&peer, listeners, &load)?;
        Ok::<_, anyhow::Error>(per_second(phase.deliveries, phase.time))
    };
    run(&mut listeners, 0, FIRST)?;
    let all = run(&mut listeners, FIRST, MESSAGES)?;
    let memory = peer.process.memory()?;
    listeners.stall(SLOW)?;
    let received = listeners.received(SLOW);
    let others = run(&mut listeners, FIRST + MESSAGES, MESSAGES)?;
    let grown = peer.process.memory()?.saturating_sub(memory);
    // The messages that were in flight to the stalled listener must still arrive in order.
    listeners.resume(SLOW)?;
    listeners.idle(Duration::from_secs(1))?;
    let metrics = vec![
        // Of 100 and of 99 listeners.
        ("others_per_s", all),
        ("others_per_s_stalled", others),
        ("mb_grown", megabytes(grown)),
        ("late_messages_of_the_stalled", f64::from(listeners.received(SLOW) - received)),
    ];
    Ok(Sample { metrics, errors: listeners.errors })
}

/// The number of rounds in which servers with different contents are measured in turn, so that other
/// load on the machine affects all alike. The first round is not counted.
const ROUNDS: usize = 8;

/// Measures some servers in turn and returns the median of each. `measure` receives the indexes of
/// server and round.
fn by_turns(
    names: &[&'static str],
    mut measure: impl FnMut(usize, usize) -> Result<f64>,
) -> Result<Vec<(&'static str, f64)>> {
    let mut measured = vec![Vec::new(); names.len()];
    for round in 0..ROUNDS {
        for (server, values) in measured.iter_mut().enumerate() {
            values.push(measure(server, round)?);
        }
    }
    let median = |values: &Vec<f64>| spread(values[1..].iter().copied()).0;
    Ok(names.iter().copied().zip(measured.iter().map(median)).collect())
}

fn transports(kind: Kind, server: &PathBuf) -> Result<Sample> {
    const LISTENERS: usize = 200;
    const MESSAGES: usize = 500;
    let mut servers = Vec::new();
    for transport in
        [Transport::WebSocket, Transport::Tls, Transport::EventStream, Transport::LongPoll]
    {
        let peer = Peer::start_for(transport, kind, server)?;
        let mut listeners = Listeners::new(1, ROUNDS * MESSAGES)?;
        listeners.open_by(transport, &peer, LISTENERS)?;
        servers.push((peer, listeners));
    }
    let metrics = by_turns(&[WEBSOCKET, TLS, EVENT_STREAM, LONG_POLL], |server, round| {
        let (peer, listeners) = &mut servers[server];
        let ids = round * MESSAGES..(round + 1) * MESSAGES;
        let load = Load { ids, size: TEXT, batch: 1, pace: Pace::InFlight(32) };
        let phase = phase::run(peer, listeners, &load)?;
        Ok(each(phase.cpu, phase.deliveries))
    })?;
    let mut errors = DeliveryErrors::default();
    servers.iter().for_each(|(_, listeners)| errors += listeners.errors);
    Ok(Sample { metrics, errors })
}

fn connect(kind: Kind, server: &PathBuf) -> Result<Sample> {
    const EXISTING: [usize; 2] = [100, 10_000];
    const CALLS: usize = 100;
    /// The time before connections without a listener expire.
    const KEPT: Duration = Duration::from_secs(15);
    let begin = Instant::now();
    let mut servers = Vec::new();
    for existing in EXISTING {
        let peer = Peer::start(kind, server, &[])?;
        let mut connection = peer.open()?;
        connect_many(&peer, &mut connection, 0..existing, || Ok(()))?;
        servers.push((peer, connection));
    }
    let metrics = by_turns(&["cpu_us_at_100", "cpu_us_at_10000"], |server, round| {
        let (peer, connection) = &mut servers[server];
        let before = peer.process.cpu()?;
        for call in 0..CALLS {
            let number = EXISTING[server] + round * CALLS + call;
            connection.call(&peer.connect(number, 0).context("a yardstick has no /connect")?)?;
        }
        Ok(each(peer.process.cpu()? - before, CALLS))
    })?;
    ensure!(begin.elapsed() < KEPT, "this took so long that connections expired meanwhile");
    Ok(Sample { metrics, errors: DeliveryErrors::default() })
}

/// Connects users without waiting for each answer, and calls `between` from time to time.
fn connect_many(
    peer: &Peer,
    connection: &mut Connection,
    numbers: Range<usize>,
    mut between: impl FnMut() -> Result<()>,
) -> Result<()> {
    const AHEAD: usize = 32;
    for first in numbers.clone().step_by(AHEAD) {
        let ahead = first..numbers.end.min(first + AHEAD);
        let requests = ahead.clone().filter_map(|number| peer.connect(number, OTHERS));
        connection.write(&requests.flatten().collect::<Vec<u8>>())?;
        for _ in ahead {
            connection.answer()?;
        }
        between()?;
    }
    Ok(())
}

/// The channel of users without a listener.
const OTHERS: usize = 1;

/// The number of messages to two listeners in one round.
const BESIDE: usize = 500;

fn two_listeners(kind: Kind, server: &PathBuf) -> Result<(Peer, Listeners)> {
    let peer = Peer::start(kind, server, &[])?;
    let mut listeners = Listeners::new(1, ROUNDS * BESIDE)?;
    listeners.open(&peer, 2)?;
    Ok((peer, listeners))
}

/// Measures the CPU time per publish to two listeners, on servers with different other contents.
fn publishes_by_turns(
    names: &[&'static str],
    mut servers: Vec<(Peer, Listeners)>,
) -> Result<Sample> {
    let metrics = by_turns(names, |server, round| {
        let (peer, listeners) = &mut servers[server];
        let ids = round * BESIDE..(round + 1) * BESIDE;
        let load = Load { ids, size: TEXT, batch: 1, pace: Pace::InFlight(32) };
        Ok(each(phase::run(peer, listeners, &load)?.cpu, BESIDE))
    })?;
    let mut errors = DeliveryErrors::default();
    servers.iter().for_each(|(_, listeners)| errors += listeners.errors);
    Ok(Sample { metrics, errors })
}

fn channels(kind: Kind, server: &PathBuf) -> Result<Sample> {
    /// The number of channels in one request.
    const PORTION: usize = 1000;
    let mut servers = Vec::new();
    for others in [10, 10_000, 100_000] {
        let (peer, listeners) = two_listeners(kind, server)?;
        let mut connection = peer.open()?;
        for first in (0..others).step_by(PORTION) {
            let numbers = first..others.min(first + PORTION);
            let names: Map<String, Value> =
                numbers.map(|number| (format!("other{number}"), json!({}))).collect();
            connection.call(&peer.signed("POST", "/channel_config", &names.into()))?;
        }
        servers.push((peer, listeners));
    }
    publishes_by_turns(&["cpu_us_at_10", "cpu_us_at_10000", "cpu_us_at_100000"], servers)
}

fn users(kind: Kind, server: &PathBuf) -> Result<Sample> {
    const USERS: usize = 100_000;
    let empty = two_listeners(kind, server)?;
    let (peer, mut listeners) = two_listeners(kind, server)?;
    let mut connection = peer.open()?;
    // The listeners have the first numbers.
    connect_many(&peer, &mut connection, 10..10 + USERS, || {
        listeners.turn(Duration::ZERO).map(drop)
    })?;
    // Wait until their connections have expired, so that they do not expire during the measurement.
    eventually(&mut listeners, || Ok(members(&peer, &mut connection, OTHERS)? == Some(0)))?;
    let full = (peer, listeners);
    publishes_by_turns(&["cpu_us_at_0", "cpu_us_at_100000"], vec![empty, full])
}

/// Returns the number of connections in a channel, or `None` if there is no such channel.
fn members(peer: &Peer, connection: &mut Connection, channel: usize) -> Result<Option<u64>> {
    let channel = name(channel);
    let info = json!({"channels": [channel], "include_users": false, "include_history": false});
    let answer = connection.call(&peer.signed("POST", "/info", &json!({"info": info})))?;
    let answer: Value = serde_json::from_slice(&answer)?;
    Ok(answer["channels"][channel]["total_connections"].as_u64())
}

fn memory(kind: Kind, server: &PathBuf) -> Result<Sample> {
    const LISTENERS: usize = 10_000;
    // The defaults keep users for a day and channels for three.
    let flags = ["--gc-conns-after", "2", "--gc-users-after", "4", "--gc-channels-after", "4"];
    /// The admin statistics that must become zero.
    const LEFT: [&str; 3] = ["remembered_user_count", "total_connections", "total_channels"];
    let peer = Peer::start(kind, server, &flags)?;
    let mut metrics = vec![("mb_at_start", megabytes(peer.process.memory()?))];
    let mut errors = DeliveryErrors::default();
    for (full, empty) in
        [("mb_of_10000_first", "mb_after_first"), ("mb_of_10000_second", "mb_after_second")]
    {
        let mut listeners = Listeners::new(1, WARM_UP)?;
        listeners.open(&peer, LISTENERS)?;
        let load = Load { ids: 0..WARM_UP, size: TEXT, batch: 1, pace: Pace::InFlight(8) };
        phase::run(&peer, &mut listeners, &load)?;
        metrics.push((full, megabytes(peer.process.memory()?)));
        errors += listeners.errors;
        drop(listeners);
        let mut connection = peer.open()?;
        let mut nobody = Listeners::new(1, 0)?;
        // Wait for the channel first, since the admin statistics list everything.
        eventually(&mut nobody, || Ok(members(&peer, &mut connection, 0)?.is_none()))?;
        eventually(&mut nobody, || {
            let stats = connection.call(&peer.signed("GET", "/admin/admin.json", &Value::Null))?;
            let stats: Value = serde_json::from_slice(&stats)?;
            Ok(LEFT.iter().all(|name| stats[name] == 0))
        })?;
        // The server's allocator returns pages that were not used for ten seconds.
        nobody.idle(Duration::from_secs(15))?;
        metrics.push((empty, megabytes(peer.process.memory()?)));
    }
    Ok(Sample { metrics, errors })
}

/// The flag by which connections without a listener outlive a workload.
const KEEP: [&str; 2] = ["--gc-conns-after", "36000"];

fn snapshot(kind: Kind, server: &PathBuf) -> Result<Sample> {
    const CONNECTIONS: usize = 100_000;
    /// Together more than what makes a snapshot due.
    const MESSAGES: usize = 6000;
    const SIZE: usize = 16 * 1024;
    let peer = Peer::start(kind, server, &KEEP)?;
    let mut connection = peer.open()?;
    connect_many(&peer, &mut connection, 0..CONNECTIONS, || Ok(()))?;
    let before = snapshot_size(&peer, &mut connection)?;
    let mut times = Vec::with_capacity(MESSAGES);
    for id in 0..MESSAGES {
        connection.call(&peer.publish(id..id + 1, 1, SIZE))?;
        // Answered by the loop that owns the state, behind what was published.
        let asked = Instant::now();
        members(&peer, &mut connection, 0)?;
        times.push(u64::try_from(asked.elapsed().as_micros())?);
    }
    let after = snapshot_size(&peer, &mut connection)?;
    ensure!(kind == Kind::Server || after > before, "no snapshot was made");
    let longest = times.iter().copied().max().unwrap_or(0);
    let mut metrics = vec![("longest_ms", longest as f64 / 1e3), ("mb_of_it", megabytes(after))];
    metrics.extend(latencies(&mut times));
    Ok(Sample { metrics, errors: DeliveryErrors::default() })
}

/// Returns the size of the newest snapshot in bytes, 0 if there is none.
fn snapshot_size(peer: &Peer, connection: &mut Connection) -> Result<u64> {
    let stats = connection.call(&peer.signed("GET", "/admin/stats.json", &Value::Null))?;
    let stats: Value = serde_json::from_slice(&stats)?;
    Ok(stats["metrics"]["journal_snapshot_bytes"].as_u64().unwrap_or(0))
}

fn restart(kind: Kind, server: &PathBuf) -> Result<Sample> {
    const CONNECTIONS: usize = 1_000_000;
    let mut peer = Peer::start(kind, server, &KEEP)?;
    let mut connection = peer.open()?;
    connect_many(&peer, &mut connection, 0..CONNECTIONS, || Ok(()))?;
    let before = members(&peer, &mut connection, OTHERS)?;
    let mut seconds = Vec::new();
    for _ in 0..2 {
        let begin = Instant::now();
        peer.restart()?;
        seconds.push(begin.elapsed().as_secs_f64());
        let mut connection = peer.open()?;
        ensure!(members(&peer, &mut connection, OTHERS)? == before, "connections are lost");
    }
    let metrics = vec![("seconds_first", seconds[0]), ("seconds_second", seconds[1])];
    Ok(Sample { metrics, errors: DeliveryErrors::default() })
}

/// Waits until a condition holds, while the listeners continue to read.
fn eventually(
    listeners: &mut Listeners,
    mut condition: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let begin = Instant::now();
    while !condition()? {
        if begin.elapsed() > Duration::from_secs(60) {
            bail!("the condition does not hold after a minute");
        }
        listeners.idle(Duration::from_millis(200))?;
    }
    Ok(())
}

/// Returns the microseconds per item.
fn each(time: Duration, count: usize) -> f64 {
    time.as_secs_f64() * 1e6 / count as f64
}

fn per_second(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Returns the median and the 99th percentile.
fn latencies(micros: &mut [u64]) -> [(&'static str, f64); 2] {
    micros.sort_unstable();
    let place = |percent: usize| micros.get(micros.len() * percent / 100).copied().unwrap_or(0);
    [("p50_ms", place(50) as f64 / 1e3), (P99, place(99) as f64 / 1e3)]
}
