//! What `top` asks of the server, and the rates between two answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use channelstream_client::{ChannelView, ChannelsInfo, Client, Error, InfoOptions, Timestamp};
use channelstream_signer::unix_now;

use super::super::connections::shown;

/// What the server told.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) moment: Moment,
    pub(super) channels: Vec<Row>,
    /// Those who are in channels.
    pub(super) users: Vec<Row>,
}

/// The figures at one moment.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    pub(super) totals: Totals,
    /// When the answers were there.
    pub(super) at: Instant,
    /// How long the server took for them.
    pub(super) took: Duration,
}

/// A line of a table.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) name: Arc<str>,
    /// By column.
    pub(super) numbers: [u64; 4],
    /// The state of a user.
    pub(super) note: String,
}

/// The server's figures, as far as it tells them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) version: String,
    pub(super) uptime: Option<Duration>,
    pub(super) listeners: Option<u64>,
    pub(super) lines: Option<u64>,
    /// Bytes.
    pub(super) memory: Option<u64>,
    /// So many events there were, of all kinds.
    pub(super) frames: Option<u64>,
    /// Messages that were posted, and how often one was for somebody.
    pub(super) messages: Option<u64>,
    pub(super) deliveries: Option<u64>,
}

/// How much there was in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rates {
    pub(super) frames: Option<f64>,
    pub(super) messages: Option<f64>,
    pub(super) deliveries: Option<f64>,
}

/// Asks the server. The figures of the admin area have it all in one answer, but with all
/// histories: at 10,000 channels of 10 messages it is 35 MB and takes the server 25 times as long
/// as what is asked here.
pub(super) async fn take(client: &Client) -> Result<Sample, Error> {
    let begun = Instant::now();
    let options = InfoOptions {
        include_history: false,
        include_history_length: true,
        return_public_state: true,
        ..InfoOptions::default()
    };
    let text = client.debug_text().await?;
    let info = client.info(options).await?;
    let at = Instant::now();
    let now = Duration::from_secs(unix_now());
    let (channels, users) = rows(&info, Timestamp::default().after(now));
    let moment = Moment { totals: Totals::read(&text), at, took: at - begun };
    Ok(Sample { moment, channels, users })
}

/// Asks about one channel, with its history; there may be none of this name.
pub(super) async fn channel(client: &Client, name: &str) -> Result<Option<ChannelView>, Error> {
    let info = client.info(InfoOptions::default().channels([name])).await?;
    Ok(info.channels.into_values().next())
}

/// Channels with users, connections, length of history and seconds since they were active; users
/// with the number of their channels.
fn rows(info: &ChannelsInfo, now: Timestamp) -> (Vec<Row>, Vec<Row>) {
    let mut memberships: HashMap<&str, u64> = HashMap::new();
    let channels = info.channels.values().map(|channel| {
        for user in &channel.users {
            *memberships.entry(user).or_default() += 1;
        }
        // Servers of older versions tell none.
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
    /// Reads lines of the form `name: value`; those that are not known are passed over.
    fn read(text: &str) -> Self {
        let mut lines = text.lines();
        let mut totals = Self::default();
        if let Some(version) = lines.next().and_then(|line| line.strip_prefix("channelstream ")) {
            version.clone_into(&mut totals.version);
        }
        for line in lines {
            let Some((name, value)) = line.split_once(": ") else { continue };
            let number = value.split(' ').next().and_then(|number| number.parse::<u64>().ok());
            match name {
                "uptime" => totals.uptime = number.map(Duration::from_secs),
                "listeners" => totals.listeners = number,
                "lines" => totals.lines = number,
                "memory" => totals.memory = number,
                "frames" => totals.frames = number,
                "messages" => totals.messages = number,
                "deliveries" => totals.deliveries = number,
                _ => {}
            }
        }
        totals
    }
}

impl Rates {
    /// From one moment to a later one. After a restart the server counts from zero: then there is
    /// no rate.
    pub(super) fn between(earlier: &Moment, later: &Moment) -> Self {
        let (before, after) = (&earlier.totals, &later.totals);
        let seconds = later.at.saturating_duration_since(earlier.at).as_secs_f64();
        let restarted = after.uptime < before.uptime;
        let rate = |before: Option<u64>, after: Option<u64>| {
            let count = after?.checked_sub(before?).filter(|_| !restarted && seconds > 0.0)?;
            Some(count as f64 / seconds)
        };
        Self {
            frames: rate(before.frames, after.frames),
            messages: rate(before.messages, after.messages),
            deliveries: rate(before.deliveries, after.deliveries),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str, at: Instant) -> Moment {
        Moment { totals: Totals::read(text), at, took: Duration::ZERO }
    }

    #[test]
    fn figures_are_read_as_far_as_they_are_told() {
        let text = "channelstream 0.1.0\nuptime: 75 s\ntasks: 5\nlines: 3\nlisteners: 2\n\
                    frames: 1000\nnext expiry: 7.5s from now\nodd\n";
        let expected = Totals {
            version: "0.1.0".to_owned(),
            uptime: Some(Duration::from_secs(75)),
            listeners: Some(2),
            lines: Some(3),
            frames: Some(1000),
            ..Totals::default()
        };
        assert_eq!(Totals::read(text), expected);
        let text = "channelstream 2\nmemory: 1048576\nmessages: 7\ndeliveries: 70\nframes: many";
        let totals = Totals::read(text);
        assert_eq!((totals.memory, totals.messages), (Some(1 << 20), Some(7)));
        assert_eq!((totals.deliveries, totals.frames), (Some(70), None));
        assert_eq!(Totals::read(""), Totals::default());
    }

    #[test]
    fn rates_are_between_two_moments_of_one_run() {
        let begun = Instant::now();
        let first = moment("c\nuptime: 10 s\nframes: 100\nmessages: 5", begun);
        let later = begun + Duration::from_secs(4);
        let second = moment("c\nuptime: 14 s\nframes: 300\nmessages: 5\ndeliveries: 3", later);
        let rates = Rates { frames: Some(50.0), messages: Some(0.0), deliveries: None };
        assert_eq!(Rates::between(&first, &second), rates);
        assert_eq!(Rates::between(&first, &first), Rates::default(), "no time has passed");
        let restarted = moment("c\nuptime: 2 s\nframes: 700\nmessages: 9", later);
        assert_eq!(Rates::between(&first, &restarted), Rates::default());
    }
}
