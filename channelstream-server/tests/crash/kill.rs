//! `kill -9` under load: no answer was wrong, and no client that holds a cursor misses anything.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::app::{Site, numbered, numbers};
use crate::journal::{Journal, attempt, keep_all, kept};
use crate::rounds;
use crate::visitor::Visitor;

const PUBLISHERS: usize = 4;

/// Publishes one number after another to a channel until the server is gone. Returns how many were
/// answered.
fn publish(address: SocketAddr, channel: &str, from: u64, sent: &AtomicU64) -> u64 {
    let mut next = from;
    loop {
        sent.store(next + 1, Ordering::Relaxed);
        match attempt(address, "/message", &numbered(channel, next)) {
            Some(200) => next += 1,
            Some(status) => panic!("an answer that is none: {status}"),
            None => return next,
        }
    }
}

#[test]
fn no_answered_write_is_lost_and_none_is_heard_twice() {
    let journal = Journal::new();
    let mut server = journal.start(&[]);
    let address = server.address;
    let port = address.port().to_string();
    let site = Site(address);
    let channels: Vec<String> = (0..PUBLISHERS).map(|number| format!("channel{number}")).collect();
    channels.iter().for_each(|channel| keep_all(site, channel));
    let names: Vec<_> = channels.iter().map(String::as_str).collect();
    let connection = site.connect("visitor", &names);
    let is_over = AtomicBool::new(false);
    let mut there = vec![0; PUBLISHERS];
    let events = thread::scope(|scope| {
        let mut visitor = Visitor::new(address, connection);
        let visiting = scope.spawn(|| {
            visitor.listen(&is_over, |event| event["message"]["n"] == u64::MAX);
            visitor.events
        });
        for round in 0..rounds(10, 100) {
            let sent: Vec<_> = (0..PUBLISHERS).map(|_| AtomicU64::new(0)).collect();
            let answered: Vec<u64> = thread::scope(|scope| {
                let publishers: Vec<_> = (0..PUBLISHERS)
                    .map(|at| {
                        let (channel, from, sent) = (&channels[at], there[at], &sent[at]);
                        scope.spawn(move || publish(address, channel, from, sent))
                    })
                    .collect();
                thread::sleep(Duration::from_millis(u64::from(round * 37 % 150) + 5));
                server.signal("KILL");
                server.ended();
                publishers.into_iter().map(|publisher| publisher.join().unwrap()).collect()
            });
            // What is kept does not depend on it.
            let sync = ["1", "never", "always"][round as usize % 3];
            server = journal.start(&["--port", &port, "--journal-sync", sync]);
            for at in 0..PUBLISHERS {
                let kept = kept(site, &channels[at]);
                let count = kept.len() as u64;
                assert!(kept.into_iter().eq(0..count), "round {round}: they are not in order");
                let (answered, sent) = (answered[at], sent[at].load(Ordering::Relaxed));
                assert!(answered <= count, "round {round}: {answered} answered, {count} there");
                assert!(count <= sent, "round {round}: {count} there, {sent} sent");
                there[at] = count;
            }
        }
        site.publish(&channels[0], u64::MAX);
        visiting.join().unwrap()
    });
    for (at, channel) in channels.iter().enumerate() {
        let of_channel: Vec<_> =
            events.iter().filter(|event| event["channel"] == **channel).cloned().collect();
        let mut heard = numbers(&of_channel);
        if at == 0 {
            assert_eq!(heard.pop(), Some(u64::MAX));
            // The others may have come to an end behind it.
            assert!(heard.into_iter().eq(0..there[at]), "{channel}");
        } else {
            assert!(heard.into_iter().eq(0..there[at]), "{channel}");
        }
    }
    let gaps = events.iter().filter(|event| event["type"] == "gap").count();
    assert_eq!(gaps, 0, "something was not stored");
    assert!(there.iter().sum::<u64>() > 100, "there was no load: {there:?}");
    is_over.store(true, Ordering::Relaxed);
}
