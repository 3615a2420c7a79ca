//! The journal over a real Redis: the scripts, snapshots, and a Redis that has what it should not.

use std::sync::Arc;

use bytes::Bytes;
use channelstream_core::protocol::Epoch;
use channelstream_core::state::{Command, Envelope};
use redis::Value;

use super::super::tests::{Open, initial, number, user};
use super::super::{Given, Journal};
use super::answer;
use super::command::{Maker, Scripts, Trouble};
use super::lines::{Got, Lines};
use super::protocol::message::{Answer, Appended, Beginning, Entry, Request, Run, View};
use super::*;
use crate::config::Secret;

#[path = "../../../tests/cluster/redis.rs"]
#[allow(dead_code, reason = "other tests need more of it")]
#[allow(clippy::disallowed_methods, reason = "a test may wait")]
pub(crate) mod real;

use real::{Disk, Redis};

pub(crate) fn settings(redis: &Redis) -> RedisJournal {
    let url = Secret::new(redis.url());
    let (name, timeout) = ("test".to_owned(), Duration::from_secs(5));
    RedisJournal { url, identity: None, name, replicas: 0, timeout }
}

pub(crate) fn in_redis(redis: &Redis) -> Journal {
    Journal::Redis(settings(redis))
}

async fn lines(redis: &Redis) -> Lines {
    let keys = Keys::new("test");
    let target = Target::parse(&Secret::new(redis.url()), keys.clone()).unwrap();
    let opened = lines::open(target, keys, Levels::KNOWN, (NodeId::new(7), 7), 0).await.unwrap();
    opened.checked.unwrap();
    opened.lines
}

async fn met(lines: &mut Lines) -> (Run, View) {
    lines.meet(protocol::message::Line::Append).await;
    match lines.append.next().await.unwrap() {
        Got::Answers(answers) => match answers.into_iter().next().unwrap() {
            Answer::Met { run, view } => (run, view),
            answer => panic!("{answer:?}"),
        },
        _ => panic!("another answer"),
    }
}

/// The beginning of the first epoch with an empty state.
async fn beginning(lines: &mut Lines) -> Beginning {
    let (run, view) = met(lines).await;
    Beginning {
        seen: view.head.as_ref().map(|head| head.epoch),
        anywhere: false,
        end: view.end,
        run,
        above: view.head.map_or(Epoch::default(), |head| head.epoch),
        after: Position::default(),
        epochs: Vec::new(),
        alone: true,
        instead: Some(initial().snapshot().into()),
    }
}

async fn begins(lines: &Lines, beginning: &Beginning) -> bool {
    let (line, maker) = (lines.append.connection.clone(), lines.maker.clone());
    let begun =
        lines::begin(line, maker, (NodeId::new(7), 1), beginning.clone(), Arc::default()).await;
    match begun.unwrap() {
        Got::Answers(answers) => matches!(answers[..], [Answer::Begun { is_done: true }]),
        _ => panic!("another answer"),
    }
}

/// Begins a journal, which a node alone would do after some seconds.
pub(crate) async fn begin(redis: &Redis) {
    let mut lines = lines(redis).await;
    let beginning = beginning(&mut lines).await;
    assert!(begins(&lines, &beginning).await);
}

fn in_runtime(test: impl AsyncFn()) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(test());
}

fn entry(number: u64) -> Entry {
    let stamp = crate::clock::Clock::going_on_from(Default::default()).stamp();
    let (node, command) = (NodeId::new(7), Command::Rules(Box::default()));
    Entry::of(&Envelope { node, number, stamp, command, repeat: None }, 1)
}

/// Sends the entries of these numbers. Returns what became of each.
async fn appended(lines: &mut Lines, epoch: Epoch, numbers: &[u64]) -> Vec<Appended> {
    let mut batch = lines::Batch::default();
    for number in numbers {
        lines.add(&mut batch, epoch, &entry(*number));
    }
    lines.send(batch).await;
    match lines.append.next().await.unwrap() {
        Got::Appended(answers, None) => answers
            .into_iter()
            .map(|answer| match answer {
                Answer::Appended(appended) => appended,
                answer => panic!("{answer:?}"),
            })
            .collect(),
        _ => panic!("another answer"),
    }
}

#[test]
fn an_epoch_begins_only_where_it_was_seen_to() {
    in_runtime(async || {
        let redis = Redis::start(Disk::None, &[]);
        let mut lines = lines(&redis).await;
        // Nothing is appended to what has not begun.
        assert_eq!(appended(&mut lines, Epoch::new(5), &[1]).await, [Appended::Refused]);
        let first = beginning(&mut lines).await;
        assert!(begins(&lines, &first).await);
        assert!(!begins(&lines, &first).await, "somebody else has begun");
        let (run, view) = met(&mut lines).await;
        let head = view.head.clone().unwrap();
        let epoch = head.epoch;
        assert_eq!((head.run, head.epochs), (run, vec![(epoch, Position::default())]));
        assert_eq!(view.end, Some(Position { epoch, number: 0 }));
        assert_eq!(
            appended(&mut lines, epoch, &[1, 2]).await,
            [1, 2].map(|number| Appended::Done(Position { epoch, number }))
        );
        let earlier = Epoch::new(epoch.get() - 1);
        assert_eq!(appended(&mut lines, earlier, &[3]).await, [Appended::Refused]);

        let second = Beginning {
            seen: Some(epoch),
            end: Some(Position { epoch, number: 1 }),
            above: epoch,
            after: Position { epoch, number: 2 },
            epochs: vec![(epoch, Position::default())],
            instead: None,
            ..first
        };
        assert!(!begins(&lines, &second).await, "somebody has appended");
        let second = Beginning { end: Some(Position { epoch, number: 2 }), ..second };
        assert!(begins(&lines, &second).await);
        let head = met(&mut lines).await.1.head.unwrap();
        assert!(head.epoch > epoch);
        assert_eq!(head.epochs[1], (head.epoch, Position { epoch, number: 2 }));
        assert_eq!(appended(&mut lines, epoch, &[3]).await, [Appended::Refused]);
    });
}

#[test]
fn claims_are_of_one_run_and_grow_old() {
    in_runtime(async || {
        let redis = Redis::start(Disk::None, &[]);
        let mut lines = lines(&redis).await;
        let (run, _) = met(&mut lines).await;
        let claim = async |node, run: &Run, number| {
            let maker = Maker { node, ..lines.maker.clone() };
            let at = Position { epoch: Epoch::new(9), number };
            let mut line = lines.append.connection.clone();
            let mut answers = command::run(&mut line, &maker.claim(run, at)).await.unwrap();
            answers.pop();
            let mut claims = answer::claims(answers.pop().unwrap()).unwrap();
            claims.sort_unstable();
            claims.iter().map(|(_, at)| at.number).collect::<Vec<_>>()
        };
        assert_eq!(claim(1, &run, 10).await, [10]);
        assert_eq!(claim(2, &run, 20).await, [10, 20]);
        assert_eq!(claim(1, &run, 11).await, [11, 20]);
        assert_eq!(claim(3, &Run::new("another"), 30).await, [30]);
        tokio::time::sleep(Duration::from_millis(1600)).await;
        assert_eq!(claim(4, &run, 40).await, [40]);
    });
}

#[test]
fn entries_are_put_back_only_behind_the_last_one() {
    in_runtime(async || {
        let redis = Redis::start(Disk::None, &[]);
        begin(&redis).await;
        let mut lines = lines(&redis).await;
        let epoch = met(&mut lines).await.1.head.unwrap().epoch;
        let at = |number| Position { epoch, number };
        let put_back = async |after, numbers: &[u64]| {
            let entries: Vec<_> =
                numbers.iter().map(|number| (at(*number), entry(*number))).collect();
            let mut line = lines.append.connection.clone();
            let put = lines.maker.put_back(after, &entries);
            answer::put_back(command::run(&mut line, &put).await.unwrap().pop().unwrap()).unwrap();
            lines.end().await.unwrap().number
        };
        assert_eq!(put_back(at(0), &[1, 2, 3]).await, 3);
        assert_eq!(put_back(at(0), &[1, 2, 3]).await, 3);
        assert_eq!(put_back(at(2), &[3, 4]).await, 3);
        assert_eq!(put_back(at(3), &[4]).await, 4);
    });
}

/// A node that makes snapshots after so few bytes.
async fn node(redis: &Redis, bytes: u64) -> Open {
    let due = Due { bytes, times: 0, ..Due::default() };
    let open = Open::of(open_with(&settings(redis), Levels::KNOWN, initial, due).unwrap()).await;
    open.appender.lead(bytes < u64::MAX);
    open
}

fn figures(open: &Open) -> &Figures {
    open.appender.redis_figures().unwrap()
}

#[test]
fn snapshots_follow_and_the_journal_is_cut_behind_the_one_before() {
    in_runtime(async || {
        let redis = Redis::start(Disk::None, &[]);
        begin(&redis).await;
        let mut one = node(&redis, 15_000).await;
        let mut newest = redis_newest(&redis);
        for round in 0..3 {
            for number in 0..300 {
                one.append(round * 300 + number + 1).unwrap();
            }
            one.take(300).await;
            let begun = tokio::time::Instant::now();
            while figures(&one).sample().bytes > 15_000 {
                assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", figures(&one).sample());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let next = redis_newest(&redis);
            assert_ne!(next, newest);
            newest = next;
        }
        let left = redis.ask(&["XLEN", "{test}:journal"]).unwrap();
        let left: u64 = left.trim_start_matches(':').parse().unwrap();
        assert!(left < 900, "{left}");
        assert!(figures(&one).sample().snapshot_bytes > 1000);
        // Who comes later begins with it.
        let mut two = node(&redis, u64::MAX).await;
        assert_eq!(two.state.snapshot(), one.state.snapshot());
        assert!((1..=900).all(|number| two.state.knows_user(&user(number))));
        assert!(figures(&two).sample().entries < 900);
        one.stop().await;
        two.stop().await;
    });
}

#[test]
fn a_snapshot_is_made_when_the_last_one_is_old() {
    in_runtime(async || {
        let redis = Redis::start(Disk::None, &[]);
        begin(&redis).await;
        let old = async |age| {
            let due = Due { age, ..Due::default() };
            let open =
                Open::of(open_with(&settings(&redis), Levels::KNOWN, initial, due).unwrap()).await;
            open.appender.lead(true);
            open
        };
        let mut never = old(Duration::from_hours(1)).await;
        let mut soon = old(Duration::from_millis(100)).await;
        soon.append(1).unwrap();
        soon.take(1).await;
        never.follow().await;
        let begun = tokio::time::Instant::now();
        while redis_newest(&redis) == "0-0" {
            assert!(begun.elapsed() < Duration::from_secs(20));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(redis_newest(&redis).ends_with("-1"));
        soon.stop().await;
        never.stop().await;
    });
}

#[test]
fn a_snapshot_of_many_parts_is_loaded_whole() {
    in_runtime(async || {
        let redis = Redis::start(Disk::None, &[]);
        begin(&redis).await;
        let lines = lines(&redis).await;
        let mut line = lines.append.connection.clone();
        let bytes: Bytes = (0..=255).cycle().take(command::CHUNK * 2 + 7).collect();
        let at = Position { epoch: Epoch::new(3), number: 4 };
        let heard = Arc::default();
        let chunks = snapshots::store(&mut line, &lines.maker, at, &bytes, &heard).await.unwrap();
        assert_eq!(chunks, 3);
        let mut read = Vec::new();
        for number in 0..chunks {
            let chunk = command::run_one(&mut line, &lines.maker.load_chunk(at, number)).await;
            read.extend(command::bytes(chunk.unwrap()).unwrap());
        }
        assert_eq!(read, bytes);
        assert!(heard.load(std::sync::atomic::Ordering::Relaxed) == 3);
    });
}

#[test]
fn a_snapshot_is_no_older_than_the_one_before_and_of_this_epoch() {
    in_runtime(async || {
        let redis = Redis::start(Disk::None, &[]);
        begin(&redis).await;
        let mut lines = lines(&redis).await;
        let epoch = met(&mut lines).await.1.head.unwrap().epoch;
        appended(&mut lines, epoch, &[1, 2, 3, 4, 5, 6, 7, 8, 9]).await;
        let mut line = lines.append.connection.clone();
        let newest = redis_newest(&redis);
        assert_eq!(newest, "0-0");
        for (epoch_then, number, expected) in
            [(epoch, 5, 5), (epoch, 3, 5), (Epoch::new(1), 9, 5), (epoch, 9, 9)]
        {
            let at = Position { epoch, number };
            let heard = Arc::default();
            snapshots::store(&mut line, &lines.maker, at, b"state", &heard).await.unwrap();
            let save = lines.maker.save(epoch_then, at, 1);
            command::run_one(&mut line, &save).await.unwrap();
            assert_eq!(redis_newest(&redis), format!("{}-{expected}", epoch.get()));
        }
        // A part of it is missing.
        let save = lines.maker.save(epoch, Position { epoch, number: 99 }, 1);
        command::run_one(&mut line, &save).await.unwrap();
        assert_eq!(redis_newest(&redis), format!("{}-9", epoch.get()));
        // What nothing leads to was written by somebody else.
        for nonsense in ["18446744073709551615-0", "nonsense"] {
            redis.ask(&["HSET", "{test}:head", "snapshot", nonsense]).unwrap();
            let at = Position { epoch, number: 4 };
            snapshots::store(&mut line, &lines.maker, at, b"state", &Arc::default()).await.unwrap();
            command::run_one(&mut line, &lines.maker.save(epoch, at, 1)).await.unwrap();
            assert_eq!(redis_newest(&redis), format!("{}-4", epoch.get()));
        }
    });
}

#[test]
fn a_snapshot_that_is_noted_as_useless_is_not_whole_until_there_is_a_newer_one() {
    in_runtime(async || {
        let redis = Redis::start(Disk::None, &[]);
        begin(&redis).await;
        let mut lines = lines(&redis).await;
        let head = met(&mut lines).await.1.head.unwrap();
        appended(&mut lines, head.epoch, &[1, 2]).await;
        let (line, maker) = (lines.append.connection.clone(), lines.maker.clone());
        let is_whole = || async { snapshots::is_whole(line.clone(), &maker, &head).await.unwrap() };
        assert!(is_whole().await);
        lines.ask(Request::Useless(Position::default()), 0, 1).await;
        let noted = lines.append.next().await.unwrap();
        assert!(matches!(noted, Got::Answers(answers) if matches!(answers[..], [Answer::Noted])));
        assert!(!is_whole().await);
        let at = Position { epoch: head.epoch, number: 1 };
        snapshots::store(&mut line.clone(), &maker, at, b"state", &Arc::default()).await.unwrap();
        command::run_one(&mut line.clone(), &maker.save(head.epoch, at, 1)).await.unwrap();
        assert!(is_whole().await);
    });
}

/// The position of the newest snapshot.
fn redis_newest(redis: &Redis) -> String {
    redis.ask(&["HGET", "{test}:head", "snapshot"]).unwrap()
}

#[test]
fn what_is_no_entry_keeps_a_node_away_and_harms_nothing() {
    in_runtime(async || {
        for damage in [
            "XADD {test}:journal * e nonsense",
            "XADD {test}:journal * e \"\\xff\\xff\\xff\\xff\"",
            "XADD {test}:journal * a b c d",
            "HSET {test}:head epochs nonsense",
            "HSET {test}:head chunks 2",
            "SET {test}:head text",
            "SET {test}:journal text",
        ] {
            let redis = Redis::start(Disk::None, &[]);
            begin(&redis).await;
            redis.ask(&[damage]).unwrap();
            let opened = open(&settings(&redis), Levels::KNOWN, initial).unwrap();
            let Some(Writer::Redis(driver)) = opened.writer else { panic!() };
            let stop = tokio::time::sleep(Duration::from_millis(700));
            driver.run(stop).await.unwrap();
            assert_ne!(opened.appender.standing(), Standing::Following, "{damage}");
        }
    });
}

#[test]
fn without_replicas_all_is_in_doubt_and_done_all_the_same() {
    in_runtime(async || {
        let redis = Redis::start(Disk::None, &[]);
        begin(&redis).await;
        let journal = RedisJournal { replicas: 1, ..settings(&redis) };
        let mut open = Open::of(super::open(&journal, Levels::KNOWN, initial).unwrap()).await;
        open.append(1).unwrap();
        let mut given = Vec::new();
        while given.len() < 2 {
            open.reader.next(&mut given, 1).await;
        }
        assert!(matches!(given[0], Given::Undone { number: 1, why: Error::InDoubt }), "{given:?}");
        assert!(matches!(given[1], Given::Entry(_)) && number(&given[1]) == 1);
        assert_eq!(open.appender.standing(), Standing::Following);
    });
}

#[test]
fn scripts_that_redis_forgot_are_brought_again() {
    in_runtime(async || {
        let redis = Redis::start(Disk::None, &[]);
        begin(&redis).await;
        let mut open =
            Open::of(super::open(&settings(&redis), Levels::KNOWN, initial).unwrap()).await;
        assert_eq!(redis.ask(&["SCRIPT", "FLUSH"]).unwrap(), "+OK");
        assert_eq!(open.appender.end().await, Err(Error::Away), "the script is not there");
        // So the lines are opened anew, which brings the scripts.
        open.follow().await;
        assert!(open.appender.end().await.is_ok());
    });
}

#[test]
fn what_redis_says_is_told_on_one_line() {
    in_runtime(async || {
        let redis = Redis::start(Disk::None, &[]);
        let lines = lines(&redis).await;
        let mut line = lines.append.connection.clone();
        let mut pipeline = redis::Pipeline::new();
        pipeline.cmd("HGETALL");
        let answer = command::run_one(&mut line, &pipeline).await;
        assert!(
            matches!(&answer, Err(Trouble::Answers(why)) if why.starts_with("ERR wrong number")),
            "{answer:?}"
        );
        assert!(matches!(command::text(Value::Nil), Err(Trouble::Unreadable(_))));
        drop(Scripts::load(&mut line).await.unwrap());
    });
}
