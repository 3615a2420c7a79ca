//! Readings: what the parts of the server say of themselves when somebody asks for the metrics.

use channelstream_core::state::{Counts, State};
use tokio::time::Instant;

use crate::app::App;
use crate::clock;
use crate::journal::{Figures, RedisFigures, Standing};
use crate::listener::hub::Backlog;
use crate::metrics::{Readings, Sample, process};
use crate::node;
use crate::wire::Transport;

/// The version of the server, as every outlet reports it.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What the state says.
pub(crate) struct Known {
    events: u64,
    counts: Counts,
    nodes: usize,
    level: u32,
}

impl Known {
    /// Asks the loop that owns the state: one question, whose cost does not grow with the state.
    pub(crate) async fn ask(app: &App) -> Result<Self, node::Error> {
        let question = |state: &State| Self {
            events: state.sequence(),
            counts: state.counts(),
            nodes: state.nodes().count(),
            level: state.level(),
        };
        app.node.look(question).await
    }
}

/// Returns all metrics as they are now. What the state knows is left out if it did not answer.
pub(crate) async fn samples(app: &App, known: Option<Known>) -> Vec<Sample> {
    let journal = app.node.journal();
    let files = journal.figures().map(Figures::sample);
    let redis = journal.redis_figures().map(RedisFigures::sample);
    let counts = known.as_ref().map(|known| &known.counts);
    let standing = journal.standing();
    let (waiting, waiting_time) = app.node.under_way();
    let webhooks = app.webhooks.standing();
    let is_draining = *app.draining.borrow();
    let is_ready = known.is_some() && standing == Standing::Following && !is_draining;
    let Backlog { by_transport, waiting: listeners_waiting, behind, bytes } =
        app.node.hub().backlog().await;
    let open_files = tokio::task::spawn_blocking(process::open_files).await.ok().flatten();
    let readings = Readings {
        build: vec![(VERSION, 1)],
        start_time: app.started_at,
        clock: clock::seconds_since_1970(),
        tls_certificate_expiry: app.tls.as_ref().map(|tls| tls.expiry() as f64),
        loop_responding: known.is_some().into(),
        ready: is_ready.into(),
        draining: is_draining.into(),
        uptime: app.started.elapsed().as_secs_f64(),
        tcp_connections: app.tcp_connections() as u64,
        listeners: app.node.hub().count() as u64,
        listeners_by_transport: Transport::ALL
            .map(|transport| (transport.as_str(), by_transport[transport as usize]))
            .to_vec(),
        listeners_waiting,
        listeners_behind: behind,
        outbox_bytes: bytes,
        requests: app.requests() as u64,
        nonces: app.nonces.count(Instant::now()) as u64,
        tasks: app.node.hub().tasks() as u64,
        nodes: known.as_ref().filter(|_| journal.outlives_this()).map(|known| known.nodes as u64),
        users: counts.map(|counts| counts.users as u64),
        users_connected: counts.map(|counts| counts.users_connected as u64),
        connections: counts.map(|counts| counts.connections as u64),
        channels: counts.map(|counts| counts.channels as u64),
        events: known.as_ref().map(|known| known.events),
        messages: counts.map(|counts| counts.posted),
        deliveries: counts.map(|counts| counts.delivered),
        kept_answers: counts.map(|counts| counts.kept_answers as u64),
        kept_bytes: counts.map(|counts| counts.kept_bytes as u64),
        evicted_answers: counts.map(|counts| counts.evicted_answers),
        refusals: app.limits.counts().collect(),
        journal_state: Standing::ALL.map(|one| (one.as_str(), u64::from(one == standing))).to_vec(),
        journal_waiting: waiting as u64,
        journal_waiting_time: waiting_time.as_secs_f64(),
        journal_level: known
            .as_ref()
            .filter(|_| journal.outlives_this())
            .map(|known| known.level.into()),
        journal_entries: files.map(|files| files.entries).or(redis.map(|redis| redis.entries)),
        journal_undone: files.map(|files| files.undone).or(redis.map(|redis| redis.undone)),
        journal_appended: redis.map(|redis| redis.appended),
        journal_epoch: redis.map(|redis| redis.epoch),
        journal_lag: redis.map(|redis| redis.lag.as_secs_f64()),
        journal_recoveries: redis.map(|redis| redis.recoveries),
        journal_divergences: redis.map(|redis| redis.divergences),
        journal_damages: redis.map(|redis| redis.damages),
        journal_restarts: redis.map(|redis| redis.restarts),
        journal_put_back: redis.map(|redis| redis.put_back),
        journal_repeated: redis.map(|redis| redis.repeated),
        journal_writes: files.map(|files| files.writes),
        journal_write_time: files.map(|files| files.write_time.as_secs_f64()),
        journal_bytes: files.map(|files| files.bytes).or(redis.map(|redis| redis.bytes)),
        journal_snapshot_bytes: files
            .map(|files| files.snapshot_bytes)
            .or(redis.map(|redis| redis.snapshot_bytes)),
        journal_snapshot_time: files
            .map(|files| files.snapshot_time)
            .or(redis.map(|redis| redis.snapshot_time))
            .map(|time| time.as_secs_f64()),
        journal_snapshot_age: files
            .map(|files| files.snapshot_age)
            .or(redis.and_then(|redis| redis.snapshot_age))
            .map(|age| age.as_secs_f64()),
        webhooks_waiting: webhooks.waiting,
        webhooks_oldest: webhooks.oldest,
        webhooks: webhooks.outcomes,
        webhook_attempts: webhooks.attempts,
        log_lines_dropped: process::LOG_LINES_DROPPED.get(),
        memory: process::memory(),
        cpu: process::cpu_time().map(|time| time.as_secs_f64()),
        open_files,
        max_files: process::max_files(),
    };
    app.metrics.samples(&readings)
}
