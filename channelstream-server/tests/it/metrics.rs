//! `/metrics`: who may read it, in which format, and that the numbers are those of what was done.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use channelstream_server::Config;
use channelstream_server::config::{Address, Journal, JournalSync};
use serde_json::json;
use tempfile::TempDir;

use crate::app::{App, Line, Request, Site, eventually, numbered, numbers};
use crate::process::Process;
use crate::scrape::Scrape;

/// A free port of loopback for the metrics.
fn own_address() -> Option<Address> {
    Some(Address { host: "127.0.0.1".to_owned(), port: 0 })
}

fn metrics() -> Request {
    Request::new("GET", "/metrics")
}

/// Waits until a sample has a value.
#[track_caller]
fn becomes(site: Site, name: &str, value: f64) {
    let mut last = f64::NAN;
    eventually(name, || {
        last = Scrape::of(site).get(name);
        (last - value).abs() < 1e-9
    });
}

/// Posts one message after another until this many listeners receive one at once. Returns how many were
/// posted, and how many times one was received at once; others are caught up on.
fn all_listen(app: &App, listeners: u64) -> (u32, u64) {
    let (mut posted, mut received) = (0, 0);
    let post = Request::call("/message", &numbered("room", 0));
    let post = post.header("prefer", "return=representation");
    eventually("all listen", || {
        let recipients = app.send(&post).ok()[0]["recipients"].as_u64().unwrap();
        (posted, received) = (posted + 1, received + recipients);
        recipients == listeners
    });
    (posted, received)
}

#[test]
fn counters_move_by_what_was_done() {
    for threads in [1, 3] {
        let app = App::start(Config { threads, ..Config::default() });
        let mut sockets = ["alice", "bob"].map(|user| app.socket(&app.connect(user, &["room"])));
        let (posted, received) = all_listen(&app, 2);
        let written = |more: u32| f64::from(u32::try_from(received).unwrap() + more);
        app.publish("room", 1);
        for socket in &mut sockets {
            let events = socket.events(posted as usize + 1);
            assert_eq!(events.last().unwrap()["message"], json!({"n": 1}));
        }
        becomes(app.site, "delivery_seconds_count{transport=\"websocket\"}", written(2));
        // Three messages of one request are one run, and three events to each.
        let three = [2, 3, 4].map(|number| numbered("room", number)[0].take());
        app.call("/message", &json!(three));
        for socket in &mut sockets {
            assert_eq!(socket.events(3).len(), 3);
        }
        becomes(app.site, "delivery_seconds_count{transport=\"websocket\"}", written(8));
        becomes(app.site, "tcp_connections", 3.0);
        let unknown = Request::call("/message", &json!([{"channel": 7}]));
        assert_eq!(app.send(&unknown).status, 422);
        for path in ["/wp-login.php", "/message/", "/%ff"] {
            assert_eq!(app.get(path).status, 404, "{path}");
        }

        let told = Scrape::of(app.site);
        for (name, value) in [
            ("messages_posted_total", f64::from(posted + 4)),
            ("messages_delivered_total", f64::from(2 * posted + 8)),
            ("delivery_seconds_count{transport=\"long_poll\"}", 0.0),
            ("listeners", 2.0),
            ("users_connected", 2.0),
            ("channels", 1.0),
            ("listeners_by_transport{transport=\"websocket\"}", 2.0),
            ("requests_total{endpoint=\"/message\",status=\"200\"}", f64::from(posted + 2)),
            ("requests_total{endpoint=\"/message\",status=\"422\"}", 1.0),
            ("requests_total{endpoint=\"/connect\",status=\"200\"}", 2.0),
            ("requests_total{endpoint=\"/ws\",status=\"101\"}", 2.0),
            ("requests_total{endpoint=\"other\",status=\"404\"}", 3.0),
            ("outbox_bytes", 0.0),
            ("listeners_waiting", 0.0),
            ("listeners_behind", 0.0),
            ("ready", 1.0),
            ("draining", 0.0),
            ("loop_responding", 1.0),
            ("journal_state{state=\"following\"}", 1.0),
            ("journal_state{state=\"away\"}", 0.0),
            ("build_info{version=\"0.1.0\"}", 1.0),
        ] {
            let found = told.get(name);
            assert!((found - value).abs() < 1e-9, "{name} is {found}, not {value}");
        }
        assert!(told.get("delivery_seconds_sum{transport=\"websocket\"}") > 0.0);
        assert!(told.get("loop_batch_seconds_count") >= 5.0);
        assert!(told.get("clock_seconds") >= told.get("process_start_time_seconds"));
        assert!(told.get("process_start_time_seconds") > 1.7e9);
        if cfg!(target_os = "linux") {
            assert!(told.get("process_open_fds") > 5.0);
            assert!(told.get("process_max_fds") >= told.get("process_open_fds"));
            assert!(told.get("process_resident_memory_bytes") > 1e6);
        }

        drop(sockets);
        becomes(app.site, "listeners", 0.0);
        becomes(app.site, "listeners_ended_total{reason=\"client\"}", 2.0);
    }
}

#[test]
fn each_transport_has_its_own_count() {
    let wake_connections_after = Duration::from_secs(300);
    let app = App::start(Config { wake_connections_after, ..Config::default() });
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|user| app.connect(user, &["room"]));
    let streams = ["sse", "stream"].into_iter().zip([bob, carol]).map(|(path, connection)| {
        let mut line = Line::open(app.site.0);
        line.write(&Request::new("GET", &format!("/{path}?conn_id={connection}")).bytes());
        line
    });
    let streams: Vec<Line> = streams.collect();
    becomes(app.site, "listeners_by_transport{transport=\"sse\"}", 1.0);
    becomes(app.site, "listeners_by_transport{transport=\"ndjson\"}", 1.0);
    let mut poll = Line::open(app.site.0);
    poll.write(&Request::new("GET", &format!("/listen?conn_id={alice}")).bytes());
    becomes(app.site, "listeners_by_transport{transport=\"long_poll\"}", 1.0);
    // What streams catch up on is not measured. They have to be through with it.
    becomes(app.site, "listeners_behind", 0.0);
    app.publish("room", 1);
    assert_eq!(numbers(&poll.answer(false).unwrap().events()), [1]);
    for transport in ["long_poll", "sse", "ndjson"] {
        becomes(app.site, &format!("delivery_seconds_count{{transport=\"{transport}\"}}"), 1.0);
    }
    drop(streams);
}

#[test]
fn what_a_client_does_not_take_is_seen() {
    let app = App::start(Config::default());
    let socket = app.socket(&app.connect("alice", &["room"]));
    becomes(app.site, "listeners", 1.0);
    let long = "x".repeat(200_000);
    let message = json!([{"user": "tests", "channel": "room", "message": {"text": long}}]);
    eventually("something waits", || {
        app.call("/message", &message);
        let told = Scrape::of(app.site);
        told.get("outbox_bytes") > 100_000.0 && told.get("listeners_waiting") > 0.5
    });
    drop(socket);
    becomes(app.site, "outbox_bytes", 0.0);
}

#[test]
fn a_refusal_is_counted_by_its_limit() {
    let app = App::start(Config { max_body_size: 1000, ..Config::default() });
    let body = Request::new("POST", "/message").signed().body("x".repeat(2000));
    assert_eq!(app.send(&body).status, 413);
    assert!(Scrape::of(app.site).get("refusals_total{limit=\"max_body_size\"}") > 0.5);
}

#[test]
fn clients_add_no_series_and_no_names() {
    let app = App::start(Config::default());
    let ask = |method: &str, path: &str| drop(app.send(&Request::new(method, path)));
    for (method, path) in [("GET", "/wp-login.php"), ("GET", "/static/admin/none"), ("PUT", "/")] {
        ask(method, path);
    }
    let connection = app.connect("mallory-of-the-user", &["name-of-the-channel"]);
    let mut socket = app.socket(&connection);
    app.publish("name-of-the-channel", 1);
    assert_eq!(socket.event()["message"], json!({"n": 1}));
    Scrape::of(app.site);
    let before = Scrape::of(app.site).all().count();
    for number in 0..50 {
        ask("GET", &format!("/odd/{number}?a={number}"));
        ask(&format!("BREW{number}"), &format!("/{number}"));
        ask("GET", &format!("/static/admin/{number}.css"));
        ask("GET", &format!("/%22%7d%0a{number}"));
        let (user, channel) = (format!("user-{number}"), format!("channel-{number}"));
        app.connect(&user, &[&channel]);
        app.publish(&channel, number);
    }
    let answer = app.send(&metrics());
    assert_eq!(Scrape::parse(&answer).all().count(), before);
    for name in ["mallory", "name-of-the", "user-", "channel-", &connection] {
        assert!(!answer.body.contains(name), "{name}");
    }
    drop(socket);
}

#[test]
fn strangers_get_403_whatever_they_claim() {
    let elsewhere = "10.0.0.1, 192.0.2.0/24".parse().unwrap();
    let app = App::start(Config { allow_metrics_from: elsewhere, ..Config::default() });
    for request in [
        metrics(),
        metrics().signed(),
        metrics().header("x-forwarded-for", "10.0.0.1"),
        metrics().header("x-forwarded-for", "127.0.0.1, 10.0.0.1"),
        metrics().header("x-real-ip", "10.0.0.1"),
        metrics().header("forwarded", "for=10.0.0.1"),
        Request::new("HEAD", "/metrics"),
    ] {
        let answer = app.send(&request);
        assert_eq!(answer.status, 403, "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    assert_eq!(app.send(&metrics()).json()["code"], "403 Forbidden");
    let allowed = App::start(Config::default());
    assert_eq!(allowed.send(&metrics()).status, 200);
}

#[test]
fn behind_a_proxy_the_client_counts() {
    let trusted_proxies: channelstream_server::Networks = "127.0.0.1".parse().unwrap();
    let allow_metrics_from: channelstream_server::Networks = "10.0.0.1, 127.0.0.1".parse().unwrap();
    let trusting = App::start(Config {
        trusted_proxies,
        allow_metrics_from: allow_metrics_from.clone(),
        ..Config::default()
    });
    for (forwarded, status) in
        [("10.0.0.1", 200), ("10.0.0.2", 403), ("10.0.0.1, 10.0.0.2", 403), ("unknown", 403)]
    {
        let answer = trusting.send(&metrics().header("x-forwarded-for", forwarded));
        assert_eq!(answer.status, status, "{forwarded:?}");
    }
    assert_eq!(trusting.send(&metrics()).status, 200, "the proxy itself is in the list");
    // The address is that of a proxy that nobody has named: all the world may be behind it.
    let unaware = App::start(Config { allow_metrics_from, ..Config::default() });
    assert_eq!(unaware.send(&metrics()).status, 200);
    for forwarded in ["10.0.0.1", "127.0.0.1", "198.51.100.7"] {
        let answer = unaware.send(&metrics().header("x-forwarded-for", forwarded));
        assert_eq!(answer.status, 403, "{forwarded}");
    }
}

#[test]
fn pages_of_other_sites_read_nothing() {
    let app = App::start(Config::default());
    for (name, value) in [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")] {
        assert_eq!(app.send(&metrics().header(name, value)).status, 403, "{name}");
    }
    // A name of the attacker's, which leads to this machine: then its pages have the origin of the server.
    for name in ["evil.example", "localhost.evil.example:8000"] {
        let answer = app.send(&metrics().header("host", name));
        assert_eq!(answer.status, 403, "{name}");
        assert!(answer.body.contains("127.0.0.1 or localhost"), "{answer:?}");
    }
    // The same, if a proxy on this machine names the host.
    let trusted_proxies = "127.0.0.1".parse().unwrap();
    let behind = App::start(Config { trusted_proxies, ..Config::default() });
    for (name, status) in [("evil.example", 403), ("localhost:8000", 200)] {
        let answer = behind.send(&metrics().header("x-forwarded-host", name));
        assert_eq!(answer.status, status, "{name}");
    }
    let wide =
        Config { allow_metrics_from: "127.0.0.1, 10.0.0.1".parse().unwrap(), ..Config::default() };
    let named = App::start(wide).send(&metrics().header("host", "push.internal:8000"));
    assert_eq!(named.status, 200, "a server that others reach has names that it does not know");
    let own = app.send(&metrics().header("sec-fetch-site", "none"));
    assert_eq!(own.status, 200);
    assert_eq!(own.header("access-control-allow-origin"), None);
}

#[test]
fn a_probe_needs_neither_tls_nor_a_signature() {
    let app = App::start(Config { enforce_https: true, ..Config::default() });
    assert!(Scrape::of(app.site).has("listeners"));
    let head = app.send(&Request::new("HEAD", "/metrics"));
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    let forged = metrics().header("x-channelstream-secret", "forged");
    assert_eq!(app.send(&forged).status, 200);
}

#[test]
fn the_format_is_the_one_that_is_asked_for() {
    const OPEN: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    const OLD: &str = "text/plain; version=0.0.4; charset=utf-8";
    let app = App::start(Config::default());
    for (accept, expected) in [
        ("", OPEN),
        ("*/*", OPEN),
        ("application/json", OPEN),
        ("application/openmetrics-text", OPEN),
        ("text/plain", OLD),
        ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", OLD),
        // Prometheus 2.42 and 3.
        (
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;\
             version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            OPEN,
        ),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;\
             version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            OPEN,
        ),
    ] {
        let answer = app.send(&metrics().header("accept", accept));
        assert_eq!(answer.header("content-type"), Some(expected), "{accept}");
        assert_eq!(answer.body.ends_with("# EOF\n"), expected == OPEN, "{accept}");
    }
}

#[test]
fn promtool_finds_nothing_wrong_with_the_text() {
    let app = App::start(Config::default());
    app.publish("room", 1);
    let text = app.send(&metrics().header("accept", "text/plain")).body;
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the Debian package `prometheus` has promtool");
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn an_address_of_their_own_has_the_metrics_and_nothing_else() {
    let config = Config { metrics_addr: own_address(), ..Config::default() };
    let app = App::start(config.clone());
    let own = app.metrics.unwrap();
    assert!(Scrape::of(own).has("listeners"));
    assert_eq!(app.send(&metrics()).status, 404);
    for request in [
        Request::new("GET", "/"),
        Request::new("GET", "/admin"),
        Request::new("GET", "/healthz"),
        Request::new("POST", "/metrics").signed(),
        Request::call("/message", &numbered("room", 1)),
        Request::new("OPTIONS", "/metrics"),
    ] {
        assert_eq!(own.send(&request).status, 404);
    }
    assert!(Scrape::of(own).get("messages_posted_total") < 0.5, "nothing was done");
    assert_eq!(own.send(&Request::new("HEAD", "/metrics")).status, 200);
    let no_host = Request::new("GET", "/metrics").header("host", "");
    assert_eq!(own.send(&no_host).status, 400);

    let allow_metrics_from = "10.0.0.1".parse().unwrap();
    let shut = App::start(Config { allow_metrics_from, ..config });
    let answer = shut.metrics.unwrap().send(&metrics().header("x-forwarded-for", "10.0.0.1"));
    assert_eq!((answer.status, &answer.json()["code"]), (403, &json!("403 Forbidden")));
}

#[test]
fn a_server_that_is_full_still_tells_its_metrics_at_their_own_address() {
    let metrics_addr = own_address();
    let app = App::start(Config { max_connections: 1, metrics_addr, ..Config::default() });
    let mut full = Line::open(app.site.0);
    assert_eq!(full.send(&Request::new("GET", "/healthz")).status, 200);
    assert_eq!(app.get("/healthz").status, 503);
    let told = Scrape::of(app.metrics.unwrap());
    assert!((told.get("tcp_connections") - 1.0).abs() < 1e-9);
    assert!(told.get("refusals_total{limit=\"max_connections\"}") > 0.5);
}

#[test]
fn a_loop_that_stands_still_is_told() {
    let app = App::start(Config { metrics_addr: own_address(), ..Config::default() });
    app.publish("room", 1);
    let own = app.metrics.unwrap();
    app.block(Duration::from_secs(15));
    eventually("the loop is stuck", || Scrape::of(own).get("loop_responding") < 0.5);
    let told = Scrape::of(own);
    assert!(told.has("listeners") && told.has("ready"));
    assert!(told.get("ready") < 0.5);
    assert!(!told.has("users") && !told.has("messages_posted_total"), "nobody knows");
    becomes(own, "loop_responding", 1.0);
    assert!(told.has("loop_responding") && Scrape::of(own).has("users"));
}

#[test]
fn a_draining_server_says_so_until_its_end() {
    let flags = ["--metrics-addr", "127.0.0.1:0", "--shutdown-timeout", "25"];
    let mut process = Process::start(&[&flags[..], &["--body-timeout", "300"]].concat());
    let own: SocketAddr = process.wait_for("the address of the metrics", |log| {
        let (_, rest) = log.split_once("metrics at http://")?;
        rest.split_once("/metrics")?.0.parse().ok()
    });
    let own = Site(own);
    let request = Request::call("/message", &numbered("room", 1)).bytes();
    let (begin, rest) = request.split_at(request.len() - 5);
    let mut posting = Line::open(process.address);
    posting.write(begin);
    becomes(own, "requests_in_flight", 1.0);
    process.signal("TERM");
    becomes(own, "draining", 1.0);
    eventually("it accepts no more", || TcpStream::connect(process.address).is_err());
    assert!(Scrape::of(own).get("ready") < 0.5);
    posting.write(rest);
    assert_eq!(posting.answer(false).unwrap().status, 200);
    assert_eq!(process.ended().code(), Some(0));
    assert!(TcpStream::connect(own.0).is_err());
}

#[test]
fn a_journal_in_files_is_told() {
    let folder = TempDir::new().unwrap();
    let directory = folder.path().join("journal");
    let journal = Journal::File { directory, sync: JournalSync::Never };
    let app = App::start(Config { journal, ..Config::default() });
    app.publish("room", 1);
    let told = Scrape::of(app.site);
    assert!(told.get("journal_entries_total") >= 1.0);
    assert!(told.get("journal_writes_total") >= 1.0);
    assert!(told.get("journal_bytes") > 1.0 && told.get("journal_level") >= 1.0);
    assert!(told.has("journal_snapshot_age_seconds") && told.has("journal_waiting"));
    app.stop();
}

#[test]
fn an_address_that_is_wrong_or_taken_stops_the_start() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (value, words) in
        [("8001", "not a host with a port"), (taken.as_str(), "another program listens there")]
    {
        let mut command = Command::new(crate::process::PROGRAM);
        let output =
            crate::process::quiet(&mut command, &["--metrics-addr", value]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(words), "{value}: {said}");
    }
    let mut command = Command::new(crate::process::PROGRAM);
    command.args(["config", "check"]);
    let output =
        crate::process::quiet(&mut command, &["--metrics-addr", "0.0.0.0:0"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("allow_metrics_from lets only this machine"), "{said}");
}
