//! Which frames an outbox sends, hands over, and names as unsent.

#![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

use super::*;
use crate::wire::websocket::{event_frames, events_in};

const ROOM: Bounds = Bounds { frames: 10, bytes: 1000 };

fn poll(id: u64) -> Outbox {
    Outbox::new(ListenerId::new(id), Way::Poll(Notify::new()))
}

/// Three frames of five bytes each, with the numbers 7 to 9.
fn push_run(outbox: &Outbox) {
    let bytes = event_frames(&["1", "2", "3"].map(str::to_owned));
    assert_eq!(bytes.len(), 15);
    outbox.push(7..10, &bytes, false, ROOM);
}

#[test]
fn a_run_that_is_out_in_part_counts_frame_by_frame() {
    for (out, unsent) in [(0, vec![7, 8, 9]), (4, vec![7, 8, 9]), (5, vec![8, 9]), (14, vec![9])] {
        let outbox = poll(1);
        push_run(&outbox);
        outbox.queue().advance(out);
        let sent = outbox.sent(9);
        assert_eq!((sent.up_to, sent.but), (9, unsent.clone()), "{out} bytes out");
        assert_eq!(outbox.queue().waiting.frames, unsent.len());
        let newer = poll(2);
        outbox.hand_over(&newer);
        assert_eq!(newer.sent(9).but, unsent, "{out} bytes out");
        let left = &outbox.queue().items;
        assert!(left.iter().all(|item| !item.is_event()), "a half frame is taken back");
    }
}

#[test]
fn a_run_goes_out_in_any_pieces() {
    for step in 1..=15 {
        let outbox = poll(1);
        push_run(&outbox);
        let mut queue = outbox.queue();
        let mut left = 15;
        while left > 0 {
            let piece = step.min(left);
            queue.advance(piece);
            left -= piece;
            let waiting: usize = queue.items.iter().map(|item| item.bytes.len()).sum();
            assert_eq!(waiting - queue.written, left);
            assert_eq!(queue.waiting.bytes, waiting);
        }
        assert!(queue.items.is_empty() && queue.waiting.frames == 0 && queue.written == 0);
    }
}

#[test]
fn the_bound_counts_the_frames_of_a_run() {
    let outbox = poll(1);
    for _ in 0..3 {
        push_run(&outbox);
    }
    assert_eq!(outbox.ending(), None);
    push_run(&outbox);
    assert_eq!(outbox.ending(), Some(Ending::Slow));
    assert_eq!(outbox.sent(9).up_to, 6, "the run that found no place was not sent");
}

fn push(outbox: &Outbox, sequences: Range<Sequence>, catchup: bool) {
    for sequence in sequences {
        let bytes = event_frames(&[sequence.to_string()]);
        outbox.push(sequence..sequence + 1, &bytes, catchup, ROOM);
    }
}

fn taken(outbox: &Outbox) -> Vec<Sequence> {
    let number = |event: &[u8]| str::from_utf8(event).unwrap().parse().unwrap();
    outbox.take().iter().flat_map(|frames| events_in(frames).map(number)).collect()
}

#[test]
fn what_comes_behind_a_close_is_not_sent_and_is_handed_over() {
    let (old, new) = (poll(1), poll(2));
    push(&old, 1..2, false);
    old.close(Ending::Ended.close_frame());
    push(&old, 2..3, false);
    assert!(taken(&old).is_empty(), "nobody reads beyond a close frame");
    assert_eq!(old.sent(2).but, [1, 2]);
    push(&old, 3..4, false);
    old.hand_over(&new);
    assert_eq!(taken(&new), [1, 2, 3]);
}

#[test]
fn a_full_outbox_names_what_it_had_no_place_for() {
    let old = poll(1);
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
fn a_frame_that_is_half_out_is_taken_back() {
    let (old, new) = (poll(1), poll(2));
    push(&old, 1..3, false);
    old.queue().advance(2);
    old.hand_over(&new);
    assert!(old.queue().items.is_empty(), "the line breaks off");
    assert_eq!(taken(&new), [1, 2]);
}

#[test]
fn what_is_handed_over_has_its_place_in_the_newer_one() {
    let (old, new) = (poll(1), poll(2));
    push(&old, 1..31, true);
    old.hand_over(&new);
    push(&new, 31..41, false);
    assert_eq!(new.ending(), None, "only what comes anew is bounded");
    push(&new, 41..42, false);
    assert_eq!(new.ending(), Some(Ending::Slow));
    assert_eq!(taken(&new), (1..41).collect::<Vec<_>>());
}

#[test]
fn behind_one_that_was_too_slow_the_newer_waits_for_the_account_and_goes_on() {
    let (old, new) = (poll(1), poll(2));
    push(&old, 1..15, false);
    assert_eq!(old.ending(), Some(Ending::Slow));
    assert!(old.left_behind().is_none(), "it is at its end");
    old.hand_over(&new);
    push(&new, 15..17, false);
    let sent = new.left_behind().unwrap();
    assert_eq!((sent.up_to, sent.but), (10, (1..11).collect::<Vec<_>>()));
    assert!(new.is_empty(), "until then it would be out of order");
    assert_eq!(new.ending(), None);
    new.go_on();
    assert!(new.left_behind().is_none());
    push(&new, 1..17, true);
    push(&new, 17..18, false);
    assert_eq!(taken(&new), (1..18).collect::<Vec<_>>());
    assert!(new.sent(17).but.is_empty());
}
