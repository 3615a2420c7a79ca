//! The protocol, step by step. The simulator has the stories that nobody thinks of.

mod damage;

use channelstream_core::protocol::Epoch;

use super::following::BETWEEN_READS;
use super::message::{Beginning, Head};
use super::*;

const ME: NodeId = NodeId::new(7);
const OTHER: NodeId = NodeId::new(8);

fn at(epoch: u64, number: u64) -> Position {
    Position { epoch: Epoch::new(epoch), number }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn entry(node: NodeId, number: u64) -> Entry {
    Entry { node, number, kind: Kind::Other, bytes: Bytes::from_static(b"command") }
}

fn beginning() -> Entry {
    Entry { node: OTHER, number: 0, kind: Kind::Begin, bytes: Bytes::new() }
}

/// A head of these epochs, each with the last entry before it.
fn head(run: &str, epochs: &[(u64, Position)]) -> Head {
    let epochs: Vec<_> = epochs.iter().map(|(epoch, after)| (Epoch::new(*epoch), *after)).collect();
    Head { epoch: epochs.last().unwrap().0, run: Run::new(run), epochs }
}

fn view(head: Head, end: Position) -> View {
    View { head: Some(head), end: Some(end) }
}

/// An order of one epoch with so many entries of the other node.
fn order(epoch: u64, entries: u64) -> Order {
    let mut order = Order::default();
    order.begin(Epoch::new(epoch), 0);
    for number in 1..=entries {
        order.next(OTHER, number);
    }
    order
}

/// A node whose states are words.
struct Node {
    machine: Machine<&'static str>,
    now: Duration,
    outputs: Vec<Output<&'static str>>,
}

impl Node {
    fn new(order: Order) -> Self {
        let now = secs(100);
        let machine = Machine::new(ME, Settings::default(), now, order);
        let mut node = Self { machine, now, outputs: Vec::new() };
        node.wait(Duration::ZERO);
        node
    }

    /// A node that has these entries of the other node in epoch 5 and follows it.
    fn following(entries: u64) -> Self {
        let mut node = Self::new(order(5, entries));
        node.meets("a", &view(head("a", &[(5, at(0, 0))]), at(5, entries)));
        assert_eq!(node.machine.standing(), Standing::Following);
        node.outputs.clear();
        node
    }

    fn collect(&mut self) {
        while let Some(output) = self.machine.output() {
            self.outputs.push(output);
        }
    }

    /// Lets time pass, and the timers that are due in it ring.
    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(wake) = self.machine.wake().filter(|wake| *wake <= until) {
            self.now = self.now.max(wake);
            self.machine.tick(self.now);
        }
        self.now = until;
        self.collect();
    }

    fn answer(&mut self, line: Line, answer: Answer<&'static str>) {
        self.machine.answered(self.now, self.machine.session, line, answer);
        self.collect();
    }

    /// Its lines open, to this run.
    fn meets(&mut self, run: &str, view: &View) {
        self.machine.opened(self.now, self.machine.session);
        self.met(run, view);
        // The first read, which does not wait, brings nothing if there is nothing.
        let has_all = view.end.is_none_or(|end| end <= self.machine.order().position());
        if has_all && matches!(self.machine.phase, Phase::Following(_)) {
            self.answer(Line::Read, Answer::Entries(Vec::new()));
        }
    }

    fn met(&mut self, run: &str, view: &View) {
        for line in [Line::Append, Line::Read] {
            self.answer(line, Answer::Met { run: Run::new(run), view: view.clone() });
        }
    }

    fn append(&mut self, number: u64) -> Result<(), Refused> {
        let accepted = self.machine.append(self.now, entry(ME, number));
        self.collect();
        accepted
    }

    fn reads(&mut self, entries: &[(Position, Entry)]) {
        self.wait(BETWEEN_READS);
        self.answer(Line::Read, Answer::Entries(entries.to_vec()));
    }

    /// What was appended, as node and number.
    fn appended(&mut self) -> Vec<(NodeId, u64)> {
        let outputs = self.outputs.drain(..).filter_map(|output| match output {
            Output::Ask { request: Request::Append { entry, .. }, .. } => {
                Some((entry.node, entry.number))
            }
            _ => None,
        });
        outputs.collect()
    }

    fn given(&mut self) -> Vec<u64> {
        let outputs = self.outputs.drain(..).filter_map(|output| match output {
            Output::Entry { entry, .. } => Some(entry.number),
            _ => None,
        });
        outputs.collect()
    }

    fn fates(&mut self) -> Vec<(u64, Fate)> {
        let outputs = self.outputs.drain(..).filter_map(|output| match output {
            Output::Fate { number, fate } => Some((number, fate)),
            _ => None,
        });
        outputs.collect()
    }

    fn begins(&mut self) -> Option<Beginning> {
        self.outputs.drain(..).find_map(|output| match output {
            Output::Ask { request: Request::Begin(beginning), .. } => Some(*beginning),
            _ => None,
        })
    }

    fn has(&self, wanted: impl Fn(&Output<&'static str>) -> bool) -> bool {
        self.outputs.iter().any(wanted)
    }

    fn hangs_up(&self) -> bool {
        self.has(|output| matches!(output, Output::Hangup))
    }

    fn claims(&mut self, claims: &[(NodeId, Position)], view: &View) {
        self.answer(Line::Append, Answer::Claims { claims: claims.to_vec(), view: view.clone() });
    }
}

#[test]
fn what_is_appended_is_given_when_it_is_read() {
    let mut node = Node::following(3);
    assert_eq!(node.append(1), Ok(()));
    assert_eq!(node.append(2), Ok(()));
    assert_eq!(node.appended(), [(ME, 1)]);
    node.answer(Line::Append, Answer::Appended(Appended::Done(at(5, 5))));
    assert_eq!(node.appended(), [(ME, 2)]);
    node.reads(&[(at(5, 4), entry(OTHER, 9)), (at(5, 5), entry(ME, 1))]);
    assert_eq!(node.given(), [9, 1]);
    assert_eq!(node.machine.waiting(), 1);
    assert_eq!(node.machine.order().position(), at(5, 5));
}

#[test]
fn who_does_not_follow_accepts_nothing() {
    let mut node = Node::new(order(5, 3));
    assert_eq!(node.append(1), Err(Refused::Away));
    // There is more to read than the node has.
    node.meets("a", &view(head("a", &[(5, at(0, 0))]), at(5, 4)));
    assert_eq!(node.machine.standing(), Standing::Joining);
    assert_eq!(node.append(1), Err(Refused::Away));
    node.reads(&[(at(5, 4), entry(OTHER, 4))]);
    assert_eq!(node.append(1), Ok(()));
}

#[test]
fn no_more_wait_than_may_and_what_waits_goes_together() {
    let mut node = Node::following(0);
    for number in 1..=WAITING as u64 {
        node.append(number).unwrap();
    }
    assert_eq!(node.append(9_999), Err(Refused::Full));
    assert_eq!(node.appended(), [(ME, 1)]);
    node.answer(Line::Append, Answer::Appended(Appended::Done(at(5, 1))));
    assert_eq!(node.appended().len(), TOGETHER);
    for number in 2..=TOGETHER as u64 {
        node.answer(Line::Append, Answer::Appended(Appended::Done(at(5, number))));
        assert!(node.appended().is_empty(), "others are under way");
    }
    node.answer(Line::Append, Answer::Appended(Appended::Done(at(5, TOGETHER as u64 + 1))));
    assert_eq!(node.appended().len(), TOGETHER);
}

#[test]
fn what_was_appended_is_read_once_all_of_it_is_and_before_more_is_appended() {
    let mut node = Node::following(0);
    let asked = |node: &mut Node| -> String {
        let asked = node.outputs.drain(..).filter_map(|output| match output {
            Output::Ask { request: Request::Append { .. }, .. } => Some('a'),
            Output::Ask { request: Request::Read { .. }, .. } => Some('r'),
            _ => None,
        });
        asked.collect()
    };
    let done = |node: &mut Node, number| {
        node.answer(Line::Append, Answer::Appended(Appended::Done(at(5, number))));
    };
    for number in 1..=3 {
        node.append(number).unwrap();
    }
    assert_eq!(asked(&mut node), "a");
    // The read that waited brings the first one.
    node.reads(&[(at(5, 1), entry(ME, 1))]);
    assert_eq!(asked(&mut node), "");
    done(&mut node, 1);
    assert_eq!(asked(&mut node), "raa");
    node.append(4).unwrap();
    node.reads(&[]);
    done(&mut node, 2);
    assert_eq!(asked(&mut node), "");
    done(&mut node, 3);
    assert_eq!(asked(&mut node), "ra");
}

#[test]
fn both_lines_have_to_lead_to_the_same_run() {
    let mut node = Node::new(order(5, 0));
    node.machine.opened(node.now, node.machine.session);
    for (line, run) in [(Line::Append, "a"), (Line::Read, "b")] {
        let view = view(head("a", &[(5, at(0, 0))]), at(5, 0));
        node.answer(line, Answer::Met { run: Run::new(run), view });
    }
    assert!(node.hangs_up());
}

#[test]
fn an_answer_that_does_not_come_ends_the_lines() {
    let mut node = Node::following(0);
    node.append(1).unwrap();
    node.wait(Duration::from_millis(999));
    assert!(!node.hangs_up());
    node.machine.progressed(node.now, node.machine.session, Line::Append);
    node.wait(Duration::from_millis(999));
    assert!(!node.hangs_up(), "something came");
    node.wait(Duration::from_millis(1));
    assert!(node.hangs_up());
    assert_eq!(node.machine.standing(), Standing::Away);
}

#[test]
fn lines_that_were_given_up_say_nothing_anymore() {
    let mut node = Node::following(0);
    let old = node.machine.session;
    node.machine.broke(node.now, old);
    node.wait(secs(1));
    assert_ne!(node.machine.session, old);
    let late = Answer::Entries(vec![(at(5, 1), entry(OTHER, 1))]);
    node.machine.answered(node.now, old, Line::Read, late);
    node.machine.broke(node.now, old);
    node.collect();
    assert!(node.given().is_empty());
    assert!(matches!(node.machine.phase, Phase::Connecting { .. } | Phase::Away { .. }));
}

#[test]
fn what_waits_too_long_is_in_doubt_if_it_was_sent() {
    let mut node = Node::following(0);
    node.append(1).unwrap();
    // It waits for the answer to the first one.
    node.append(2).unwrap();
    node.outputs.clear();
    node.wait(secs(5));
    assert_eq!(node.fates(), [(1, Fate::InDoubt), (2, Fate::NotDone(Why::Late))]);
    assert_eq!(node.machine.waiting(), 0);
}

#[test]
fn without_memory_in_redis_nothing_was_done_if_it_was_sent_once() {
    let mut node = Node::following(0);
    node.append(1).unwrap();
    node.answer(Line::Append, Answer::Appended(Appended::Full));
    assert_eq!(node.fates(), [(1, Fate::NotDone(Why::Full))]);
    node.append(2).unwrap();
    node.machine.broke(node.now, node.machine.session);
    node.wait(Duration::from_millis(100));
    node.meets("a", &view(head("a", &[(5, at(0, 0))]), at(5, 0)));
    assert_eq!(node.appended(), [(ME, 2), (ME, 2)]);
    node.answer(Line::Append, Answer::Appended(Appended::Full));
    assert_eq!(node.fates(), [(2, Fate::InDoubt)], "the first one may have been done");
}

#[test]
fn a_hole_is_filled_by_a_newer_snapshot_only() {
    let mut node = Node::following(3);
    node.reads(&[(at(5, 6), entry(OTHER, 6))]);
    assert!(node.hangs_up() && node.given().is_empty());
    node.wait(secs(1));
    let theirs = view(head("a", &[(5, at(0, 0))]), at(5, 6));
    node.meets("a", &theirs);
    node.answer(Line::Read, Answer::Loaded(Some((order(5, 2), "older"))));
    assert!(!node.has(|output| matches!(output, Output::Restart(_))));
    node.wait(Duration::from_millis(100));
    node.met("a", &theirs);
    node.answer(Line::Read, Answer::Loaded(Some((order(5, 5), "newer"))));
    assert!(node.has(|output| matches!(output, Output::Restart("newer"))));
    node.met("a", &theirs);
    node.reads(&[(at(5, 6), entry(OTHER, 6))]);
    assert_eq!(node.given(), [6]);
    assert_eq!(node.machine.standing(), Standing::Following);
}

#[test]
fn who_went_another_way_takes_any_state_of_the_others() {
    let mut node = Node::following(3);
    // Another node has begun after 2 entries, so that the third is lost.
    node.reads(&[(at(5, 4), entry(OTHER, 70))]);
    node.append(1).unwrap();
    node.reads(&[(at(5, 5), entry(ME, 1))]);
    node.machine.broke(node.now, node.machine.session);
    node.wait(secs(1));
    let theirs = head("b", &[(5, at(0, 0)), (6, at(5, 2))]);
    node.outputs.clear();
    node.meets("b", &view(theirs.clone(), at(6, 0)));
    let notice = Notice::Diverged { at: at(5, 5), common: at(5, 2) };
    assert!(node.has(|output| matches!(output, Output::Notice(found) if *found == notice)));
    node.answer(Line::Read, Answer::Loaded(Some((order(5, 1), "theirs"))));
    node.met("b", &view(theirs, at(6, 0)));
    node.outputs.clear();
    node.reads(&[(at(5, 2), entry(OTHER, 2)), (at(6, 0), beginning())]);
    // What was given out on the way that was left is appended again, whoever sent it.
    assert_eq!(node.appended(), [(OTHER, 70), (ME, 1)]);
}

#[test]
fn an_epoch_goes_on_where_the_head_says() {
    let mut node = Node::new(order(5, 2));
    node.meets("b", &view(head("b", &[(5, at(0, 0)), (6, at(5, 3))]), at(6, 1)));
    node.reads(&[
        (at(5, 3), entry(OTHER, 3)),
        (at(6, 0), beginning()),
        (at(6, 1), entry(OTHER, 4)),
    ]);
    assert_eq!(node.given(), [3, 0, 4]);
    let mut node = Node::new(order(5, 2));
    node.meets("b", &view(head("b", &[(5, at(0, 0)), (6, at(5, 3))]), at(6, 1)));
    node.reads(&[(at(6, 0), beginning()), (at(6, 1), entry(OTHER, 4))]);
    assert!(node.hangs_up() && node.given().is_empty(), "entry 3 is missing");
}

#[test]
fn a_node_with_nothing_waits_for_others_and_then_begins() {
    let mut node = Node::new(Order::default());
    let nothing = View::default();
    node.meets("a", &nothing);
    node.reads(&[]);
    let mut waited = Duration::ZERO;
    loop {
        node.claims(&[(ME, at(0, 0))], &nothing);
        if node.has(|output| matches!(output, Output::Snapshot)) {
            break;
        }
        node.wait(Duration::from_millis(100));
        waited += Duration::from_millis(100);
    }
    assert_eq!(waited, secs(6));
    node.machine.snapshot(node.now, at(0, 0), Bytes::from_static(b"empty"));
    node.collect();
    let begins = node.begins().unwrap();
    assert_eq!((begins.seen, begins.end, begins.after), (None, None, at(0, 0)));
    assert_eq!(begins.instead.as_deref(), Some(&b"empty"[..]));
    assert!(begins.alone);
    node.answer(Line::Append, Answer::Begun { is_done: true });
    let theirs = view(head("a", &[(9, at(0, 0))]), at(9, 0));
    node.met("a", &theirs);
    node.answer(Line::Read, Answer::Loaded(Some((Order::default(), "empty"))));
    node.met("a", &theirs);
    node.reads(&[(at(9, 0), beginning())]);
    assert_eq!(node.machine.standing(), Standing::Following);
}

#[test]
fn the_furthest_puts_back_what_redis_lost() {
    let mut node = Node::following(2);
    node.reads(&[(at(5, 3), entry(OTHER, 3)), (at(5, 4), entry(OTHER, 4))]);
    node.machine.broke(node.now, node.machine.session);
    node.wait(secs(1));
    let lost = view(head("a", &[(5, at(0, 0))]), at(5, 3));
    node.meets("b", &lost);
    node.reads(&[(at(5, 3), entry(OTHER, 3))]);
    // The other node lives and has not claimed yet.
    node.claims(&[(ME, at(5, 4))], &lost);
    assert!(node.begins().is_none());
    node.wait(Duration::from_millis(100));
    node.claims(&[(ME, at(5, 4)), (OTHER, at(5, 3))], &lost);
    assert!(node.has(|output| matches!(
        output,
        Output::Ask { request: Request::PutBack { after, entries }, .. }
            if *after == at(5, 3) && entries[0].0 == at(5, 4)
    )));
    let begins = node.begins().unwrap();
    assert_eq!(begins.seen, Some(Epoch::new(5)));
    assert_eq!((begins.end, begins.after), (Some(at(5, 4)), at(5, 4)));
    assert!(begins.instead.is_none() && !begins.alone);
}

#[test]
fn a_run_that_went_back_is_filled_anew() {
    let epochs = [(5, at(0, 0))];
    for end in [None, Some(at(5, 2))] {
        let mut node = Node::following(4);
        node.machine.broke(node.now, node.machine.session);
        node.wait(secs(1));
        let lost = View { head: Some(head("a", &epochs)), end };
        node.meets("a", &lost);
        assert_eq!(node.machine.standing(), Standing::Away);
        node.reads(&[]);
        node.claims(&[(ME, at(5, 4)), (OTHER, at(5, 3))], &lost);
        // What is at the last positions now may be something else.
        assert!(node.has(|output| matches!(output, Output::Snapshot)));
        node.machine.snapshot(node.now, at(5, 4), Bytes::from_static(b"mine"));
        node.collect();
        let begins = node.begins().unwrap();
        assert_eq!((begins.seen, begins.end, begins.after), (Some(Epoch::new(5)), end, at(5, 4)));
        assert_eq!(begins.instead.as_deref(), Some(&b"mine"[..]));
        node.answer(Line::Append, Answer::Begun { is_done: true });
        node.met("a", &view(head("a", &[epochs[0], (6, at(5, 4))]), at(6, 0)));
        node.reads(&[(at(6, 0), beginning())]);
        assert_eq!(node.machine.standing(), Standing::Following);
    }
}

#[test]
fn who_is_ahead_of_a_run_that_went_back_waits_for_the_furthest() {
    let mut node = Node::following(3);
    node.machine.broke(node.now, node.machine.session);
    node.wait(secs(1));
    let lost = view(head("a", &[(5, at(0, 0))]), at(5, 2));
    node.meets("a", &lost);
    node.reads(&[]);
    let claims = [(ME, at(5, 3)), (OTHER, at(5, 4))];
    node.claims(&claims, &lost);
    assert!(!node.has(|output| matches!(output, Output::Snapshot)));
    node.wait(Duration::from_millis(100));
    // The other one has begun with its state.
    node.claims(&claims, &view(head("a", &[(5, at(0, 0)), (6, at(5, 4))]), at(6, 0)));
    node.reads(&[(at(6, 0), beginning())]);
    assert!(node.hangs_up(), "entry 4 is missing");
    assert!(node.given().is_empty());
}

#[test]
fn who_is_behind_leaves_it_to_the_furthest() {
    let mut node = Node::following(2);
    node.machine.broke(node.now, node.machine.session);
    node.wait(secs(1));
    let lost = view(head("a", &[(5, at(0, 0))]), at(5, 1));
    node.meets("b", &lost);
    node.reads(&[]);
    for _ in 0..100 {
        node.claims(&[(ME, at(5, 2)), (OTHER, at(5, 3))], &lost);
        node.wait(Duration::from_millis(100));
    }
    assert!(node.begins().is_none());
    // The other one is gone.
    node.claims(&[(ME, at(5, 2))], &lost);
    assert!(node.has(|output| matches!(output, Output::Snapshot)), "the ring is empty");
}
