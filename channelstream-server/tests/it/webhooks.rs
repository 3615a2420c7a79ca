//! Webhooks over real sockets: what a receiver gets, and one that is slow, broken, gone or never there.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use channelstream_server::config::WebhookEvent;
use channelstream_server::{Config, Secret, SharedJournal};
use channelstream_signer::webhook::WebhookSigner;
use serde_json::{Value, json};

use crate::admin_live::Page;
use crate::app::{App, PATIENCE, Request, Site, eventually};
use crate::process::Process;

pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// What a receiver does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Does {
    /// Answers with this status and header lines.
    Answers(u16, &'static str),
    /// Takes its time and then answers 204.
    IsSlow(Duration),
    /// Keeps the connection and never answers.
    IsSilent,
    /// Closes the connection within the head.
    Breaks,
    /// Sends a body without end.
    Floods,
}

pub(crate) const TAKES: Does = Does::Answers(204, "");

/// A webhook as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) id: String,
    pub(crate) body: Value,
    /// The path with the query.
    path: String,
}

impl Got {
    /// The type and the subject, as in `channel.occupied room`.
    pub(crate) fn short(&self) -> String {
        let data = &self.body["data"];
        let texts = ["channel", "user", "status"].map(|key| data[key].as_str().unwrap_or_default());
        let words = [&[self.body["type"].as_str().unwrap()], &texts[..]].concat();
        words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    }
}

/// A receiver of webhooks, which checks each signature. It ends with the tests.
#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    does: Arc<Mutex<Does>>,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Receiver {
    pub(crate) fn start(does: Does) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let receiver = Self { address, does: Arc::new(Mutex::new(does)), got: Arc::default() };
        let serving = receiver.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let serving = serving.clone();
                thread::spawn(move || serving.serve(stream.unwrap()));
            }
        });
        receiver
    }

    pub(crate) fn now(&self, does: Does) {
        *self.does.lock().unwrap() = does;
    }

    pub(crate) fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    /// Waits until so many have arrived, and returns them in short.
    #[track_caller]
    pub(crate) fn wait_for(&self, count: usize) -> Vec<String> {
        let what = format!("{count} webhooks");
        eventually(&what, || self.got().len() >= count);
        self.got().iter().map(Got::short).collect()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hooks?token=hidden", self.address)
    }

    /// Settings with webhooks to this receiver.
    pub(crate) fn config(&self) -> Config {
        Config {
            webhook_url: Some(self.url().parse().unwrap()),
            webhook_secrets: vec![Secret::new(SECRET)],
            webhook_events: EVENTS.to_vec(),
            ..Config::default()
        }
    }

    /// Serves one TCP connection.
    fn serve(&self, mut stream: TcpStream) {
        while let Some(got) = read(&mut stream) {
            self.got.lock().unwrap().push(got);
            let does = self.does.lock().unwrap().clone();
            let answer = match does {
                Does::Answers(status, headers) => {
                    format!("HTTP/1.1 {status} X\r\n{headers}content-length: 2\r\n\r\nok")
                        .replace("content-length: 2\r\n\r\nok", length(status))
                }
                Does::IsSlow(time) => {
                    thread::sleep(time);
                    "HTTP/1.1 204 X\r\n\r\n".to_owned()
                }
                Does::IsSilent => {
                    // Until the other side gives up.
                    let _ = stream.read(&mut [0; 16]);
                    return;
                }
                Does::Breaks => "HTTP/1.1 204 X\r\ncontent-le".to_owned(),
                Does::Floods => "HTTP/1.1 200 X\r\n\r\n".to_owned(),
            };
            if stream.write_all(answer.as_bytes()).is_err() || matches!(does, Does::Breaks) {
                return;
            }
            if matches!(does, Does::Floods) {
                while stream.write_all(&[b'x'; 64 * 1024]).is_ok() {}
                return;
            }
        }
    }
}

fn length(status: u16) -> &'static str {
    if status == 204 { "\r\n" } else { "content-length: 2\r\n\r\nok" }
}

const EVENTS: [WebhookEvent; 6] = [
    WebhookEvent::Occupied,
    WebhookEvent::Vacated,
    WebhookEvent::Joined,
    WebhookEvent::Parted,
    WebhookEvent::Ended,
    WebhookEvent::Closed,
];

/// Reads one request whose signature has to be right. Returns `None` at the end.
fn read(stream: &mut TcpStream) -> Option<Got> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        match stream.read(&mut buffer) {
            Ok(0) => return None,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("{error}"),
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    let length: usize = header("content-length").unwrap().parse().unwrap();
    while bytes.len() < head_end + length {
        let count = stream.read(&mut buffer).unwrap();
        bytes.extend_from_slice(&buffer[..count]);
    }
    let (body, id) = (&bytes[head_end..], header("webhook-id").unwrap());
    let timestamp = header("webhook-timestamp").unwrap().parse().unwrap();
    let signature = header("webhook-signature").unwrap();
    WebhookSigner::new([SECRET]).unwrap().verify(&id, timestamp, body, &signature).unwrap();
    assert_eq!(header("content-type").unwrap(), "application/json");
    let path = head.split(' ').nth(1).unwrap().to_owned();
    Some(Got { id, body: serde_json::from_slice(body).unwrap(), path })
}

/// Returns a metric.
pub(crate) fn metric(site: Site, sample: &str) -> f64 {
    let text = site.get("/metrics").body;
    let line = text.lines().find_map(|line| line.strip_prefix(sample));
    let line = line.unwrap_or_else(|| panic!("{sample} is not in:\n{text}"));
    line.trim().parse().unwrap()
}

const DELIVERED: &str = "channelstream_webhooks_total{outcome=\"delivered\"}";
const FAILED: &str = "channelstream_webhook_attempts_total{outcome=\"failed\"}";
const WAITING: &str = "channelstream_webhooks_waiting";

fn disconnect(site: Site, connection: &str) {
    site.call(&format!("/disconnect?conn_id={connection}"), &json!({"conn_id": connection}));
}

#[test]
fn a_receiver_hears_what_happens_in_its_order() {
    let receiver = Receiver::start(TAKES);
    let app = App::start(receiver.config());
    let ann = app.connect("ann", &["room"]);
    app.connect("ben", &["room"]);
    let unsubscribe = |connection: &str| {
        app.call("/unsubscribe", &json!({"conn_id": connection, "channels": ["room"]}));
    };
    unsubscribe(&ann);
    let opening = json!([{"user": "bot", "channel": "room", "uuid": ID, "message": {"text": "a"},
        "status": "open"}]);
    app.call("/message", &opening);
    let end = json!([{"uuid": ID, "channel": "room", "append": {"text": "b"}, "status": "done"}]);
    assert_eq!(app.send(&Request::new("PATCH", "/message").signed().json(&end)).status, 200);
    let heard = receiver.wait_for(5);
    let room = [
        "channel.occupied room",
        "user.joined room ann",
        "user.joined room ben",
        "user.parted room ann",
        "message.closed room done",
    ];
    assert_eq!(heard, room);
    disconnect(*app, &ann);
    let last = receiver.wait_for(6).pop().unwrap();
    assert_eq!(last, "connection.ended ann");
    let got = receiver.got();
    assert_eq!(got[5].body["data"]["reason"], "disconnected");
    assert!(got.iter().all(|one| one.path == "/hooks?token=hidden"));
    assert!(got.iter().all(|one| one.id.starts_with("msg_")));
    eventually("all are counted", || metric(*app, DELIVERED) == 6.0);
    assert_eq!((metric(*app, WAITING), metric(*app, FAILED)), (0.0, 0.0));
}

const ID: &str = "7a0b5d43-9a3d-4c5c-8e53-0f6c0f3b1a01";

#[test]
fn only_the_types_that_are_asked_for_are_sent() {
    let receiver = Receiver::start(TAKES);
    let events = vec![WebhookEvent::Parted, WebhookEvent::Occupied];
    let app = App::start(Config { webhook_events: events, ..receiver.config() });
    let ann = app.connect("ann", &["room"]);
    app.call("/unsubscribe", &json!({"conn_id": ann, "channels": ["room"]}));
    assert_eq!(receiver.wait_for(2), ["channel.occupied room", "user.parted room ann"]);
    eventually("both are counted", || metric(*app, DELIVERED) == 2.0);
}

#[test]
fn what_fails_is_sent_again_with_the_same_id_and_nothing_overtakes_it() {
    for does in [
        Does::Answers(500, ""),
        Does::Answers(404, ""),
        Does::Answers(302, "location: /elsewhere\r\n"),
        Does::Answers(429, "retry-after: 1\r\n"),
        Does::Answers(503, "retry-after: Wed, 21 Oct 2015 07:28:00 GMT\r\n"),
        Does::Breaks,
    ] {
        let receiver = Receiver::start(does.clone());
        let app = App::start(receiver.config());
        app.connect("ann", &["room"]);
        eventually("it fails", || metric(*app, FAILED) >= 1.0);
        receiver.now(TAKES);
        eventually("it is delivered", || metric(*app, DELIVERED) == 2.0);
        let got = receiver.got();
        let (last, before) = got.split_last().unwrap();
        assert_eq!(last.short(), "user.joined room ann", "{does:?}");
        assert!(before.len() >= 2, "{does:?}");
        assert!(before.iter().all(|one| one.id == before[0].id && one.path == last.path));
        assert_eq!(before[0].short(), "channel.occupied room");
        assert_eq!(metric(*app, WAITING), 0.0);
    }
}

#[test]
fn a_receiver_that_never_answers_is_given_up_after_the_timeout() {
    let receiver = Receiver::start(Does::IsSilent);
    let timeout = Duration::from_millis(200);
    let app = App::start(Config { webhook_timeout: timeout, ..receiver.config() });
    app.connect("ann", &["room"]);
    eventually("it fails", || metric(*app, FAILED) >= 1.0);
    // One that is slow, but within the time, is waited for.
    receiver.now(Does::IsSlow(Duration::from_millis(20)));
    eventually("it is delivered", || metric(*app, DELIVERED) == 2.0);
}

#[test]
fn an_answer_without_end_is_not_read() {
    let receiver = Receiver::start(Does::Floods);
    let app = App::start(receiver.config());
    app.connect("ann", &["room"]);
    eventually("both are delivered", || metric(*app, DELIVERED) == 2.0);
}

#[test]
fn nothing_waits_for_a_receiver_that_is_not_there() {
    let nowhere = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let silent = Receiver::start(Does::IsSilent);
    for address in [nowhere, silent.address] {
        let url = format!("http://{address}/").parse().unwrap();
        let app = App::start(Config { webhook_url: Some(url), ..silent.config() });
        let ann = app.connect("ann", &["room"]);
        let mut socket = app.socket(&ann);
        for number in 0..100 {
            app.connect(&format!("u{number}"), &[&format!("c{number}")]);
            app.publish("room", number);
        }
        let mut seen = 0;
        while seen < 100 {
            let frame = socket.next_within(PATIENCE).expect("a message arrives");
            if let crate::app::Frame::Event(event) = frame {
                assert_eq!(event["message"]["n"], seen);
                seen += 1;
            }
        }
        assert_eq!(metric(*app, WAITING), 202.0);
        assert_eq!(app.get("/readyz").status, 200);
    }
}

#[test]
fn more_than_max_webhooks_are_dropped_and_counted() {
    let receiver = Receiver::start(Does::IsSilent);
    let app = App::start(Config { max_webhooks: 10, ..receiver.config() });
    for number in 0..20 {
        app.connect("ann", &[&format!("c{number}")]);
    }
    assert_eq!(metric(*app, WAITING), 10.0);
    assert_eq!(metric(*app, "channelstream_webhooks_total{outcome=\"dropped\"}"), 30.0);
    assert!(metric(*app, "channelstream_refusals_total{limit=\"max_webhooks\"}") > 0.0);
    eventually("the oldest gets older", || {
        metric(*app, "channelstream_webhooks_oldest_seconds") > 0.0
    });
}

#[test]
fn a_receiver_that_is_gone_gets_nothing_more() {
    let receiver = Receiver::start(Does::Answers(410, ""));
    let app = App::start(receiver.config());
    app.connect("ann", &["a", "b", "c"]);
    eventually("all are dropped", || metric(*app, WAITING) == 0.0);
    let gone = metric(*app, "channelstream_webhooks_total{outcome=\"gone\"}");
    assert_eq!(gone, 6.0);
    let before = receiver.got().len();
    receiver.now(TAKES);
    app.connect("ben", &["a"]);
    // It is handed over before the answer, so that it would be waiting now.
    assert_eq!(metric(*app, WAITING), 0.0);
    assert_eq!((receiver.got().len(), metric(*app, DELIVERED)), (before, 0.0));
}

#[test]
fn of_several_nodes_the_one_that_caused_it_tells() {
    let journal = SharedJournal::default();
    let (one, other) = (Receiver::start(TAKES), Receiver::start(TAKES));
    let here = App::start_on(&journal, one.config());
    let there = App::start_on(&journal, other.config());
    here.connect("ann", &["room"]);
    there.connect("ben", &["room"]);
    assert_eq!(one.wait_for(2), ["channel.occupied room", "user.joined room ann"]);
    assert_eq!(other.wait_for(1), ["user.joined room ben"]);
    here.connect("zoe", &["room"]);
    assert_eq!(one.wait_for(3)[2..], ["user.joined room zoe"]);
    // Its own reply shows that the other node has applied all that.
    there.connect("last", &["room"]);
    assert_eq!(other.wait_for(2), ["user.joined room ben", "user.joined room last"]);
    assert_eq!(one.got().len(), 3);
}

#[test]
fn a_slow_receiver_gets_those_of_other_channels_meanwhile() {
    let receiver = Receiver::start(Does::IsSlow(Duration::from_millis(100)));
    let app = App::start(receiver.config());
    let begun = Instant::now();
    let channels: Vec<_> = (0..16).map(|number| format!("c{number}")).collect();
    app.connect("ann", &channels.iter().map(String::as_str).collect::<Vec<_>>());
    let heard = receiver.wait_for(32);
    assert!(begun.elapsed() >= Duration::from_millis(200), "not more at once than allowed");
    for channel in &channels {
        let place = |event: &str| heard.iter().position(|one| one.starts_with(event)).unwrap();
        let occupied = place(&format!("channel.occupied {channel}"));
        assert!(occupied < place(&format!("user.joined {channel} ")), "{heard:?}");
    }
}

/// The check in Python of docs/webhooks.md takes what the signer makes, and nothing else.
#[test]
fn the_check_of_the_documents_is_right() {
    let document = include_str!("../../../docs/webhooks.md");
    let (_, rest) = document.split_once("```python\n").unwrap();
    let (snippet, _) = rest.split_once("```").unwrap();
    let now = channelstream_signer::unix_now();
    let both = WebhookSigner::new(["whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", SECRET]).unwrap();
    let check = |time: u64, signed: &str, body: &str| {
        let signature = both.sign("msg_1", time, signed.as_bytes());
        let call = format!(
            "print(is_genuine({SECRET:?}, {{'webhook-id': 'msg_1', 'webhook-timestamp': '{time}', \
             'webhook-signature': {signature:?}}}, {body:?}.encode()))"
        );
        let output =
            Command::new("python3").args(["-c", &format!("{snippet}\n{call}")]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(check(now, "a body", "a body"), "True");
    assert_eq!(check(now, "a body", "another"), "False");
    assert_eq!(check(now - 400, "a body", "a body"), "False");
}

/// What was queued survives `kill -9`, with its ids and in its order, and what is delivered does not come again.
#[test]
fn with_a_journal_in_files_what_waits_survives_a_kill() {
    let receiver = Receiver::start(TAKES);
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("journal").display().to_string();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let url = receiver.url();
    let flags = [
        &["--journal", "file", "--journal-dir", &directory, "--webhook-url", &url][..],
        &["--webhook-secret-file", secret.to_str().unwrap()],
        &["--webhook-events", "channel.occupied, user.joined"],
    ];
    let flags = flags.concat();
    let mut server = Process::start(&flags);
    let site = Site(server.address);
    site.connect("ann", &["room"]);
    eventually("both are delivered", || metric(site, DELIVERED) == 2.0);
    receiver.now(Does::Answers(500, ""));
    site.connect("ben", &["hall"]);
    // The first attempt comes after both were written.
    receiver.wait_for(3);
    let first = receiver.got()[2].id.clone();
    server.signal("KILL");
    server.ended();
    let before = receiver.got().len();
    receiver.now(TAKES);
    let again = Process::start(&flags);
    eventually("both are delivered", || metric(Site(again.address), DELIVERED) == 2.0);
    let got = receiver.got()[before..].to_vec();
    let heard: Vec<_> = got.iter().map(Got::short).collect();
    assert_eq!(heard, ["channel.occupied hall", "user.joined hall ben"]);
    assert_eq!(got[0].id, first);
    // The log has neither the secret nor the query of the URL.
    let logs = [server.log(), again.log()].concat();
    assert!(logs.contains("the receiver of webhooks refuses them"), "{logs}");
    assert!(!logs.contains("whsec_") && !logs.contains("hidden"), "{logs}");
}

#[test]
fn a_reload_asks_a_receiver_that_was_gone_again_and_lets_another_one_take_its_place() {
    let (receiver, other) = (Receiver::start(Does::Answers(410, "")), Receiver::start(TAKES));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.ini");
    let write = |url: &str| {
        let settings = format!("[channelstream]\nwebhook_url = {url}\nwebhook_secret = {SECRET}\n");
        std::fs::write(&path, settings).unwrap();
    };
    write(&receiver.url());
    let server = Process::start(&["--ini", path.to_str().unwrap()]);
    let site = Site(server.address);
    let reload = |changed: &str| {
        server.signal("HUP");
        let done = format!("settings reloaded; changed: {changed}");
        server.wait_for("the reload", |log| log.contains(&done).then_some(()));
    };
    site.connect("ann", &["a"]);
    let gone = "channelstream_webhooks_total{outcome=\"gone\"}";
    eventually("it is gone", || metric(site, gone) == 1.0);
    receiver.now(TAKES);
    reload("none");
    site.connect("ann", &["b"]);
    eventually("it is delivered", || metric(site, DELIVERED) == 1.0);
    assert_eq!(receiver.got().last().unwrap().short(), "channel.occupied b");
    // What one does not take, another one gets at once.
    receiver.now(Does::Answers(429, "retry-after: 3600\r\n"));
    site.connect("ann", &["c"]);
    eventually("it fails", || metric(site, FAILED) == 2.0);
    write(&other.url());
    reload("webhook_url");
    assert_eq!(other.wait_for(1), ["channel.occupied c"]);
}

#[test]
fn the_last_attempts_to_send_webhooks_are_shown() {
    let none = App::start(Config::default());
    let mut page = Page::open(&none);
    page.say(&json!({"webhooks": true}));
    let part = page.part("webhooks", |_| true);
    assert_eq!(
        part,
        json!({"url": null, "gone": false, "failing": false, "waiting": 0,
        "attempts": []})
    );

    let receiver = Receiver::start(Does::Answers(500, ""));
    let app = App::start(receiver.config());
    let mut page = Page::open(&app);
    page.say(&json!({"webhooks": true}));
    app.connect("ann", &["<b>room</b>"]);
    let part = page.part("webhooks", |part| part["failing"] == true);
    assert_eq!(part["url"], format!("http://{}/hooks", receiver.address));
    assert_eq!(part["waiting"], 2);
    let first = part["attempts"].as_array().unwrap().last().unwrap();
    assert_eq!((&first["status"], &first["why"]), (&json!(500), &Value::Null));
    assert_eq!((&first["event"], &first["number"]), (&json!("channel.occupied"), &json!(1)));
    assert_eq!(first["subject"], "<b>room</b>");
    assert!(first["milliseconds"].is_u64() && first["time"].is_string(), "{first}");
    receiver.now(Does::Breaks);
    let is_broken = |part: &Value| part["attempts"][0]["why"] == "broken off";
    page.part("webhooks", is_broken);
    receiver.now(Does::Answers(410, ""));
    let part = page.part("webhooks", |part| part["gone"] == true);
    assert_eq!((&part["waiting"], &part["attempts"][0]["status"]), (&json!(0), &json!(410)));
    assert!(!part.to_string().contains("hidden"), "{part}");
}
