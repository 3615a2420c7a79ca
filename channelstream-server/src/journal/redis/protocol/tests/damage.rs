//! A journal that somebody has changed on a run that lives.

use super::super::message::Damage;
use super::*;

impl Node {
    /// Meets the run again with this view of it, and reads that nothing fits.
    fn meets_again(&mut self, view: &View) {
        self.wait(Duration::from_millis(100));
        self.outputs.clear();
        self.meets("a", view);
        if matches!(self.machine.phase, Phase::Recovering(_)) {
            self.answer(Line::Read, Answer::Entries(Vec::new()));
        }
    }

    /// Claims with the other node that is as far, until a state is asked for. Returns how long that took.
    fn claims_until_state(&mut self, view: &View) -> Duration {
        let begun = self.now;
        loop {
            let position = self.machine.order().position();
            self.claims(&[(ME, position), (OTHER, position)], view);
            if self.has(|output| matches!(output, Output::Snapshot)) {
                break;
            }
            assert!(self.now < begun + secs(20), "no state is asked for");
            self.wait(Duration::from_millis(100));
        }
        self.now - begun
    }

    fn puts_back(&self) -> bool {
        self.has(|output| matches!(output, Output::Ask { request: Request::PutBack { .. }, .. }))
    }

    /// Behind which positions was read.
    fn reads_after(&self) -> Vec<Position> {
        let outputs = self.outputs.iter().filter_map(|output| match output {
            Output::Ask { request: Request::Read { after, .. }, .. } => Some(*after),
            _ => None,
        });
        outputs.collect()
    }

    fn noticed(&self, wanted: Damage) -> bool {
        self.has(
            |output| matches!(output, Output::Notice(Notice::Damaged(found)) if *found == wanted),
        )
    }
}

/// How long is waited until nobody can be taken for alive any more, a little more than that.
const QUIET: Duration = Duration::from_millis(4_200);

#[test]
fn an_entry_that_no_node_has_written_goes_with_all_that_is_behind_it() {
    let mut node = Node::following(3);
    node.append(1).unwrap();
    node.answer(Line::Read, Answer::Unreadable(at(5, 4)));
    assert!(node.hangs_up());
    let theirs = view(head("a", &[(5, at(0, 0))]), at(5, 6));
    node.meets_again(&theirs);
    assert!(node.noticed(Damage::Stuck { after: at(5, 3) }));
    let waited = node.claims_until_state(&theirs);
    assert!((secs(4)..QUIET).contains(&waited), "{waited:?}");
    node.machine.snapshot(node.now, at(5, 3), Bytes::from_static(b"mine"));
    node.collect();
    let begins = node.begins().unwrap();
    assert_eq!((begins.end, begins.after), (Some(at(5, 6)), at(5, 3)));
    assert_eq!(begins.instead.as_deref(), Some(&b"mine"[..]));
    node.answer(Line::Append, Answer::Begun { is_done: true });
    node.met("a", &view(head("a", &[(5, at(0, 0)), (6, at(5, 3))]), at(6, 0)));
    node.reads(&[(at(6, 0), beginning())]);
    assert_eq!(node.appended(), [(ME, 1)], "what is not in the order is appended again");
}

#[test]
fn entries_of_no_epoch_go_even_where_no_epoch_could_follow() {
    let mut node = Node::following(3);
    node.machine.broke(node.now, node.machine.session);
    let spoilt = view(head("a", &[(5, at(0, 0))]), at(u64::MAX, u64::MAX));
    node.meets_again(&spoilt);
    assert!(node.noticed(Damage::Foreign));
    node.claims_until_state(&spoilt);
    node.machine.snapshot(node.now, at(5, 3), Bytes::from_static(b"mine"));
    node.collect();
    let begins = node.begins().unwrap();
    assert_eq!((begins.end, begins.above), (spoilt.end, Epoch::new(5)));
}

/// A node that has followed epoch 5 to its third entry, and then epoch 6.
fn in_the_next_epoch() -> Node {
    let mut node = Node::following(3);
    node.machine.broke(node.now, node.machine.session);
    let theirs = view(head("a", &[(5, at(0, 0)), (6, at(5, 3))]), at(6, 1));
    node.meets_again(&theirs);
    node.reads(&[(at(6, 0), beginning()), (at(6, 1), entry(OTHER, 4))]);
    assert_eq!(node.machine.standing(), Standing::Following);
    node
}

#[test]
fn an_older_journal_in_the_place_of_the_newest_is_replaced() {
    let epochs = head("a", &[(5, at(0, 0))]);
    // What was appended in between has begun to number anew.
    for end in [at(5, 2), at(5, 3), at(6, 0)] {
        let mut node = in_the_next_epoch();
        node.append(1).unwrap();
        node.answer(Line::Append, Answer::Appended(Appended::Done(at(6, 0))));
        assert!(node.hangs_up() && node.has(|it| matches!(it, Output::Notice(Notice::WentBack))));
        let older = view(epochs.clone(), end);
        node.meets_again(&older);
        assert!(node.noticed(Damage::Older));
        let waited = node.claims_until_state(&older);
        assert!((secs(4)..QUIET).contains(&waited), "{waited:?}");
    }
}

#[test]
fn what_was_appended_to_an_older_journal_is_not_read() {
    let mut node = in_the_next_epoch();
    node.machine.broke(node.now, node.machine.session);
    node.wait(Duration::from_millis(100));
    node.meets("a", &view(head("a", &[(5, at(0, 0))]), at(6, 9)));
    assert!(node.noticed(Damage::Older));
    node.outputs.clear();
    node.answer(Line::Read, Answer::Entries(vec![(at(6, 2), entry(OTHER, 70))]));
    assert!(node.given().is_empty());
}

#[test]
fn an_older_journal_that_others_go_on_with_is_followed() {
    let epochs = head("a", &[(5, at(0, 0))]);
    let mut node = in_the_next_epoch();
    node.machine.broke(node.now, node.machine.session);
    node.meets_again(&view(epochs.clone(), at(5, 2)));
    assert!(node.noticed(Damage::Older));
    node.wait(Duration::from_millis(100));
    node.claims(&[(ME, at(6, 1))], &view(epochs.clone(), at(5, 3)));
    let notice = Notice::Diverged { at: at(6, 1), common: at(5, 3) };
    assert!(node.has(|output| matches!(output, Output::Notice(found) if *found == notice)));
    // Those who went beyond where this order went on do not lack its entries: they have others.
    let mut node = in_the_next_epoch();
    node.machine.broke(node.now, node.machine.session);
    node.meets_again(&view(epochs, at(5, 4)));
    assert!(node.has(|output| matches!(output, Output::Notice(found) if *found == notice)));
}

#[test]
fn a_hole_that_no_snapshot_fills_is_left_behind() {
    let mut node = Node::following(3);
    let theirs = view(head("a", &[(5, at(0, 0))]), at(5, 6));
    node.reads(&[(at(5, 6), entry(OTHER, 6))]);
    node.meets_again(&theirs);
    let begun = node.now;
    while !node.noticed(Damage::Stuck { after: at(5, 3) }) {
        assert!(node.now < begun + secs(20), "it waits for ever");
        node.answer(Line::Read, Answer::Loaded(Some((order(5, 2), "older"))));
        if !node.machine.lines[Line::Append as usize].is_empty() {
            node.answer(Line::Append, Answer::Noted);
        }
        node.wait(Duration::from_millis(100));
        if matches!(node.machine.phase, Phase::Meeting { .. }) {
            node.met("a", &theirs);
        }
    }
    node.answer(Line::Read, Answer::Entries(Vec::new()));
    let waited = node.claims_until_state(&theirs);
    assert!((secs(4) - Duration::from_millis(100)..QUIET).contains(&waited), "{waited:?}");
}

#[test]
fn who_may_not_read_does_not_follow_and_asks_less_and_less() {
    let mut node = Node::new(order(5, 3));
    let theirs = view(head("a", &[(5, at(0, 0))]), at(5, 3));
    let begun = node.now;
    for _ in 0..20 {
        node.machine.opened(node.now, node.machine.session);
        node.met("a", &theirs);
        assert_eq!(node.machine.standing(), Standing::Joining);
        node.machine.broke(node.now, node.machine.session);
        node.wait(node.machine.wake().unwrap() - node.now);
    }
    assert!(node.now - begun > secs(7), "{:?}", node.now - begun);
}

#[test]
fn the_last_entry_is_missed_although_nothing_is_behind_it() {
    let mut node = Node::new(order(5, 3));
    let theirs = view(head("a", &[(5, at(0, 0))]), at(5, 4));
    node.meets("a", &theirs);
    node.answer(Line::Read, Answer::Entries(Vec::new()));
    let notice = Notice::Hole { after: at(5, 3) };
    assert!(node.has(|output| matches!(output, Output::Notice(found) if *found == notice)));
    assert!(node.hangs_up());
}

#[test]
fn what_was_read_counts_only_if_the_epoch_is_still_the_newest() {
    let mut node = Node::following(3);
    node.append(1).unwrap();
    node.answer(Line::Read, Answer::Moved);
    assert!(node.hangs_up() && node.given().is_empty());
    assert_eq!(node.machine.waiting(), 1);
}

#[test]
fn who_comes_past_what_another_cannot_read_has_a_snapshot_for_it() {
    let mut node = Node::following(3);
    node.answer(Line::Read, Answer::Unreadable(at(5, 4)));
    let epochs = head("a", &[(5, at(0, 0))]);
    node.meets_again(&view(epochs.clone(), at(5, 6)));
    node.outputs.clear();
    node.claims(&[(ME, at(5, 3))], &view(epochs, at(5, 7)));
    node.answer(Line::Read, Answer::Loaded(Some((order(5, 6), "newer"))));
    assert!(node.has(|output| matches!(output, Output::Restart("newer"))));
}

#[test]
fn a_journal_that_was_begun_anew_gives_way_to_who_has_a_state() {
    let anew = |epoch| view(head("a", &[(epoch, at(0, 0))]), at(epoch, 8));
    let mut node = Node::following(3);
    node.machine.broke(node.now, node.machine.session);
    node.meets_again(&anew(7));
    assert!(node.noticed(Damage::Anew));
    // Those that follow it append to it, and do not claim.
    for end in 9.. {
        node.claims(&[(ME, at(5, 3))], &view(head("a", &[(7, at(0, 0))]), at(7, end)));
        if node.has(|output| matches!(output, Output::Snapshot)) {
            break;
        }
        assert!(end < 60);
        node.wait(Duration::from_millis(100));
    }
    node.machine.snapshot(node.now, at(5, 3), Bytes::from_static(b"mine"));
    node.collect();
    let begins = node.begins().unwrap();
    assert!(begins.anywhere && begins.instead.is_some());
    assert_eq!((begins.seen, begins.above), (Some(Epoch::new(7)), Epoch::new(7)));
    // Of two that have nothing in common, the one that began first stays.
    let mut node = Node::following(3);
    node.machine.broke(node.now, node.machine.session);
    node.meets_again(&anew(4));
    let notice = Notice::Diverged { at: at(5, 3), common: at(0, 0) };
    assert!(node.has(|output| matches!(output, Output::Notice(found) if *found == notice)));
}

#[test]
fn who_has_no_state_begins_nothing_in_the_place_of_entries() {
    let mut node = Node::new(Order::default());
    let headless = View { head: None, end: Some(at(5, 3)) };
    node.meets("a", &headless);
    node.answer(Line::Read, Answer::Entries(Vec::new()));
    for _ in 0..100 {
        node.claims(&[(ME, at(0, 0))], &headless);
        node.wait(Duration::from_millis(100));
    }
    assert!(node.has(|output| matches!(output, Output::Notice(Notice::Headless))));
    assert!(!node.has(|output| matches!(output, Output::Snapshot)));
}

#[test]
fn nothing_is_put_back_behind_entries_of_no_epoch() {
    let mut node = in_the_next_epoch();
    node.machine.broke(node.now, node.machine.session);
    node.wait(Duration::from_millis(100));
    node.outputs.clear();
    // Another run has what was appended to an older journal, at a position that this order has, too.
    let spoilt = view(head("b", &[(5, at(0, 0))]), at(6, 0));
    node.meets("c", &spoilt);
    node.answer(Line::Read, Answer::Entries(vec![(at(6, 0), beginning())]));
    for _ in 0..80 {
        node.claims(&[(ME, at(6, 1)), (OTHER, at(6, 1))], &spoilt);
        node.wait(Duration::from_millis(100));
    }
    assert!(node.has(|output| matches!(output, Output::Snapshot)));
    assert!(!node.puts_back());
}

#[test]
fn nothing_is_put_back_behind_an_entry_that_is_not_of_this_order() {
    let theirs = |end| view(head("a", &[(5, at(0, 0))]), end);
    for found in [
        // Of four entries Redis has lost two, and somebody has appended what is no entry.
        Answer::Unreadable(at(5, 3)),
        Answer::Entries(vec![(at(5, 3), entry(OTHER, 70))]),
        // Redis has lost one, and somebody has removed the one before.
        Answer::Entries(Vec::new()),
    ] {
        let mut node = Node::following(2);
        node.reads(&[(at(5, 3), entry(OTHER, 3)), (at(5, 4), entry(OTHER, 4))]);
        node.machine.broke(node.now, node.machine.session);
        node.wait(Duration::from_millis(100));
        node.outputs.clear();
        node.meets("b", &theirs(at(5, 3)));
        assert_eq!(node.reads_after(), [at(5, 2)]);
        node.answer(Line::Read, found);
        node.claims(&[(ME, at(5, 4)), (OTHER, at(5, 2))], &theirs(at(5, 3)));
        assert!(!node.puts_back());
        assert!(node.has(|output| matches!(output, Output::Snapshot)));
        node.machine.snapshot(node.now, at(5, 4), Bytes::from_static(b"mine"));
        node.collect();
        let begins = node.begins().unwrap();
        assert_eq!((begins.end, begins.after), (Some(at(5, 3)), at(5, 4)));
        assert_eq!(begins.instead.as_deref(), Some(&b"mine"[..]));
    }
}

#[test]
fn the_newest_entry_is_read_again_when_it_is_another_one() {
    let theirs = |end| view(head("a", &[(5, at(0, 0)), (6, at(5, 3))]), end);
    let claims = [(ME, at(6, 1)), (OTHER, at(6, 1))];
    for (found, puts_back) in [(beginning(), true), (entry(OTHER, 70), false)] {
        let mut node = in_the_next_epoch();
        node.machine.broke(node.now, node.machine.session);
        node.wait(Duration::from_millis(100));
        node.outputs.clear();
        node.meets("b", &theirs(at(5, 3)));
        node.answer(Line::Read, Answer::Entries(vec![(at(5, 3), entry(OTHER, 3))]));
        // Meanwhile somebody has appended, perhaps the other node what was lost.
        node.claims(&claims, &theirs(at(6, 0)));
        assert_eq!(node.reads_after(), [at(5, 2), at(5, u64::MAX)]);
        assert!(!node.puts_back());
        node.answer(Line::Read, Answer::Entries(vec![(at(6, 0), found)]));
        node.claims(&claims, &theirs(at(6, 0)));
        assert_eq!(node.puts_back(), puts_back);
        assert_eq!(node.has(|output| matches!(output, Output::Snapshot)), !puts_back);
    }
}

#[test]
fn a_snapshot_that_a_node_cannot_go_on_from_is_noted() {
    let mut behind = Node::following(3);
    behind.reads(&[(at(5, 6), entry(OTHER, 6))]);
    behind.wait(Duration::from_millis(100));
    // One is in front of a hole. The other one is of an order that the others have left.
    for (mut node, useless) in [(behind, 2), (Node::new(Order::default()), 4)] {
        let theirs = view(head("a", &[(5, at(0, 0)), (6, at(5, 3))]), at(6, 4));
        let notes = |node: &Node, wanted| {
            node.has(|output| {
                matches!(output, Output::Ask { request: Request::Useless(at), .. } if *at == wanted)
            })
        };
        node.meets("a", &theirs);
        node.answer(Line::Read, Answer::Loaded(Some((order(5, useless), "useless"))));
        assert!(!notes(&node, at(5, useless)), "a newer one may stand meanwhile");
        node.wait(Duration::from_millis(100));
        node.met("a", &theirs);
        node.answer(Line::Read, Answer::Loaded(Some((order(5, useless), "useless"))));
        assert!(notes(&node, at(5, useless)));
        node.wait(Duration::from_millis(100));
        node.answer(Line::Append, Answer::Noted);
        node.met("a", &theirs);
        let mut newer = order(5, 3);
        newer.begin(Epoch::new(6), 0);
        node.answer(Line::Read, Answer::Loaded(Some((newer, "newer"))));
        assert!(node.has(|output| matches!(output, Output::Restart("newer"))));
    }
}
