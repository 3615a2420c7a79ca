//! What the writer does when there is no space, when the disk fails, and when entries are large.

use std::sync::atomic::Ordering;
use std::time::Duration;

use channelstream_core::protocol::NewMessage;
use channelstream_core::state::Command;
use serde_json::json;
use tokio::time::sleep;

use super::super::super::tests::{envelope, number, user};
use super::super::super::{Error, Given, Standing};
use super::super::disk::{Disk as _, Files as _};
use super::*;

async fn take(reader: &mut Reader, count: usize) -> Vec<Given> {
    let mut batch = Vec::new();
    while batch.len() < count {
        assert_ne!(reader.next(&mut batch, count).await, 0, "the journal is closed");
    }
    batch
}

#[test]
fn without_space_entries_come_back_undone_until_there_is_space() {
    without_space(JournalSync::Always);
    without_space(JournalSync::Every(Duration::from_secs(1)));
    without_space(JournalSync::Never);
}

fn without_space(sync: JournalSync) {
    in_paused_time(async {
        let disk = Model::new(Dice::new(1));
        let Running { appender, mut reader, stop, writer } = run(open_at(&disk).unwrap(), sync);
        appender.append(envelope(0)).unwrap();
        assert!(matches!(&take(&mut reader, 1).await[..], [Given::Entry(_)]));
        disk.leave_space(30);
        for number in 1..4 {
            appender.append(envelope(number)).unwrap();
        }
        let undone: Vec<_> = take(&mut reader, 3)
            .await
            .iter()
            .map(|given| match given {
                Given::Undone { number, why: Error::NoSpace } => *number,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(undone, [1, 2, 3]);
        assert_eq!(appender.standing(), Standing::NoSpace);
        assert_eq!(appender.append(envelope(4)), Err(Error::NoSpace));
        sleep(Duration::from_secs(10)).await;
        assert_eq!(appender.append(envelope(4)), Err(Error::NoSpace), "there is still none");
        disk.has_all_space();
        sleep(Duration::from_secs(2)).await;
        assert_eq!(appender.standing(), Standing::Following);
        appender.append(envelope(5)).unwrap();
        assert_eq!(number(&take(&mut reader, 1).await[0]), 5);
        let sample = appender.figures().unwrap().sample();
        assert_eq!((sample.entries, sample.undone, sample.writes), (2, 3, 2));
        drop(stop);
        writer.await.unwrap().unwrap();
        let recovered = open_at(&disk).unwrap();
        let known: Vec<_> =
            (0..6).map(|number| recovered.state.knows_user(&user(number))).collect();
        assert_eq!(known, [true, false, false, false, false, true]);
        assert_eq!((recovered.entries, recovered.cut), (2, 0));
    });
}

#[test]
fn a_sync_that_fails_ends_the_journal_and_gives_nothing_out() {
    in_paused_time(async {
        let disk = Model::new(Dice::new(1));
        let Running { appender, mut reader, writer, .. } =
            run(open_at(&disk).unwrap(), JournalSync::Always);
        disk.let_syncs_fail();
        appender.append(envelope(0)).unwrap();
        let error = writer.await.unwrap().unwrap_err();
        let cause = std::error::Error::source(&error).unwrap();
        assert_eq!(cause.to_string(), "cannot sync segment-00000000000000000000");
        assert_eq!(reader.next(&mut Vec::new(), 10).await, 0);
        assert_eq!(appender.standing(), Standing::Ended);
        assert_eq!(appender.append(envelope(1)), Err(Error::Closed));
    });
}

#[test]
fn large_entries_are_records_of_their_own_and_small_ones_share_one() {
    in_paused_time(async {
        let disk = Model::new(Dice::new(1));
        let Running { appender, mut reader, stop, writer } =
            run(open_at(&disk).unwrap(), JournalSync::Never);
        let large = |number| {
            let text = "x".repeat(1 << 20);
            let message = NewMessage::to_channel("ann", "news", json!({ "text": text })).unwrap();
            let mut envelope = envelope(number);
            envelope.command = Command::Publish(vec![message]);
            envelope
        };
        for number in 0..100 {
            appender.append(envelope(number)).unwrap();
        }
        appender.append(large(100)).unwrap();
        appender.append(large(101)).unwrap();
        appender.append(envelope(102)).unwrap();
        let given = take(&mut reader, 103).await;
        assert!(given.iter().map(number).eq(0..103));
        let sample = appender.figures().unwrap().sample();
        assert_eq!((sample.entries, sample.writes), (103, 3));
        drop(stop);
        writer.await.unwrap().unwrap();
        let recovered = open_at(&disk).unwrap();
        assert_eq!(recovered.base.number + recovered.entries, 103);
    });
}

#[test]
fn a_snapshot_is_made_when_enough_was_written_and_after_an_hour() {
    in_paused_time(async {
        let disk = Model::new(Dice::new(1));
        let Running { appender, mut reader, stop, writer } =
            run(open_at(&disk).unwrap(), JournalSync::Never);
        let figures = appender.figures().unwrap();
        appender.append(envelope(0)).unwrap();
        take(&mut reader, 1).await;
        sleep(Duration::from_secs(3500)).await;
        assert_eq!(snapshots(&disk), [0]);
        sleep(Duration::from_secs(200)).await;
        assert_eq!(snapshots(&disk), [0, 1]);
        assert_eq!(figures.bytes.load(Ordering::Relaxed), 0);
        sleep(Duration::from_secs(8000)).await;
        assert_eq!(snapshots(&disk), [0, 1], "nothing was written");
        for number in 1..100 {
            appender.append(envelope(number)).unwrap();
            take(&mut reader, 1).await;
            sleep(Duration::from_millis(1)).await;
        }
        let newest = snapshots(&disk);
        assert!(newest.len() == 2 && newest[1] > 20, "{newest:?}");
        let names: Vec<_> = disk.contents().into_iter().map(|(name, _)| name).collect();
        let first = names.iter().find(|name| name.starts_with("segment")).unwrap();
        assert_eq!(first[7..], format!("-{:020}", newest[0]), "{names:?}");
        drop(stop);
        writer.await.unwrap().unwrap();
    });
}

#[test]
fn on_a_real_disk_snapshots_are_made_aside_and_a_restart_begins_with_the_newest() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("journal");
    let open = || {
        let disk = Arc::new(super::super::disk::Directory::open(&path).unwrap());
        recover(disk, Levels::KNOWN, initial, MOST, salt).unwrap()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let thread = crate::thread::Thread::start().unwrap();
        let opened = start(open(), JournalSync::Always, thread.handle(), Some(thread));
        let (appender, mut reader) = (opened.appender, opened.reader);
        let (stop, stopped) = oneshot::channel::<()>();
        let writer = tokio::spawn(opened.writer.unwrap().run(async { drop(stopped.await) }));
        let figures = appender.figures().unwrap();
        let mut count = 0;
        while figures.sample().snapshot_time < Duration::from_micros(1) || count < 200 {
            appender.append(envelope(count)).unwrap();
            take(&mut reader, 1).await;
            count += 1;
        }
        drop(stop);
        writer.await.unwrap().unwrap();
        let recovered = open();
        assert!(recovered.base.number > 0 && recovered.entries < count);
        assert_eq!(recovered.base.number + recovered.entries, count);
        assert!((0..count).all(|number| recovered.state.knows_user(&user(number))));
    });
}

#[test]
fn a_real_file_is_cut_and_written_on_from_there() {
    let folder = tempfile::TempDir::new().unwrap();
    let disk = super::super::disk::Directory::open(folder.path()).unwrap();
    let mut file = disk.create("segment", b"header").unwrap();
    file.append(b" and more").unwrap();
    file.cut(6).unwrap();
    file.append(b" and this").unwrap();
    file.sync().unwrap();
    assert_eq!(disk.read("segment").unwrap(), b"header and this");
    let mut file = disk.open("segment").unwrap();
    file.cut(10).unwrap();
    file.append(b" that").unwrap();
    assert_eq!(disk.read("segment").unwrap(), b"header and that");
    assert_eq!(disk.names().unwrap(), ["segment"]);
}

fn snapshots(disk: &Model) -> Vec<u64> {
    let names = disk.contents().into_iter().map(|(name, _)| name).collect();
    super::super::names::Listing::new(names).snapshots
}
