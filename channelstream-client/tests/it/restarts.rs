//! A server that is killed and restarted while one service publishes and another listens.

use std::collections::BTreeSet;
use std::time::Duration;

use channelstream_client::{Connect, Gap, GapReason, Published, StreamEvent};
use tokio::sync::watch;

use crate::listening::{gap, number, numbered, opened, until};
use crate::server::{Server, hasty};

const RESTARTS: usize = 10;

/// The outcome of the service's messages.
#[derive(Default)]
struct Outcome {
    accepted: BTreeSet<u64>,
    in_doubt: BTreeSet<u64>,
}

/// Publishes one message after another until it is stopped. Failed messages are not sent again.
async fn publish(url: String, mut run: watch::Receiver<bool>, mut next: u64) -> (Outcome, u64) {
    let client = hasty(&url).build().unwrap();
    let mut total = Outcome::default();
    while *run.borrow_and_update() {
        match client.publish_all((next..next + 3).map(numbered)).await {
            Ok(Published { messages: 3, .. }) => total.accepted.extend(next..next + 3),
            Ok(other) => panic!("the server did not take all: {other:?}"),
            Err(error) if error.is_in_doubt() => total.in_doubt.extend(next..next + 3),
            Err(_) => {}
        }
        next += 3;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    (total, next)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_kills_under_a_publisher_and_a_listener() {
    let mut server = Server::start();
    let (url, port) = (server.url.clone(), server.port);
    let mut listener = hasty(&url)
        .build()
        .unwrap()
        .listen_as(Connect::new("robot").channels(["news"]))
        .first_pause(Duration::from_millis(10))
        .longest_pause(Duration::from_millis(200))
        .build()
        .unwrap();
    let (mut received, mut renewals) = (BTreeSet::new(), 0);
    let mut total = Outcome::default();
    let mut next = 0;
    for round in 0..RESTARTS {
        // Run until an event of this server has arrived.
        let (run, running) = watch::channel(true);
        let service = tokio::spawn(publish(url.clone(), running, next));
        let mut note = |event: &StreamEvent| {
            renewals += usize::from(is_lost_with_the_server(event));
            let number = number(event)?;
            assert!(received.insert(number), "{number} arrived twice");
            Some(number)
        };
        let first_of_round = next;
        until(&mut listener, |event| note(event).filter(|n| *n >= first_of_round + 30)).await;
        // Kill the server during the traffic, and leave it stopped for a while.
        server.kill();
        tokio::time::sleep(Duration::from_millis(30)).await;
        server = Server::start_on(port);
        until(&mut listener, |event| {
            note(event);
            is_lost_with_the_server(event).then_some(())
        })
        .await;
        run.send_replace(false);
        let (outcome, went_on_at) = service.await.unwrap();

        // The new server has accepted exactly the messages since its start.
        let before = server.client().admin_stats().await.unwrap().total_unique_messages;
        let (extra, _) = {
            let (run, running) = watch::channel(true);
            let extra = tokio::spawn(publish(url.clone(), running, went_on_at));
            until(&mut listener, |event| note(event).filter(|n| *n >= went_on_at + 30)).await;
            run.send_replace(false);
            extra.await.unwrap()
        };
        let after = server.client().admin_stats().await.unwrap().total_unique_messages;
        assert_eq!(after - before, extra.accepted.len() as u64, "round {round}");
        assert!(extra.in_doubt.is_empty());
        next = extra.accepted.last().unwrap() + 1;

        // Every message that was accepted while the stream was connected arrives.
        let last = next - 1;
        if !received.contains(&last) {
            until(&mut listener, |event| note_into(&mut received, event).filter(|n| *n == last))
                .await;
        }
        assert!(extra.accepted.is_subset(&received), "round {round}");
        total.accepted.extend(outcome.accepted.into_iter().chain(extra.accepted));
        total.in_doubt.extend(outcome.in_doubt);
    }
    assert_eq!(renewals, RESTARTS);
    // No message was accepted that the service reports as not accepted.
    let known: BTreeSet<_> = total.accepted.union(&total.in_doubt).copied().collect();
    assert!(received.is_subset(&known), "{:?}", received.difference(&known));
    assert!(total.accepted.len() > RESTARTS * 60);
}

#[tokio::test]
async fn an_orderly_shutdown_is_reported_as_such() {
    let server = Server::start();
    let port = server.port;
    let client = hasty(&server.url).build().unwrap();
    let mut listener = client
        .listen_as(Connect::new("robot").channels(["news"]))
        .first_pause(Duration::from_millis(10))
        .longest_pause(Duration::from_millis(100))
        .build()
        .unwrap();
    until(&mut listener, opened).await;
    client.publish(numbered(1)).await.unwrap();
    until(&mut listener, number).await;
    let stopped = tokio::task::spawn_blocking(move || server.stop());
    let reported = until(&mut listener, |event| match event {
        StreamEvent::Interrupted { error, .. } => Some(error.to_string()),
        _ => None,
    });
    let text = "the server closed the websocket with 1001: the server is shutting down";
    assert_eq!(reported.await, text);
    stopped.await.unwrap();
    let _server = Server::start_on(port);
    until(&mut listener, |event| is_lost_with_the_server(event).then_some(())).await;
    client.publish(numbered(2)).await.unwrap();
    assert_eq!(until(&mut listener, number).await, 2);
}

/// Returns `true` for what the new server reports about "news" in answer to a cursor of the old one.
fn is_lost_with_the_server(event: &StreamEvent) -> bool {
    match gap(event) {
        Some(Gap::Lost { channel, reason, .. }) => {
            channel.as_deref() == Some("news") && reason == GapReason::Epoch
        }
        _ => false,
    }
}

fn note_into(received: &mut BTreeSet<u64>, event: &StreamEvent) -> Option<u64> {
    let number = number(event)?;
    assert!(received.insert(number), "{number} arrived twice");
    Some(number)
}
