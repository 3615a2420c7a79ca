//! What a node tells of itself to those that read its journal: that it lives, how far its listeners are,
//! and what its state looks like.

use std::time::Duration;

use channelstream_core::state::stored::{Levels, UnknownLevel};
use channelstream_core::state::{Alive, Command, Envelope, Rules, State};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::digests::Digests;
use super::peers::Peers;
use super::{Loop, Node};
use crate::journal::Standing;
use crate::listener::hub::Look;
use crate::metrics::Metrics;

/// How often a node tells of itself at least. It is a fraction of the time after which a silent node is
/// taken for dead.
const EVERY: Duration = Duration::from_secs(2);

/// How soon it does so after something was sent. If it dies, no more than this comes twice to its clients.
const SOON: Duration = Duration::from_millis(250);

/// What a node needs to tell of itself.
pub(super) struct Telling {
    /// The rules that the settings of the node say.
    rules: Rules,
    known: Levels,
    /// The level is not to be raised.
    holds: bool,
    due: Instant,
    /// What gathers the reports of the listeners and tells them.
    under_way: Option<JoinHandle<()>>,
    digests: Digests,
    /// The state is another one than this node began with.
    has_joined: bool,
    /// The level was raised to one that can say more of the rules than those before.
    has_more_rules: bool,
}

impl Telling {
    pub(super) fn new(rules: Rules, known: Levels, holds: bool) -> Self {
        let (under_way, digests, due) = (None, Digests::default(), Instant::now());
        let (has_joined, has_more_rules) = (false, false);
        Self { rules, known, holds, due, under_way, digests, has_joined, has_more_rules }
    }

    /// Notes that the order goes on from another state.
    pub(super) fn restarted(&mut self) {
        self.has_joined = true;
        self.due = Instant::now();
    }

    /// Returns when it is time to tell.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Notes a command of this node.
    pub(super) fn sent(&mut self, command: &Command) {
        if let Command::Rules(rules) = command {
            self.rules.clone_from(rules);
        }
    }

    /// Compares what another node tells with what this one knows.
    pub(super) fn check(&self, envelope: &Envelope, peers: &Peers, metrics: &Metrics) {
        match &envelope.command {
            Command::Alive(alive) => {
                let is_same = self.digests.is_same(alive.position, alive.digest);
                peers.hear(envelope.node, is_same);
                if is_same == Some(false) {
                    metrics.digests_differed.increment();
                    tracing::error!(
                        node = ?envelope.node, position = ?alive.position,
                        "another node has another state at the same place: one of the two is wrong"
                    );
                }
            }
            Command::Rules(rules) if **rules != self.rules => warn_of_rules(),
            _ => {}
        }
    }

    /// Notes that an envelope was applied, and whether something was sent to listeners.
    pub(super) fn applied(&mut self, state: &State, has_sent: bool) {
        self.digests.note(state.order().position(), state.digest());
        if has_sent {
            self.due = self.due.min(Instant::now() + SOON);
        }
    }
}

pub(super) fn warn_of_rules() {
    tracing::warn!(
        "servers on one journal were started with different settings: those of the last one count \
         where they are about connections, channels and messages"
    );
}

impl Loop {
    /// Goes on at the level in force, which was another one.
    ///
    /// # Errors
    /// Returns an error if this node does not know it: the others had taken it for dead.
    pub(super) fn level_changed(&mut self) -> Result<(), UnknownLevel> {
        let level = self.state.level();
        if let Some(telling) = &mut self.telling {
            telling.known.check(level)?;
            telling.has_more_rules = telling.rules.since() == level;
            telling.due = Instant::now();
        }
        tracing::info!(
            level,
            "the journal was raised to another level: releases that do not know it can no longer join"
        );
        self.node.journal().set_level(level);
        Ok(())
    }

    /// Tells of this node, what its listeners were sent of all that is applied.
    pub(super) async fn tell(&mut self) {
        let Some(telling) = &mut self.telling else { return };
        if telling.under_way.as_ref().is_some_and(|task| !task.is_finished()) {
            telling.due = Instant::now() + SOON;
            return;
        }
        telling.due = Instant::now() + EVERY;
        if telling.has_joined && self.node.journal().standing() == Standing::Following {
            // The rules of the state are those of who began it, or of who joined last.
            let joins = *self.state.rules() != telling.rules
                && self.node.join_with(telling.rules.clone()).is_err();
            telling.has_joined = joins;
        }
        if telling.has_more_rules {
            let command = Command::Rules(Box::new(telling.rules.clone()));
            telling.has_more_rules = self.node.append(command, None).is_err();
        }
        // Who holds says nothing of what else it knows. So no other node raises the level either.
        let level = if telling.holds { self.state.level() } else { telling.known.newest };
        let leads = self.rank() == 0;
        self.node.journal().lead(leads);
        self.node.peers().keep(&self.state);
        if leads && let Some(level) = self.state.next_level() {
            // If it cannot be appended now, it is still due the next time.
            let _ = self.node.append(Command::Raise(level), None);
        }
        let (position, digest) = (self.state.order().position(), self.state.digest());
        let look = self.node.hub().look(self.state.sequence()).await;
        let Some(telling) = &mut self.telling else { return };
        let alive = Alive { level, position, digest, ..Alive::default() };
        telling.under_way = Some(tokio::spawn(tell(self.node.clone(), look, alive)));
    }
}

async fn tell(node: Node, look: Look, alive: Alive) {
    // Without a report a thread is gone, and the server stops.
    let Some((sent, but)) = look.reports().await else { return };
    let alive = Box::new(Alive { sent, but, ..alive });
    // While the journal is away, there is nobody to tell, and later there is more.
    let _ = node.submit(Command::Alive(alive)).await;
}

#[cfg(test)]
mod tests {
    use channelstream_core::state::{Moment, NodeId, Position, Stamp};

    use super::*;

    fn telling(rules: Rules) -> Telling {
        Telling::new(rules, Levels::KNOWN, false)
    }

    fn envelope(number: u64, command: Command) -> Envelope {
        let stamp = Stamp { now: crate::clock::now(), moment: Moment::default(), seed: 7 };
        Envelope { node: NodeId::new(5), number, stamp, command, repeat: None }
    }

    #[tokio::test]
    async fn a_digest_that_differs_is_counted() {
        let rules = Rules::default();
        let (mut telling, metrics) = (telling(rules.clone()), Metrics::default());
        let peers = Peers::default();
        let mut state = State::new(rules);
        state.apply(envelope(1, Command::Tick));
        telling.applied(&state, false);
        let (position, digest) = (state.order().position(), state.digest());
        let tells = |position, digest| {
            let alive = Alive { position, digest, ..Alive::default() };
            envelope(2, Command::Alive(Box::new(alive)))
        };
        telling.check(&tells(position, digest), &peers, &metrics);
        telling.check(&tells(Position { number: 9, ..position }, digest + 1), &peers, &metrics);
        assert_eq!(metrics.digests_differed.get(), 0);
        assert_eq!(peers.of(NodeId::new(5)).unwrap().is_same, Some(true), "as it was known last");
        telling.check(&tells(position, digest + 1), &peers, &metrics);
        assert_eq!(metrics.digests_differed.get(), 1);
        assert_eq!(peers.of(NodeId::new(5)).unwrap().is_same, Some(false));
    }

    #[tokio::test]
    async fn what_was_sent_is_told_soon() {
        let rules = Rules::default();
        let (mut telling, state) = (telling(rules.clone()), State::new(rules));
        telling.due = Instant::now() + EVERY;
        telling.applied(&state, false);
        assert!(telling.due() > Instant::now() + SOON);
        telling.applied(&state, true);
        assert!(telling.due() <= Instant::now() + SOON);
    }
}
