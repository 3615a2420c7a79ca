//! Cuts: a client is cut at hundreds of places of a stream, and with a cursor nothing is missing, doubled
//! or out of order.

use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::app::{Line, Request, Site};
use crate::client::Client;
use crate::process::Process;
use crate::wire::How;

const CHANNELS: &[&str] = &["news", "other"];

/// Every so many messages go to another place.
const OTHER: u64 = 7;
const PRIVATE: u64 = 10;

struct Size {
    messages: u64,
    cuts: u64,
    /// How often a client stays away until its connection has ended.
    absences: u64,
}

fn size() -> Size {
    match crate::is_full() {
        true => Size { messages: 10_000, cuts: 500, absences: 10 },
        false => Size { messages: 1000, cuts: 100, absences: 2 },
    }
}

/// Publishes the numbers in the one order, in three kinds of places.
fn publish(site: Site, size: &Size, users: &[&str]) {
    let mut line = Line::open(site.0);
    for number in 1..=size.messages {
        let mut message = json!({"user": "bot", "message": {"n": number}});
        if number % PRIVATE == 0 {
            message["pm_users"] = json!(users);
        } else {
            message["channel"] = json!(if number % OTHER == 0 { "other" } else { "news" });
        }
        assert_eq!(line.send(&Request::call("/message", &json!([message]))).status, 200);
        // So that there are cuts while events come, and not only in what was missed.
        thread::sleep(Duration::from_millis(1));
    }
}

fn listen(mut client: Client, size: &Size, absences: u64) {
    let between = usize::try_from(size.messages / size.cuts).unwrap();
    let (mut until_cut, mut cuts) = (client.dice.below(2 * between), 0);
    for number in 1..=size.messages {
        let heard = client.next();
        let event = &heard.event;
        assert_eq!(event["message"]["n"], number, "{event} after {:?}", client.trail);
        if until_cut > 0 {
            until_cut -= 1;
            continue;
        }
        until_cut = client.dice.below(2 * between);
        cuts += 1;
        if absences > 0 && cuts % (size.cuts / (absences + 1)) == 0 {
            client.stay_away();
        } else {
            client.cut();
        }
    }
    assert!(cuts >= size.cuts / 2, "{cuts} cuts");
    assert!(client.renewed as u64 >= absences, "{} new connections", client.renewed);
}

#[test]
fn nothing_is_missing_doubled_or_out_of_order() {
    let flags = [
        "--stored-frames=20000",
        "--stored-private-frames=20000",
        "--gc-conns-after=1",
        "--wake-connections-after=1",
    ];
    let process = Process::start(&flags);
    let site = Site(process.address);
    let size = &size();
    // A poll behind a line that is left open waits for the end of that line.
    let mixed = &[&How::ALL[..], &How::ALL[..3], &How::ALL[..3]].concat()[..];
    let clients = [
        ("ws", &[How::WebSocket][..], 0),
        ("sse", &[How::EventStream], 0),
        ("lines", &[How::Lines], 0),
        ("poll", &[How::Poll], 0),
        ("mixed", mixed, 0),
        ("renewed", mixed, size.absences),
    ];
    let users = clients.map(|(user, ..)| user);
    let seed = u64::from(std::process::id());
    thread::scope(|scope| {
        let begun: Vec<_> = clients
            .iter()
            .map(|(user, hows, _)| Client::begin(site, user, CHANNELS, hows, seed))
            .collect();
        for ((user, _, absences), client) in clients.into_iter().zip(begun) {
            let listening = move || listen(client, size, absences);
            thread::Builder::new().name(user.to_owned()).spawn_scoped(scope, listening).unwrap();
        }
        scope.spawn(move || publish(site, size, &users));
    });
}
