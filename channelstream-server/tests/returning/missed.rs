//! Missed messages: all come if they are stored, else one gap for each channel in its place.

use serde_json::{Value, json};

use crate::app::{Request, Site};
use crate::client::Client;
use crate::process::Process;
use crate::wire::How;

const CHANNELS: &[&str] = &["news", "other"];
const USERS: [&str; 4] = ["ws", "sse", "lines", "poll"];

/// What is stored by default.
const STORED: u64 = 100;
const STORED_PRIVATE: u64 = 50;

/// Posts messages of these numbers in one request.
fn post(site: Site, to: &Value, numbers: std::ops::RangeInclusive<u64>) {
    let message = |number| {
        let mut message = to.clone();
        (message["user"], message["message"]) = (json!("bot"), json!({"n": number}));
        message
    };
    let messages: Vec<Value> = numbers.map(message).collect();
    for some in messages.chunks(100) {
        assert_eq!(site.send(&Request::call("/message", &json!(some))).status, 200);
    }
}

fn miss(flags: &[&str], count: u64, is_stored: bool) {
    let process = Process::start(&[flags, &["--wake-connections-after=1"]].concat());
    let site = Site(process.address);
    let begin = |(user, how)| {
        let mut client = Client::begin(site, user, CHANNELS, &[how], 1);
        client.cut();
        client
    };
    let mut clients: Vec<Client> = USERS.into_iter().zip(How::ALL).map(begin).collect();
    post(site, &json!({"channel": "other"}), 1..=3);
    post(site, &json!({"channel": "news"}), 1..=count);
    post(site, &json!({"pm_users": USERS}), 1..=count);
    post(site, &json!({"channel": "other"}), 4..=4);
    let mut want: Vec<(Value, Value)> = (1..=3).map(|n| (json!("other"), json!(n))).collect();
    for (place, stored) in [(json!("news"), STORED), (Value::Null, STORED_PRIVATE)] {
        let first = if is_stored { 1 } else { count - stored + 1 };
        if !is_stored {
            want.push((place.clone(), json!("evicted")));
        }
        want.extend((first..=count).map(|number| (place.clone(), json!(number))));
    }
    want.push((json!("other"), json!(4)));
    for (user, client) in USERS.into_iter().zip(&mut clients) {
        for (place, what) in &want {
            let event = client.next().event;
            let (kind, said) = match event["type"].as_str().unwrap() {
                "gap" => ("gap", &event["reason"]),
                kind => (kind, &event["message"]["n"]),
            };
            assert_eq!((&event["channel"], said), (place, what), "{user}, {kind}: {event}");
            assert!(kind == "gap" || event["catchup"] == true, "{event}");
        }
    }
    // Then they live.
    post(site, &json!({"channel": "news"}), 0..=0);
    for (user, client) in USERS.into_iter().zip(&mut clients) {
        assert_eq!(client.next().event["message"]["n"], 0, "for {user}");
    }
}

#[test]
fn what_is_stored_comes() {
    let flags = ["--stored-frames=2000", "--stored-private-frames=2000"];
    miss(&flags, 150, true);
    miss(&flags, 1500, true);
}

#[test]
fn of_more_than_is_stored_one_gap_is_told_for_each_channel() {
    miss(&[], 150, false);
    miss(&[], 1500, false);
}
