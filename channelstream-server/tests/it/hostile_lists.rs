//! The largest lawful request of each endpoint, while another client asks something small. How long
//! that one is held up is printed; that it is answered, and what costs how much more with longer
//! lists, is tested here and in the core.

use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use channelstream_server::Config;

use crate::app::{App, Line, Request, Site, eventually};

const MANY: usize = 80_000;

/// The connections that the requests name.
const FIRST: &str = "00000000-0000-0000-0000-000000000001";
const SECOND: &str = "00000000-0000-0000-0000-000000000002";
const NOBODY: &str = "00000000-0000-0000-0000-000000000003";

fn list(count: usize, item: impl Fn(usize) -> String) -> String {
    let mut text = String::new();
    for number in 0..count {
        let comma = if number == 0 { "" } else { "," };
        write!(text, "{comma}{}", item(number)).unwrap();
    }
    text
}

fn channels() -> String {
    list(MANY, |number| format!("\"c{}\"", MANY - 1 - number))
}

/// Sends a request; the longest that another one had to wait meanwhile.
fn held_up(site: Site, request: Request) -> (usize, Duration) {
    let patience = Duration::from_secs(300);
    let small = Request::new("GET", &format!("/disconnect?conn_id={NOBODY}"));
    let large = thread::spawn(move || Line::open(site.0).patient(patience).send(&request));
    let mut line = Line::open(site.0).patient(patience);
    let mut longest = Duration::ZERO;
    loop {
        let is_last = large.is_finished();
        let begun = Instant::now();
        assert_eq!(line.send(&small).body, "false");
        longest = longest.max(begun.elapsed());
        if is_last {
            break;
        }
    }
    let answer = large.join().unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body.chars().take(500).collect::<String>());
    (answer.body.len(), longest)
}

#[test]
#[expect(clippy::print_stdout, reason = "how long others wait is measured, not asserted")]
fn others_are_served_beside_the_largest_requests() {
    let app = App::start(Config { gc_conns_after: Duration::from_secs(600), ..Config::default() });
    let message = |id: usize| format!(r#"{{"uuid":"{:032x}","channel":"c0"}}"#, id + 1);
    let keys = |value: u8| list(MANY / 2, |number| format!("\"k{number}\":{value}"));
    let public = list(MANY / 2, |number| format!("\"k{number}\""));
    let name = |id: &str, user: &str| format!(r#""conn_id":"{id}","username":"{user}""#);
    let stored = r#"{"c0":{"store_history":true,"history_size":1000000,"notify_state":true}}"#;
    for (what, method, path, body) in [
        (
            "settings",
            "POST",
            "/channel_config",
            format!("{{{}}}", list(MANY * 7 / 8, |number| format!("\"c{number}\":null"))),
        ),
        ("one channel keeps its history", "POST", "/channel_config", stored.to_owned()),
        (
            "connect",
            "POST",
            "/connect",
            format!(r#"{{{},"channels":[{}]}}"#, name(FIRST, "ann"), channels()),
        ),
        (
            "connect with public keys",
            "POST",
            "/connect",
            format!(
                r#"{{{},"channels":["c0"],"user_state":{{{}}},"state_public_keys":[{public}]}}"#,
                name(SECOND, "bob"),
                keys(1)
            ),
        ),
        (
            "subscribe",
            "POST",
            "/subscribe",
            format!(r#"{{"conn_id":"{SECOND}","channels":[{}]}}"#, channels()),
        ),
        (
            "unsubscribe",
            "POST",
            "/unsubscribe",
            format!(r#"{{"conn_id":"{SECOND}","channels":[{}]}}"#, channels()),
        ),
        (
            "user state",
            "POST",
            "/user_state",
            format!(r#"{{"user":"bob","user_state":{{{}}}}}"#, keys(2)),
        ),
        (
            "messages",
            "POST",
            "/message",
            format!("[{}]", list(MANY / 6, |id| format!(r#"{{"user":"u",{}"#, &message(id)[1..]))),
        ),
        (
            "a message for many users",
            "POST",
            "/message",
            format!(r#"[{{"user":"u","pm_users":[{}]}}]"#, list(MANY, |_| "\"ann\"".to_owned())),
        ),
        (
            "a message for all but some",
            "POST",
            "/message",
            format!(r#"[{{"user":"u","channel":"c0","exclude_users":[{}]}}]"#, channels()),
        ),
        ("edits", "PATCH", "/message", format!("[{}]", list(MANY / 5, message))),
        ("deletes", "DELETE", "/message", format!("[{}]", list(MANY / 5, message))),
        (
            "information without some",
            "POST",
            "/info",
            format!(r#"{{"info":{{"exclude_channels":[{}]}}}}"#, channels()),
        ),
        (
            "information of one over and over",
            "POST",
            "/info",
            format!(r#"{{"info":{{"channels":[{}]}}}}"#, list(MANY, |_| "\"c0\"".to_owned())),
        ),
        ("information of all", "POST", "/info", r#"{"info":{}}"#.to_owned()),
        (
            "the end of a connection in all",
            "POST",
            "/disconnect",
            format!(r#"{{"conn_id":"{FIRST}"}}"#),
        ),
    ] {
        assert!(body.len() < 1 << 20, "{what}: {}", body.len());
        let asked = body.len();
        let request = Request::new(method, path).signed().body(body);
        let (answered, longest) = held_up(app.site, request);
        println!("{what}: {asked} bytes, answered with {answered}: others waited {longest:.1?}");
    }
    eventually("it has ended", || app.channel("c1")["total_connections"] == 0);
}
