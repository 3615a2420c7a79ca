//! A server in this process, on its own thread, which can be killed and restarted.

use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use channelstream_client::{Client, ClientBuilder, RetryPolicy};
use channelstream_server::Config;
use channelstream_server::config::Secret;
use tokio::sync::oneshot;

pub(crate) const SECRET: &str = "not the default";

/// A running server. Dropping it waits until it has ended.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) port: u16,
    running: Option<(oneshot::Sender<End>, JoinHandle<()>)>,
}

enum End {
    Orderly,
    /// All TCP connections are cut without a close.
    Abrupt,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(Config::default())
    }

    /// Starts a server on the port of an earlier one.
    pub(crate) fn start_on(port: u16) -> Self {
        Self::with(Config { port, ..Config::default() })
    }

    /// Starts a server with frequent heartbeats and short empty polls, so that a test soon sees what
    /// happens without them.
    pub(crate) fn with_quick_heartbeats() -> Self {
        let interval = Duration::from_millis(100);
        Self::with(Config {
            heartbeat_interval: interval,
            wake_connections_after: interval,
            ..Config::default()
        })
    }

    /// Starts a server on which a connection without a listener soon ends.
    pub(crate) fn with_brief_connections() -> Self {
        Self::with(Config { gc_conns_after: Duration::from_secs(1), ..Config::default() })
    }

    pub(crate) fn with(config: Config) -> Self {
        let port = if config.port == Config::default().port { 0 } else { config.port };
        let config = Config { port, secrets: vec![Secret::new(SECRET)], ..config };
        let (ready, address) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let server = channelstream_server::Server::bind(config).await.unwrap();
                ready.send(server.local_addr().unwrap()).unwrap();
                let (drain, drained) = oneshot::channel::<()>();
                let running = server.run(async { drop(drained.await) });
                tokio::pin!(running);
                tokio::select! {
                    ended = &mut running => ended.unwrap(),
                    end = stopped => match end.unwrap_or(End::Abrupt) {
                        End::Abrupt => {}
                        End::Orderly => {
                            drop(drain);
                            running.await.unwrap();
                        }
                    },
                }
            });
        });
        let address = address.recv().unwrap();
        let url = format!("http://{address}");
        Self { url, port: address.port(), running: Some((stop, thread)) }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.url, SECRET).unwrap()
    }

    /// Shuts the server down as a signal does.
    pub(crate) fn stop(mut self) {
        self.end(End::Orderly);
    }

    /// Kills the server as a power failure does.
    pub(crate) fn kill(self) {
        drop(self);
    }

    fn end(&mut self, end: End) {
        let Some((stop, thread)) = self.running.take() else { return };
        drop(stop.send(end));
        let ended = thread.join();
        assert!(ended.is_ok() || thread::panicking(), "the server failed");
    }
}

/// Kills the server. An orderly shutdown would wait for TCP connections, which the thread that drops
/// the server may hold.
impl Drop for Server {
    fn drop(&mut self) {
        self.end(End::Abrupt);
    }
}

/// Returns the builder of a client with short pauses and timeouts.
pub(crate) fn hasty(url: &str) -> ClientBuilder {
    let policy = RetryPolicy::new()
        .repeats(10)
        .first_pause(Duration::from_millis(10))
        .longest_pause(Duration::from_millis(100));
    Client::builder(url).secret(SECRET).timeout(Duration::from_millis(500)).retries(policy)
}
