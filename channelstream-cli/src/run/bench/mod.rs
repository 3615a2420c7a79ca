//! `bench`: whether one's own installation delivers each message to everybody, and how soon.

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

/// Deliveries at most: the time that each took is kept.
const MOST: u64 = 10_000_000;
/// Requests at a time, while connections come and go.
const TOGETHER: usize = 16;
/// Without any delivery after the last message: what is missing then is lost.
const SILENCE: Duration = Duration::from_secs(3);
/// After the last delivery: what comes double, comes now.
const AFTER: Duration = Duration::from_millis(200);
const PROGRESS: Duration = Duration::from_millis(200);
/// Who listens and says it all: the server remembers users for long, so it is one. Channels begin
/// with the same name.
const USER: &str = "channelstream-bench";
/// How long the server may take to end all connections.
const FAREWELL: Duration = Duration::from_secs(10);

/// What is to be done.
struct Plan {
    client: Client,
    origin: Origin,
    channel: String,
    /// One connection for each listener.
    conn_ids: Vec<Uuid>,
    messages: u64,
    rate: u32,
    size: usize,
    progress: Progress,
    /// From when on times are counted.
    epoch: Instant,
}

/// How far it is.
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
        report = with_progress(&plan, args, course(&plan)) => report,
        () = interrupt.heard() => Err(anyhow::anyhow!("interrupted").into()),
        () = reader.gone(), if !args.output.quiet => Err(reader::failure()),
    };
    // A second time means: at once. Connections that nobody listens on end by themselves.
    tokio::select! {
        () = leave(&plan) => {}
        () = interrupt.heard() => {}
    }
    outcome?.tell(args.output)
}

impl Plan {
    fn new(access: &AccessArgs, args: &BenchArgs) -> Result<Self, Failure> {
        let milliseconds = u64::try_from(args.r#for.as_millis()).unwrap_or(u64::MAX);
        let messages = (u64::from(args.rate).saturating_mul(milliseconds) / 1000).max(1);
        if messages.saturating_mul(args.listeners.into()) > MOST {
            return Err(Failure::usage(format!("these are more than {MOST} deliveries"))
                .with_hint("take fewer --listeners, a lower --rate, or a shorter time (--for)"));
        }
        let (signer, origin) = access::signer(access)?;
        let client = access::builder(access, &access::url(access)?)?.signer(signer);
        // What is sent twice would be heard twice.
        let client = client.retries(RetryPolicy::never()).build();
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

    /// A moment, in microseconds.
    fn micros(&self, moment: Instant) -> u64 {
        let time = moment.saturating_duration_since(self.epoch);
        u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
    }
}

/// Everything from the first connection to the last delivery.
async fn course(plan: &Arc<Plan>) -> Result<Report, Failure> {
    let listeners = Listeners::open(plan).await?;
    let (begun, before) = (Instant::now(), cpu_time());
    let sent = sending::send(plan).await?;
    let last = wait(plan, sent * plan.conn_ids.len() as u64).await;
    let own = OwnTime::since(begun, before);
    sleep(AFTER).await;
    let heard = listeners.end().await?;
    Ok(Report::new(plan, sent, last - begun, heard, own))
}

/// Waits until so many deliveries have come, or none comes any more; when the last one came.
async fn wait(plan: &Plan, owed: u64) -> Instant {
    let mut last = (Instant::now(), plan.progress.deliveries());
    while last.1 < owed && last.0.elapsed() < SILENCE {
        sleep(Duration::from_millis(5)).await;
        let deliveries = plan.progress.deliveries();
        if deliveries > last.1 {
            last = (Instant::now(), deliveries);
        }
    }
    last.0
}

/// Ends all connections, those that were never made among them.
async fn leave(plan: &Plan) {
    let room = Arc::new(Semaphore::new(TOGETHER));
    let mut leaving = JoinSet::new();
    for conn_id in plan.conn_ids.iter().copied() {
        let (client, room) = (plan.client.clone(), Arc::clone(&room));
        leaving.spawn(async move {
            let _turn = room.acquire().await;
            // If it fails, the connection ends by itself after a while.
            let _ = client.disconnect(conn_id).await;
        });
    }
    let left = async {
        while leaving.join_next().await.is_some() {}
        // A server that does not know this lets the empty channel expire.
        let _ = plan.client.delete_channels(&DeleteChannels::new([&plan.channel])).await;
    };
    let _ = timeout(FAREWELL, left).await;
}

/// Does the work, and says on a terminal how far it is.
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
