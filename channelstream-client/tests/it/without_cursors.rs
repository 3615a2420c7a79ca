//! Event streams on servers that know no cursors, such as Channelstream 0.7.1.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use channelstream_client::{EventStream, Gap, StreamEvent, Uuid};

use crate::listening::{gap, number, opened, until};
use crate::stub::{Stub, answer};

/// Starts a stub that gives these answers to polls, one after another, and then empty ones.
fn polled(answers: Vec<String>) -> Stub {
    let next = AtomicUsize::new(0);
    Stub::start(move |_| {
        let answered = answers.get(next.fetch_add(1, Ordering::Relaxed)).cloned();
        Some(answered.unwrap_or_else(|| answer("200 OK", "[]")))
    })
}

fn listen(stub: &Stub) -> EventStream {
    EventStream::builder(format!("http://{}", stub.host), Uuid::from_u128(1))
        .only_long_poll()
        .first_pause(Duration::from_millis(5))
        .longest_pause(Duration::from_millis(20))
        .build()
        .unwrap()
}

fn event(number: u64, more: &str) -> String {
    format!(
        r#"{{"uuid": "00000000-0000-0000-0000-000000000007", "type": "message", "user": "a",
        "channel": "news", "message": {{"number": {number}}}, "timestamp": "2026-01-02T03:04:05",
        "edited": null{more}}}"#
    )
}

fn list(events: &[String]) -> String {
    answer("200 OK", &format!("[{}]", events.join(",")))
}

/// An answer of which the end does not arrive.
fn broken() -> String {
    answer("200 OK", "[]").replace("[]", "[").replace("length: 2", "length: 9")
}

fn since_of(line: &str) -> &str {
    line.split_once("since=").unwrap().1
}

#[tokio::test]
async fn gaps_are_assumed() {
    let caught_up = |number| event(number, r#", "catchup": true"#);
    let full: Vec<_> = (1..=100).map(caught_up).collect();
    let stub = polled(vec![list(&[event(0, "")]), broken(), list(&full)]);
    let mut listener = listen(&stub);
    assert_eq!(until(&mut listener, number).await, 0);
    assert_eq!(listener.cursor(), None);
    until(&mut listener, opened).await;
    // What was in the broken answer is lost, and the next one is as long as what is stored.
    assert_eq!(gap(&listener.next().await.unwrap()), Some(Gap::BrokenTransport));
    let mut numbers = Vec::new();
    let found = until(&mut listener, |event| {
        numbers.extend(number(event));
        gap(event)
    });
    let found = found.await;
    assert!(numbers.into_iter().eq(1..=100));
    assert!(
        matches!(&found, Gap::FullCatchup { channel: Some(of), .. } if of == "news"),
        "{found:?}"
    );
    for _ in 0..3 {
        assert_eq!(since_of(stub.request().line()), "");
    }
}

#[tokio::test]
async fn a_server_that_knows_cursors_no_longer_is_noticed() {
    let stub = polled(vec![
        list(&[event(0, r#", "seq": "a-1""#)]),
        broken(),
        list(&[event(1, ""), event(2, "")]),
    ]);
    let mut listener = listen(&stub);
    assert_eq!(until(&mut listener, number).await, 0);
    assert_eq!(listener.cursor(), Some("a-1"));
    until(&mut listener, opened).await;
    // Its first event shows that it has not looked at the cursor.
    assert_eq!(gap(&listener.next().await.unwrap()), Some(Gap::BrokenTransport));
    assert_eq!(number(&listener.next().await.unwrap()), Some(1));
    assert_eq!(number(&listener.next().await.unwrap()), Some(2));
    // The next poll.
    let waiting = tokio::time::timeout(Duration::from_millis(100), listener.next()).await;
    assert!(waiting.is_err(), "{waiting:?}");
    for since in ["", "a-1", "a-1", ""] {
        assert_eq!(since_of(stub.request().line()), since);
    }
}

#[tokio::test]
async fn a_server_that_knows_cursors_reports_gaps_itself() {
    let stub = polled(vec![
        list(&[event(0, r#", "seq": "a-1""#)]),
        broken(),
        list(&[
            r#"{"type": "gap", "channel": "news", "reason": "evicted", "seq": "a-7"}"#.to_owned(),
            event(8, r#", "catchup": true, "seq": "a-8""#),
        ]),
    ]);
    let mut listener = listen(&stub);
    let mut seen = Vec::new();
    until(&mut listener, |event| {
        match event {
            StreamEvent::Gap(gap) => seen.push(format!("{gap:?}")),
            StreamEvent::Event(_) => seen.push(number(event).unwrap().to_string()),
            _ => {}
        }
        (number(event) == Some(8)).then_some(())
    })
    .await;
    assert_eq!(seen, ["0", r#"Lost { channel: Some("news"), reason: Evicted }"#, "8"]);
    assert_eq!(listener.cursor(), Some("a-8"));
}
