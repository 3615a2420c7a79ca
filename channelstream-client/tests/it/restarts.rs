//! A server that is killed and started again under a service that publishes and one that listens.

use std::collections::BTreeSet;
use std::time::Duration;

use channelstream_client::{Connect, Gap, Published, StreamEvent};
use tokio::sync::watch;

use crate::listening::{gap, number, numbered, opened, until};
use crate::server::{Server, hasty};

const RESTARTS: usize = 10;

/// What the service knows of its messages.
#[derive(Default)]
struct Account {
    accepted: BTreeSet<u64>,
    in_doubt: BTreeSet<u64>,
}

/// Publishes one message after another until it is told to stop; whatever fails is not sent again.
async fn publish(url: String, mut run: watch::Receiver<bool>, mut next: u64) -> (Account, u64) {
    let client = hasty(&url).build().unwrap();
    let mut account = Account::default();
    while *run.borrow_and_update() {
        match client.publish_all((next..next + 3).map(numbered)).await {
            Ok(Published { messages: 3, .. }) => account.accepted.extend(next..next + 3),
            Ok(other) => panic!("the server did not take all: {other:?}"),
            Err(error) if error.is_in_doubt() => account.in_doubt.extend(next..next + 3),
            Err(_) => {}
        }
        next += 3;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    (account, next)
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
    let (mut heard, mut renewals) = (BTreeSet::new(), 0);
    let mut account = Account::default();
    let mut next = 0;
    for round in 0..RESTARTS {
        // Work, until something of this server is heard.
        let (run, running) = watch::channel(true);
        let service = tokio::spawn(publish(url.clone(), running, next));
        let mut note = |event: &StreamEvent| {
            renewals += usize::from(matches!(event, StreamEvent::Gap(Gap::NewConnection)));
            let number = number(event)?;
            assert!(heard.insert(number), "{number} was heard twice");
            Some(number)
        };
        let first_of_round = next;
        until(&mut listener, |event| note(event).filter(|n| *n >= first_of_round + 30)).await;
        // In the middle of it all; then nobody is there for a while.
        server.kill();
        tokio::time::sleep(Duration::from_millis(30)).await;
        server = Server::start_on(port);
        until(&mut listener, |event| {
            note(event);
            matches!(event, StreamEvent::Gap(Gap::NewConnection)).then_some(())
        })
        .await;
        run.send_replace(false);
        let (told, went_on_at) = service.await.unwrap();

        // The server that lives took what was accepted since, and nothing else: count it all.
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

        // Everything that was accepted while the line stood is heard.
        let last = next - 1;
        if !heard.contains(&last) {
            until(&mut listener, |event| note_into(&mut heard, event).filter(|n| *n == last)).await;
        }
        assert!(extra.accepted.is_subset(&heard), "round {round}");
        account.accepted.extend(told.accepted.into_iter().chain(extra.accepted));
        account.in_doubt.extend(told.in_doubt);
    }
    assert_eq!(renewals, RESTARTS);
    // Nothing was taken of which the service says that it was not.
    let known: BTreeSet<_> = account.accepted.union(&account.in_doubt).copied().collect();
    assert!(heard.is_subset(&known), "{:?}", heard.difference(&known));
    assert!(account.accepted.len() > RESTARTS * 60);
}

#[tokio::test]
async fn an_orderly_end_is_told_as_such() {
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
    let told = until(&mut listener, |event| match event {
        StreamEvent::Interrupted { error, .. } => Some(error.to_string()),
        _ => None,
    });
    let text = "the server closed the websocket with 1001: the server is shutting down";
    assert_eq!(told.await, text);
    stopped.await.unwrap();
    let _server = Server::start_on(port);
    assert_eq!(until(&mut listener, gap).await, Gap::NewConnection);
    client.publish(numbered(2)).await.unwrap();
    assert_eq!(until(&mut listener, number).await, 2);
}

fn note_into(heard: &mut BTreeSet<u64>, event: &StreamEvent) -> Option<u64> {
    let number = number(event)?;
    assert!(heard.insert(number), "{number} was heard twice");
    Some(number)
}
