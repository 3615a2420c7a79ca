//! Which events an outbox sends, passes on to a newer one, and names as unsent.

use std::ops::Range;

use channelstream_core::protocol::{Cursor, Epoch};
use channelstream_core::state::Reading;
use tokio::sync::mpsc;

use super::*;

const ROOM: Bounds = Bounds { frames: 10, bytes: 1000 };

/// The encodings that are written in parts.
const IN_PARTS: [Encoding; 3] = [Encoding::WebSocket, Encoding::EventStream, Encoding::NdJson];

fn outbox_of(id: u64, encoding: Encoding) -> Arc<Outbox> {
    let (asking, _) = crate::listener::asking();
    let writer = Arc::new(Writer::new(asking, Arc::default()));
    Outbox::new(ListenerId::new(id), Sink::Pull(Notify::new()), encoding, writer, None)
}

fn outbox(id: u64) -> Arc<Outbox> {
    outbox_of(id, Encoding::NdJson)
}

fn run(sequences: Range<Sequence>, is_catchup: bool) -> Run {
    let events = sequences.clone().map(|number| number.to_string()).collect();
    let first = Cursor { epoch: Epoch::default(), sequence: sequences.start, is_net: false };
    Run::new(first, is_catchup, events)
}

/// Pushes three events of the same size, with the numbers 7 to 9. Returns that size.
fn push_run(outbox: &Arc<Outbox>) -> usize {
    let run = run(7..10, false);
    outbox.push(&run, ROOM);
    let size = run.encoded(outbox.encoding).len() / 3;
    assert_eq!(outbox.encoding.first(run.encoded(outbox.encoding)), size);
    size
}

#[test]
fn a_run_that_is_out_in_part_counts_event_by_event() {
    for encoding in IN_PARTS {
        let size = push_run(&outbox_of(1, encoding));
        for (out, unsent) in [
            (0, vec![7, 8, 9]),
            (size - 1, vec![7, 8, 9]),
            (size, vec![8, 9]),
            (3 * size - 1, vec![9]),
        ] {
            let outbox = outbox_of(1, encoding);
            push_run(&outbox);
            outbox.queue().advance(out, encoding, &mut Written::default());
            let sent = outbox.sent(9);
            assert_eq!((sent.up_to, sent.but), (9, unsent.clone()), "{out} bytes out");
            assert_eq!(outbox.queue().waiting.frames, unsent.len());
            let newer = outbox_of(2, encoding);
            outbox.migrate(&newer, 9);
            assert_eq!(newer.sent(9).but, unsent, "{out} bytes out");
            let left = &outbox.queue().items;
            assert!(left.iter().all(|item| !item.is_event()), "a partial event is taken back");
        }
    }
}

#[test]
fn a_run_goes_out_in_any_pieces() {
    for encoding in IN_PARTS {
        let length = 3 * push_run(&outbox_of(1, encoding));
        for step in 1..=length {
            let outbox = outbox_of(1, encoding);
            push_run(&outbox);
            let mut queue = outbox.queue();
            let mut left = length;
            while left > 0 {
                let piece = step.min(left);
                queue.advance(piece, encoding, &mut Written::default());
                left -= piece;
                let waiting: usize = queue.items.iter().map(|item| item.bytes.len()).sum();
                assert_eq!(waiting - queue.written, left);
                assert_eq!(queue.waiting.bytes, waiting);
            }
            assert!(queue.items.is_empty() && queue.waiting.frames == 0 && queue.written == 0);
        }
    }
}

#[test]
fn the_bound_counts_the_events_of_a_run() {
    let outbox = outbox(1);
    for _ in 0..3 {
        push_run(&outbox);
    }
    assert_eq!(outbox.ending(), None);
    push_run(&outbox);
    assert_eq!(outbox.ending(), Some(Ending::Slow));
    assert_eq!(outbox.sent(9).up_to, 6, "the run that found no place was not sent");
}

#[test]
fn a_portion_is_bounded_and_what_it_leaves_is_not_sent() {
    let outbox = outbox(1);
    push_run(&outbox);
    push(&outbox, 10..13, false);
    assert_eq!(outbox.take_portion(0).concat(), b"7\n8\n9\n", "a run leaves as one");
    assert_eq!(outbox.take_portion(7).concat(), b"10\n11\n");
    assert_eq!(outbox.queue().waiting.frames, 1);
    assert_eq!(outbox.sent(12).but, [12]);
    assert!(outbox.take_portion(7).is_empty(), "it is held for a newer listener");
    assert_eq!(outbox.queue().waiting.frames, 1);
}

fn push(outbox: &Arc<Outbox>, sequences: Range<Sequence>, is_catchup: bool) {
    for sequence in sequences {
        outbox.push(&run(sequence..sequence + 1, is_catchup), ROOM);
    }
}

fn taken(outbox: &Outbox) -> Vec<Sequence> {
    let lines = outbox.take().concat();
    str::from_utf8(&lines).unwrap().lines().map(|number| number.parse().unwrap()).collect()
}

#[test]
fn what_comes_after_a_close_is_not_sent_and_moves_to_the_newer_one() {
    let (old, new) = (outbox(1), outbox(2));
    push(&old, 1..2, false);
    old.close(Encoding::WebSocket.close(Ending::Ended).unwrap());
    push(&old, 2..3, false);
    assert!(!old.queue().items.iter().any(Item::is_event), "nobody reads beyond a close frame");
    assert_eq!(old.sent(2).but, [1, 2]);
    push(&old, 3..4, false);
    old.migrate(&new, 99);
    assert_eq!(taken(&new), [1, 2, 3]);
}

#[test]
fn a_full_outbox_names_what_it_had_no_place_for() {
    let old = outbox(1);
    // One channel after another, so not in the order of numbers; this is not bounded.
    push(&old, 20..30, true);
    push(&old, 1..11, true);
    push(&old, 30..50, false);
    assert_eq!(old.ending(), Some(Ending::Slow));
    let (caught_up, live) = ((20..30).chain(1..11), 30..40);
    assert_eq!(taken(&old), caught_up.chain(live).collect::<Vec<_>>());
    let sent = old.sent(49);
    assert_eq!((sent.up_to, sent.but), (39, vec![]));
}

#[test]
fn an_event_that_is_partly_out_is_taken_back() {
    let (old, new) = (outbox(1), outbox(2));
    push(&old, 1..3, false);
    old.queue().advance(1, old.encoding, &mut Written::default());
    old.migrate(&new, 99);
    assert!(old.queue().items.is_empty(), "the connection breaks off");
    assert_eq!(taken(&new), [1, 2]);
}

#[test]
fn what_is_taken_over_has_its_place_in_the_newer_one() {
    let (old, new) = (outbox(1), outbox(2));
    push(&old, 1..31, true);
    old.migrate(&new, 99);
    push(&new, 31..41, false);
    assert_eq!(new.ending(), None, "only new events are bounded");
    push(&new, 41..42, false);
    assert_eq!(new.ending(), Some(Ending::Slow));
    assert_eq!(taken(&new), (1..41).collect::<Vec<_>>());
}

#[test]
fn after_one_that_was_too_slow_the_newer_waits_for_the_report_and_resumes() {
    let (old, new) = (outbox(1), outbox(2));
    push(&old, 1..15, false);
    assert_eq!(old.ending(), Some(Ending::Slow));
    assert!(old.sent_before().is_none(), "it is at its end");
    old.migrate(&new, 99);
    push(&new, 15..17, false);
    let sent = new.sent_before().unwrap();
    assert_eq!((sent.up_to, sent.but), (10, (1..11).collect::<Vec<_>>()));
    assert!(new.is_empty(), "until then it would be out of order");
    assert_eq!(new.ending(), None);
    new.resume();
    assert!(new.sent_before().is_none());
    push(&new, 1..17, true);
    push(&new, 17..18, false);
    assert_eq!(taken(&new), (1..18).collect::<Vec<_>>());
    assert!(new.sent(17).but.is_empty());
}

#[test]
fn a_takeover_brings_events_into_the_encoding_of_the_newer_one() {
    for from in [Encoding::WebSocket, Encoding::Json] {
        for to in [Encoding::WebSocket, Encoding::Json] {
            let (old, new) = (outbox_of(1, from), outbox_of(2, to));
            new.push(&run(7..10, false), ROOM);
            let expected = new.take();
            old.push(&run(7..10, false), ROOM);
            old.migrate(&new, 9);
            assert_eq!(new.take(), expected, "{from:?} {to:?}");
        }
    }
}

/// An outbox of a listener that holds a cursor, and what comes out when it asks.
fn reading(id: u64, since: Since) -> (Arc<Outbox>, mpsc::UnboundedReceiver<Arc<Outbox>>) {
    let (asking, asked) = crate::listener::asking();
    let writer = Arc::new(Writer::new(asking, Arc::default()));
    let (sink, reader) = (Sink::Pull(Notify::new()), (ConnectionId::from_u128(1), since));
    let id = ListenerId::new(id);
    (Outbox::new(id, sink, Encoding::NdJson, writer, Some(reader)), asked)
}

/// The last portion of these events.
fn portion(sequences: Range<Sequence>) -> EncodedPortion {
    let event = |sequence: Sequence| {
        let cursor = Cursor { epoch: Epoch::default(), sequence, is_net: false };
        (Some(sequence), Encoding::NdJson.events(cursor, &[sequence.to_string()]))
    };
    EncodedPortion { events: sequences.map(event).collect(), behind: None }
}

fn position(outbox: &Outbox) -> Option<Sequence> {
    outbox.asked().and_then(|(_, reading)| reading.position())
}

#[test]
fn a_listener_with_a_cursor_reads_before_it_takes_live_events() {
    let (outbox, mut asked) = reading(1, Since::Record);
    push(&outbox, 1..3, false);
    assert!(outbox.is_empty() && asked.try_recv().is_err(), "it is not open yet");
    outbox.read_on();
    outbox.read_on();
    assert!(asked.try_recv().is_ok() && asked.try_recv().is_err(), "it asks once");
    outbox.put_portion(portion(1..4));
    assert!(!outbox.is_behind());
    push(&outbox, 4..6, false);
    assert_eq!(taken(&outbox), [1, 2, 3, 4, 5]);
    outbox.read_on();
    assert!(asked.try_recv().is_err(), "there is nothing more to read");
    assert_eq!(outbox.sent(5), Sent { up_to: 5, but: vec![] });
}

#[test]
fn a_slow_listener_with_a_cursor_falls_behind_and_reads_on_from_there() {
    let (outbox, mut asked) = reading(1, Since::Record);
    outbox.read_on();
    outbox.put_portion(portion(1..1));
    assert!(asked.try_recv().is_ok());
    push(&outbox, 1..30, false);
    assert_eq!(outbox.ending(), None);
    assert_eq!(outbox.waiting().frames, ROOM.frames, "the outbox stays at its bound");
    outbox.read_on();
    assert!(asked.try_recv().is_err(), "what waits goes first");
    assert_eq!(taken(&outbox), (1..11).collect::<Vec<_>>());
    outbox.read_on();
    assert!(asked.try_recv().is_ok());
    assert_eq!(position(&outbox), Some(10));
    push(&outbox, 30..31, false);
    outbox.put_portion(portion(11..31));
    push(&outbox, 31..32, false);
    assert_eq!(taken(&outbox), (11..31).collect::<Vec<_>>());
    outbox.read_on();
    assert!(asked.try_recv().is_ok());
    assert_eq!(position(&outbox), Some(30), "there was no place for the next");
}

#[test]
fn a_portion_of_which_nothing_is_left_asks_for_the_next() {
    let (outbox, mut asked) = reading(1, Since::Record);
    outbox.read_on();
    assert!(asked.try_recv().is_ok());
    outbox
        .put_portion(EncodedPortion { behind: Some(Reading::new(Since::Record)), ..portion(0..0) });
    assert!(asked.try_recv().is_ok());
    outbox.end(Ending::Shutdown);
    outbox
        .put_portion(EncodedPortion { behind: Some(Reading::new(Since::Record)), ..portion(1..2) });
    assert!(asked.try_recv().is_err() && outbox.asked().is_none(), "nothing is read at the end");
    assert!(outbox.is_empty());
}

#[test]
fn a_listener_with_a_cursor_takes_over_nothing_but_the_place() {
    let old = outbox(1);
    push(&old, 1..6, false);
    old.queue().advance(4, old.encoding, &mut Written::default()); // "1", "2"
    let (new, _asked) = reading(2, Since::Record);
    old.migrate(&new, 5);
    assert!(new.is_empty());
    assert_eq!(position(&new), Some(2));
    // What the client holds itself counts more.
    let (newest, _asked) = reading(3, Since::Cursor(Cursor::default()));
    new.migrate(&newest, 5);
    assert_eq!(position(&newest), None);
    // A listener that is behind has been sent what it had read.
    let (last, _asked) = reading(4, Since::Record);
    let (behind, _asked) = reading(5, Since::Record);
    behind.read_on();
    behind.put_portion(portion(1..1));
    push(&behind, 1..30, false);
    taken(&behind);
    behind.migrate(&last, 29);
    assert_eq!(position(&last), Some(10));
}

#[test]
fn a_listener_without_a_cursor_catches_up_after_one_that_had_one() {
    let (old, _asked) = reading(1, Since::Record);
    old.read_on();
    old.put_portion(portion(1..1));
    push(&old, 1..4, false);
    let new = outbox_of(2, Encoding::Json);
    old.migrate(&new, 3);
    assert_eq!(new.sent_before(), Some(Sent { up_to: 3, but: vec![1, 2, 3] }));
    new.resume();
    push(&new, 1..5, true);
    assert!(!new.is_empty());
}

#[test]
fn a_gap_or_a_first_cursor_that_was_not_sent_does_not_concern_the_state() {
    let (outbox, _asked) = reading(1, Since::Record);
    outbox.read_on();
    let mut gap = portion(1..3);
    gap.events[0].0 = None;
    outbox.put_portion(gap);
    assert!(!outbox.is_empty());
    assert_eq!(outbox.sent(2), Sent { up_to: 2, but: vec![2] });
}
