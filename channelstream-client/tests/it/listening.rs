//! Event streams on the real server: their events and their ends.

use std::cell::Cell;
use std::time::Duration;

use channelstream_client::{
    Action, Address, ChannelSettings, Client, Connect, Delete, Edit, End, Event, EventKind,
    EventStream, Gap, GapReason, InfoOptions, NewMessage, Scalar, SetUserState, Status,
    StreamEvent, Transport, UserState, Uuid, json,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::proxy::{Mode, Proxy};
use crate::server::{Server, hasty};
use crate::stub::Stub;

/// Waits for the first item for which `wanted` returns a value, and ignores others.
pub(crate) async fn until<T>(
    listener: &mut EventStream,
    mut wanted: impl FnMut(&StreamEvent) -> Option<T>,
) -> T {
    let mut seen = Vec::new();
    let waiting = async {
        loop {
            let event = listener.next().await.expect("the listener ended");
            if let Some(found) = wanted(&event) {
                return found;
            }
            seen.push(event);
        }
    };
    match tokio::time::timeout(Duration::from_secs(30), waiting).await {
        Ok(found) => found,
        Err(_) => panic!("it did not come, but {seen:#?}"),
    }
}

pub(crate) fn opened(event: &StreamEvent) -> Option<(Uuid, Transport)> {
    match event {
        StreamEvent::Opened { conn_id, transport, .. } => Some((*conn_id, *transport)),
        _ => None,
    }
}

pub(crate) fn gap(event: &StreamEvent) -> Option<Gap> {
    match event {
        StreamEvent::Gap(gap) => Some(gap.clone()),
        _ => None,
    }
}

fn ended(event: &StreamEvent) -> Option<End> {
    match event {
        StreamEvent::Ended(end) => Some(*end),
        _ => None,
    }
}

fn content(event: &StreamEvent) -> Option<Event> {
    match event {
        StreamEvent::Event(event) => Some(event.clone()),
        _ => None,
    }
}

/// Returns the number in a message's payload.
pub(crate) fn number(event: &StreamEvent) -> Option<u64> {
    let event = content(event)?;
    let payload: serde_json::Value = event.payload().ok()?;
    payload["number"].as_u64()
}

pub(crate) fn numbered(number: u64) -> NewMessage {
    NewMessage::to_channel("editor", "news", json!({ "number": number })).unwrap()
}

fn talkative() -> Connect {
    let settings =
        ChannelSettings { notify_presence: true, notify_state: true, ..ChannelSettings::default() };
    Connect {
        channel_configs: [("life".to_owned(), settings.into())].into(),
        ..Connect::new("ann").channels(["life"])
    }
}

async fn every_kind_of_event_arrives(
    client: &Client,
    mut listener: EventStream,
    transport: Transport,
) {
    // Long polling is reported as opened with its first answer, so an event must be pending.
    let bob = Connect {
        user_state: [("mood".to_owned(), Scalar::from("good"))].into(),
        state_public_keys: vec!["mood".to_owned()],
        ..Connect::new("bob").channels(["life"])
    };
    let (connection, opened_by) = {
        let publishing = async {
            // The connection is created when the stream is polled first. The rest is sent afterwards.
            while client.info(InfoOptions::default()).await.unwrap().users.is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            client.connect(bob).await.unwrap();
        };
        tokio::join!(until(&mut listener, opened), publishing).0
    };
    assert_eq!(opened_by, transport);

    let joined = until(&mut listener, content).await;
    let EventKind::Presence { user, action, state: Some(state), .. } = joined.kind else {
        panic!("{joined:?}")
    };
    assert_eq!((user.as_str(), action, state["mood"].json()), ("bob", Action::Joined, "\"good\""));
    assert_eq!(joined.channel.as_deref(), Some("life"));

    let state = UserState::from([("mood".to_owned(), Scalar::from("better"))]);
    client.set_user_state(SetUserState::new("bob", state)).await.unwrap();
    let changed = until(&mut listener, content).await;
    assert!(
        matches!(&changed.kind, EventKind::UserState { changed, .. } if changed[0].key == "mood")
    );

    let sent = client
        .publish(&[
            NewMessage::to_channel("bob", "life", json!({"text": "hello"})).unwrap(),
            NewMessage::to_users("bob", ["ann"], json!({"text": "only you"})).unwrap(),
        ])
        .await
        .unwrap();
    let message = until(&mut listener, content).await;
    assert_eq!(message.uuid, sent[0].uuid);
    assert_eq!(message.payload::<serde_json::Value>().unwrap(), json!({"text": "hello"}));
    let private = until(&mut listener, content).await;
    assert_eq!((private.uuid, private.channel), (sent[1].uuid, None));

    let life = || Address::channel("life");
    client
        .edit(Edit::new(sent[0].uuid, life()).payload(json!({"text": "hi"})).unwrap())
        .await
        .unwrap();
    let edit = until(&mut listener, content).await;
    assert!(matches!(&edit.kind, EventKind::Edit { edited: Some(_), user: None, .. }));
    assert_eq!(edit.payload::<serde_json::Value>().unwrap(), json!({"text": "hi"}));
    client.delete(Delete::new(sent[0].uuid, life())).await.unwrap();
    let delete = until(&mut listener, content).await;
    assert!(matches!(delete.kind, EventKind::Delete) && delete.uuid == sent[0].uuid);

    client.disconnect(connection).await.unwrap();
    let end = until(&mut listener, ended).await;
    let over = match transport {
        // To a poll, a connection that has ended looks like one that never existed.
        Transport::LongPoll => End::UnknownConnection,
        _ => End::Disconnected,
    };
    assert_eq!(end, over);
    assert!(listener.next().await.is_none() && listener.next().await.is_none());
}

#[tokio::test]
async fn a_websocket_brings_everything() {
    let server = Server::start();
    let client = server.client();
    let listener = client.listen_as(talkative()).only_websocket().build().unwrap();
    every_kind_of_event_arrives(&client, listener, Transport::Websocket).await;
}

#[tokio::test]
async fn long_polls_bring_everything() {
    let server = Server::start();
    let client = server.client();
    // The stream cannot renew its connection, so it ends.
    let id = Uuid::from_u128(5);
    client.connect(Connect { conn_id: Some(id), ..talkative() }).await.unwrap();
    let listener = EventStream::builder(&server.url, id).only_long_poll().build().unwrap();
    every_kind_of_event_arrives(&client, listener, Transport::LongPoll).await;
}

#[tokio::test]
async fn an_unknown_connection_is_an_end() {
    let server = Server::start();
    for builder in [
        EventStream::builder(&server.url, Uuid::from_u128(1)),
        EventStream::builder(&server.url, Uuid::from_u128(1)).only_long_poll(),
        server.client().listen(Uuid::from_u128(1)),
    ] {
        let mut listener = builder.build().unwrap();
        assert_eq!(until(&mut listener, ended).await, End::UnknownConnection);
        assert!(listener.next().await.is_none());
    }
}

#[tokio::test]
async fn who_comes_later_takes_over() {
    let server = Server::start();
    let client = server.client();
    let id = client.connect(Connect::new("ann").channels(["news"])).await.unwrap().conn_id;
    let mut first = client.listen(id).build().unwrap();
    until(&mut first, opened).await;
    let mut second = client.listen(id).build().unwrap();
    until(&mut second, opened).await;
    assert_eq!(until(&mut first, ended).await, End::Superseded);
    client.publish(numbered(1)).await.unwrap();
    assert_eq!(until(&mut second, number).await, 1);
}

#[tokio::test]
async fn a_request_of_its_own_that_comes_late_does_not_end_it() {
    const SUPERSEDED: &[u8] = b"\x03\xe8superseded by a newer listener";
    let count = Cell::new(0);
    let stub = Stub::start(move |request| {
        count.set(count.get() + 1);
        // The first one is given up. The server takes it for a newer listener than the second.
        if count.get() == 1 {
            return None;
        }
        let key = derive_accept_key(request.header("sec-websocket-key").unwrap().as_bytes());
        let mut answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-accept: {key}\r\n\r\n"
        )
        .into_bytes();
        answer.extend([0x88, u8::try_from(SUPERSEDED.len()).unwrap()]);
        answer.extend(SUPERSEDED);
        Some(answer)
    });
    let mut stream = EventStream::builder(format!("http://{}", stub.host), Uuid::from_u128(1))
        .only_websocket()
        .silence(Duration::from_millis(1500))
        .first_pause(Duration::from_millis(10))
        .build()
        .unwrap();
    let mut heard = Vec::new();
    let end = until(&mut stream, |event| {
        match event {
            StreamEvent::Opened { .. } => heard.push("opened"),
            StreamEvent::Interrupted { .. } => heard.push("interrupted"),
            _ => {}
        }
        ended(event)
    })
    .await;
    assert_eq!(end, End::Superseded);
    // A second takeover cannot be its own.
    assert_eq!(heard, ["interrupted", "opened", "interrupted", "opened"]);
}

#[tokio::test]
async fn what_is_no_longer_stored_is_a_gap_in_its_place() {
    let server = Server::start();
    let client = server.client();
    let id = client.connect(Connect::new("ann").channels(["news"])).await.unwrap().conn_id;
    client.publish_all((0..130).map(numbered)).await.unwrap();
    let mut listener = client.listen(id).build().unwrap();
    let (mut numbers, mut gaps) = (Vec::new(), Vec::new());
    until(&mut listener, |event| {
        gaps.extend(gap(event).map(|gap| (gap, numbers.len())));
        numbers.extend(number(event));
        (numbers.last() == Some(&129)).then_some(())
    })
    .await;
    let [(Gap::Lost { channel, reason, .. }, 0)] = &gaps[..] else { panic!("{gaps:?}") };
    assert_eq!((channel.as_deref(), *reason), (Some("news"), GapReason::Evicted));
    assert!(numbers.into_iter().eq(30..130));
}

/// Listens as this user until a number arrives, and returns the numbers, the gaps, and the cursor.
async fn numbers_until(
    listener: &mut EventStream,
    last: u64,
) -> (Vec<u64>, Vec<GapReason>, String) {
    let (mut numbers, mut gaps) = (Vec::new(), Vec::new());
    until(listener, |event| {
        numbers.extend(number(event));
        if let Some(Gap::Lost { reason, .. }) = gap(event) {
            gaps.push(reason);
        }
        (numbers.last() == Some(&last)).then_some(())
    })
    .await;
    (numbers, gaps, listener.cursor().expect("the server tells cursors").to_owned())
}

#[tokio::test]
async fn a_stored_cursor_goes_on_with_a_new_connection_and_another_transport() {
    let server = Server::start();
    let client = server.client();
    let listen = || client.listen_as(Connect::new("robot").channels(["news"]));
    let mut first = listen().build().unwrap();
    let (_, ()) = tokio::join!(until(&mut first, opened), async {});
    client.publish_all((0..3).map(numbered)).await.unwrap();
    let (numbers, gaps, cursor) = numbers_until(&mut first, 2).await;
    assert_eq!((numbers, gaps.len()), (vec![0, 1, 2], 0));
    drop(first);
    client.publish_all((3..5).map(numbered)).await.unwrap();
    let mut second = listen().only_long_poll().since(&cursor).build().unwrap();
    assert_eq!(second.cursor(), Some(&*cursor));
    let (numbers, gaps, later) = numbers_until(&mut second, 4).await;
    assert_eq!((numbers, gaps.len()), (vec![3, 4], 0));
    // The cursor is that of what was returned, not of what has arrived besides.
    drop(second);
    client.publish_all((5..8).map(numbered)).await.unwrap();
    let mut third = listen().since(&later).build().unwrap();
    let (numbers, _, between) = numbers_until(&mut third, 5).await;
    assert_eq!(numbers, [5]);
    drop(third);
    let mut fourth = listen().since(between).build().unwrap();
    let (numbers, gaps, _) = numbers_until(&mut fourth, 7).await;
    assert_eq!((numbers, gaps.len()), (vec![6, 7], 0));
}

#[tokio::test]
async fn what_is_sent_before_the_first_answer_breaks_off_is_not_lost() {
    let server = Server::start();
    let proxy = Proxy::start(server.port, Mode::Honest).await;
    let client = hasty(&proxy.url).build().unwrap();
    let mut listener = client
        .listen_as(Connect::new("ann").channels(["news"]))
        .only_long_poll()
        .first_pause(Duration::from_millis(10))
        .build()
        .unwrap();
    let publishing = async {
        while server.client().info(InfoOptions::default()).await.unwrap().users.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        proxy.turn(Mode::Cutting(100));
        server.client().publish_all((0..9).map(numbered)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        proxy.turn(Mode::Honest);
    };
    let (_, received) = tokio::join!(publishing, numbers_until(&mut listener, 8));
    assert!(received.0.into_iter().eq(0..9));
    assert_eq!(received.1, []);
}

#[tokio::test]
async fn a_cursor_that_the_server_cannot_read_or_recover_is_a_gap() {
    let server = Server::start();
    let client = server.client();
    for (cursor, websocket) in
        [("no cursor", true), ("no cursor", false), ("0000abcd-7", true), ("0000abcd-7", false)]
    {
        let listener = client.listen_as(Connect::new("robot").channels(["news"])).since(cursor);
        let listener =
            if websocket { listener.only_websocket() } else { listener.only_long_poll() };
        let mut listener = listener.build().unwrap();
        let found = until(&mut listener, gap).await;
        let Gap::Lost { reason: GapReason::Epoch, .. } = found else { panic!("{found:?}") };
        client.publish(numbered(1)).await.unwrap();
        until(&mut listener, |event| number(event).filter(|number| *number == 1)).await;
        assert_ne!(listener.cursor(), Some(cursor));
    }
}

#[tokio::test]
async fn what_is_appended_is_an_event() {
    let server = Server::start();
    let client = server.client();
    let mut listener = client.listen_as(Connect::new("ann").channels(["news"])).build().unwrap();
    until(&mut listener, opened).await;
    let message = NewMessage::to_channel("bot", "news", json!({"text": ""})).unwrap();
    let mut answer = client.stream(message).await.unwrap();
    let message = until(&mut listener, content).await;
    let EventKind::Message { growth: Some(growth), .. } = message.kind else {
        panic!("{message:?}")
    };
    assert_eq!((message.uuid, growth.rev), (answer.uuid(), 0));
    answer.append("hello").await.unwrap();
    let append = until(&mut listener, content).await;
    let EventKind::Append { append: pieces, from: 0, rev: 1, status: None, .. } = &append.kind
    else {
        panic!("{append:?}")
    };
    assert_eq!((append.uuid, pieces["text"].json()), (answer.uuid(), "\"hello\""));
    answer.finish().await.unwrap();
    let end = until(&mut listener, content).await;
    assert!(
        matches!(end.kind, EventKind::Append { status: Some(Status::Done), from: 1, rev: 2, .. }),
        "{end:?}"
    );
}

#[tokio::test]
async fn a_new_connection_may_be_ones_own_matter() {
    let server = Server::start();
    let client = server.client();
    let made = client.clone();
    let mut calls = 0;
    let mut listener = EventStream::builder(&server.url, Uuid::from_u128(1))
        .first_pause(Duration::from_millis(5))
        .renewed_by(move || {
            calls += 1;
            let (made, fails) = (made.clone(), calls == 1);
            async move {
                if fails {
                    return Err("not yet".to_owned());
                }
                let request = Connect::new("ann").channels(["news"]);
                made.connect(request).await.map(|c| c.conn_id).map_err(|e| e.to_string())
            }
        })
        .build()
        .unwrap();
    let text = until(&mut listener, |event| match event {
        StreamEvent::Interrupted { error, .. } => Some(error.to_string()),
        _ => None,
    });
    assert_eq!(text.await, "no new connection was made");
    assert_eq!(until(&mut listener, gap).await, Gap::NewConnection);
    client.publish(numbered(7)).await.unwrap();
    assert_eq!(until(&mut listener, number).await, 7);
}

#[tokio::test]
async fn dropping_it_leaves_nothing_behind() {
    let server = Server::start();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    for websocket in [true, false] {
        let client = server.client();
        let id = client.connect(Connect::new("ann").channels(["news"])).await.unwrap().conn_id;
        client.publish(numbered(1)).await.unwrap();
        let builder = EventStream::builder(&server.url, id);
        let builder = if websocket { builder } else { builder.only_long_poll() };
        let mut listener = builder.build().unwrap();
        until(&mut listener, number).await;
        // Drop the stream while it waits.
        let wait = tokio::time::timeout(Duration::from_millis(20), listener.next());
        assert!(wait.await.is_err());
        drop((listener, client));
        let gone = async {
            while tasks() > before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), gone).await.unwrap();
    }
}
