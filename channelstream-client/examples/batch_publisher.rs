//! A batch publisher: sends the lines of its input as messages, continues after failures, and
//! reports the outcome.
//!
//! Run it with `seq 100000 | cargo run -p channelstream-client --example batch_publisher -- news`.
//! `CHANNELSTREAM_URL` and `CHANNELSTREAM_SECRET` set the server's address and secret. Kill the server
//! meanwhile and restart it: messages that were not accepted are sent again, with the same ids, for up
//! to ten minutes.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example shows what it does")]

use std::env;
use std::error::Error;
use std::io::stdin;
use std::time::Duration;

use channelstream_client::{Client, NewMessage, PublishError, json};

/// The maximum number of failures in a row, one second apart.
const MAX_FAILURES: u32 = 600;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let setting = |name, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let channel = env::args().nth(1).unwrap_or_else(|| "news".to_owned());
    let client = Client::new(
        setting("CHANNELSTREAM_URL", "http://127.0.0.1:8000"),
        setting("CHANNELSTREAM_SECRET", "secret"),
    )?;

    // The input is read lazily: only the messages of one request are in memory. An error ends it.
    let mut lines = stdin().lines().map_while(Result::ok);
    let mut failed: Vec<NewMessage> = Vec::new();
    let (mut accepted, mut repeated, mut failures) = (0, 0, 0);
    loop {
        let fresh = lines
            .by_ref()
            .map(|line| NewMessage::to_channel("batch", channel.as_str(), json!({"text": line})))
            // A JSON object is always a valid payload.
            .filter_map(Result::ok);
        match client.publish_all(failed.drain(..).chain(fresh)).await {
            Ok(published) => {
                accepted += published.messages;
                break;
            }
            Err(error) => {
                accepted += error.published().messages;
                failures = if error.published().requests > 0 { 1 } else { failures + 1 };
                eprintln!("{error}");
                if !error.error().is_retryable() || failures > MAX_FAILURES {
                    report(accepted, repeated);
                    return Err(error.into());
                }
                repeated += doubtful(&error);
                failed = error.into_unpublished();
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
    report(accepted, repeated);
    Ok(())
}

/// Returns the number of messages that listeners may receive twice.
fn doubtful(error: &PublishError) -> usize {
    if error.is_in_doubt() { error.unpublished().len() } else { 0 }
}

fn report(accepted: u64, repeated: usize) {
    println!("{accepted} messages were accepted, of which {repeated} may have been sent twice");
}
