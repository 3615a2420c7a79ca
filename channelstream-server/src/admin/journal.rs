//! The journal and the nodes on it, as the admin page and `/admin/stats.json` show them.

use std::sync::Arc;
use std::time::Duration;

use channelstream_core::state::{NodeRow, Position, State};
use serde::Serialize;

use crate::app::App;
use crate::config::{Journal, JournalSync};
use crate::journal::{Figures, RedisFigures};

/// The most nodes that are shown.
const NODES: usize = 100;

/// What the state knows of the journal and the nodes.
pub(super) struct Known {
    position: Position,
    nodes: Vec<NodeRow>,
}

impl Known {
    pub(super) fn of(state: &State) -> Self {
        Self { position: state.order().position(), nodes: state.nodes().take(NODES).collect() }
    }
}

/// The journal. What a kind of journal does not have is left out.
#[derive(Serialize)]
pub(super) struct JournalView<'a> {
    kind: &'static str,
    state: &'static str,
    /// Commands of this node that were appended and are not applied yet.
    waiting: usize,
    #[serde(flatten)]
    kept: Option<Kept>,
    #[serde(flatten)]
    place: Option<Place<'a>>,
}

/// What a journal has that is not over with the process.
#[derive(Serialize)]
struct Kept {
    /// The epoch and number of the newest entry that is applied here.
    position: String,
    /// Bytes since the newest snapshot.
    bytes: u64,
    /// `None` before the first.
    snapshot: Option<Snapshot>,
}

#[derive(Serialize)]
struct Snapshot {
    bytes: u64,
    /// Seconds. If the snapshot is older than the process, it is the time since the start.
    age: f64,
}

/// Where a journal is.
#[derive(Serialize)]
#[serde(untagged)]
enum Place<'a> {
    File {
        directory: String,
        /// As the setting says it.
        sync: String,
    },
    Redis {
        /// As the setting says it, without credentials.
        target: &'a str,
        /// Where Redis was found last.
        address: Option<Arc<str>>,
        name: String,
        replicas: usize,
        /// Seconds for which something that was read has been waiting to be applied.
        lag: f64,
    },
}

impl<'a> JournalView<'a> {
    pub(super) fn new(app: &'a App, known: &Known) -> Self {
        let journal = app.node.journal();
        let files = journal.figures().map(Figures::sample);
        let redis = journal.redis_figures();
        let sampled = redis.map(RedisFigures::sample);
        let position = format!("{}-{}", known.position.epoch.get(), known.position.number);
        let snapshot = |bytes: u64, age: Duration| {
            (bytes > 0).then_some(Snapshot { bytes, age: age.as_secs_f64() })
        };
        let kept = match (files, sampled) {
            (Some(files), _) => Some(Kept {
                position,
                bytes: files.bytes,
                snapshot: snapshot(files.snapshot_bytes, files.snapshot_age),
            }),
            (_, Some(redis)) => Some(Kept {
                position,
                bytes: redis.bytes,
                snapshot: redis.snapshot_age.and_then(|age| snapshot(redis.snapshot_bytes, age)),
            }),
            _ => None,
        };
        let settings = app.settings();
        let place = match (&settings.config.journal, redis.zip(sampled)) {
            (Journal::File { directory, sync }, _) => Some(Place::File {
                directory: directory.display().to_string(),
                sync: match sync {
                    JournalSync::Always => "always".to_owned(),
                    JournalSync::Every(time) => format!("{} s", time.as_secs_f64()),
                    JournalSync::Never => "never".to_owned(),
                },
            }),
            (Journal::Redis(settings), Some((redis, sampled))) => Some(Place::Redis {
                target: redis.target(),
                address: redis.address(),
                name: settings.name.clone(),
                replicas: settings.replicas,
                lag: sampled.lag.as_secs_f64(),
            }),
            _ => None,
        };
        Self {
            kind: journal.kind(),
            state: journal.standing().as_str(),
            waiting: app.node.under_way().0,
            kept,
            place,
        }
    }
}

/// A node on the journal. Times are in seconds.
#[derive(Serialize)]
pub(super) struct NodeView {
    id: String,
    /// Whether it is the one that answers.
    this: bool,
    /// How long it is alive at least: as long as this node knows it.
    alive: Option<f64>,
    /// Since it was heard of.
    heard: Option<f64>,
    /// The open sockets, streams and waiting polls, which a node knows of itself.
    listeners: Option<usize>,
    /// Whether its state was that of this node when they were compared last.
    same: Option<bool>,
}

/// Returns the nodes of a journal that several share, the one that came first before the others; `None` of
/// a journal that one node has for itself.
pub(super) fn nodes(app: &App, known: &Known) -> Option<Vec<NodeView>> {
    if app.node.journal().is_own() {
        return None;
    }
    let view = |row: &NodeRow| {
        let id = row.node.to_string();
        if row.node == app.node.id() {
            return NodeView {
                id,
                this: true,
                alive: Some(app.started.elapsed().as_secs_f64()),
                heard: None,
                listeners: Some(app.node.hub().count()),
                same: None,
            };
        }
        let peer = app.node.peers().of(row.node);
        // Of one that has not told of itself here yet, others have heard.
        let heard = peer.and_then(|peer| peer.heard).map(|heard| heard.elapsed()).or(row.silent);
        NodeView {
            id,
            this: false,
            alive: peer.map(|peer| peer.since.elapsed().as_secs_f64()),
            heard: heard.map(|heard| heard.as_secs_f64()),
            listeners: None,
            same: peer.and_then(|peer| peer.is_same),
        }
    };
    Some(known.nodes.iter().map(view).collect())
}
