//! Who writes: the reader where that does not wait for the disk, and else the writer, on a thread of its own.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::super::super::tests::{envelope, number, user};
use super::super::super::{Given, Reader as AnyReader};
use super::super::pen::SLOW;
use super::super::reader::{LONG, Reader};
use super::*;

const EVERY: JournalSync = JournalSync::Every(Duration::from_millis(1));

fn of_files(reader: AnyReader) -> Reader {
    let AnyReader::File(reader) = reader else { panic!("it is not of files") };
    reader
}

/// Takes what comes in a moment.
async fn come(reader: &mut Reader) -> Vec<u64> {
    let mut batch = Vec::new();
    // Nothing is lost: either it was taken, or it still waits.
    let _ = timeout(Duration::from_millis(1), reader.next(&mut batch, 10)).await;
    batch.iter().map(number).collect()
}

#[test]
fn the_reader_writes_itself_unless_that_waits_for_the_disk() {
    in_paused_time(async {
        for (sync, is_quick, writes) in [
            (EVERY, true, true),
            (JournalSync::Never, true, true),
            (JournalSync::Never, false, false),
            (JournalSync::Always, true, false),
        ] {
            let disk = Model::new(Dice::new(1));
            disk.set_quick(is_quick);
            let opened = start(open_at(&disk).unwrap(), sync, Handle::current(), None);
            let mut reader = of_files(opened.reader);
            opened.appender.append(envelope(0)).unwrap();
            opened.appender.append(envelope(1)).unwrap();
            // The writer does not run.
            let expected = if writes { vec![0, 1] } else { Vec::new() };
            assert_eq!(come(&mut reader).await, expected, "{sync:?} {is_quick}");
            let next = open_at(&disk.next(true)).unwrap();
            assert_eq!(next.state.knows_user(&user(1)), writes, "what was given out is there");
        }
    });
}

#[test]
fn who_serves_does_not_wait_for_a_sync() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let disk = Model::new(Dice::new(1));
        let thread = crate::thread::Thread::start().unwrap();
        let opened = start(open_at(&disk).unwrap(), EVERY, thread.handle(), None);
        let (appender, mut reader) = (opened.appender, of_files(opened.reader));
        let (stop, stopped) = oneshot::channel::<()>();
        let run = opened.writer.unwrap().run(async { drop(stopped.await) });
        disk.hold_syncs();
        appender.append(envelope(0)).unwrap();
        assert_eq!(come(&mut reader).await, [0]);
        let writer = thread.handle().spawn(run);
        while !disk.is_held() {
            sleep(Duration::from_millis(1)).await;
        }
        appender.append(envelope(1)).unwrap();
        assert!(come(&mut reader).await.is_empty(), "it is not written");
        assert!(!reader.has_turn && disk.is_held());
        disk.release_syncs();
        let mut batch = Vec::new();
        assert_eq!(reader.next(&mut batch, 10).await, 1);
        assert_eq!(number(&batch[0]), 1);
        drop(stop);
        writer.await.unwrap().unwrap();
    });
}

#[test]
fn after_a_write_that_waited_the_writer_writes_for_a_while() {
    in_paused_time(async {
        let disk = Model::new(Dice::new(1));
        let Running { appender, reader, stop, writer } =
            run(open_at(&disk).unwrap(), JournalSync::Never);
        let mut reader = of_files(reader);
        appender.append(envelope(0)).unwrap();
        disk.wait_before_the_next_write(LONG);
        assert_eq!(come(&mut reader).await, [0]);
        assert!(!reader.has_turn);
        for number in 1..4 {
            appender.append(envelope(number)).unwrap();
            assert_eq!(come(&mut reader).await, [number]);
            assert!(!reader.has_turn);
        }
        sleep(SLOW).await;
        appender.append(envelope(4)).unwrap();
        assert_eq!(come(&mut reader).await, [4]);
        assert!(come(&mut reader).await.is_empty());
        assert!(reader.has_turn);
        drop(stop);
        writer.await.unwrap().unwrap();
        assert_eq!(open_at(&disk).unwrap().entries, 5);
    });
}

#[test]
fn a_disk_that_fails_under_the_reader_ends_the_journal() {
    in_paused_time(async {
        let disk = Model::new(Dice::new(1));
        let Running { appender, mut reader, writer, .. } = run(open_at(&disk).unwrap(), EVERY);
        disk.fail_after(0);
        appender.append(envelope(0)).unwrap();
        let mut batch = Vec::<Given>::new();
        assert_eq!(reader.next(&mut batch, 10).await, 0);
        let error = writer.await.unwrap().unwrap_err();
        let cause = std::error::Error::source(&error).unwrap();
        assert_eq!(cause.to_string(), "cannot cut segment-00000000000000000000");
        assert!(batch.is_empty());
        assert!(appender.append(envelope(1)).is_err());
    });
}
