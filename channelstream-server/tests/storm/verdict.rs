//! The verdict: what a listener had to be given, and what it may have been given, of a stream.
//!
//! Between two steps of a connection the model knows how things stand: whether it is in the
//! channel, and which listeners it has. Each step took effect within a window of places in the
//! stream, so of a frame within a window it is not known before or after which step it came; a
//! frame is missing if it had to be given in every possible case, and wrong if in none.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::{Action, End, Key, Life, Listener, Received, Record, Stream};
use crate::order::Order;

/// How long a listener waits at most for what an older one on another node was sent. After that, what the
/// older one was sent lately may come again.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// The most faults that are reported for one connection and stream.
const TOLD: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Alive,
    /// Disconnected; until it is collected it may be given more.
    Doomed,
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hearing {
    Nobody,
    By(usize),
    /// Its client has begun to end it; whether the server knows is not known.
    Ending(usize),
}

/// How things stand after a step.
#[derive(Clone, Copy, Debug)]
struct Standing {
    phase: Phase,
    member: bool,
    hearing: Hearing,
    /// Within these places the step took effect.
    window: (usize, usize),
}

/// Whether a frame had to be given, and whether it may have been.
#[derive(Clone, Copy, Debug)]
struct Due {
    must: bool,
    may: bool,
}

const NEVER: Due = Due { must: false, may: false };

/// One connection and one stream.
struct View<'a> {
    life: &'a Life,
    order: &'a Order,
    standings: Vec<Standing>,
    /// First and last place that each listener was given.
    given: Vec<Option<(usize, usize)>>,
}

/// Checks all that a connection was given of a stream: the number of frames.
pub(crate) fn check(record: &Record, life: &Life, stream: Stream, order: &Order) -> usize {
    let mut faults = Vec::new();
    let mut view = View { life, order, standings: standings(life, stream, order), given: vec![] };
    let mut places = BTreeSet::new();
    let mut all = Vec::new();
    let mut newest = None;
    let mut again = BTreeSet::new();
    for listener in &life.listeners {
        let mut given = None;
        let received = listener.received.iter().enumerate();
        for (number, received) in received.filter(|(_, received)| received.stream == stream) {
            let Some(place) = order.place(received.key) else {
                faults.push(format!("{received:?} is not of this stream"));
                continue;
            };
            let was_late = listener.waits
                && received.catchup
                && received.when.duration_since(listener.begun) >= LONGEST_WAIT;
            if !places.insert(place) && !again.remove(&place) && !was_late {
                faults.push(format!("{received:?} came twice (place {place})"));
            } else if newest > Some(place) && !was_late {
                faults.push(format!("{received:?} came late (place {place} after {newest:?})"));
            }
            if listener.again == Some(number) {
                again.insert(place);
            }
            newest = newest.max(Some(place));
            given = Some((given.map_or(place, |(first, _)| first), place));
            all.push((view.given.len(), place, received));
        }
        view.given.push(given);
    }
    for (listener, place, received) in &all {
        if let Err(why) = view.judge(*listener, *place, received) {
            faults.push(format!("{received:?} (place {place}, listener {listener}): {why}"));
        }
    }
    for (place, item) in order.items.iter().enumerate().take(order.end + 1) {
        if !places.contains(&place) && item.is_for(life.user) && view.due(place).must {
            faults.push(format!("{:?} never came (place {place})", item.key));
        }
    }
    if !faults.is_empty() {
        let count = faults.len();
        faults.truncate(TOLD);
        record.fault(format!(
            "u{} on {}, {stream:?}: {count} faults\n    {}\n  it did{}",
            life.user,
            life.id,
            faults.join("\n    "),
            view.story()
        ));
    }
    all.len()
}

fn standings(life: &Life, stream: Stream, order: &Order) -> Vec<Standing> {
    let is_in = |channels: &BTreeSet<usize>| match stream {
        Stream::Channel(channel) => channels.contains(&channel),
        Stream::Private(_) => false,
    };
    let member = matches!(stream, Stream::Private(_));
    let mut now =
        Standing { phase: Phase::Alive, member, hearing: Hearing::Nobody, window: (0, 0) };
    let after = |step: &crate::model::Step| {
        match &step.action {
            Action::Connect(channels) | Action::Subscribe(channels) => {
                now.member |= is_in(channels)
            }
            Action::Unsubscribe(channels) => now.member &= !is_in(channels),
            Action::Open(listener) => now.hearing = Hearing::By(*listener),
            Action::Close => {
                if let Hearing::By(listener) = now.hearing {
                    now.hearing = Hearing::Ending(listener);
                }
            }
            Action::Disconnect => now.phase = Phase::Doomed,
            Action::Gone => now.phase = Phase::Gone,
        }
        now.window = order.window(step.asked, step.answered);
        now
    };
    life.steps.iter().map(after).collect()
}

impl View<'_> {
    /// The steps after which a frame may have come; none stands for before the first.
    fn cases(&self, place: usize) -> impl Iterator<Item = Option<usize>> + '_ {
        let first = self.standings.partition_point(|standing| standing.window.1 <= place);
        let last = self.standings.partition_point(|standing| standing.window.0 <= place);
        (first..=last).map(|steps| steps.checked_sub(1))
    }

    fn due(&self, place: usize) -> Due {
        let cases = self.cases(place).map(|step| step.map_or(NEVER, |step| self.case(place, step)));
        let add = |a: Due, b: Due| Due { must: a.must && b.must, may: a.may || b.may };
        cases.fold(Due { must: true, may: false }, add)
    }

    /// What is due of a frame that came after a step and before the next.
    fn case(&self, place: usize, step: usize) -> Due {
        let now = self.standings[step];
        match (now.phase, now.member, now.hearing) {
            (Phase::Gone, ..) => NEVER,
            (Phase::Doomed, member, hearing) => {
                Due { must: false, may: member && hearing != Hearing::Nobody }
            }
            (Phase::Alive, true, Hearing::By(listener)) => {
                let must = !self.may_wait(place, step) && self.arrives(place, listener, step);
                Due { must, may: true }
            }
            (Phase::Alive, true, Hearing::Ending(_)) => {
                Due { must: self.kept(place, step).must, may: true }
            }
            (Phase::Alive, _, Hearing::Nobody) => self.kept(place, step),
            // Counts as sent, unless the listener was full before, or still waited.
            (Phase::Alive, false, Hearing::By(listener)) => {
                let Listener { slow, waits, .. } = self.life.listeners[listener];
                Due { must: false, may: (slow || waits) && self.kept(place, step).may }
            }
            (Phase::Alive, false, Hearing::Ending(_)) => {
                Due { must: false, may: self.kept(place, step).may }
            }
        }
    }

    /// Whether a frame that was queued for a listener has to arrive, there or later.
    fn arrives(&self, place: usize, number: usize, step: usize) -> bool {
        let listener = &self.life.listeners[number];
        match listener.end {
            End::Open | End::Over => return true,
            End::ReadOut => {}
            // What was in flight when the TCP connection was cut is one piece: behind what came,
            // and before all that comes later.
            End::Cut if self.given[number].is_some_and(|(_, last)| place < last) => return true,
            End::Cut if !self.comes_later(place, number) => return false,
            End::Cut => {}
        }
        match self.next_open(step) {
            // A slow listener may have been closed before it could migrate; then what it had
            // comes if it is still stored, and not if it was deleted meanwhile.
            Some((next, newer)) if self.hands_over(next, number) => {
                let stays = !listener.slow && !listener.waits;
                self.arrives(place, newer, next) && (stays || self.kept(place, step).must)
            }
            _ => self.kept(place, step).must,
        }
    }

    /// Whether a frame may have come while the listener waited for what an older one on another node was
    /// sent, and be gone by then: it is not stored, or not for ever.
    fn may_wait(&self, place: usize, step: usize) -> bool {
        let Hearing::By(listener) = self.standings[step].hearing else { return false };
        let is_it =
            |step: &crate::model::Step| matches!(step.action, Action::Open(it) if it == listener);
        let opened = self.life.steps.iter().position(is_it);
        let before = opened.and_then(|opened| opened.checked_sub(1));
        let takes_over =
            before.is_some_and(|before| self.standings[before].hearing != Hearing::Nobody);
        self.life.listeners[listener].waits
            && takes_over
            && self.order.items[place].stored_until < usize::MAX
    }

    /// Whether a frame is behind what a later listener was given first.
    fn comes_later(&self, place: usize, listener: usize) -> bool {
        let later = self.given[listener + 1..].iter().flatten();
        later.map(|(first, _)| *first).min().is_some_and(|first| place > first)
    }

    /// Whether this step certainly took over from a listener that certainly was there.
    fn hands_over(&self, step: usize, older: usize) -> bool {
        self.standings[step - 1].hearing == Hearing::By(older) && !self.life.listeners[older].maybe
    }

    /// The next step that opens a listener, if the connection lives to see it.
    fn next_open(&self, step: usize) -> Option<(usize, usize)> {
        for (number, step) in self.life.steps.iter().enumerate().skip(step + 1) {
            match step.action {
                Action::Open(listener) => return Some((number, listener)),
                Action::Disconnect | Action::Gone => return None,
                _ => {}
            }
        }
        None
    }

    /// What is due of a frame that was not sent: the next listener gets it, if the connection is
    /// in the channel then and the frame is still stored.
    fn kept(&self, place: usize, step: usize) -> Due {
        let Some((step, number)) = self.next_open(step) else { return NEVER };
        let now = self.standings[step];
        let listener = &self.life.listeners[number];
        if listener.maybe {
            let arrives = listener.end != End::Cut || self.comes_later(place, number);
            let must = now.member && arrives && self.kept(place, step).must;
            return Due { must, may: true };
        }
        let until = self.order.items[place].stored_until;
        if now.window.0 >= until {
            return NEVER;
        }
        if !now.member {
            // Counts as sent, unless this listener is full at once, as one that takes over from a
            // full one is: then it comes when the channel is joined later.
            let may = (listener.slow || listener.waits) && self.kept(place, step).may;
            return Due { must: false, may };
        }
        // One that waits is caught up some time after it was opened.
        let is_there = if listener.waits { until == usize::MAX } else { now.window.1 < until };
        let must = is_there && self.arrives(place, number, step);
        Due { must, may: true }
    }

    /// Whether it was right to give this.
    fn judge(&self, listener: usize, place: usize, received: &Received) -> Result<(), String> {
        let item = &self.order.items[place];
        if !item.is_for(self.life.user) {
            return Err("it is for others".to_owned());
        }
        if !self.due(place).may {
            return Err("it could not come here".to_owned());
        }
        let opens = self.life.steps.iter().zip(&self.standings);
        let mut opens = opens.filter_map(|(step, standing)| match step.action {
            Action::Open(opened) => Some((opened, standing.window)),
            _ => None,
        });
        let opened = opens.clone().find(|(opened, _)| *opened == listener);
        let Some((_, opened)) = opened else {
            return Err("its listener was never open".to_owned());
        };
        let waits = self.life.listeners[listener].waits;
        if received.catchup && place >= opened.1 && !waits {
            return Err("it was live".to_owned());
        }
        let was_heard = |step: usize| self.standings[step].hearing != Hearing::Nobody;
        if !received.catchup && !self.cases(place).flatten().any(was_heard) {
            return Err("nobody listened: it was to be marked as caught up".to_owned());
        }
        if !matches!(item.key, Key::Message(_)) {
            return Ok(());
        }
        let may = received.catchup && item.edit.is_some_and(|(edit, _)| edit < opened.1 || waits);
        // Caught up at the first opening after it, or later.
        let first = opens.find(|(_, window)| window.1 > place).map_or(0, |(_, window)| window.0);
        let first = if waits { first.min(opened.0) } else { first };
        let must = may && item.edit.is_some_and(|(edit, _)| edit < first);
        let number = if received.edited { item.edit.map(|edit| edit.1) } else { Some(item.number) };
        match received.edited {
            true if !may => Err("it was not yet edited".to_owned()),
            false if must => Err("it was edited".to_owned()),
            _ if number != Some(received.number) => Err("it has another text".to_owned()),
            _ => Ok(()),
        }
    }

    /// What happened to the connection, with windows in this stream.
    fn story(&self) -> String {
        let mut story = String::new();
        for (step, standing) in self.life.steps.iter().zip(&self.standings) {
            story += &format!("\n    {:?} {:?}", standing.window, step.action);
            if let Action::Open(number) = step.action {
                let listener = &self.life.listeners[number];
                let given = self.given.get(number).copied().flatten();
                story += &format!(
                    " ({:?}{}{}, given {given:?})",
                    listener.end,
                    if listener.slow { ", perhaps slow" } else { "" },
                    if listener.maybe { ", perhaps unknown" } else { "" },
                );
            }
        }
        story
    }
}
