//! Every endpoint with every field of every wrong type, and with bodies that are none: an answer in
//! JSON, nothing carried out, the server alive.

use std::fmt::Write as _;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::app::signature;
use crate::raw::{Line, Response, TestServer};

const CONNECTION: &str = "7a7c4b5e-0b0f-4ac1-9a43-0c1b7f2d3e4f";
const MESSAGE: &str = "0d4a6e8c-1b2f-4c3d-8e9f-a0b1c2d3e4f5";

/// The endpoints that take a body, each with one in which every field stands.
fn endpoints() -> [(&'static str, &'static str, Value); 11] {
    let settings = json!({
        "notify_presence": true, "broadcast_presence_with_user_lists": true, "notify_state": true,
        "store_history": true, "history_size": 5, "store_frames": true
    });
    let info = json!({
        "include_history": true, "include_users": true, "exclude_channels": ["b"],
        "return_public_state": true, "channels": ["a"], "include_connections": true
    });
    let message = json!([{
        "user": "ann", "message": {"text": "x"}, "channel": "a", "pm_users": ["bob"],
        "exclude_users": ["eve"], "no_history": true, "uuid": MESSAGE,
        "timestamp": "2024-05-06T07:08:09", "edited": "2024-05-06T07:08:09"
    }]);
    let connect = json!({
        "username": "ann", "conn_id": CONNECTION, "channels": ["a"],
        "fresh_user_state": {"k": 1}, "user_state": {"k": 1}, "state_public_keys": ["k"],
        "channel_configs": {"a": settings}, "info": info
    });
    let join = json!({
        "conn_id": CONNECTION, "channels": ["a"], "channel_configs": {"a": settings}, "info": info
    });
    let state = json!({"user": "ann", "user_state": {"k": 2}, "state_public_keys": ["k"]});
    [
        ("POST", "/connect", connect),
        ("POST", "/subscribe", join.clone()),
        ("POST", "/unsubscribe", join),
        ("POST", "/user_state", state),
        ("POST", "/message", message.clone()),
        ("PATCH", "/message", message.clone()),
        ("DELETE", "/message", message),
        ("POST", "/channel_config", json!({"a": settings})),
        ("POST", "/info", json!({"info": info})),
        ("PUT", "/info", json!({"info": info})),
        ("POST", "/disconnect", json!({"conn_id": CONNECTION})),
    ]
}

/// JSON of every type, small and big, as text: not all of it fits a `Value`.
fn values() -> Vec<String> {
    let fixed = [
        "null",
        "true",
        "false",
        "0",
        "-0",
        "1",
        "-1",
        "1.5",
        "-1.5",
        "1e999",
        "-1e999",
        "1E-999",
        "123456789012345678901234567890",
        "-9223372036854775809",
        "18446744073709551616",
        r#""""#,
        r#"" ""#,
        r#""x""#,
        r#""1""#,
        r#""\u0000""#,
        r#""\ud83c\udfb5""#,
        r#""\u202e\ufeff""#,
        "\"\u{e000}\u{10ffff}\u{300}\"",
        r#""NaN""#,
        r#""urn:uuid:{}""#,
        r#""2024-13-01T00:00:00""#,
        r#""9999-12-31T23:59:59.999999+24:00""#,
        r#""0000-00-00T00:00""#,
        r#""00000000-0000-0000-0000-000000000000""#,
        r#""99999999999999999999""#,
        "[]",
        "{}",
        "[null]",
        "[[]]",
        "[{}]",
        r#"["a",1]"#,
        r#"[true,"a"]"#,
        r#"[""]"#,
        r#"{"":""}"#,
        r#"{"a":null}"#,
        r#"{"a":{}}"#,
        r#"{"a":[]}"#,
        r#"{"a":{"b":{"c":1}}}"#,
        r#"{"history_size":1e999}"#,
        r#"{"history_size":-1,"store_history":"x"}"#,
        r#"{"a":1,"a":[]}"#,
        r#"{"\u0000":1}"#,
    ];
    let mut values: Vec<String> = fixed.map(str::to_owned).to_vec();
    values.push(format!("\"{}\"", "x".repeat(513)));
    values.push(format!("\"{}\"", "\u{1f3b5}".repeat(20_000)));
    values.push("[".repeat(50) + &"]".repeat(50));
    values.push(r#"{"a":"#.repeat(50) + "1" + &"}".repeat(50));
    values.push(format!("[{}1]", "1,".repeat(5_000)));
    values.push(format!("[{}\"a\"]", "\"a\",".repeat(5_000)));
    let mut wide = String::from("{");
    for number in 0..2_000 {
        write!(wide, "\"k{number}\":1,").unwrap();
    }
    values.push(wide + "\"k\":1}");
    values
}

/// The bodies that come of `body` when each of its values in turn is put in the place of `hole`.
fn with_holes(body: &Value, hole: &str) -> Vec<Value> {
    let mut holed = Vec::new();
    match body {
        Value::Object(fields) => {
            for (key, value) in fields {
                for inner in with_holes(value, hole) {
                    let mut copy = body.clone();
                    copy[key] = inner;
                    holed.push(copy);
                }
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                for inner in with_holes(item, hole) {
                    let mut copy = body.clone();
                    copy[at] = inner;
                    holed.push(copy);
                }
            }
        }
        _ => {}
    }
    holed.push(hole.into());
    holed
}

/// A TCP connection for one signed request after another.
struct Calls {
    line: Line,
    signature: String,
}

impl Calls {
    fn to(server: &TestServer) -> Self {
        Self { line: server.line(), signature: signature() }
    }

    #[track_caller]
    fn call(&mut self, method: &str, path: &str, body: &[u8]) -> Response {
        let headers =
            [("x-channelstream-secret", self.signature.as_str()), ("accept", "application/json")];
        self.line.request(method, path, &headers, body);
        self.line.answer()
    }

    /// Expects an answer in JSON that is no fault of the server's, and that it goes on serving.
    #[track_caller]
    fn judge(&mut self, method: &str, path: &str, body: &[u8]) -> Response {
        let shown = || String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
        let answer = self.call(method, path, body);
        let fine = matches!(answer.status, 200 | 400..=499);
        assert!(fine, "{method} {path} {}: {answer:?}", shown());
        let kind = answer.header("content-type");
        assert_eq!(kind, Some("application/json"), "{method} {path} {}", shown());
        // Not as a `Value`, which does not take every number that JSON allows.
        let valid = serde_json::from_slice::<&RawValue>(&answer.body).is_ok();
        assert!(valid, "{method} {path} {}: {answer:?}", shown());
        let after = self.call("POST", "/info", br#"{"info":{"channels":[]}}"#);
        assert_eq!(after.status, 200, "after {method} {path} {}: {after:?}", shown());
        answer
    }
}

#[test]
fn each_field_takes_what_it_may_and_refuses_the_rest() {
    let server = TestServer::start();
    let values = values();
    let hole = "\u{1f573} hole";
    let marker = Value::from(hole).to_string();
    let (mut good, mut refused) = (0, 0);
    let mut calls = Calls::to(&server);
    for (method, path, body) in endpoints() {
        for holed in with_holes(&body, hole) {
            let holed = holed.to_string();
            assert_eq!(holed.matches(&marker).count(), 1, "{holed}");
            for value in &values {
                let answer = calls.judge(method, path, holed.replace(&marker, value).as_bytes());
                match answer.status {
                    200 => good += 1,
                    422 => refused += 1,
                    status => panic!("{status} for {method} {path} {holed} with {value:.100}"),
                }
            }
        }
    }
    // The server distinguishes the two, and there was something to distinguish.
    assert!(good > 1_000 && refused > 1_000, "{good} good, {refused} refused");
}

#[test]
fn each_field_may_be_missing_without_harm() {
    let server = TestServer::start();
    let mut calls = Calls::to(&server);
    for (method, path, body) in endpoints() {
        let fields = body.get(0).unwrap_or(&body).as_object().unwrap().clone();
        for key in fields.keys() {
            let mut rest = fields.clone();
            rest.remove(key);
            let rest = if body.is_array() { json!([rest]) } else { json!(rest) };
            let answer = calls.judge(method, path, rest.to_string().as_bytes());
            assert!(matches!(answer.status, 200 | 422), "{path} without {key}: {answer:?}");
        }
    }
}

#[test]
fn what_is_no_json_is_400() {
    let server = TestServer::start();
    let mut calls = Calls::to(&server);
    let deep = "[".repeat(65) + &"]".repeat(65);
    let deep_object = r#"{"info":"#.repeat(65) + "1" + &"}".repeat(65);
    let deepest = "[".repeat(200_000);
    let wide = format!("[{}1]", "1,".repeat(100_000));
    let bodies: [&[u8]; 28] = [
        b" \r\n\t ",
        b"{",
        b"}",
        b"[",
        b"[1,]",
        b"{\"a\":1,}",
        b"{'a':1}",
        b"{a:1}",
        b"[1 2]",
        b"[]]",
        b"{}{}",
        b"[01]",
        b"[.5]",
        b"[+1]",
        b"[NaN]",
        b"[Infinity]",
        b"[\"\\x\"]",
        b"[\"a\nb\"]",
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\0}\0",
        b"[\"\xff\"]",
        b"[\"\xc0\x80\"]",
        b"[\"\xed\xa0\xbc\"]",
        b"username=ann&channels=a",
        deep.as_bytes(),
        deep_object.as_bytes(),
        deepest.as_bytes(),
        wide.as_bytes(),
    ];
    for (method, path, _) in endpoints() {
        for body in bodies {
            let shown = String::from_utf8_lossy(&body[..body.len().min(40)]);
            let answer = calls.judge(method, path, body);
            assert_eq!(answer.status, 400, "{method} {path} {shown}: {answer:?}");
            answer.assert_problem(400);
        }
        let answer = calls.judge(method, path, b"");
        assert_eq!(answer.status, if path == "/info" { 200 } else { 400 }, "{path}: {answer:?}");
    }
}

#[test]
fn half_surrogates_are_400_with_their_place_wherever_they_stand() {
    let server = TestServer::start();
    let mut calls = Calls::to(&server);
    let hole = "hole";
    for (method, path, body) in endpoints() {
        for holed in with_holes(&body, hole) {
            for half in [r#""\ud83c""#, r#""\udfb5 x""#, r#"{"\udfb5\ud83c":1}"#] {
                let holed = holed.to_string().replace("\"hole\"", half);
                let answer = calls.judge(method, path, holed.as_bytes());
                answer.assert_problem(400);
                let message = answer.json()["message"].as_str().unwrap().to_owned();
                assert!(message.contains(|c: char| c.is_ascii_digit()), "no place: {message}");
            }
        }
    }
}

#[test]
fn json_of_the_wrong_shape_is_422() {
    let server = TestServer::start();
    let mut calls = Calls::to(&server);
    for (method, path, body) in endpoints() {
        for wrong in ["null", "true", "0", "-1.5", "1e999", "\"text\"", "[1]", "[null]", "[[]]"] {
            let answer = calls.judge(method, path, wrong.as_bytes());
            assert_eq!(answer.status, 422, "{method} {path} {wrong}: {answer:?}");
        }
        let other = if body.is_array() { "{}" } else { "[]" };
        assert_eq!(calls.judge(method, path, other.as_bytes()).status, 422, "{path} {other}");
    }
}

#[test]
fn bodies_over_the_bound_are_413_whether_announced_or_not() {
    let server = TestServer::start();
    let signature = signature();
    let body = format!("[\"{}\"]", "x".repeat(1 << 20));
    for (method, path, _) in endpoints() {
        server.send(method, path, &body).assert_problem(413);
    }
    let mut line = server.line();
    line.write(format!(
        "POST /message HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\
         x-channelstream-secret: {signature}\r\n\r\n"
    ));
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    // The server may close as soon as it has seen enough.
    let _ = (0..32).all(|_| line.try_write(&chunk));
    line.answer().assert_problem(413);
    server.assert_alive();
}

#[test]
fn the_largest_body_is_served() {
    let server = TestServer::start();
    let connection = server.connect("ann", &["a"]);
    let mut socket = server.websocket(&connection);
    let empty = json!([{"user": "bob", "channel": "a", "message": {"text": ""}}]).to_string();
    let text = "x".repeat((1 << 20) - empty.len());
    server.publish("a", &json!({"text": "first"}));
    let body = json!([{"user": "bob", "channel": "a", "message": {"text": text}}]);
    assert_eq!(body.to_string().len(), 1 << 20);
    assert_eq!(server.post("/message", &body).status, 200);
    assert_eq!(socket.event()["message"]["text"], "first");
    assert_eq!(socket.event()["message"]["text"], text);
}

/// What a server has that refused everything: neither users nor channels nor messages.
#[track_caller]
fn assert_untouched(server: &TestServer) {
    let figures = server.figures();
    assert_eq!(figures["channels"], json!({}), "{figures}");
    assert_eq!(figures["users"], json!([]), "{figures}");
    assert_eq!(figures["remembered_user_count"], 0, "{figures}");
    assert_eq!(figures["total_unique_messages"], 0, "{figures}");
}

#[test]
fn a_faulty_request_carries_out_nothing() {
    let server = TestServer::start();
    for (path, body, status) in [
        ("/connect", r#"{"username":"ann","channels":["a"],"user_state":{"k":[]}}"#, 422),
        ("/connect", r#"{"username":"ann","channels":["a",1]}"#, 422),
        ("/connect", r#"{"username":"ann","channels":["a"],"info":{"include_history":"x"}}"#, 422),
        (
            "/connect",
            r#"{"username":"ann","channels":["a"],"channel_configs":{"b":{"history_size":-1}}}"#,
            422,
        ),
        ("/connect", r#"{"username":"ann","channels":["a","\ud83c"]}"#, 400),
        ("/channel_config", r#"{"a":{},"b":{"history_size":"x"}}"#, 422),
        ("/channel_config", r#"{"a":{},"b":{}"#, 400),
        ("/subscribe", r#"{"conn_id":"7a7c4b5e0b0f4ac19a430c1b7f2d3e4f","channels":["a"]}"#, 422),
        ("/user_state", r#"{"user":"ann","user_state":{"k":1}}"#, 422),
    ] {
        let answer = server.send("POST", path, body);
        assert_eq!(answer.status, status, "{path} {body}: {answer:?}");
        assert_untouched(&server);
    }
}

#[test]
fn of_a_list_with_one_fault_nothing_is_carried_out() {
    let server = TestServer::start();
    let configs = json!({"a": {"store_history": true}});
    let request = json!({"username": "ann", "channels": ["a"], "channel_configs": configs});
    let connection = server.post("/connect", &request).json()["conn_id"].clone();
    let mut socket = server.websocket(connection.as_str().unwrap());
    let kept = json!([{"user": "bob", "channel": "a", "uuid": MESSAGE, "message": {"n": 1}}]);
    assert_eq!(server.post("/message", &kept).status, 200);
    assert_eq!(socket.event()["message"]["n"], 1);
    let good = format!(r#"{{"user":"bob","channel":"a","uuid":"{MESSAGE}","message":{{"n":2}}}}"#);
    for fault in ["null", "1", "{}", r#"{"uuid":1}"#, r#"{"user":"b","uuid":"x"}"#, r#""\ud83c""#] {
        for method in ["POST", "PATCH", "DELETE"] {
            for list in [format!("[{good},{fault}]"), format!("[{fault},{good}]")] {
                let answer = server.send(method, "/message", &list);
                assert!(matches!(answer.status, 400 | 422), "{method} {list}: {answer:?}");
            }
        }
    }
    server.publish("a", &json!({"n": 3}));
    assert_eq!(socket.event()["message"]["n"], 3, "nothing came in between");
    let info = server.post("/info", &json!({"info": {"channels": ["a"]}})).json();
    let history = info["channels"]["a"]["history"].as_array().unwrap();
    let numbers: Vec<_> = history.iter().map(|message| &message["message"]["n"]).collect();
    assert_eq!(numbers, [1, 3], "neither added nor edited nor deleted");
}

#[test]
fn of_repeated_keys_the_last_counts_everywhere() {
    let server = TestServer::start();
    let connect = r#"{"username":1,"username":"bob","channels":5,"channels":["a"]}"#;
    let connected = server.send("POST", "/connect", connect).json();
    assert_eq!(connected["username"], "bob");
    let mut socket = server.websocket(connected["conn_id"].as_str().unwrap());
    let message =
        r#"[{"user":null,"user":"ann","channel":"x","channel":"a","message":{"k":1,"k":2}}]"#;
    assert_eq!(server.send("POST", "/message", message).status, 200);
    let event = socket.event();
    assert_eq!((&event["user"], &event["message"]["k"]), (&json!("ann"), &json!(2)));
    let disconnect = format!(r#"{{"conn_id":"x","conn_id":{}}}"#, connected["conn_id"]);
    assert_eq!(server.send("POST", "/disconnect", disconnect).json(), true);
}

#[test]
fn parameters_of_the_query_may_be_anything() {
    let server = TestServer::start();
    let odd = [
        "",
        "x",
        "%FF",
        "%",
        "%2",
        "%zz",
        "%00",
        "+",
        "null",
        "[]",
        "1e999",
        "-1",
        "a&conn_id=b",
        "00000000-0000-0000-0000-00000000000g",
        "%F0%9F%8E%B5",
        "a=b",
        "a?b",
        "a;b",
        "%0d%0aset-cookie:x=1",
    ];
    let long = "7".repeat(7_000);
    for value in odd.into_iter().chain([long.as_str()]) {
        for name in ["listen", "disconnect"] {
            let answer = server.get(&format!("/{name}?conn_id={value}"));
            assert_eq!(answer.status, 422, "{name} {value}: {answer:?}");
            answer.json();
        }
        // Without upgrade, and the id is looked at only behind it.
        let answer = server.get(&format!("/ws?conn_id={value}"));
        answer.assert_problem(426);
        let answer =
            server.send("POST", &format!("/subscribe?conn_id={value}"), r#"{"channels":["a"]}"#);
        assert_eq!(answer.status, 422, "{value}: {answer:?}");
    }
    for query in ["", "?", "?conn_id", "?&&&", "?conn_id=&conn_id", "?CONN_ID=x", "?=x"] {
        assert_eq!(server.get(&format!("/listen{query}")).status, 422, "{query}");
        assert_eq!(server.get(&format!("/disconnect{query}")).status, 422, "{query}");
    }
    let callbacks = [
        ("cb", 401),
        ("a.b.c", 401),
        ("", 401),
        ("1a", 422),
        ("a;alert(1)//", 422),
        ("%3Cscript%3E", 422),
        ("%F0%9F%8E%B5", 422),
        ("%FF", 422),
        ("a..b", 422),
        ("a%00", 422),
        ("a%0ab", 422),
    ];
    for (callback, status) in callbacks {
        let path = format!("/listen?conn_id={CONNECTION}&callback={callback}");
        assert_eq!(server.get(&path).status, status, "{callback}");
    }
    let long = format!("/listen?conn_id={CONNECTION}&callback={}", "a".repeat(129));
    assert_eq!(server.get(&long).status, 422);
    for malformed in ["<script>", "\"", "{}", "\u{ff}", "\0", "a b"] {
        let answer = server.get(&format!("/listen?conn_id={malformed}"));
        assert!(matches!(answer.status, 400 | 422), "{malformed}: {answer:?}");
        answer.json();
    }
    server.assert_alive();
}

#[test]
fn signatures_may_be_anything() {
    let server = TestServer::start();
    let good = signature();
    let (value, rest) = good.split_once('.').unwrap();
    let (time, digest) = rest.split_once('.').unwrap();
    let long = "a.".repeat(3_000);
    for bad in [
        "x",
        ".",
        "..",
        "...",
        "a.b",
        "a.b.c",
        "\u{1f3b5}",
        "\u{ff}",
        "=.=.=",
        long.as_str(),
        &format!("{value}.{time}."),
        &format!("{value}..{digest}"),
        &format!("{value}.{digest}"),
        &format!("{value}.__________8.{digest}"),
        &format!("{value}.{time}.{digest}{digest}"),
        &format!("{value}x.{time}.{digest}"),
    ] {
        let answer = server.request("POST", "/info", &[("x-channelstream-secret", bad)], "");
        assert_eq!(answer.status, 401, "{bad}: {answer:?}");
        assert_eq!(answer.json(), json!({"request": "Bad Signature"}));
    }
    let in_query = server.get("/info?secret=%FF");
    assert_eq!((in_query.status, in_query.json()), (401, json!({"request": "Bad Signature"})));
    server.assert_alive();
}

#[test]
fn sign_in_forms_may_be_anything() {
    let server = TestServer::with(|config| config.max_failed_sign_ins = 1_000);
    let cases: [&[u8]; 6] = [
        b"",
        b"{\"username\":\"admin\"}",
        b"username=%FF&password=%",
        b"\xff\xfe\0",
        b"&&==&",
        b"username=admin",
    ];
    std::thread::scope(|scope| {
        for body in cases {
            let server = &server;
            scope.spawn(move || {
                let answer = server.request("POST", "/admin/sign_in", &[], body);
                assert_eq!(answer.status, 200, "the form again: {answer:?}");
                assert_eq!(answer.header("set-cookie"), None, "{answer:?}");
            });
        }
    });
    let reflected = b"username=%3Cscript%3E%22%27&password=x";
    let answer = server.request("POST", "/admin/sign_in", &[], reflected);
    assert!(!answer.text().contains("<script>\""), "{}", answer.text());
    server.request("POST", "/admin/sign_in", &[], vec![b'x'; 9_000]).assert_problem(413);
    for cookie in ["auth_tkt=", "auth_tkt=x.y.z", "auth_tkt=\"\"", "auth_tkt", ";;;=", "\u{ff}"] {
        let answer = server.request("GET", "/admin", &[("cookie", cookie)], "");
        assert_eq!(answer.status, 302, "{cookie}: {answer:?}");
    }
}

#[test]
fn error_pages_follow_accept() {
    let server = TestServer::start();
    for (target, status) in
        [("/nowhere", 404), ("/connect", 404), ("/info", 403), ("/openapi.json", 403)]
    {
        for (accept, kind) in [
            ("application/json", "application/json"),
            ("text/html", "text/html; charset=UTF-8"),
            ("*/*", "text/html; charset=UTF-8"),
            ("text/plain", "text/plain; charset=UTF-8"),
            ("\u{ff}, ;;q=", "text/plain; charset=UTF-8"),
        ] {
            let answer = server.request("GET", target, &[("accept", accept)], "");
            assert_eq!(answer.status, status, "{target}: {answer:?}");
            assert_eq!(answer.header("content-type"), Some(kind), "{target} {accept}");
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        }
        let answer = server.get(target);
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=UTF-8"));
    }
}
