//! Logs: one line a request at debug, and never a secret, signature, cookie or message.

use serde_json::{Value, json};

use crate::app::{Line, Request, Site, signature_with};
use crate::process::Process;

const SECRET: &str = "MARK-api-secret";
const ADMIN_SECRET: &str = "MARK-password";
const COOKIE_SECRET: &str = "MARK-cookie-secret";

/// Sends traffic of every kind, with `MARK` in everything that must not be logged. Returns other
/// secrets that it received, which must not be logged either.
fn traffic(site: Site) -> Vec<String> {
    let signature = signature_with(SECRET);
    // The last part alone would do to forge nothing, but it is the part that is secret.
    let mut secrets = vec![signature.rsplit('.').next().unwrap().to_owned()];
    let call = |method: &str, path: &str, body: &Value| {
        let request = Request::new(method, path).header("x-channelstream-secret", &signature);
        site.send(&request.json(body))
    };
    let connected = call(
        "POST",
        "/connect",
        &json!({
            "username": "alice", "channels": ["room"],
            "user_state": {"key": "MARK-state", "public": "MARK-public-state"},
            "state_public_keys": ["public"],
            "channel_configs": {"room": {
                "notify_presence": true, "notify_state": true, "store_history": true,
                "broadcast_presence_with_user_lists": true,
            }},
        }),
    );
    let connection = connected.ok()["conn_id"].as_str().unwrap().to_owned();
    let mut socket = site.socket(&connection);
    // The frames of a browser, with a mask of zeros.
    let text = b"MARK-said-by-browser";
    let masked = [&[0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0][..], text].concat();
    socket.write(&masked);

    let message = json!([{
        "user": "alice", "channel": "room", "pm_users": ["alice"], "message": {"t": "MARK-message"}
    }]);
    let uuid = call("POST", "/message", &message).ok()[0]["uuid"].take();
    assert_eq!(socket.event()["message"]["t"], "MARK-message");
    let edit = json!([{"uuid": uuid, "channel": "room", "message": {"t": "MARK-edit"}}]);
    assert_eq!(call("PATCH", "/message", &edit).status, 200);
    assert_eq!(call("DELETE", "/message", &json!([{"uuid": uuid, "channel": "room"}])).status, 200);
    let state = json!({"user": "alice", "user_state": {"key": "MARK-new-state"}});
    assert_eq!(call("POST", "/user_state", &state).status, 200);
    let subscribe = json!({"conn_id": connection, "channels": ["other"]});
    assert_eq!(call("POST", "/subscribe", &subscribe).status, 200);
    assert_eq!(call("POST", "/unsubscribe", &subscribe).status, 200);
    assert_eq!(call("POST", "/channel_config", &json!({"room": {}})).status, 200);
    assert_eq!(call("POST", "/info", &json!({"info": {}})).status, 200);
    // Refused ones, too: fields, no JSON, too large.
    let faulty = json!([{"user": 1, "message": "MARK-faulty"}]);
    assert_eq!(call("POST", "/message", &faulty).status, 422);
    let signed = || Request::new("POST", "/message").header("x-channelstream-secret", &signature);
    assert_eq!(site.send(&signed().body("[{\"MARK-broken\"")).status, 400);
    let large = format!("[\"{}\"]", "MARK-large".repeat(200_000));
    assert_eq!(site.send(&signed().body(large)).status, 413);
    let form = signed().header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(site.send(&form.body("secret=MARK-in-form")).status, 400);

    // Signatures good and bad, in header and query.
    let info = |query: &str| site.get(&format!("/info?secret={query}")).status;
    assert_eq!(info(&signature), 200);
    assert_eq!(info(&signature.replace('/', "%2f")), 200);
    assert_eq!(info("MARK-in-query"), 401);
    let bad = Request::new("GET", "/info").header("x-channelstream-secret", "MARK-in-header.a.b");
    assert_eq!(site.send(&bad).status, 401);
    assert_eq!(site.get(&format!("/nowhere?secret={signature}")).status, 404);
    assert_eq!(site.get("/listen?conn_id=MARK-no-id&callback=MARK-callback").status, 422);

    // Polls, with and without a script.
    let polled = call("POST", "/connect", &json!({"username": "bob", "channels": ["room"]}));
    let polled = polled.ok()["conn_id"].as_str().unwrap().to_owned();
    call("POST", "/message", &message);
    let private = json!([{"user": "x", "pm_users": ["bob"], "message": {"t": "MARK-private"}}]);
    call("POST", "/message", &private);
    assert!(site.get(&format!("/listen?conn_id={polled}&callback=cb")).body.contains("MARK"));

    // The admin area.
    let sign_in = |password: &str| {
        let form = format!("username=MARK-user&password={password}");
        site.send(&Request::new("POST", "/admin/sign_in").body(form))
    };
    assert_eq!(sign_in("MARK-wrong-password").status, 200);
    let answer = sign_in(ADMIN_SECRET);
    let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    secrets.push(cookie.rsplit('.').next().unwrap().to_owned());
    for path in ["/admin", "/admin/admin.json", "/admin/debug", "/openapi.json", "/api-explorer"] {
        let request = Request::new("GET", path).header("cookie", &cookie);
        assert_eq!(site.send(&request).status, 200, "{path}");
    }
    let forged = Request::new("GET", "/admin").header("cookie", "auth_tkt=MARK-cookie.a.b");
    assert_eq!(site.send(&forged).status, 302);

    // What breaks the protocols.
    let mut broken = Line::open(site.0);
    broken.write(b"GET /MARK-broken-head\x01 HTTP/1.1\r\nMARK: \xff\r\n\r\n");
    broken.finish();
    drop(broken.answer(false));
    let mut aborted = Line::open(site.0);
    let bytes = signed().body("[\"MARK-aborted\"]").bytes();
    aborted.write(&bytes[..bytes.len() - 2]);
    drop(aborted);
    socket.write(b"\xffMARK-broken-frame");
    assert_eq!(socket.closed_after_events(), Some(1002));
    assert_eq!(site.get(&format!("/disconnect?conn_id={polled}")).status, 200);
    secrets
}

#[test]
fn no_secret_and_no_message_is_ever_logged() {
    for format in ["text", "json"] {
        let mut process = Process::start(&[
            "--log-level",
            "trace",
            "--log-format",
            format,
            "--secret",
            SECRET,
            "--admin-user",
            "MARK-user",
            "--admin-secret",
            ADMIN_SECRET,
            "--cookie-secret",
            COOKIE_SECRET,
        ]);
        let secrets = traffic(Site(process.address));
        process.signal("TERM");
        assert_eq!(process.ended().code(), Some(0));
        let log = process.log();
        assert!(log.matches("request finished").count() > 30, "it is not talkative: {log}");
        let broken = log.lines().find(|line| line.contains("breaks the protocol")).unwrap();
        assert!(broken.contains("request") && broken.contains("127.0.0.1"), "{broken}");
        assert!(log.contains("connection closed") && log.contains("breaks the protocol"), "{log}");
        for secret in secrets.iter().map(String::as_str).chain(["MARK", "auth_tkt"]) {
            let told: Vec<_> = log.lines().filter(|line| line.contains(secret)).take(5).collect();
            assert!(told.is_empty(), "{secret} is logged in {format}: {told:#?}");
        }
        // Nor as bytes, as some print them.
        for bytes in ["77, 65, 82, 75", "4d41524b", "4D41524B"] {
            assert!(!log.contains(bytes), "MARK is logged as bytes");
        }
    }
}

#[test]
fn a_request_is_one_line_at_debug() {
    for format in ["text", "json"] {
        let flags = ["--log-level", "debug", "--log-format", format];
        let mut process = Process::start(&flags);
        let site = Site(process.address);
        let expected = [
            ("POST", "/connect", 422, site.send(&Request::call("/connect", &json!({})))),
            ("GET", "/info", 200, site.send(&Request::new("GET", "/info").signed())),
            ("PATCH", "/message", 403, site.send(&Request::new("PATCH", "/message"))),
            ("HEAD", "/static/admin/style.css", 200, {
                site.send(&Request::new("HEAD", "/static/admin/style.css?a=b"))
            }),
            ("GET", "/no where", 404, site.get("/no%20where")),
        ];
        process.signal("TERM");
        assert_eq!(process.ended().code(), Some(0));
        let log = process.log();
        let lines: Vec<&str> =
            log.lines().filter(|line| line.contains("request finished")).collect();
        assert_eq!(lines.len(), expected.len(), "{log}");
        let mut ids = Vec::new();
        for (line, (method, path, status, answer)) in lines.iter().zip(&expected) {
            assert_eq!(answer.status, *status, "{method} {path}");
            if format == "json" {
                let line: Value = serde_json::from_str(line).unwrap();
                assert_eq!(line["level"], "DEBUG");
                let fields = &line["fields"];
                assert!(fields["ms"].is_f64(), "{line}");
                assert_eq!(fields["peer"], "127.0.0.1");
                ids.push(fields["request"].as_u64().unwrap());
                assert_eq!(fields["method"], *method);
                assert_eq!(fields["path"], *path);
                assert_eq!(fields["status"], *status);
            } else {
                let told = format!("status={status}");
                assert!(
                    line.contains("DEBUG")
                        && line.contains(method)
                        && line.contains(path)
                        && line.contains(&told),
                    "{line}"
                );
                assert!(line.contains(" peer=127.0.0.1 ") && line.contains("request="), "{line}");
            }
        }
        assert!(ids.is_sorted_by(|a, b| a < b), "no two have the same: {ids:?}");
    }
}
