//! Which calls are repeated, when, and what the error reports.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use channelstream_client::{
    Address, Client, ClockSkew, Configure, Connect, Delete, Edit, Error, ErrorKind, InfoOptions,
    NewMessage, RetryPolicy, SetUserState, StatusCode, Subscribe, Unsubscribe, UserState, Uuid,
};

use crate::server::Server;
use crate::stub::{Stub, answer};

fn quick() -> RetryPolicy {
    let pause = Duration::from_millis(5);
    RetryPolicy::new().first_pause(pause).longest_pause(pause).repeats(2)
}

fn client(host: &str, policy: RetryPolicy) -> Client {
    Client::builder(format!("http://{host}")).secret("s").retries(policy).build().unwrap()
}

/// Fails this often in one way, then succeeds.
fn failing(failures: u32, failure: String) -> (Stub, Arc<AtomicU32>) {
    let count = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&count);
    let stub = Stub::start(move |_| {
        let number = counted.fetch_add(1, Ordering::Relaxed);
        Some(if number < failures { failure.clone() } else { answer("200 OK", "[]") })
    });
    (stub, count)
}

fn message() -> NewMessage {
    NewMessage::new("ann", Address::channel("news"))
}

#[tokio::test]
async fn each_call_is_repeated_where_that_does_no_harm() {
    let id = Uuid::from_u128(1);
    let address = || Address::channel("news");
    for failure in [String::new(), answer("502 Bad Gateway", ""), answer("503 Busy", "")] {
        let (stub, count) = failing(u32::MAX, failure);
        let client = client(&stub.host, quick());
        let count = || count.swap(0, Ordering::Relaxed);
        let check = |error: Error, attempts: u32| {
            assert_eq!((error.attempts(), count()), (attempts, attempts), "{error}");
            assert!(error.is_retryable() && error.is_in_doubt());
        };
        check(client.connect(Connect::new("ann")).await.unwrap_err(), 3);
        check(client.subscribe(Subscribe::new(id, ["a"])).await.unwrap_err(), 3);
        check(client.unsubscribe(Unsubscribe::new(id, ["a"])).await.unwrap_err(), 3);
        let state = SetUserState::new("ann", UserState::new());
        check(client.set_user_state(state).await.unwrap_err(), 3);
        check(client.configure(Configure::default()).await.unwrap_err(), 3);
        check(client.info(InfoOptions::default()).await.unwrap_err(), 3);
        check(client.admin_stats().await.unwrap_err(), 3);
        check(client.disconnect(id).await.unwrap_err(), 3);
        check(client.edit(Edit::new(id, address())).await.unwrap_err(), 3);
        check(client.delete(Delete::new(id, address())).await.unwrap_err(), 3);
        check(client.publish(message().id(id)).await.unwrap_err(), 3);
        check(client.publish(message()).await.unwrap_err(), 1);
        check(client.publish(&[message().id(id), message()]).await.unwrap_err(), 1);
    }
}

#[tokio::test]
async fn what_was_not_carried_out_for_sure_is_always_repeated() {
    for failure in [
        answer("429 Too Many Requests", ""),
        answer("408 Request Timeout", ""),
        answer("503 Service Unavailable", r#"{"message": "full", "outcome": "not_done"}"#),
    ] {
        let (stub, _) = failing(2, failure.clone());
        assert!(client(&stub.host, quick()).publish(message()).await.unwrap().is_empty());
        let (stub, _) = failing(3, failure);
        let error = client(&stub.host, quick()).publish(message()).await.unwrap_err();
        assert_eq!((error.attempts(), error.is_in_doubt()), (3, false));
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
}

#[tokio::test]
async fn a_refusal_is_final() {
    for status in ["400 Bad Request", "401 Unauthorized", "422 Unprocessable Entity", "500 Oops"] {
        let (stub, count) = failing(1, answer(status, "{}"));
        let error = client(&stub.host, quick()).info(InfoOptions::default()).await.unwrap_err();
        assert_eq!((error.attempts(), count.load(Ordering::Relaxed)), (1, 1));
        assert!(!error.is_retryable());
    }
}

#[tokio::test]
async fn the_server_may_ask_for_a_pause_and_not_for_a_long_one() {
    let asking = |seconds| answer(&format!("503 Busy\r\nretry-after: {seconds}"), "");
    let (stub, _) = failing(1, asking(1));
    let begun = Instant::now();
    let patient = client(&stub.host, quick().longest_pause(Duration::from_secs(2)));
    patient.edit([]).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1));

    let (stub, _) = failing(1, asking(3));
    let client = client(&stub.host, quick().longest_pause(Duration::from_secs(2)));
    let error = client.edit([]).await.unwrap_err();
    assert_eq!((error.attempts(), error.retry_after()), (1, Some(Duration::from_secs(3))));
}

#[tokio::test]
async fn the_whole_has_an_end() {
    let stub = Stub::start(|_| None::<String>);
    let policy = quick().repeats(1_000_000).total(Duration::from_millis(300));
    let client = Client::builder(format!("http://{}", stub.host))
        .secret("s")
        .timeout(Duration::from_millis(100))
        .retries(policy)
        .build()
        .unwrap();
    let options = InfoOptions::default();
    let call = client.info(options);
    let error = tokio::time::timeout(Duration::from_secs(30), call).await.unwrap().unwrap_err();
    assert!(error.is_timeout());
    // Three timeouts and their pauses, or fewer if the machine is slow.
    assert!((2..=4).contains(&error.attempts()), "{}", error.attempts());
}

#[tokio::test]
async fn a_repeated_connect_is_one_connection() {
    // The first answer is lost. The second request is equal to the first.
    let stub = Stub::answering("503 Busy", "");
    client(&stub.host, quick().repeats(1)).connect(Connect::new("ann")).await.unwrap_err();
    let (first, second) = (stub.request(), stub.request());
    assert_eq!(first.body, second.body);

    let server = Server::start();
    let id = serde_json::from_str::<serde_json::Value>(&first.body).unwrap()["conn_id"]
        .as_str()
        .and_then(|text| text.parse::<Uuid>().ok());
    let request = Connect { conn_id: id, ..Connect::new("ann").channels(["a"]) };
    let connected = server.client().connect(request.clone()).await.unwrap();
    assert_eq!(server.client().connect(request).await.unwrap().conn_id, connected.conn_id);
    assert_eq!(Some(connected.conn_id), id);
    assert_eq!(server.client().admin_stats().await.unwrap().total_connections, 1);
}

#[tokio::test]
async fn skew_is_named_where_a_signature_is_refused() {
    let refused = |date: &str| {
        let status = format!("401 Unauthorized\r\ndate: {date}");
        answer(&status, r#"{"request": "Bad Signature"}"#)
    };
    let error = |answer: String| async move {
        let stub = Stub::start(move |_| Some(answer.clone()));
        client(&stub.host, quick()).info(InfoOptions::default()).await.unwrap_err()
    };
    let text = "POST /info was refused with 401 Unauthorized";

    let ahead = error(refused("Tue, 14 Nov 2023 22:13:20 GMT")).await;
    let skew = ahead.clock_skew().unwrap();
    assert!(matches!(skew, ClockSkew::Ahead(_)));
    assert_eq!(
        ahead.to_string(),
        format!("{text}: signature refused; this machine's clock is {skew}")
    );
    let behind = error(refused("Fri, 01 Jan 2100 00:00:00 GMT")).await;
    assert!(matches!(behind.clock_skew(), Some(ClockSkew::Behind(_))));

    let elsewhere = answer("401 Unauthorized\r\ndate: Tue, 14 Nov 2023 22:13:20 GMT", "{}");
    assert_eq!(error(elsewhere).await.clock_skew(), None, "a proxy's 401 is no matter of clocks");

    // The real server sends its date, by the same clock.
    let server = Server::start();
    let client = Client::new(&server.url, "another").unwrap();
    let error = client.info(InfoOptions::default()).await.unwrap_err();
    assert_eq!((error.status(), error.clock_skew()), (Some(StatusCode::UNAUTHORIZED), None));
    assert_eq!(error.to_string(), text);
    let plain = reqwest::get(&server.url).await.unwrap();
    assert!(plain.headers().contains_key("date"));
}
