//! Monitor: how a running server is, for what supervises its process.

use std::sync::{Arc, Weak};

use crate::app::App;

/// Looks at a running server. It does not keep the server alive.
#[derive(Clone)]
pub(crate) struct Monitor(Weak<App>);

/// How a server is at one moment.
pub(crate) struct Seen {
    /// The loop that owns the state answers.
    pub(crate) is_alive: bool,
    /// What `/readyz` says.
    pub(crate) standing: &'static str,
    pub(crate) listeners: usize,
}

impl Monitor {
    pub(super) fn new(app: &Arc<App>) -> Self {
        Self(Arc::downgrade(app))
    }

    pub(crate) async fn look(&self) -> Seen {
        let Some(app) = self.0.upgrade() else {
            return Seen { is_alive: false, standing: "stopped", listeners: 0 };
        };
        let is_alive = app.is_alive().await;
        let standing = app.why_not_ready().unwrap_or(if is_alive { "ready" } else { "stuck" });
        Seen { is_alive, standing, listeners: app.node.hub().count() }
    }
}
