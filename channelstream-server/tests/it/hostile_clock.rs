//! A wall clock that steps while the server runs: deadlines pass and connections stay as usual.
//! Only timestamps change.
//!
//! The program gets its time from a shim in C before the system's library, which the command's
//! tests use too.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use channelstream_signer::{TimestampSigner, unix_now};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::app::{Frame, Request, Site, Socket, eventually, numbers};
use crate::process::Process;
use crate::whole::{HEADER, Whole};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// A server whose time of day can be changed.
struct Shifted {
    /// With the shim, and the file that it reads the shift from.
    folder: TempDir,
    _process: Process,
    site: Site,
    seconds: i64,
}

impl Shifted {
    fn start(flags: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../channelstream-cli/tests/it/clock.c");
        let (shim, shift) = (folder.path().join("clock.so"), folder.path().join("shift"));
        let output = Command::new("cc")
            .args(["-shared", "-fPIC", "-Wall", "-Werror", source, "-ldl", "-o"])
            .arg(&shim)
            .output()
            .expect("this test needs a C compiler");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::write(&shift, "0").unwrap();
        let environment = [("LD_PRELOAD", &shim), ("CLOCK_SHIFT_FILE", &shift)];
        let process =
            Process::start_in(flags, &environment.map(|(name, path)| (name, path.as_os_str())));
        let site = Site(process.address);
        Self { folder, _process: process, site, seconds: 0 }
    }

    /// Shifts the clock from the right time.
    fn shift(&mut self, seconds: i64) {
        // At once: the server never reads half of it.
        let aside = self.folder.path().join("next");
        fs::write(&aside, seconds.to_string()).unwrap();
        fs::rename(aside, self.folder.path().join("shift")).unwrap();
        self.seconds = seconds;
    }

    /// The server's time of day, in seconds since 1970.
    fn now(&self) -> u64 {
        unix_now().checked_add_signed(self.seconds).unwrap()
    }

    /// A successful request by a backend that has the server's time.
    fn call(&self, path: &str, body: &Value) -> Value {
        let signature = TimestampSigner::new("secret").sign_at("/tests", self.now());
        let request = Request::new("POST", path).header("x-channelstream-secret", &signature);
        self.site.send(&request.json(body)).ok()
    }

    fn connect(&self, user: &str, channel: &str) -> String {
        let answer = self.call("/connect", &json!({"username": user, "channels": [channel]}));
        answer["conn_id"].as_str().unwrap().to_owned()
    }

    fn publish(&self, channel: &str, text: &str) -> Value {
        let message = json!({"user": "bot", "channel": channel, "message": {"text": text}});
        self.call("/message", &json!([message]))[0]["timestamp"].take()
    }

    fn channel(&self, name: &str) -> Value {
        let info = json!({"info": {"channels": [name]}});
        self.call("/info", &info)["channels"][name].take()
    }
}

/// The presence that a member of the room receives.
struct Watcher {
    socket: Socket,
    heard: Vec<String>,
}

impl Watcher {
    /// Waits until an event was received, at any time.
    fn hears(&mut self, what: &str) {
        while !self.heard.iter().any(|heard| heard == what) {
            let event = self.socket.event();
            let (user, action) = (&event["user"], &event["message"]["action"]);
            let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            self.heard.push(format!("{} {}", word(user), word(action)));
        }
    }
}

/// Returns `true` if a time is these seconds after 1970, within ten minutes.
fn is_near(time: &Value, seconds: u64) -> bool {
    let told = channelstream_core::protocol::DateTime::parse(time.as_str().unwrap()).unwrap();
    let micros = told.instant().as_micros() - i64::try_from(seconds).unwrap() * 1_000_000;
    micros.abs() < 600_000_000
}

/// Asserts what holds whatever the clock did. `since` connected before.
fn life_goes_on(server: &Shifted, watcher: &mut Watcher, step: usize, before: &str) {
    let mut before = server.site.socket(before);
    let (leaver, lost) = (format!("leaver{step}"), format!("lost{step}"));

    let connection = server.connect(&leaver, "room");
    watcher.hears(&format!("{leaver} joined"));
    let mut socket = server.site.socket(&connection);
    let time = server.publish("room", "hello");
    assert!(is_near(&time, server.now()), "{time} at {}", server.now());
    while socket.event()["message"]["text"] != "hello" {}
    while before.event()["message"]["text"] != "hello" {}

    // This connection has no listener and expires.
    server.connect(&lost, "room");

    assert_eq!(server.call("/disconnect", &json!({"conn_id": connection})), json!(true));
    while socket.event_or_close().is_some() {}
    socket.close(1000);
    assert_eq!(socket.next(), Frame::End);
    watcher.hears(&format!("{leaver} parted"));
    let users = server.channel("room")["users"].to_string();
    assert!(!users.contains(&leaver) && users.contains("before"), "{users}");

    assert_eq!(server.channel("kept")["history"][0]["message"]["text"], "remember");
    let state = server.call("/user_state", &json!({"user": "remembered", "user_state": {}}));
    assert_eq!(state["user_state"]["key"], 1);
}

#[test]
fn a_clock_that_steps_holds_nobody_back_and_ends_nothing() {
    let mut server = Shifted::start(&["--gc-conns-after", "10"]);
    let settings = json!({"kept": {"store_history": true}, "room": {"notify_presence": true}});
    server.call("/channel_config", &settings);
    server.publish("kept", "remember");
    let state = json!({"username": "remembered", "user_state": {"key": 1}});
    let connection = server.call("/connect", &state)["conn_id"].take();
    server.call("/disconnect", &json!({"conn_id": connection}));
    let socket = server.site.socket(&server.connect("watcher", "room"));
    let mut watcher = Watcher { socket, heard: Vec::new() };

    for (step, seconds) in [0, -HOUR, HOUR, 4 * DAY, 0].into_iter().enumerate() {
        let before = server.connect(&format!("before{step}"), "room");
        server.shift(seconds);
        life_goes_on(&server, &mut watcher, step, &before);
    }
    for step in 0..5 {
        watcher.hears(&format!("lost{step} parted"));
    }
}

/// One moment of a wrong time, in which the server does something.
#[test]
fn four_days_ahead_for_a_moment_end_nothing() {
    let mut server = Shifted::start(&["--gc-conns-after", "10"]);
    server.call("/channel_config", &json!({"kept": {"store_history": true}}));
    server.publish("kept", "remember");
    let connection = server.connect("ann", "room");
    server.shift(4 * DAY);
    server.publish("room", "ahead");
    server.shift(0);
    let mut socket = server.site.socket(&connection);
    assert_eq!(socket.event()["message"]["text"], "ahead");
    let time = server.publish("room", "right again");
    assert!(is_near(&time, server.now()), "{time}");
    assert_eq!(socket.event()["message"]["text"], "right again");
    assert_eq!(server.channel("kept")["history"][0]["message"]["text"], "remember");
    assert_eq!(server.call("/disconnect", &json!({"conn_id": connection})), json!(true));
    while socket.event_or_close().is_some() {}
    eventually("ann is gone", || server.channel("room")["total_connections"] == 0);
}

/// While a process is stopped, clients cannot show activity. A suspended machine is the
/// same.
#[test]
fn a_process_that_stood_still_parts_nobody() {
    let process = Process::start(&["--gc-conns-after", "12"]);
    let site = Site(process.address);
    let connection = site.connect("ann", &["room"]);
    process.signal("STOP");
    thread::sleep(Duration::from_secs(13));
    process.signal("CONT");
    let mut socket = site.socket(&connection);
    site.publish("room", 1);
    assert_eq!(numbers(&[socket.event()]), [1]);
}

/// Signatures over requests follow the clock, and a clock that is set back revives none.
#[test]
fn signatures_follow_the_clock_and_stay_used() {
    let mut server = Shifted::start(&[]);
    let signed = |server: &Shifted| {
        Whole { time: server.now() + 1, ..Whole::new("GET", "/info", "") }.sign()
    };
    let status = |server: &Shifted, header: &str| {
        server.site.send(&Request::new("GET", "/info").header(HEADER, header)).status
    };
    let now = signed(&server);
    assert_eq!([(); 2].map(|()| status(&server, &now)), [200, 401]);
    server.shift(DAY);
    assert_eq!(status(&server, &now), 401, "expired");
    let tomorrow = signed(&server);
    assert_eq!([(); 2].map(|()| status(&server, &tomorrow)), [200, 401]);
    // The clock was wrong for a moment only: what is signed now counts, and what counted does not.
    server.shift(0);
    assert_eq!(status(&server, &now), 401, "remembered all the time");
    assert_eq!(status(&server, &signed(&server)), 200);
    // Earlier than the start of the server, nobody knows what counted.
    server.shift(-HOUR);
    assert_eq!(status(&server, &signed(&server)), 503);
    // The other scheme does not mind.
    server.connect("somebody", "room");
    server.shift(0);
    assert_eq!(status(&server, &signed(&server)), 200);
}
