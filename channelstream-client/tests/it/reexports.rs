//! The crate's own paths suffice: this file names nothing but `channelstream_client`, `std`, and
//! tokio for the test itself.

use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use channelstream_client::{
    Action, Address, AdminStats, AdminUser, AppendRequest, Change, ChangeReply, Changed,
    ChannelConfig, ChannelEntry, ChannelList, ChannelSettings, ChannelView, ChannelsDeleted,
    ChannelsInfo, Client, ClientBuilder, ClockSkew, Configure, Connect, Connected, Cursor,
    DateTime, Delete, DeleteChannels, DisconnectUser, Edit, End, Error, ErrorKind, Event,
    EventKind, EventStream, EventStreamBuilder, FieldError, FieldErrors, Gap, GapReason, Growth,
    HistoryPage, InEvent, IndexMap, InfoOptions, ListChannels, ListUsers, Message, MessageStream,
    MessageStreamBuilder, Metrics, NewMessage, NotADuration, Opening, PastMessage, Payload,
    PayloadError, Piece, Pieces, Posted, PublishError, Published, ReadHistory, Receipt, Reloaded,
    RetryPolicy, Scalar, SetUserState, Status, StatusCode, Stream, StreamError, StreamEvent,
    Subscribe, Subscribed, Taken, Timestamp, TimestampSigner, Transport, Unsubscribe, Unsubscribed,
    UserDisconnected, UserEntry, UserList, UserState, UserStateSet, UserView, Uuid, Value, json,
    parse_duration, reqwest, serde_json, signer,
};

use crate::server::{SECRET, Server};

#[tokio::test]
async fn every_call_needs_only_the_crates_own_paths() {
    let server = Server::start();
    let client = build(&server.url).unwrap();
    calls(&client).await.unwrap();
    bulk(&client).await.unwrap();
    admin(&client).await.unwrap();
}

#[test]
fn imports_are_from_the_crate_and_std() {
    let text = include_str!("reexports.rs");
    for import in text.lines().filter(|line| line.starts_with("use ")) {
        let roots = ["use channelstream_client::", "use std::", "use crate::"];
        assert!(roots.iter().any(|root| import.starts_with(root)), "{import}");
    }
}

fn build(url: &str) -> Result<Client, Error> {
    let signer: TimestampSigner =
        TimestampSigner::builder(SECRET).digest(signer::Digest::Sha1).build();
    let pause: Result<Duration, NotADuration> = parse_duration("1s");
    let policy: RetryPolicy = RetryPolicy::new().first_pause(pause.unwrap_or_default());
    let http: reqwest::Client = reqwest::Client::new();
    let builder: ClientBuilder = Client::builder(url).signer(signer).http_client(http);
    builder.retries(policy).build()
}

async fn calls(client: &Client) -> Result<(), Error> {
    let settings = ChannelSettings { store_history: true, ..ChannelSettings::default() };
    let configured: ChannelsInfo = client.configure(Configure::new([("news", settings)])).await?;
    let channels: &IndexMap<Arc<str>, ChannelView> = &configured.channels;
    assert_eq!(channels.len(), 1);

    let configs: IndexMap<String, ChannelConfig> =
        [("news".to_owned(), ChannelConfig::default())].into_iter().collect();
    let connect = Connect { channel_configs: configs, ..Connect::new("ann").channels(["news"]) };
    let connected: Connected = client.connect(connect).await?;
    let conn_id: Uuid = connected.conn_id;
    let subscribed: Subscribed = client.subscribe(Subscribe::new(conn_id, ["chat"])).await?;
    let left: Unsubscribed = client.unsubscribe(Unsubscribe::new(conn_id, ["chat"])).await?;
    assert_eq!((subscribed.subscribed_to.len(), left.unsubscribed_from.len()), (1, 1));
    let state: UserState = [("mood".to_owned(), Scalar::from("good"))].into();
    let set: UserStateSet = client.set_user_state(SetUserState::new("ann", state)).await?;
    let changed: &[Changed] = &set.changed_state;
    assert_eq!(changed.len(), 1);

    let message: Result<NewMessage, PayloadError> =
        NewMessage::to_channel("ann", "news", json!({"text": "Hello!"}));
    let posted: Vec<Posted> = client.publish(message?).await?;
    let message: &Arc<Message> = &posted[0].taken;
    let receipt: &Receipt = &posted[0].receipt;
    assert_eq!(receipt.problem, None);
    let payload: Option<&Payload> = message.payload.as_ref();
    let raw: Option<&serde_json::value::RawValue> = payload.map(|payload| &**payload);
    assert!(raw.is_some());
    let time: DateTime = message.timestamp;
    let (_, _): (Timestamp, InEvent) = (time.instant(), time.in_event());

    let stream: EventStreamBuilder = client.listen(conn_id);
    let mut events: EventStream = stream.build()?;
    while !matches!(events.next().await, Some(event) if payload_of(&event).is_some()) {}
    let _: Pin<Box<dyn Stream<Item = StreamEvent>>> = Box::pin(events);

    growing(client, conn_id).await?;

    let address: Address = Address::channel("news");
    let edit = Edit::new(message.uuid, address.clone()).payload(json!({"text": "Good day."}))?;
    let edits: Vec<Edit> = client.edit(edit).await?;
    let deletes: Vec<Delete> = client.delete(Delete::new(message.uuid, address)).await?;
    assert_eq!((edits.len(), deletes.len()), (1, 1));
    let info: ChannelsInfo = client.info(InfoOptions::default().channels(["news"])).await?;
    let users: &[UserView] = &info.users;
    assert!(users.len() <= 1);
    let channels: ChannelList = client.list_channels(ListChannels::default()).await?;
    let entry: &ChannelEntry = &channels.channels[0];
    assert_eq!((&*entry.name, channels.next.as_deref()), ("chat", None));
    let request = ListUsers { connected: true, ..ListUsers::default() };
    let users: UserList = client.list_users(request).await?;
    let entries: &[UserEntry] = &users.users;
    assert!(!entries.is_empty());
    let request = ReadHistory::new("news").since(Cursor::default());
    let page: HistoryPage = client.history(request).await?;
    let messages: &[PastMessage] = &page.messages;
    assert!(messages.len() <= 10 && page.gap == Some(GapReason::Epoch));
    let deleted: ChannelsDeleted = client.delete_channels(DeleteChannels::new(["news"])).await?;
    assert_eq!(deleted.deleted.len(), 1);
    assert!(client.disconnect(conn_id).await?);
    let done: UserDisconnected = client.disconnect_user(DisconnectUser::new("nobody")).await?;
    assert_eq!(&*done.user, "nobody");
    let reloaded: Result<Reloaded, Error> = client.reload().await;
    assert!(reloaded.is_err());

    let unknown = Subscribe::new(Uuid::new_v4(), ["news"]);
    let refused: Error = client.subscribe(unknown).await.unwrap_err();
    let kind: ErrorKind = refused.kind();
    let status: Option<StatusCode> = refused.status();
    assert_eq!((kind, status), (ErrorKind::Refused, Some(StatusCode::UNPROCESSABLE_ENTITY)));
    let errors: Option<&FieldErrors> = refused.field_errors();
    let first: Option<(&str, &FieldError)> = errors.and_then(|errors| errors.iter().next());
    assert!(first.is_some());
    let skew: Option<ClockSkew> = refused.clock_skew();
    assert_eq!(skew, None);
    Ok(())
}

async fn growing(client: &Client, conn_id: Uuid) -> Result<(), Error> {
    let opening: Opening = Opening::new(["ann"]).append_timeout(60);
    let message = NewMessage::to_channel("bot", "news", json!({"text": ""}))?.open(opening);
    let posted: Vec<Posted> = client.publish(message).await?;
    let growth: Option<Growth> = posted[0].growth;
    let cursor: Option<Cursor> = posted[0].receipt.seq;
    assert!(growth.is_some() && cursor.is_some());
    let append: AppendRequest =
        AppendRequest::new(posted[0].uuid, None).text("text", "Hel").step(1);
    let replies: Vec<ChangeReply> = client.change(Change::Append(append)).await?;
    assert!(matches!(&replies[..], [ChangeReply::Taken(taken)] if taken.taken));

    let builder: MessageStreamBuilder = client.resume(posted[0].uuid, None);
    let mut stream: MessageStream = builder.await.unwrap();
    let pieces: Pieces = [("text".to_owned(), Piece::text("lo"))].into_iter().collect();
    for (key, piece) in pieces {
        stream.send(key, piece).await.unwrap();
    }
    stream.flush().await.unwrap();
    let taken: Taken = client.cancel(conn_id, posted[0].uuid).await?;
    assert_eq!(taken.status, Some(Status::Cancelled));
    let error: StreamError = stream.finish().await.unwrap_err();
    assert!(error.is_cancelled());
    Ok(())
}

async fn bulk(client: &Client) -> Result<(), PublishError> {
    let published: Published = client.publish_all([]).await?;
    assert_eq!(published, Published::default());
    Ok(())
}

async fn admin(client: &Client) -> Result<(), Error> {
    let metrics: Metrics = client.metrics().await?;
    let value: Option<&Value> = metrics.metrics.values().next();
    assert!(value.is_some());
    let stats: AdminStats = client.admin_stats().await?;
    let users: &[AdminUser] = &stats.users;
    assert!(!users.is_empty());
    Ok(())
}

/// Names every part of what a stream yields.
fn payload_of(event: &StreamEvent) -> Option<Value> {
    match event {
        StreamEvent::Event(event) => {
            let event: &Event = event;
            let kind: &EventKind = &event.kind;
            if let EventKind::Presence { action: Action::Joined, .. } = kind {
                return None;
            }
            let payload: Result<Value, serde_json::Error> = event.payload();
            payload.ok().filter(Value::is_object)
        }
        StreamEvent::Opened { transport: Transport::Websocket, .. } => None,
        StreamEvent::Gap(Gap::Lost { reason: GapReason::Evicted, .. } | Gap::NewConnection)
        | StreamEvent::Ended(End::Superseded) => None,
        StreamEvent::Interrupted { error, .. } => {
            let _: Option<&(dyn StdError + 'static)> = error.source();
            None
        }
        _ => None,
    }
}
