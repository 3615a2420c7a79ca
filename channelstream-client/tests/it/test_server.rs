//! `TestServer`: the real server as a process, and a clock that goes ahead.

use std::path::PathBuf;
use std::time::Duration;

use channelstream_client::{
    Action, ChannelConfig, Configure, Connect, ErrorKind, EventKind, InfoOptions, NewMessage,
    StreamEvent, TestServer, TestServerBuilder, TestServerError, json,
};

/// The program of this build. Without it nothing can be shown.
fn builder() -> TestServerBuilder {
    // Tests are in a folder below that of the programs.
    let own = std::env::current_exe().unwrap();
    let folder = own.parent().and_then(|folder| folder.parent()).unwrap();
    let program = folder.join(format!("channelstream-server{}", std::env::consts::EXE_SUFFIX));
    assert!(program.is_file(), "`cargo build -p channelstream-server` makes {}", program.display());
    TestServer::builder().program(program)
}

#[tokio::test]
async fn a_member_parts_without_anybody_waiting() {
    let server = builder().start().await.unwrap();
    let client = server.client();
    let config = ChannelConfig { notify_presence: Some(true), ..ChannelConfig::default() };
    client
        .configure(Configure { channels: [("news".to_owned(), Some(config))].into() })
        .await
        .unwrap();
    let mut events = client.listen_as(Connect::new("ben").channels(["news"])).build().unwrap();
    while !matches!(events.next().await.unwrap(), StreamEvent::Opened { .. }) {}
    client.connect(Connect::new("ann").channels(["news"])).await.unwrap();
    server.advance(Duration::from_secs(14)).await.unwrap();
    let users = async || {
        let info = client.info(InfoOptions::default()).await.unwrap();
        info.channels["news"].total_users
    };
    assert_eq!(users().await, 2);
    let before = server.advance(Duration::ZERO).await.unwrap();
    let after = server.advance(Duration::from_millis(1500)).await.unwrap();
    assert!(before.to_string() < after.to_string(), "{before} {after}");
    assert_eq!(users().await, 1);
    let mut seen = Vec::new();
    while seen.last() != Some(&("ann".to_owned(), Action::Parted)) {
        if let StreamEvent::Event(event) = events.next().await.unwrap()
            && let EventKind::Presence { user, action, .. } = event.kind
        {
            seen.push((user, action));
        }
    }
    // Signatures go by the clock of this machine.
    let message = NewMessage::to_channel("ann", "news", json!({"n": 1})).unwrap();
    assert_eq!(client.publish(message).await.unwrap().len(), 1);
}

#[tokio::test]
async fn settings_are_those_of_the_server() {
    let server = builder().setting("gc_conns_after", 300).setting("strict_requests", true);
    let server = server.start().await.unwrap();
    assert!(server.log().contains(server.url().strip_prefix("http://").unwrap()));
    assert_eq!(server.secret(), "secret");
    server.client().connect(Connect::new("ann").channels(["news"])).await.unwrap();
    for (seconds, users) in [(299, 1), (2, 0)] {
        server.advance(Duration::from_secs(seconds)).await.unwrap();
        let info = server.client().info(InfoOptions::default()).await.unwrap();
        assert_eq!(info.channels["news"].total_users, users);
    }
    let error = server.advance(Duration::from_secs(366 * 86_400)).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Refused && error.field_errors().is_some(), "{error}");
}

#[tokio::test]
async fn it_ends_when_it_is_dropped() {
    let server = builder().start().await.unwrap();
    let client = server.client();
    client.info(InfoOptions::default()).await.unwrap();
    let address = server.url().strip_prefix("http://").unwrap().to_owned();
    drop(server);
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_server_that_does_not_start_says_why() {
    let error = builder().setting("gc_conns_after", "soon").start().await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(&error, TestServerError::NotListening { status: Some(_), .. }), "{text}");
    assert!(text.contains("gc-conns-after"), "{text}");
    // Where there is no test clock, there is no server.
    let error = builder().setting("secret", "mine").start().await.unwrap_err();
    assert!(error.to_string().contains("test_clock"), "{error}");
    let program = PathBuf::from("/nowhere/channelstream-server");
    let error = TestServer::builder().program(&program).start().await.unwrap_err();
    assert!(
        matches!(&error, TestServerError::NotStarted { program: named, .. } if *named == program),
        "{error}"
    );
}
