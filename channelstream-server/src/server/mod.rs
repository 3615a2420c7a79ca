//! The server as a whole: binds its addresses, runs its parts, drains them on shutdown.

mod drain;
mod monitor;
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

use channelstream_core::state::State;
use channelstream_core::state::stored::{Levels, UnknownLevel};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, timeout};

use crate::app::App;
use crate::clock;
use crate::config::{self, Address, ClusterLevel, Config, Journal, JournalSync};
use crate::handle::Handle;
use crate::http::bind;
use crate::http::connection;
use crate::http::tls::{Checked, Tls, TlsError};
use crate::journal::{self, Running, SharedJournal};
use crate::limits::Limits;
use crate::listener;
use crate::listener::hub::{Hub, ShardTasks};
use crate::listener::outbox::{Bounds, Keepalive};
use crate::node::{self, Beginning};
use crate::reload::{Reloader, Source};
use crate::router::MetricsAddress;
use crate::socket::{BoundSocket, LocalAddr};
use crate::thread::Thread;
use crate::webhooks;
pub(crate) use monitor::{Monitor, Seen};

/// A server that is bound to its addresses.
pub struct Server {
    app: Arc<App>,
    hub: Arc<Hub>,
    state_loop: node::Loop,
    /// What writes the files of the journal, and its thread.
    journal: Option<(journal::Writer, Thread)>,
    /// What a journal that outlives the process begins with.
    beginning: Option<Beginning>,
    /// What sends webhooks, and its thread.
    webhooks: (webhooks::Sender, Thread),
    shards: Vec<ShardTasks>,
    /// The threads besides the one that calls [`Server::run`].
    threads: Vec<Thread>,
    listeners: Vec<BoundSocket>,
    /// The address of each listener; not empty.
    local_addrs: Vec<LocalAddr>,
    /// Where the metrics are, if they have an address of their own.
    metrics: Option<MetricsListeners>,
}

/// What listens at the address of the metrics, and the thread that serves it: it answers also if all
/// others are stuck.
struct MetricsListeners {
    listeners: Vec<BoundSocket>,
    local_addrs: Vec<LocalAddr>,
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
    /// The certificate and key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The settings ask for a test clock where there must be none.
    #[error("{0}")]
    TestClock(String),
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
    /// machine has. Port 0 selects a free port, the same on all addresses. A host such as
    /// `unix:/run/server.sock` is a unix socket.
    ///
    /// # Errors
    /// Returns [`ServerError::Bind`] if the name has no address or an address is in use, and
    /// [`ServerError::Journal`] if the journal is in use, damaged or cannot be written.
    pub async fn bind(config: Config) -> Result<Self, ServerError> {
        Self::bind_knowing(Vec::new(), config, None, Levels::KNOWN).await
    }

    /// Serves on sockets that are bound already, if there are any, and otherwise like [`Server::bind`]. The
    /// metrics are where `metrics_addr` says.
    pub(crate) async fn bind_at(
        sockets: Vec<BoundSocket>,
        config: Config,
    ) -> Result<Self, ServerError> {
        Self::bind_knowing(sockets, config, None, Levels::KNOWN).await
    }

    /// Like [`Server::bind`], on a journal that several servers of this process share.
    ///
    /// # Errors
    /// Returns [`ServerError::Bind`] if the name has no address or an address is in use.
    pub async fn bind_on(config: Config, journal: &SharedJournal) -> Result<Self, ServerError> {
        Self::bind_knowing(Vec::new(), config, Some(journal), Levels::KNOWN).await
    }

    /// Binds a server of a release that knows these levels.
    async fn bind_knowing(
        sockets: Vec<BoundSocket>,
        config: Config,
        shared: Option<&SharedJournal>,
        known: Levels,
    ) -> Result<Self, ServerError> {
        let listeners = match sockets.is_empty() {
            true => Self::listen(&config.host, config.port).await?,
            false => sockets,
        };
        let metrics = match &config.metrics_addr {
            Some(Address { host, port }) => Some(Self::listen(host, *port).await?),
            None => None,
        };
        let mut server = Self::assemble(listeners, config, shared, known)?;
        server.metrics = metrics.map(MetricsListeners::new).transpose()?;
        Ok(server)
    }

    async fn listen(host: &str, port: u16) -> Result<Vec<BoundSocket>, ServerError> {
        let listeners = bind::listen(host, port).await;
        listeners.map_err(|bind::Failure { address, cause }| {
            let cause = in_plain_words(cause, config::unix_socket(&address).is_some());
            ServerError::Bind { address, cause }
        })
    }

    /// Serves on a listener that is bound already, for example by a test, like
    /// [`Server::from_sockets`].
    ///
    /// # Errors
    /// Returns [`ServerError::Bind`] if the listener has no address, [`ServerError::Journal`] if the
    /// journal cannot be opened, and [`ServerError::Failed`] if a thread cannot be started.
    ///
    /// # Panics
    /// Panics outside of a Tokio runtime.
    pub fn from_listener(listener: TcpListener, config: Config) -> Result<Self, ServerError> {
        let listener = listener.into_std().map_err(ServerError::failed("setup of a listener"))?;
        Self::from_sockets(vec![listener.into()], config)
    }

    /// Serves on sockets that are bound already, for example by a socket activation. The settings
    /// `host`, `port` and `metrics_addr` have no effect: the metrics are at these addresses.
    ///
    /// # Errors
    /// Returns [`ServerError::Bind`] if there is no socket or one has no address,
    /// [`ServerError::Journal`] if the journal cannot be opened, and [`ServerError::Failed`] if a thread
    /// cannot be started.
    ///
    /// # Panics
    /// Panics outside of a Tokio runtime.
    pub fn from_sockets(sockets: Vec<BoundSocket>, config: Config) -> Result<Self, ServerError> {
        if sockets.is_empty() {
            let cause = io::Error::new(io::ErrorKind::InvalidInput, "there is no socket");
            return Err(ServerError::Bind { address: "no socket".to_owned(), cause });
        }
        let config = Config { metrics_addr: None, ..config };
        Self::assemble(sockets, config, None, Levels::KNOWN)
    }

    fn assemble(
        listeners: Vec<BoundSocket>,
        config: Config,
        shared: Option<&SharedJournal>,
        known: Levels,
    ) -> Result<Self, ServerError> {
        let local_addrs = addresses(&listeners)?;
        config.allows_test_clock(&local_addrs).map_err(ServerError::TestClock)?;
        if config.test_clock && shared.is_some() {
            let why = "test_clock: others share the journal, and their clocks stay as they are";
            return Err(ServerError::TestClock(why.to_owned()));
        }
        let tls = config.tls.as_ref().map(Checked::new).transpose()?.map(Tls::new);
        let threads: Vec<Thread> = (1..config.threads)
            .map(|_| Thread::start())
            .collect::<Result<_, _>>()
            .map_err(ServerError::failed("start of a thread"))?;
        let runtimes =
            iter::once(runtime::Handle::current()).chain(threads.iter().map(Thread::handle));
        let bounds = Bounds { frames: config.outbox_frames, bytes: config.outbox_bytes };
        let (asking, asked) = listener::asking();
        let rules = config.rules();
        let mut opened = match shared {
            Some(journal) => journal
                .open(&rules, known)
                .map_err(|level| ServerError::Journal(format!("it has {level}").into()))?,
            None => {
                // Others may share a new journal in Redis that do not know the newest level.
                let is_own = matches!(config.journal, Journal::File { .. });
                let holds = config.cluster_level == ClusterLevel::Hold;
                let level = if is_own && !holds { known.newest } else { known.oldest };
                let initial = || State::new(rules.clone()).at_level(level);
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
        // The journal has made and locked the directory.
        let kept = match &config.journal {
            Journal::File { directory, sync } if shared.is_none() => {
                Some((directory.join("webhooks"), *sync == JournalSync::Always))
            }
            _ => None,
        };
        let (webhooks, sender) = webhooks::new(&config, Arc::clone(&limits), kept)
            .map_err(|error| ServerError::Journal(format!("the file webhooks: {error}").into()))?;
        let sends = Thread::start().map_err(ServerError::failed("start of a thread"))?;
        let (node, state_loop) = node::new(
            opened,
            (rules.clone(), config.cluster_level == ClusterLevel::Hold),
            Arc::clone(&hub),
            asked,
            Arc::clone(&limits),
            Arc::clone(&metrics),
            webhooks.clone(),
        );
        let begins = node.journal().is_own() && journal.is_some();
        let beginning = begins.then(|| node.begin(epoch, rules)).transpose();
        let beginning = beginning.map_err(|error| ServerError::Journal(error.into()))?;
        if let Some(rules) = joins_with {
            node.join_with(rules).map_err(|error| ServerError::Journal(error.into()))?;
        }
        let app = App::new(config, node, limits, metrics, webhooks, &local_addrs, tls);
        let app = Arc::new(app);
        Ok(Self {
            app,
            hub,
            state_loop,
            journal,
            beginning,
            webhooks: (sender, sends),
            shards,
            threads,
            listeners,
            local_addrs,
            metrics: None,
        })
    }

    /// Returns the TCP address that the server is bound to, the first one if there are several, and
    /// `None` if it listens on unix sockets only.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addrs.iter().find_map(LocalAddr::tcp)
    }

    /// Returns where the server listens; never empty. There are several addresses if the host is a
    /// name that has several.
    #[must_use]
    pub fn local_addrs(&self) -> &[LocalAddr] {
        &self.local_addrs
    }

    /// Returns the addresses at which the metrics are, if they have one of their own (`metrics_addr`).
    #[must_use]
    pub fn metrics_addrs(&self) -> &[LocalAddr] {
        self.metrics.as_ref().map_or(&[], |metrics| &metrics.local_addrs)
    }

    /// Returns a handle that sends requests to this server from within the process.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(self.app.node.clone(), self.app.current.clone())
    }

    /// Returns what looks at this server while it runs.
    pub(crate) fn monitor(&self) -> Monitor {
        Monitor::new(&self.app)
    }

    /// Returns what gives this server other settings while it runs.
    #[must_use]
    pub fn reloader(&self) -> Reloader {
        Reloader::new(&self.app)
    }

    /// Sets where the settings are read again when that is asked for.
    pub(crate) fn reload_from(&self, source: Arc<dyn Source>) {
        self.app.reload.set_source(source);
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
            webhooks: (webhooks, sends),
            shards,
            listeners,
            threads: _threads,
            metrics,
            ..
        } = self;
        let heartbeat_interval = app.settings().config.heartbeat_interval;
        let keepalive = keepalive(&app.settings().config);
        let draining = app.draining.subscribe();
        let of_listener = ServerError::failed("setup of a listener");
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
        tasks.spawn("webhooks", webhooks.run(), &sends.handle());
        tasks.spawn("sampling of metrics", Arc::clone(&app).take_samples(), &own);
        for shard in shards {
            let thread = shard.thread.clone();
            for listener in &listeners {
                // All threads accept from the same queue: the one that is free takes the next.
                let listener = listener.try_clone().map_err(&of_listener)?;
                let (app, http, tls) = (Arc::clone(&app), Arc::clone(&app.http), app.tls.clone());
                let accept = connection::accept(app, http, listener, tls, draining.clone());
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
        let Config { shutdown_timeout, drain_rate, .. } = app.settings().config;
        let latest = Instant::now() + shutdown_timeout;
        drain::end(&app, &hub, drain_rate, shutdown_timeout).await;
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
    /// Most of them from one address of another machine, so that no stranger takes all places.
    const CONNECTIONS_PER_ADDRESS: usize = 8;

    fn new(listeners: Vec<BoundSocket>) -> Result<Self, ServerError> {
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
            max_connections_per_address: Self::CONNECTIONS_PER_ADDRESS,
            ..app.settings().config.clone()
        };
        let http =
            connection::Shared::new(&most, Arc::clone(&app.limits), Arc::clone(&app.metrics));
        let (http, service) = (Arc::new(http), Arc::new(MetricsAddress(Arc::clone(app))));
        for listener in self.listeners {
            let (service, http) = (Arc::clone(&service), Arc::clone(&http));
            let accept = connection::accept(service, http, listener, None, end.clone());
            tasks.spawn("accept loop of the metrics", accept, &self.thread.handle());
        }
        Ok(self.thread)
    }
}

/// Returns the address of each listener.
fn addresses(listeners: &[BoundSocket]) -> Result<Vec<LocalAddr>, ServerError> {
    let addresses = listeners.iter().map(BoundSocket::local_addr).collect::<Result<_, _>>();
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
fn in_plain_words(error: io::Error, is_path: bool) -> io::Error {
    let text = match error.kind() {
        io::ErrorKind::AddrInUse => "another program listens there already",
        io::ErrorKind::PermissionDenied if is_path => {
            "this user may not create or replace a socket there"
        }
        io::ErrorKind::PermissionDenied => "this user may not use that port",
        _ => return error,
    };
    io::Error::new(error.kind(), text)
}

/// How long the drain waits for the last entry of this server in its journal.
const LEAVING: Duration = Duration::from_secs(1);
/// How long the end of the journal may take in any case.
const JOURNAL_END: Duration = Duration::from_secs(2);

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
