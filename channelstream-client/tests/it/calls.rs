//! Every call against the real server.

use std::sync::Arc;
use std::time::Duration;

use channelstream_client::{
    Address, ChannelSettings, Client, Configure, Connect, Delete, DeleteChannels, DisconnectUser,
    Edit, ErrorKind, InfoOptions, Message, NewMessage, Scalar, SetUserState, StatusCode, Subscribe,
    Unsubscribe, UserState, Uuid,
};

use crate::server::{SECRET, Server};

fn of(channel: &str) -> InfoOptions {
    InfoOptions { channels: Some(vec![channel.to_owned()]), ..InfoOptions::default() }
}

fn text_of(message: &Message) -> String {
    let payload: serde_json::Value =
        serde_json::from_str(message.payload.as_ref().unwrap().get()).unwrap();
    payload["text"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_whole_life() {
    let server = Server::start();
    let client = server.client();
    let settings =
        ChannelSettings { store_history: true, history_size: 5, ..ChannelSettings::default() };
    let configs = Configure::new([("life", settings)]);

    let info = client.configure(configs).await.unwrap();
    assert_eq!(info.channels["life"].settings, settings);

    let request = Connect {
        fresh_user_state: [("mood".to_owned(), Scalar::from("new"))].into(),
        user_state: [("age".to_owned(), Scalar::from(30))].into(),
        state_public_keys: vec!["mood".to_owned()],
        ..Connect::new("ann").channels(["life"])
    };
    let ann = client.connect(request).await.unwrap();
    assert_eq!((&*ann.username, ann.channels), ("ann", vec!["life".to_owned()]));
    assert_eq!((ann.state.len(), ann.public_state.len()), (2, 1));
    assert_eq!(&*ann.channels_info.channels["life"].users, [Arc::<str>::from("ann")]);

    let id = Uuid::from_u128(7);
    let bob = Connect { conn_id: Some(id), ..Connect::new("bob") };
    assert_eq!(client.connect(bob).await.unwrap().conn_id, id);
    let subscribed = client.subscribe(Subscribe::new(id, ["life", "other"])).await.unwrap();
    assert_eq!(subscribed.subscribed_to, [Arc::<str>::from("life"), Arc::from("other")]);
    let left = client.unsubscribe(Unsubscribe::new(id, ["other"])).await.unwrap();
    assert_eq!(left.unsubscribed_from, [Arc::<str>::from("other")]);
    assert_eq!(left.channels, [Arc::<str>::from("life")]);

    let state = UserState::from([("mood".to_owned(), Scalar::from("good"))]);
    let set = client.set_user_state(SetUserState::new("ann", state)).await.unwrap();
    assert_eq!(set.changed_state[0].key, "mood");
    assert_eq!(set.user_state["mood"], Scalar::from("good"));
    assert_eq!(set.public_keys, [Arc::<str>::from("mood")]);

    let life = || Address::channel("life");
    let message = |text: &str| {
        NewMessage::new("ann", life())
            .payload(channelstream_client::json!({ "text": text }))
            .unwrap()
    };
    let nowhere = NewMessage::new("ann", Address::default());
    let sent = client.publish(&[message("one"), nowhere, message("two")]).await.unwrap();
    let receipts = sent.iter().map(|sent| (sent.receipt.stored, sent.receipt.problem.as_deref()));
    let receipts: Vec<_> = receipts.collect();
    let dropped = (Some(false), Some("no address"));
    assert_eq!(receipts, [(Some(true), None), dropped, (Some(true), None)]);
    assert_eq!((text_of(&sent[0]), sent[0].receipt.recipients), ("one".to_owned(), Some(0)));

    let edit = Edit { payload: message("three").payload, ..Edit::new(sent[0].uuid, life()) };
    let edits = client.edit(&[edit]).await.unwrap();
    assert!(edits[0].edited.is_some());
    let deletes = client.delete(&[Delete::new(sent[2].uuid, life())]).await.unwrap();
    assert_eq!(deletes[0].uuid, sent[2].uuid);

    let info = client.info(of("life")).await.unwrap();
    let channel = &info.channels["life"];
    assert_eq!((info.channels.len(), info.users.len()), (1, 2));
    assert_eq!((channel.total_users, channel.total_connections), (2, 2));
    let [message] = &channel.history[..] else { panic!("not one: {:?}", channel.history) };
    assert_eq!(text_of(message), "three");
    assert_eq!((message.uuid, message.edited), (sent[0].uuid, edits[0].edited));

    let admin = client.admin_stats().await.unwrap();
    assert_eq!((admin.unique_user_count, admin.total_unique_messages), (2, 2));
    assert_eq!((admin.channels.len(), admin.users.len()), (2, 2));
    assert!(!admin.version.is_empty() && admin.uptime.contains(':'));
    let stats = client.metrics().await.unwrap();
    assert_eq!(stats.version, admin.version);
    assert_eq!(stats.number("messages_posted_total"), Some(2.0));
    assert_eq!((stats.number("listeners"), stats.number("refusals_total")), (Some(0.0), None));
    let text = client.debug_text().await.unwrap();
    assert!(text.starts_with("channelstream ") && text.contains("\nlisteners: 0\n"), "{text}");

    assert!(client.disconnect(id).await.unwrap());
    assert!(!client.disconnect(Uuid::from_u128(8)).await.unwrap());
}

#[tokio::test]
async fn the_example_of_a_whole_life_is_true() {
    let server = Server::start();
    let client = server.client();
    let living = crate::whole_life::live(&client);
    tokio::time::timeout(Duration::from_secs(30), living).await.unwrap().unwrap();
}

#[tokio::test]
async fn payloads_pass_exactly() {
    let server = Server::start();
    let client = server.client();
    let payload = r#"{"n": 1.10, "big": 123456789012345678901234567890, "text": "ß\u00df🎵"}"#;
    let raw = serde_json::value::RawValue::from_string(payload.to_owned()).unwrap();
    let message = NewMessage {
        payload: Some(raw.into()),
        ..NewMessage::new("ann", Address::channel("exact"))
    };
    let sent = client.publish(&[message]).await.unwrap();
    assert_eq!(sent[0].payload.as_ref().unwrap().get(), payload);
}

#[tokio::test]
async fn errors_are_reported_by_field() {
    let server = Server::start();
    let client = server.client();
    let error = client.connect(Connect::new("").channels(["ok", ""])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!(error.status(), Some(StatusCode::UNPROCESSABLE_ENTITY));
    let fields: Vec<_> = error.field_errors().unwrap().iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["username", "channels"]);
    assert_eq!(
        error.to_string(),
        "POST /connect was refused with 422 Unprocessable Entity: \
         username: Length must be between 1 and 512.; \
         channels.1: Length must be between 1 and 256."
    );
}

#[tokio::test]
async fn another_secret_is_refused() {
    let server = Server::start();
    let client = Client::new(&server.url, "marked-secret").unwrap();
    for error in [
        client.info(InfoOptions::default()).await.unwrap_err(),
        client.admin_stats().await.unwrap_err(),
        client.disconnect(Uuid::from_u128(1)).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert_eq!(error.status(), Some(StatusCode::UNAUTHORIZED));
        assert!(!format!("{error} {error:?}").contains("marked"));
    }
}

#[tokio::test]
async fn the_address_may_end_in_a_slash() {
    let server = Server::start();
    let client = Client::new(format!("{}/", server.url), SECRET).unwrap();
    assert!(client.info(InfoOptions::default()).await.unwrap().channels.is_empty());
}

#[tokio::test]
async fn channels_are_deleted() {
    let server = Server::start();
    let client = server.client();
    client.connect(Connect::new("ann").channels(["news", "chat"])).await.unwrap();
    let request = DeleteChannels::new(["news", "nowhere"]);
    let answer = client.delete_channels(request).await.unwrap();
    assert_eq!(
        (answer.deleted, answer.unknown),
        (vec![Arc::<str>::from("news")], vec![Arc::<str>::from("nowhere")])
    );
    let info = client.info(InfoOptions::default()).await.unwrap();
    assert_eq!(info.channels.keys().map(|name| &**name).collect::<Vec<_>>(), ["chat"]);
    let error = client.delete_channels(DeleteChannels::default()).await.unwrap_err();
    assert_eq!(error.status(), Some(StatusCode::UNPROCESSABLE_ENTITY));
}

#[tokio::test]
async fn settings_are_reloaded_where_the_server_knows_their_place() {
    let server = Server::start();
    // The server of these tests is given its settings by the test.
    let error = server.client().reload().await.unwrap_err();
    assert_eq!((error.status(), error.attempts()), (Some(StatusCode::CONFLICT), 1));
    assert!(error.to_string().contains("gives it its settings"), "{error}");
}

#[tokio::test]
async fn users_are_disconnected_and_refused() {
    let server = Server::start();
    let client = server.client();
    client.connect(Connect::new("ann").channels(["news"])).await.unwrap();
    client.connect(Connect::new("ann")).await.unwrap();
    let request = DisconnectUser::new("ann").reason("spam").refuse_for(300);
    let done = client.disconnect_user(request).await.unwrap();
    assert_eq!((&*done.user, done.connections, done.refused_for), ("ann", 2, 300));
    let refused = client.connect(Connect::new("ann")).await.unwrap_err();
    assert_eq!((refused.status(), refused.attempts()), (Some(StatusCode::FORBIDDEN), 1));
    assert!(refused.to_string().contains("spam"), "{refused}");
    assert!(refused.retry_after().is_some_and(|after| after > Duration::from_secs(200)));
    client.disconnect_user(DisconnectUser::new("ann").refuse_for(0)).await.unwrap();
    client.connect(Connect::new("ann")).await.unwrap();
    let error = client.disconnect_user(DisconnectUser::new("")).await.unwrap_err();
    assert_eq!(error.status(), Some(StatusCode::UNPROCESSABLE_ENTITY));
}

#[tokio::test]
async fn a_secret_comes_from_a_file_as_the_server_reads_it() {
    let server = Server::start();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret.txt");
    std::fs::write(&path, format!("\u{feff}{SECRET}\r\n\r\nolder\r\n")).unwrap();
    let client = Client::builder(&server.url).secret_file(&path).unwrap().build().unwrap();
    client.info(InfoOptions::default()).await.unwrap();

    std::fs::write(&path, "hid\0den").unwrap();
    let error = Client::builder(&server.url).secret_file(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Builder);
    let text = format!("{error}: {}", std::error::Error::source(&error).unwrap());
    assert!(text.contains("secret.txt") && text.contains("U+0000"), "{text}");
    assert!(!text.contains("hid"), "{text}");
}
