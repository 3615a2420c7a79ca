//! A batch publisher: sends the lines of its input as messages, goes on after failures, and
//! accounts for each.
//!
//! `seq 100000 | cargo run -p channelstream-client --example batch_publisher -- news`. The
//! server's address and secret may stand in `CHANNELSTREAM_URL` and `CHANNELSTREAM_SECRET`.
//! Kill the server meanwhile and start it again: what was not taken is sent again, with the ids
//! it had, as long as it takes.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example shows what it does")]

use std::env;
use std::error::Error;
use std::io::stdin;
use std::time::Duration;

use channelstream_client::{Client, NewMessage, PublishError, json};

/// How long the server may be away.
const PATIENCE: u32 = 600;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let setting = |name, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let channel = env::args().nth(1).unwrap_or_else(|| "news".to_owned());
    let client = Client::new(
        setting("CHANNELSTREAM_URL", "http://127.0.0.1:8000"),
        setting("CHANNELSTREAM_SECRET", "secret"),
    )?;

    // Lazily: only the messages of one request are in memory. What can't be read ends the input.
    let mut lines = stdin().lines().map_while(Result::ok);
    let mut failed: Vec<NewMessage> = Vec::new();
    let (mut taken, mut repeated, mut failures) = (0, 0, 0);
    loop {
        let fresh = lines
            .by_ref()
            .map(|line| NewMessage::to_channel("batch", channel.as_str(), json!({"text": line})))
            // A JSON object always is a payload.
            .filter_map(Result::ok);
        match client.publish_all(failed.drain(..).chain(fresh)).await {
            Ok(published) => {
                taken += published.messages;
                break;
            }
            Err(error) => {
                taken += error.published().messages;
                failures = if error.published().requests > 0 { 1 } else { failures + 1 };
                eprintln!("{error}");
                if !error.error().is_retryable() || failures > PATIENCE {
                    report(taken, repeated);
                    return Err(error.into());
                }
                repeated += doubtful(&error);
                failed = error.into_unpublished();
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
    report(taken, repeated);
    Ok(())
}

/// How many messages will perhaps be heard twice.
fn doubtful(error: &PublishError) -> usize {
    if error.is_in_doubt() { error.unpublished().len() } else { 0 }
}

fn report(taken: u64, repeated: usize) {
    println!("{taken} messages were taken; of these {repeated} were sent again after doubt");
}
