//! A whole life: two users connect, one listens, messages are sent, edited and deleted, and both
//! disconnect.
//!
//! Start a server (`cargo run --release -p channelstream-server`), then run
//! `cargo run -p channelstream-client --features listen --example whole_life`. `CHANNELSTREAM_URL` and
//! `CHANNELSTREAM_SECRET` set the address and secret of another server.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::env;
use std::error::Error;

use channelstream_client::{
    Address, ChannelSettings, Client, Configure, Connect, Delete, Edit, End, Event, EventKind,
    InfoOptions, NewMessage, Scalar, SetUserState, StreamEvent, Subscribe, Unsubscribe, json,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let setting = |name, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let client = Client::new(
        setting("CHANNELSTREAM_URL", "http://127.0.0.1:8000"),
        setting("CHANNELSTREAM_SECRET", "secret"),
    )?;
    live(&client).await
}

/// Runs the whole life. Returns an error if the server does anything else.
pub(crate) async fn live(client: &Client) -> Result<(), Box<dyn Error>> {
    let settings = ChannelSettings {
        notify_presence: true,
        notify_state: true,
        store_history: true,
        ..ChannelSettings::default()
    };
    client.configure(Configure::new([("whole-life", settings)])).await?;

    // Two users connect. Ann listens and receives bob's presence.
    let ann = client.connect(Connect::new("ann").channels(["whole-life"])).await?;
    let bob = client.connect(Connect::new("bob")).await?;
    client.subscribe(Subscribe::new(bob.conn_id, ["whole-life"])).await?;
    let mut events = client.listen(ann.conn_id).build()?;
    let mut received = Vec::new();
    while received.is_empty() {
        take(events.next().await, &mut received)?;
    }
    // From here on ann listens in the background.
    let listening = tokio::spawn(async move {
        loop {
            match take(events.next().await, &mut received) {
                Ok(None) => {}
                Ok(Some(end)) => return Ok((received, end)),
                Err(error) => return Err(error.to_string()),
            }
        }
    });

    // Messages: one to the channel and one to ann. The first is edited and deleted.
    let address = || Address::channel("whole-life");
    let hello = NewMessage::to_channel("bob", "whole-life", json!({"text": "Hello!"}))?;
    let hello = client.publish(hello).await?.remove(0).uuid;
    client.publish(NewMessage::to_users("bob", ["ann"], json!({"text": "Psst."}))?).await?;
    client.edit(Edit::new(hello, address()).payload(json!({"text": "Good day."}))?).await?;
    client.delete(Delete::new(hello, address())).await?;

    // States.
    let state = [("mood".to_owned(), Scalar::from("good"))].into();
    let public = SetUserState {
        state_public_keys: Some(vec!["mood".to_owned()]),
        ..SetUserState::new("bob", state)
    };
    let set = client.set_user_state(public).await?;
    println!("bob's state has changed in {} keys", set.changed_state.len());

    // Who is there?
    let info = client.info(InfoOptions::default().channels(["whole-life"])).await?;
    let channel = info.channels.get("whole-life").ok_or("the channel is not there")?;
    println!(
        "{} has {} users and {} messages",
        channel.name,
        channel.total_users,
        channel.history.len()
    );

    // Both users leave.
    client.unsubscribe(Unsubscribe::new(bob.conn_id, ["whole-life"])).await?;
    client.disconnect(bob.conn_id).await?;
    client.disconnect(ann.conn_id).await?;
    let (received, end) = listening.await??;
    if end != End::Disconnected {
        return Err(format!("ann's stream ended otherwise: {end:?}").into());
    }
    let kinds: Vec<_> = received
        .iter()
        .map(|event| match &event.kind {
            EventKind::Message { .. } => "message",
            EventKind::Edit { .. } => "edit",
            EventKind::Delete => "delete",
            EventKind::Presence { .. } => "presence",
            EventKind::UserState { .. } => "state",
            _ => "another",
        })
        .collect();
    let life = ["presence", "message", "message", "edit", "delete", "state", "presence"];
    if kinds != life {
        return Err(format!("ann received something else: {kinds:?}").into());
    }
    println!("that was a whole life");
    Ok(())
}

/// Notes an item of the stream. Returns the end if the item is one.
fn take(
    event: Option<StreamEvent>,
    received: &mut Vec<Event>,
) -> Result<Option<End>, Box<dyn Error>> {
    match event.ok_or("the stream ended without a reason")? {
        StreamEvent::Opened { transport, .. } => println!("ann listens by {transport:?}"),
        StreamEvent::Event(event) => {
            println!("ann receives {}", event.json());
            received.push(event);
        }
        StreamEvent::Ended(end) => return Ok(Some(end)),
        other => println!("ann: {other:?}"),
    }
    Ok(None)
}
