//! Reload: other settings for a running server, all of them or none.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use channelstream_core::protocol::Reloaded;
use thiserror::Error;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::app::{App, REQUESTS_WINDOW};
use crate::config::Config;
use crate::config::reload::Changes;
use crate::http::problem::Problem;
use crate::http::tls::Checked;
use crate::listener::outbox::Bounds;
use crate::node;
use crate::settings::Settings;

/// How long the files with settings may take. Each of them may be a pipe, with half of that.
const READING: Duration = Duration::from_secs(60);

/// What is said if they take longer.
const LATE: &str = "a file with settings was not read within 60 seconds";

/// Where the settings of a server are read again.
pub(crate) trait Source: Send + Sync {
    /// Reads and checks all settings. It may block.
    fn read(&self) -> Result<Read, Box<dyn Error + Send + Sync>>;

    /// Carries out what the program itself does with the settings that count from now on.
    fn apply(&self, config: &Config);
}

/// Settings that were read, and what is probably not meant in them.
pub(crate) struct Read {
    pub(crate) config: Config,
    pub(crate) warnings: Vec<String>,
}

/// What a server needs for a reload.
#[derive(Default)]
pub(crate) struct Reload {
    source: OnceLock<Arc<dyn Source>>,
    /// Held during a reload: the next one begins with its outcome.
    under_way: Mutex<()>,
}

impl Reload {
    /// Sets where settings are read again. Only the first source counts.
    pub(crate) fn set_source(&self, source: Arc<dyn Source>) {
        let _ = self.source.set(source);
    }
}

/// Why a reload changed nothing.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// The settings cannot be read, or are wrong.
    #[error(transparent)]
    Settings(Box<dyn Error + Send + Sync>),
    /// The journal did not take the rules that follow from the settings. If it did not confirm them,
    /// they may count later.
    #[error("the journal did not take the settings")]
    Journal(#[source] Box<dyn Error + Send + Sync>),
    /// The server was given its settings by the program that it is part of, which has to give it others.
    #[error("the program that this server is part of gives it its settings")]
    NoSource,
    /// The server has stopped.
    #[error("the server has stopped")]
    Stopped,
}

/// Gives a running server other settings. Cheap to clone.
#[derive(Clone)]
pub struct Reloader(Weak<App>);

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").finish_non_exhaustive()
    }
}

impl Reloader {
    pub(crate) fn new(app: &Arc<App>) -> Self {
        Self(Arc::downgrade(app))
    }

    /// Lets other settings count for requests, connections and timeouts that begin from now on. Those that
    /// need a restart stay as they are, and are named in the outcome.
    ///
    /// # Errors
    /// Returns an error if the settings do not fit together or the journal does not take them. Then
    /// nothing has changed.
    pub async fn apply(&self, config: Config) -> Result<Reloaded, ReloadError> {
        let app = self.0.upgrade().ok_or(ReloadError::Stopped)?;
        let _under_way = app.reload.under_way.lock().await;
        app.note_reload(app.apply_settings(config).await)
    }

    /// Returns how long a shutdown takes at most, as it is set now.
    pub(crate) fn shutdown_timeout(&self) -> Duration {
        let app = self.0.upgrade();
        app.map(|app| app.settings().config.shutdown_timeout).unwrap_or_default()
    }

    /// Reads the settings again where the program has them from, and lets them count.
    ///
    /// # Errors
    /// Returns an error if anything is wrong with them, as [`Reloader::apply`] does.
    pub(crate) async fn reload(&self) -> Result<Reloaded, ReloadError> {
        let app = self.0.upgrade().ok_or(ReloadError::Stopped)?;
        app.reload().await
    }
}

impl App {
    /// Reads the settings again where the program has them from, and lets them count.
    pub(crate) async fn reload(&self) -> Result<Reloaded, ReloadError> {
        let _under_way = self.reload.under_way.lock().await;
        self.note_reload(self.read_and_apply().await)
    }

    async fn read_and_apply(&self) -> Result<Reloaded, ReloadError> {
        let source = Arc::clone(self.reload.source.get().ok_or(ReloadError::NoSource)?);
        let reading = Arc::clone(&source);
        // A file of another file system may never answer. Then a thread waits for it, and not the next reload.
        let read = timeout(READING, tokio::task::spawn_blocking(move || reading.read())).await;
        let read = read.map_err(|_| ReloadError::Settings(LATE.into()))?;
        let read = read.map_err(|_| ReloadError::Stopped)?;
        let Read { config, warnings } = read.map_err(ReloadError::Settings)?;
        let mut reloaded = self.apply_settings(config).await?;
        source.apply(&self.settings().config);
        reloaded.warnings = warnings;
        Ok(reloaded)
    }

    /// Lets other settings count. What may fail comes first.
    async fn apply_settings(&self, config: Config) -> Result<Reloaded, ReloadError> {
        let (config, Changes { taken, need_restart }) = config.over(&self.settings().config);
        config
            .check_addresses(&self.local_addrs)
            .map_err(|why| ReloadError::Settings(why.into()))?;
        let tls = config.tls.as_ref().map(Checked::new).transpose();
        let tls = tls.map_err(|error| ReloadError::Settings(error.into()))?;
        let (rules, before) = (config.rules(), self.settings().config.rules());
        if rules != before {
            self.node.set_rules(rules).await.map_err(|error| match error {
                node::Error::Stopped => ReloadError::Stopped,
                error => ReloadError::Journal(error.into()),
            })?;
        }
        if let (Some(tls), Some(checked)) = (&self.tls, tls) {
            tls.replace(checked);
        }
        let bounds = Bounds { frames: config.outbox_frames, bytes: config.outbox_bytes };
        self.node.hub().set(bounds, config.max_listeners);
        self.http.set(&config);
        self.requests.set(config.max_requests_per_address, REQUESTS_WINDOW);
        self.webhooks.set(&config);
        self.sign_ins.set(config.max_failed_sign_ins, config.failed_sign_ins_window);
        let auth = self.settings().auth.with(&config);
        self.current.set(Settings::new(config, auth));
        let names = |keys: Vec<&str>| keys.into_iter().map(str::to_owned).collect();
        Ok(Reloaded::new(names(taken), names(need_restart), Vec::new()))
    }

    /// Counts a reload, and logs its outcome.
    fn note_reload(&self, outcome: Result<Reloaded, ReloadError>) -> Result<Reloaded, ReloadError> {
        match &outcome {
            Ok(Reloaded { changed, needs_restart, warnings, .. }) => {
                self.metrics.reloads_done.increment();
                for warning in warnings {
                    tracing::warn!("{warning}");
                }
                tracing::info!("settings reloaded; changed: {}", names(changed));
                if !needs_restart.is_empty() {
                    tracing::warn!(
                        "changed settings that count after a restart: {}",
                        names(needs_restart)
                    );
                }
            }
            Err(error) => {
                self.metrics.reloads_failed.increment();
                tracing::error!("settings not reloaded, those of before count: {}", text(error));
            }
        }
        outcome
    }
}

/// Returns what went wrong, with its cause.
fn text(error: &ReloadError) -> String {
    match error {
        ReloadError::Journal(cause) => format!("{error}: {cause}"),
        error => error.to_string(),
    }
}

impl From<ReloadError> for Problem {
    fn from(error: ReloadError) -> Self {
        match &error {
            ReloadError::Settings(_) | ReloadError::NoSource => Self::Conflict(text(&error).into()),
            ReloadError::Journal(_) => Self::InDoubt(text(&error).into()),
            ReloadError::Stopped => Self::Stopped,
        }
    }
}

fn names(settings: &[String]) -> String {
    if settings.is_empty() { "none".to_owned() } else { settings.join(", ") }
}
