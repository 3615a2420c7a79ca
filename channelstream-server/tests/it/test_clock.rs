//! The test clock: time passes when a test says so, and only where tests run (contract §14).

use std::process::Command;

use channelstream_server::config::{Journal, JournalSync, Secret};
use channelstream_server::{Config, Server, ServerError, SharedJournal};
use serde_json::{Value, json};

use crate::app::{Answer, App, Request, Site, eventually};
use crate::process;

const DAY: u64 = 86_400;

fn start() -> App {
    App::start(Config { test_clock: true, ..Config::default() })
}

/// Lets time pass. Returns the time of day on the server.
fn advance(site: &Site, seconds: u64) -> String {
    let answer = site.call("/test/advance", &json!({ "seconds": seconds }));
    answer["now"].as_str().unwrap().to_owned()
}

fn users(site: &Site) -> Vec<String> {
    let page = site.call("/list_users", &json!({}));
    let users = page["users"].as_array().unwrap();
    users.iter().map(|user| user["user"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_member_parts_when_its_time_has_passed() {
    let app = start();
    app.configure("room", &json!({"notify_presence": true}));
    let mut watcher = app.socket(&app.connect("ben", &["room"]));
    app.connect("ann", &["room"]);
    let joined = watcher.event();
    assert_eq!((&joined["user"], &joined["message"]["action"]), (&json!("ann"), &json!("joined")));
    advance(&app, 14);
    assert_eq!(app.channel("room")["total_users"], 2);
    advance(&app, 2);
    assert_eq!(app.channel("room")["total_users"], 1, "when the call is answered");
    let parted = watcher.event();
    assert_eq!((&parted["user"], &parted["message"]["action"]), (&json!("ann"), &json!("parted")));
    // No heartbeat of the hours before was missed: sockets live by another clock.
    advance(&app, 3600);
    app.publish("room", 1);
    assert_eq!(watcher.event()["message"]["n"], 1);
}

#[test]
fn each_deadline_counts_from_the_one_before() {
    let app = start();
    app.connect("ann", &["room"]);
    // The user waits from the end of the connection on, which is 15 seconds from now.
    advance(&app, DAY + 10);
    assert_eq!(
        (users(&app), app.channel("room")["total_users"].clone()),
        (vec!["ann".to_owned()], json!(0))
    );
    advance(&app, 10);
    assert!(users(&app).is_empty());
    assert!(app.channel("room").is_object());
    advance(&app, 3 * DAY);
    assert!(app.channel("room").is_null());
}

#[test]
fn all_that_is_due_has_happened_when_the_call_is_answered() {
    let app = start();
    // More than one step does.
    let channels: serde_json::Map<_, _> =
        (0..2500).map(|number| (format!("channel {number}"), json!({}))).collect();
    app.call("/channel_config", &Value::Object(channels));
    advance(&app, 3 * DAY - 60);
    let count = || app.call("/info", &json!({"info": {}}))["channels"].as_object().unwrap().len();
    assert_eq!(count(), 2500);
    advance(&app, 120);
    assert_eq!(count(), 0);
}

#[test]
fn events_have_the_time_of_the_test_and_signatures_that_of_the_world() {
    let app = start();
    let before = advance(&app, 0);
    let after = advance(&app, 40 * DAY);
    assert!(before < after, "{before} {after}");
    // It is signed now, and would be refused if the server were in the time of the test.
    let message = json!([{"user": "ann", "channel": "room", "message": {}}]);
    let posted = app.call("/message", &message);
    let stamped = posted[0]["timestamp"].as_str().unwrap();
    assert!(stamped >= after.as_str(), "{stamped} {after}");
    assert_ne!(&stamped[..7], &before[..7], "another month");
}

#[test]
fn two_at_once_add_up() {
    let app = start();
    app.connect("ann", &["room"]);
    let site = app.site;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(move || advance(&site, DAY / 4));
        }
    });
    assert_eq!(users(&app), ["ann"]);
    advance(&app, 20);
    assert!(users(&app).is_empty());
}

#[test]
fn seconds_are_bounded_at_once_and_in_all() {
    let app = start();
    let send = |body: &Value| app.send(&Request::call("/test/advance", body));
    for bad in [
        json!({}),
        json!([]),
        json!({"seconds": -1}),
        json!({"seconds": "20"}),
        json!({"seconds": null}),
        json!({"seconds": true}),
        json!({"seconds": 365 * DAY + 1}),
    ] {
        assert_eq!(send(&bad).status, 422, "{bad}");
    }
    assert_eq!(
        app.send(&Request::call("/test/advance", &json!(0)).body("{\"seconds\": NaN}")).status,
        400
    );
    let year = json!({"seconds": 365 * DAY});
    for number in 0..100 {
        assert_eq!(send(&year).status, 200, "year {number}");
    }
    let refused = send(&json!({"seconds": 1}));
    assert_eq!(
        (refused.status, refused.json()),
        (422, json!({"seconds": ["The clock can be 100 years ahead at most."]}),)
    );
    for nothing in [json!(0), json!(-0.0)] {
        assert_eq!(send(&json!({ "seconds": nothing })).status, 200, "it goes on");
    }
}

#[test]
fn only_backends_let_time_pass() {
    let app = start();
    let body = json!({"seconds": 20});
    app.connect("ann", &["room"]);
    let unsigned = Request::new("POST", "/test/advance").json(&body);
    assert_eq!(app.send(&unsigned).status, 403);
    for page in ["/tutorial", "/admin/api"] {
        let request = Request::new("POST", &format!("{page}/test/advance")).json(&body);
        assert_eq!(app.send(&request).status, 404, "{page}");
    }
    // A page of another site knows the default secret too.
    let foreign = Request::call("/test/advance", &body).header("origin", "https://evil.example");
    assert_eq!(app.send(&foreign).status, 403);
    assert_eq!(app.channel("room")["total_users"], 1);
}

#[test]
fn without_the_setting_the_path_is_like_any_other() {
    let app = App::start(Config::default());
    let body = json!({"seconds": 20});
    let without_date = |answer: Answer| {
        let headers =
            answer.headers.into_iter().filter(|(name, _)| !name.eq_ignore_ascii_case("date"));
        (answer.status, headers.collect::<Vec<_>>(), answer.body)
    };
    for prefix in ["", "/tutorial", "/admin/api"] {
        for method in ["POST", "GET", "OPTIONS"] {
            let both = ["/test/advance", "/test/nowhere"].map(|path| {
                let request = || Request::new(method, &format!("{prefix}{path}")).json(&body);
                [app.send(&request()), app.send(&request().signed())].map(without_date)
            });
            assert_eq!(both[0], both[1], "{method} {prefix}");
            if method != "OPTIONS" {
                assert_eq!(both[0][1].0, 404);
            }
        }
    }
}

/// What a program with these flags says when it refuses to start.
fn refusal(flags: &[&str]) -> String {
    let mut command = Command::new(process::PROGRAM);
    let output = process::quiet(&mut command, flags).output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{log}");
    log
}

#[test]
fn it_starts_nowhere_but_where_tests_run() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("journal");
    for (flags, reason) in [
        (
            ["--host", "0.0.0.0", "--allow-default-secrets", "true"],
            "other machines can reach 0.0.0.0",
        ),
        (["--secret", "mine", "--admin-secret", "mine"], "secret is not the well-known default"),
        (["--secret", "mine\nsecret", "--port", "0"], "secret is not the well-known default"),
        (
            ["--journal", "file", "--journal-dir", directory.to_str().unwrap()],
            "journal is not memory",
        ),
    ] {
        let flags = [&flags[..], &["--test-clock", "true"]].concat();
        let log = refusal(&flags);
        assert!(log.contains("test_clock") && log.contains(reason), "{log}");
    }
    assert!(!directory.exists());
}

#[tokio::test]
async fn a_program_that_embeds_the_server_gets_none_elsewhere_either() {
    let config = || Config { port: 0, test_clock: true, ..Config::default() };
    let journal = Journal::File { directory: "/nowhere".into(), sync: JournalSync::Never };
    for config in [
        Config { host: "0.0.0.0".to_owned(), ..config() },
        Config { secrets: vec![Secret::new("mine")], ..config() },
        Config { journal, ..config() },
    ] {
        let error = Server::bind(config).await.unwrap_err();
        assert!(
            matches!(&error, ServerError::TestClock(why) if why.starts_with("test_clock: ")),
            "{error}"
        );
    }
    let shared = Server::bind_on(config(), &SharedJournal::new()).await.unwrap_err();
    assert!(matches!(shared, ServerError::TestClock(_)), "{shared}");

    // A secret of its own cannot come later.
    let server = Server::bind(config()).await.unwrap();
    let reloader = server.reloader();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(server.run(async { drop(stopped.await) }));
    let secrets = vec![Secret::new("mine")];
    let error =
        reloader.apply(Config { secrets, test_clock: false, ..config() }).await.unwrap_err();
    assert!(error.to_string().contains("test_clock"), "{error}");
    drop(stop);
    running.await.unwrap().unwrap();
}

#[test]
fn the_program_says_at_its_start_that_it_has_one() {
    let server = process::Process::start(&["--test-clock", "true"]);
    let site = Site(server.address);
    site.connect("ann", &["room"]);
    advance(&site, 20);
    assert_eq!(site.channel("room")["total_users"], 0);
    eventually("the warning", || {
        server.log().contains("whoever reaches this server can let time pass")
    });
}
