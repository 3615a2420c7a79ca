//! The sender of the benchmark: messages at a rate, each with its number and time of sending.

use std::sync::atomic::Ordering;
use std::time::Duration;

use channelstream_client::{NewMessage, json};
use serde::Deserialize;
use tokio::time::{Instant, sleep_until};

use super::{Plan, USER};
use crate::failure::Failure;

/// The largest request in bytes of text, well below the server's limit.
const MAX_REQUEST: usize = 256 * 1024;
/// The largest number of messages in a request.
const MAX_BATCH: usize = 500;

/// The payload of a message.
#[derive(Debug, Deserialize)]
pub(super) struct Payload {
    pub(super) number: u64,
    /// The time of sending, in microseconds.
    pub(super) sent: u64,
}

/// Sends the messages when they are due, and returns how many were sent. Requests are sequential to
/// keep the order. When the server is too slow for the rate, the latency of a late message counts
/// from when it was due, and messages that are not sent within the duration are skipped.
pub(super) async fn send(plan: &Plan) -> Result<u64, Failure> {
    let started = Instant::now();
    let due = |number: u64| started + duration(number, plan.rate);
    let end = due(plan.messages);
    let text = "x".repeat(plan.size);
    let batch = (MAX_REQUEST / (plan.size + 100)).clamp(1, MAX_BATCH);
    let mut number = 0;
    while number < plan.messages {
        let mut now = Instant::now();
        if now > end {
            break;
        }
        let is_late = due(number) <= now;
        if !is_late {
            sleep_until(due(number)).await;
            now = Instant::now();
        }
        let mut messages = Vec::new();
        while number < plan.messages && due(number) <= now && messages.len() < batch {
            let sent = if is_late { due(number) } else { now };
            let payload = json!({ "number": number, "sent": plan.micros(sent), "text": text });
            let message = NewMessage::to_channel(USER, &plan.channel, payload);
            messages.push(message.map_err(anyhow::Error::new)?);
            number += 1;
        }
        let published = plan.client.publish(messages).await;
        published.map_err(|error| Failure::of_client(error, &plan.origin))?;
        plan.progress.sent.store(number, Ordering::Relaxed);
    }
    Ok(number)
}

/// Returns how long this many messages take at a rate.
fn duration(messages: u64, rate: u32) -> Duration {
    let rate = u64::from(rate);
    let (seconds, rest) = (messages / rate, messages % rate);
    Duration::from_secs(seconds) + Duration::from_micros(rest * 1_000_000 / rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_spread_over_the_time() {
        assert_eq!(duration(0, 7), Duration::ZERO);
        assert_eq!(duration(1, 3), Duration::from_micros(333_333));
        assert_eq!(duration(3, 3), Duration::from_secs(1));
        assert_eq!(duration(10_000_000, 4), Duration::from_secs(2_500_000));
    }
}
