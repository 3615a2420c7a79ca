//! Answers that grow while a hundred listeners come and go: each has the whole text, and the room keeps
//! the rest of what it stores.

use std::io::Write as _;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::app::{Request, Site, signature};
use crate::client::Client;
use crate::process::Process;
use crate::wire::How;

const CHANNELS: &[&str] = &["room"];
const MESSAGE: &str = "00000000-0000-0000-0000-000000000001";
/// Ordinary messages that are stored before the answer begins.
const STORED: u64 = 90;
const CUTS: usize = 5;

struct Size {
    tokens: usize,
    listeners: usize,
    pause: Duration,
}

fn size() -> Size {
    match crate::is_full() {
        true => Size { tokens: 1000, listeners: 100, pause: Duration::from_millis(10) },
        false => Size { tokens: 300, listeners: 40, pause: Duration::from_millis(5) },
    }
}

fn token(number: usize) -> String {
    format!("{}token{number} ", ["", "é", "\"", "\n"][number % 4])
}

/// Sends the answer through a pipe, token by token.
fn answer(site: Site, size: &Size) {
    let mut stream = TcpStream::connect(site.0).unwrap();
    stream.set_nodelay(true).unwrap();
    let head = format!(
        "POST /message/stream?channel=room&user=bot&uuid={MESSAGE} HTTP/1.1\r\nhost: localhost\r\n\
         x-channelstream-secret: {}\r\ntransfer-encoding: chunked\r\n\
         content-type: text/plain\r\nconnection: close\r\n\r\n",
        signature()
    );
    stream.write_all(head.as_bytes()).unwrap();
    for number in 0..size.tokens {
        let token = token(number);
        stream.write_all(format!("{:x}\r\n{token}\r\n", token.len()).as_bytes()).unwrap();
        thread::sleep(size.pause);
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    let answer = std::io::read_to_string(stream).unwrap();
    assert!(answer.contains("\"status\":\"done\""), "{answer}");
}

/// What a page has of the answer.
#[derive(Default)]
struct Page {
    text: String,
    rev: u64,
    status: String,
    /// The events of the answer since the line was opened, and how many of them are catch-up.
    of_line: (usize, usize),
    /// How many events told of the answer, and their bytes, with four for the head of a frame.
    events: usize,
    bytes: usize,
}

impl Page {
    /// Applies an event by the rules for pages.
    fn apply(&mut self, event: &Value) {
        let is_catchup = event["catchup"] == true;
        match event["type"].as_str().unwrap() {
            "message" if event["uuid"] == MESSAGE => {
                event["message"]["text"].as_str().unwrap_or_default().clone_into(&mut self.text);
                self.rev = event["rev"].as_u64().unwrap();
                event["status"].as_str().unwrap().clone_into(&mut self.status);
            }
            "message:append" => {
                assert_eq!(event["from"], self.rev, "{event}");
                self.text += event["append"]["text"].as_str().unwrap_or_default();
                self.rev = event["rev"].as_u64().unwrap();
                if let Some(status) = event["status"].as_str() {
                    status.clone_into(&mut self.status);
                }
            }
            "cursor" | "message" => return,
            _ => panic!("{event}"),
        }
        self.events += 1;
        self.bytes += event.to_string().len() + "[]".len() + 4;
        self.of_line.0 += 1;
        self.of_line.1 += usize::from(is_catchup);
        assert!(self.of_line.1 <= 1, "catch-up of a message is one event: {event}");
        assert!(!is_catchup || self.of_line.0 == 1, "catch-up comes first: {event}");
    }
}

/// Listens to the end of the answer.
fn listen(mut client: Client, size: &Size, cuts: usize) -> Page {
    let mut page = Page::default();
    let mut cut_at: Vec<u64> = (0..cuts).map(|_| client.dice.below(size.tokens) as u64).collect();
    cut_at.sort_unstable();
    let mut lines = client.opened;
    while page.status != "done" {
        let heard = client.next();
        if std::mem::replace(&mut lines, client.opened) != client.opened {
            page.of_line = (0, 0);
        }
        page.apply(&heard.event);
        // Counted in tokens, of which an append may hold several.
        let tokens = page.text.matches("token").count() as u64;
        if cut_at.first().is_some_and(|first| *first <= tokens) {
            cut_at.retain(|at| *at > tokens);
            client.cut();
        }
    }
    page
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are asked for beside the verdict")]
fn every_listener_has_the_whole_answer() {
    let process = Process::start(&["--wake-connections-after=1"]);
    let (site, size) = (Site(process.address), &size());
    site.configure("room", &json!({"store_history": true, "history_size": 200}));
    let mixed = [How::WebSocket, How::EventStream, How::Poll];
    let mut clients: Vec<_> = (0..size.listeners)
        .map(|number| {
            let hows = &mixed[number % 3..=number % 3];
            let hows = if number % 4 == 3 { &mixed[..2] } else { hows };
            Client::begin(site, &format!("user{number}"), CHANNELS, hows, number as u64)
        })
        .collect();
    let calm = Client::begin(site, "calm", CHANNELS, &[How::WebSocket], 0);
    let early = clients[0].cursor.clone();
    for number in 0..STORED {
        site.publish("room", number);
    }
    let (texts, calm) = thread::scope(|scope| {
        let listening: Vec<_> =
            clients.drain(..).map(|one| scope.spawn(|| listen(one, size, CUTS).text)).collect();
        let calm = scope.spawn(|| listen(calm, size, 0));
        scope.spawn(|| answer(site, size));
        let texts: Vec<_> = listening.into_iter().map(|one| one.join().unwrap()).collect();
        (texts, calm.join().unwrap())
    });
    let want: String = (0..size.tokens).map(token).collect();
    let channel = site.channel("room");
    let history = channel["history"].as_array().unwrap();
    assert_eq!(history.len() as u64, STORED + 1, "the answer takes one place");
    assert_eq!(history.last().unwrap()["message"]["text"], want);
    assert!(texts.iter().all(|one| *one == want), "all have what the history has");
    assert_eq!(calm.text, want);
    let most = want.len() * 16 / 10 + size.tokens * 60;
    println!(
        "{} bytes in {} events for {} bytes of text in {} tokens, at most {most}",
        calm.bytes,
        calm.events,
        want.len(),
        size.tokens
    );
    assert!(calm.bytes <= most, "{} bytes, at most {most}", calm.bytes);
    // Nothing was evicted by it.
    let id = site.connect("user0", CHANNELS);
    let mut wire = crate::wire::Wire::open(site, How::WebSocket, &id, &early).unwrap();
    let mut count = 0;
    while let Some(heard) = wire.next_within(Duration::from_millis(500)) {
        assert_ne!(heard.event["type"], "gap", "{}", heard.event);
        count += 1;
    }
    assert_eq!(count, STORED + 1);
    assert_eq!(site.send(&Request::new("GET", "/info").signed()).status, 200);
}
