//! Reload: other settings for a running server, by SIGHUP, `POST /reload` and from within the process.

use std::fs;
use std::path::PathBuf;

use channelstream_server::{Config, ReloadError, Reloader, Secret, Server, SharedJournal};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::app::{
    Answer, Line, PATIENCE, Request, Site, eventually, numbered, numbers, signature_with,
};
use crate::process::Process;

const FIRST: &str = "the first secret of all";
const SECOND: &str = "another secret beside it";
const ADMIN: &str = "a password of the admin";

/// A server with a file of settings that can be changed.
struct Reloaded {
    server: Process,
    folder: TempDir,
}

impl Reloaded {
    fn start(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("server.ini"), file(settings)).unwrap();
        let path = folder.path().join("server.ini").display().to_string();
        Self { server: Process::start(&["--ini", &path]), folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("server.ini")
    }

    fn site(&self) -> Site {
        Site(self.server.address)
    }

    /// Writes other settings, sends SIGHUP, and waits until the log says `outcome` once more.
    fn reload(&self, settings: &str, outcome: &str) -> String {
        fs::write(self.path(), file(settings)).unwrap();
        self.hang_up(outcome)
    }

    fn hang_up(&self, outcome: &str) -> String {
        let before = self.server.log().matches(outcome).count();
        self.server.signal("HUP");
        self.server.wait_for(outcome, |log| {
            let last = log.lines().rfind(|line| line.contains(outcome))?;
            (log.matches(outcome).count() > before).then(|| last.to_owned())
        })
    }

    /// Sends a call that is signed with this secret, and returns the status.
    fn signed_with(&self, secret: &str) -> u16 {
        self.send(secret, "/info", &json!({"info": {}})).status
    }

    fn send(&self, secret: &str, path: &str, body: &Value) -> Answer {
        let request = Request::new("POST", path).json(body);
        self.site().send(&request.header("x-channelstream-secret", &signature_with(secret)))
    }

    /// Returns a metric.
    fn metric(&self, sample: &str) -> u64 {
        let text = self.site().get("/metrics").body;
        let line = text.lines().find_map(|line| line.strip_prefix(sample)).unwrap_or_default();
        line.trim().parse().unwrap_or_else(|_| panic!("{sample} is not in:\n{text}"))
    }
}

/// A file with secrets of its own, unless `settings` has others.
fn file(settings: &str) -> String {
    let secret = if settings.contains("secret =") { "" } else { FIRST };
    let own = if secret.is_empty() { String::new() } else { format!("secret = {secret}\n") };
    format!("[channelstream]\nadmin_secret = {ADMIN}\n{own}{settings}\n")
}

const DONE: &str = "settings reloaded; changed: ";
const NOT_DONE: &str = "settings not reloaded, those of before count: ";

#[test]
fn secrets_are_rotated_without_a_refused_request_or_a_lost_listener() {
    let server = Reloaded::start("");
    let connect = json!({"username": "ann", "channels": ["news"]});
    let connection = server.send(FIRST, "/connect", &connect).ok()["conn_id"].take();
    let mut socket = server.site().socket(connection.as_str().unwrap());
    assert_eq!((server.signed_with(FIRST), server.signed_with(SECOND)), (200, 401));

    let both = format!("secret = {SECOND}\n  {FIRST}");
    assert!(server.reload(&both, DONE).ends_with("changed: secret"));
    assert_eq!((server.signed_with(FIRST), server.signed_with(SECOND)), (200, 200));

    server.reload(&format!("secret = {SECOND}"), DONE);
    assert_eq!((server.signed_with(FIRST), server.signed_with(SECOND)), (401, 200));

    assert_eq!(server.send(SECOND, "/message", &numbered("news", 1)).status, 200);
    assert_eq!(numbers(&[socket.event()]), [1], "the socket of before");
    let log = server.server.log();
    assert!(!log.contains(FIRST) && !log.contains(SECOND), "{log}");
    assert_eq!(server.metric("channelstream_reloads_total{outcome=\"done\"}"), 2);
}

#[test]
fn a_file_with_mistakes_changes_nothing_and_the_log_names_all_of_them() {
    let server = Reloaded::start("max_body_size = 5000");
    let wrong = format!("secret = {SECOND}\nmax_body_size = many\ngc_conns_after = soon");
    server.reload(&wrong, NOT_DONE);
    let log = server.server.log();
    let [_, told] = log.split(NOT_DONE).collect::<Vec<_>>()[..] else { panic!("{log}") };
    for key in ["max_body_size", "gc_conns_after"] {
        assert!(told.contains(key), "{key}: {told}");
    }
    assert!(!log.contains(SECOND), "{log}");
    assert_eq!((server.signed_with(FIRST), server.signed_with(SECOND)), (200, 401));

    let answer = server.send(FIRST, "/reload", &json!({}));
    assert_eq!(answer.status, 409, "{answer:?}");
    let told = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(told.contains("max_body_size") && !told.contains(SECOND), "{told}");
    let failed = "channelstream_reloads_total{outcome=\"failed\"}";
    assert_eq!(server.metric(failed), 2);

    // A file that is gone is a mistake too, and not a file without settings.
    fs::remove_file(server.path()).unwrap();
    server.hang_up(NOT_DONE);
    assert_eq!(server.signed_with(FIRST), 200);
    fs::write(server.path(), [0xff, b'\n']).unwrap();
    server.hang_up(NOT_DONE);
    assert_eq!((server.signed_with(FIRST), server.metric(failed)), (200, 4));
}

#[test]
fn settings_that_need_a_restart_are_named_and_stay() {
    let server = Reloaded::start("threads = 1");
    let text = "threads = 2\nheartbeat_interval = 3\njournal_sync = always\nmax_body_size = 9000";
    fs::write(server.path(), file(text)).unwrap();
    let answer = server.send(FIRST, "/reload", &json!({})).ok();
    assert_eq!(answer["changed"], json!(["max_body_size"]));
    assert_eq!(answer["needs_restart"], json!(["threads", "heartbeat_interval"]));
    // They are told again as long as they are pending.
    let answer = server.send(FIRST, "/reload", &json!({})).ok();
    assert_eq!(answer["changed"], json!([]));
    assert_eq!(answer["needs_restart"], json!(["threads", "heartbeat_interval"]));
}

#[test]
fn only_backends_and_admins_reload() {
    let server = Reloaded::start("");
    let site = server.site();
    assert_eq!(site.send(&Request::new("POST", "/reload").json(&json!({}))).status, 403);
    assert_eq!(server.send(SECOND, "/reload", &json!({})).status, 401);
    assert_eq!(site.send(&Request::new("POST", "/tutorial/reload").json(&json!({}))).status, 404);

    let form = format!("username=admin&password={}", ADMIN.replace(' ', "+"));
    let sign_in = || site.send(&Request::new("POST", "/admin/sign_in").body(form.clone()));
    let cookie = sign_in().header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let of_page = || {
        let request = Request::new("POST", "/admin/api/reload").header("cookie", &cookie);
        request.header("content-type", "application/json").header("origin", "http://localhost")
    };
    assert_eq!(site.send(&of_page().json(&json!({}))).ok()["changed"], json!([]));
    let foreign = Request::new("POST", "/admin/api/reload").header("cookie", &cookie);
    let foreign = foreign.header("content-type", "application/json");
    let foreign = foreign.header("origin", "http://example.com").json(&json!({}));
    assert_eq!(site.send(&foreign).status, 403, "a page of another site");

    // A sign-in outlives a reload, unless the password is another one.
    server.reload("max_body_size = 9000", DONE);
    assert_eq!(site.send(&of_page().json(&json!({}))).status, 200);
    let other = file("").replace(ADMIN, "another password of the admin");
    fs::write(server.path(), other).unwrap();
    server.hang_up(DONE);
    assert_eq!(site.send(&of_page().json(&json!({}))).status, 403);
    assert_ne!(sign_in().status, 302, "the old password");
}

#[test]
fn limits_addresses_and_origins_count_from_the_next_request_on() {
    let server = Reloaded::start("");
    let large = json!({"info": {"channels": ["x".repeat(200)]}});
    assert_eq!(server.send(FIRST, "/info", &large).status, 200);
    server
        .reload("max_body_size = 100\nallow_cors = https://example.com\nmax_json_depth = 2", DONE);
    assert_eq!(server.send(FIRST, "/info", &large).status, 413);
    assert_eq!(server.send(FIRST, "/info", &json!({"info": {"channels": []}})).status, 400);
    let from = |origin| server.site().send(&Request::new("GET", "/").header("origin", origin));
    let allowed = |answer: Answer| answer.header("access-control-allow-origin").map(str::to_owned);
    assert_eq!(allowed(from("https://example.com")).as_deref(), Some("*"));
    assert_eq!(allowed(from("https://example.org")), None);

    server.reload("allow_posting_from = 192.0.2.1\nallow_metrics_from = 192.0.2.1", DONE);
    assert_eq!(server.signed_with(FIRST), 403);
    assert_eq!(server.site().get("/metrics").status, 403);
    server.reload("", DONE);
    assert_eq!((server.signed_with(FIRST), server.site().get("/metrics").status), (200, 200));

    // A proxy that is trusted from now on says who the client is.
    let behind = || {
        let request =
            Request::new("POST", "/info").json(&json!({})).header("x-forwarded-for", "192.0.2.9");
        server.site().send(&request.header("x-channelstream-secret", &signature_with(FIRST))).status
    };
    server.reload("trusted_proxies = 127.0.0.1", DONE);
    assert_eq!(behind(), 403);
}

#[test]
fn fewer_places_end_nobody_and_more_are_there_at_once() {
    let server = Reloaded::start("max_listeners = 2\nmax_connections = 50");
    let site = server.site();
    let connect = |user: &str| {
        let body = json!({"username": user, "channels": ["news"]});
        server.send(FIRST, "/connect", &body).ok()["conn_id"].as_str().unwrap().to_owned()
    };
    let poll = |id: &str| Request::new("GET", &format!("/listen?conn_id={id}"));
    let (_one, _two) = (site.socket(&connect("a")), site.socket(&connect("b")));
    assert_eq!(site.send(&poll(&connect("c"))).status, 503);
    server.reload("max_listeners = 3\nmax_connections = 50", DONE);
    let mut three = site.socket(&connect("c"));
    server.reload("max_listeners = 1\nmax_connections = 50", DONE);
    assert_eq!(site.send(&poll(&connect("d"))).status, 503);
    assert_eq!(server.send(FIRST, "/message", &numbered("news", 1)).status, 200);
    assert_eq!(numbers(&[three.event()]), [1]);

    // Three sockets hold three connections; the rest is for those that ask.
    server.reload("max_listeners = 9\nmax_connections = 3", DONE);
    let refused = Line::open(server.server.address).answer(false).unwrap();
    assert_eq!(refused.status, 503, "{refused:?}");
    // The server that refuses all connections still takes signals.
    server.reload("max_listeners = 9\nmax_connections = 50", DONE);
    assert_eq!(server.signed_with(FIRST), 200);
}

#[test]
fn patterns_and_times_of_expiry_count_for_what_begins_from_now_on() {
    let server = Reloaded::start("gc_conns_after = 1000");
    let connect = |channel: &str| {
        let body = json!({"username": "ann", "channels": [channel]});
        server.send(FIRST, "/connect", &body).ok()
    };
    let history = |channel: &str| {
        assert_eq!(server.send(FIRST, "/message", &numbered(channel, 1)).status, 200);
        let info = server.send(FIRST, "/info", &json!({"info": {"channels": [channel]}})).ok();
        info["channels"][channel]["history"].as_array().unwrap().len()
    };
    connect("room-1");
    assert_eq!(history("room-1"), 0);
    let pattern = "gc_conns_after = 0.1\n[channel room-*]\nstore_history = true\nhistory_size = 5";
    let line = server.reload(pattern, DONE);
    assert!(line.contains("gc_conns_after") && line.contains("[channel ...]"), "{line}");
    connect("room-2");
    assert_eq!((history("room-2"), history("room-1")), (1, 0), "those that are new");
    let users = |channel: &str| {
        let info = server.send(FIRST, "/info", &json!({"info": {"channels": [channel]}})).ok();
        info["channels"][channel]["users"].as_array().unwrap().len()
    };
    eventually("the new connection has expired", || users("room-2") == 0);
    assert_eq!(users("room-1"), 1, "its time began before");
}

#[test]
fn the_level_of_the_log_changes_in_both_directions() {
    let server = Reloaded::start("log_level = info");
    let answered = || server.server.log().matches("request finished").count();
    server.signed_with(FIRST);
    assert_eq!(answered(), 0);
    server.reload("log_level = debug", DONE);
    server.signed_with(FIRST);
    server.server.wait_for("a line at debug", |log| log.contains("request finished").then_some(()));
    server.reload("log_level = info", DONE);
    let before = answered();
    server.signed_with(FIRST);
    // The log is written in order, so this line comes behind one that must not be there.
    server.hang_up(DONE);
    assert_eq!(answered(), before);
}

#[test]
fn the_access_log_is_turned_on_and_off() {
    let server = Reloaded::start("");
    let finished = || server.server.log().matches("request finished").count();
    server.signed_with(FIRST);
    server.reload("access_log = true", "changed: access_log");
    assert_eq!(finished(), 0);
    server.signed_with(FIRST);
    server.server.wait_for("a line", |log| log.contains("request finished").then_some(()));
    server.reload("access_log = false", "changed: access_log");
    let before = finished();
    server.signed_with(FIRST);
    // The log is written in order, so this line comes behind one that must not be there.
    server.hang_up(DONE);
    assert_eq!(finished(), before);
}

#[test]
fn many_signals_at_once_are_few_reloads_and_none_disturbs_the_end() {
    let mut server = Reloaded::start("");
    for number in 0..50 {
        fs::write(server.path(), file(&format!("max_body_size = {}", 5000 + number))).unwrap();
        server.server.signal("HUP");
    }
    // The last signal is not lost in the crowd.
    eventually("the newest file counts", || {
        let padded = format!("{:5049}", json!({"info": {}}).to_string());
        let request = Request::new("POST", "/info").body(padded);
        let request = request.header("x-channelstream-secret", &signature_with(FIRST));
        server.site().send(&request).status == 200
    });
    server.server.signal("TERM");
    server.server.signal("HUP");
    assert!(server.server.ended().success(), "{}", server.server.log());
}

/// Runs a test beside servers that it can give other settings.
fn embedded<const N: usize>(
    configs: [Config; N],
    journal: Option<&SharedJournal>,
    test: impl AsyncFnOnce([(Site, Reloader); N]),
) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.unwrap();
    runtime.block_on(async {
        let mut all = Vec::new();
        let mut stops = Vec::new();
        for config in configs {
            let config = Config { port: 0, ..config };
            let server = match journal {
                Some(journal) => Server::bind_on(config, journal).await.unwrap(),
                None => Server::bind(config).await.unwrap(),
            };
            let address = ([127, 0, 0, 1], server.local_addr().unwrap().port()).into();
            all.push((Site(address), server.reloader()));
            let (stop, stopped) = oneshot::channel::<()>();
            stops.push((stop, tokio::spawn(server.run(async { drop(stopped.await) }))));
        }
        test(all.try_into().unwrap()).await;
        for (stop, running) in stops {
            drop(stop);
            running.await.unwrap().unwrap();
        }
    });
}

#[test]
fn a_program_gives_its_server_other_settings() {
    embedded([Config::default()], None, async |[(site, reloader)]| {
        let config = Config { max_body_size: 100, port: 1, ..Config::default() };
        let reloaded = reloader.apply(config).await.unwrap();
        assert_eq!(reloaded.changed, ["max_body_size"]);
        assert_eq!(reloaded.needs_restart, ["port"]);
        let request = Request::call("/info", &json!({"info": {"channels": ["x".repeat(200)]}}));
        let asked = tokio::task::spawn_blocking(move || site.send(&request)).await.unwrap();
        assert_eq!(asked.status, 413);
        let request = Request::call("/reload", &json!({}));
        let asked = tokio::task::spawn_blocking(move || site.send(&request)).await.unwrap();
        assert_eq!(asked.status, 409, "nobody knows where its settings are: {asked:?}");
    });
}

#[test]
fn a_public_server_does_not_take_a_default_secret_whatever_host_is_set_now() {
    let secret = |text: &str| vec![Secret::new(text)];
    let own =
        Config { secrets: secret(FIRST), admin_secret: Secret::new(ADMIN), ..Config::default() };
    let public = Config { host: "0.0.0.0".to_owned(), ..own.clone() };
    embedded([public], None, async |[(site, reloader)]| {
        // As settings they are right: the host is a private one.
        let local = Config { secrets: secret("secret"), ..own };
        let error = reloader.apply(local.clone()).await.unwrap_err();
        assert!(matches!(error, ReloadError::Settings(_)), "{error:?}");
        assert!(error.to_string().contains("well-known default"), "{error}");
        let request = Request::call("/info", &json!({"info": {}}));
        let asked = tokio::task::spawn_blocking(move || site.send(&request)).await.unwrap();
        assert_eq!(asked.status, 401, "the default secret");
        let allowed = Config { allow_default_secrets: true, ..local };
        assert_eq!(reloader.apply(allowed).await.unwrap().needs_restart, ["host", "port"]);
    });
}

#[test]
fn on_a_shared_journal_the_rules_of_the_last_reload_count_on_all_servers() {
    let journal = SharedJournal::new();
    let configs = [Config::default(), Config::default()];
    embedded(configs, Some(&journal), async |[(one, reloader), (other, _)]| {
        let stored = Config { stored_frames: 7, gc_conns_after: PATIENCE, ..Config::default() };
        reloader.apply(stored).await.unwrap();
        let asked = tokio::task::spawn_blocking(move || {
            // What is read afterwards is read behind the rules, on each of them.
            let figures = |site: Site| site.send(&Request::new("GET", "/admin/debug").signed());
            [figures(one).status, figures(other).status]
        });
        assert_eq!(asked.await.unwrap(), [200, 200]);
        let again = Config { stored_frames: 7, gc_conns_after: PATIENCE, ..Config::default() };
        assert!(reloader.apply(again).await.unwrap().changed.is_empty());
    });
}

#[test]
fn a_server_that_is_gone_cannot_be_reloaded() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server = Server::bind(Config { port: 0, ..Config::default() }).await.unwrap();
        let reloader = server.reloader();
        drop(server);
        let error = reloader.apply(Config::default()).await.unwrap_err();
        assert!(matches!(error, ReloadError::Stopped), "{error}");
    });
}
