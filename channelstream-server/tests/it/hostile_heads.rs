//! Request heads with a forged host, and refusals of malformed heads.

use crate::app::signature;
use crate::hostile_http::answers;
use crate::raw::TestServer;

#[test]
fn a_request_names_one_host() {
    let server = TestServer::start();
    let info = |version: &str, headers: &str| {
        let signature = signature();
        let bytes = format!(
            "GET /info HTTP/{version}\r\n{headers}x-channelstream-secret: {signature}\r\n\
             connection: close\r\n\r\n"
        );
        let mut answers = answers(&server, bytes);
        assert_eq!(answers.len(), 1, "{headers}");
        answers.remove(0)
    };
    for headers in [
        "",
        "host:\r\n",
        "host: x\r\nhost: x\r\n",
        "host: x\r\nhost: y\r\n",
        "host: a b\r\n",
        "host: user@x\r\n",
        "host: user:password@x\r\n",
        "host: x:port\r\n",
        "host: x:99999\r\n",
        "host: x/y\r\n",
        "host: [::1\r\n",
        "host: \u{ff}\r\n",
        "host: x, y z\r\n",
    ] {
        let answer = info("1.1", headers);
        answer.assert_problem(400);
        assert!(answer.json()["message"].as_str().unwrap().contains("host"), "{answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{headers}");
        if !headers.is_empty() {
            info("1.0", headers).assert_problem(400);
        }
    }
    for headers in ["host: localhost\r\n", "host: 127.0.0.1:80\r\n", "host: [::1]:8000\r\n"] {
        assert_eq!(info("1.1", headers).status, 200, "{headers}");
    }
    // Under other host names the default secret is not accepted, but the head is valid.
    for headers in ["host: x\r\n", "host: push_1.example:80\r\n"] {
        info("1.1", headers).assert_problem(403);
    }
    let old = info("1.0", "");
    assert_eq!(old.status, 403, "HTTP/1.0 knows no such header: {old:?}");
    // A target with a host needs the header as well, and takes precedence over it.
    let admin = |target: &str, headers: &str| {
        let bytes = format!("GET {target} HTTP/1.1\r\n{headers}connection: close\r\n\r\n");
        answers(&server, bytes).remove(0)
    };
    admin("http://push.example/admin", "").assert_problem(400);
    admin("http://user@push.example/admin", "host: x\r\n").assert_problem(400);
    let answer = admin("http://push.example:81/admin", "host: x\r\n");
    assert_eq!(answer.header("location"), Some("http://push.example:81/admin/sign_in"));
    // This check comes first, even before that of a handshake.
    admin("/ws", "").assert_problem(400);
    admin("/listen?conn_id=x", "").assert_problem(400);
}

#[test]
fn refusals_can_be_read_by_pages_of_other_origins() {
    let large = format!("GET /info HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(20_000));
    let requests = [large.as_str(), "GET\r\n\r\n"];
    let server = TestServer::start();
    let served = server.request("GET", "/disconnect?conn_id=x", &[("origin", "http://a.test")], "");
    for request in requests {
        let answer = answers(&server, request).remove(0);
        for (name, value) in &served.headers {
            if name.starts_with("access-control-") || name == "xdomainrequestallowed" {
                assert_eq!(answer.header(name), Some(value.as_str()), "{name}: {answer:?}");
            }
        }
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    }
    // With a list of origins, the origin of a malformed head is unknown.
    let server = TestServer::with(|config| config.allow_cors = vec!["http://a.test".to_owned()]);
    for request in requests {
        let answer = answers(&server, request).remove(0);
        assert_eq!(answer.header("access-control-allow-origin"), None);
        assert_eq!(answer.header("vary"), Some("Origin"));
        assert_eq!(answer.header("access-control-max-age"), Some("86400"));
    }
}

#[test]
fn nothing_is_slipped_into_redirects() {
    let server = TestServer::start();
    let own = format!("http://{}", server.address());
    for host in ["a$b", "a(b)", "a%20b", "a,b"] {
        let mut line = server.line();
        line.write(format!("GET /admin HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"));
        let answer = line.answer();
        assert_eq!(answer.status, 302, "{host}: {answer:?}");
        assert_eq!(
            answer.header("location"),
            Some(format!("{own}/admin/sign_in").as_str()),
            "{host}"
        );
    }
    for host in
        ["a b", "evil.test/x?", "evil.test#", "<script>", "a@evil.test", "a\\b", "\u{ff}", ""]
    {
        let mut line = server.line();
        line.write(format!("GET /admin HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"));
        line.answer().assert_problem(400);
    }
    for prefix in [
        "@evil.test",
        ".evil.test",
        ":1@evil.test",
        "evil.test/",
        "//evil.test",
        "/a b",
        "/<script>",
        "/x?",
        "/x#",
        "/\u{ff}",
        "/a\tb",
        "\\evil",
        "/..",
        "/%0d%0a",
    ] {
        let answer = server.request("GET", "/admin", &[("x-script-name", prefix)], "");
        assert_eq!(answer.status, 302, "{prefix}: {answer:?}");
        let location = answer.header("location").unwrap();
        let rest = location.strip_prefix(&own).unwrap_or_else(|| panic!("{prefix}: {location}"));
        assert!(rest.starts_with('/'), "{prefix}: {location}");
        assert!(
            rest.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\"?#\\@".contains(&byte)),
            "{prefix}: {location}"
        );
    }
    for scheme in ["javascript", "ftp", "https\u{ff}"] {
        let answer = server.request("GET", "/admin", &[("x-scheme", scheme)], "");
        assert!(answer.header("location").unwrap().starts_with(&own), "{scheme}: {answer:?}");
    }
}
