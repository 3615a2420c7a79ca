//! The admin page's websocket and actions: permissions, updates and refusals (not in the contract).

use std::net::TcpStream;
use std::time::{Duration, Instant};

use channelstream_server::Config;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};
use tungstenite::client::IntoClientRequest as _;

use crate::app::{Answer, App, Line, PATIENCE, Request, Site, eventually, numbered};

/// The cookie of a sign-in.
fn cookie(site: &Site) -> String {
    let form = "username=admin&password=admin_secret";
    let answer = site.send(&Request::new("POST", "/admin/sign_in").body(form));
    answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

/// An admin page's socket.
pub(crate) struct Page(WebSocket<TcpStream>);

impl Page {
    pub(crate) fn open(site: &Site) -> Self {
        Self::open_with(site, &cookie(site)).unwrap()
    }

    fn open_with(site: &Site, cookie: &str) -> Result<Self, tungstenite::Error> {
        let stream = TcpStream::connect(site.0)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut request = format!("ws://{}/admin/ws", site.0).into_client_request()?;
        let headers = request.headers_mut();
        headers.insert("cookie", cookie.parse().unwrap());
        headers.insert("origin", format!("http://{}", site.0).parse().unwrap());
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(tungstenite::HandshakeError::Failure(error)) => Err(error),
            Err(other) => panic!("{other}"),
        }
    }

    pub(crate) fn say(&mut self, what: &Value) {
        self.0.send(Message::text(what.to_string())).unwrap();
    }

    /// The next update.
    fn next(&mut self) -> Value {
        loop {
            match self.0.read().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next part of this name that meets the condition.
    pub(crate) fn part(&mut self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        let mut last = Value::Null;
        while begun.elapsed() < PATIENCE {
            let told = self.next();
            if let Some(part) = told.get(name) {
                if wanted(part) {
                    return part.clone();
                }
                last = part.clone();
            }
        }
        panic!("no {name} as wanted, last: {last}");
    }

    /// The code and the reason with which the server closes.
    fn closed(&mut self) -> (u16, String) {
        loop {
            match self.0.read() {
                Ok(Message::Close(Some(frame))) => {
                    return (frame.code.into(), frame.reason.to_string());
                }
                Ok(Message::Text(_) | Message::Ping(_)) => {}
                other => panic!("a close frame was to come, not {other:?}"),
            }
        }
    }
}

/// A handshake with these headers more.
fn handshake(site: &Site, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::new("GET", "/admin/ws")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    site.send(&request)
}

#[test]
fn only_pages_of_this_server_watch_and_only_for_who_is_signed_in() {
    let app = App::start(Config::default());
    let cookie = cookie(&app);
    let own = ("origin", "http://localhost");
    let signed_in = ("cookie", &*cookie);
    let refused = |headers: &[(&str, &str)], status, why: &str| {
        let answer = handshake(&app, headers);
        assert_eq!(answer.status, status, "{headers:?}: {answer:?}");
        assert!(answer.body.contains(why), "{headers:?}: {answer:?}");
    };
    refused(&[own], 403, "sign in first");
    refused(&[own, ("cookie", "auth_tkt=forged")], 403, "sign in first");
    let signature = crate::app::signature();
    refused(&[own, ("x-channelstream-secret", &signature)], 403, "sign in first");
    refused(&[signed_in], 403, "only a page of this server");
    for foreign in
        ["http://evil.test", "http://localhost.evil.test", "https://localhost:81", "null"]
    {
        refused(&[signed_in, ("origin", foreign)], 403, "only a page of this server");
    }
    refused(&[signed_in, own, ("sec-fetch-site", "same-site")], 403, "only a page of this server");
    assert_eq!(handshake(&app, &[signed_in, own]).status, 101);
    assert_eq!(handshake(&app, &[signed_in, own, ("sec-fetch-site", "same-origin")]).status, 101);
    let plain = Request::new("GET", "/admin/ws").header(signed_in.0, signed_in.1);
    let answer = app.send(&plain.header(own.0, own.1));
    assert!((400..500).contains(&answer.status), "no handshake at all: {answer:?}");
}

#[test]
fn the_overview_counts_what_is_done() {
    let app = App::start(Config::default());
    let mut page = Page::open(&app);
    let first = page.part("overview", |_| true);
    assert_eq!(first["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&first["channels"], &first["users"]), (&json!(0), &json!(0)));
    for (name, holds) in
        [("node", Value::is_string as fn(&Value) -> bool), ("now", Value::is_string)]
    {
        assert!(holds(&first[name]), "{name}: {first}");
    }
    let alice = app.connect("alice", &["room"]);
    app.connect("bob", &["room"]);
    let socket = app.socket(&alice);
    app.publish("room", 1);
    let seen = page.part("overview", |seen| seen["delivered"] == 2 && seen["listeners"] == 1);
    for (name, count) in
        [("posted", 1), ("users", 2), ("users_connected", 2), ("connections", 2), ("channels", 1)]
    {
        assert_eq!(seen[name], count, "{name}: {seen}");
    }
    assert!(seen["uptime"].as_f64() > first["uptime"].as_f64());
    assert_eq!(seen["node"], first["node"]);
    #[cfg(target_os = "linux")]
    assert!(seen["memory"].as_u64() > Some(100_000) && seen["cpu"].is_f64(), "{seen}");
    drop(socket);
    page.part("overview", |seen| seen["listeners"] == 0);
}

#[test]
fn lists_come_in_windows_and_again_when_they_change() {
    let app = App::start(Config::default());
    for number in 0..30 {
        let channel = format!("room-{number:02}");
        app.connect(&format!("user-{}", number % 3), &[&channel, "all"]);
    }
    let mut page = Page::open(&app);
    let window = json!({"search": "ROOM", "offset": 10, "limit": 5});
    page.say(&json!({"channels": window}));
    let list = page.part("channels", |_| true);
    let names: Vec<_> = list["rows"].as_array().unwrap().iter().map(|row| &row["name"]).collect();
    assert_eq!(names, ["room-10", "room-11", "room-12", "room-13", "room-14"]);
    assert_eq!((&list["total"], &list["found"]), (&json!(31), &json!(30)));
    assert_eq!((&list["search"], &list["order"]), (&json!("ROOM"), &json!("name")));
    page.say(&json!({"channels": {"order": "connections", "limit": 1}}));
    let most = page.part("channels", |list| list["order"] == "connections");
    assert_eq!((&most["rows"][0]["name"], &most["rows"][0]["users"]), (&json!("all"), &json!(3)));

    page.say(&json!({"users": {"window": {"limit": 10}, "connected": true}, "user": "user-1"}));
    let users = page.part("users", |_| true);
    assert_eq!(users["rows"][0], json!({"name": "user-0", "connections": 10}));
    // Only parts that have changed are sent again.
    let next = page.next();
    assert!(next.get("users").is_none() && next.get("channels").is_none(), "{next}");
    app.connect("user-0", &[]);
    page.part("users", |users| users["rows"][0]["connections"] == 11);
}

#[test]
fn one_channel_with_members_history_and_what_happens() {
    let app = App::start(Config::default());
    let mut page = Page::open(&app);
    page.say(&json!({"channel": {"name": "room"}}));
    assert_eq!(page.part("channel", |_| true), json!({"name": "room", "facts": null}));
    app.configure("room", &json!({"store_history": true, "notify_presence": true}));
    app.connect("alice", &["room"]);
    app.connect("bob", &["room"]);
    let facts = page.part("channel", |part| part["facts"]["users"] == 2);
    assert_eq!(facts["facts"]["settings"]["store_history"], true);
    page.say(&json!({"channel": {"name": "room", "members": {"limit": 10}}}));
    let members = page.part("members", |part| part["found"] == 2);
    assert_eq!(members["rows"][1], json!({"name": "bob", "connections": 1}));
    page.say(&json!({"channel": {"name": "room", "events": true}}));
    app.publish("room", 7);
    let events = page.part("events", |part| {
        part["events"].as_array().unwrap().iter().any(|one| one["line"] == r#"{"n":7}"#)
    });
    assert_eq!(events["channel"], "room");
    // Each event comes once.
    app.publish("room", 8);
    let more = page.part("events", |_| true);
    let numbers: Vec<_> =
        more["events"].as_array().unwrap().iter().map(|one| &one["line"]).collect();
    assert_eq!(
        (numbers, &more["begins"], &more["gap"]),
        (vec![&json!(r#"{"n":8}"#)], &json!(false), &json!(false))
    );
    page.say(&json!({"channel": {"name": "room", "history": true}}));
    let history = page.part("history", |part| part["messages"].as_array().unwrap().len() == 2);
    assert_eq!(history["messages"][0]["message"], json!({"text": r#"{"n":8}"#}), "newest first");
}

#[test]
fn messages_travel_as_the_text_that_is_stored() {
    // As JavaScript's numbers and objects, all of it would be altered.
    let stored = r#"{"id": 9007199254740993, "big": 123456789012345678901234567890, "e": 1E400,
        "z": 1.0, "a": 0.10, "z": -0, "text": "typ\u006f"}"#;
    let app = App::start(Config::default());
    app.configure("room", &json!({"store_history": true}));
    let body = format!(r#"[{{"user": "x", "channel": "room", "message": {stored}}}]"#);
    let post = Request::new("POST", "/message").signed().header("content-type", "application/json");
    assert_eq!(app.send(&post.body(body)).status, 200);
    let mut page = Page::open(&app);
    page.say(&json!({"channel": {"name": "room", "history": true, "events": true}}));
    let history = page.part("history", |_| true);
    assert_eq!(history["messages"][0]["message"], json!({"text": stored}));
    let mut page = Page::open(&app);
    page.say(&json!({"channel": {"name": "room", "events": true}}));
    let events = page.part("events", |_| true);
    assert!(events["events"][0]["event"]["text"].as_str().unwrap().contains(stored), "{events}");
}

#[test]
fn events_say_when_they_happened() {
    let app = App::start(Config::default());
    app.configure("room", &json!({"notify_presence": true, "store_history": true}));
    app.connect("alice", &["room"]);
    let sent = "2024-05-06T07:08:09.250000";
    app.call(
        "/message",
        &json!([{"user": "x", "channel": "room", "timestamp": sent, "message": {"n": 1}}]),
    );
    let one = json!([{"user": "x", "channel": "room", "message": {"n": 2}}]);
    let uuid = app.call("/message", &one)[0]["uuid"].take();
    let edit = Request::new("PATCH", "/message").signed();
    app.send(&edit.json(&json!([{"uuid": uuid, "channel": "room", "message": {"n": 2}}]))).ok();
    let long = json!([{"user": "x", "channel": "room", "message": {"text": "x".repeat(100_000)}}]);
    app.call("/message", &long);
    let delete = Request::new("DELETE", "/message").signed();
    app.send(&delete.json(&json!([{"uuid": uuid, "channel": "room"}]))).ok();
    let mut page = Page::open(&app);
    page.say(&json!({"channel": {"name": "room", "events": true}}));
    let events = page.part("events", |_| true);
    let events = events["events"].as_array().unwrap();
    let heads: Vec<_> = events
        .iter()
        .map(|event| (event["kind"].as_str().unwrap(), event["at"].as_str(), &event["user"]))
        .collect();
    let kinds: Vec<_> = heads.iter().map(|(kind, _, _)| *kind).collect();
    assert_eq!(kinds, ["presence", "message", "message:edit", "message", "message:delete"]);
    assert!(heads[0].1.is_some() && heads[0].2 == "alice", "{heads:?}");
    assert!(heads[1].1.unwrap().starts_with("2024-05-06T07:08:09.25"), "{heads:?}");
    assert!(heads[2].1.is_some() && heads[2].1 > heads[1].1, "when it was edited: {heads:?}");
    assert_eq!(heads[4].1, None, "of deletes no time is kept");
    // An event that is too long to be shown still has its kind, time and sender.
    assert!(events[3]["event"]["bytes"].as_u64() > Some(100_000), "{}", events[3]["event"]);
    assert!(heads[3].1.is_some() && heads[3].2 == "x", "{heads:?}");
    assert!(events.iter().all(|event| event["line"].as_str().unwrap().len() <= 300));
}

#[test]
fn a_page_that_opens_is_told_of_the_minutes_before() {
    let app = App::start(Config::default());
    app.connect("alice", &["room"]);
    app.publish("room", 1);
    let mut samples = Vec::new();
    // Samples are taken without pages: each time a page opens there are more.
    eventually("three samples, one with the message", || {
        let past = Page::open(&app).part("past", |_| true);
        samples = past.as_array().unwrap().clone();
        samples.len() >= 3 && samples.last().unwrap()["delivered"] == 1
    });
    let times: Vec<_> = samples.iter().map(|sample| sample["uptime"].as_f64().unwrap()).collect();
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] > 0.5), "one a second: {times:?}");
    for name in ["listeners", "posted", "delivered", "ended_slow", "ended_silent"] {
        assert!(samples[0][name].is_u64(), "{name}: {}", samples[0]);
    }
    // The samples are sent once, before the present stats.
    let mut page = Page::open(&app);
    let first = page.next();
    assert!(first.get("past").is_some() && first.get("overview").is_some(), "{first}");
    assert!(page.next().get("past").is_none());
}

#[test]
fn long_messages_are_cut_and_hostile_names_stay_text() {
    let app = App::start(Config::default());
    app.configure("room", &json!({"store_history": true}));
    let long = json!([{"user": "\"}<script>\u{2028}", "channel": "room", "pm_users": vec!["x"; 500],
        "message": {"text": "é".repeat(100_000)}}]);
    app.call("/message", &long);
    let mut page = Page::open(&app);
    page.say(&json!({"channel": {"name": "room", "history": true, "events": true}}));
    let part = page.part("history", |_| true);
    let message = &part["messages"][0];
    assert_eq!(message["user"], "\"}<script>\u{2028}");
    assert_eq!(message["total_pm_users"], 500);
    assert!(message["pm_users"].as_array().unwrap().len() <= 20);
    assert!(message["message"]["bytes"].as_u64() > Some(200_000), "{message}");
    assert!(part.to_string().len() < 20_000, "{} bytes", part.to_string().len());
}

#[test]
fn a_user_with_state_and_connections() {
    let app = App::start(Config::default());
    let state = json!({"username": "alice", "channels": ["room", "side"],
        "user_state": {"seen": 1, "hidden": 2}, "state_public_keys": ["seen"]});
    let id = app.call("/connect", &state)["conn_id"].take();
    let _socket = app.socket(id.as_str().unwrap());
    let mut page = Page::open(&app);
    page.say(&json!({"user": "alice"}));
    let user = page.part("user", |part| part["facts"]["connections"][0]["listener"] == "socket");
    assert_eq!(user["state"], json!({"text": r#"{"hidden":2,"seen":1}"#}));
    assert_eq!(user["facts"]["public_keys"], json!(["seen"]));
    assert_eq!(user["facts"]["connections"][0]["channels"], json!(["room", "side"]));
    assert_eq!(user["facts"]["connections"][0]["id"], id);
    page.say(&json!({"user": "nobody"}));
    let nobody = page.part("user", |part| part["name"] == "nobody");
    assert!(nobody["facts"].is_null(), "{nobody}");
}

#[test]
fn who_reads_slowly_is_told_of_and_counted_when_dropped() {
    let app = App::start(Config { outbox_bytes: 8 << 20, ..Config::default() });
    let slow = app.connect("slow", &["room"]);
    let _unread = app.socket(&slow);
    let mut page = Page::open(&app);
    page.say(&json!({"slow": true}));
    assert_eq!(page.part("slow", |_| true), json!({"total": 0, "rows": []}));
    let body = json!([{"user": "x", "channel": "room", "message": {"text": "x".repeat(900_000)}}]);
    for _ in 0..8 {
        app.call("/message", &body);
    }
    let behind = page.part("slow", |part| part["total"] == 1);
    let row = &behind["rows"][0];
    assert_eq!((&row["user"], &row["connection"]), (&json!("slow"), &json!(slow)));
    assert!(row["bytes"].as_u64() > Some(500_000) && row["kind"] == "socket", "{row}");
    for _ in 0..20 {
        app.call("/message", &body);
    }
    page.part("overview", |seen| seen["ended_slow"] == 1);
}

#[test]
fn what_is_not_understood_is_answered_and_what_is_too_long_ends_the_page() {
    let app = App::start(Config::default());
    let mut page = Page::open(&app);
    for (asked, why) in [
        (json!({"everything": true}), "unknown field `everything`"),
        (json!({"channels": {"limit": 100_000}}), "at most 200 rows"),
        (json!({"channels": {"limit": 1, "order": "luck"}}), "unknown variant"),
        (json!([]), "is an object"),
        (json!({"channel": {"name": null}}), "invalid type"),
    ] {
        page.say(&asked);
        let error = page.part("error", |_| true);
        assert!(error.as_str().unwrap().contains(why), "{asked}: {error}");
    }
    page.0.send(Message::text("no JSON")).unwrap();
    page.part("error", |_| true);
    page.0.send(Message::text("[".repeat(4000))).unwrap();
    page.part("error", |_| true);
    page.0.send(Message::binary(vec![0; 100])).unwrap();
    page.part("error", |_| true);
    // The subscription of before still applies.
    page.say(&json!({"slow": true}));
    page.part("slow", |_| true);
    page.0.send(Message::text("x".repeat(4097))).unwrap();
    assert_eq!(page.closed().0, 1009);

    let mut page = Page::open(&app);
    for number in 0..2000 {
        page.say(&json!({"channels": {"search": number.to_string(), "limit": 200}}));
    }
    page.part("channels", |list| list["search"] == "1999");
}

#[test]
fn there_are_not_more_pages_than_allowed_and_places_come_back() {
    let app = App::start(Config::default());
    let cookie = cookie(&app);
    let mut pages: Vec<_> = (0..16).map(|_| Page::open_with(&app, &cookie).unwrap()).collect();
    let own = format!("http://{}", app.0);
    let host = app.0.to_string();
    let one_more = || {
        let headers = [("cookie", &*cookie), ("origin", &*own), ("host", &*host)];
        handshake(&app, &headers).status
    };
    assert_eq!(one_more(), 503);
    drop(pages.pop());
    eventually("a place is free", || one_more() == 101);
}

#[test]
fn the_end_of_the_server_closes_pages_at_once() {
    let mut app = App::start(Config { shutdown_timeout: PATIENCE, ..Config::default() });
    let mut page = Page::open(&app);
    page.next();
    let begun = Instant::now();
    app.begin_to_stop();
    assert_eq!(page.closed(), (1001, "the server is shutting down".to_owned()));
    drop(page);
    app.stop();
    assert!(begun.elapsed() < PATIENCE / 2, "it waited for the page");
}

#[test]
fn what_a_request_under_way_brings_is_told_before_the_end() {
    let mut app = App::start(Config { shutdown_timeout: PATIENCE, ..Config::default() });
    app.configure("room", &json!({"store_history": true}));
    let mut page = Page::open(&app);
    page.say(&json!({"channel": {"name": "room"}}));
    let messages = |count: usize| move |part: &Value| part["facts"]["history"] == count;
    page.part("channel", messages(0));
    let request = Request::call("/message", &numbered("room", 1)).bytes();
    let (begin, rest) = request.split_at(request.len() - 5);
    let mut posting = Line::open(app.0);
    posting.write(begin);
    let debug = Request::new("GET", "/admin/debug").signed();
    eventually("it is under way", || app.send(&debug).body.contains("\nrequests_in_flight: 2\n"));
    app.begin_to_stop();
    eventually("it accepts no more", || TcpStream::connect(app.0).is_err());
    posting.write(rest);
    assert_eq!(posting.answer(false).unwrap().status, 200);
    page.part("channel", messages(1));
    assert_eq!(page.closed().0, 1001);
    drop(page);
    app.stop();
}

/// An action of the page.
fn deed(method: &str, path: &str, cookie: &str) -> Request {
    Request::new(method, path)
        .header("cookie", cookie)
        .header("origin", "http://localhost")
        .header("content-type", "application/json")
}

#[test]
fn deeds_go_by_the_cookie_and_come_from_the_page_alone() {
    let app = App::start(Config {
        allow_posting_from: "192.0.2.1".parse().unwrap(),
        ..Config::default()
    });
    let cookie = cookie(&app);
    let message = json!([{"user": "admin", "channel": "room", "message": {"n": 1}}]);
    let good = deed("POST", "/admin/api/message", &cookie).json(&message);
    let posted = app.send(&good).ok();
    let uuid = posted[0]["uuid"].clone();
    let settings = json!({"room": {"store_history": true}});
    app.send(&deed("POST", "/admin/api/channel_config", &cookie).json(&settings)).ok();
    let edit = json!([{"uuid": uuid, "channel": "room", "message": {"n": 2}}]);
    app.send(&deed("PATCH", "/admin/api/message", &cookie).json(&edit)).ok();
    let delete = json!([{"uuid": uuid, "channel": "room"}]);
    app.send(&deed("DELETE", "/admin/api/message", &cookie).json(&delete)).ok();
    let connect = json!({"username": "alice"});
    let id = app.send(&deed("POST", "/admin/api/connect", &cookie).json(&connect)).ok()["conn_id"]
        .take();
    let kick = deed("POST", "/admin/api/disconnect", &cookie).json(&json!({"conn_id": id}));
    assert_eq!(app.send(&kick).ok(), true);
    let faulty = app.send(&deed("POST", "/admin/api/message", &cookie).json(&json!([{}])));
    assert_eq!(faulty.status, 422, "{faulty:?}");

    let bare = || Request::new("POST", "/admin/api/message").json(&message);
    let json_type = ("content-type", "application/json");
    let own = ("origin", "http://localhost");
    let signed_in = ("cookie", &*cookie);
    for (headers, why) in [
        (&[json_type, own][..], "sign in first"),
        (&[json_type, own, ("cookie", "auth_tkt=x")], "sign in first"),
        (&[json_type, signed_in], "only a page of this server"),
        (&[json_type, signed_in, ("origin", "http://evil.test")], "only a page of this server"),
        (&[json_type, signed_in, own, ("sec-fetch-site", "cross-site")], "only a page of this"),
        (&[signed_in, own], "application/json"),
        (&[signed_in, own, ("content-type", "text/plain")], "application/json"),
        (
            &[signed_in, own, ("content-type", "application/x-www-form-urlencoded")],
            "application/json",
        ),
    ] {
        let request =
            headers.iter().fold(bare(), |request, (name, value)| request.header(name, value));
        let answer = app.send(&request);
        assert_eq!(answer.status, 403, "{headers:?}: {answer:?}");
        assert!(answer.body.contains(why), "{headers:?}: {answer:?}");
    }
    // A cookie alone does nothing at the backend's own paths, and reads nothing here.
    assert_eq!(app.send(&deed("POST", "/message", &cookie).json(&message)).status, 403);
    assert_eq!(app.send(&deed("GET", "/admin/api/info", &cookie)).status, 403);
    assert_eq!(app.send(&deed("POST", "/admin/api/sign_out", &cookie)).status, 404);
}

#[test]
fn who_wanted_the_explorer_gets_there_after_the_sign_in() {
    let app = App::start(Config::default());
    let html = |method: &str, path: &str| Request::new(method, path).header("accept", "text/html");
    let location = |answer: &Answer| answer.header("location").unwrap_or_default().to_owned();
    let wanted = app.send(&html("GET", "/api-explorer"));
    assert_eq!(location(&wanted), "/admin/sign_in?next=api-explorer");
    let form = app.send(&html("GET", "/admin/sign_in?next=api-explorer"));
    assert!(form.body.contains("action=\"sign_in?next=api-explorer\""), "{}", form.body);
    let sign_in = |query: &str, password: &str| {
        let body = format!("username=admin&password={password}");
        app.send(&html("POST", &format!("/admin/sign_in{query}")).body(body))
    };
    let again = sign_in("?next=api-explorer", "wrong");
    assert!(again.body.contains("action=\"sign_in?next=api-explorer\"") && again.status == 200);
    let answer = sign_in("?next=api-explorer", "admin_secret");
    assert_eq!(location(&answer), "/api-explorer");
    for elsewhere in ["?next=//evil.test", "?next=http://evil.test", "?next=admin", "?next"] {
        assert_eq!(location(&sign_in(elsewhere, "admin_secret")), "/admin");
        let form = app.send(&html("GET", &format!("/admin/sign_in{elsewhere}")));
        assert!(form.body.contains("action=\"sign_in\"") && !form.body.contains("evil"));
    }
}

#[test]
fn people_who_failed_too_often_are_told_in_the_form() {
    let app = App::start(Config { max_failed_sign_ins: 1, ..Config::default() });
    let fail = || {
        let form = Request::new("POST", "/admin/sign_in").header("accept", "text/html,*/*");
        app.send(&form.body("username=admin&password=wrong"))
    };
    assert_eq!(fail().status, 200);
    let told = fail();
    assert_eq!(told.status, 429);
    assert!(told.body.contains("role=\"alert\"") && told.body.contains("Try again in"), "{told:?}");
    assert!(told.header("retry-after").is_some());
}

#[test]
fn a_page_that_does_not_read_is_dropped() {
    let app = App::start(Config::default());
    app.configure("room", &json!({"store_history": true, "history_size": 50}));
    let cookie = cookie(&app);
    let mut page = Page::open_with(&app, &cookie).unwrap();
    socket2::SockRef::from(page.0.get_ref()).set_recv_buffer_size(8192).unwrap();
    page.say(&json!({"channel": {"name": "room", "history": true}}));
    page.next();
    let filler = json!({"text": "x".repeat(8000)});
    let messages: Vec<_> =
        (0..50).map(|_| json!({"user": "x", "channel": "room", "message": filler})).collect();
    // The history changes each time and is sent again: 400 kB a second.
    let lines = || -> u64 {
        let answer = app.send(&Request::new("GET", "/admin/debug").signed());
        let line = answer
            .body
            .lines()
            .find_map(|line| line.strip_prefix("tcp_connections: "))
            .unwrap()
            .parse();
        line.unwrap()
    };
    let begun = Instant::now();
    while lines() > 1 {
        assert!(begun.elapsed() < Duration::from_secs(60), "the page is still there");
        app.call("/message", &json!(messages));
        std::thread::sleep(Duration::from_millis(200));
    }
}
