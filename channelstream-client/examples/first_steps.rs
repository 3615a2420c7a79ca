//! First steps: connects a user, publishes a message, reads the channel's state, and disconnects.
//!
//! Start a server (`cargo run --release -p channelstream-server`), then run
//! `cargo run -p channelstream-client --example first_steps`. `CHANNELSTREAM_URL` and
//! `CHANNELSTREAM_SECRET` set the address and secret of another server.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::env;

use channelstream_client::{
    ChannelSettings, Client, Connect, Error, InfoOptions, NewMessage, json,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let setting = |name, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let client = Client::new(
        setting("CHANNELSTREAM_URL", "http://127.0.0.1:8000"),
        setting("CHANNELSTREAM_SECRET", "secret"),
    )?;

    // A new channel receives these settings. It keeps its last messages for new members.
    let settings = ChannelSettings { store_history: true, ..ChannelSettings::default() };
    let request = Connect {
        channel_configs: [("first-steps".to_owned(), settings.into())].into(),
        ..Connect::new("ann").channels(["first-steps"])
    };
    let connected = client.connect(request).await?;
    println!("{} is connected; a browser may listen at", connected.username);
    println!("  /ws?conn_id={}", connected.conn_id);

    let hello = NewMessage::to_channel("ann", "first-steps", json!({"text": "Hello!"}))?;
    let sent = client.publish(hello).await?;
    println!("sent {} message", sent.len());

    let options = InfoOptions::default().channels(["first-steps"]);
    for channel in client.info(options).await?.channels.values() {
        println!("{} has {} users and the messages", channel.name, channel.total_users);
        for message in &channel.history {
            let payload = message.payload.as_ref().map_or("nothing", |payload| payload.get());
            println!("  {} by {}: {payload}", message.timestamp, message.user);
        }
    }

    let known = client.disconnect(connected.conn_id).await?;
    println!("good-bye{}", if known { "" } else { ", but the connection was gone already" });
    Ok(())
}
