//! A server in this process, on its own thread and port.

use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use channelstream_server::Config;
use channelstream_server::config::Secret;
use tokio::sync::oneshot;

pub(crate) const SECRET: &str = "not the default";

/// A running server. Dropping it waits until it has ended.
pub(crate) struct Server {
    pub(crate) url: String,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(|_| ())
    }

    /// Starts a server with these changes of its settings.
    pub(crate) fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config =
            Config { port: 0, secrets: vec![Secret::new(SECRET)], ..Config::default() };
        change(&mut config);
        let (ready, address) = mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let server = channelstream_server::Server::bind(config).await.unwrap();
                ready.send(server.local_addr().unwrap()).unwrap();
                server.run(async { drop(stopped.await) }).await.unwrap();
            });
        });
        let url = format!("http://{}", address.recv().unwrap());
        Self { url, running: Some((stop, thread)) }
    }

    pub(crate) fn port(&self) -> u16 {
        self.url.rsplit_once(':').unwrap().1.parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some((stop, thread)) = self.running.take() else { return };
        drop(stop);
        let ended = thread.join();
        assert!(ended.is_ok() || thread::panicking(), "the server failed");
    }
}
