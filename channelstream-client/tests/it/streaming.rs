//! Messages that grow, on the real server: their ends, takeovers, and broken connections.

use std::future::IntoFuture as _;
use std::time::Duration;

use channelstream_client::{
    AppendRequest, Change, ChangeReply, ChannelSettings, Client, Configure, Connect, Edit,
    ErrorKind, InfoOptions, MessageStream, NewMessage, Piece, Status, StreamError, Uuid, Value,
    json,
};

use futures_util::{SinkExt as _, StreamExt as _, stream};

use crate::proxy::{Mode, Proxy};
use crate::server::{Server, hasty};

/// Starts a server with the channel "chat", which has a history.
async fn with_chat() -> (Server, Client) {
    let server = Server::start();
    let client = server.client();
    make_chat(&client).await;
    (server, client)
}

async fn make_chat(client: &Client) {
    let settings = ChannelSettings { store_history: true, ..ChannelSettings::default() };
    client.configure(Configure::new([("chat", settings)])).await.unwrap();
}

fn empty() -> NewMessage {
    NewMessage::to_channel("bot", "chat", json!({"text": ""})).unwrap()
}

/// Returns the newest message of the history, as JSON.
async fn newest(client: &Client) -> Value {
    let info = client.info(InfoOptions::default().channels(["chat"])).await.unwrap();
    let newest = info.channels["chat"].history.last().unwrap().clone();
    serde_json::to_value(newest).unwrap()
}

async fn text(client: &Client) -> String {
    newest(client).await["message"]["text"].as_str().unwrap().to_owned()
}

/// Appends until the stream reports its end.
async fn failure(stream: &mut MessageStream) -> StreamError {
    let failing = async {
        loop {
            if let Err(error) = stream.append("x").await {
                return error;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), failing).await.unwrap()
}

#[tokio::test]
async fn a_message_grows_in_few_requests_and_is_finished() {
    let (_server, client) = with_chat().await;
    let mut stream = client.stream(empty()).interval(Duration::from_secs(1)).await.unwrap();
    stream.append("a").await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!((text(&client).await.as_str(), stream.rev(), stream.step()), ("a", 1, 1));
    for _ in 0..500 {
        stream.append("ü\n").await.unwrap();
    }
    stream.append("").await.unwrap();
    let taken = stream.finish().await.unwrap();
    // What came within the interval, and the end, is one append.
    assert_eq!((taken.status, taken.rev, taken.step), (Some(Status::Done), Some(2), Some(2)));
    assert_eq!(text(&client).await, format!("a{}", "ü\n".repeat(500)));
}

#[tokio::test]
async fn a_stream_of_texts_is_forwarded_to_it() {
    let (_server, client) = with_chat().await;
    let mut sink = client.stream(empty()).await.unwrap().into_sink();
    sink.send("one ".to_owned()).await.unwrap();
    assert_eq!(text(&client).await, "one ", "sending flushes");
    let words = stream::iter(["two ", "three"].map(|word| Ok(word.to_owned())));
    words.forward(&mut sink).await.unwrap();
    assert_eq!(text(&client).await, "one two three");
    assert_eq!(newest(&client).await["status"], "done", "the end closes it");
    sink.close().await.unwrap();
    assert!(matches!(sink.send("late".to_owned()).await, Err(StreamError::Stopped)));
}

#[tokio::test]
async fn a_sink_reports_that_its_message_was_cancelled() {
    let (_server, client) = with_chat().await;
    let message = empty();
    let stream = client.stream(message).await.unwrap();
    let uuid = stream.uuid();
    let mut sink = stream.into_sink();
    sink.send("one".to_owned()).await.unwrap();
    let cancel = AppendRequest::new(uuid, Some("chat".to_owned())).status(Status::Cancelled);
    client.change(vec![Change::Append(cancel)]).await.unwrap();
    let words = stream::iter((0..).map(|word: u32| Ok(word.to_string())));
    let outcome = tokio::time::timeout(Duration::from_secs(20), words.forward(sink)).await.unwrap();
    assert!(matches!(outcome, Err(StreamError::Cancelled)), "{outcome:?}");
}

#[tokio::test]
async fn pieces_of_all_keys_keep_their_order() {
    let (_server, client) = with_chat().await;
    let list = |json: &str| Piece::new(serde_json::from_str(json).unwrap()).unwrap();
    let mut stream = client.stream(empty()).await.unwrap();
    stream.send("parts", list(r#"[{"text": "one"}]"#)).await.unwrap();
    stream.send("/parts/0/text", Piece::text(", two")).await.unwrap();
    stream.send("parts", list(r#"[{"text": "three"}, 4]"#)).await.unwrap();
    stream.send("parts", list("[]")).await.unwrap();
    stream.send("/parts/1/text", Piece::text(", five")).await.unwrap();
    stream.append("six").await.unwrap();
    stream.keep_alive().await.unwrap();
    stream.finish().await.unwrap();
    let payload = newest(&client).await["message"].clone();
    let expected =
        json!({"text": "six", "parts": [{"text": "one, two"}, {"text": "three, five"}, 4]});
    assert_eq!(payload, expected);
}

#[tokio::test]
async fn without_an_interval_each_append_is_a_step() {
    let (_server, client) = with_chat().await;
    let mut stream = client.stream(empty()).interval(Duration::ZERO).await.unwrap();
    for number in 0..250 {
        stream.append(&format!("{number} ")).await.unwrap();
    }
    stream.flush().await.unwrap();
    assert_eq!((stream.step(), stream.rev()), (250, 250));
    let words = text(&client).await;
    let numbers = words.split_whitespace().map(|word| word.parse::<u32>().unwrap());
    assert!(numbers.eq(0..250));
}

#[tokio::test]
async fn a_reader_cancels() {
    let (_server, client) = with_chat().await;
    let ann = client.connect(Connect::new("ann").channels(["chat"])).await.unwrap().conn_id;
    let eve = client.connect(Connect::new("eve").channels(["chat"])).await.unwrap().conn_id;
    let mut stream = client.stream(empty()).cancel_by(["ann"]).await.unwrap();
    stream.append("a").await.unwrap();
    stream.flush().await.unwrap();
    let refused = client.cancel(eve, stream.uuid()).await.unwrap_err();
    assert_eq!(refused.status().unwrap(), 403);
    assert_eq!(client.cancel(ann, Uuid::from_u128(7)).await.unwrap_err().status().unwrap(), 403);
    assert!(
        client
            .cancel(Uuid::from_u128(7), stream.uuid())
            .await
            .unwrap_err()
            .field_errors()
            .is_some()
    );

    let ended = stream.ended();
    let taken = client.cancel(ann, stream.uuid()).await.unwrap();
    assert_eq!((taken.taken, taken.status), (true, Some(Status::Cancelled)));
    let again = client.cancel(ann, stream.uuid()).await.unwrap();
    assert_eq!((again.taken, again.status), (false, Some(Status::Cancelled)));
    assert!(failure(&mut stream).await.is_cancelled());
    // From here on every call says so.
    assert!(stream.append("b").await.unwrap_err().is_cancelled());
    assert!(stream.append("").await.unwrap_err().is_cancelled());
    assert!(stream.flush().await.unwrap_err().is_cancelled());
    assert!(ended.await.is_cancelled());
    let (uuid, channel) = (stream.uuid(), stream.channel().map(str::to_owned));
    assert!(stream.finish().await.unwrap_err().is_cancelled());
    assert!(client.resume(uuid, channel).await.unwrap_err().is_cancelled());
    assert_eq!(text(&client).await, "a");
}

#[tokio::test]
async fn another_program_ends_it() {
    let (_server, client) = with_chat().await;
    let mut stream = client.stream(empty()).await.unwrap();
    let end = AppendRequest::new(stream.uuid(), None).status(Status::Failed);
    assert!(client.append(end).await.unwrap().taken);
    assert!(matches!(failure(&mut stream).await, StreamError::Ended(Status::Failed)));
    let stream = client.stream(empty()).await.unwrap();
    assert_eq!(stream.fail().await.unwrap().status, Some(Status::Failed));
}

#[tokio::test]
async fn nowhere_and_nothing_are_errors() {
    let (_server, client) = with_chat().await;
    let nowhere = NewMessage::to_channel("bot", "none", json!({})).unwrap();
    let error = client.stream(nowhere).await.unwrap_err();
    assert_eq!(error.to_string(), "the message went nowhere: no such channel");
    let unknown = client.resume(Uuid::from_u128(7), None).await.unwrap_err();
    assert!(matches!(unknown, StreamError::Unknown));
    let fixed = client.publish(empty()).await.unwrap();
    let error = client.resume(fixed[0].uuid, "chat".to_owned()).await.unwrap_err();
    assert!(matches!(error, StreamError::NotOpen));
    let twice = client.stream(empty().id(Uuid::from_u128(8))).await.unwrap();
    let error = client.stream(empty().id(twice.uuid())).await.unwrap_err();
    assert!(error.call().unwrap().field_errors().is_some(), "{error}");

    // What does not fit there is refused, and the message stays as it was.
    let mut stream = client.stream(empty()).await.unwrap();
    stream.send("text", Piece::new(serde_json::from_str("[1]").unwrap()).unwrap()).await.unwrap();
    let error = stream.flush().await.unwrap_err();
    assert!(matches!(&error, StreamError::Refused(reason) if reason.contains("text")), "{error}");
    let resumed = client.resume(stream.uuid(), None).await.unwrap();
    assert_eq!(resumed.channel(), Some("chat"));
    resumed.fail().await.unwrap();
}

#[tokio::test]
async fn of_two_producers_the_later_one_goes_on() {
    let (_server, client) = with_chat().await;
    for pause in [Duration::ZERO, Duration::from_millis(60)] {
        let mut first = client.stream(empty()).await.unwrap();
        first.append("1").await.unwrap();
        first.flush().await.unwrap();
        let mut second = client.resume(first.uuid(), "chat".to_owned()).await.unwrap();
        assert_eq!((second.rev(), second.size()), (1, first.size()));
        assert!(second.step() > first.step());
        if !pause.is_zero() {
            second.append("2").await.unwrap();
            second.flush().await.unwrap();
        }
        assert!(matches!(failure(&mut first).await, StreamError::TakenOver));
        second.append("3").await.unwrap();
        second.finish().await.unwrap();
        let expected = if pause.is_zero() { "13" } else { "123" };
        assert_eq!(text(&client).await, expected, "nothing of the first came in between");
    }
    // Its end is not carried out either.
    let first = client.stream(empty()).await.unwrap();
    let second = client.resume(first.uuid(), None).await.unwrap();
    assert!(matches!(first.finish().await, Err(StreamError::TakenOver)));
    second.finish().await.unwrap();
}

#[tokio::test]
async fn of_many_that_take_over_at_once_one_goes_on() {
    let (_server, client) = with_chat().await;
    let first = client.stream(empty()).await.unwrap();
    let take_over = async |number: u32| {
        let mut stream = client.resume(first.uuid(), None).await.ok()?;
        for _ in 0..20 {
            stream.append(&format!("{number} ")).await.ok()?;
            stream.flush().await.ok()?;
        }
        Some((number, stream))
    };
    let streams = futures_util::future::join_all((0..8).map(take_over)).await;
    let mut winners: Vec<_> = streams.into_iter().flatten().collect();
    assert_eq!(winners.len(), 1);
    let (number, stream) = winners.remove(0);
    stream.finish().await.unwrap();
    // Once the last one has begun, nobody else's words come in between.
    let words = text(&client).await;
    assert!(words.ends_with(&format!("{number} ").repeat(20)), "{words}");
}

#[tokio::test]
async fn a_stalled_message_is_taken_over_from_a_producer_that_wakes_up() {
    let (_server, client) = with_chat().await;
    let mut first = client.stream(empty()).append_timeout(Duration::from_secs(1)).await.unwrap();
    first.append("1").await.unwrap();
    first.flush().await.unwrap();
    let stalled = async {
        while newest(&client).await["status"] != "stalled" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), stalled).await.unwrap();
    let mut second = client.resume(first.uuid(), None).await.unwrap();
    assert!(matches!(failure(&mut first).await, StreamError::TakenOver));
    second.append("2").await.unwrap();
    second.finish().await.unwrap();
    assert_eq!(text(&client).await, "12");
}

#[tokio::test]
async fn nothing_is_lost_or_doubled_behind_what_cuts() {
    let (server, client) = with_chat().await;
    let proxy = Proxy::start(server.port, Mode::Honest).await;
    for keys in [true, false] {
        proxy.turn(Mode::Honest);
        let cut = hasty(&proxy.url).idempotency_keys(keys).build().unwrap();
        let mut stream = cut.stream(empty()).interval(Duration::from_millis(1)).await.unwrap();
        let mut expected = String::new();
        for number in 0..60 {
            let word = format!("{number} ");
            expected.push_str(&word);
            if number % 4 != 0 {
                stream.append(&word).await.unwrap();
                continue;
            }
            // The request arrives whole, and its answer breaks off: it is sent again.
            proxy.turn(Mode::Cutting(40));
            let lines = proxy.lines();
            stream.append(&word).await.unwrap();
            while proxy.lines() < lines + 2 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            proxy.turn(Mode::Honest);
        }
        proxy.turn(Mode::Honest);
        stream.finish().await.unwrap();
        assert_eq!(text(&client).await, expected);
    }
}

#[tokio::test]
async fn a_message_is_opened_once_behind_what_cuts() {
    let (server, client) = with_chat().await;
    let proxy = Proxy::start(server.port, Mode::Honest).await;
    for (keys, count) in [(true, 1), (false, 2)] {
        let cut = hasty(&proxy.url).idempotency_keys(keys).build().unwrap();
        proxy.turn(Mode::Cutting(40));
        let lines = proxy.lines();
        let opening = async {
            // The request arrives whole, its answer breaks off, and it is sent again.
            while proxy.lines() < lines + 2 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            proxy.turn(Mode::Honest);
        };
        let (stream, ()) = tokio::join!(cut.stream(empty()).into_future(), opening);
        stream.unwrap().finish().await.unwrap();
        let info = client.info(InfoOptions::default().channels(["chat"])).await.unwrap();
        assert_eq!(info.channels["chat"].history.len(), count);
    }
}

#[tokio::test]
async fn a_restart_of_the_server_is_a_typed_error() {
    let (server, client) = with_chat().await;
    let port = server.port;
    let patient = hasty(&server.url).build().unwrap();
    let mut stream = patient.stream(empty()).await.unwrap();
    stream.append("1").await.unwrap();
    stream.flush().await.unwrap();
    server.kill();
    stream.append("2").await.unwrap();
    // It is sent again and again while nobody is there.
    let waiting = tokio::time::timeout(Duration::from_millis(300), stream.flush()).await;
    assert!(waiting.is_err(), "{waiting:?}");
    let _server = Server::start_on(port);
    assert!(matches!(stream.flush().await, Err(StreamError::Unknown)));
    assert!(matches!(stream.append("3").await, Err(StreamError::Unknown)));
    drop(client);
}

#[tokio::test]
async fn patience_ends() {
    let (server, _) = with_chat().await;
    let client = hasty(&server.url).build().unwrap();
    let mut stream = client.stream(empty()).patience(Duration::ZERO).await.unwrap();
    server.kill();
    stream.append("1").await.unwrap();
    let error = stream.flush().await.unwrap_err();
    assert_eq!(error.call().unwrap().kind(), ErrorKind::Connect);
}

#[tokio::test]
async fn a_dropped_stream_sends_what_it_has_and_leaves_the_message_open() {
    let (_server, client) = with_chat().await;
    let mut stream = client.stream(empty()).interval(Duration::from_millis(50)).await.unwrap();
    stream.append("1").await.unwrap();
    stream.append("2").await.unwrap();
    drop(stream);
    let sent = async {
        while text(&client).await != "12" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), sent).await.unwrap();
    assert_eq!(newest(&client).await["status"], "open");
}

#[tokio::test]
async fn edits_and_appends_go_together() {
    let (_server, client) = with_chat().await;
    let stream = client.stream(empty()).await.unwrap();
    let uuid = stream.uuid();
    let address = channelstream_client::Address::channel("chat");
    let edit = Edit::new(uuid, address).payload(json!({"text": "new"})).unwrap();
    let more = AppendRequest::new(uuid, None).text("text", "er").step(1);
    let replies = client.change([Change::Edit(edit), Change::Append(more)]).await.unwrap();
    let [ChangeReply::Edited(edited), ChangeReply::Taken(taken)] = &replies[..] else {
        panic!("{replies:?}")
    };
    assert_eq!((edited.uuid, taken.taken, taken.rev), (uuid, true, Some(2)));
    assert_eq!(text(&client).await, "newer");
}
