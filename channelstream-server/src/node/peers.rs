//! What this node has heard of the others: since when they live, when they last told so, and whether their
//! state is the same.

use std::sync::{Mutex, MutexGuard, PoisonError};

use channelstream_core::state::{NodeId, State};
use indexmap::IndexMap;
use tokio::time::Instant;

/// What this node knows of another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// Since when this node knows it. It may have lived before.
    pub(crate) since: Instant,
    /// When it last told that it lives.
    pub(crate) heard: Option<Instant>,
    /// Whether its state was that of this node when they were compared last; `None` if they never were.
    pub(crate) is_same: Option<bool>,
}

/// All that are alive. The loop writes, and whoever shows them reads.
#[derive(Debug, Default)]
pub(crate) struct Peers(Mutex<IndexMap<NodeId, Peer>>);

impl Peers {
    fn lock(&self) -> MutexGuard<'_, IndexMap<NodeId, Peer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a node told of itself, and whether its state is the same, if that can be said.
    pub(super) fn hear(&self, node: NodeId, is_same: Option<bool>) {
        let now = Instant::now();
        let new = Peer { since: now, heard: None, is_same: None };
        let mut peers = self.lock();
        let peer = peers.entry(node).or_insert(new);
        peer.heard = Some(now);
        peer.is_same = is_same.or(peer.is_same);
    }

    /// Notes the nodes of a state that this one goes on from.
    pub(super) fn found(&self, state: &State) {
        let peer = Peer { since: Instant::now(), heard: None, is_same: None };
        let mut peers = self.lock();
        for row in state.nodes() {
            peers.entry(row.node).or_insert(peer);
        }
    }

    /// Forgets the nodes that are not alive.
    pub(super) fn keep(&self, state: &State) {
        let alive: Vec<_> = state.nodes().map(|row| row.node).collect();
        self.lock().retain(|node, _| alive.contains(node));
    }

    /// Returns what is known of a node.
    pub(crate) fn of(&self, node: NodeId) -> Option<Peer> {
        self.lock().get(&node).copied()
    }
}

#[cfg(test)]
mod tests {
    use channelstream_core::state::{Command, Envelope, Moment, Rules, Stamp};

    use super::*;

    fn tell(state: &mut State, node: NodeId) {
        let stamp = Stamp { now: crate::clock::now(), moment: Moment::default(), seed: 7 };
        let command = Command::Alive(Box::default());
        state.apply(Envelope { node, number: 1, stamp, command, repeat: None });
    }

    #[tokio::test(start_paused = true)]
    async fn who_lives_is_known_since_it_was_heard_of_and_forgotten_when_it_is_gone() {
        let (first, second) = (NodeId::new(1), NodeId::new(2));
        let (peers, mut state) = (Peers::default(), State::new(Rules::default()));
        tell(&mut state, first);
        peers.found(&state);
        let found = peers.of(first).unwrap();
        assert_eq!(found.heard, None);
        tokio::time::advance(std::time::Duration::from_secs(3)).await;
        peers.hear(first, Some(false));
        peers.hear(first, None);
        peers.hear(second, None);
        let heard = peers.of(first).unwrap();
        assert_eq!(heard.since, found.since);
        assert_eq!((heard.heard, heard.is_same), (Some(Instant::now()), Some(false)));
        assert_eq!(peers.of(second).unwrap().since, Instant::now());
        peers.keep(&state);
        assert!(peers.of(first).is_some() && peers.of(second).is_none());
    }
}
