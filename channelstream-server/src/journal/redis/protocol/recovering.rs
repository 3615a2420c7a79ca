//! Recovering: on another run of Redis, the nodes agree who begins the next epoch and where.

use std::cmp::Reverse;
use std::time::Duration;

use bytes::Bytes;
use channelstream_core::protocol::Epoch;
use channelstream_core::state::{NodeId, Position};

use super::meeting::Fit;
use super::message::{Beginning, Damage, Entry, Line, Notice, Output, Request, Run, View};
use super::{ALIVE, Broken, Machine, PAUSES, Phase, Rule};

/// How often a node says how far it is.
const CLAIM: Duration = Duration::from_millis(100);

/// How long a node waits for the claims of others that live.
pub(super) const WAIT: Duration = Duration::from_secs(2);

/// How long a node without a state waits for one that has one, and how long entries that do not fit are
/// waited for.
pub(super) const LONG_WAIT: Duration = Duration::from_secs(6);

/// How many entries are put back at once. Each lot follows the one before, so that a lot which fails, or
/// that of another node, leaves no hole.
const PUT_BACK: usize = 64;

/// A node on a run of Redis that has no epoch yet, or has lost entries of its epoch.
#[derive(Debug)]
pub(super) struct Recovery {
    run: Run,
    view: View,
    stage: Stage,
    next_claim: Duration,
    is_claiming: bool,
    /// Whether somebody else has claimed.
    alone: bool,
    /// Nothing of what Redis has is of this order.
    is_anew: bool,
    /// Where Redis ended when nothing of what was read did fit.
    read_to: Option<Position>,
    /// The newest entry of Redis was read, and is not another one than this order has there.
    is_end_mine: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It reads what Redis has beyond its position.
    Reading,
    /// It has read all that fits, and says so.
    Claiming,
    /// It waits for its own snapshot, and goes on claiming.
    Snapshotting,
    /// It has asked Redis for the next epoch.
    Beginning { put_back: usize, rebuilt: bool },
}

impl Recovery {
    /// Returns `true` if the epoch of the head lives on this run.
    fn has_epoch(&self) -> bool {
        self.view.head.as_ref().is_some_and(|head| head.run == self.run)
    }

    /// Returns the run, and what was seen there last.
    pub(super) fn place(&self) -> (Run, View) {
        (self.run.clone(), self.view.clone())
    }

    pub(super) fn wake(&self) -> Option<Duration> {
        let claims = matches!(self.stage, Stage::Claiming | Stage::Snapshotting);
        (claims && !self.is_claiming).then_some(self.next_claim)
    }
}

impl<S> Machine<S> {
    pub(super) fn recover(&mut self, run: Run, view: View) {
        if self.recovering.as_ref().is_none_or(|(recovering, _)| *recovering != run) {
            self.recovering = Some((run.clone(), self.now));
        }
        let wants_state = self.broken.is_some() || self.is_fresh;
        if wants_state && view.head.is_some() && self.nothing.as_ref() != Some(&run) {
            self.load(view, Some(run));
            return;
        }
        self.broken = None;
        let recovery = Recovery {
            run,
            view,
            stage: Stage::Reading,
            next_claim: self.now,
            is_claiming: false,
            alone: true,
            is_anew: false,
            read_to: None,
            is_end_mine: false,
        };
        self.enter(Phase::Recovering(recovery));
        self.read_to_end();
    }

    /// Reads what Redis has beyond the position, or at least its newest entry: somebody who is no node may have appended
    /// to this run before it has an epoch.
    fn read_to_end(&mut self) {
        let position = self.order.position();
        let Phase::Recovering(recovery) = &mut self.phase else { return };
        recovery.stage = Stage::Reading;
        recovery.is_end_mine = false;
        let after = recovery.view.end.map_or(position, |end| position.min(just_before(end)));
        self.ask(Line::Read, Request::Read { after, waits: false, epoch: None });
    }

    /// Takes what Redis has beyond the position.
    pub(super) fn recovered(&mut self, entries: Vec<(Position, Entry)>) {
        let mut moved = false;
        for (position, entry) in entries {
            let Phase::Recovering(recovery) = &mut self.phase else { return };
            if recovery.view.end == Some(position) {
                recovery.is_end_mine = self.ring.at(position).is_none_or(|mine| *mine == entry);
            }
            let Phase::Recovering(recovery) = &self.phase else { return };
            let fit = match &recovery.view.head {
                None => Fit::Unknown,
                Some(head) => self.fit(position, &entry, head),
            };
            match fit {
                Fit::Next => self.give(position, entry),
                Fit::Past => continue,
                Fit::Hole if !self.keeps(Rule::Holes) => self.give(position, entry),
                Fit::Hole if recovery.view.head.as_ref().map(|head| head.epoch) == self.stuck => {
                    break;
                }
                Fit::Hole => {
                    self.hole_in_recovery();
                    return;
                }
                // It is being put back by somebody, whose head will tell what it is.
                Fit::Unknown => break,
            }
            moved = true;
        }
        let after = self.order.position();
        let Phase::Recovering(recovery) = &mut self.phase else { return };
        if moved {
            self.ask(Line::Read, Request::Read { after, waits: false, epoch: None });
            return;
        }
        recovery.stage = Stage::Claiming;
        recovery.read_to = recovery.view.end;
        recovery.next_claim = self.now;
        self.claim_again();
    }

    /// Redis has another continuation than this order, or not all of it: a snapshot is needed.
    fn hole_in_recovery(&mut self) {
        let Phase::Recovering(recovery) = &self.phase else { return };
        let (run, view) = recovery.place();
        let epochs = view.head.as_ref().map_or(&[][..], |head| &head.epochs[..]);
        if let Err(common) = self.order.fork(epochs) {
            self.diverge(view, Some(run), common);
        } else {
            self.notice(Notice::Hole { after: self.order.position() });
            self.broken = Some(Broken::Hole);
            self.load(view, Some(run));
        }
    }

    /// Says how far this node is, if it is time.
    pub(super) fn claim_again(&mut self) {
        let (position, now) = (self.order.position(), self.now);
        let Phase::Recovering(recovery) = &mut self.phase else { return };
        if recovery.wake().is_some_and(|wake| wake <= now) {
            recovery.is_claiming = true;
            recovery.next_claim = now + CLAIM;
            let run = recovery.run.clone();
            self.ask(Line::Append, Request::Claim { run, position });
        }
    }

    /// Compares how far all nodes are.
    pub(super) fn claimed(&mut self, claims: &[(NodeId, Position)], view: View) {
        let position = self.order.position();
        let (node, waited) = (self.node, self.waited());
        let Phase::Recovering(recovery) = &self.phase else { return };
        let damage = self.damage(&recovery.run, &view);
        let Phase::Recovering(recovery) = &mut self.phase else { return };
        recovery.is_claiming = false;
        recovery.is_anew = damage == Some(Damage::Anew);
        recovery.alone &= claims.iter().all(|(claiming, _)| *claiming == node);
        let has_moved = std::mem::replace(&mut recovery.view, view).end != recovery.view.end;
        if recovery.has_epoch() && damage.is_none() {
            let (run, view) = recovery.place();
            self.settle(run, view);
            return;
        }
        let wait = damage.map_or(WAIT, Damage::wait);
        if has_moved && wait > WAIT {
            self.somebody_goes_on(damage);
            return;
        }
        let Phase::Recovering(recovery) = &mut self.phase else { return };
        if recovery.stage != Stage::Claiming {
            return;
        }
        let end = recovery.view.end;
        if damage.is_none() && recovery.read_to != end {
            self.read_to_end();
            return;
        }
        if damage.is_none() && end.is_some_and(|end| end > position) && waited < LONG_WAIT {
            return;
        }
        let has_nothing = position == Position::default();
        if has_nothing && recovery.view.head.is_none() && end.is_some() {
            self.notice(Notice::Headless);
            return;
        }
        let enough = if has_nothing {
            waited >= LONG_WAIT
        } else {
            let all_are_here = wait <= WAIT && self.all_have_claimed(claims);
            !self.keeps(Rule::Wait) || waited >= wait || all_are_here
        };
        let furthest = claims.iter().max_by_key(|(node, position)| (*position, Reverse(*node)));
        if enough && furthest.is_none_or(|(furthest, _)| *furthest == node) {
            self.take_over();
        }
    }

    fn waited(&self) -> Duration {
        self.recovering.as_ref().map_or(Duration::ZERO, |(_, since)| self.now - *since)
    }

    /// Returns `true` if all nodes have claimed whose entries were seen shortly before the last one.
    fn all_have_claimed(&self, claims: &[(NodeId, Position)]) -> bool {
        let latest = self.seen.values().max().copied().unwrap_or_default();
        let alive = self.seen.iter().filter(|(_, seen)| **seen + ALIVE >= latest);
        alive.into_iter().all(|(node, _)| claims.iter().any(|(claiming, _)| claiming == node))
    }

    /// Puts back what Redis lacks and begins the next epoch, or asks for the snapshot that it begins with.
    fn take_over(&mut self) {
        let (position, at_any_end) = (self.order.position(), !self.keeps(Rule::End));
        let Phase::Recovering(recovery) = &mut self.phase else { return };
        // Without a head, nothing tells what the entries are. On a run that went back, others may have been
        // appended at the same positions, and what somebody else has appended to any run would stay in the way.
        let is_known = (recovery.is_end_mine || at_any_end) && !recovery.has_epoch();
        let known = recovery.view.head.as_ref().filter(|_| is_known);
        // Nor what entries are of a later epoch than the newest: somebody may have appended to an older journal.
        let end = recovery.view.end.filter(|end| known.is_some_and(|head| end.epoch <= head.epoch));
        let end = end.filter(|_| position != Position::default());
        let Some((mut after, lacking)) = end.and_then(|end| Some((end, self.ring.after(end)?)))
        else {
            recovery.stage = Stage::Snapshotting;
            self.outputs.push_back(Output::Snapshot);
            return;
        };
        let lacking: Vec<_> = lacking.cloned().collect();
        let put_back = lacking.len();
        for entries in lacking.chunks(PUT_BACK) {
            self.ask(Line::Append, Request::PutBack { after, entries: entries.to_vec() });
            after = entries.last().map_or(after, |(position, _)| *position);
        }
        self.begin(put_back, Some(position), None);
    }

    /// Begins the next epoch with a snapshot in the place of all that Redis holds.
    pub(super) fn begin_with(&mut self, snapshot: Bytes) {
        if let Phase::Recovering(recovery) = &self.phase
            && recovery.stage == Stage::Snapshotting
        {
            let end = recovery.view.end;
            self.begin(0, end, Some(snapshot));
        }
    }

    fn begin(&mut self, put_back: usize, end: Option<Position>, instead: Option<Bytes>) {
        let after = self.order.position();
        let Phase::Recovering(recovery) = &mut self.phase else { return };
        recovery.stage = Stage::Beginning { put_back, rebuilt: instead.is_some() };
        let seen = recovery.view.head.as_ref().map(|head| head.epoch);
        // Behind the last epoch none could begin. Somebody else has set it, and it goes with all that is replaced.
        let ends =
            end.map(|end| end.epoch).filter(|epoch| instead.is_none() || epoch.get() != u64::MAX);
        let known = [seen, ends, Some(after.epoch)];
        let beginning = Beginning {
            seen,
            end,
            anywhere: recovery.is_anew,
            run: recovery.run.clone(),
            above: known.into_iter().flatten().max().unwrap_or_default(),
            after,
            epochs: self.order.epochs().iter().map(|began| (began.epoch, began.after)).collect(),
            alone: recovery.alone,
            instead,
        };
        self.ask(Line::Append, Request::Begin(Box::new(beginning)));
    }

    pub(super) fn begun(&mut self, is_done: bool) {
        if let Phase::Recovering(recovery) = &self.phase
            && let Stage::Beginning { put_back, rebuilt } = recovery.stage
            && is_done
        {
            self.pause = PAUSES.0;
            self.notice(Notice::Begins { after: self.order.position(), put_back, rebuilt });
        }
        self.meet();
    }
}

/// Returns the position from which on a read begins with the entry at this one.
fn just_before(at: Position) -> Position {
    match at.number.checked_sub(1) {
        Some(number) => Position { number, ..at },
        None => {
            let epoch = Epoch::new(at.epoch.get().saturating_sub(1));
            Position { epoch, number: u64::MAX }
        }
    }
}
