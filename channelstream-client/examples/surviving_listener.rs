//! A listener that survives broken TCP connections, restarts of the server, and proxies without
//! websockets.
//!
//! Run it with
//! `cargo run -p channelstream-client --features listen --example surviving_listener -- news`.
//! `CHANNELSTREAM_URL` and `CHANNELSTREAM_SECRET` set the server's address and secret. Kill the server
//! and restart it as often as you like.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::env;
use std::error::Error;
use std::time::Duration;

use channelstream_client::{Client, Connect, StreamEvent};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let setting = |name, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let mut channels: Vec<_> = env::args().skip(1).collect();
    if channels.is_empty() {
        channels.push("news".to_owned());
    }
    let client = Client::new(
        setting("CHANNELSTREAM_URL", "http://127.0.0.1:8000"),
        setting("CHANNELSTREAM_SECRET", "secret"),
    )?;

    // The stream creates its connection by itself, now and whenever the server has lost it.
    let request = Connect::new("listener").channels(channels);
    let mut events = client.listen_as(request).longest_pause(Duration::from_secs(5)).build()?;
    let (mut received, mut gaps) = (0_u64, 0_u64);
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(StreamEvent::Opened { transport, .. }) => println!("listening by {transport:?}"),
                Some(StreamEvent::Event(event)) => {
                    received += 1;
                    println!("{}", event.json());
                }
                Some(StreamEvent::Gap(gap)) => {
                    gaps += 1;
                    println!("something may be missing: {gap:?}");
                }
                Some(StreamEvent::Interrupted { error, pause, .. }) => {
                    println!("{error}; again in {pause:.1?}");
                }
                Some(StreamEvent::Ended(end)) => println!("it is over: {end:?}"),
                Some(other) => println!("{other:?}"),
                None => break,
            },
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    println!("received {received} events, with {gaps} gaps");
    Ok(())
}
