//! Missing, late, broken and invalid answers: each is an error of its kind, without secrets.

use std::error::Error as StdError;
use std::time::Duration;

use channelstream_client::{Client, Error, ErrorKind, InfoOptions, StatusCode, Uuid};
use tokio::net::TcpSocket;

use crate::stub::{Request, Stub, answer};

fn client(host: &str) -> Client {
    Client::new(format!("http://marked-user:marked-password@{host}/"), "marked-secret").unwrap()
}

async fn failure(stub: &Stub) -> Error {
    client(&stub.host).info(InfoOptions::default()).await.unwrap_err()
}

/// Returns everything that a log could show of an error.
fn shown(error: &Error) -> String {
    let mut text = format!("{error}\n{error:?}\n");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!("{error}\n{error:?}\n"));
        cause = error.source();
    }
    text
}

#[track_caller]
fn check(error: &Error, kind: ErrorKind, text: &str) {
    assert_eq!(error.kind(), kind, "{error:?}");
    assert_eq!(error.to_string(), text);
    assert_eq!(error.is_timeout(), kind == ErrorKind::Timeout);
    let shown = shown(error);
    // A signature begins with the signed path and a dot.
    assert!(!shown.contains("marked") && !shown.contains("/info."), "{shown}");
}

#[tokio::test]
async fn nobody_listens() {
    // Bound but not listening: connections are refused, and no other program gets the port.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let host = socket.local_addr().unwrap().to_string();
    let error = client(&host).info(InfoOptions::default()).await.unwrap_err();
    check(&error, ErrorKind::Connect, &format!("cannot reach http://{host} for POST /info"));
    assert!(shown(&error).contains("refused"), "the cause is kept");
}

#[tokio::test]
async fn no_answer_comes() {
    let stub = Stub::start(|_| None::<String>);
    let client = Client::builder(format!("http://{}", stub.host))
        .secret("marked-secret")
        .timeout(Duration::from_millis(50))
        .build()
        .unwrap();
    let error = client.info(InfoOptions::default()).await.unwrap_err();
    check(&error, ErrorKind::Timeout, "no answer to POST /info in time");
}

#[tokio::test]
async fn the_answer_stops_in_the_middle() {
    let whole = answer("200 OK", r#"{"channels": {}, "users": []}"#);
    let half = whole[..whole.len() - 10].to_owned();
    let stub = Stub::start(move |_| Some(half.clone()));
    check(&failure(&stub).await, ErrorKind::BadAnswer, "the answer to POST /info broke off");
    let stub = Stub::start(|_| Some(String::new()));
    check(&failure(&stub).await, ErrorKind::BadAnswer, "the answer to POST /info broke off");
}

#[tokio::test]
async fn the_answer_is_something_else() {
    let stub = Stub::answering("200 OK", "<html>welcome</html>");
    let text = "the answer to POST /info is not JSON (at line 1, column 1)";
    check(&failure(&stub).await, ErrorKind::BadAnswer, text);
    let stub = Stub::answering("204 No Content", "");
    let text = "the answer to POST /info is not JSON (at line 1, column 0)";
    check(&failure(&stub).await, ErrorKind::BadAnswer, text);
    let stub = Stub::answering("200 OK", r#"{"channels": []}"#);
    let text = "the answer to POST /info is not what the protocol says (at line 1, column 13)";
    check(&failure(&stub).await, ErrorKind::BadAnswer, text);
}

#[tokio::test]
async fn the_server_shows_the_request_in_its_answer() {
    let echo = |request: &Request| {
        let signature = request.header("x-channelstream-secret").unwrap();
        assert!(signature.starts_with("/info."));
        signature.to_owned()
    };
    let stub = Stub::start(move |r| Some(answer("200 OK", &format!("\"{}\"", echo(r)))));
    let error = failure(&stub).await;
    check(&error, ErrorKind::BadAnswer, &error.to_string());
    let stub = Stub::start(move |r| Some(answer("404 Not Found", &echo(r))));
    let error = failure(&stub).await;
    check(&error, ErrorKind::Refused, "POST /info was refused with 404 Not Found");
    let stub = Stub::start(move |r| {
        let location = format!("302 Found\r\nlocation: /?{}", echo(r));
        Some(answer(&location, ""))
    });
    let error = failure(&stub).await;
    check(&error, ErrorKind::Refused, "POST /info was refused with 302 Found");
    assert_eq!(error.status(), Some(StatusCode::FOUND));
    // A custom HTTP client may follow redirects up to its limit. Its error then names the target.
    let following = Client::builder(format!("http://{}", stub.host))
        .secret("marked-secret")
        .http_client(reqwest::Client::new())
        .build()
        .unwrap();
    let error = following.info(InfoOptions::default()).await.unwrap_err();
    check(&error, ErrorKind::BadAnswer, "the answer to POST /info broke off");
}

#[tokio::test]
async fn the_server_is_busy() {
    let stub = Stub::answering("503 Service Unavailable", "<html>");
    let error = failure(&stub).await;
    check(&error, ErrorKind::Unavailable, "POST /info failed with 503 Service Unavailable");
    assert_eq!(error.status(), Some(StatusCode::SERVICE_UNAVAILABLE));
}

#[tokio::test]
async fn a_call_that_failed_does_not_spoil_the_next() {
    let stub = Stub::start(|request| {
        let cut = request.body.contains("000001");
        Some(if cut { String::new() } else { answer("200 OK", "false") })
    });
    let client = client(&stub.host);
    client.disconnect(Uuid::from_u128(1)).await.unwrap_err();
    assert!(!client.disconnect(Uuid::from_u128(2)).await.unwrap());
}
