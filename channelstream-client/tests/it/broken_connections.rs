//! Calls and streams behind a proxy that cuts, stalls, splits, or blocks websockets.

use std::time::{Duration, Instant};

use channelstream_client::{Connect, EventStream, InfoOptions, StreamEvent, Transport, Uuid};
use tokio::net::TcpListener;

use crate::listening::{gap, number, numbered, opened, until};
use crate::proxy::{Mode, Proxy};
use crate::server::{Server, hasty};

/// Longer than a poll of these servers takes.
const SILENCE: Duration = Duration::from_millis(1500);
const PAUSE: Duration = Duration::from_millis(20);

/// Returns a stream of "news" through the proxy, on an existing connection.
async fn listener(server: &Server, proxy: &Proxy) -> EventStream {
    let request = Connect::new("ann").channels(["news"]);
    let id = server.client().connect(request).await.unwrap().conn_id;
    EventStream::builder(&proxy.url, id)
        .silence(SILENCE)
        .first_pause(PAUSE)
        .longest_pause(PAUSE * 10)
        .build()
        .unwrap()
}

#[tokio::test]
async fn calls_come_through_what_splits() {
    let server = Server::start();
    let proxy = Proxy::start(server.port, Mode::Splitting).await;
    let client = hasty(&proxy.url).timeout(Duration::from_secs(30)).build().unwrap();
    let connected = client.connect(Connect::new("ann").channels(["news"])).await.unwrap();
    assert_eq!(client.publish_all((0..50).map(numbered)).await.unwrap().messages, 50);
    assert!(client.disconnect(connected.conn_id).await.unwrap());
}

#[tokio::test]
async fn calls_end_in_time_behind_what_stalls() {
    let server = Server::start();
    let proxy = Proxy::start(server.port, Mode::Stalling).await;
    let client = hasty(&proxy.url).build().unwrap();
    let begun = Instant::now();
    let error = client.publish(numbered(1)).await.unwrap_err();
    assert!(error.is_timeout() && error.is_in_doubt() && error.attempts() == 1, "{error}");
    // Requests that may be repeated succeed as soon as the proxy permits.
    let (options, recovery) = (InfoOptions::default(), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        proxy.turn(Mode::Honest);
    });
    let (info, ()) = tokio::join!(client.info(options), recovery);
    info.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(25));
}

#[tokio::test]
async fn calls_are_repeated_behind_what_cuts() {
    let server = Server::start();
    let proxy = Proxy::start(server.port, Mode::Cutting(40)).await;
    let client = hasty(&proxy.url).build().unwrap();
    let error = client.publish_all((0..3).map(numbered)).await.unwrap_err();
    assert!(error.is_in_doubt() && error.error().attempts() == 11, "{error}");
    // The messages were accepted, once: the requests had the same key.
    assert_eq!(server.client().admin_stats().await.unwrap().total_unique_messages, 3);
    proxy.turn(Mode::Honest);
    assert_eq!(client.publish_all(error.into_unpublished()).await.unwrap().messages, 3);
}

#[tokio::test]
async fn listeners_hear_everything_through_what_splits() {
    let server = Server::start();
    let proxy = Proxy::start(server.port, Mode::Splitting).await;
    let mut listener = listener(&server, &proxy).await;
    let client = server.client();
    let publishing = client.publish_all((0..200).map(numbered));
    let mut received = Vec::new();
    let hearing = until(&mut listener, |event| {
        assert!(!matches!(event, StreamEvent::Interrupted { .. }), "{event:?}");
        received.extend(number(event));
        (received.last() == Some(&199)).then_some(())
    });
    let (published, ()) = tokio::join!(publishing, hearing);
    assert_eq!(published.unwrap().messages, 200);
    // The oldest may have been dropped when 100 were stored. From the first on nothing is missing.
    let first = received[0];
    assert!(received.into_iter().eq(first..200));
}

#[tokio::test]
async fn listeners_lose_nothing_behind_what_cuts() {
    for by in [Transport::Websocket, Transport::LongPoll] {
        one_loses_nothing_behind_what_cuts(by).await;
    }
}

async fn one_loses_nothing_behind_what_cuts(by: Transport) {
    let server = Server::with_quick_heartbeats();
    let proxy = Proxy::start(server.port, Mode::Cutting(4000)).await;
    let request = Connect::new("ann").channels(["news"]);
    let id = server.client().connect(request).await.unwrap().conn_id;
    let listener = EventStream::builder(&proxy.url, id).first_pause(PAUSE).longest_pause(PAUSE);
    let mut listener = match by {
        Transport::LongPoll => listener.only_long_poll().build().unwrap(),
        _ => listener.only_websocket().build().unwrap(),
    };
    // Its first answer has the cursor.
    until(&mut listener, opened).await;
    let client = server.client();
    let mut received = Vec::new();
    for sent in 0..60 {
        client.publish(numbered(sent)).await.unwrap();
        if sent % 5 == 4 {
            until(&mut listener, |event| {
                assert_eq!(gap(event), None);
                received.extend(number(event));
                (number(event) == Some(sent)).then_some(())
            })
            .await;
        }
    }
    assert!(received.into_iter().eq(0..60), "each once, in order");
    assert!(proxy.lines() > 1);
    proxy.turn(Mode::Honest);
    client.publish(numbered(60)).await.unwrap();
    until(&mut listener, |event| (number(event) == Some(60)).then_some(())).await;
}

#[tokio::test]
async fn a_new_connection_goes_on_from_the_cursor_of_the_one_that_expired() {
    let server = Server::with_brief_connections();
    let proxy = Proxy::start(server.port, Mode::Honest).await;
    // It comes back after the connection has expired.
    let pause = Duration::from_secs(6);
    let mut listener = hasty(&proxy.url)
        .build()
        .unwrap()
        .listen_as(Connect::new("ann").channels(["news"]))
        .silence(SILENCE * 10)
        .first_pause(pause)
        .longest_pause(pause)
        .build()
        .unwrap();
    let (first, _) = until(&mut listener, opened).await;
    let client = server.client();
    client.publish(numbered(0)).await.unwrap();
    assert_eq!(until(&mut listener, number).await, 0);
    proxy.turn(Mode::Cutting(0));
    client.publish(numbered(1)).await.unwrap();
    let is_interrupted = |event: &StreamEvent| matches!(event, StreamEvent::Interrupted { .. });
    until(&mut listener, |event| is_interrupted(event).then_some(())).await;
    client.publish(numbered(2)).await.unwrap();
    proxy.turn(Mode::Honest);
    let (mut second, mut numbers) = (first, Vec::new());
    until(&mut listener, |event| {
        assert_eq!(gap(event), None);
        second = opened(event).map_or(second, |(conn_id, _)| conn_id);
        numbers.extend(number(event));
        (numbers.last() == Some(&2)).then_some(())
    })
    .await;
    assert_eq!(numbers, [1, 2]);
    assert_ne!(first, second, "the connection has expired");
}

#[tokio::test]
async fn silence_is_death() {
    let server = Server::with_quick_heartbeats();
    let proxy = Proxy::start(server.port, Mode::Honest).await;
    let mut listener = listener(&server, &proxy).await;
    until(&mut listener, opened).await;
    server.client().publish(numbered(1)).await.unwrap();
    assert_eq!(until(&mut listener, number).await, 1);
    // Heartbeats alone keep the stream connected.
    let quiet = tokio::time::timeout(SILENCE * 3, listener.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");

    proxy.turn(Mode::Stalling);
    let reported = until(&mut listener, |event| match event {
        StreamEvent::Interrupted { error, .. } => Some((error.is_timeout(), error.to_string())),
        _ => None,
    });
    assert_eq!(reported.await, (true, "GET /ws brought nothing for 1.5s".to_owned()));
    server.client().publish(numbered(2)).await.unwrap();
    proxy.turn(Mode::Honest);
    // It was written to the dead TCP connection, and comes again because the cursor is before it.
    assert_eq!(until(&mut listener, number).await, 2);
}

#[tokio::test]
async fn where_no_websocket_comes_through_polls_do() {
    for mode in [Mode::NoUpgrade, Mode::MuteSockets] {
        let server = Server::with_quick_heartbeats();
        let proxy = Proxy::start(server.port, mode).await;
        let mut listener = listener(&server, &proxy).await;
        let client = server.client();
        let mut sent = 0;
        // Publishes repeatedly, since messages that were written to a mute websocket are lost.
        let publishing = async {
            loop {
                client.publish(numbered(sent)).await.unwrap();
                sent += 1;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let polled = async {
            until(&mut listener, |event| {
                opened(event).filter(|(_, transport)| *transport == Transport::LongPoll)
            })
            .await;
            until(&mut listener, number).await
        };
        tokio::select! {
            () = publishing => {}
            _ = polled => {}
        }
        client.publish(numbered(1_000_000)).await.unwrap();
        until(&mut listener, |event| (number(event) == Some(1_000_000)).then_some(())).await;
    }
}

#[tokio::test]
async fn nobody_is_pestered_while_the_server_is_away() {
    // A server that drops each TCP connection as soon as it is accepted.
    let away = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", away.local_addr().unwrap());
    let mut attempts = 0;
    let counting = async {
        loop {
            drop(away.accept().await.unwrap());
            attempts += 1;
        }
    };
    let mut listener = EventStream::builder(&url, Uuid::from_u128(1))
        .first_pause(Duration::from_millis(50))
        .longest_pause(Duration::from_millis(400))
        .build()
        .unwrap();
    let mut pauses = Vec::new();
    let listening = async {
        while pauses.iter().sum::<Duration>() < Duration::from_secs(2) {
            if let Some(StreamEvent::Interrupted { pause, error, .. }) = listener.next().await {
                // The errors must not contain the id, which allows to listen.
                assert!(!format!("{error:?}").contains("00000001"), "{error:?}");
                pauses.push(pause);
            }
        }
    };
    tokio::select! {
        () = counting => {}
        () = listening => {}
    }
    let longest = pauses.iter().max().unwrap();
    assert!((Duration::from_millis(200)..=Duration::from_millis(400)).contains(longest));
    // At most two requests for each pause, a websocket and a poll. The HTTP client may repeat each
    // once.
    assert!(attempts <= 4 * pauses.len(), "{attempts} attempts in {pauses:?}");
    assert!(pauses.len() < 20, "{pauses:?}");
}
