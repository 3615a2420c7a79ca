//! What the program tells systemd: that it is ready, alive, reloading, stopping.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use crate::server::{Monitor, Seen};

/// How often the status is told where there is no watchdog.
const EVERY: Duration = Duration::from_secs(10);

/// The pause before the program is asked again while it is not ready.
const STARTING: Duration = Duration::from_millis(50);

/// How long systemd may take to read a notification: neither a reload nor the end waits for it.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the end of the program may take beside `shutdown_timeout`.
const LEEWAY: Duration = Duration::from_secs(15);

/// Tells that the program is ready once its loop answers, and from then on that it is alive for as long as
/// the loop answers, with a line about how it is. Never returns.
///
/// A journal that is away keeps nobody from being ready: a restart would not help, and the sockets are
/// open.
pub(crate) async fn reports(monitor: Monitor) {
    let watchdog = sd_notify::watchdog_enabled().map(|time| time / 2);
    let mut is_ready = false;
    loop {
        let seen = monitor.look().await;
        if let Seen { is_alive: true, standing, listeners } = seen {
            let mut states = vec![format!("STATUS={standing}, {listeners} listeners")];
            if !is_ready {
                states.push("READY=1".to_owned());
                is_ready = true;
            }
            if watchdog.is_some() {
                states.push("WATCHDOG=1".to_owned());
            }
            tell(states).await;
        }
        sleep(if is_ready { watchdog.unwrap_or(EVERY).min(EVERY) } else { STARTING }).await;
    }
}

/// Tells that a reload begins, or that it has ended.
pub(crate) async fn is_reloading(begins: bool) {
    let now = NotifyState::monotonic_usec_now().map(|now| now.to_string());
    let states = match (begins, now) {
        (true, Ok(now)) => vec!["RELOADING=1".to_owned(), now],
        _ => vec!["READY=1".to_owned()],
    };
    tell(states).await;
}

/// Tells that the program stops, and how long that may take.
pub(crate) async fn stops(shutdown_timeout: Duration) {
    let time = (shutdown_timeout + LEEWAY).as_micros();
    let time = u32::try_from(time).unwrap_or(u32::MAX);
    let states = [NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(time)];
    tell(states.iter().map(ToString::to_string).collect()).await;
}

/// Tells systemd, on a thread that may wait for it.
async fn tell(states: Vec<String>) {
    let telling = spawn_blocking(move || {
        let states: Vec<_> = states.iter().map(|state| NotifyState::Custom(state)).collect();
        sd_notify::notify(&states)
    });
    match timeout(PATIENCE, telling).await {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(error))) => tracing::warn!(%error, "systemd cannot be notified"),
        Ok(Err(_)) | Err(_) => tracing::warn!("systemd does not read notifications"),
    }
}
