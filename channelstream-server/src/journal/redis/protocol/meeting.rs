//! Meeting Redis: which run it is, and whether the order goes on from here, from a snapshot, or not at all.

use std::time::Duration;

use channelstream_core::state::{Order, Position};

use super::message::{Entry, Fate, Head, Kind, Line, Notice, Output, Request, Run, View};
use super::{Broken, Machine, Phase, Rule};

/// How an entry fits behind a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It is the next one.
    Next,
    /// It was given out.
    Past,
    /// Its epoch is later than all that are known.
    Unknown,
    /// Entries are missing before it.
    Hole,
}

impl<S> Machine<S> {
    /// Asks on both lines which Redis this is.
    pub(super) fn meet(&mut self) {
        self.enter(Phase::Meeting { first: None });
        self.ask(Line::Append, Request::Meet);
        self.ask(Line::Read, Request::Meet);
    }

    pub(super) fn met(&mut self, line: Line, run: Run, view: View) {
        let Phase::Meeting { first } = &mut self.phase else { return };
        let Some((other, other_run, other_view)) = first.take() else {
            *first = Some((line, run, view));
            return;
        };
        if other_run != run {
            self.hang_up();
            return;
        }
        // What is seen by the line that reads goes with what it will read.
        let view = if other == Line::Read { other_view } else { view };
        self.settle(run, view);
    }

    /// Goes on with what Redis turned out to be.
    pub(super) fn settle(&mut self, run: Run, view: View) {
        match view.head.clone() {
            Some(head) if head.run == run || !self.keeps(Rule::Run) => {
                self.recovering = None;
                if self.broken.is_some() || self.is_fresh {
                    self.load(view, None);
                } else if let Some(damage) = self.damage(&run, &view) {
                    self.notice(Notice::Damaged(damage));
                    self.recover(run, view);
                } else if let Err(common) = self.order.fork(&head.epochs) {
                    self.diverge(view, None, common);
                } else {
                    self.follow(head, view.end);
                }
            }
            _ => self.recover(run, view),
        }
    }

    /// The others went another way from `common` on.
    pub(super) fn diverge(&mut self, view: View, recovering: Option<Run>, common: Position) {
        let at = self.order.position();
        self.notice(Notice::Diverged { at, common });
        self.broken = Some(Broken::Diverged);
        self.load(view, recovering);
    }

    pub(super) fn load(&mut self, view: View, recovering: Option<Run>) {
        self.enter(Phase::Loading { view, recovering });
        self.ask(Line::Read, Request::Load);
    }

    /// Takes a snapshot, if it is one to go on from.
    pub(super) fn loaded(&mut self, snapshot: Option<(Order, S)>) {
        /// Between two attempts to get a snapshot.
        const PAUSE: Duration = Duration::from_millis(100);
        let Phase::Loading { view, recovering } = &self.phase else { return };
        let (view, recovering) = (view.clone(), recovering.clone());
        let goes_on = |order: &Order| {
            let is_newer = order.position() > self.order.position();
            let is_theirs = view.head.as_ref().is_some_and(|head| order.fork(&head.epochs).is_ok());
            (is_newer || self.is_fresh || self.broken == Some(Broken::Diverged)) && is_theirs
        };
        let loaded = snapshot.as_ref().map(|(order, _)| order.position());
        match snapshot.filter(|(order, _)| goes_on(order)) {
            Some((order, state)) => {
                (self.broken, self.useless) = (None, None);
                self.restart(order, state);
                self.meet();
            }
            None => match recovering {
                None if self.is_stuck_in_a_hole() => self.settle_stuck(view),
                None => {
                    self.note_useless(loaded);
                    self.enter(Phase::Pausing { until: self.now + PAUSE });
                }
                Some(run) => {
                    self.no_snapshot_fills(&view);
                    self.nothing = Some(run.clone());
                    self.recover(run, view);
                }
            },
        }
    }

    /// The order goes on from a snapshot. What was applied so far stays in the ring, to be appended again
    /// if the new order lacks it.
    pub(super) fn restart(&mut self, order: Order, state: S) {
        let old = std::mem::replace(&mut self.order, order).position();
        self.is_fresh = false;
        self.outputs.push_back(Output::Restart(state));
        self.own.retain(|own| {
            let number = own.entry.number;
            let is_done = self.order.has(self.node, number);
            if is_done {
                self.outputs.push_back(Output::Fate { number, fate: Fate::Done });
                // It was told as done. So this node has to bring it back if it is lost.
                self.ring.push(old, own.entry.clone());
            }
            !is_done
        });
        self.ring.restart(self.order.position());
        self.asked = 0;
    }

    /// Finds how an entry fits behind what was given out, by what the head tells of epochs.
    pub(super) fn fit(&self, position: Position, entry: &Entry, head: &Head) -> Fit {
        let at = self.order.position();
        if position <= at {
            return Fit::Past;
        }
        // Even if it is that of this order: the head is older, and the numbers were given anew.
        if position.epoch > head.epoch {
            return Fit::Unknown;
        }
        if position.epoch == at.epoch {
            return if position.number == at.number + 1 { Fit::Next } else { Fit::Hole };
        }
        let begins = entry.kind == Kind::Begin && position.number == 0;
        if begins && head.before(position.epoch) == Some(at) { Fit::Next } else { Fit::Hole }
    }
}
