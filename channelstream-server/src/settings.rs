//! The settings in force, and what is made of them. A reload replaces all of it at once.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use http::HeaderMap;

use crate::config::Config;
use crate::router::auth::Auth;

/// The settings in force at one moment.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) config: Config,
    pub(crate) auth: Auth,
    /// The settings whose value is the well-known default.
    pub(crate) default_secrets: Vec<&'static str>,
}

/// The settings in force, which change when they are reloaded. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Current(Arc<ArcSwap<Settings>>);

impl Settings {
    pub(crate) fn new(config: Config, auth: Auth) -> Self {
        Self { default_secrets: config.default_secrets(), auth, config }
    }

    /// Returns `true` if the headers carry the cookie of a sign-in that has not expired.
    pub(crate) fn is_signed_in(&self, headers: &HeaderMap) -> bool {
        self.auth.is_signed_in(headers, &self.config)
    }
}

impl Current {
    pub(crate) fn new(settings: Settings) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(settings)))
    }

    /// Returns the settings as they are now. Decisions that belong together must use one and the same.
    pub(crate) fn get(&self) -> Guard<Arc<Settings>> {
        self.0.load()
    }

    pub(crate) fn set(&self, settings: Settings) {
        self.0.store(Arc::new(settings));
    }
}
