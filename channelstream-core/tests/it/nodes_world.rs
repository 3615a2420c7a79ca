//! A world with several nodes: how they join, tell of themselves, leave, die and are taken for dead.

use channelstream_core::state::stored::{LEVEL, Levels};
use channelstream_core::state::{Alive, Command, ListenerKind, Rules, Sent, SnapshotError, State};

use crate::world::{End, World, millis, node_id};

impl World {
    /// A world with so many nodes, all of which have told of themselves.
    pub(crate) fn of_nodes(count: usize, rules: Rules) -> Self {
        Self::of_nodes_at(count, rules, LEVEL)
    }

    /// The same at this level.
    pub(crate) fn of_nodes_at(count: usize, rules: Rules, level: u32) -> Self {
        let mut w = Self::at_level(rules, level);
        for _ in 1..count {
            w.join_node();
        }
        (0..count).for_each(|node| w.tell(node));
        // Where nobody had told of itself, the second time counts.
        (0..count).for_each(|node| w.tell(node));
        w
    }

    /// Adds a node that begins with a snapshot, and returns its number.
    pub(crate) fn join_node(&mut self) -> usize {
        self.join_node_of(Levels::KNOWN).unwrap()
    }

    /// Adds a node that knows these levels.
    pub(crate) fn join_node_of(&mut self, known: Levels) -> Result<usize, SnapshotError> {
        let number = self.others.len() + 1;
        let state = State::restore_for(&self.state.snapshot(), known)?;
        self.others.push(state.for_node(node_id(number)));
        Ok(number)
    }

    /// The next commands are submitted to this node.
    pub(crate) fn on(&mut self, node: usize) -> &mut Self {
        self.at = node;
        self
    }

    /// What a node would tell of itself now.
    pub(crate) fn look(&self, node: usize) -> Alive {
        let mut but = Vec::new();
        for (id, entry) in (0..).zip(&self.listeners).filter(|(_, entry)| entry.node == node) {
            if !matches!(entry.end, None | Some(End::Closing)) {
                continue;
            }
            let waiting = entry.outbox.iter().map(|got| got.sequence).chain(entry.missed).min();
            let whole = waiting.map(|first| first.saturating_sub(1));
            let behind = entry.behind.as_ref().map(|behind| behind.position().unwrap_or(0));
            if let Some(sent) = whole.into_iter().chain(behind).min() {
                but.push((channelstream_core::state::ListenerId::new(id), sent));
            }
        }
        Alive {
            level: self.state.level(),
            position: self.state.order().position(),
            digest: self.state.digest(),
            sent: self.state.sequence(),
            but,
        }
    }

    /// Lets a node tell of itself.
    pub(crate) fn tell(&mut self, node: usize) {
        let alive = self.look(node);
        self.say_alive(node, alive);
    }

    pub(crate) fn say_alive(&mut self, node: usize, alive: Alive) {
        self.apply_at(node, Command::Alive(Box::new(alive)));
    }

    /// Kills a node: nothing comes of it any more, and what waited there is lost.
    pub(crate) fn kill(&mut self, node: usize) {
        self.dead.insert(node);
        self.held.retain(|(of, ..)| *of != node);
        for entry in self.listeners.iter_mut().filter(|entry| entry.node == node) {
            if entry.end.is_none() {
                entry.end = Some(End::Closing);
            }
            entry.outbox.clear();
        }
    }

    /// Lets so much time pass for these nodes, each of which ticks every 100 ms.
    pub(crate) fn pass(&mut self, milliseconds: u64, nodes: &[usize]) {
        for _ in 0..milliseconds / 100 {
            self.jump(millis(100));
            nodes.iter().for_each(|node| self.apply_at(*node, Command::Tick));
        }
    }

    /// Lets the servers close what they still have to close.
    pub(crate) fn release_closes(&mut self) {
        while let Some((node, mut close, reports)) = self.held.pop_front() {
            if let Command::Close { sent, .. } = &mut close
                && reports
                && *sent != Sent::default()
            {
                // Nothing of what came since waits there.
                sent.up_to = self.state.sequence();
            }
            self.apply_at(node, close);
        }
    }

    /// Opens a listener on a node.
    #[track_caller]
    pub(crate) fn open_on(&mut self, node: usize, label: &str, kind: ListenerKind) {
        self.at = node;
        self.open(label, kind).unwrap();
    }

    /// Asserts that all nodes have the same state.
    #[track_caller]
    pub(crate) fn check_nodes(&self) {
        let snapshot = self.state.snapshot();
        for other in &self.others {
            assert!(other.snapshot() == snapshot, "the states of two nodes differ");
        }
    }

    /// The numbers of the nodes that are alive, the one that came first before the others.
    pub(crate) fn alive(&self) -> Vec<usize> {
        let number = |id| (0..100).find(|number| node_id(*number) == id).unwrap();
        self.state.nodes().map(|row| number(row.node)).collect()
    }
}
