//! Several nodes: taking over from each other, own time, and the ends of nodes.

use channelstream_core::protocol::Epoch;
use channelstream_core::state::stored::LEVEL;
use channelstream_core::state::{
    Appends, Closing, Command, ListenerKind, Moment, Reply, Rules, Since,
};

use crate::growing::more;
use crate::world::{End, World, announcing, hours, node_id, secs};
use ListenerKind::{Poll, Socket};

/// Three nodes and a connection of ann in the room, which listens on the second one and has received a
/// message.
fn listening() -> World {
    let mut w = World::of_nodes(3, Rules::default());
    w.connect("ann", &["room"]);
    w.open_on(1, "ann", Socket);
    w.on(0).say("room", "1");
    w.expect("ann", &["room bot: 1"]);
    w
}

#[test]
fn a_delivery_goes_to_the_node_of_its_listener_alone() {
    let mut w = World::of_nodes(3, Rules::default());
    for (node, label) in ["ann", "ben", "cat"].into_iter().enumerate() {
        w.on(2 - node).connect(label, &["room"]);
        w.open_on(node, label, Socket);
    }
    // The world asserts for each delivery that the listener is one of the node that delivers.
    w.on(1).say("room", "1");
    for label in ["ann", "ben", "cat"] {
        w.expect(label, &["room bot: 1"]);
    }
    w.check_nodes();
}

#[test]
fn who_opens_elsewhere_gets_what_the_older_one_was_not_sent_once_that_has_closed() {
    for kind in [Socket, Poll] {
        let mut w = World::of_nodes(3, Rules::default());
        w.connect("ann", &["room"]);
        w.open_on(1, "ann", kind);
        w.holds_closes = true;
        w.stall("ann");
        w.on(2).say("room", "2");
        w.open_on(2, "ann", kind);
        w.on(0).say("room", "3");
        w.flow("ann", usize::MAX);
        w.expect("ann", &[]);
        w.release_closes();
        w.flow("ann", usize::MAX);
        w.expect("ann", &["~room bot: 2", "~room bot: 3"]);
        w.on(1).say("room", "4");
        w.flow("ann", usize::MAX);
        w.expect("ann", &["room bot: 4"]);
        w.check_nodes();
    }
}

#[test]
fn who_closes_late_counts_as_it_told_last() {
    let mut w = listening();
    w.tell(1);
    w.on(0).say("room", "2");
    w.expect("ann", &["room bot: 2"]);
    w.holds_closes = true;
    w.open_on(2, "ann", Socket);
    w.on(0).say("room", "3");
    w.pass(900, &[0, 1, 2]);
    w.expect("ann", &[]);
    w.pass(200, &[0, 1, 2]);
    w.expect("ann", &["~room bot: 2", "~room bot: 3"]);
    w.release_closes();
    w.on(0).say("room", "4");
    w.expect("ann", &["room bot: 4"]);
    w.check_nodes();
}

#[test]
fn who_never_told_counts_as_if_it_had_sent_nothing() {
    let mut w = listening();
    w.kill(1);
    w.open_on(2, "ann", Socket);
    w.pass(1100, &[0, 2]);
    w.expect("ann", &["~room bot: 1"]);
}

#[test]
fn a_node_that_falls_silent_ends_with_what_it_told_last() {
    let mut w = listening();
    w.stall("ann");
    w.on(0).say("room", "2");
    w.tell(1);
    w.flow("ann", usize::MAX);
    w.on(0).say("room", "3");
    w.expect("ann", &["room bot: 2"]);
    w.kill(1);
    w.pass(9_500, &[0, 2]);
    assert_eq!(w.alive(), [0, 1, 2]);
    assert!(w.channel("room").users.len() == 1);
    w.pass(1000, &[0, 2]);
    assert_eq!(w.alive(), [0, 2]);
    w.on(2).socket("ann");
    // It told that nothing behind 1 had left.
    w.expect("ann", &["~room bot: 2", "~room bot: 3"]);
    w.check_nodes();
}

#[test]
fn a_connection_whose_node_died_has_its_time_from_there() {
    let mut w = listening();
    w.kill(1);
    w.pass(10_200 + 14_500, &[0, 2]);
    assert!(w.knows("ann"));
    w.pass(1000, &[0, 2]);
    assert!(!w.knows("ann"));
    w.check_nodes();
}

#[test]
fn a_node_that_leaves_ends_at_once() {
    let mut w = listening();
    w.tell(1);
    w.on(0).say("room", "2");
    w.kill(1);
    w.apply_at(1, Command::Leave);
    w.pass(100, &[0]);
    assert_eq!(w.alive(), [0, 2]);
    w.on(2).socket("ann");
    w.expect("ann", &["room bot: 2", "~room bot: 2"]);
    w.check_nodes();
}

#[test]
fn who_waits_for_a_node_that_ends_waits_no_more() {
    let mut w = listening();
    w.tell(1);
    w.on(0).say("room", "2");
    w.expect("ann", &["room bot: 2"]);
    w.holds_closes = true;
    w.open_on(2, "ann", Socket);
    w.kill(1);
    w.on(0).say("room", "3");
    w.expect("ann", &[]);
    w.apply_at(1, Command::Leave);
    w.pass(100, &[0]);
    w.expect("ann", &["~room bot: 2", "~room bot: 3"]);
}

#[test]
fn who_holds_a_cursor_does_not_wait() {
    let mut w = World::of_nodes(3, Rules::default());
    w.connect("ann", &["room"]);
    w.on(1).follow("ann", Since::Record);
    w.catch_up("ann");
    w.on(0).say("room", "1");
    w.expect("ann", &["~cursor", "room bot: 1"]);
    let cursor = w.cursor("ann").unwrap();
    w.holds_closes = true;
    w.stall("ann");
    w.on(0).say("room", "2");
    w.on(2).follow("ann", Since::Cursor(cursor));
    w.catch_up("ann");
    w.expect("ann", &["~room bot: 2"]);
    w.on(0).say("room", "3");
    w.expect("ann", &["room bot: 3"]);
    w.release_closes();
    w.expect("ann", &[]);
    w.check_nodes();
}

#[test]
fn who_has_no_cursor_yet_reads_when_it_is_known_what_the_older_was_sent() {
    for newer in [&[2][..], &[2, 2], &[2, 0]] {
        let mut w = World::of_nodes(3, Rules::default());
        w.connect("ann", &["room"]);
        w.on(1).follow("ann", Since::Record);
        w.catch_up("ann");
        w.on(0).say("room", "1");
        w.expect("ann", &["~cursor", "room bot: 1"]);
        w.holds_closes = true;
        for node in newer {
            w.on(*node).follow("ann", Since::Record);
            w.catch_up("ann");
            w.on(0).say("room", "2");
            w.expect("ann", &[]);
        }
        w.release_closes();
        w.catch_up("ann");
        let missed = ["~cursor", "~room bot: 2", "~room bot: 2"];
        w.expect("ann", &missed[..=newer.len()]);
        w.on(0).say("room", "3");
        w.expect("ann", &["room bot: 3"]);
        w.check_nodes();
    }
}

#[test]
fn a_third_listener_waits_for_the_first_while_the_second_does() {
    let mut w = listening();
    w.tell(1);
    w.holds_closes = true;
    w.stall("ann");
    w.on(0).say("room", "2");
    w.open_on(2, "ann", Socket);
    w.on(0).say("room", "3");
    w.open_on(0, "ann", Socket);
    w.on(0).say("room", "4");
    w.expect("ann", &[]);
    // The second one's close comes first, and says nothing.
    w.held.swap(0, 1);
    w.release_closes();
    w.expect("ann", &["~room bot: 2", "~room bot: 3", "~room bot: 4"]);
    w.check_nodes();
}

#[test]
fn a_third_listener_may_be_on_the_node_of_the_first() {
    let mut w = listening();
    w.holds_closes = true;
    w.stall("ann");
    w.on(0).say("room", "2");
    w.open_on(2, "ann", Socket);
    w.open_on(1, "ann", Socket);
    w.on(0).say("room", "3");
    w.expect("ann", &[]);
    w.release_closes();
    w.expect("ann", &["~room bot: 2", "~room bot: 3"]);
    w.on(0).say("room", "4");
    w.expect("ann", &["room bot: 4"]);
}

#[test]
fn a_newcomer_that_closes_while_it_waits_was_sent_nothing() {
    let mut w = listening();
    w.tell(1);
    w.on(0).say("room", "2");
    w.expect("ann", &["room bot: 2"]);
    w.holds_closes = true;
    w.open_on(2, "ann", Socket);
    w.on(0).say("room", "3");
    w.holds_closes = false;
    w.end("ann", Closing::Otherwise);
    w.release_closes();
    w.expect("ann", &[]);
    w.on(0).socket("ann");
    w.expect("ann", &["~room bot: 3"]);
    w.check_nodes();
}

#[test]
fn the_next_waits_for_what_a_newcomer_waited_for_that_has_closed() {
    for in_time in [true, false] {
        let mut w = listening();
        w.tell(1);
        w.on(0).say("room", "2");
        w.expect("ann", &["room bot: 2"]);
        w.holds_closes = true;
        w.open_on(2, "ann", Socket);
        w.holds_closes = false;
        w.end("ann", Closing::Otherwise);
        w.on(0).socket("ann");
        w.on(0).say("room", "3");
        w.expect("ann", &[]);
        if in_time {
            w.release_closes();
            w.expect("ann", &["~room bot: 3"]);
        } else {
            w.pass(1100, &[0, 1, 2]);
            w.expect("ann", &["~room bot: 2", "~room bot: 3"]);
        }
        w.on(1).say("room", "4");
        w.expect("ann", &["room bot: 4"]);
        w.check_nodes();
    }
}

#[test]
fn a_newcomer_may_be_caught_up_while_its_close_is_on_the_way() {
    let mut w = listening();
    w.on(0).say("room", "2");
    w.expect("ann", &["room bot: 2"]);
    w.holds_closes = true;
    w.open_on(2, "ann", Socket);
    w.on(0).say("room", "3");
    w.end("ann", Closing::Otherwise);
    // The close of the older one comes first, and what follows it goes nowhere.
    w.release_closes();
    w.expect("ann", &[]);
    w.holds_closes = false;
    w.on(0).socket("ann");
    w.expect("ann", &["~room bot: 3"]);
    w.check_nodes();
}

#[test]
fn a_poll_does_not_take_over_from_a_socket_elsewhere() {
    let mut w = listening();
    w.at = 2;
    assert!(matches!(w.open("ann", Poll), Ok(Reply::Occupied)));
    w.on(0).say("room", "2");
    w.expect("ann", &["room bot: 2"]);
    assert_eq!(w.end_of("ann"), Some(End::Refused));
}

#[test]
fn a_node_comes_back_after_it_was_taken_for_dead() {
    let mut w = listening();
    w.tell(1);
    let before = w.look(1);
    w.holds_closes = true;
    w.pass(11_000, &[0, 2]);
    assert_eq!(w.end_of("ann"), Some(End::NodeSilent));
    assert_eq!(w.alive(), [0, 2]);
    w.on(0).say("room", "2");
    w.open_on(2, "ann", Socket);
    w.expect("ann", &["~room bot: 2"]);
    // It goes on with what was under way.
    w.release_closes();
    w.say_alive(1, before);
    assert_eq!(w.alive(), [0, 2, 1]);
    w.on(1).say("room", "3");
    w.expect("ann", &["room bot: 3"]);
    w.open_on(1, "ann", Socket);
    w.release_closes();
    w.on(0).say("room", "4");
    w.expect("ann", &["room bot: 4"]);
    w.check_nodes();
}

#[test]
fn what_is_told_does_not_cover_listeners_that_opened_later() {
    let mut w = World::of_nodes(3, Rules::default());
    w.connect("ann", &["room"]);
    w.on(0).say("room", "1");
    let early = w.look(1);
    w.open_on(1, "ann", Socket);
    w.stall("ann");
    w.expect("ann", &["~room bot: 1"]);
    w.on(0).say("room", "2");
    w.say_alive(1, early);
    w.kill(1);
    w.pass(10_500, &[0, 2]);
    w.on(2).socket("ann");
    w.expect("ann", &["~room bot: 1", "~room bot: 2"]);
}

#[test]
fn what_is_told_does_not_cover_those_that_are_caught_up_later() {
    let mut w = listening();
    w.stall("ann");
    w.on(0).say("room", "2");
    w.holds_closes = true;
    w.open_on(2, "ann", Socket);
    w.stall("ann");
    // Nothing is sent to the newcomer yet, and nothing waits for it.
    w.tell(2);
    w.release_closes();
    w.kill(2);
    w.pass(10_500, &[0, 1]);
    w.on(0).socket("ann");
    w.expect("ann", &["~room bot: 2"]);
}

#[test]
fn a_node_that_dies_before_it_has_told_of_itself_ends_too() {
    let mut w = World::of_nodes(2, Rules::default());
    w.connect("ann", &["room"]);
    let new = w.join_node();
    w.open_on(new, "ann", Socket);
    w.kill(new);
    w.pass(11_000, &[0, 1]);
    assert_eq!(w.alive(), [0, 1]);
    w.pass(16_000, &[0, 1]);
    assert!(!w.knows("ann"));
}

#[test]
fn the_first_that_a_node_tells_may_be_older_than_its_listeners() {
    let mut w = World::with(Rules::default());
    w.join_node();
    w.connect("ann", &["room"]);
    w.on(0).say("room", "1");
    let early = w.look(1);
    w.open_on(1, "ann", Socket);
    w.stall("ann");
    w.say_alive(1, early);
    w.kill(1);
    w.pass(11_000, &[0]);
    w.on(0).socket("ann");
    w.expect("ann", &["~room bot: 1", "~room bot: 1"]);
}

#[test]
fn an_older_report_that_comes_late_says_nothing() {
    let mut w = listening();
    let older = w.look(1);
    w.end("ann", Closing::Otherwise);
    w.on(0).say("room", "2");
    w.open_on(1, "ann", Socket);
    w.stall("ann");
    w.on(0).say("room", "3");
    w.tell(1);
    let mut older = older;
    older.sent += 2;
    w.say_alive(1, older);
    w.kill(1);
    w.pass(11_000, &[0, 2]);
    w.on(0).socket("ann");
    w.expect("ann", &["~room bot: 2", "~room bot: 3"]);
}

#[test]
fn a_newer_listener_of_the_same_node_does_not_forget_what_was_told() {
    let mut w = listening();
    w.tell(1);
    w.open_on(1, "ann", Socket);
    w.on(0).say("room", "2");
    w.expect("ann", &["room bot: 2"]);
    w.kill(1);
    w.pass(10_500, &[0, 2]);
    w.on(2).socket("ann");
    w.expect("ann", &["~room bot: 2"]);
}

#[test]
fn an_edit_in_place_of_appends_is_not_lost_with_its_node() {
    use crate::world::to;
    use channelstream_core::protocol::Opening;
    let mut w = World::of_nodes(2, Rules::default());
    w.connect("ann", &["room"]);
    w.at = 1;
    w.open_as("ann", Socket, Appends::AsEdits, None).unwrap();
    let message = to("room", "a").id(crate::growing::id(1)).open(Opening::new(["bot"]));
    w.on(0).post(message);
    w.append(more("b"));
    w.append(more("c"));
    w.tell(1);
    w.kill(1);
    // The edit that tells of c goes to the dead node.
    w.pass(11_000, &[0]);
    w.take("ann");
    w.at = 0;
    w.open_as("ann", Socket, Appends::AsEdits, None).unwrap();
    w.expect("ann", &["~room edit 1: abc 2 open"]);
}

#[test]
fn an_outage_of_an_hour_parts_nobody() {
    let mut w = World::of_nodes(3, Rules::default());
    w.configure("room", announcing());
    for (node, label) in ["ann", "ben"].into_iter().enumerate() {
        w.connect(label, &["room"]);
        w.open_on(node, label, Socket);
    }
    w.take("ann");
    w.connect("cat", &["room"]);
    w.expect("ann", &["room +cat"]);
    w.jump(hours(1));
    (0..3).for_each(|node| w.tell(node));
    assert_eq!(w.alive(), [0, 1, 2]);
    assert!(w.knows("ann") && w.knows("ben") && w.knows("cat"));
    w.expect("ann", &[]);
    w.pass(11_000, &[0, 1, 2]);
    assert!(!w.knows("cat"), "what is left of its time goes on");
    w.expect("ann", &["room -cat"]);
    w.check_nodes();
}

#[test]
fn an_epoch_that_a_node_begins_alone_parts_nobody_and_announces_nothing() {
    let mut w = World::of_nodes(3, Rules::default());
    w.configure("room", announcing());
    for (node, label) in ["ann", "ben", "cat"].into_iter().enumerate() {
        w.connect(label, &["room"]);
        w.open_on(node, label, Socket);
    }
    w.on(0).say("room", "1");
    (1..3).for_each(|node| w.tell(node));
    w.take("ann");
    (1..3).for_each(|node| w.kill(node));
    let sequence = w.state.sequence();
    let begin = Command::Begin { epoch: Epoch::new(7_000_000), alone: true };
    w.apply_at(0, begin);
    w.pass(100, &[0]);
    assert_eq!(w.alive(), [0]);
    assert_eq!(w.state.sequence(), sequence, "nothing is announced");
    w.expect("ann", &[]);
    assert_eq!(w.channel("room").users.len(), 3);
    for label in ["ben", "cat"] {
        w.take(label);
        w.on(0).socket(label);
        w.expect(label, &[]);
    }
    w.on(0).say("room", "2");
    for label in ["ann", "ben", "cat"] {
        w.expect(label, &["room bot: 2"]);
    }
    w.check_nodes();
}

#[test]
fn who_could_not_come_back_while_the_last_node_drained_has_all_its_time_from_the_next_one() {
    let mut w = World::of_nodes(2, Rules::default());
    w.connect("ann", &["room"]);
    w.open_on(1, "ann", Socket);
    w.tell(1);
    // The node closes the listener as the first of many.
    w.end("ann", Closing::Otherwise);
    w.pass(14_000, &[1]);
    w.apply_at(1, Command::Leave);
    w.kill(1);
    // The longest step of own time would be too much.
    w.jump(hours(1));
    w.apply_at(0, Command::Begin { epoch: Epoch::new(7_000_000), alone: true });
    w.pass(14_500, &[0]);
    assert!(w.knows("ann"));
    w.pass(1000, &[0]);
    assert!(!w.knows("ann"));
}

#[test]
fn another_epoch_changes_nothing_for_those_who_live() {
    let mut w = listening();
    w.apply_at(2, Command::Begin { epoch: Epoch::new(7_000_000), alone: false });
    w.on(0).say("room", "2");
    w.expect("ann", &["room bot: 2"]);
    assert_eq!(w.alive(), [0, 1, 2]);
    assert_eq!(w.state.order().position().number, 1);
}

#[test]
fn ticks_come_from_the_node_that_is_alive_for_longest() {
    let mut w = World::of_nodes(3, Rules::default());
    let ranks = |w: &World| [0, 1, 2].map(|node| w.state.rank(node_id(node)));
    assert_eq!(ranks(&w), [0, 1, 2]);
    w.pass(11_000, &[1, 2]);
    assert_eq!(ranks(&w), [2, 0, 1], "the first is gone");
    w.tell(0);
    assert_eq!(ranks(&w), [2, 0, 1], "it comes back as the last");
    w.apply_at(1, Command::Leave);
    w.pass(100, &[2]);
    assert_eq!(ranks(&w), [1, 2, 0]);
}

#[test]
fn nodes_that_do_not_tell_of_themselves_cannot_fall_silent() {
    let mut w = World::with(Rules::default());
    w.tick();
    w.connect("ann", &["room"]);
    w.socket("ann");
    let deadline = w.state.next_deadline();
    assert_eq!(deadline, None, "a node in memory ticks for nobody");
    w.jump(hours(1));
    w.tick();
    assert!(w.listens("ann"));
}

#[test]
fn rows_of_nodes_say_how_long_they_are_silent() {
    let mut w = World::of_nodes(2, Rules::default());
    w.pass(3000, &[0]);
    let rows: Vec<_> = w.state.nodes().collect();
    assert_eq!(rows[0].silent, Some(secs(0)));
    assert_eq!(rows[1].silent, Some(secs(3)));
    assert_eq!(rows[1].level, LEVEL);
    assert!(w.state.next_deadline() < Some(Moment::default().after(secs(20))));
}

/// It would be the first of all for ever, and nobody would do what the first does.
#[test]
fn a_node_that_dies_before_any_has_told_of_itself_ends_as_well() {
    let mut w = World::with(Rules::default());
    let dies = w.join_node();
    w.apply_at(dies, Command::Tick);
    let lives = w.join_node();
    w.kill(dies);
    w.kill(0);
    for _ in 0..6 {
        w.tell(lives);
        w.pass(1_900, &[lives]);
    }
    assert_eq!(w.alive(), [lives]);
    assert_eq!(w.state.rank(node_id(lives)), 0);
}
