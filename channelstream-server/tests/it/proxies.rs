//! Each proxy of docs/operations.md before a server: nginx, HAProxy and Caddy, as their samples configure them.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use channelstream_server::Config;
use serde_json::json;

use crate::app::{App, Frame, PATIENCE, Request, Site, Socket, eventually, numbers, signature};
use crate::event_stream::passes_each_event_on_at_once;
use crate::growing::reads_a_pipe_while_it_is_written;
use crate::nginx::{Nginx, example, example_with, free_port};
use crate::process::signal;
use crate::raw::Line;

const HAPROXY: &str = include_str!("../../../deploy/haproxy.cfg");
const CADDY: &str = include_str!("../../../deploy/Caddyfile");
const TRAEFIK: &str = include_str!("../../../deploy/traefik.yaml");

/// The address of a client that has no permissions, and of one that may post.
const STRANGER: [u8; 4] = [127, 0, 0, 2];
const FRIEND: [u8; 4] = [127, 0, 0, 3];

/// A port that is free may be taken by others before the proxy has it.
const ATTEMPTS: usize = 10;

/// What the samples wait for a line that is silent, and what it is here.
const TIMEOUT: (&str, &str) = ("60s", "2s");
/// Longer than that.
const OUTLASTS: Duration = Duration::from_millis(2500);

/// A server that trusts the proxy, with heartbeats as much shorter as the time-outs are.
fn server() -> Config {
    Config {
        trusted_proxies: "127.0.0.1".parse().unwrap(),
        allow_posting_from: "127.0.0.1, 127.0.0.3".parse().unwrap(),
        heartbeat_interval: Duration::from_millis(200),
        wake_connections_after: Duration::from_millis(1500),
        ..Config::default()
    }
}

/// Replaces a text that has to be there.
#[track_caller]
fn with(text: &str, old: &str, new: &str) -> String {
    assert!(text.contains(old), "there is no `{old}` in {text}");
    text.replace(old, new)
}

/// Where a proxy listens, while it runs.
trait Proxy {
    fn address(&self) -> SocketAddr;
    /// What it has written.
    fn log(&self) -> String {
        String::new()
    }
}

impl Proxy for Nginx {
    fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }
}

/// A proxy that is one process with a configuration file. Ends when it is dropped.
struct Program {
    process: Child,
    port: u16,
    config: PathBuf,
    folder: tempfile::TempDir,
}

impl Program {
    /// Starts it on a free port, and waits until its log has `ready`. `command` makes the command of the path of the
    /// file, and `text` the file, of a port.
    fn start(
        ready: &str,
        text: impl Fn(u16) -> String,
        command: impl Fn(&Path) -> Command,
    ) -> Self {
        for _ in 0..ATTEMPTS {
            let folder = tempfile::TempDir::new().unwrap();
            let config = folder.path().join("config");
            let port = free_port();
            fs::write(&config, text(port)).unwrap();
            let log = fs::File::create(folder.path().join("log")).unwrap();
            let process = command(&config)
                .env("HOME", folder.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .expect("these tests need haproxy and caddy: `cargo xtask test` installs them");
            let mut program = Self { process, port, config, folder };
            if program.is_ready(ready) {
                return program;
            }
        }
        panic!("no port is free");
    }

    /// Waits for a text in its log. Returns `false` if its port was taken meanwhile.
    fn is_ready(&mut self, text: &str) -> bool {
        let begun = Instant::now();
        while !self.log().contains(text) {
            let ended = self.process.try_wait().unwrap().is_some();
            let log = self.log();
            if ended && (log.contains("ddress already in use") || log.contains("cannot bind")) {
                return false;
            }
            assert!(!ended && begun.elapsed() < PATIENCE, "it does not begin: {log}");
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    }
}

impl Proxy for Program {
    fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let begun = Instant::now();
        if matches!(self.process.try_wait(), Ok(None)) {
            // HAProxy passes it on to its workers.
            signal(self.process.id(), "TERM");
        }
        while begun.elapsed() < PATIENCE && matches!(self.process.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        // It fails only if it has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn nginx(server: SocketAddr) -> Nginx {
    let text = with(&example(), TIMEOUT.0, TIMEOUT.1);
    Nginx::before(&format!("http://{server}"), &text, "")
}

fn haproxy(server: SocketAddr) -> Program {
    let text = with(HAPROXY, TIMEOUT.0, TIMEOUT.1);
    let text = with(&text, "127.0.0.1:8000", &server.to_string());
    Program::start(
        "Loading success",
        |port| {
            let text = with(&text, "bind :80", &format!("bind 127.0.0.1:{port}"));
            // The HAProxy of another test that is given the same port would share it.
            format!("global\n    noreuseport\n{text}")
        },
        |config| {
            let mut command = Command::new(debian("haproxy"));
            let master = config.with_file_name("master.sock");
            command.args(["-W", "-db", "-f"]).arg(config).arg("-S").arg(master);
            command
        },
    )
}

fn caddy(server: SocketAddr) -> Program {
    let text = with(CADDY, "127.0.0.1:8000", &server.to_string());
    Program::start(
        "serving initial configuration",
        |port| {
            let site = format!("http://:{port} {{\n\tbind 127.0.0.1");
            // The address of its administration is else the same for all.
            format!("{{\n\tadmin {{$ADMIN}}\n}}\n{}", with(&text, "push.example.org {", &site))
        },
        |config| {
            let mut command = Command::new(debian("caddy"));
            command.args(["run", "--adapter", "caddyfile", "--config"]).arg(config);
            command.env("ADMIN", admin(config));
            command
        },
    )
}

/// Where this Caddy is administered.
fn admin(config: &Path) -> String {
    format!("unix/{}", config.with_file_name("admin.sock").display())
}

/// Debian has some where the searches of ordinary users don't look.
fn debian(program: &str) -> PathBuf {
    let usual = Path::new("/usr/sbin").join(program);
    if usual.exists() { usual } else { program.into() }
}

/// The status of the answer to a signed request of a client at this address.
fn status(from: [u8; 4], to: SocketAddr, request: &str, headers: &str) -> u16 {
    let mut line = Line::from(from, to);
    let body = json!({"username": "guest"}).to_string();
    line.write(format!(
        "{request} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\nx-channelstream-secret: {}\r\n\
         content-length: {}\r\n{headers}\r\n{body}",
        signature(),
        body.len(),
    ));
    line.answer().status
}

/// All that a sample promises but for pipes.
fn serves(before: impl Fn(SocketAddr) -> Box<dyn Proxy>) {
    let app = App::start(server());
    let proxy = before(app.site.0);
    let address = proxy.address();
    let site = Site(address);

    // The server sees the client, whatever that says of itself.
    assert_eq!(status(FRIEND, address, "POST /connect", ""), 200);
    assert_eq!(status(STRANGER, address, "POST /connect", ""), 403);
    for said in ["127.0.0.1", "127.0.0.3", "127.0.0.3, 127.0.0.1", "unknown", ""] {
        let header = format!("x-forwarded-for: {said}\r\n");
        for headers in [header.clone(), header.repeat(2)] {
            let status = status(STRANGER, address, "POST /connect", &headers);
            assert_eq!(status, 403, "{headers} {}", proxy.log());
        }
    }
    for header in ["x-script-name: /ws\r\n", "X-SCRIPT-NAME: /ws\r\n"] {
        assert_eq!(status(FRIEND, address, "POST /ws/connect", header), 404, "{header}");
    }
    let strict = App::start(Config { enforce_https: true, ..server() });
    let plain = before(strict.site.0);
    for name in ["x-forwarded-proto", "x-scheme", "x-url-scheme"] {
        let header = format!("{name}: https\r\n");
        assert_eq!(status(FRIEND, plain.address(), "POST /connect", &header), 406, "{name}");
    }
    // The page leads to where the browser is.
    let answer = site.send(&Request::new("GET", "/admin").header("host", &address.to_string()));
    let location = answer.header("location").unwrap();
    assert!(answer.status == 302 && !location.contains("127.0.0.1:80/"), "{answer:?}");

    // Sockets, streams, and bodies as large as the server takes them.
    let connection = site.connect("ann", &["room"]);
    let mut socket = site.socket(&connection);
    let large = "x".repeat(900 * 1024);
    let message = |text: &str| json!([{"user": "b", "channel": "room", "message": {"text": text}}]);
    site.call("/message", &message(&large));
    assert_eq!(socket.event()["message"]["text"], large);
    for _ in 0..3 {
        let answer = site.send(&Request::call("/message", &message(&large.repeat(2))));
        assert_eq!(answer.status, 413, "{answer:?}");
    }
    let silent = App::start(Config { heartbeat_interval: PATIENCE * 3, ..server() });
    passes_each_event_on_at_once(&silent, before(silent.site.0).address());

    // What is quiet for longer than the proxy waits: a socket lives by heartbeats, a poll is answered.
    let connection = site.connect("ben", &["quiet"]);
    let mut socket = site.socket(&connection);
    let poll = site.connect("cid", &["quiet"]);
    let until = Instant::now() + OUTLASTS;
    assert!(site.poll(&poll).is_empty());
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        let frame = socket.next_within(left);
        assert!(matches!(frame, Some(Frame::Heartbeat) | None), "{frame:?}");
    }
    site.publish("quiet", 1);
    assert_eq!(numbers(&[socket.event()]), [1]);
    assert_eq!(numbers(&site.poll(&poll)), [1]);
}

#[test]
fn nginx_serves() {
    serves(|server| Box::new(nginx(server)));
}

#[test]
fn haproxy_serves() {
    serves(|server| Box::new(haproxy(server)));
}

#[test]
fn caddy_serves() {
    serves(|server| Box::new(caddy(server)));
}

#[test]
fn pipes_pass_while_they_are_written() {
    let more = "proxy_request_buffering off; client_max_body_size 0;";
    let nginx = |server| {
        let text = example_with("client_max_body_size 1m;", more);
        Nginx::before(&format!("http://{server}"), &text, "")
    };
    let all: [&dyn Fn(SocketAddr) -> Box<dyn Proxy>; 3] =
        [&|server| Box::new(nginx(server)), &|server| Box::new(haproxy(server)), &|server| {
            Box::new(caddy(server))
        }];
    for before in all {
        let app = App::start(server());
        let proxy = before(app.site.0);
        reads_a_pipe_while_it_is_written(&app, Site(proxy.address()));
    }
}

/// Changes the configuration of a proxy while a client listens: each request is answered meanwhile, and the client
/// receives each message once, on the same socket or with its cursor on another.
fn goes_on_over_a_reload(
    app: &App,
    proxy: &Program,
    old: &str,
    new: &str,
    reload: impl Fn(),
    keeps_sockets: bool,
) {
    let site = Site(proxy.address());
    let connection = site.connect("ann", &["news"]);
    let open = |since: &str| {
        Socket::open_at(proxy.address(), &format!("/ws?conn_id={connection}&since={since}"))
    };
    let mut socket = open("");
    let mut since = socket.event()["seq"].as_str().unwrap().to_owned();
    let changed = with(&fs::read_to_string(&proxy.config).unwrap(), old, new);
    fs::write(&proxy.config, changed).unwrap();
    reload();
    let mut sent = 0;
    let begun = Instant::now();
    while site.get("/healthz").header("x-reloaded").is_none() {
        assert!(begun.elapsed() < PATIENCE, "it does not reload: {}", proxy.log());
        sent += 1;
        site.publish("news", sent);
    }
    app.publish("news", sent + 1);
    let (mut got, mut sockets) = (Vec::new(), 1);
    while got.last() != Some(&(sent + 1)) {
        match socket.next() {
            Frame::Heartbeat => {}
            Frame::Event(event) => {
                got.extend(numbers(std::slice::from_ref(&event)));
                event["seq"].as_str().unwrap().clone_into(&mut since);
            }
            Frame::Close(_) | Frame::End => {
                socket = open(&since);
                sockets += 1;
            }
        }
    }
    assert_eq!(got, (1..=sent + 1).collect::<Vec<_>>());
    assert_eq!(sockets == 1, keeps_sockets, "{sockets} sockets\n{}", proxy.log());
}

#[test]
fn haproxy_keeps_sockets_over_a_reload() {
    let app = App::start(server());
    let proxy = haproxy(app.site.0);
    let line = "default_backend channelstream\n";
    let more = format!("{line}    http-response set-header x-reloaded yes\n");
    let reload = || {
        // It takes no signal before it listens here.
        let path = proxy.config.with_file_name("master.sock");
        eventually("HAProxy takes commands", || UnixStream::connect(&path).is_ok());
        let mut master = UnixStream::connect(&path).unwrap();
        master.write_all(b"reload\n").unwrap();
        master.read_to_string(&mut String::new()).unwrap();
    };
    goes_on_over_a_reload(&app, &proxy, line, &more, reload, true);
}

#[test]
fn caddy_ends_sockets_at_a_reload_and_their_clients_lose_nothing() {
    let app = App::start(server());
    let proxy = caddy(app.site.0);
    let reload = || {
        let mut command = Command::new(debian("caddy"));
        command.args(["reload", "--adapter", "caddyfile", "--config"]).arg(&proxy.config);
        command.args(["--address", &admin(&proxy.config)]).env("ADMIN", admin(&proxy.config));
        command.env("HOME", proxy.folder.path());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    let (line, more) = ("\tflush_interval", "\theader_down x-reloaded yes\n\t\tflush_interval");
    goes_on_over_a_reload(&app, &proxy, line, more, reload, false);
}

/// Nothing here runs Traefik, so its sample is at least held against what the server believes.
#[test]
fn each_sample_sets_or_drops_each_header_that_the_server_believes() {
    for (sample, sets) in [
        (HAPROXY, &["X-Forwarded-Proto"][..]),
        (CADDY, &["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"]),
        (
            TRAEFIK,
            &["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port"],
        ),
    ] {
        let example = example();
        let believed =
            example.lines().filter_map(|line| line.trim().strip_prefix("proxy_set_header X-"));
        let believed: Vec<_> = believed.map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(believed.len(), 7, "{believed:?}");
        for name in believed.iter().map(|name| format!("X-{name}")) {
            let is_set = sets.contains(&&*name);
            let is_added = name == "X-Forwarded-For" && sample.contains("option forwardfor\n");
            let drops =
                [format!("del-header {name}\n"), format!("-{name}\n"), format!("{name}: \"\"\n")];
            let is_dropped = drops.iter().any(|drop| sample.contains(drop));
            assert!(is_set || is_added || is_dropped, "{name}: {sample}");
        }
    }
}
