//! `Stage`: a scripted server and a client, and what a script can do with both.

use std::collections::VecDeque;
use std::fmt::Display;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::client::{self, Client};
use super::door::{Door, Visit};
use super::events::{self, Event, message};
use super::line::Line;
use super::verdict::{Deviation, Played};
use crate::args::ListenTransport;

/// The secret of the scripted server.
pub(super) const SECRET: &str = "the secret of the conformance kit";
/// The path of the application that makes connections.
const CONNECT: &str = "/application/connect";
/// What a client may tell at any time.
const ASIDES: [&str; 3] = ["interrupted", "error", "unknown"];
/// What a script waits for.
const NEWS: [&str; 9] =
    ["message", "edited", "deleted", "appended", "presence", "gap", "ended", "published", "failed"];
/// The most events that are told before the script looks at them.
const MOST_NEWS: usize = 1000;
/// The number of the last message of a case, which shows that nothing else came before it.
const LAST: u32 = 9000;
/// The silence that a client is told where a case is not about it.
const LONG_SILENCE: f64 = 120.0;
/// How many times its patience a whole case takes at most.
const WHOLE: u32 = 10;
/// How many happenings wait for the script.
const WAITING: usize = 64;

/// What happens to a script.
pub(super) enum Happening {
    Visit(Box<Visit>),
    Line(client::Line),
}

/// What the application says to a client that asks for another connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Application {
    /// There is none.
    Absent,
    /// It makes one.
    Grants,
}

/// A scripted server with a client.
pub(super) struct Stage {
    pub(super) transport: ListenTransport,
    patience: Duration,
    whole_patience: Duration,
    pub(super) url: String,
    /// What the client is told of its settings, in seconds.
    pub(super) silence: f64,
    pub(super) longest_pause: f64,
    pub(super) application: Application,
    /// Whether the client may poll where its transport is refused.
    pub(super) may_poll: bool,
    door: Door,
    sender: SyncSender<Happening>,
    client: Client,
    happenings: Receiver<Happening>,
    visits: VecDeque<Visit>,
    told: VecDeque<Value>,
    has_opened: bool,
    has_ended: bool,
    begun: Instant,
    /// The connections that the client was given.
    granted: Vec<String>,
}

impl Stage {
    /// Starts the client, and opens the door of the server.
    pub(super) fn start(
        command: &str,
        transport: ListenTransport,
        patience: Duration,
    ) -> io::Result<Self> {
        let (sender, happenings) = sync_channel(WAITING);
        let door = Door::open(sender.clone(), patience)?;
        let client = Client::start(command, sender.clone())?;
        Ok(Self {
            transport,
            patience,
            whole_patience: patience.saturating_mul(WHOLE),
            url: door.url.clone(),
            silence: LONG_SILENCE,
            longest_pause: 1.0,
            application: Application::Grants,
            may_poll: false,
            door,
            sender,
            client,
            happenings,
            visits: VecDeque::new(),
            told: VecDeque::new(),
            has_opened: false,
            has_ended: false,
            begun: Instant::now(),
            granted: vec![conn_id(0)],
        })
    }

    /// Returns the id of the client's process.
    pub(super) fn client(&self) -> u32 {
        self.client.id()
    }

    /// Ends the client, and returns the end of its standard error.
    pub(super) fn end(self) -> String {
        self.client.end()
    }

    /// Opens another door, as another server has it. Its visits come to the same script.
    pub(super) fn another_door(&self) -> io::Result<Door> {
        Door::open(self.sender.clone(), self.patience)
    }

    /// Orders the client to listen, from the cursor on if there is one.
    pub(super) fn order_listening(&mut self, cursor: Option<&str>) -> Played {
        let has_application = self.application != Application::Absent;
        let mut transports = vec![self.transport.name()];
        if self.may_poll && self.transport != ListenTransport::Poll {
            transports.push(ListenTransport::Poll.name());
        }
        let order = json!({
            "do": "listen",
            "url": self.url,
            "conn_id": self.granted[0],
            "connect_url": has_application.then(|| format!("{}{CONNECT}", self.door.url)),
            "transports": transports,
            "cursor": cursor,
            "silence": self.silence,
            "first_pause": 0.1,
            "longest_pause": self.longest_pause,
        });
        self.order(&order)
    }

    /// Writes an order to the client.
    pub(super) fn order(&mut self, order: &Value) -> Played {
        self.client
            .order(order)
            .map_err(|error| Deviation::new("it reads orders on standard input", error))
    }

    /// Orders the client to listen, and opens what it asks for. It is told that it begins at 1.
    pub(super) fn listen(&mut self) -> Played<Line> {
        self.order_listening(None)?;
        let mut line = self.listener("")?;
        self.send(&mut line, &[events::begins(1)])?;
        Ok(line)
    }

    /// Waits for a request to listen from this cursor on, and opens what it asks for.
    pub(super) fn listener(&mut self, since: &str) -> Played<Line> {
        let visit = self.listening(since)?;
        self.open(visit, since)
    }

    /// Waits for a request to listen from this cursor on.
    pub(super) fn listening(&mut self, since: &str) -> Played<Visit> {
        let visit = self.visit(&format!("a request to listen since {since:?}"))?;
        self.check_listening(&visit, since)?;
        Ok(visit)
    }

    /// Checks that a request is one to listen from this cursor on.
    pub(super) fn check_listening(&self, visit: &Visit, since: &str) -> Played {
        let transport = transport_of(visit);
        let is_meant = transport == Some(self.transport)
            || (self.may_poll && transport == Some(ListenTransport::Poll));
        if visit.method != "GET" || !is_meant {
            let expected = format!("GET {}", path(self.transport));
            return Err(Deviation::new(expected, visit.line()));
        }
        let conn_id = visit.parameter("conn_id").unwrap_or_default();
        if !self.granted.iter().any(|granted| granted == conn_id) {
            let expected = format!("conn_id={}", self.granted.join(" or "));
            return Err(Deviation::new(expected, visit.line()));
        }
        if visit.has(SECRET) || !visit.header("x-channelstream-secret").is_empty() {
            return Err(Deviation::new("no secret and no signature to listen", visit.line()));
        }
        match visit.since() {
            Some(found) if found == since => Ok(()),
            found => Err(Deviation::new(
                format!("since={since}"),
                found.map_or("no since".to_owned(), |found| format!("since={found}")),
            )),
        }
    }

    /// Opens the transport that a request asks for.
    pub(super) fn open(&mut self, mut visit: Visit, since: &str) -> Played<Line> {
        let transport = transport_of(&visit).unwrap_or(self.transport);
        match transport {
            ListenTransport::Websocket => accept(&mut visit)?,
            ListenTransport::Sse => {
                visit.begin("text/event-stream")?;
            }
            ListenTransport::Poll => {}
        }
        let conn_id = visit.parameter("conn_id").unwrap_or_default().to_owned();
        let mut line = Line::new(transport, visit, conn_id, since.to_owned());
        if transport == ListenTransport::Sse {
            line.text("retry: 3000\n\n")?;
        }
        Ok(line)
    }

    /// Sends events.
    pub(super) fn send(&mut self, line: &mut Line, events: &[Event]) -> Played {
        if line.transport == ListenTransport::Poll {
            let list: Vec<_> = events.iter().map(Event::json).collect();
            self.answer_poll(line, &list.into())?;
        } else {
            let bytes = line.bytes(events);
            line.write(&bytes)?;
        }
        if let Some(last) = events.last() {
            line.cursor.clone_from(&last.seq);
        }
        Ok(())
    }

    /// Sends events to a client that may have left.
    pub(super) fn send_if_open(&mut self, line: &mut Line, events: &[Event]) {
        if line.transport != ListenTransport::Poll {
            // That it has left shows when it returns.
            let _ = line.write(&line.bytes(events));
        }
    }

    /// Answers a poll with what is no list of events.
    pub(super) fn answer_badly(&mut self, line: &mut Line, body: &str) -> Played {
        self.poll(line)?;
        let Some(poll) = line.poll.take() else { return Ok(()) };
        Ok(poll.answer_as("200 OK", "application/json", "", body)?)
    }

    /// Sends a heartbeat.
    pub(super) fn heartbeat(&mut self, line: &mut Line) -> Played {
        match line.transport {
            ListenTransport::Websocket => line.text("[]"),
            ListenTransport::Sse => line.text(":\n\n"),
            ListenTransport::Poll => self.answer_poll(line, &json!([])),
        }
    }

    /// Answers the poll that waits, or the next one.
    fn answer_poll(&mut self, line: &mut Line, list: &Value) -> Played {
        self.poll(line)?;
        let Some(poll) = line.poll.take() else { return Ok(()) };
        Ok(poll.answer("200 OK", "", list)?)
    }

    /// Waits until a poll waits for an answer.
    pub(super) fn poll(&mut self, line: &mut Line) -> Played {
        if line.poll.is_none() {
            line.poll = Some(self.listening(&line.cursor.clone())?);
        }
        Ok(())
    }

    /// Waits until the client tells exactly this next; fields that are not named do not matter.
    pub(super) fn told(&mut self, expected: &Value) -> Played {
        let came = self.news(expected)?;
        let fields = expected.as_object().into_iter().flatten();
        match fields.into_iter().find(|(key, value)| came.get(key) != Some(value)) {
            None => Ok(()),
            Some(_) => Err(Deviation::new(expected, shortened(&came))),
        }
    }

    /// Waits until the client tells this, or asks something. Returns the request if that comes first.
    pub(super) fn told_or_visit(&mut self, expected: &Value) -> Played<Option<Visit>> {
        let begun = Instant::now();
        while self.told.is_empty() && !self.has_ended {
            if let Some(visit) = self.visits.pop_front() {
                return Ok(Some(visit));
            }
            if !self.wait(begun)? {
                break;
            }
        }
        self.told(expected).map(|()| None)
    }

    /// Waits until the client tells this, and asks nothing before.
    pub(super) fn told_alone(&mut self, expected: &Value) -> Played {
        match self.told_or_visit(expected)? {
            None => Ok(()),
            Some(visit) => Err(Deviation::new(expected, visit.line())),
        }
    }

    /// Waits until the client tells of these messages, in this order and nothing else.
    pub(super) fn told_all(&mut self, events: &[Event]) -> Played {
        events.iter().try_for_each(|event| self.told(&event.told()))
    }

    /// Sends messages, and waits until the client tells of them.
    pub(super) fn deliver(&mut self, line: &mut Line, events: &[Event]) -> Played {
        self.send(line, events)?;
        self.told_all(events)
    }

    /// Waits until the client tells anything but asides.
    pub(super) fn news(&mut self, expected: &impl Display) -> Played<Value> {
        let begun = Instant::now();
        loop {
            if let Some(told) = self.told.pop_front() {
                return Ok(told);
            }
            if self.has_ended {
                return Err(self.gone(expected));
            }
            if !self.wait(begun)? {
                let asked = self.visits.front().map(|visit| format!("; it asked {}", visit.line()));
                return Err(Deviation::new(
                    expected,
                    format!("nothing for {:?}{}", self.patience, asked.unwrap_or_default()),
                ));
            }
        }
    }

    /// Waits for the next request.
    pub(super) fn visit(&mut self, expected: &impl Display) -> Played<Visit> {
        let begun = Instant::now();
        loop {
            if let Some(visit) = self.visits.pop_front() {
                return Ok(visit);
            }
            if self.has_ended {
                return Err(self.gone(expected));
            }
            if let Some(ended) = self.told.iter().find(|told| told["event"] == "ended") {
                return Err(Deviation::new(expected, ended));
            }
            if !self.wait(begun)? {
                let told = self.told.front().map(|told| format!("; it told {}", shortened(told)));
                return Err(Deviation::new(
                    expected,
                    format!("no request for {:?}{}", self.patience, told.unwrap_or_default()),
                ));
            }
        }
    }

    /// Returns `true` if a request comes within this time, or has come.
    pub(super) fn is_visited_within(&mut self, time: Duration) -> Played<bool> {
        let patience = std::mem::replace(&mut self.patience, time);
        let begun = Instant::now();
        let visited = loop {
            match self.visits.is_empty() && !self.has_ended {
                true if self.wait(begun)? => {}
                _ => break !self.visits.is_empty(),
            }
        };
        self.patience = patience;
        Ok(visited)
    }

    /// Waits until the client has said that it is open.
    pub(super) fn opened(&mut self) -> Played {
        let begun = Instant::now();
        while !self.has_opened {
            if self.has_ended {
                return Err(self.gone(&r#"{"event":"open"}"#));
            }
            if !self.wait(begun)? {
                return Err(Deviation::new(r#"{"event":"open"}"#, "no such line"));
            }
        }
        Ok(())
    }

    /// Sends a last message, which shows that nothing else came, and stops the client.
    pub(super) fn finish(&mut self, mut line: Line) -> Played {
        self.deliver(&mut line, &[message(LAST)])?;
        self.stop()?;
        // The next poll follows by itself.
        if line.transport == ListenTransport::Poll {
            self.visits.clear();
        }
        self.is_left_alone()
    }

    /// Stops the client, which ends by itself.
    pub(super) fn stop(&mut self) -> Played {
        // A program that has told its end may have ended.
        let _ = self.order(&json!({ "do": "stop" }));
        let expected = "its program ends with exit status 0 after stop";
        match self.client.wait(self.patience)? {
            Some(status) if status.success() => {}
            Some(status) => return Err(Deviation::new(expected, status)),
            None => return Err(Deviation::new(expected, "it goes on")),
        }
        let begun = Instant::now();
        while !self.has_ended && self.wait(begun)? {}
        match self.told.iter().find(|told| told["event"] != "ended") {
            None => Ok(()),
            Some(told) => Err(Deviation::new("nothing more", shortened(told))),
        }
    }

    /// Checks that no request has come that the script did not wait for.
    pub(super) fn is_left_alone(&mut self) -> Played {
        match self.visits.front() {
            None => Ok(()),
            Some(visit) => Err(Deviation::new("no further request", visit.line())),
        }
    }

    /// Waits for the next happening; returns `false` if none came in time.
    fn wait(&mut self, begun: Instant) -> Played<bool> {
        let whole = self.whole_patience;
        if self.begun.elapsed() > whole {
            return Err(Deviation::new(format!("the case is over within {whole:?}"), "it goes on"));
        }
        let left = self.patience.saturating_sub(begun.elapsed());
        match self.happenings.recv_timeout(left) {
            Ok(Happening::Visit(visit)) => self.receive(*visit),
            Ok(Happening::Line(client::Line::Object(told))) => self.hear(told)?,
            Ok(Happening::Line(client::Line::Nonsense(how))) => {
                let expected = "one JSON object a line on standard output";
                return Err(Deviation::new(expected, how));
            }
            Ok(Happening::Line(client::Line::End)) => self.has_ended = true,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Ok(false),
        }
        Ok(true)
    }

    fn hear(&mut self, told: Value) -> Played {
        match told["event"].as_str().unwrap_or_default() {
            "open" => self.has_opened = true,
            name if ASIDES.contains(&name) => {}
            name if NEWS.contains(&name) && self.told.len() >= MOST_NEWS => {
                let came = format!("{MOST_NEWS} events, and {}", shortened(&told));
                return Err(Deviation::new("no more events than the server sent", came));
            }
            name if NEWS.contains(&name) => self.told.push_back(told),
            _ => {
                let expected = "an event that the kit knows";
                return Err(Deviation::new(expected, shortened(&told)));
            }
        }
        Ok(())
    }

    /// Answers what is none of the script's business; keeps the rest. Failures are the visitor's.
    fn receive(&mut self, visit: Visit) {
        let json = json!({ "message": "Not found." });
        let _ = match (visit.method.as_str(), visit.path.as_str(), self.application) {
            ("OPTIONS", ..) => visit.answer("200 OK", "", &Value::Null),
            (_, "/disconnect", _) => visit.answer("200 OK", "", &true.into()),
            ("POST", CONNECT, Application::Grants) => {
                let conn_id = conn_id(self.granted.len());
                let answer = json!({
                    "conn_id": conn_id, "username": "ann", "channels": [events::CHANNEL],
                    "state": {}, "public_state": {}, "channels_info": { "channels": {}, "users": [] },
                });
                self.granted.push(conn_id);
                visit.answer("200 OK", "", &answer)
            }
            (_, CONNECT, _) => visit.answer("403 Forbidden", "", &json),
            _ => {
                self.visits.push_back(visit);
                Ok(())
            }
        };
    }

    fn gone(&mut self, expected: &impl Display) -> Deviation {
        let came = match self.client.wait(self.patience) {
            Ok(Some(status)) => format!("its program ended: {status}"),
            _ => "its program closed standard output".to_owned(),
        };
        Deviation::new(expected, came)
    }
}

impl Visit {
    /// Returns the request in a line, without what is secret about a connection.
    pub(super) fn line(&self) -> String {
        let mut line = format!("{} {}", self.method, self.path);
        for (key, mark) in [("conn_id", '?'), ("since", '&')] {
            if let Some(value) = self.parameter(key) {
                line.push_str(&format!("{mark}{key}={value}"));
            }
        }
        line
    }

    /// Returns the cursor that is presented, in the order in which the server looks for it.
    pub(super) fn since(&self) -> Option<String> {
        let header = self.text("last-event-id");
        let is_stream = self.path == path(ListenTransport::Sse);
        if is_stream && !header.is_empty() {
            return Some(header);
        }
        let parameter = |name| self.parameter(name).filter(|text| !text.is_empty());
        let last = parameter("last_event_id").filter(|_| is_stream);
        let found = last.or(self.parameter("since")).map(str::to_owned);
        // An event stream has cursors anyway.
        found.or_else(|| is_stream.then(String::new))
    }
}

/// Answers the handshake of a websocket.
fn accept(visit: &mut Visit) -> Played {
    use std::io::Write as _;
    let key = visit.header("sec-websocket-key");
    let is_upgrade = visit.text("upgrade").eq_ignore_ascii_case("websocket")
        && visit.text("connection").to_ascii_lowercase().contains("upgrade");
    if !is_upgrade || visit.header("sec-websocket-version") != b"13" || key.len() != 24 {
        return Err(Deviation::new("the handshake of a websocket, version 13", visit.line()));
    }
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key)
    );
    Ok(visit.stream.write_all(head.as_bytes())?)
}

fn path(transport: ListenTransport) -> &'static str {
    match transport {
        ListenTransport::Websocket => "/ws",
        ListenTransport::Sse => "/sse",
        ListenTransport::Poll => "/listen",
    }
}

fn transport_of(visit: &Visit) -> Option<ListenTransport> {
    let all = [ListenTransport::Websocket, ListenTransport::Sse, ListenTransport::Poll];
    all.into_iter().find(|transport| path(*transport) == visit.path)
}

/// Returns the id of the connection with this number.
fn conn_id(number: usize) -> String {
    format!("5d0f6a1e-0000-4000-8000-{number:012}")
}

/// Returns what a client told, not for too long.
fn shortened(told: &Value) -> String {
    let text = told.to_string();
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
