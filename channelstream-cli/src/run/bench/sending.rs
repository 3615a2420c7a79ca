//! Messages at a rate, each with its number and the time at which it was sent.

use std::sync::atomic::Ordering;
use std::time::Duration;

use channelstream_client::{NewMessage, json};
use serde::Deserialize;
use tokio::time::{Instant, sleep_until};

use super::{Plan, USER};
use crate::failure::Failure;

/// Bytes of text in one request: well below what the server takes.
const BATCH: usize = 256 * 1024;
/// Messages in one request.
const MOST: usize = 500;

/// What a message says.
#[derive(Debug, Deserialize)]
pub(super) struct Said {
    pub(super) number: u64,
    /// When, in microseconds.
    pub(super) sent: u64,
}

/// Sends what is due, one request after the other, since order counts; how many were sent. When the
/// server is too slow for the rate, those that are late count from when they were due, and those
/// that are not sent in time are left out.
pub(super) async fn send(plan: &Plan) -> Result<u64, Failure> {
    let begun = Instant::now();
    let due = |number: u64| begun + part(number, plan.rate);
    let end = due(plan.messages);
    let text = "x".repeat(plan.size);
    let batch = (BATCH / (plan.size + 100)).clamp(1, MOST);
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
            let said = json!({ "number": number, "sent": plan.micros(sent), "text": text });
            messages.push(NewMessage::to_channel(USER, &plan.channel, said));
            number += 1;
        }
        let published = plan.client.publish(&messages).await;
        published.map_err(|error| Failure::of_client(error, &plan.origin))?;
        plan.progress.sent.store(number, Ordering::Relaxed);
    }
    Ok(number)
}

/// How long so many messages take at a rate.
fn part(messages: u64, rate: u32) -> Duration {
    let rate = u64::from(rate);
    let (seconds, rest) = (messages / rate, messages % rate);
    Duration::from_secs(seconds) + Duration::from_micros(rest * 1_000_000 / rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_spread_over_the_time() {
        assert_eq!(part(0, 7), Duration::ZERO);
        assert_eq!(part(1, 3), Duration::from_micros(333_333));
        assert_eq!(part(3, 3), Duration::from_secs(1));
        assert_eq!(part(10_000_000, 4), Duration::from_secs(2_500_000));
    }
}
