//! The journal on a disk that loses what it may lose: nothing that was given out is gone, and nothing
//! that is only torn is taken for damage.

use std::collections::BTreeSet;
use std::time::Duration;

use channelstream_core::state::{Rules, State};
use fastrand::Rng;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::super::tests::{envelope, initial, number, user};
use super::super::{Error, Given};
use super::model::Model;
use super::recovery::{OpenError, Recovered, recover};
use super::*;

/// Small, so that there are many segments and snapshots.
const MOST: u64 = 3000;

fn salt() -> u64 {
    fastrand::u64(..)
}

fn open_at(disk: &Model) -> Result<Recovered, OpenError> {
    recover(Arc::new(disk.clone()), &Rules::default(), initial, MOST, salt)
}

/// What became of what was appended, over all lives of a journal.
#[derive(Debug, Default)]
struct Story {
    /// The number of the next envelope.
    next: u64,
    /// What was given out, in this order.
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
async fn live(disk: Model, sync: JournalSync, end: End, rng: &mut Rng, story: &mut Story) -> Model {
    let recovered = open_at(&disk).unwrap_or_else(|error| panic!("a false alarm: {error:?}"));
    check(&recovered.state, story);
    let opened = start(recovered, sync, &Rules::default(), Handle::current(), None);
    let Opened { appender, mut reader, writer, .. } = opened;
    let (stop, stopped) = oneshot::channel::<()>();
    let writer = tokio::spawn(writer.unwrap().run(async { drop(stopped.await) }));
    if end == End::PowerCut {
        disk.fail_after(rng.u64(1..40));
    }
    let mut batch = Vec::new();
    for _ in 0..rng.u32(1..30) {
        match rng.u8(..20) {
            0 => disk.leave_space(rng.u64(..4000)),
            1 => disk.has_all_space(),
            2 => sleep(Duration::from_secs(rng.u64(..5))).await,
            _ => {}
        }
        for _ in 0..rng.u32(..8) {
            match appender.append(envelope(story.next)) {
                Ok(()) => story.next += 1,
                Err(Error::NoSpace) => {}
                Err(Error::Full) => panic!("it holds more than that"),
                Err(Error::Closed) => assert!(!disk.has_power(), "it ended with power"),
            }
        }
        if rng.bool() {
            let _ = timeout(Duration::from_millis(1), reader.next(&mut batch, 100)).await;
        }
    }
    match end {
        End::PowerCut => disk.fail_after(rng.u64(1..4)),
        End::Killed => writer.abort(),
        End::Stopped => drop(stop),
    }
    drop(appender);
    while timeout(Duration::from_secs(10), reader.next(&mut batch, 100)).await.unwrap() > 0 {}
    let ended = writer.await;
    assert!(end != End::Stopped || matches!(ended, Ok(Ok(()))), "{ended:?}");
    for given in batch {
        match given {
            Given::Entry(_) => story.given.push(number(&given)),
            Given::Undone { number, why } => {
                assert_eq!(why, Error::NoSpace);
                story.undone.insert(number);
            }
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

fn in_paused_time<T>(test: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap().block_on(test)
}

/// Runs journals of several lives each, whose ends `end` chooses.
fn lives(sync: JournalSync, seeds: std::ops::Range<u64>, end: impl Fn(&mut Rng) -> End) {
    for seed in seeds {
        let mut rng = Rng::with_seed(seed);
        let mut disk = Model::new(rng.fork());
        let mut story = Story::default();
        let lived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            in_paused_time(async {
                for _ in 0..6 {
                    let end = end(&mut rng);
                    disk = live(disk.clone(), sync, end, &mut rng, &mut story).await;
                }
                check(&open_at(&disk).unwrap().state, &mut story);
            });
        }));
        assert!(lived.is_ok(), "seed {seed} with {sync:?}");
    }
}

#[test]
fn a_power_cut_loses_nothing_that_was_given_out_and_raises_no_false_alarm() {
    lives(JournalSync::Always, 0..400, |rng| match rng.u8(..8) {
        0 => End::Stopped,
        1 => End::Killed,
        _ => End::PowerCut,
    });
}

#[test]
fn the_end_of_the_process_loses_nothing_however_seldom_it_syncs() {
    for sync in [JournalSync::Every(Duration::from_secs(2)), JournalSync::Never] {
        lives(sync, 0..100, |rng| if rng.bool() { End::Stopped } else { End::Killed });
    }
}
