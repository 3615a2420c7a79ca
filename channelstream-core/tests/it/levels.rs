//! Levels: two releases on one journal, and when the rules of the newer one begin to count.
//!
//! The third level differs from the second in nothing but its number, because there is no third one yet.

use channelstream_core::state::stored::{Levels, OLDEST, UnknownLevel};
use channelstream_core::state::{Alive, Command, Rules, SnapshotError, State};

use crate::world::World;

/// A release that knows the first level, the one after it, and the one after that.
const OLD: Levels = Levels { oldest: 1, newest: 1 };
const NEW: Levels = Levels { oldest: 1, newest: 2 };
const NEWEST: Levels = Levels { oldest: 2, newest: 3 };

impl World {
    /// Nodes tell of themselves, each that it knows this level.
    fn tell_levels(&mut self, levels: &[(usize, u32)]) {
        for (node, level) in levels {
            let alive = Alive { level: *level, ..self.look(*node) };
            self.say_alive(*node, alive);
        }
    }

    /// The node that is alive for longest raises the level, if it is time.
    fn raise_if_due(&mut self) {
        if let Some(level) = self.state.next_level() {
            let first = self.alive()[0];
            self.apply_at(first, Command::Raise(level));
        }
    }
}

/// Three nodes of the first level.
fn of_three() -> World {
    World::of_nodes_at(3, Rules::default(), 1)
}

#[test]
fn a_new_journal_begins_with_the_oldest_level() {
    assert_eq!(State::new(Rules::default()).level(), OLDEST);
    assert_eq!(State::new(Rules::default()).at_level(7).level(), 7);
}

#[test]
fn the_level_is_raised_once_all_nodes_know_it() {
    let mut w = of_three();
    assert_eq!((w.state.level(), w.state.next_level()), (1, None));
    w.tell_levels(&[(0, 2), (1, 2)]);
    assert_eq!(w.state.next_level(), None, "one does not know it");
    w.apply_at(0, Command::Raise(2));
    assert_eq!(w.state.level(), 1, "whoever asks for it");
    w.tell_levels(&[(2, 2)]);
    assert_eq!(w.state.next_level(), Some(2));
    w.raise_if_due();
    assert_eq!((w.state.level(), w.state.next_level()), (2, None));
    w.check_nodes();
}

#[test]
fn a_level_is_no_other_than_the_next_one_and_never_goes_back() {
    let mut w = of_three();
    w.tell_levels(&[(0, 2), (1, 2), (2, 2)]);
    for level in [0, 1, 3, u32::MAX] {
        w.apply_at(0, Command::Raise(level));
        assert_eq!(w.state.level(), 1, "{level}");
    }
    w.raise_if_due();
    w.tell_levels(&[(0, 1), (1, 1), (2, 1)]);
    for level in [0, 1, 2] {
        w.apply_at(0, Command::Raise(level));
        assert_eq!(w.state.level(), 2, "{level}");
    }
}

#[test]
fn until_then_any_node_can_go_back_a_release() {
    let mut w = of_three();
    w.tell_levels(&[(0, 2), (1, 2)]);
    // The first one comes again as the release before.
    w.kill(0);
    w.apply_at(0, Command::Leave);
    let again = w.join_node_of(OLD).unwrap();
    w.tell_levels(&[(again, 1), (2, 2)]);
    w.raise_if_due();
    assert_eq!(w.state.level(), 1);
    w.apply_at(again, Command::Leave);
    w.raise_if_due();
    assert_eq!(w.state.level(), 2);
}

#[test]
fn a_node_of_the_release_before_that_falls_silent_no_longer_counts() {
    let mut w = of_three();
    w.tell_levels(&[(0, 2), (1, 2)]);
    w.kill(2);
    for _ in 0..6 {
        assert_eq!(w.state.next_level(), None);
        w.pass(1_900, &[0, 1]);
        w.tell_levels(&[(0, 2), (1, 2)]);
    }
    assert_eq!(w.alive(), [0, 1]);
    w.raise_if_due();
    assert_eq!(w.state.level(), 2);
}

/// A node that holds tells the level in force, whatever it knows.
#[test]
fn one_node_that_holds_keeps_the_level_of_all() {
    let mut w = of_three();
    w.tell_levels(&[(0, 2), (1, w.state.level()), (2, 2)]);
    w.raise_if_due();
    assert_eq!(w.state.level(), 1);
    w.tell_levels(&[(1, 2)]);
    w.raise_if_due();
    assert_eq!(w.state.level(), 2);
}

#[test]
fn a_node_that_has_not_told_of_itself_counts_as_one_that_knows_nothing() {
    let mut w = of_three();
    w.tell_levels(&[(0, 2), (1, 2), (2, 2)]);
    let joins = w.join_node_of(OLD).unwrap();
    // Its first entry comes between the decision and the raise.
    w.apply_at(joins, Command::Tick);
    w.apply_at(0, Command::Raise(2));
    assert_eq!((w.state.level(), w.state.next_level()), (1, None));
    w.tell_levels(&[(joins, 1)]);
    w.raise_if_due();
    assert_eq!(w.state.level(), 1);
    w.tell_levels(&[(joins, 2)]);
    w.raise_if_due();
    assert_eq!(w.state.level(), 2);
    w.check_nodes();
}

#[test]
fn the_next_node_raises_it_if_the_first_one_dies_before() {
    let mut w = of_three();
    w.tell_levels(&[(0, 2), (1, 2), (2, 2)]);
    w.kill(0);
    for _ in 0..6 {
        w.pass(1_900, &[1, 2]);
        w.tell_levels(&[(1, 2), (2, 2)]);
    }
    assert_eq!(w.alive(), [1, 2]);
    assert_eq!(w.state.level(), 1);
    w.raise_if_due();
    assert_eq!(w.state.level(), 2);
    // What the first one had under way comes late.
    w.apply_at(0, Command::Raise(2));
    assert_eq!(w.state.level(), 2);
}

#[test]
fn it_is_raised_again_by_the_release_after_that() {
    let mut w = of_three();
    assert!(matches!(
        w.join_node_of(NEWEST),
        Err(SnapshotError::Level(UnknownLevel { found: 1, .. }))
    ));
    w.tell_levels(&[(0, 2), (1, 2), (2, 2)]);
    w.raise_if_due();
    let newest = w.join_node_of(NEWEST).unwrap();
    w.tell_levels(&[(newest, 3)]);
    w.raise_if_due();
    assert_eq!(w.state.level(), 2);
    (0..3).for_each(|node| w.apply_at(node, Command::Leave));
    w.raise_if_due();
    assert_eq!(w.state.level(), 3);
    w.check_nodes();
}

#[test]
fn a_snapshot_has_the_level_in_force_and_is_read_by_who_knows_it() {
    let mut w = of_three();
    w.connect("ann", &["room"]);
    w.tell_levels(&[(0, 2), (1, 2), (2, 2)]);
    let before = w.state.snapshot();
    w.raise_if_due();
    let after = w.state.snapshot();
    for (known, reads) in [(OLD, [true, false]), (NEW, [true, true]), (NEWEST, [false, true])] {
        for (bytes, reads, level) in [(&before, reads[0], 1), (&after, reads[1], 2)] {
            match State::restore_for(bytes, known) {
                Ok(state) => assert!(reads && state.level() == level, "{known:?} {level}"),
                Err(SnapshotError::Level(unknown)) => {
                    assert_eq!((reads, unknown), (false, UnknownLevel { found: level, known }));
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
    let restored = State::restore_for(&after, NEW).unwrap();
    assert_eq!(restored.snapshot(), after);
    assert_eq!(restored.digest(), w.state.digest());
}

#[test]
fn who_does_not_know_a_level_says_which_one_and_what_to_do() {
    let says = |found, known: Levels| known.check(found).unwrap_err().to_string();
    assert_eq!(
        says(2, OLD),
        "level 2, but this program knows 1 to 1: start the release that raised the journal to it, or \
         a newer one"
    );
    assert_eq!(
        says(1, NEWEST),
        "level 1, but this program knows 2 to 3: start the release before this one first, which raises \
         the journal"
    );
    assert_eq!(NEW.check(1), Ok(()));
    assert_eq!(NEW.check(2), Ok(()));
}
