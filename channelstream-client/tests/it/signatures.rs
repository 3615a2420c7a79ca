//! Requests that are signed as a whole: what is sent, repeated, and refused.

use channelstream_client::signer::request::{Content, RequestSigner, Target};
use channelstream_client::signer::{TimestampSigner, unix_now};
use channelstream_client::{
    Address, Client, ClientBuilder, Connect, ErrorKind, InfoOptions, NewMessage, RetryPolicy,
    StatusCode,
};
use channelstream_server::Config;

use crate::server::{SECRET, Server};
use crate::stub::{Request, Stub, answer};

const HEADER: &str = "x-channelstream-signature";

/// Asserts that a request is signed as a whole. Returns the signature.
fn verified(request: &Request, path: &str) -> [u8; 32] {
    assert_eq!(request.header("x-channelstream-secret"), None);
    let line = request.line();
    let method = line.split(' ').next().unwrap();
    let key = request.header("idempotency-key").unwrap_or_default().as_bytes();
    let target = Target { method, path, idempotency_key: key };
    let header = request.header(HEADER).unwrap().as_bytes();
    let verified = RequestSigner::new("s3cret").verify(header, &target).unwrap();
    assert_eq!(verified.content, Content::of(request.body.as_bytes()));
    assert!(verified.check_time(60, unix_now()).is_ok());
    verified.signature
}

fn message() -> NewMessage {
    NewMessage::new("ann", Address::channel("news"))
}

#[tokio::test]
async fn whole_requests_are_signed_when_asked() {
    let stub = Stub::answering("500 Internal Server Error", "");
    let builder = || {
        Client::builder(format!("http://{}/push/", stub.host)).secret("s3cret").sign_bodies(true)
    };
    let client = builder().build().unwrap();
    client.connect(Connect::new("ann")).await.unwrap_err();
    verified(&stub.request(), "/connect");
    client.publish(&[message()]).await.unwrap_err();
    verified(&stub.request(), "/message");
    client.info(InfoOptions::default()).await.unwrap_err();
    verified(&stub.request(), "/info");
    client.admin_stats().await.unwrap_err();
    verified(&stub.request(), "/admin/admin.json");
    let without_keys = builder().idempotency_keys(false).build().unwrap();
    without_keys.publish(&[message()]).await.unwrap_err();
    verified(&stub.request(), "/message");
    builder().sign_bodies(false).build().unwrap().publish(&[message()]).await.unwrap_err();
    let request = stub.request();
    assert_eq!(request.header(HEADER), None);
    assert!(request.header("x-channelstream-secret").is_some());
}

#[tokio::test]
async fn a_repeat_has_the_key_of_the_first_and_a_signature_of_its_own() {
    let stub = Stub::start(|_| Some(answer("503 Busy", r#"{"outcome": "not_done"}"#)));
    let pause = std::time::Duration::from_millis(1);
    let policy = RetryPolicy::new().first_pause(pause).longest_pause(pause).repeats(2);
    let client = Client::builder(format!("http://{}", stub.host)).secret("s3cret");
    let client = client.sign_bodies(true).retries(policy).build().unwrap();
    client.publish(&[message()]).await.unwrap_err();
    let requests = [(); 3].map(|()| stub.request());
    let signatures = requests.each_ref().map(|request| verified(request, "/message"));
    let keys = requests.each_ref().map(|request| request.header("idempotency-key").unwrap());
    assert!(keys[0] == keys[1] && keys[1] == keys[2], "{keys:?}");
    assert!(signatures[0] != signatures[1] && signatures[1] != signatures[2]);
}

#[tokio::test]
async fn a_server_may_require_it() {
    let server = Server::with(Config { require_signed_bodies: true, ..Config::default() });
    let builder = || -> ClientBuilder { Client::builder(&server.url).secret(SECRET) };
    let old = builder().build().unwrap().publish(&[message()]).await.unwrap_err();
    assert_eq!((old.kind(), old.status()), (ErrorKind::Refused, Some(StatusCode::UNAUTHORIZED)));
    assert!(old.to_string().contains("require_signed_bodies"), "{old}");
    // In the very second of the start the server asks for another signature, and gets one.
    let client = builder().sign_bodies(true).build().unwrap();
    let connected = client.connect(Connect::new("ann").channels(["news"])).await.unwrap();
    assert_eq!(connected.channels, ["news"]);
    client.publish(&[message()]).await.unwrap();
    assert!(client.disconnect(connected.conn_id).await.unwrap());
    let other = Client::builder(&server.url).secret("another").sign_bodies(true).build().unwrap();
    let refused = other.publish(&[message()]).await.unwrap_err();
    assert!(refused.to_string().contains("the signature is not that of"), "{refused}");
}

#[test]
fn a_signer_must_be_of_the_kind_that_is_asked_for() {
    let builder = || Client::builder("http://127.0.0.1:1");
    let (timestamps, requests) = (TimestampSigner::new("s"), RequestSigner::new("s"));
    assert!(builder().signer(timestamps.clone()).build().is_ok());
    assert!(builder().signer(timestamps).sign_bodies(true).build().is_err());
    assert!(builder().request_signer(requests.clone()).sign_bodies(true).build().is_ok());
    let error = builder().request_signer(requests).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Builder);
}
