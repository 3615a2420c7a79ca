//! Growing messages over real sockets: appends, steps, cancel, and the pipe (contract §14).

use std::time::Duration;

use channelstream_server::Config;
use serde_json::{Value, json};

use crate::app::{Answer, App, Line, PATIENCE, Request, Site, Socket, eventually, signature};

const MESSAGE: &str = "00000000-0000-0000-0000-000000000001";

fn app() -> App {
    App::start(Config::default())
}

fn patch(site: Site, items: &Value) -> Answer {
    site.send(&Request::new("PATCH", "/message").signed().json(items))
}

/// Opens the message in the room, and listens for ann.
fn opened(app: &App) -> (String, Socket) {
    app.configure("room", &json!({"store_history": true}));
    let connection = app.connect("ann", &["room"]);
    let socket = app.socket(&connection);
    let message = json!([{"user": "bot", "channel": "room", "uuid": MESSAGE, "status": "open",
        "cancel_by": ["ann"], "message": {"text": "a"}}]);
    let posted = app.call("/message", &message);
    assert_eq!((&posted[0]["status"], &posted[0]["rev"]), (&json!("open"), &json!(0)));
    assert!(posted[0].get("cancel_by").is_none(), "{posted}");
    (connection, socket)
}

fn append(text: &str) -> Value {
    json!([{"uuid": MESSAGE, "channel": "room", "append": {"text": text}}])
}

/// The text, status and rev of the message in the history.
fn stored(site: Site) -> (String, String, u64) {
    let channel = site.channel("room");
    let message = channel["history"].get(0).cloned().unwrap_or_default();
    let text = message["message"]["text"].as_str().unwrap_or_default().to_owned();
    let status = message["status"].as_str().unwrap_or_default().to_owned();
    (text, status, message["rev"].as_u64().unwrap_or_default())
}

/// A request to the pipe whose body comes in chunks.
struct Pipe(Line);

impl Pipe {
    fn open(site: Site, query: &str, headers: &str) -> Self {
        let mut line = Line::open(site.0);
        let head = format!(
            "POST /message/stream?channel=room&user=bot&uuid={MESSAGE}{query} HTTP/1.1\r\n\
             host: localhost\r\nx-channelstream-secret: {}\r\ntransfer-encoding: chunked\r\n\
             {headers}\r\n",
            signature()
        );
        line.write(head.as_bytes());
        Self(line)
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let chunk = [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        self.0.write(&chunk);
    }

    fn end(&mut self) -> Answer {
        self.0.write(b"0\r\n\r\n");
        self.answer()
    }

    fn answer(&mut self) -> Answer {
        self.0.answer(false).expect("an answer")
    }
}

/// Joins the texts of appends, as a page does.
fn text_of(socket: &mut Socket, until: &str) -> (String, u64) {
    let (mut text, mut rev) = (String::new(), None);
    loop {
        let event = socket.event();
        match event["type"].as_str() {
            Some("message") => text = event["message"]["text"].as_str().unwrap_or("").to_owned(),
            Some("message:append") => {
                assert_eq!(event["from"], rev.unwrap_or(0), "{event}");
                text += event["append"]["text"].as_str().unwrap_or("");
            }
            _ => panic!("{event}"),
        }
        rev = event["rev"].as_u64();
        if event["status"] == until {
            return (text, rev.unwrap_or_default());
        }
    }
}

#[test]
fn a_message_grows_by_patches() {
    let app = app();
    let (_, mut socket) = opened(&app);
    let first = socket.event();
    assert_eq!((&first["status"], &first["rev"]), (&json!("open"), &json!(0)));
    let answer = patch(*app, &append("b")).ok();
    let want = json!([{"uuid": MESSAGE, "channel": "room", "taken": true, "rev": 1,
        "status": "open", "size": 13}]);
    assert_eq!(answer, want);
    let event = json!({"type": "message:append", "uuid": MESSAGE, "channel": "room",
        "append": {"text": "b"}, "from": 0, "rev": 1});
    assert_eq!(socket.event(), event);
    let mixed = json!([
        {"uuid": MESSAGE, "channel": "room", "message": {"text": "new"}},
        {"uuid": MESSAGE, "append": {"text": "er"}, "status": "done", "step": 1},
        {"uuid": MESSAGE, "append": {"text": "late"}},
    ]);
    let answers = patch(*app, &mixed).ok();
    assert_eq!(answers[0]["message"]["text"], "new");
    assert_eq!((&answers[1]["taken"], &answers[1]["step"]), (&json!(true), &json!(1)));
    assert_eq!((&answers[2]["taken"], &answers[2]["status"]), (&json!(false), &json!("done")));
    assert_eq!(socket.event()["rev"], 2);
    assert_eq!(socket.event()["status"], "done");
    assert_eq!(stored(*app), ("newer".to_owned(), "done".to_owned(), 3));
    let repeat = json!([{"uuid": MESSAGE, "append": {"text": "er"}, "status": "done", "step": 1}]);
    assert_eq!(patch(*app, &repeat).ok()[0]["taken"], true, "a repeat is done once");
}

#[test]
fn wrong_items_are_told_by_field() {
    let app = app();
    opened(&app);
    for (item, field) in [
        (json!({"uuid": MESSAGE, "append": {"text": 7}}), "append"),
        (json!({"uuid": MESSAGE, "append": []}), "append"),
        (json!({"uuid": MESSAGE, "append": {"/a~7": "x"}}), "append"),
        (json!({"uuid": MESSAGE, "append": {"/a".repeat(17): "x"}}), "append"),
        (json!({"uuid": MESSAGE, "append": {}, "message": {}}), "message"),
        (json!({"uuid": MESSAGE, "status": "done", "message": {}}), "message"),
        (json!({"uuid": MESSAGE, "status": "open"}), "status"),
        (json!({"uuid": MESSAGE, "append": {}, "step": 0}), "step"),
        (json!({"uuid": MESSAGE, "step": 1}), "step"),
    ] {
        let answer = patch(*app, &json!([item]));
        assert_eq!(answer.status, 422, "{item}");
        assert!(answer.json()["0"].get(field).is_some(), "{item}: {answer:?}");
    }
    for (message, field) in [
        (json!({"user": "a", "channel": "room", "status": "done"}), "status"),
        (json!({"user": "a", "channel": "room", "append_timeout": 5}), "append_timeout"),
        (json!({"user": "a", "channel": "room", "cancel_by": ["b"]}), "cancel_by"),
        (
            json!({"user": "a", "channel": "room", "status": "open", "append_timeout": 3601}),
            "append_timeout",
        ),
        (json!({"user": "a", "channel": "room", "status": "open", "uuid": MESSAGE}), "status"),
    ] {
        let answer = app.send(&Request::call("/message", &json!([message])));
        assert_eq!(answer.status, 422, "{message}");
        assert!(answer.json()["0"].get(field).is_some(), "{message}: {answer:?}");
    }
    assert_eq!(stored(*app), ("a".to_owned(), "open".to_owned(), 0));
}

#[test]
fn a_page_cancels_and_the_publisher_learns_it() {
    let app = app();
    let (ann, mut socket) = opened(&app);
    let ben = app.connect("ben", &["room"]);
    let cancel = |connection: &str, uuid: &str| {
        let body = json!({"conn_id": connection, "uuid": uuid});
        app.send(&Request::new("POST", "/cancel").json(&body))
    };
    let (foreign, unknown) = (cancel(&ben, MESSAGE), cancel(&ann, &ann));
    assert_eq!((foreign.status, unknown.status), (403, 403));
    assert_eq!(foreign.body, unknown.body, "they cannot be told apart");
    assert_eq!(cancel(MESSAGE, MESSAGE).status, 422, "no such connection");
    let large = format!("{{\"conn_id\": \"{ann}\", \"x\": \"{}\"}}", "x".repeat(9000));
    assert_eq!(app.send(&Request::new("POST", "/cancel").body(large)).status, 413);
    let answer = cancel(&ann, MESSAGE).ok();
    assert_eq!((&answer["taken"], &answer["status"]), (&json!(true), &json!("cancelled")));
    socket.event();
    assert_eq!(socket.event()["status"], "cancelled");
    let answer = patch(*app, &append("b")).ok();
    assert_eq!((&answer[0]["taken"], &answer[0]["status"]), (&json!(false), &json!("cancelled")));
}

#[test]
fn silence_stalls_a_message() {
    let config = Config { append_timeout: Duration::from_millis(50), ..Config::default() };
    let app = App::start(config);
    let (_, mut socket) = opened(&app);
    socket.event();
    assert_eq!(socket.event()["status"], "stalled");
    patch(*app, &append("b")).ok();
    assert_eq!(socket.event()["status"], "open");
}

#[test]
fn a_pipe_is_read_while_it_is_written() {
    let app = app();
    reads_a_pipe_while_it_is_written(&app, *app);
}

/// Shows it of a server, for a publisher that reaches it at this address.
pub(crate) fn reads_a_pipe_while_it_is_written(app: &App, publisher: Site) {
    app.configure("room", &json!({"store_history": true}));
    let mut socket = app.socket(&app.connect("ann", &["room"]));
    let mut pipe = Pipe::open(publisher, "", "content-type: text/plain; charset=utf-8\r\n");
    pipe.send("one ");
    assert_eq!(socket.event()["status"], "open");
    assert_eq!(socket.event()["append"], json!({"text": "one "}), "before the body ends");
    let rest = "zwölf \u{1f600}\"\n".as_bytes();
    for byte in rest {
        pipe.send([*byte]);
    }
    let answer = pipe.end().ok();
    assert_eq!((&answer["taken"], &answer["status"]), (&json!(true), &json!("done")));
    let text = "one zwölf \u{1f600}\"\n".to_owned();
    let rev = answer["rev"].as_u64().unwrap();
    assert!(rev < rest.len() as u64, "bytes are gathered: {rev}");
    assert_eq!(stored(**app), (text.clone(), "done".to_owned(), rev));
    let mut seen = "one ".to_owned();
    while let Some(more) = Some(socket.event()) {
        seen += more["append"]["text"].as_str().unwrap_or_default();
        if more["status"] == "done" {
            break;
        }
    }
    assert_eq!(seen, text);
}

#[test]
fn lines_of_a_pipe_are_appends() {
    let app = app();
    app.configure("room", &json!({"store_history": true}));
    app.connect("ann", &["room"]);
    let mut pipe = Pipe::open(*app, "", "content-type: application/x-ndjson\r\n");
    pipe.send("{\"text\": \"a\", \"parts\": [{\"te");
    pipe.send("xt\": \"x\"}]}\n\n{\"/parts/0/text\": \"y\"}\n{\"text\": \"b\"}\n{\"text\"");
    pipe.send(": \"c\"}");
    let answer = pipe.end().ok();
    assert_eq!(answer["status"], "done");
    let message = app.channel("room")["history"][0]["message"].clone();
    assert_eq!(message, json!({"text": "abc", "parts": [{"text": "xy"}]}));
    for (line, status) in [("{\"text\": 7}\n", 422), ("[]\n", 422), ("{\n", 400), ("\u{fe}\n", 400)]
    {
        let mut pipe = Pipe::open(*app, "&x", "content-type: application/x-ndjson\r\n");
        // The message is done, and a pipe to it is told so before anything is read.
        assert_eq!(pipe.answer().status, 409);
        let other = MESSAGE.replace('1', "2");
        let request =
            Request::new("POST", &format!("/message/stream?channel=room&user=bot&uuid={other}"));
        let request = request.signed().header("content-type", "application/x-ndjson").body(line);
        assert_eq!(app.send(&request).status, status, "{line}");
    }
}

#[test]
fn counted_lines_are_done_once() {
    let app = app();
    app.configure("room", &json!({"store_history": true}));
    app.connect("ann", &["room"]);
    let headers = "content-type: application/x-ndjson\r\n";
    let mut pipe = Pipe::open(*app, "&step=1", headers);
    pipe.send("{\"text\": \"a\"}\n{\"text\": \"b\"}\n");
    eventually("both are there", || stored(*app).0 == "ab");
    drop(pipe);
    let mut pipe = Pipe::open(*app, "&step=2", headers);
    pipe.send("{\"text\": \"b\"}\n{\"text\": \"c\"}\n");
    let answer = pipe.end().ok();
    assert_eq!((&answer["step"], &answer["status"]), (&json!(4), &json!("done")));
    assert_eq!(stored(*app), ("abc".to_owned(), "done".to_owned(), 4));
    let mut late = Pipe::open(*app, "&step=9", headers);
    assert_eq!(late.answer().status, 409);
}

#[test]
fn a_broken_pipe_is_taken_up() {
    let config = Config { append_timeout: Duration::from_millis(200), ..Config::default() };
    let app = App::start(config);
    app.configure("room", &json!({"store_history": true}));
    let mut socket = app.socket(&app.connect("ann", &["room"]));
    let mut pipe = Pipe::open(*app, "", "");
    pipe.send("half ");
    eventually("it is there", || stored(*app).0 == "half ");
    drop(pipe);
    assert_eq!(text_of(&mut socket, "stalled").0, "half ");
    let mut pipe = Pipe::open(*app, "", "");
    pipe.send("and half");
    assert_eq!(pipe.end().ok()["status"], "done");
    assert_eq!(stored(*app).0, "half and half");
}

#[test]
fn invalid_bytes_end_the_pipe_and_not_the_message() {
    let app = app();
    app.configure("room", &json!({"store_history": true}));
    app.connect("ann", &["room"]);
    let mut pipe = Pipe::open(*app, "", "");
    pipe.send(b"good \xff bad");
    let answer = pipe.answer();
    assert_eq!((answer.status, &answer.json()["body"][0]), (422, &json!("Not UTF-8 at byte 5.")));
    assert_eq!(stored(*app).0, "good ");
    let mut pipe = Pipe::open(*app, "", "");
    pipe.send(b"\xc3");
    assert_eq!(pipe.end().status, 422, "half a character");
    assert_eq!(stored(*app).1, "open");
}

#[test]
fn a_cancel_reaches_a_pipe_that_is_written_and_one_that_is_silent() {
    for is_silent in [false, true] {
        let app = app();
        let (ann, _socket) = opened(&app);
        let mut pipe = Pipe::open(*app, "", "");
        pipe.send("b");
        eventually("it is there", || stored(*app).0 == "ab");
        let body = json!({"conn_id": ann, "uuid": MESSAGE});
        app.send(&Request::new("POST", "/cancel").json(&body)).ok();
        if !is_silent {
            pipe.send("c".repeat(100_000));
        }
        let answer = pipe.answer();
        assert_eq!(answer.status, 409, "{answer:?}");
        let item = answer.json();
        assert_eq!(
            item,
            json!({"uuid": MESSAGE, "channel": "room", "taken": false, "rev": 2,
                "status": "cancelled"})
        );
        assert_eq!(stored(*app).0, "ab");
    }
}

#[test]
fn a_drain_sends_a_pipe_elsewhere() {
    let mut app = app();
    let (_, _socket) = opened(&app);
    let mut pipe = Pipe::open(*app, "", "");
    pipe.send("b");
    eventually("it is there", || stored(*app).0 == "ab");
    app.begin_to_stop();
    let answer = pipe.answer();
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").is_some());
    assert_eq!((&answer.json()["status"], &answer.json()["rev"]), (&json!("open"), &json!(1)));
}

#[test]
fn a_pipe_is_checked_before_its_body_is_asked_for() {
    let app = app();
    for (target, status) in [
        ("/message/stream?channel=room", 422),
        ("/message/stream?user=bot", 422),
        ("/message/stream?user=bot&channel=room&uuid=x", 422),
        ("/message/stream?user=bot&channel=room&step=0", 422),
        ("/message/stream?user=bot&channel=room&step=1", 422),
        ("/message/stream?user=bot&channel=room&append_timeout=0", 422),
        ("/message/stream?user=bot&channel=room&key=/a~9", 422),
    ] {
        let request = Request::new("POST", target).signed().header("expect", "100-continue");
        let answer = app.send(&request);
        assert_eq!(answer.status, status, "{target}: {answer:?}");
    }
    let target = "/message/stream?user=bot&channel=room";
    let request =
        |name: &str, value: &str| Request::new("POST", target).signed().header(name, value);
    assert_eq!(app.send(&request("content-type", "image/png")).status, 415);
    assert_eq!(app.send(&request("content-encoding", "gzip")).status, 415);
    assert_eq!(app.send(&Request::new("POST", target)).status, 403, "no signature");
    let keyed = Request::new("POST", target).signed().header("idempotency-key", "k");
    let answer = app.send(&keyed);
    assert_eq!(answer.status, 422, "a stream goes on, it is not repeated");
    assert!(answer.json()["request"][0].as_str().unwrap().contains("step"), "{answer:?}");
    assert_eq!(app.send(&Request::new("POST", target).signed()).status, 409, "no such channel");
    app.connect("ann", &["room"]);
    let mut pipe = Pipe::open(*app, "", "expect: 100-continue\r\n");
    // The interim answer has no length, so that it is read as a head alone.
    assert_eq!(pipe.0.answer(true).map(|answer| answer.status), Some(100));
    pipe.send("a");
    assert_eq!(pipe.end().ok()["status"], "done");
}

#[test]
fn bounds_end_a_pipe_and_leave_the_message() {
    let config = Config { max_growing_size: 1000, max_body_size: 2000, ..Config::default() };
    let app = App::start(config);
    app.configure("room", &json!({"store_history": true}));
    app.connect("ann", &["room"]);
    let mut pipe = Pipe::open(*app, "", "");
    pipe.send("x".repeat(500));
    eventually("it is there", || stored(*app).0.len() == 500);
    pipe.send("y".repeat(600));
    let answer = pipe.answer();
    assert_eq!(answer.status, 409);
    assert!(answer.json()["reason"].as_str().unwrap().contains("max_growing_size"), "{answer:?}");
    assert_eq!(stored(*app).0.len(), 500);
    let mut pipe = Pipe::open(*app, "", "content-type: application/x-ndjson\r\n");
    pipe.send(" ".repeat(1500));
    pipe.send(" ".repeat(1500));
    assert_eq!(pipe.answer().status, 413, "a line is no longer than a body");
}

#[test]
fn a_silent_pipe_ends() {
    let config = Config { pipe_timeout: Duration::from_millis(300), ..Config::default() };
    let app = App::start(config);
    let (_, _socket) = opened(&app);
    let mut pipe = Pipe::open(*app, "", "");
    pipe.send("b");
    assert_eq!(pipe.answer().status, 408);
    assert_eq!(stored(*app), ("ab".to_owned(), "open".to_owned(), 1));
}

#[test]
fn old_pages_get_edits() {
    let app = app();
    let (ann, mut appends) = opened(&app);
    let ben = app.connect("ben", &["room"]);
    let mut edits = app.socket(&format!("{ben}&append=edit"));
    patch(*app, &append("b")).ok();
    patch(*app, &append("c")).ok();
    let first = edits.event();
    assert_eq!((&first["type"], &first["message"]["text"]), (&json!("message:edit"), &json!("ab")));
    let second = edits.event();
    assert_eq!((&second["message"]["text"], &second["rev"]), (&json!("abc"), &json!(2)));
    patch(*app, &json!([{"uuid": MESSAGE, "status": "done"}])).ok();
    assert_eq!(text_of(&mut appends, "done"), ("abc".to_owned(), 3));
    assert_eq!(edits.event()["status"], "done");
    let wrong = app.get(&format!("/listen?conn_id={ann}&append=x"));
    assert_eq!(wrong.status, 422);
    let polled = app.get(&format!("/listen?conn_id={}&append=edit", app.connect("cat", &["room"])));
    assert_eq!(polled.status, 200);
}

#[test]
fn a_fast_producer_waits_for_the_server() {
    let app = app();
    app.configure("room", &json!({"store_history": true}));
    app.connect("ann", &["room"]);
    let mut pipe = Pipe::open(*app, "", "");
    for _ in 0..100 {
        pipe.send("x".repeat(8000));
    }
    let answer = pipe.end();
    assert_eq!(answer.status, 200, "within {PATIENCE:?}: {answer:?}");
    assert_eq!(stored(*app).0.len(), 800_000);
    assert!(answer.ok()["rev"].as_u64().unwrap() < 100);
}
