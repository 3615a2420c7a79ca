//! Idempotency keys: which requests have one, and what the client dares on servers that know them.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use channelstream_client::{
    Address, ChannelConfig, Client, Configure, Connect, Delete, DeleteChannels, DisconnectUser,
    Edit, InfoOptions, NewMessage, RetryPolicy, SetUserState, Subscribe, Unsubscribe, UserState,
    Uuid, Value, json, serde_json,
};

use crate::proxy::{Mode, Proxy};
use crate::server::{Server, hasty};
use crate::stub::{Stub, answer};

fn client(host: &str) -> Client {
    let pause = Duration::from_millis(5);
    let policy = RetryPolicy::new().first_pause(pause).longest_pause(pause).repeats(2);
    Client::builder(format!("http://{host}")).secret("s").retries(policy).build().unwrap()
}

fn message(number: u64) -> NewMessage {
    NewMessage::to_channel("bot", "news", json!({"n": number})).unwrap()
}

/// An answer of a server that knows keys.
fn known(status: &str, body: &str) -> String {
    answer(&format!("{status}\r\nidempotency-replayed: false"), body)
}

/// Gives these answers one after another, the last one again and again.
fn giving(answers: Vec<String>) -> Stub {
    let count = AtomicU32::new(0);
    Stub::start(move |_| {
        let number = count.fetch_add(1, Ordering::Relaxed) as usize;
        Some(answers[number.min(answers.len() - 1)].clone())
    })
}

/// The stored messages of "news", and how many were posted.
async fn stored(server: &Server) -> (usize, u64) {
    let stats = server.client().admin_stats().await.unwrap();
    (stats.channels["news"].history.len(), stats.total_unique_messages)
}

async fn with_history() -> Server {
    let server = Server::start();
    let settings = ChannelConfig {
        store_history: Some(true),
        history_size: Some(1000),
        ..ChannelConfig::default()
    };
    server.client().configure(Configure::new([("news", settings)])).await.unwrap();
    server
}

#[tokio::test]
async fn each_call_that_changes_something_has_a_key_and_its_repeats_have_the_same() {
    let stub = Stub::answering("503 Busy", "");
    let (client, id) = (client(&stub.host), Uuid::from_u128(1));
    let address = || Address::channel("news");
    client.connect(Connect::new("ann")).await.unwrap_err();
    client.subscribe(Subscribe::new(id, ["a"])).await.unwrap_err();
    client.unsubscribe(Unsubscribe::new(id, ["a"])).await.unwrap_err();
    client.set_user_state(SetUserState::new("ann", UserState::new())).await.unwrap_err();
    client.configure(Configure::default()).await.unwrap_err();
    client.disconnect(id).await.unwrap_err();
    client.edit(Edit::new(id, address())).await.unwrap_err();
    client.delete(Delete::new(id, address())).await.unwrap_err();
    client.delete_channels(DeleteChannels::new(["a"])).await.unwrap_err();
    client.disconnect_user(DisconnectUser::new("ann")).await.unwrap_err();
    client.publish(message(1).id(id)).await.unwrap_err();
    client.publish_all([message(1)]).await.unwrap_err();
    let mut keys = HashSet::new();
    for _ in 0..12 {
        let key = stub.request().header("idempotency-key").unwrap().to_owned();
        let inner = key.strip_prefix('"').and_then(|key| key.strip_suffix('"')).unwrap();
        inner.parse::<Uuid>().unwrap();
        for _ in 0..2 {
            assert_eq!(stub.request().header("idempotency-key"), Some(&*key));
        }
        assert!(keys.insert(key), "each call has its own");
    }
    client.info(InfoOptions::default()).await.unwrap_err();
    client.admin_stats().await.unwrap_err();
    assert!((0..6).all(|_| stub.request().header("idempotency-key").is_none()));

    let stub = Stub::answering("200 OK", "[]");
    let builder = Client::builder(format!("http://{}", stub.host)).secret("s");
    builder.idempotency_keys(false).build().unwrap().edit([]).await.unwrap();
    assert_eq!(stub.request().header("idempotency-key"), None);
}

#[tokio::test]
async fn what_is_in_doubt_is_repeated_where_the_server_has_shown_that_it_knows_keys() {
    let broken = String::new;
    let (ok, plain) = (|| known("200 OK", "[]"), || answer("200 OK", "[]"));
    // A server that has shown nothing.
    let stub = giving(vec![broken(), ok()]);
    let error = client(&stub.host).publish(message(1)).await.unwrap_err();
    assert_eq!((error.attempts(), error.is_in_doubt()), (1, true));
    // One that has.
    let stub = giving(vec![ok(), broken(), answer("502 Bad Gateway", ""), ok()]);
    let known_to = client(&stub.host);
    known_to.edit([]).await.unwrap();
    known_to.publish(message(1)).await.unwrap();
    // One that has shown it with a refusal.
    let stub = giving(vec![known("422 Unprocessable Entity", "{}"), broken(), ok()]);
    let known_to = client(&stub.host);
    known_to.edit([]).await.unwrap_err();
    known_to.publish(message(1)).await.unwrap();
    // One that was replaced by an older version. What a proxy answers does not count.
    let stub =
        giving(vec![ok(), answer("400 Bad Request", ""), broken(), ok(), plain(), broken(), ok()]);
    let known_to = client(&stub.host);
    known_to.edit([]).await.unwrap();
    known_to.edit([]).await.unwrap_err();
    known_to.publish(message(1)).await.unwrap();
    known_to.edit([]).await.unwrap();
    let error = known_to.publish(message(1)).await.unwrap_err();
    assert_eq!((error.attempts(), error.is_in_doubt()), (1, true));
}

#[tokio::test]
async fn a_refusal_of_a_server_that_knows_the_key_settles_the_doubt() {
    for (last, in_doubt) in [
        (known("422 Unprocessable Entity", r#"{"conn_id": ["Unknown connection"]}"#), false),
        (answer("422 Unprocessable Entity", r#"{"conn_id": ["Unknown connection"]}"#), true),
    ] {
        let stub = giving(vec![String::new(), last]);
        let subscribe = Subscribe::new(Uuid::from_u128(1), ["a"]);
        let error = client(&stub.host).subscribe(subscribe).await.unwrap_err();
        assert_eq!((error.attempts(), error.is_in_doubt()), (2, in_doubt));
        assert!(error.field_errors().is_some());
    }
}

#[tokio::test]
async fn a_message_whose_answer_is_cut_is_stored_once_and_the_call_succeeds() {
    let server = with_history().await;
    let proxy = Proxy::start(server.port, Mode::Honest).await;
    let client = hasty(&proxy.url).build().unwrap();
    client.edit([]).await.unwrap();
    for number in 0..5 {
        proxy.turn(Mode::Cutting(40));
        let lines = proxy.lines();
        let publishing = client.publish(message(number));
        let recovery = async {
            while proxy.lines() < lines + 3 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            proxy.turn(Mode::Honest);
        };
        let (posted, ()) = tokio::join!(publishing, recovery);
        let posted = posted.unwrap();
        assert!(posted[0].receipt.seq.is_some(), "the first answer, as a whole: {posted:?}");
        assert_eq!(stored(&server).await, (1 + usize::try_from(number).unwrap(), number + 1));
    }
}

#[tokio::test]
async fn behind_a_proxy_that_cuts_now_and_then_each_message_is_stored_once_and_in_order() {
    const MANY: u64 = 200;
    let server = with_history().await;
    let proxy = Proxy::start(server.port, Mode::Honest).await;
    let client = hasty(&proxy.url).build().unwrap();
    client.edit([]).await.unwrap();
    let publishing = async {
        for number in 0..MANY {
            client.publish(message(number)).await.unwrap();
        }
    };
    let cutting = async {
        for limit in (0..).map(|turn| turn * 37 % 400) {
            proxy.turn(Mode::Cutting(limit));
            tokio::time::sleep(Duration::from_millis(7)).await;
            proxy.turn(Mode::Honest);
            tokio::time::sleep(Duration::from_millis(7)).await;
        }
    };
    tokio::select! {
        () = publishing => {}
        () = cutting => {}
    }
    let stats = server.client().admin_stats().await.unwrap();
    let numbers = stats.channels["news"].history.iter().map(|message| {
        let payload: Value = serde_json::from_str(message.payload.as_ref().unwrap().get()).unwrap();
        payload["n"].as_u64().unwrap()
    });
    assert!(numbers.eq(0..MANY));
    assert!(proxy.lines() > 10, "it did cut: {}", proxy.lines());
}

#[tokio::test]
async fn a_call_that_gives_up_has_published_once() {
    let server = with_history().await;
    let proxy = Proxy::start(server.port, Mode::Honest).await;
    let client = hasty(&proxy.url).build().unwrap();
    client.edit([]).await.unwrap();
    proxy.turn(Mode::Cutting(40));
    let error = client.publish(message(1)).await.unwrap_err();
    assert_eq!((error.attempts(), error.is_in_doubt()), (11, true));
    assert_eq!(stored(&server).await, (1, 1));
    // Many messages, in requests with ids, on a client that has shown nothing.
    let hasty = hasty(&proxy.url).build().unwrap();
    hasty.publish_all((0..10).map(message)).await.unwrap_err();
    assert_eq!(stored(&server).await, (11, 11));
}

#[tokio::test]
async fn answers_to_repeats_are_those_of_the_first_request() {
    let server = Server::start();
    let proxy = Proxy::start(server.port, Mode::Honest).await;
    let client = hasty(&proxy.url).build().unwrap();
    let id = client.connect(Connect::new("ann").channels(["a"])).await.unwrap().conn_id;
    proxy.turn(Mode::Cutting(40));
    let lines = proxy.lines();
    let recovery = async {
        while proxy.lines() < lines + 3 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        proxy.turn(Mode::Honest);
    };
    let (subscribed, ()) = tokio::join!(client.subscribe(Subscribe::new(id, ["b"])), recovery);
    assert_eq!(subscribed.unwrap().subscribed_to.len(), 1);
}
