//! A journal that was raised to a level that is not known is refused and left as it is.

use std::time::Duration;

use channelstream_core::state::{Alive, Command, Envelope};
use tokio::time::sleep;

use super::super::super::tests::envelope;
use super::super::disk::{Disk as _, Files as _};
use super::super::names::Name;
use super::*;

const OLD: Levels = Levels { oldest: 1, newest: 1 };
const NEW: Levels = Levels { oldest: 1, newest: 2 };
const NEWEST: Levels = Levels { oldest: 2, newest: 3 };

fn open_knowing(disk: &Model, known: Levels) -> Result<Recovered, OpenError> {
    recover(Arc::new(disk.clone()), known, initial, MOST, salt)
}

fn contents(disk: &Model) -> Vec<(String, Vec<u8>)> {
    let mut names = disk.names().unwrap();
    names.sort();
    names.into_iter().map(|name| (name.clone(), disk.read(&name).unwrap())).collect()
}

/// Lets a node of the next release append, and raise the level. Then `more` entries follow, and everything is on
/// disk; also a snapshot of them, if it is waited for.
async fn raised(disk: &Model, more: u64, waits: bool) {
    let Running { appender, mut reader, stop, writer } =
        run(open_knowing(disk, NEW).unwrap(), JournalSync::Always);
    let alive = Alive { level: 2, ..Alive::default() };
    let commands = [Command::Alive(Box::new(alive)), Command::Raise(2)];
    for (number, command) in (1..).zip(commands) {
        appender.append(Envelope { command, ..envelope(number) }).unwrap();
    }
    let mut batch = Vec::new();
    while batch.len() < 2 {
        assert_ne!(reader.next(&mut batch, 2).await, 0);
    }
    appender.set_level(2);
    for number in 3..3 + more {
        appender.append(envelope(number)).unwrap();
    }
    batch.clear();
    while (batch.len() as u64) < more {
        assert_ne!(reader.next(&mut batch, 1000).await, 0);
    }
    let snapshots = || {
        let names = disk.names().unwrap();
        names.iter().filter(|name| matches!(Name::read(name), Some(Name::Snapshot(_)))).count()
    };
    while waits && snapshots() < 2 {
        sleep(Duration::from_millis(100)).await;
    }
    drop(stop);
    writer.await.unwrap().unwrap();
}

#[test]
fn a_level_that_is_not_known_is_refused_wherever_it_stands_and_nothing_is_changed() {
    // It was raised by the last entry, others followed, and a snapshot was made at it.
    for more in [0, 1, 300] {
        in_paused_time(async {
            let disk = Model::new(Dice::new(more));
            raised(&disk, more, false).await;
            let unfinished = format!("{}.new", Name::Snapshot(99_999));
            drop(disk.create(&unfinished, b"x").unwrap());
            let before = contents(&disk);
            let refused = open_knowing(&disk, OLD).unwrap_err();
            let OpenError::Replay { file, source } = &refused else { panic!("{refused:?}") };
            let mut says = source.to_string();
            let mut cause = std::error::Error::source(source);
            while let Some(error) = cause {
                says = format!("{says}: {error}");
                cause = error.source();
            }
            assert!(says.contains("level 2, but this program knows 1 to 1"), "{file}: {says}");
            assert!(contents(&disk) == before, "{more}");
            let recovered = open_knowing(&disk, NEW).unwrap();
            assert_eq!(recovered.state.level(), 2);
        });
    }
}

#[test]
fn a_snapshot_follows_a_raise_so_that_the_release_after_that_can_begin_with_it() {
    in_paused_time(async {
        let disk = Model::new(Dice::new(7));
        raised(&disk, 1, true).await;
        assert_eq!(open_knowing(&disk, NEWEST).unwrap().state.level(), 2);
    });
}
