//! `bench`: measures whether an installation delivers every message to every listener, and how fast.

mod listening;
mod report;
mod sending;

use std::future::Future;
use std::io::{IsTerminal as _, Write as _, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use channelstream_client::{Client, DeleteChannels, RetryPolicy, Uuid};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use self::listening::Listeners;
use self::report::{OwnTime, Report, cpu_time};
use crate::access::{self, Origin};
use crate::args::{AccessArgs, BenchArgs};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::reader::{self, Reader};

/// The largest number of deliveries, since the latency of each is kept in memory.
const MAX_DELIVERIES: u64 = 10_000_000;
/// The number of concurrent requests while connections are created and ended.
const TOGETHER: usize = 16;
/// The time without a delivery after which missing messages count as lost.
const SILENCE: Duration = Duration::from_secs(3);
/// The time after the last delivery in which duplicates may still arrive.
const AFTER: Duration = Duration::from_millis(200);
/// The time between updates of the progress line.
const PROGRESS: Duration = Duration::from_millis(200);
/// The user that listens and sends, and the prefix of channel names. It is a single user because the
/// server remembers users for long.
const USER: &str = "channelstream-bench";
/// The time limit for ending all connections.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The parameters of a run, and its progress.
struct Plan {
    client: Client,
    origin: Origin,
    channel: String,
    /// The ids of the connections, one for each listener.
    conn_ids: Vec<Uuid>,
    messages: u64,
    rate: u32,
    size: usize,
    progress: Progress,
    /// The zero point of all times.
    epoch: Instant,
}

/// The progress of a run.
#[derive(Debug, Default)]
struct Progress {
    opened: AtomicU64,
    sent: AtomicU64,
    deliveries: AtomicU64,
}

impl Progress {
    fn deliveries(&self) -> u64 {
        self.deliveries.load(Ordering::Relaxed)
    }
}

pub(super) async fn measure(access: &AccessArgs, args: &BenchArgs) -> Result<(), Failure> {
    let plan = Arc::new(Plan::new(access, args)?);
    let (mut interrupt, mut reader) = (Interrupt::new()?, Reader::new());
    let outcome = tokio::select! {
        report = with_progress(&plan, args, run(&plan)) => report,
        () = interrupt.received() => Err(anyhow::anyhow!("interrupted").into()),
        () = reader.closed(), if !args.output.quiet => Err(reader::failure()),
    };
    // A second interrupt ends at once; connections without a listener expire by themselves.
    tokio::select! {
        () = leave(&plan) => {}
        () = interrupt.received() => {}
    }
    outcome?.print(args.output)
}

impl Plan {
    fn new(access: &AccessArgs, args: &BenchArgs) -> Result<Self, Failure> {
        let milliseconds = u64::try_from(args.r#for.as_millis()).unwrap_or(u64::MAX);
        let messages = (u64::from(args.rate).saturating_mul(milliseconds) / 1000).max(1);
        if messages.saturating_mul(args.listeners.into()) > MAX_DELIVERIES {
            return Err(Failure::usage(format!("more than {MAX_DELIVERIES} deliveries"))
                .with_hint("use fewer --listeners, a lower --rate, or a shorter time (--for)"));
        }
        let (signing, origin) = access::signing(access)?;
        let client = signing.apply(access::builder(access, &access::url(access)?)?);
        // A repeated request would be measured as one, and without repeats a key has no use.
        let client = client.retries(RetryPolicy::never()).idempotency_keys(false).build();
        let client = client.map_err(|error| Failure::of_client(error, &origin))?;
        Ok(Self {
            client,
            origin,
            channel: format!("{USER}-{}", Uuid::new_v4()),
            conn_ids: (0..args.listeners).map(|_| Uuid::new_v4()).collect(),
            messages,
            rate: args.rate,
            size: args.size as usize,
            progress: Progress::default(),
            epoch: Instant::now(),
        })
    }

    /// Returns a time in microseconds since the epoch.
    fn micros(&self, moment: Instant) -> u64 {
        let time = moment.saturating_duration_since(self.epoch);
        u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
    }
}

/// Runs the benchmark, from the first connection to the last delivery.
async fn run(plan: &Arc<Plan>) -> Result<Report, Failure> {
    let listeners = Listeners::open(plan).await?;
    let (started, before) = (Instant::now(), cpu_time());
    let sent = sending::send(plan).await?;
    let last = wait(plan, sent * plan.conn_ids.len() as u64).await;
    let own = OwnTime::since(started, before);
    sleep(AFTER).await;
    let received = listeners.end().await?;
    Ok(Report::new(plan, sent, last - started, received, own))
}

/// Waits until this many deliveries have arrived, or no more arrive; returns the time of the last.
async fn wait(plan: &Plan, expected: u64) -> Instant {
    let mut last = (Instant::now(), plan.progress.deliveries());
    while last.1 < expected && last.0.elapsed() < SILENCE {
        sleep(Duration::from_millis(5)).await;
        let deliveries = plan.progress.deliveries();
        if deliveries > last.1 {
            last = (Instant::now(), deliveries);
        }
    }
    last.0
}

/// Ends all connections, including those that may not have been created.
async fn leave(plan: &Plan) {
    let room = Arc::new(Semaphore::new(TOGETHER));
    let mut leaving = JoinSet::new();
    for conn_id in plan.conn_ids.iter().copied() {
        let (client, room) = (plan.client.clone(), Arc::clone(&room));
        leaving.spawn(async move {
            let _permit = room.acquire().await;
            // If this fails, the connection expires by itself.
            let _ = client.disconnect(conn_id).await;
        });
    }
    let left = async {
        while leaving.join_next().await.is_some() {}
        // A server without this endpoint lets the empty channel expire.
        let _ = plan.client.delete_channels(DeleteChannels::new([&plan.channel])).await;
    };
    let _ = timeout(DISCONNECT_TIMEOUT, left).await;
}

/// Does the work, and shows its progress on a terminal.
async fn with_progress<T>(plan: &Plan, args: &BenchArgs, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    let shows = !args.output.quiet && stderr().is_terminal();
    let done = loop {
        tokio::select! {
            done = &mut work => break done,
            () = sleep(PROGRESS), if shows => {
                let Progress { opened, sent, .. } = &plan.progress;
                let (opened, sent) =
                    (opened.load(Ordering::Relaxed), sent.load(Ordering::Relaxed));
                let all = plan.conn_ids.len();
                let text = if sent == 0 {
                    format!("{opened} of {all} listeners")
                } else {
                    let (all, deliveries) = (plan.messages, plan.progress.deliveries());
                    format!("{sent} of {all} messages, {deliveries} deliveries")
                };
                let _ = write!(stderr(), "\r\x1b[K{text}");
            }
        }
    };
    if shows {
        let _ = write!(stderr(), "\r\x1b[K");
    }
    done
}
