//! The server as a whole: binds its addresses, runs its parts, drains them on shutdown.

#[cfg(test)]
mod releases;

use std::collections::HashMap;
use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io, iter};

use channelstream_core::protocol::Bounds as JsonBounds;
use channelstream_core::state::stored::{Levels, UnknownLevel};
use channelstream_core::state::{Keep, Rules, State};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::app::App;
use crate::clock;
use crate::config::{Address, ClusterLevel, Config};
use crate::handle::Handle;
use crate::http::bind;
use crate::http::connection;
use crate::journal::{self, Running, SharedJournal};
use crate::limits::Limits;
use crate::listener;
use crate::listener::hub::{Hub, ShardTasks};
use crate::listener::outbox::{Bounds, Ending, Keepalive};
use crate::node::{self, Beginning};
use crate::router::MetricsAddress;
use crate::thread::Thread;

/// A server that is bound to its addresses.
pub struct Server {
    app: Arc<App>,
    hub: Arc<Hub>,
    state_loop: node::Loop,
    /// What writes the files of the journal, and its thread.
    journal: Option<(journal::Writer, Thread)>,
    /// What a journal that outlives the process begins with.
    beginning: Option<Beginning>,
    shards: Vec<ShardTasks>,
    /// The threads besides the one that calls [`Server::run`].
    threads: Vec<Thread>,
    listeners: Vec<TcpListener>,
    /// The address of each listener; not empty.
    local_addrs: Vec<SocketAddr>,
    /// Where the metrics are, if they have an address of their own.
    metrics: Option<MetricsListeners>,
}

/// What listens at the address of the metrics, and the thread that serves it: it answers also if all
/// others are stuck.
struct MetricsListeners {
    listeners: Vec<TcpListener>,
    local_addrs: Vec<SocketAddr>,
    thread: Thread,
}

/// Why a server does not start, or stops. `source()` returns the cause.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The server cannot listen on its address.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address as it was set, or one of the addresses of a name.
        address: String,
        /// The error of the system.
        #[source]
        cause: io::Error,
    },
    /// The journal cannot be opened.
    #[error("the journal cannot be opened")]
    Journal(#[source] Box<dyn Error + Send + Sync>),
    /// A part of the server failed, so that the server cannot continue.
    #[error("the server failed: {part}")]
    Failed {
        /// The part that failed.
        part: &'static str,
        /// The error or panic of the part.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl ServerError {
    fn failed(part: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| Self::Failed { part, source: error.into() }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("local_addrs", &self.local_addrs).finish_non_exhaustive()
    }
}

impl Server {
    /// Binds the host and port of `config`. A host name is bound on each of its addresses that this
    /// machine has. Port 0 selects a free port, the same on all addresses.
    ///
    /// # Errors
    /// Returns [`ServerError::Bind`] if the name has no address or an address is in use, and
    /// [`ServerError::Journal`] if the journal is in use, damaged or cannot be written.
    pub async fn bind(config: Config) -> Result<Self, ServerError> {
        Self::bind_knowing(config, None, Levels::KNOWN).await
    }

    /// Like [`Server::bind`], on a journal that several servers of this process share.
    ///
    /// # Errors
    /// Returns [`ServerError::Bind`] if the name has no address or an address is in use.
    pub async fn bind_on(config: Config, journal: &SharedJournal) -> Result<Self, ServerError> {
        Self::bind_knowing(config, Some(journal), Levels::KNOWN).await
    }

    /// Binds a server of a release that knows these levels.
    async fn bind_knowing(
        config: Config,
        shared: Option<&SharedJournal>,
        known: Levels,
    ) -> Result<Self, ServerError> {
        let listeners = Self::listen(&config.host, config.port).await?;
        let metrics = match &config.metrics_addr {
            Some(Address { host, port }) => Some(Self::listen(host, *port).await?),
            None => None,
        };
        let mut server = Self::assemble(listeners, config, shared, known)?;
        server.metrics = metrics.map(MetricsListeners::new).transpose()?;
        Ok(server)
    }

    async fn listen(host: &str, port: u16) -> Result<Vec<TcpListener>, ServerError> {
        let listeners = bind::listen(host, port).await;
        listeners.map_err(|bind::Failure { address, cause }| ServerError::Bind {
            address,
            cause: in_plain_words(cause),
        })
    }

    /// Serves on a listener that is bound already, for example by a socket activation or a test. The
    /// settings `host`, `port` and `metrics_addr` have no effect: the metrics are at this address.
    ///
    /// # Errors
    /// Returns [`ServerError::Bind`] if the listener has no address, [`ServerError::Journal`] if the
    /// journal cannot be opened, and [`ServerError::Failed`] if a thread cannot be started.
    ///
    /// # Panics
    /// Panics outside of a Tokio runtime.
    pub fn from_listener(listener: TcpListener, config: Config) -> Result<Self, ServerError> {
        let config = Config { metrics_addr: None, ..config };
        Self::assemble(vec![listener], config, None, Levels::KNOWN)
    }

    fn assemble(
        listeners: Vec<TcpListener>,
        config: Config,
        shared: Option<&SharedJournal>,
        known: Levels,
    ) -> Result<Self, ServerError> {
        let local_addrs = addresses(&listeners)?;
        let threads: Vec<Thread> = (1..config.threads)
            .map(|_| Thread::start())
            .collect::<Result<_, _>>()
            .map_err(ServerError::failed("start of a thread"))?;
        let runtimes =
            iter::once(runtime::Handle::current()).chain(threads.iter().map(Thread::handle));
        let bounds = Bounds { frames: config.outbox_frames, bytes: config.outbox_bytes };
        let (asking, asked) = listener::asking();
        let rules = rules(&config);
        let mut opened = match shared {
            Some(journal) => journal
                .open(&rules, known)
                .map_err(|level| ServerError::Journal(format!("it has {level}").into()))?,
            None => {
                let initial = || State::new(rules.clone()).at_level(known.oldest);
                journal::open(&config.journal, known, initial)
                    .map_err(|error| ServerError::Journal(error.into()))?
            }
        };
        let epoch = clock::epoch(opened.state.epoch());
        let journal = match opened.writer.take() {
            Some(writer) => {
                let thread = Thread::start().map_err(ServerError::failed("start of a thread"))?;
                Some((writer, thread))
            }
            None => None,
        };
        if !opened.appender.outlives_this() {
            // Nobody else needs to know of it.
            opened.state = opened.state.in_epoch(epoch);
        }
        let joins_with =
            Some(&rules).filter(|rules| shared.is_some() && opened.state.rules() != *rules);
        let joins_with = joins_with.cloned();
        let (limits, metrics) = (Arc::new(Limits::default()), Arc::default());
        let (hub, shards) =
            Hub::new(runtimes.collect(), bounds, config.max_listeners, &asking, &metrics);
        let hub = Arc::new(hub);
        let (node, state_loop) = node::new(
            opened,
            (rules.clone(), config.cluster_level == ClusterLevel::Hold),
            Arc::clone(&hub),
            asked,
            Arc::clone(&limits),
            Arc::clone(&metrics),
        );
        let begins = node.journal().is_own() && journal.is_some();
        let beginning = begins.then(|| node.begin(epoch, rules)).transpose();
        let beginning = beginning.map_err(|error| ServerError::Journal(error.into()))?;
        if let Some(rules) = joins_with {
            node.join_with(rules).map_err(|error| ServerError::Journal(error.into()))?;
        }
        let app = Arc::new(App::new(config, node, limits, metrics, &local_addrs));
        Ok(Self {
            app,
            hub,
            state_loop,
            journal,
            beginning,
            shards,
            threads,
            listeners,
            local_addrs,
            metrics: None,
        })
    }

    /// Returns the address that the server is bound to, the first one if there are several.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addrs[0]
    }

    /// Returns all addresses that the server is bound to; there are several if the host is a name
    /// that has several.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }

    /// Returns the addresses at which the metrics are, if they have one of their own (`metrics_addr`).
    #[must_use]
    pub fn metrics_addrs(&self) -> &[SocketAddr] {
        self.metrics.as_ref().map_or(&[], |metrics| &metrics.local_addrs)
    }

    /// Returns a handle that sends requests to this server from within the process.
    #[must_use]
    pub fn handle(&self) -> Handle {
        let Config { max_json_depth: depth, max_json_elements: elements, .. } = self.app.config;
        Handle::new(self.app.node.clone(), JsonBounds { depth, elements })
    }

    /// Serves until `shutdown` completes, then drains: stops accepting, waits for requests for up to
    /// half of `shutdown_timeout`, answers polls, closes sockets with 1001 in batches, and returns
    /// after `shutdown_timeout` at the latest. TCP connections that are still open by then are
    /// dropped with the runtime.
    ///
    /// # Errors
    /// Returns [`ServerError::Failed`] if a part of the server failed.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), ServerError> {
        let Self {
            app,
            hub,
            state_loop,
            journal,
            beginning,
            shards,
            listeners,
            threads: _threads,
            metrics,
            ..
        } = self;
        let Config { shutdown_timeout, drain_rate, heartbeat_interval, .. } = app.config;
        let keepalive = keepalive(&app.config);
        let draining = app.draining.subscribe();
        let of_listener = ServerError::failed("setup of a listener");
        let listeners: Vec<_> = listeners
            .into_iter()
            .map(TcpListener::into_std)
            .collect::<Result<_, _>>()
            .map_err(&of_listener)?;
        let own = runtime::Handle::current();
        let mut tasks = Tasks::default();
        tasks.spawn_fallible("state loop", state_loop.run(), &own);
        let mut journal = Running::start(journal);
        if let Some(beginning) = beginning {
            tokio::select! {
                biased;
                error = journal.failure() => return Err(journal_failed(error)),
                error = tasks.failure() => return Err(error),
                begun = beginning.done() => begun.map_err(|error| ServerError::Failed {
                    part: "beginning of the journal",
                    source: error.into(),
                })?,
            }
        }
        tasks.spawn("sampling of metrics", Arc::clone(&app).take_samples(), &own);
        for shard in shards {
            let thread = shard.thread.clone();
            for listener in &listeners {
                // All threads accept from the same queue: the one that is free takes the next.
                let listener = listener.try_clone().map_err(&of_listener)?;
                let (app, http) = (Arc::clone(&app), Arc::clone(&app.http));
                let accept = connection::accept(app, http, listener, draining.clone());
                tasks.spawn("accept loop", accept, &thread);
            }
            tasks.spawn("writer", shard.write(), &thread);
            tasks.spawn(
                "heartbeats",
                shard.send_heartbeats(heartbeat_interval, keepalive),
                &thread,
            );
            if let Some(receive) = shard.receive() {
                tasks.spawn("shard commands", receive, &thread);
            }
        }
        // An open listener would keep the port in use during the drain.
        drop(listeners);
        // The metrics are told until the end.
        let (_until_the_end, end_of_metrics) = watch::channel(false);
        let _metrics = match metrics {
            Some(metrics) => Some(metrics.serve(&app, &mut tasks, &end_of_metrics)?),
            None => None,
        };

        tokio::select! {
            () = shutdown => {}
            error = journal.failure() => return Err(journal_failed(error)),
            error = tasks.failure() => return Err(error),
        }
        app.draining.send_replace(true);
        let latest = Instant::now() + shutdown_timeout;
        end(&app, &hub, drain_rate, shutdown_timeout).await;
        let _ = timeout(LEAVING, app.node.leave()).await;
        // What was accepted is written and brought to disk.
        let latest = latest.max(Instant::now() + JOURNAL_END);
        journal.end(latest).await.map_err(journal_failed)
    }
}

impl MetricsListeners {
    /// Most TCP connections at the address of the metrics. They are apart from `max_connections`, so that
    /// a server that is full can be seen.
    const CONNECTIONS: usize = 64;

    fn new(listeners: Vec<TcpListener>) -> Result<Self, ServerError> {
        let local_addrs = addresses(&listeners)?;
        let thread = Thread::start().map_err(ServerError::failed("start of a thread"))?;
        Ok(Self { listeners, local_addrs, thread })
    }

    /// Serves until `end`. Returns the thread, which has to be kept.
    fn serve(
        self,
        app: &Arc<App>,
        tasks: &mut Tasks,
        end: &watch::Receiver<bool>,
    ) -> Result<Thread, ServerError> {
        let most = Config {
            max_connections: Self::CONNECTIONS,
            max_connections_per_address: Self::CONNECTIONS,
            ..app.config.clone()
        };
        let http =
            connection::Shared::new(&most, Arc::clone(&app.limits), Arc::clone(&app.metrics));
        let (http, service) = (Arc::new(http), Arc::new(MetricsAddress(Arc::clone(app))));
        for listener in self.listeners {
            let listener =
                listener.into_std().map_err(ServerError::failed("setup of a listener"))?;
            let (service, http) = (Arc::clone(&service), Arc::clone(&http));
            let accept = connection::accept(service, http, listener, end.clone());
            tasks.spawn("accept loop of the metrics", accept, &self.thread.handle());
        }
        Ok(self.thread)
    }
}

/// Returns the address of each listener.
fn addresses(listeners: &[TcpListener]) -> Result<Vec<SocketAddr>, ServerError> {
    let addresses = listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>();
    addresses.map_err(|cause| ServerError::Bind { address: "a listener".to_owned(), cause })
}

fn journal_failed(source: Box<dyn Error + Send + Sync>) -> ServerError {
    ServerError::Failed { part: "journal", source }
}

/// The tasks of a running server, none of which ends before the drain.
#[derive(Default)]
struct Tasks {
    /// What each of them says of its end.
    set: JoinSet<Box<dyn Error + Send + Sync>>,
    names: HashMap<Id, &'static str>,
}

impl Tasks {
    fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
        thread: &runtime::Handle,
    ) {
        let ends = async {
            task.await;
            "it ended unexpectedly".into()
        };
        self.names.insert(self.set.spawn_on(ends, thread).id(), name);
    }

    fn spawn_fallible(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<Infallible, UnknownLevel>> + Send + 'static,
        thread: &runtime::Handle,
    ) {
        let ends = async {
            let Err(level) = task.await;
            format!("the journal has {level}").into()
        };
        self.names.insert(self.set.spawn_on(ends, thread).id(), name);
    }

    /// Waits until a task ends, which is always a failure.
    async fn failure(&mut self) -> ServerError {
        let (id, source): (_, Box<dyn Error + Send + Sync>) =
            match self.set.join_next_with_id().await {
                None => return std::future::pending().await,
                Some(Ok((id, why))) => (id, why),
                Some(Err(error)) => (error.id(), error.into()),
            };
        ServerError::Failed { part: self.names.get(&id).copied().unwrap_or_default(), source }
    }
}

/// Says what the common errors of binding mean; others stay as they are.
fn in_plain_words(error: io::Error) -> io::Error {
    let text = match error.kind() {
        io::ErrorKind::AddrInUse => "another program listens there already",
        io::ErrorKind::PermissionDenied => "this user may not use that port",
        _ => return error,
    };
    io::Error::new(error.kind(), text)
}

/// How long the drain waits for the last entry of this server in its journal.
const LEAVING: Duration = Duration::from_secs(1);
/// How long the end of the journal may take in any case.
const JOURNAL_END: Duration = Duration::from_secs(2);

/// The pause between two batches of listeners that the drain closes.
const DRAIN_STEP: Duration = Duration::from_millis(20);

/// Waits for requests, closes listeners, and waits for TCP connections to end, within `time` in all.
async fn end(app: &App, hub: &Hub, drain_rate: usize, time: Duration) {
    let latest = Instant::now() + time;
    // Accepted messages still reach the listeners here, so requests finish first.
    let requests_done = async {
        loop {
            sleep(DRAIN_STEP).await;
            if app.requests() == 0 {
                return;
            }
        }
    };
    if timeout(time / 2, requests_done).await.is_err() {
        tracing::warn!(
            "requests are still running after half of shutdown_timeout: closing listeners now"
        );
    }
    let connections_ended = async {
        hub.settle().await;
        app.close_pages();
        let batch = batch_size(hub.count(), drain_rate, latest - Instant::now());
        while hub.count() > 0 || app.tcp_connections() > 0 {
            hub.end_some(Ending::Shutdown, batch);
            sleep(DRAIN_STEP).await;
        }
    };
    if timeout_at(latest, connections_ended).await.is_err() {
        tracing::warn!("shutdown timed out; dropping {} connections", app.tcp_connections());
    }
}

/// Returns how many listeners one step of the drain closes: `rate` a second, or more if half of
/// `timeout` would not be enough for all.
fn batch_size(listeners: usize, rate: usize, timeout: Duration) -> usize {
    let steps = (timeout.as_secs_f64() / 2.0 / DRAIN_STEP.as_secs_f64()).max(1.0);
    let (listeners, rate) = (listeners as f64, rate as f64);
    let batch = (rate * DRAIN_STEP.as_secs_f64()).max(listeners / steps);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    let batch = batch.ceil() as usize;
    batch
}

/// Converts the ping settings into numbers of heartbeats, since pings are sent with heartbeats.
fn keepalive(config: &Config) -> Keepalive {
    let heartbeats = |time: Duration| {
        let count = time.as_secs_f64() / config.heartbeat_interval.as_secs_f64();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
        let count = count.ceil() as u32;
        count.clamp(1, u32::MAX / 2)
    };
    Keepalive {
        ping_after: heartbeats(config.ping_interval),
        end_after: heartbeats(config.ping_timeout),
    }
}

fn rules(config: &Config) -> Rules {
    Rules {
        connection_timeout: config.gc_conns_after,
        waiting_timeout: config.gc_waiting_conns_after,
        user_timeout: config.gc_users_after,
        channel_timeout: config.gc_channels_after,
        channel_events: Keep { events: config.stored_frames, bytes: config.stored_bytes },
        user_events: Keep { events: config.stored_private_frames, bytes: config.stored_bytes },
        recovery_window: config.recovery_window,
        idempotency_window: config.idempotency_window,
        idempotency_keys: config.max_idempotency_keys,
        idempotency_bytes: config.max_idempotency_bytes,
        channel_defaults: config.channel_defaults.clone(),
        append_timeout: config.append_timeout,
        stalled_timeout: config.stalled_timeout,
        max_growing_size: config.max_growing_size,
        max_growing_items: config.max_growing_items,
        max_open_messages: config.max_open_messages,
        ..Rules::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drain_keeps_its_rate_unless_that_takes_more_than_half_of_the_time() {
        let ten = Duration::from_secs(10);
        assert_eq!(batch_size(0, 2000, ten), 40);
        assert_eq!(batch_size(10_000, 2000, ten), 40, "just in five seconds");
        assert_eq!(batch_size(50_000, 2000, ten), 200);
        assert_eq!(batch_size(3, 1, ten), 1);
        assert_eq!(batch_size(500, 1, Duration::from_millis(1)), 500);
    }
}
