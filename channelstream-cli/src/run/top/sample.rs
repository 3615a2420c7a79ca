//! What `top` requests from the server, and the rates between two answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use channelstream_client::{
    ChannelView, ChannelsInfo, Client, Error, InfoOptions, Metrics, Timestamp,
};
use channelstream_signer::unix_now;

use super::super::connections::shown;

/// One answer of the server.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) moment: Moment,
    pub(super) channels: Vec<Row>,
    /// The users that are in channels.
    pub(super) users: Vec<Row>,
}

/// The server's metrics at one moment.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    pub(super) totals: Totals,
    /// When the answers had arrived.
    pub(super) at: Instant,
    /// How long the server took to answer.
    pub(super) took: Duration,
}

/// A row of a table.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) name: Arc<str>,
    /// The numbers, by column.
    pub(super) numbers: [u64; 4],
    /// The state of a user.
    pub(super) note: String,
}

/// The server's metrics, as far as it reports them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) version: String,
    pub(super) uptime: Option<Duration>,
    pub(super) listeners: Option<u64>,
    pub(super) tcp_connections: Option<u64>,
    /// Bytes.
    pub(super) memory: Option<u64>,
    /// Events of all kinds since the start.
    pub(super) events: Option<u64>,
    /// Messages that were posted and had an address.
    pub(super) messages: Option<u64>,
    /// Deliveries of these messages, one for each addressed connection.
    pub(super) deliveries: Option<u64>,
}

/// Events per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rates {
    pub(super) events: Option<f64>,
    pub(super) messages: Option<f64>,
    pub(super) deliveries: Option<f64>,
}

/// Requests metrics and channels. `/admin/admin.json` has it all in one answer, but with all
/// histories: with 10,000 channels of 10 messages that is 35 MB and takes the server 25 times as long.
pub(super) async fn take(client: &Client) -> Result<Sample, Error> {
    let begun = Instant::now();
    let options = InfoOptions {
        include_history: false,
        include_history_length: true,
        return_public_state: true,
        ..InfoOptions::default()
    };
    let stats = client.metrics().await?;
    let info = client.info(options).await?;
    let at = Instant::now();
    let now = Duration::from_secs(unix_now());
    let (channels, users) = rows(&info, Timestamp::default().after(now));
    let moment = Moment { totals: Totals::of(&stats), at, took: at - begun };
    Ok(Sample { moment, channels, users })
}

/// Requests one channel with its history; `None` if it does not exist.
pub(super) async fn channel(client: &Client, name: &str) -> Result<Option<ChannelView>, Error> {
    let info = client.info(InfoOptions::default().channels([name])).await?;
    Ok(info.channels.into_values().next())
}

/// Returns channels with their users, connections, length of history and seconds since the last
/// activity, and users with the number of their channels.
fn rows(info: &ChannelsInfo, now: Timestamp) -> (Vec<Row>, Vec<Row>) {
    let mut memberships: HashMap<&str, u64> = HashMap::new();
    let channels = info.channels.values().map(|channel| {
        for user in &channel.users {
            *memberships.entry(user).or_default() += 1;
        }
        // Servers of older versions do not report it.
        let history = channel.history_length.unwrap_or_default() as u64;
        let idle = now.since(channel.last_active.instant());
        let numbers =
            [channel.total_users as u64, channel.total_connections as u64, history, idle.as_secs()];
        Row { name: Arc::clone(&channel.name), numbers, note: String::new() }
    });
    let channels = channels.collect();
    let users = info.users.iter().map(|user| Row {
        name: Arc::clone(&user.user),
        numbers: [memberships.get(&*user.user).copied().unwrap_or(0), 0, 0, 0],
        note: shown(&user.state),
    });
    (channels, users.collect())
}

impl Totals {
    fn of(stats: &Metrics) -> Self {
        let number = |name: &str| stats.number(name);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
        let count = |name: &str| number(name).map(|value| value as u64);
        Self {
            version: stats.version.clone(),
            uptime: number("uptime_seconds")
                .map(|seconds| Duration::from_secs_f64(seconds.max(0.0))),
            listeners: count("listeners"),
            tcp_connections: count("tcp_connections"),
            memory: count("process_resident_memory_bytes"),
            events: count("events_total"),
            messages: count("messages_posted_total"),
            deliveries: count("messages_delivered_total"),
        }
    }
}

impl Rates {
    /// Returns the rates from one moment to a later one. There are none after a restart of the server,
    /// which counts from zero again.
    pub(super) fn between(earlier: &Moment, later: &Moment) -> Self {
        let (before, after) = (&earlier.totals, &later.totals);
        let seconds = later.at.saturating_duration_since(earlier.at).as_secs_f64();
        let restarted = after.uptime < before.uptime;
        let rate = |before: Option<u64>, after: Option<u64>| {
            let count = after?.checked_sub(before?).filter(|_| !restarted && seconds > 0.0)?;
            Some(count as f64 / seconds)
        };
        Self {
            events: rate(before.events, after.events),
            messages: rate(before.messages, after.messages),
            deliveries: rate(before.deliveries, after.deliveries),
        }
    }
}

#[cfg(test)]
mod tests {

    use serde_json::{Value, json};

    use super::*;

    fn totals(metrics: &Value) -> Totals {
        let stats = json!({"version": "0.1.0", "metrics": metrics});
        Totals::of(&serde_json::from_value(stats).unwrap())
    }

    fn moment(metrics: &Value, at: Instant) -> Moment {
        Moment { totals: totals(metrics), at, took: Duration::ZERO }
    }

    #[test]
    fn metrics_are_taken_as_far_as_the_server_has_them() {
        let metrics = json!({
            "uptime_seconds": 75.5, "tcp_connections": 3, "listeners": 2, "events_total": 1000,
            "refusals_total": {"max_listeners": 1}, "process_resident_memory_bytes": 1_048_576,
        });
        let expected = Totals {
            version: "0.1.0".to_owned(),
            uptime: Some(Duration::from_millis(75_500)),
            listeners: Some(2),
            tcp_connections: Some(3),
            memory: Some(1 << 20),
            events: Some(1000),
            messages: None,
            deliveries: None,
        };
        assert_eq!(totals(&metrics), expected);
        let none = Totals { version: "0.1.0".to_owned(), ..Totals::default() };
        assert_eq!(totals(&json!({"events_total": "many"})), none);
    }

    #[test]
    fn rates_are_between_two_moments_of_one_run() {
        let begun = Instant::now();
        let at = |uptime: f64, events: u64, messages: u64| json!({"uptime_seconds": uptime, "events_total": events, "messages_posted_total": messages});
        let first = moment(&at(10.0, 100, 5), begun);
        let later = begun + Duration::from_secs(4);
        let second = moment(&at(14.0, 300, 5), later);
        let rates = Rates { events: Some(50.0), messages: Some(0.0), deliveries: None };
        assert_eq!(Rates::between(&first, &second), rates);
        assert_eq!(Rates::between(&first, &first), Rates::default(), "no time has passed");
        let restarted = moment(&at(2.0, 700, 9), later);
        assert_eq!(Rates::between(&first, &restarted), Rates::default());
    }
}
