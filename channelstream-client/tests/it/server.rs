//! A server in this process, on a thread of its own, which can be killed and started again.

use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use channelstream_client::{Client, ClientBuilder, RetryPolicy};
use channelstream_server::Config;
use channelstream_server::config::Secret;
use tokio::sync::oneshot;

pub(crate) const SECRET: &str = "not the default";

/// Ends, and has ended, when it is dropped.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) port: u16,
    running: Option<(oneshot::Sender<End>, JoinHandle<()>)>,
}

enum End {
    Orderly,
    /// Lines are cut, and nobody is told.
    Abrupt,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(Config::default())
    }

    /// Listens on the port of one that was there before.
    pub(crate) fn start_on(port: u16) -> Self {
        Self::with(Config { port, ..Config::default() })
    }

    /// Heartbeats come quickly and empty polls are short, so that what happens without them is
    /// seen soon.
    pub(crate) fn with_quick_heartbeats() -> Self {
        let beat = Duration::from_millis(100);
        Self::with(Config {
            heartbeat_interval: beat,
            wake_connections_after: beat,
            ..Config::default()
        })
    }

    fn with(config: Config) -> Self {
        let port = if config.port == Config::default().port { 0 } else { config.port };
        let config = Config { port, secrets: vec![Secret::new(SECRET)], ..config };
        let (ready, address) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let server = channelstream_server::Server::bind(config).await.unwrap();
                ready.send(server.local_addr()).unwrap();
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

    /// Ends it as a signal does.
    pub(crate) fn stop(mut self) {
        self.end(End::Orderly);
    }

    /// Ends it as a failure of power does.
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

/// Abruptly: an orderly end would wait for lines, which may be held by the thread that waits here.
impl Drop for Server {
    fn drop(&mut self) {
        self.end(End::Abrupt);
    }
}

/// A client whose patience is short.
pub(crate) fn hasty(url: &str) -> ClientBuilder {
    let policy = RetryPolicy::new()
        .repeats(10)
        .first_pause(Duration::from_millis(10))
        .longest_pause(Duration::from_millis(100));
    Client::builder(url).secret(SECRET).timeout(Duration::from_millis(500)).retries(policy)
}
