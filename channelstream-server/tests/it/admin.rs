//! The admin area: sign-in and its rate limit, stats, pages and their files (contract §10).

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use channelstream_server::config::{Journal, JournalSync};
use channelstream_server::{Config, SharedJournal};
use serde_json::{Value, json};

use crate::app::{Answer, App, Request, Site, eventually};

fn sign_in(app: &App, user: &str, password: &str) -> Answer {
    let form = format!("username={user}&password={password}");
    app.send(&Request::new("POST", "/admin/sign_in").body(form))
}

#[test]
fn signing_in_and_out() {
    let app = App::start(Config::default());
    let form = app.get("/admin/sign_in");
    assert_eq!(form.status, 200);
    for name in ["name=\"username\"", "name=\"password\"", "type=\"password\""] {
        assert!(form.body.contains(name), "{name}: {}", form.body);
    }
    let answer = sign_in(&app, "+admin%20", "%20admin_secret+");
    assert_eq!((answer.status, answer.header("location")), (302, Some("http://localhost/admin")));
    let cookie = answer.header("set-cookie").unwrap().to_owned();
    let attributes: BTreeSet<_> = cookie.split("; ").skip(1).collect();
    let expected = ["Max-Age=2592000", "Path=/", "SameSite=Lax", "HttpOnly"];
    assert_eq!(attributes, BTreeSet::from(expected));
    let cookie = cookie.split(';').next().unwrap();
    let with_cookie = |path: &str| app.send(&Request::new("GET", path).header("cookie", cookie));
    let page = with_cookie("/admin");
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=UTF-8"));
    let answer = with_cookie("/admin/sign_out");
    let place = "http://localhost/admin/sign_in";
    assert_eq!((answer.status, answer.header("location")), (302, Some(place)));
    let emptied = answer.header("set-cookie").unwrap();
    let name = format!("channelstream_{}=;", app.site.0.port());
    assert!(emptied.starts_with(&name) && emptied.contains("Max-Age=0"), "{emptied}");
}

#[test]
fn a_wrong_sign_in_shows_the_form_again_and_takes_its_time() {
    let app = App::start(Config::default());
    for (user, password) in
        [("admin", "wrong"), ("Admin", "admin_secret"), ("admin", ""), ("", ""), ("%FF", "%FF")]
    {
        let begun = Instant::now();
        let answer = sign_in(&app, user, password);
        assert_eq!((answer.status, answer.header("set-cookie")), (200, None), "{user}");
        assert!(answer.body.contains("name=\"password\""));
        assert!(begun.elapsed() >= Duration::from_millis(500), "{user} {password}");
    }
    let answer = sign_in(&app, "%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E", "wrong");
    assert!(!answer.body.contains("<script>alert"), "{}", answer.body);
    let json = json!({"username": "admin", "password": "admin_secret"});
    let answer = app.send(&Request::new("POST", "/admin/sign_in").json(&json));
    assert_eq!((answer.status, answer.header("set-cookie")), (200, None));
}

#[test]
fn who_fails_too_often_has_to_wait() {
    let app = App::start(Config {
        max_failed_sign_ins: 2,
        trusted_proxies: "127.0.0.1".parse().unwrap(),
        ..Config::default()
    });
    let from = |address: &str, password: &str| {
        let form = Request::new("POST", "/admin/sign_in").header("x-forwarded-for", address);
        app.send(&form.body(format!("username=admin&password={password}")))
    };
    assert_eq!(from("203.0.113.1", "wrong").status, 200);
    assert_eq!(from("203.0.113.1", "admin_secret").status, 302, "this forgets the failure");
    assert_eq!(from("203.0.113.1", "wrong").status, 200);
    assert_eq!(from("203.0.113.1", "wrong").status, 200);
    let answer = from("203.0.113.1", "admin_secret");
    assert_eq!((answer.status, answer.header("set-cookie")), (429, None), "{answer:?}");
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=300).contains(&wait), "{wait}");
    assert_eq!(answer.json()["code"], "429 Too Many Requests");
    assert_eq!(from("203.0.113.2", "admin_secret").status, 302, "others may");
    assert_eq!(app.get("/admin/sign_in").status, 200, "the form is there");
}

#[test]
fn failed_sign_ins_are_forgotten_in_time() {
    let app = App::start(Config {
        max_failed_sign_ins: 1,
        failed_sign_ins_window: Duration::from_secs(3),
        ..Config::default()
    });
    assert_eq!(sign_in(&app, "admin", "wrong").status, 200);
    assert_eq!(sign_in(&app, "admin", "admin_secret").status, 429);
    eventually("it is forgotten", || sign_in(&app, "admin", "admin_secret").status == 302);
}

fn figures(app: &App) -> Value {
    app.send(&Request::new("GET", "/admin/admin.json").signed()).ok()
}

#[test]
fn figures_are_what_was_done() {
    let app = App::start(Config::default());
    let empty = figures(&app);
    assert_eq!(empty["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&empty["channels"], &empty["users"]), (&json!({}), &json!([])));
    app.configure("room", &json!({"store_history": true}));
    let state = json!({
        "username": "alice", "channels": ["room", "side"],
        "user_state": {"seen": 1, "hidden": 2}, "state_public_keys": ["seen"],
    });
    let first = app.call("/connect", &state)["conn_id"].take();
    let again = json!({"username": "alice", "channels": ["room"], "state_public_keys": ["seen"]});
    let second = app.call("/connect", &again)["conn_id"].take();
    let bob = app.connect("bob", &["room"]);
    app.publish("room", 1); // to three
    app.tell("alice", 2); // to two
    app.tell("nobody", 3);
    app.publish("nowhere", 4);
    app.call("/message", &json!([{"user": "x", "message": {}}])); // to nobody at all
    app.call(
        "/message",
        &json!([
            {"user": "x", "channel": "room", "exclude_users": ["alice"]}, // to one
            {"user": "x", "channel": "room", "pm_users": ["alice"]}, // to two
        ]),
    );
    let edit = json!([{"uuid": uuid::Uuid::nil(), "channel": "room"}]);
    for method in ["PATCH", "DELETE"] {
        let request = Request::new(method, "/message").signed().json(&edit);
        assert_eq!(app.send(&request).status, 200);
    }
    let seen = figures(&app);
    let expected = [
        ("remembered_user_count", 2),
        ("unique_user_count", 2),
        ("total_connections", 3),
        ("total_channels", 2),
        ("total_messages", 8),
        ("total_unique_messages", 6),
    ];
    for (key, count) in expected {
        assert_eq!(seen[key], count, "{key} in {seen}");
    }
    let room = &seen["channels"]["room"];
    assert_eq!((&room["total_connections"], &room["total_users"]), (&json!(3), &json!(2)));
    assert_eq!(room["users"], json!(["alice", "bob"]));
    assert_eq!(room["history"].as_array().unwrap().len(), 3);
    assert_eq!(seen["channels"]["side"]["total_connections"], 1);
    let users = seen["users"].as_array().unwrap();
    let alice = users.iter().find(|user| user["user"] == "alice").unwrap();
    assert_eq!(alice["state"], json!({"seen": 1}), "no more than the public part");
    let connections = alice["connections"].as_array().unwrap();
    assert!(
        connections.len() == 2 && connections.contains(&first) && connections.contains(&second)
    );
    let uptime = seen["uptime"].as_str().unwrap();
    assert!(regex_lite::Regex::new(r"^\d:\d\d:\d\d$").unwrap().is_match(uptime), "{uptime}");

    app.get(&format!("/disconnect?conn_id={bob}"));
    eventually("bob is gone", || figures(&app)["total_connections"] == 2);
    let seen = figures(&app);
    assert_eq!(
        (&seen["remembered_user_count"], &seen["unique_user_count"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(seen["total_channels"], 2, "channels stay");
}

#[test]
fn the_debug_text_counts_what_is_open() {
    let app = App::start(Config::default());
    let lines = || -> Vec<String> {
        let answer = app.send(&Request::new("GET", "/admin/debug").signed());
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=UTF-8"));
        answer.body.lines().map(str::to_owned).collect()
    };
    assert!(lines().contains(&"listeners: 0".to_owned()), "{:?}", lines());
    let sockets = ["alice", "bob"].map(|user| app.socket(&app.connect(user, &["room"])));
    eventually("both listen", || lines().contains(&"listeners: 2".to_owned()));
    // The TCP connection of this request is open as well.
    assert!(lines().contains(&"tcp_connections: 3".to_owned()), "{:?}", lines());
    app.call("/message", &json!([{"user": "alice", "channel": "room", "message": {}}]));
    for line in ["messages_posted_total: 1", "messages_delivered_total: 2"] {
        assert!(lines().contains(&line.to_owned()), "{:?}", lines());
    }
    drop(sockets);
    eventually("both are gone", || lines().contains(&"listeners: 0".to_owned()));
}

#[test]
fn the_stats_have_every_metric_by_its_name() {
    let wake_connections_after = Duration::from_millis(50);
    let app = App::start(Config { wake_connections_after, ..Config::default() });
    let stats = || -> Value {
        let answer = app.send(&Request::new("GET", "/admin/stats.json").signed());
        assert_eq!(answer.header("content-type"), Some("application/json"));
        answer.ok()
    };
    let alice = app.connect("alice", &["room"]);
    let socket = app.socket(&alice);
    eventually("it listens", || stats()["metrics"]["listeners"] == 1);
    app.call("/message", &json!([{"user": "alice", "channel": "room", "message": {}}]));
    drop(socket);
    let ended = |reason: &str| stats()["metrics"]["listeners_ended_total"][reason].as_u64();
    eventually("the socket is counted", || ended("client") == Some(1));
    app.get(&format!("/listen?conn_id={alice}"));
    eventually("the poll is counted", || ended("client") == Some(2));
    let bob = app.connect("bob", &["room"]);
    app.socket(&bob).close(1001);
    eventually("a close frame is the client's", || ended("client") == Some(3));
    assert_eq!(ended("disconnected"), Some(0));
    let carol = app.connect("carol", &["room"]);
    let socket = app.socket(&carol);
    app.get(&format!("/disconnect?conn_id={carol}"));
    eventually("its connection ended", || ended("disconnected") == Some(1));
    drop(socket);
    app.get(&format!("/listen?conn_id={carol}"));
    eventually("it has none", || ended("disconnected") == Some(2));
    assert_eq!(ended("client"), Some(3));

    let stats = stats();
    assert_eq!(stats["version"], env!("CARGO_PKG_VERSION"));
    let metrics = &stats["metrics"];
    assert_eq!(metrics["messages_posted_total"], 1);
    assert_eq!(metrics["messages_delivered_total"], 1);
    assert_eq!(metrics["refusals_total"]["max_listeners"], 0);
    assert_eq!(metrics["listeners_ended_total"]["slow"], 0);
    assert!(metrics["tcp_connections_accepted_total"].as_u64() > Some(5), "{metrics}");
    assert!(metrics["uptime_seconds"].is_f64(), "{metrics}");
    let answer = app.get("/admin/stats.json");
    assert_eq!(answer.status, 302, "for signed requests and signed-in admins only");
}

fn stats(site: &Site) -> Value {
    site.send(&Request::new("GET", "/admin/stats.json").signed()).ok()
}

#[test]
fn the_stats_tell_of_the_journal_what_it_has() {
    let app = App::start(Config::default());
    let told = stats(&app);
    assert_eq!(told["journal"], json!({"kind": "memory", "state": "following", "waiting": 0}));
    assert_eq!(told.get("nodes"), None);

    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("journal");
    let journal = Journal::File { directory: directory.clone(), sync: JournalSync::Always };
    let app = App::start(Config { journal, ..Config::default() });
    app.connect("ann", &["room"]);
    let told = stats(&app);
    let journal = &told["journal"];
    assert_eq!(journal["directory"], directory.display().to_string());
    assert_eq!((&journal["kind"], &journal["sync"]), (&json!("file"), &json!("always")));
    let number = || {
        let position = stats(&app)["journal"]["position"].as_str().unwrap().to_owned();
        position.split_once('-').unwrap().1.parse::<u64>().unwrap()
    };
    let before = number();
    app.connect("bob", &["room"]);
    assert!(number() > before, "{journal}");
    assert!(journal["bytes"].as_u64() > Some(0), "{journal}");
    assert!(journal["snapshot"]["bytes"].as_u64() > Some(0), "{journal}");
    assert_eq!(told.get("nodes"), None, "one server has it for itself");
}

#[test]
fn the_stats_tell_of_all_servers_on_the_journal() {
    let journal = SharedJournal::new();
    let first = App::start_on(&journal, Config::default());
    let second = App::start_on(&journal, Config::default());
    let ann = first.connect("ann", &["room"]);
    let socket = second.socket(&ann);
    let nodes = |app: &App| stats(app)["nodes"].as_array().unwrap().clone();
    eventually("each has compared its state with the other's", || {
        [&first, &second].iter().all(|app| {
            let nodes = nodes(app);
            nodes.len() == 2
                && nodes.iter().all(|node| node["this"] == true || node["same"] == true)
        })
    });
    let (one, other) = (nodes(&first), nodes(&second));
    let this = |nodes: &[Value]| nodes.iter().find(|node| node["this"] == true).unwrap().clone();
    assert_ne!(this(&one)["id"], this(&other)["id"]);
    let ids = |nodes: &[Value]| nodes.iter().map(|node| node["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&one), ids(&other), "in one order");
    assert_eq!((&this(&one)["listeners"], &this(&other)["listeners"]), (&json!(0), &json!(1)));
    let seen = one.iter().find(|node| node["this"] == false).unwrap();
    assert!(
        seen["heard"].as_f64().unwrap() < 10.0 && seen["alive"].as_f64().unwrap() >= 0.0,
        "{seen}"
    );
    assert_eq!(seen["listeners"], Value::Null, "each knows its own");
    drop(socket);
    second.stop();
    eventually("who has left is gone", || nodes(&first).len() == 1);
}

#[test]
fn pages_load_their_own_files_and_nothing_else() {
    let app = App::start(Config::default());
    let links = regex_lite::Regex::new(r#"(?:src|href)="([^"]*)""#).unwrap();
    let mut files = BTreeSet::new();
    for path in ["/", "/admin", "/api-explorer", "/admin/sign_in"] {
        let page = app.send(&Request::new("GET", path).signed().header("accept", "text/html"));
        assert_eq!((page.status, page.header("x-content-type-options")), (200, Some("nosniff")));
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'self'") && !policy.contains("unsafe"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        let base = url_of(path);
        for link in links.captures_iter(&page.body) {
            let target = base(&link[1]);
            assert!(target.starts_with('/') && !target.starts_with("//"), "{path}: {}", &link[1]);
            if target.starts_with("/static/") {
                files.insert(target);
            }
        }
    }
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        let answer = app.get(&file);
        assert_eq!((answer.status, answer.body.is_empty()), (200, false), "{file}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{file}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{file}");
        let content_type = match file.rsplit('.').next().unwrap() {
            "css" => "text/css",
            "js" => "text/javascript",
            "svg" => "image/svg+xml",
            other => panic!("{other} has no type"),
        };
        assert!(answer.header("content-type").unwrap().starts_with(content_type), "{answer:?}");
        let head = app.send(&Request::new("HEAD", &file));
        assert_eq!(head.header("content-length"), answer.header("content-length"), "{file}");
    }
    for path in
        ["/static/admin/../../Cargo.toml", "/static/%2e%2e/mod.rs", "/static/admin/admin.html"]
    {
        assert_eq!(app.get(path).status, 404, "{path}");
    }
}

/// How a browser takes the links of the page at `path`.
fn url_of(path: &str) -> impl Fn(&str) -> String {
    let base = reqwest::Url::parse(&format!("http://localhost{path}")).unwrap();
    move |link| {
        let url = base.join(link).unwrap();
        assert_eq!(url.host_str(), Some("localhost"), "{link} leads to another host");
        url.path().to_owned()
    }
}
