//! The server as a whole: binds its addresses, runs its parts, drains them at the end.

use std::fmt::Display;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use std::{io, iter};

use channelstream_core::state::{Rules, State};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::app::App;
use crate::config::Config;
use crate::http::bind;
use crate::http::connection;
use crate::limits::Limits;
use crate::listener::hub::Hub;
use crate::listener::outbox::{Bounds, Ending, Keepalive};
use crate::node;
use crate::thread::Thread;

/// Between two portions of listeners that are closed at the end.
const DRAIN_STEP: Duration = Duration::from_millis(20);

/// Why a server does not start, or stops.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {}", told(.cause))]
    Bind {
        /// The address, as it was set, or one of the addresses of a name.
        address: String,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// A part of the server failed, so that it cannot go on.
    #[error("the server failed inside and stops: {0}")]
    Failed(String),
}

fn told(cause: &io::Error) -> String {
    match cause.kind() {
        io::ErrorKind::AddrInUse => "another program listens there already".to_owned(),
        io::ErrorKind::PermissionDenied => "this user may not use that port".to_owned(),
        _ => cause.to_string(),
    }
}

/// A server that is bound to its addresses.
#[derive(Debug)]
pub struct Server {
    config: Config,
    listeners: Vec<TcpListener>,
    /// Of each listener; not empty.
    local_addrs: Vec<SocketAddr>,
}

impl Server {
    /// Binds the host and port of `config`. A name is listened on at each of its addresses that this
    /// machine has. Port 0 takes a free one, the same on all addresses.
    ///
    /// # Errors
    /// [`ServerError::Bind`] if no address is there, or one is taken.
    pub async fn bind(config: Config) -> Result<Self, ServerError> {
        let listeners = bind::listen(&config.host, config.port)
            .await
            .map_err(|bind::Failure { address, cause }| ServerError::Bind { address, cause })?;
        let local_addrs = listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>();
        let local_addrs = local_addrs
            .map_err(|cause| ServerError::Bind { address: config.host.clone(), cause })?;
        Ok(Self { config, listeners, local_addrs })
    }

    /// The address that is really listened on; where there are several, the first.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addrs[0]
    }

    /// All addresses that are really listened on; more than one if the host is a name that has more.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }

    /// Serves until `shutdown` is ready. Then accepts no more, lets requests finish (for half of
    /// `shutdown_timeout` at most), answers polls, closes sockets with 1001 a portion after the
    /// other, and returns after `shutdown_timeout` at the latest. Lines that have not ended by then
    /// end with the runtime.
    ///
    /// # Errors
    /// [`ServerError::Failed`] if a part of the server broke: it does not go on with half of it.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), ServerError> {
        let Self { config, listeners, local_addrs } = self;
        let failed = |error: &dyn Display| ServerError::Failed(error.to_string());
        let further: Vec<Thread> = (1..config.threads)
            .map(|_| Thread::start())
            .collect::<io::Result<_>>()
            .map_err(|error| failed(&error))?;
        let threads = iter::once(Handle::current()).chain(further.iter().map(Thread::handle));
        let bounds = Bounds { frames: config.outbox_frames, bytes: config.outbox_bytes };
        let (hub, shards) = Hub::new(threads.collect(), bounds, config.max_listeners);
        let hub = Arc::new(hub);
        let (hub_of_node, limits) = (Arc::clone(&hub), Arc::new(Limits::default()));
        let (node, state_loop) =
            node::new(State::new(rules(&config)), hub_of_node, Arc::clone(&limits));
        let (timeout, drain_rate) = (config.shutdown_timeout, config.drain_rate);
        let (heartbeat, keepalive) = (config.heartbeat_interval, keepalive(&config));
        let app = Arc::new(App::new(config, node, limits, &local_addrs));
        let (drain, draining) = watch::channel(false);
        let listeners: Vec<_> = listeners
            .into_iter()
            .map(TcpListener::into_std)
            .collect::<io::Result<_>>()
            .map_err(|error| failed(&error))?;
        let mut parts = JoinSet::new();
        parts.spawn(state_loop.run());
        parts.spawn(Arc::clone(&app).take_samples());
        for shard in shards {
            let thread = shard.thread.clone();
            for listener in &listeners {
                // The queue of new lines is one: whichever thread is free takes the next.
                let listener = listener.try_clone().map_err(|error| failed(&error))?;
                let (app, http) = (Arc::clone(&app), Arc::clone(&app.http));
                let accept = connection::accept(app, http, listener, draining.clone());
                parts.spawn_on(accept, &thread);
            }
            parts.spawn_on(shard.write(), &thread);
            parts.spawn_on(shard.send_heartbeats(heartbeat, keepalive), &thread);
            if let Some(receive) = shard.receive() {
                parts.spawn_on(receive, &thread);
            }
        }
        // What is left open here would keep the port taken during the drain.
        drop(listeners);

        tokio::select! {
            () = shutdown => {}
            Some(ended) = parts.join_next() => {
                return Err(match ended {
                    Ok(()) => failed(&"a part of it came to its end"),
                    Err(error) => failed(&error),
                });
            }
        }
        drain.send_replace(true);
        end(&app, &hub, drain_rate, timeout).await;
        Ok(())
    }
}

/// Waits for requests, then closes listeners, then waits for lines to end; `time` for all of it.
async fn end(app: &App, hub: &Hub, drain_rate: usize, time: Duration) {
    let latest = Instant::now() + time;
    // What is accepted reaches those who listen here, so they are closed behind it.
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
            "requests are still under way after half of shutdown_timeout: listeners are closed \
             before they are finished"
        );
    }
    let lines_ended = async {
        hub.settle().await;
        app.close_pages();
        let portion = portion(hub.count(), drain_rate, latest - Instant::now());
        while hub.count() > 0 || app.tcp_connections() > 0 {
            hub.end_some(Ending::Shutdown, portion);
            sleep(DRAIN_STEP).await;
        }
    };
    if timeout_at(latest, lines_ended).await.is_err() {
        tracing::warn!("some lines did not end in time and are cut");
    }
}

/// How many listeners are closed in one step of the drain: as `rate` a second wants it, or more if
/// half of `timeout` would not be enough for all.
fn portion(listeners: usize, rate: usize, timeout: Duration) -> usize {
    let steps = (timeout.as_secs_f64() / 2.0 / DRAIN_STEP.as_secs_f64()).max(1.0);
    let (listeners, rate) = (listeners as f64, rate as f64);
    let portion = (rate * DRAIN_STEP.as_secs_f64()).max(listeners / steps);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    let portion = portion.ceil() as usize;
    portion
}

/// Pings go with the heartbeats, so their times are counted in these.
fn keepalive(config: &Config) -> Keepalive {
    let beats = |time: Duration| {
        let beats = time.as_secs_f64() / config.heartbeat_interval.as_secs_f64();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
        let beats = beats.ceil() as u32;
        beats.clamp(1, u32::MAX / 2)
    };
    Keepalive { ping_after: beats(config.ping_interval), end_after: beats(config.ping_timeout) }
}

fn rules(config: &Config) -> Rules {
    Rules {
        connection_timeout: config.gc_conns_after,
        waiting_timeout: config.gc_waiting_conns_after,
        user_timeout: config.gc_users_after,
        channel_timeout: config.gc_channels_after,
        channel_defaults: config.channel_defaults.clone(),
        ..Rules::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drain_keeps_its_rate_unless_half_of_the_time_is_too_short() {
        let ten = Duration::from_secs(10);
        assert_eq!(portion(0, 2000, ten), 40);
        assert_eq!(portion(10_000, 2000, ten), 40, "just in five seconds");
        assert_eq!(portion(50_000, 2000, ten), 200);
        assert_eq!(portion(3, 1, ten), 1);
        assert_eq!(portion(500, 1, Duration::from_millis(1)), 500);
    }
}
