//! Damage: what somebody who is no node has done to the journal on a run of Redis that lives.
//!
//! On a run that lives, nothing is lost by itself. So the nodes begin an epoch with the state of the one that is
//! furthest, in the place of all that Redis holds. A node that alone sees the damage must not do that to those that go
//! on: except for what is plainly missing, it waits until the journal has been quiet for longer than living nodes
//! are.

use std::time::Duration;

use channelstream_core::state::Position;

use super::message::{Damage, Head, Line, Request, Run, View};
use super::recovering::{LONG_WAIT, WAIT};
use super::{Broken, Machine, Phase, Rule};

/// For how long nobody may have appended. A node that lives tells so every two seconds.
const QUIET: Duration = Duration::from_secs(4);

impl Damage {
    /// Returns how long is waited for other nodes.
    pub(super) fn wait(self) -> Duration {
        match self {
            Self::Behind | Self::Anew => WAIT,
            Self::Older | Self::Foreign | Self::Stuck { .. } => QUIET,
        }
    }
}

impl<S> Machine<S> {
    /// Returns what is wrong with the journal on this run, if its epoch lives on it.
    pub(super) fn damage(&self, run: &Run, view: &View) -> Option<Damage> {
        let head = view.head.as_ref().filter(|head| head.run == *run)?;
        let at = self.order.position();
        if !self.keeps(Rule::Run) || at == Position::default() {
            return None;
        }
        let has_foreign = view.end.is_some_and(|end| end.epoch > head.epoch);
        if let Err(common) = self.order.fork(&head.epochs) {
            if common == Position::default() && self.began_before(head) {
                return Some(Damage::Anew);
            }
            return self.is_older(head, view.end, has_foreign).then_some(Damage::Older);
        }
        if view.end.is_none_or(|end| end < at) {
            Some(Damage::Behind)
        } else if has_foreign {
            Some(Damage::Foreign)
        } else if self.stuck == Some(head.epoch) {
            Some(Damage::Stuck { after: at })
        } else {
            None
        }
    }

    /// Returns `true` if this order began before that of a head with which it has nothing in common. What was answered
    /// there is appended again by who has answered it, and what is here would be lost.
    fn began_before(&self, head: &Head) -> bool {
        let mine = self.order.epochs().first().map(|began| began.epoch);
        head.epochs.first().is_none_or(|(theirs, _)| mine.is_some_and(|mine| mine <= *theirs))
    }

    /// Returns `true` if this order goes on where Redis ends, in epochs that its head does not have.
    fn is_older(&self, head: &Head, end: Option<Position>, has_foreign: bool) -> bool {
        let next = self.order.next_epoch(&head.epochs);
        next.is_some_and(|next| has_foreign || end.is_none_or(|end| end <= next.after))
    }

    /// Somebody has appended to a journal that this node has found damaged.
    pub(super) fn somebody_goes_on(&mut self, damage: Option<Damage>) {
        let Phase::Recovering(recovery) = &self.phase else { return };
        let (run, view) = recovery.place();
        self.stuck = None;
        match (damage, &view.head) {
            // They have come past what this node cannot read, and make snapshots.
            (Some(Damage::Stuck { .. }), _) => {
                self.broken = Some(Broken::Hole);
                self.hole_since.get_or_insert(self.now);
                self.load(view, None);
            }
            (Some(Damage::Older), Some(head)) => {
                let common = self.order.fork(&head.epochs).err().unwrap_or_default();
                self.diverge(view, None, common);
            }
            _ => self.settle(run, view),
        }
    }

    /// Returns `true` if entries have been missing for so long that no snapshot will have them.
    pub(super) fn is_stuck_in_a_hole(&self) -> bool {
        self.broken == Some(Broken::Hole)
            && self.hole_since.is_some_and(|since| since + LONG_WAIT <= self.now)
    }

    /// The order cannot go on from the snapshot at this position. Those that go on beyond it do not see that: they have
    /// read what is missing. So they are told, unless they have made another snapshot meanwhile.
    pub(super) fn note_useless(&mut self, snapshot: Option<Position>) {
        let before = std::mem::replace(&mut self.useless, snapshot);
        if let Some(position) = snapshot.filter(|_| before == snapshot) {
            self.ask(Line::Append, Request::Useless(position));
        }
    }

    /// The order goes on from where it is, though entries may be missing there that no snapshot has.
    pub(super) fn no_snapshot_fills(&mut self, view: &View) {
        if self.broken.take() == Some(Broken::Hole) {
            self.stuck = view.head.as_ref().map(|head| head.epoch);
        }
    }

    /// Settles although entries are missing that no snapshot has.
    pub(super) fn settle_stuck(&mut self, view: View) {
        self.no_snapshot_fills(&view);
        self.hole_since = None;
        if let Some(run) = view.head.as_ref().map(|head| head.run.clone()) {
            self.settle(run, view);
        }
    }
}
