//! The server on a unix socket: who may do what there, and its file.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;
use tempfile::TempDir;

use crate::app::{PATIENCE, Request, eventually};
use crate::process::{PROGRAM, ended, quiet, signal};

/// The program on a socket in a directory of its own; killed when dropped.
struct Server {
    child: Child,
    directory: TempDir,
}

impl Server {
    fn start(flags: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), flags)
    }

    fn start_in(directory: TempDir, flags: &[&str]) -> Self {
        let host = format!("unix:{}", directory.path().join("server.sock").display());
        let mut command = Command::new(PROGRAM);
        let flags = [&["--host", &host], flags].concat();
        let child = quiet(&mut command, &flags).stderr(Stdio::null()).spawn().unwrap();
        let server = Self { child, directory };
        eventually("it listens", || UnixStream::connect(server.path()).is_ok());
        server
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("server.sock")
    }

    fn send(&self, request: Request) -> String {
        send(&self.path(), request)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn send(path: &Path, request: Request) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&request.header("connection", "close").bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn connect() -> Request {
    Request::call("/connect", &json!({"username": "ann", "channels": ["a"]}))
}

/// The `conn_id` in an answer.
fn connection(answer: &str) -> &str {
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    answer.split_once(r#""conn_id":""#).unwrap().1.split('"').next().unwrap()
}

#[test]
fn it_serves_requests_polls_and_websockets() {
    let server = Server::start(&[]);
    let answer = server.send(connect());
    let id = connection(&answer);
    let mut socket = UnixStream::connect(server.path()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let handshake = format!(
        "GET /ws?conn_id={id} HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\n\
         upgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    );
    socket.write_all(handshake.as_bytes()).unwrap();
    let mut read = Vec::new();
    let mut wait_for = |text: &str| {
        while !String::from_utf8_lossy(&read).contains(text) {
            let mut piece = [0; 4096];
            let count = socket.read(&mut piece).unwrap();
            assert!(count > 0, "{}", String::from_utf8_lossy(&read));
            read.extend_from_slice(&piece[..count]);
        }
    };
    wait_for("101 Switching Protocols");
    let message = json!([{"user": "bob", "channel": "a", "message": {"text": "over a socket"}}]);
    assert!(server.send(Request::call("/message", &message)).contains("200 OK"));
    wait_for("over a socket");
    let poll =
        server.send(Request::new("GET", "/listen?conn_id=00000000-0000-0000-0000-000000000000"));
    assert!(poll.starts_with("HTTP/1.1 401"), "{poll}");
}

#[test]
fn it_may_post_where_loopback_may_and_is_a_proxy_only_by_name() {
    let metrics = || Request::new("GET", "/metrics");
    let forwarded = || metrics().header("x-forwarded-for", "192.0.2.1");
    for (flags, posts, reads, reads_behind_proxy) in [
        (&[][..], "200", "200", "403"),
        (
            &["--allow-posting-from", "10.0.0.1", "--allow-metrics-from", "10.0.0.1"],
            "403",
            "403",
            "403",
        ),
        (&["--allow-posting-from", "unix", "--allow-metrics-from", "unix"], "200", "200", "403"),
        // As a proxy it names the client, who may read nothing.
        (&["--trusted-proxies", "unix"], "200", "200", "403"),
        (&["--trusted-proxies", "unix", "--allow-metrics-from", "192.0.2.1"], "200", "403", "200"),
        (
            &["--trusted-proxies", "127.0.0.1", "--allow-metrics-from", "192.0.2.1"],
            "200",
            "403",
            "403",
        ),
    ] {
        let server = Server::start(flags);
        for (request, status) in
            [(connect(), posts), (metrics(), reads), (forwarded(), reads_behind_proxy)]
        {
            let answer = server.send(request);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{flags:?}: {answer}");
        }
    }
}

#[test]
fn a_server_that_is_killed_leaves_a_socket_that_the_next_one_replaces() {
    let mut server = Server::start(&[]);
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    assert!(server.path().exists());
    let directory = std::mem::replace(&mut server.directory, tempfile::tempdir().unwrap());
    let mut server = Server::start_in(directory, &[]);
    connection(&server.send(connect()));
    // A second one does not take the place of one that is alive.
    let host = format!("unix:{}", server.path().display());
    let mut second = Command::new(PROGRAM);
    let second = quiet(&mut second, &["--host", &host]).output().unwrap();
    let log = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{log}");
    assert!(log.contains("another program listens there already"), "{log}");
    connection(&server.send(connect()));
    signal(server.child.id(), "TERM");
    assert_eq!(ended(&mut server.child, String::new).code(), Some(0));
    assert!(!server.path().exists(), "the file is removed at the end");
}

#[test]
fn metrics_may_have_a_unix_socket_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("metrics.sock");
    let _server = Server::start(&["--metrics-addr", &format!("unix:{}", path.display())]);
    let answer = send(&path, Request::new("GET", "/metrics"));
    assert!(answer.contains("channelstream_build_info"), "{answer}");
}
