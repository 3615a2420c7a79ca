//! Publishing large numbers of messages: how they are split, and what a failure reports.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use channelstream_client::{
    Address, Client, ErrorKind, InfoOptions, NewMessage, RetryPolicy, StatusCode, json,
};
use tokio::sync::mpsc;

use crate::server::{SECRET, Server};
use crate::stub::{Stub, answer};

fn numbered(number: u32) -> NewMessage {
    NewMessage::to_channel("ann", "news", json!({ "number": number })).unwrap()
}

fn impatient(host: &str) -> Client {
    let pause = Duration::from_millis(5);
    let policy = RetryPolicy::new().repeats(2).first_pause(pause).longest_pause(pause);
    Client::builder(format!("http://{host}")).secret("s").retries(policy).build().unwrap()
}

/// Answers as if all messages of the request had been accepted.
fn taken(body: &str) -> String {
    let mut messages: Vec<serde_json::Value> = serde_json::from_str(body).unwrap();
    for message in &mut messages {
        message["timestamp"] = "2026-01-01T00:00:00".into();
        message["edited"] = serde_json::Value::Null;
    }
    answer("200 OK", &serde_json::to_string(&messages).unwrap())
}

#[tokio::test]
async fn many_messages_arrive_in_order_and_few_requests() {
    let server = Server::start();
    let client = server.client();
    let settings = channelstream_client::ChannelSettings {
        store_history: true,
        history_size: 10_000,
        ..Default::default()
    };
    client.configure(channelstream_client::Configure::new([("news", settings)])).await.unwrap();
    let nowhere = NewMessage::new("ann", Address::default());
    let messages = (0..4500).map(numbered).chain([nowhere]);
    let published = client.publish_all(messages).await.unwrap();
    assert_eq!((published.messages, published.dropped, published.requests), (4500, 1, 5));

    let info = client.info(InfoOptions::default().channels(["news"])).await.unwrap();
    let numbers: Vec<_> = info.channels["news"]
        .history
        .iter()
        .map(|message| {
            let payload: serde_json::Value =
                serde_json::from_str(message.payload.as_ref().unwrap().get()).unwrap();
            payload["number"].as_u64().unwrap()
        })
        .collect();
    assert!(numbers.into_iter().eq(0..4500));
    assert_eq!(client.publish_all([]).await.unwrap(), Default::default());
}

#[tokio::test]
async fn requests_stay_within_the_servers_bounds() {
    let server = Server::start();
    let client = server.client();
    let text = "x".repeat(300_000);
    let large = || NewMessage::to_channel("ann", "news", json!({ "text": text })).unwrap();
    let list: Vec<_> = (0..30_000).collect();
    let listing = || NewMessage::to_channel("ann", "news", json!({ "list": list })).unwrap();
    let messages = (0..7).map(|_| large()).chain((0..5).map(|_| listing()));
    let published = client.publish_all(messages).await.unwrap();
    assert_eq!((published.messages, published.requests), (12, 4));

    let huge =
        NewMessage::to_channel("ann", "news", json!({ "text": "x".repeat(1_100_000) })).unwrap();
    let error = client.publish_all([numbered(0), huge, numbered(1)]).await.unwrap_err();
    assert_eq!(error.error().status(), Some(StatusCode::PAYLOAD_TOO_LARGE));
    assert_eq!((error.published().messages, error.is_in_doubt()), (1, false));
    assert_eq!(error.into_unpublished().len(), 1);
}

#[tokio::test]
async fn a_failure_tells_what_was_taken() {
    let count = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&count);
    let stub = Stub::start(move |request| match counted.fetch_add(1, Ordering::Relaxed) {
        0 | 2 => Some(taken(&request.body)),
        1 => Some(String::new()),
        _ => Some(answer("422 Unprocessable Entity", r#"{"0": {"user": ["No."]}}"#)),
    });
    let error = impatient(&stub.host).publish_all((0..5000).map(numbered)).await.unwrap_err();
    assert_eq!((error.published().messages, error.published().requests), (2000, 2));
    assert!(!error.is_in_doubt());
    assert_eq!(
        format!("{error:#}"),
        "2000 messages were accepted, the next 1000 were not: POST /message was refused with \
         422 Unprocessable Entity: 0.user: No."
    );
    let (first, second, third) = (stub.request(), stub.request(), stub.request());
    assert_eq!(second.body, third.body, "repeats have the same ids");
    assert_ne!(first.body, second.body);
    let unpublished = error.into_unpublished();
    assert_eq!(unpublished.len(), 1000);
    assert!(unpublished.iter().all(|message| message.uuid.is_some()));
    assert_eq!(unpublished[0].payload.as_ref().unwrap().get(), r#"{"number":2000}"#);
}

#[tokio::test]
async fn doubt_of_the_first_attempt_is_reported_if_the_last_cannot_connect() {
    // The first request may have been carried out. Then the server is gone.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let cutter = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        drop(listener);
        std::io::Read::read_exact(&mut stream, &mut [0; 10]).unwrap();
    });
    let error = impatient(&host).publish_all([numbered(0)]).await.unwrap_err();
    cutter.join().unwrap();
    assert_eq!((error.error().kind(), error.error().attempts()), (ErrorKind::Connect, 3));
    assert!(error.is_in_doubt());
    assert!(error.to_string().starts_with("0 messages were accepted, the next 1 may have been"));

    let error = impatient(&host).publish_all([numbered(0)]).await.unwrap_err();
    assert!(!error.is_in_doubt(), "nobody was there at all");
}

#[tokio::test]
async fn a_stream_is_sent_as_it_comes() {
    let server = Server::start();
    let client = Client::new(&server.url, SECRET).unwrap();
    let (sender, mut receiver) = mpsc::channel(8);
    let messages = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context));
    let publishing = tokio::spawn(async move { client.publish_stream(messages).await });
    // Each message waits until the previous one has arrived: none is delayed for a fuller request.
    for number in 0..5 {
        sender.send(numbered(number)).await.unwrap();
        let arrived = async {
            while server.client().admin_stats().await.unwrap().total_unique_messages
                <= u64::from(number)
            {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), arrived).await.unwrap();
    }
    drop(sender);
    let published = publishing.await.unwrap().unwrap();
    assert_eq!((published.messages, published.requests), (5, 5));
}
