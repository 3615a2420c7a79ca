//! TLS: requests, polls and websockets over it, and clients that break it.

use std::io::{ErrorKind, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use channelstream_server::config::TlsIdentity;
use channelstream_server::{Config, Secret};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use socket2::{Domain, Socket as System, Type};

use crate::app::{App, PATIENCE, Request, eventually};
use crate::frames::{END_HEADERS, END_STREAM, HEADERS, frame, request};

/// Certificates for tests only, valid until 2126.
pub(crate) const CERTIFICATE: &str =
    include_str!("../../../channelstream-client/tests/it/tls/server.pem");
pub(crate) const KEY: &str = include_str!("../../../channelstream-client/tests/it/tls/server.key");
pub(crate) const ISSUER: &str = include_str!("../../../channelstream-client/tests/it/tls/ca.pem");

pub(crate) fn identity() -> TlsIdentity {
    TlsIdentity { certificate: CERTIFICATE.to_owned(), key: Secret::new(KEY) }
}

/// A server with TLS, whose metrics can be read without.
struct Secure(App);

impl Secure {
    fn start(change: impl FnOnce(&mut Config)) -> Self {
        let metrics_addr = Some("127.0.0.1:0".parse().unwrap());
        let mut config = Config { tls: Some(identity()), metrics_addr, ..Config::default() };
        change(&mut config);
        Self(App::start(config))
    }

    fn address(&self) -> SocketAddr {
        self.0.site.0
    }

    fn line(&self) -> Line {
        Line::to(self.address(), &[])
    }

    fn call(&self, path: &str, body: &Value) -> Value {
        let answer = self.line().send(Request::call(path, body));
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    fn connect(&self, user: &str) -> String {
        let answer = self.call("/connect", &json!({"username": user, "channels": ["a"]}));
        answer["conn_id"].as_str().unwrap().to_owned()
    }

    fn publish(&self, number: u64, text: &str) {
        let message = json!({"n": number, "text": text});
        self.call("/message", &json!([{"user": "p", "channel": "a", "message": message}]));
    }

    /// A metric, as it stands in the exposition.
    fn figure(&self, name: &str) -> u64 {
        let text = self.0.metrics.unwrap().get("/metrics").body;
        let name = format!("channelstream_{name} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&name));
        value.unwrap_or_else(|| panic!("{name}: {text}")).parse().unwrap()
    }

    fn websocket(&self, connection: &str) -> Line {
        self.line().upgraded(connection)
    }

    /// A line whose system takes little that is not read.
    fn narrow(&self) -> Line {
        let system = System::new(Domain::IPV4, Type::STREAM, None).unwrap();
        system.set_recv_buffer_size(2048).unwrap();
        system.connect(&self.address().into()).unwrap();
        Line::over(system.into(), &[])
    }
}

/// A client over TLS.
pub(crate) struct Line {
    pub(crate) stream: StreamOwned<ClientConnection, TcpStream>,
    read: Vec<u8>,
}

impl Line {
    pub(crate) fn to(address: SocketAddr, protocols: &[&[u8]]) -> Self {
        Self::over(TcpStream::connect(address).unwrap(), protocols)
    }

    fn over(stream: TcpStream, protocols: &[&[u8]]) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ISSUER.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: StreamOwned::new(connection, stream), read: Vec::new() }
    }

    /// Opens a websocket on a connection.
    pub(crate) fn upgraded(mut self, connection: &str) -> Self {
        let handshake = Request::new("GET", &format!("/ws?conn_id={connection}"))
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==");
        self.stream.write_all(&handshake.bytes()).unwrap();
        let head = self.until(b"\r\n\r\n");
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        self
    }

    /// Sends a request and reads until the server closes.
    pub(crate) fn send(&mut self, request: Request) -> String {
        self.stream.write_all(&request.header("connection", "close").bytes()).unwrap();
        let mut answer = Vec::new();
        // An end without a close_notify would be an error.
        self.stream.read_to_end(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    }

    fn more(&mut self) -> bool {
        let mut piece = [0; 16 * 1024];
        match self.stream.read(&mut piece) {
            Ok(count) => {
                self.read.extend_from_slice(&piece[..count]);
                count > 0
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// Takes what comes up to a mark.
    pub(crate) fn until(&mut self, mark: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.read.windows(mark.len()).position(|bytes| bytes == mark) {
                return self.read.drain(..at + mark.len()).collect();
            }
            assert!(self.more(), "it ends with {:?}", String::from_utf8_lossy(&self.read));
        }
    }

    /// The next frame of a websocket: its first byte, and what it carries.
    pub(crate) fn frame(&mut self) -> (u8, Vec<u8>) {
        let need = |count: usize, read: &mut Self| {
            while read.read.len() < count {
                assert!(read.more(), "it ends within a frame");
            }
        };
        need(2, self);
        let (head, length) = match self.read[1] {
            126 => {
                need(4, self);
                (4, usize::from(self.read[2]) << 8 | usize::from(self.read[3]))
            }
            127 => {
                need(10, self);
                (
                    10,
                    usize::try_from(u64::from_be_bytes(self.read[2..10].try_into().unwrap()))
                        .unwrap(),
                )
            }
            short => (2, usize::from(short)),
        };
        need(head + length, self);
        let first = self.read[0];
        let frame = self.read[head..head + length].to_vec();
        self.read.drain(..head + length);
        (first, frame)
    }

    /// The number of the next message; heartbeats are passed over.
    fn number(&mut self) -> u64 {
        loop {
            let (first, frame) = self.frame();
            assert_eq!(first, 0x81, "{:?}", String::from_utf8_lossy(&frame));
            let events: Value = serde_json::from_slice(&frame).unwrap();
            if let Some(number) = events[0]["message"]["n"].as_u64() {
                return number;
            }
        }
    }
}

#[test]
fn requests_polls_and_websockets() {
    for threads in [1, 3] {
        let server = Secure::start(|config| config.threads = threads);
        let id = server.connect("ann");
        let mut socket = server.websocket(&id);
        for number in 0..50 {
            let text = "x".repeat(usize::try_from(number).unwrap() * 1500);
            server.publish(number, &text);
            assert_eq!(socket.number(), number);
        }
        // A ping within a record of its own, and its pong.
        socket.stream.write_all(&[0x89, 0x82, 0, 0, 0, 0, b'h', b'i']).unwrap();
        loop {
            let frame = socket.frame();
            if frame.0 == 0x8a {
                assert_eq!(frame.1, b"hi");
                break;
            }
        }
        // Closed as TLS wants it: at once.
        socket.stream.conn.send_close_notify();
        socket.stream.flush().unwrap();
        eventually("the socket is gone", || server.figure("listeners") == 0);
        server.publish(99, "");
        let poll = server.line().send(Request::new("GET", &format!("/listen?conn_id={id}")));
        assert!(poll.contains(r#""n":99"#), "{poll}");
        assert_eq!(server.figure("tls_handshakes_failed_total{reason=\"malformed\"}"), 0);
    }
}

#[test]
fn a_poll_ends_with_its_peer() {
    let server = Secure::start(|config| config.wake_connections_after = Duration::from_secs(300));
    let id = server.connect("ann");
    for says_so in [true, false] {
        let mut poll = server.line();
        let request = Request::new("GET", &format!("/listen?conn_id={id}"));
        poll.stream.write_all(&request.bytes()).unwrap();
        eventually("it listens", || server.figure("listeners") == 1);
        if says_so {
            poll.stream.conn.send_close_notify();
            poll.stream.flush().unwrap();
        } else {
            poll.stream.sock.shutdown(std::net::Shutdown::Both).unwrap();
        }
        eventually("the poll is gone", || server.figure("listeners") == 0);
    }
}

#[test]
fn a_socket_that_reads_slowly_gets_all_and_in_order() {
    const COUNT: u64 = 60;
    let server = Secure::start(|config| config.outbox_bytes = 1 << 30);
    let mut socket = server.narrow().upgraded(&server.connect("slow"));
    let text = "x".repeat(100_000);
    for number in 0..COUNT {
        server.publish(number, &text);
    }
    // What the system takes is full, and a record waits half written.
    eventually("something waits", || server.figure("listeners_waiting") == 1);
    for number in 0..COUNT {
        assert_eq!(socket.number(), number);
    }
}

#[test]
fn what_is_not_read_is_given_up() {
    let server = Secure::start(|config| {
        config.answer_timeout = Duration::from_secs(1);
        config.heartbeat_interval = Duration::from_millis(200);
        config.ping_interval = Duration::from_millis(500);
        config.ping_timeout = Duration::from_millis(500);
        config.outbox_bytes = 1 << 30;
    });
    let mut answers = server.line();
    let request = Request::new("GET", "/static/channelstream/index.js.map").bytes();
    // Nobody reads them, so that not all of them may be taken.
    answers.stream.sock.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let _ = answers.stream.write_all(&request.repeat(60));
    let socket = server.websocket(&server.connect("silent"));
    let text = "x".repeat(900_000);
    for number in 0..10 {
        server.publish(number, &text);
    }
    eventually("both are gone", || {
        server.figure("listeners") == 0 && server.figure("tcp_connections") == 0
    });
    drop((answers, socket));
}

#[test]
fn what_is_encrypted_behind_the_last_answer_is_not_waited_for_forever() {
    let server = Secure::start(|config| config.answer_timeout = Duration::from_secs(1));
    let lines: Vec<_> = (0..20)
        .map(|_| {
            let mut line = server.narrow();
            let request = Request::new("GET", "/static/channelstream/index.js.map");
            let request = request.header("connection", "close").bytes();
            line.stream.write_all(&request).unwrap();
            line
        })
        .collect();
    eventually("they are gone", || server.figure("tcp_connections") == 0);
    drop(lines);
}

#[test]
fn http_2_is_agreed_on_and_http_1_without_a_word_about_it() {
    let server = Secure::start(|_| {});
    for (offered, agreed) in [
        (&[&b"h2"[..], b"http/1.1"][..], Some(&b"h2"[..])),
        (&[b"http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let mut line = Line::to(server.address(), offered);
        line.stream.flush().unwrap();
        line.stream.conn.complete_io(&mut line.stream.sock).unwrap();
        assert_eq!(line.stream.conn.alpn_protocol(), agreed);
        if agreed == Some(b"h2") {
            line.stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
            // The settings of the server come first.
            while line.read.len() < 9 {
                assert!(line.more());
            }
            assert_eq!(line.read[3], 4);
        } else {
            let answer = line.send(Request::new("GET", "/healthz"));
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
    }
    let mut other = Line::to(server.address(), &[b"ftp"]);
    assert!(other.stream.write_all(b"x").and_then(|()| other.stream.read(&mut [0])).is_err());
    let incompatible = "tls_handshakes_failed_total{reason=\"incompatible\"}";
    eventually("it is counted", || server.figure(incompatible) == 1);
}

/// Streams that their connection had not begun when it ended kept themselves and it.
#[test]
fn who_asks_for_much_over_http_2_and_leaves_is_gone() {
    let server = Secure::start(|_| {});
    let connections = 40;
    for number in 0..connections {
        let mut line = Line::to(server.address(), &[b"h2"]);
        let heads = (0..100).flat_map(|stream| {
            let block = request("GET", "/static/admin/style.css");
            frame(HEADERS, END_HEADERS | END_STREAM, 2 * stream + 1, &block)
        });
        let settings = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        let all: Vec<u8> = settings.iter().copied().chain(heads).collect();
        line.stream.write_all(&all).unwrap();
        if number % 2 == 0 {
            // A reset, since something is unread.
            assert!(line.more());
        }
    }
    let opened = "http_connections_total{protocol=\"http2\"}";
    eventually("all have begun", || server.figure(opened) == connections);
    eventually("they are gone", || server.figure("tcp_connections") == 0);
}

/// Runs curl, which trusts the issuer. Returns what it writes.
fn curl(flags: &[&str], directory: &Path) -> String {
    let issuer = directory.join("ca.pem");
    std::fs::write(&issuer, ISSUER).unwrap();
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "20", "--cacert"])
        .arg(&issuer)
        .args(flags)
        .output()
        .unwrap();
    assert!(output.status.success(), "{flags:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn curl_speaks_both_versions() {
    let server = Secure::start(|_| {});
    let directory = tempfile::tempdir().unwrap();
    let url =
        format!("https://localhost:{}/static/channelstream/index.js", server.address().port());
    let [one, two] = ["--http1.1", "--http2"].map(|version| {
        curl(&[version, "--write-out", "\n%{http_version}", &url], directory.path())
    });
    let ((body, one), (other, two)) =
        (one.rsplit_once('\n').unwrap(), two.rsplit_once('\n').unwrap());
    assert_eq!((one, two), ("1.1", "2"));
    assert!(body.len() > 1000 && body == other);
    assert_eq!(server.figure("http_connections_total{protocol=\"http2\"}"), 1);
    let health = format!("https://localhost:{}/healthz", server.address().port());
    let old = curl(&["--tlsv1.2", "--tls-max", "1.2", &health], directory.path());
    assert_eq!(old, r#"{"status":"ok"}"#);
    let plain = App::start(Config::default());
    let url = format!("http://{}/healthz", plain.site.0);
    let answer = curl(
        &["--http2-prior-knowledge", "--write-out", " %{http_version}", &url],
        directory.path(),
    );
    assert_eq!(answer, r#"{"status":"ok"} 2"#);
}

#[test]
fn a_request_without_tls_is_told_so() {
    let server = Secure::start(|_| {});
    let answer = server.0.get("/healthz");
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("https://"), "{answer:?}");
    assert_eq!(server.figure("tls_handshakes_failed_total{reason=\"plain_http\"}"), 1);
}

#[test]
fn handshakes_that_do_not_come_end_in_time_and_count_as_connections() {
    let server = Secure::start(|config| {
        config.head_timeout = Duration::from_secs(2);
        config.max_connections = 3;
    });
    let begun = || {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&[0x16, 3, 1]).unwrap();
        stream
    };
    let mut lines: Vec<_> = (0..3).map(|_| begun()).collect();
    eventually("they are open", || server.figure("tcp_connections") == 3);
    let mut refused = begun();
    assert_eq!(refused.read(&mut [0; 16]).unwrap_or(0), 0, "without a word");
    for line in &mut lines {
        assert_eq!(line.read(&mut [0; 16]).unwrap_or(0), 0);
    }
    let late = "tls_handshakes_failed_total{reason=\"timeout\"}";
    eventually("they are counted", || server.figure(late) == 3);
    let mut garbage = TcpStream::connect(server.address()).unwrap();
    garbage.write_all(&[0x16; 1000]).unwrap();
    let malformed = "tls_handshakes_failed_total{reason=\"malformed\"}";
    eventually("it is counted", || server.figure(malformed) == 1);
    drop(TcpStream::connect(server.address()).unwrap());
    let closed = "tls_handshakes_failed_total{reason=\"closed\"}";
    eventually("it is counted", || server.figure(closed) == 1);
    server.connect("ann");
}

#[test]
fn the_scheme_is_https() {
    let server = Secure::start(|config| config.enforce_https = true);
    server.connect("ann");
    let form = Request::new("POST", "/admin/sign_in")
        .header("content-type", "application/x-www-form-urlencoded")
        .body("username=admin&password=admin_secret");
    let answer = server.line().send(form);
    assert!(answer.contains("; Secure"), "{answer}");
    assert!(answer.contains("\r\nlocation: https://localhost"), "{answer}");
}
