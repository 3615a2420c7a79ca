//! The journal on a disk that loses what it may lose: nothing that was given out is gone, and nothing
//! that is only torn is taken for damage.

use std::collections::BTreeSet;
use std::time::Duration;

use channelstream_core::state::State;
use tokio::time::{Instant, sleep, timeout};

use super::super::super::tests::{envelope, number, user};
use super::super::super::{Error, Given};
use super::*;

/// What became of what was appended, over all lives of a journal.
#[derive(Debug, Default)]
struct Story {
    /// The number of the next envelope.
    next: u64,
    /// What was given out and must be there, in this order.
    given: Vec<u64>,
    undone: BTreeSet<u64>,
}

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    PowerCut,
    Killed,
    Stopped,
}

/// Opens the journal, appends and reads for a while, and returns the disk as the next life finds it.
async fn live(
    disk: Model,
    sync: JournalSync,
    end: End,
    dice: &mut Dice,
    story: &mut Story,
) -> Model {
    disk.set_quick(dice.coin());
    let recovered = open_at(&disk).unwrap_or_else(|error| panic!("a false alarm: {error:?}"));
    check(&recovered.state, story);
    let Running { appender, mut reader, stop, writer } = run(recovered, sync);
    let abort = writer.abort_handle();
    let writer = tokio::spawn(async { (writer.await, Instant::now()) });
    if end == End::PowerCut {
        disk.fail_after(dice.within(1..40));
    }
    let (mut batch, mut given) = (Vec::new(), Vec::new());
    for _ in 0..dice.within(1..30) {
        match dice.within(0..20) {
            0 => disk.leave_space(dice.within(0..4000)),
            1 => disk.has_all_space(),
            2 => sleep(Duration::from_secs(dice.within(0..5))).await,
            _ => {}
        }
        for _ in 0..dice.within(0..8) {
            match appender.append(envelope(story.next)) {
                Ok(()) => story.next += 1,
                Err(Error::NoSpace) => {}
                Err(Error::Closed) => assert!(!disk.has_power(), "it ended with power"),
                Err(error) => panic!("{error}"),
            }
        }
        if dice.coin() {
            let _ = timeout(Duration::from_millis(1), reader.next(&mut batch, 100)).await;
            given.extend(batch.drain(..).map(|given| (given, Instant::now())));
        }
    }
    match end {
        End::PowerCut => disk.fail_after(dice.within(1..4)),
        End::Killed => abort.abort(),
        End::Stopped => drop(stop),
    }
    drop(appender);
    while timeout(Duration::from_secs(10), reader.next(&mut batch, 100)).await.unwrap() > 0 {}
    given.extend(batch.into_iter().map(|given| (given, Instant::now())));
    let (ended, ended_at) = writer.await.unwrap();
    assert!(end != End::Stopped || matches!(ended, Ok(Ok(()))), "{ended:?}");
    // What a power cut may take of what was given out.
    let may_be_lost = |given_at: Instant| match sync {
        _ if end != End::PowerCut => false,
        JournalSync::Always => false,
        JournalSync::Every(time) => given_at + time >= ended_at,
        JournalSync::Never => true,
    };
    for (given, given_at) in given {
        match given {
            Given::Entry(_) if may_be_lost(given_at) => {}
            Given::Entry(_) => story.given.push(number(&given)),
            Given::Undone { number, why } => {
                assert_eq!(why, Error::NoSpace);
                story.undone.insert(number);
            }
            Given::Restart(_) | Given::Snapshot(_) => panic!("{given:?}"),
        }
    }
    disk.next(end != End::PowerCut)
}

/// Checks that a state has all that was given out, nothing that was undone, and no hole.
fn check(state: &State, story: &mut Story) {
    let given: BTreeSet<u64> = story.given.iter().copied().collect();
    assert_eq!(given.len(), story.given.len(), "given out twice");
    assert!(story.given.is_sorted(), "{:?}", story.given);
    let mut lacks = None;
    for number in (0..story.next).filter(|number| !story.undone.contains(number)) {
        let is_there = state.knows_user(&user(number));
        assert!(is_there || !given.contains(&number), "{number} was given out and is gone");
        match (is_there, lacks) {
            (false, None) => lacks = Some(number),
            (true, Some(lacking)) => panic!("{number} is there without {lacking}"),
            _ => {}
        }
    }
    for undone in &story.undone {
        assert!(!state.knows_user(&user(*undone)), "{undone} was undone and is there");
    }
    // What was lost before anybody saw it will not come.
    if let Some(lacks) = lacks {
        story.undone.extend(lacks..story.next);
    }
}

/// Runs so many journals of several lives each, whose ends `end` chooses, or as many as the environment
/// says.
fn lives(sync: JournalSync, seeds: u64, end: impl Fn(&mut Dice) -> End) {
    let more = std::env::var("CHANNELSTREAM_JOURNAL_SEEDS").ok();
    let more: Option<u64> = more.map(|seeds| seeds.parse().expect("it is a number"));
    for seed in 0..more.unwrap_or(seeds) {
        let mut dice = Dice::new(seed);
        let mut disk = Model::new(dice.part());
        let mut story = Story::default();
        let lived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            in_paused_time(async {
                for _ in 0..6 {
                    let end = end(&mut dice);
                    disk = live(disk.clone(), sync, end, &mut dice, &mut story).await;
                }
                check(&open_at(&disk).unwrap().state, &mut story);
            });
        }));
        assert!(lived.is_ok(), "seed {seed} with {sync:?}");
    }
}

#[test]
fn a_power_cut_loses_nothing_that_was_given_out_and_raises_no_false_alarm() {
    lives(JournalSync::Always, 200, |dice| match dice.within(0..8) {
        0 => End::Stopped,
        1 => End::Killed,
        _ => End::PowerCut,
    });
}

#[test]
fn a_power_cut_loses_no_more_than_was_agreed_to() {
    for sync in [JournalSync::Every(Duration::from_secs(2)), JournalSync::Never] {
        lives(sync, 60, |dice| if dice.within(0..4) > 0 { End::PowerCut } else { End::Killed });
    }
}

#[test]
fn the_end_of_the_process_loses_nothing_however_seldom_it_syncs() {
    for sync in [JournalSync::Every(Duration::from_secs(2)), JournalSync::Never] {
        lives(sync, 20, |dice| if dice.coin() { End::Stopped } else { End::Killed });
    }
}
