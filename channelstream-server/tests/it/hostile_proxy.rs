//! Strangers behind a proxy: forged headers give them no permissions (contract §3, §13).

use std::net::SocketAddr;

use channelstream_server::config::Secret;
use serde_json::{Value, json};

use crate::app::{Site, signature};
use crate::nginx::{Nginx, example, example_with};
use crate::process::Process;
use crate::raw::{Line, Response, TestServer};

/// The address of a stranger; the proxy is 127.0.0.1.
const STRANGER: [u8; 4] = [127, 0, 0, 2];

/// The answer to a signed request of a stranger with these header lines.
#[track_caller]
fn stranger(to: SocketAddr, request: &str, headers: &[u8]) -> Response {
    let mut line = Line::from(STRANGER, to);
    let body = json!({"username": "stranger"}).to_string();
    let head = format!(
        "{request} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\nx-channelstream-secret: {}\r\n\
         content-length: {}\r\n",
        signature(),
        body.len(),
    );
    line.write([head.as_bytes(), headers, b"\r\n", body.as_bytes()].concat());
    line.answer()
}

/// A server that trusts nginx on this machine, and lets no other address post.
fn server() -> TestServer {
    TestServer::with(|config| {
        config.trusted_proxies = "127.0.0.1".parse().unwrap();
        config.allow_posting_from = "127.0.0.1, ::1".parse().unwrap();
    })
}

/// nginx before a server, and where it listens.
fn nginx(server: SocketAddr, text: &str) -> (Nginx, SocketAddr) {
    let nginx = Nginx::before(&format!("http://{server}"), text, "");
    let address = ([127, 0, 0, 1], nginx.port).into();
    (nginx, address)
}

#[test]
fn a_stranger_behind_nginx_is_never_taken_for_it() {
    let server = server();
    let (_nginx, address) = nginx(server.address(), &example());
    assert_eq!(stranger(address, "POST /connect", b"").status, 403);
    for said in
        [&b"\xff"[..], b"127.0.0.1", b"127.0.0.1, \xff", b"unknown", b"", b",", b"127.0.0.1,"]
    {
        let headers = [b"x-forwarded-for: ", said, b"\r\n"].concat();
        let answer = stranger(address, "POST /connect", &headers);
        assert_eq!(answer.status, 403, "{}: {answer:?}", said.escape_ascii());
        let twice = [&headers[..], &headers].concat();
        assert_eq!(
            stranger(address, "POST /connect", &twice).status,
            403,
            "{}",
            said.escape_ascii()
        );
    }
    // A client that reaches the server past nginx keeps its own address.
    server.assert_alive();
}

/// nginx lets one path through; the server must see the same path.
#[test]
fn no_header_leads_past_the_rules_of_nginx_on_paths() {
    let server = TestServer::with(|config| {
        config.trusted_proxies = "127.0.0.1".parse().unwrap();
        config.allow_posting_from = "0.0.0.0".parse().unwrap();
    });
    let (_nginx, address) =
        nginx(server.address(), &example_with("location / {", "location /ws {"));
    for header in ["x-script-name: /ws\r\n", "X-SCRIPT-NAME: /ws/\r\n", "x_script_name: /ws\r\n"] {
        for path in ["/ws/connect", "/ws/admin/sign_in"] {
            let answer = stranger(address, &format!("POST {path}"), header.as_bytes());
            assert_eq!(answer.status, 404, "{header} {path}: {answer:?}");
        }
    }
    assert_eq!(server.figures()["total_connections"], 0);
    // The headers of nginx itself are trusted.
    let prefixed = example_with("location / {", "location /push/ {")
        .replace("X-Script-Name \"\";", "X-Script-Name /push;");
    let (_nginx, address) = nginx(server.address(), &prefixed);
    let answer = stranger(address, "POST /push/connect", b"x-script-name: /push/connect\r\n");
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn a_stranger_cannot_say_that_they_came_by_https() {
    let server = TestServer::with(|config| {
        config.trusted_proxies = "127.0.0.1".parse().unwrap();
        config.enforce_https = true;
    });
    let (_nginx, address) = nginx(server.address(), &example());
    // Nor do they without the lines that drop the headers of clients.
    let (_old, old) = nginx(server.address(), &without_dropping());
    for address in [address, old] {
        for header in ["x-url-scheme", "x-scheme", "x-forwarded-proto"] {
            let answer =
                stranger(address, "POST /connect", format!("{header}: https\r\n").as_bytes());
            assert_eq!(answer.status, 406, "{header}: {answer:?}");
        }
    }
}

/// The example of docs/operations.md without the lines that drop what clients could send.
fn without_dropping() -> String {
    example().lines().filter(|line| !line.contains(" \"\";")).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_drops_each_header_that_is_believed_and_not_set() {
    let example = example();
    for name in ["For", "Proto", "Host", "Port"].map(|name| format!("X-Forwarded-{name}")) {
        assert!(example.contains(&format!("proxy_set_header {name} ")), "{name}");
    }
    for name in ["Host", "X-Scheme", "X-Script-Name", "X-Url-Scheme"] {
        assert!(example.contains(&format!("proxy_set_header {name} ")), "{name}");
    }
}

/// The answer to a signed request through a trusted proxy that sends these headers.
fn forwarded(server: &TestServer, lines: &[&[u8]]) -> u16 {
    let mut line = server.line();
    let mut head = format!(
        "GET /info HTTP/1.1\r\nhost: localhost\r\nx-channelstream-secret: {}\r\n",
        signature()
    )
    .into_bytes();
    for value in lines {
        head.extend([b"x-forwarded-for: ", *value, b"\r\n"].concat());
    }
    line.write([&head[..], b"\r\n"].concat());
    line.answer().status
}

#[test]
fn addresses_are_read_in_each_form_and_what_cannot_be_read_has_no_rights() {
    for allowed in ["127.0.0.1, 203.0.113.0/24, 2001:db8::/32", "0.0.0.0", "::", "0.0.0.0/0, ::/0"]
    {
        let server = TestServer::with(|config| {
            config.trusted_proxies = "127.0.0.1".parse().unwrap();
            config.allow_posting_from = allowed.parse().unwrap();
        });
        for good in [
            &b"203.0.113.5"[..],
            b"203.0.113.5:4711",
            b"[2001:db8::1]:4711",
            b"[2001:db8::1]",
            b"::ffff:203.0.113.5",
            b"\xff, 203.0.113.5",
            b"unknown, 203.0.113.5:1, 127.0.0.1",
        ] {
            assert_eq!(forwarded(&server, &[good]), 200, "{allowed}: {}", good.escape_ascii());
        }
        for bad in
            [&b"unknown"[..], b"203.0.113.5,", b"", b"\xff", b"203.0.113.5 \xff", b"localhost"]
        {
            assert_eq!(forwarded(&server, &[bad]), 403, "{allowed}: {}", bad.escape_ascii());
            let lines = [b"203.0.113.5", bad];
            assert_eq!(forwarded(&server, &lines), 403, "{allowed}: {}", bad.escape_ascii());
        }
        // A request of the proxy itself.
        assert_eq!(forwarded(&server, &[]), 200, "{allowed}");
    }
}

#[test]
fn each_client_has_an_allowance_and_those_that_are_unknown_one_together() {
    let server = TestServer::with(|config| {
        config.trusted_proxies = "127.0.0.1".parse().unwrap();
        config.max_requests_per_address = 2;
    });
    let ask = |from: &str| forwarded(&server, &[from.as_bytes()]);
    for from in
        ["::ffff:203.0.113.5", "::ffff:203.0.113.6", "203.0.113.7:4711", "203.0.113.8", "unknown"]
    {
        assert_eq!([ask(from), ask(from)], [403, 403], "{from}");
        let refused = ask(from);
        assert!([429, 503].contains(&refused), "{from}: {refused}");
    }
    for same in
        ["203.0.113.5", "[::ffff:203.0.113.6]:80", "203.0.113.7:4712", "other", "", "\u{ff}"]
    {
        let refused = ask(same);
        assert!([429, 503].contains(&refused), "{same}: {refused}");
    }
    server.assert_alive();
}

/// The lines of a log that hold all of these.
fn lines_with(log: &str, texts: &[&str]) -> usize {
    log.lines().filter(|line| texts.iter().all(|text| line.contains(text))).count()
}

#[test]
fn the_log_tells_of_proxies_and_limits_once() {
    let flags = ["--trusted-proxies", "127.0.0.1", "--max-requests-per-address", "2"];
    let process = Process::start(&[&flags[..], &["--max-failed-sign-ins", "1"]].concat());
    let address = process.address;
    let ask = |source: [u8; 4], method: &str, path: &str, headers: &[u8], body: &str| {
        let mut line = Line::from(source, address);
        let length = body.len();
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n");
        line.write([head.as_bytes(), headers, b"\r\n", body.as_bytes()].concat());
        line.answer().status
    };
    let proxy = [127, 0, 0, 1];
    for _ in 0..3 {
        ask(proxy, "GET", "/nowhere", b"x-forwarded-for: 10.0.0.1, odd\xff one\r\n", "");
        for source in [STRANGER, [127, 0, 0, 3]] {
            ask(source, "GET", "/nowhere", b"x-forwarded-for: 203.0.113.5\r\n", "");
        }
    }
    for _ in 0..5 {
        ask(proxy, "GET", "/nowhere", b"x-forwarded-for: 203.0.113.9\r\n", "");
    }
    for _ in 0..3 {
        ask(
            proxy,
            "POST",
            "/admin/sign_in",
            b"x-forwarded-for: 127.0.0.9\r\n",
            "username=a&password=b",
        );
    }
    ask(proxy, "POST", "/disconnect", b"", &"[".repeat(100));
    let figures = Site(address).send(&crate::app::Request::new("GET", "/admin/debug").signed());
    let count = |limit: &str| {
        let line = format!("refusals_total{{limit=\"{limit}\"}}: ");
        let told = figures.body.lines().find_map(|told| told.strip_prefix(&*line)).unwrap();
        told.parse::<u64>().unwrap()
    };
    // The unknown address was refused once, the known one three times.
    assert_eq!(count("max_requests_per_address"), 4, "{}", figures.body);
    assert_eq!(count("max_failed_sign_ins"), 2);
    assert_eq!(count("max_json_depth"), 1);
    assert_eq!(count("max_connections"), 0);

    let log = process
        .wait_for("the warnings", |log| log.contains("max_json_depth").then(|| log.to_owned()));
    assert_eq!(lines_with(&log, &["WARN", r"read=odd\xff one", "names no address"]), 1, "{log}");
    for source in ["127.0.0.2", "127.0.0.3"] {
        let peer = format!("peer={source}");
        assert_eq!(lines_with(&log, &["WARN", &peer, "add it to trusted_proxies"]), 1, "{log}");
    }
    let (advice, mut by_limit) = ("add it to trusted_proxies", Vec::new());
    for (limit, peer) in [
        ("limit=\"max_requests_per_address\"", "peer=unknown"),
        ("limit=\"max_failed_sign_ins\"", "peer=127.0.0.9"),
        ("limit=\"max_json_depth\"", "peer=127.0.0.1"),
    ] {
        assert_eq!(lines_with(&log, &["WARN", limit]), 1, "{log}");
        assert_eq!(lines_with(&log, &["WARN", limit, peer]), 1, "{log}");
        by_limit.push(lines_with(&log, &[limit, advice]));
    }
    assert_eq!(by_limit, [0, 1, 0], "who is unknown is behind a proxy that is named: {log}");
}

#[test]
fn lines_beyond_the_limit_leave_a_trace() {
    let process = Process::start(&["--max-connections", "2"]);
    let open: Vec<_> = (0..2).map(|_| Line::to(process.address)).collect();
    // They are accepted in the order in which they came.
    let mut refused = Line::from(STRANGER, process.address);
    assert_eq!(refused.answer().status, 503);
    drop(open);
    process.wait_for("the warning", |log| {
        let told = lines_with(log, &["WARN", "limit=\"max_connections\"", "peer=127.0.0.2"]);
        (told == 1).then_some(())
    });
}

/// A browser that shows pages of `origin` and sends requests to `address`.
struct Browser<'a> {
    address: SocketAddr,
    origin: &'a str,
}

impl Browser<'_> {
    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> Response {
        let Self { address, origin } = self;
        let mut line = Line::from(STRANGER, *address);
        line.write(format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\norigin: {origin}\r\nconnection: close\r\n\
             content-length: {}\r\n{headers}\r\n{body}",
            body.len()
        ));
        line.answer()
    }

    fn sign_in(&self) -> Response {
        let accept = "accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\n";
        self.ask("POST", "/admin/sign_in", accept, "username=admin&password=its%20own")
    }

    /// Carries out an action with the cookie of this answer to a sign-in.
    fn act(&self, signed_in: &Response) -> Response {
        let cookie = signed_in.header("set-cookie").unwrap().split(';').next().unwrap();
        let headers = format!("cookie: {cookie}\r\ncontent-type: application/json\r\n");
        let info: Value = json!({"info": {"channels": []}});
        let acted = self.ask("POST", "/admin/api/info", &headers, &info.to_string());
        // So a page that gets no socket asks whether it is still signed in.
        let asked = self.ask("OPTIONS", "/admin/api/info", &headers, "");
        assert_eq!(asked.status, acted.status);
        assert!(asked.status == 200 || asked.body == acted.body, "{asked:?}");
        acted
    }
}

#[test]
fn the_admin_pages_work_on_another_port_and_else_say_what_is_missing() {
    let server = TestServer::with(|config| {
        config.trusted_proxies = "127.0.0.1".parse().unwrap();
        config.admin_secret = Secret::new("its own");
    });
    let host = "proxy_set_header Host $http_host;";
    let without_port = "proxy_set_header Host $host;";
    let old = without_dropping();
    for text in [
        // As the example has it; by a host without its port and the port beside; by both.
        example(),
        old.replace(
            host,
            &format!("{without_port} proxy_set_header X-Forwarded-Port $server_port;"),
        ),
        old.replace(
            host,
            "proxy_set_header Host inner.test; proxy_set_header X-Forwarded-Host $http_host;",
        ),
    ] {
        let (_nginx, address) = nginx(server.address(), &text);
        let browser = Browser { address, origin: &format!("http://{address}") };
        let signed_in = browser.sign_in();
        assert_eq!(signed_in.status, 302, "{signed_in:?}");
        assert_eq!(
            signed_in.header("location"),
            Some("/admin"),
            "it leads to where the browser is"
        );
        let acted = browser.act(&signed_in);
        assert_eq!(acted.status, 200, "{text}: {acted:?}");
    }
    // After a sign-in at the server itself, the refusal names what the proxy changes.
    let here = server.address();
    let signed_in = Browser { address: here, origin: &format!("http://{here}") }.sign_in();
    assert_eq!(signed_in.status, 302, "{signed_in:?}");
    let (_nginx, address) = nginx(here, &old.replace(host, without_port));
    let browser = Browser { address, origin: &format!("http://{address}") };
    let refused = browser.sign_in();
    let acted = browser.act(&signed_in);
    acted.assert_problem(403);
    for answer in [refused, acted] {
        assert_eq!(answer.status, 403, "{answer:?}");
        for part in
            [&*format!("http://{address},"), "the request is for 127.0.0.1:", "Host $http_host"]
        {
            assert!(answer.text().contains(part), "{part}: {answer:?}");
        }
    }
    // Another server on the same host is another origin all the same.
    let (_nginx, address) = nginx(here, &example());
    Browser { address, origin: "http://127.0.0.1:1" }.act(&signed_in).assert_problem(403);
}
