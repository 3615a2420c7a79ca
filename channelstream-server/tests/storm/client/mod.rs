//! Clients: each does one thing after another on its connection, and notes what it is given.

mod listening;

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::dice::Dice;
use crate::model::{Action, End, Life, index};
use crate::round::{AFTER_LISTENER, Round, tells_state};
use crate::wire::{Answer, Incoming, Line, PATIENCE, Socket};

/// Why reading came to a stop.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    /// Nothing more for now.
    Enough,
    Pong,
    /// A close frame of the server.
    Closed(u16, String),
    Ended {
        orderly: bool,
        whole: bool,
    },
}

/// The connection that a client has now.
struct Present {
    life: usize,
    id: String,
    channels: BTreeSet<usize>,
    /// The open socket and its number among the listeners.
    socket: Option<(Socket, usize)>,
    /// When all that was there was read the last time.
    read_out: Instant,
    /// The server must not end it before, if nobody listens.
    safe_until: Instant,
}

pub(crate) struct Client {
    round: Rc<Round>,
    dice: Dice,
    user: usize,
    line: Option<Line>,
    present: Option<Present>,
}

impl Client {
    pub(crate) fn new(round: Rc<Round>, dice: Dice, user: usize) -> Self {
        Self { round, dice, user, line: None, present: None }
    }

    /// Storms until the round stops, then listens until everything is received. Returns the
    /// socket it has in the end.
    pub(crate) async fn run(mut self) -> Option<Socket> {
        while !self.round.stopped() {
            match self.present.take() {
                None => self.connect(None).await,
                Some(present) if present.socket.is_some() => self.act_listening(present).await,
                Some(present) => self.act_away(present).await,
            }
        }
        // Comes back a last time, unless it was away for too long.
        match self.present.take() {
            Some(present) if present.socket.is_none() => self.open(present).await,
            present => self.present = present,
        }
        self.round.one_is_ready();
        self.hear_to_the_marks().await;
        self.present?.socket.map(|(socket, _)| socket)
    }

    async fn act_listening(&mut self, mut present: Present) {
        let time = self.dice.pause(120);
        if !self.listen(&mut present, time).await {
            self.present = Some(present);
            return;
        }
        match self.dice.below(24) {
            0..3 => self.subscribe(present).await,
            3..6 => self.unsubscribe(present).await,
            6..8 => self.change_state(present).await,
            8..11 => {
                self.done("stall");
                let time = self.dice.pause(2500);
                sleep(time).await;
                self.present = Some(present);
            }
            11 => self.disconnect(present).await,
            12..14 => self.take_over(present, false).await,
            14 => self.take_over(present, true).await,
            15..20 => self.leave(present).await,
            20 => {
                self.done("cut and connect anew");
                self.leave_by(present, 2).await;
                self.present = None;
            }
            21 => self.poll_beside(present).await,
            22 => self.connect(Some(present)).await,
            _ => {
                self.misbehave().await;
                self.present = Some(present);
            }
        }
    }

    async fn act_away(&mut self, present: Present) {
        let time = if self.dice.one_in(6) { self.dice.pause(1500) } else { self.dice.pause(250) };
        sleep(time).await;
        match self.dice.below(12) {
            0 => self.subscribe(present).await,
            1 => self.unsubscribe(present).await,
            2 => self.disconnect(present).await,
            3..5 => self.poll(present).await,
            5 => self.abort_poll(present).await,
            6 => self.socket_over_poll(present).await,
            _ => self.open(present).await,
        }
    }

    fn done(&self, what: &'static str) {
        self.round.record.count(what);
    }

    fn fault(&self, what: &str) {
        self.round.record.fault(format!("u{}: {what}", self.user));
    }

    async fn request(&mut self, method: &str, target: &str, body: &Value) -> Option<Answer> {
        let mut line = match self.line.take() {
            Some(line) if !self.round.site.moves() => line,
            _ => self.line().await?,
        };
        match line.request(method, target, &body.to_string()).await {
            Ok(answer) => {
                self.line = Some(line);
                Some(answer)
            }
            Err(error) => {
                self.fault(&format!("{method} {target}: {error}"));
                None
            }
        }
    }

    async fn line(&self) -> Option<Line> {
        let line = Line::open(self.round.site.any()).await;
        line.map_err(|error| self.fault(&format!("no TCP connection: {error}"))).ok()
    }

    fn some_channels(&mut self) -> BTreeSet<usize> {
        (0..=self.dice.below(3)).map(|_| self.dice.below(self.round.plan.channels)).collect()
    }

    /// Notes that the connection is over by the server's will, which must be right.
    fn gone(&self, present: &Present, listening: bool, asked: u64) {
        self.done("found itself forgotten");
        let early = present.safe_until.saturating_duration_since(Instant::now());
        if listening || !early.is_zero() {
            let life = &self.round.record.lives.borrow()[present.life];
            self.fault(&format!(
                "connection {} is unknown {early:?} too early, listening: {listening}; {:?}; last {:?}",
                present.id,
                life.steps,
                life.listeners.last().map(|listener| (listener.end, listener.slow))
            ));
        }
        let record = &self.round.record;
        record.step(present.life, Action::Gone, asked, record.tick());
    }

    /// Connects again; with one present, the same id once more after a disconnect.
    async fn connect(&mut self, old: Option<Present>) {
        self.done("connect");
        let record = Rc::clone(&self.round);
        let record = &record.record;
        let channels = self.some_channels();
        let names: Vec<String> = channels.iter().map(|channel| format!("c{channel}")).collect();
        let mut body = json!({"username": format!("u{}", self.user), "channels": names});
        body["info"] = json!({"include_history": false, "include_users": false});
        if let Some(old) = &old {
            body["conn_id"] = json!(old.id);
            if !self.tell_disconnect(old).await {
                return;
            }
        }
        let (asked, begun) = (record.tick(), Instant::now());
        let answer = self.request("POST", "/connect", &body).await;
        let answered = record.tick();
        if let Some(old) = old {
            self.hear_to_the_end(old).await;
        }
        let Some((200, told)) = answer else {
            return self.fault(&format!("/connect was answered {answer:?}"));
        };
        let told: Value = serde_json::from_slice(&told).unwrap();
        let id = told["conn_id"].as_str().unwrap().to_owned();
        let life = record.lives.borrow().len();
        let (steps, listeners) = (Vec::new(), Vec::new());
        let user = self.user;
        record.lives.borrow_mut().push(Life { user, id: id.clone(), steps, listeners });
        record.step(life, Action::Connect(channels.clone()), asked, answered);
        let safe_until = begun + AFTER_LISTENER;
        let (socket, read_out) = (None, begun);
        self.present = Some(Present { life, id, channels, socket, read_out, safe_until });
    }

    async fn subscribe(&mut self, present: Present) {
        let channels = self.some_channels();
        self.join(present, channels, true).await;
    }

    async fn unsubscribe(&mut self, present: Present) {
        let channels = self.some_channels();
        // A connection without channels has other times.
        if present.channels.is_subset(&channels) {
            self.present = Some(present);
            return;
        }
        self.join(present, channels, false).await;
    }

    async fn join(&mut self, mut present: Present, channels: BTreeSet<usize>, joins: bool) {
        let path = if joins { "/subscribe" } else { "/unsubscribe" };
        self.done(path);
        let names: Vec<String> = channels.iter().map(|channel| format!("c{channel}")).collect();
        let body = json!({"conn_id": present.id, "channels": names});
        let asked = self.round.record.tick();
        let answer = self.request("POST", path, &body).await;
        let answered = self.round.record.tick();
        let told: Value = match answer {
            Some((200, told)) => serde_json::from_slice(&told).unwrap(),
            Some((422, _)) => return self.gone(&present, present.socket.is_some(), asked),
            other => return self.fault(&format!("{path} was answered {other:?}")),
        };
        let action = if joins {
            present.channels.extend(&channels);
            Action::Subscribe(channels)
        } else {
            present.channels.retain(|channel| !channels.contains(channel));
            Action::Unsubscribe(channels)
        };
        let told = told["channels"].as_array().into_iter().flatten();
        let told: BTreeSet<usize> = told.filter_map(|name| index(name.as_str()?)).collect();
        if told != present.channels {
            self.fault(&format!("{path} reports {told:?}, not {:?}", present.channels));
        }
        self.round.record.step(present.life, action, asked, answered);
        self.present = Some(present);
    }

    async fn change_state(&mut self, present: Present) {
        self.done("/user_state");
        let number = self.round.number();
        let channels = present.channels.iter().copied().filter(|channel| tells_state(*channel));
        let channels = channels.collect();
        self.round.record.state_changes.borrow_mut().insert(number, channels);
        let body = json!({
            "user": format!("u{}", self.user), "user_state": {"s": number},
            "state_public_keys": ["s"],
        });
        match self.request("POST", "/user_state", &body).await {
            Some((200, _)) => {}
            other => self.fault(&format!("/user_state was answered {other:?}")),
        }
        self.present = Some(present);
    }

    /// Disconnects; whether the connection was known.
    async fn tell_disconnect(&mut self, present: &Present) -> bool {
        self.done("/disconnect");
        let asked = self.round.record.tick();
        let body = json!({"conn_id": present.id});
        let answer = self.request("POST", "/disconnect", &body).await;
        match answer {
            Some((200, told)) if told == b"true" => {
                let answered = self.round.record.tick();
                self.round.record.step(present.life, Action::Disconnect, asked, answered);
                true
            }
            Some((200, told)) if told == b"false" => {
                self.gone(present, present.socket.is_some(), asked);
                false
            }
            other => {
                self.fault(&format!("/disconnect was answered {other:?}"));
                false
            }
        }
    }

    async fn disconnect(&mut self, mut present: Present) {
        if !self.tell_disconnect(&present).await {
            return;
        }
        if self.dice.one_in(2) {
            // Nothing revives it.
            let (id, until) = (present.id.clone(), Instant::now() + PATIENCE);
            if let Ok(mut socket) = Socket::open(self.round.site.any(), &id, false).await {
                match socket.next(until).await {
                    Some(Incoming::Close(1000, _)) => {}
                    other => self.fault(&format!("opened after /disconnect: {other:?}")),
                }
            }
        }
        present.safe_until = Instant::now();
        self.hear_to_the_end(present).await;
    }

    /// Reads what a disconnected connection is still given, up to the server's close.
    async fn hear_to_the_end(&mut self, mut present: Present) {
        let Some((mut socket, listener)) = present.socket.take() else { return };
        match self.hear(&mut socket, &present, listener, Instant::now() + PATIENCE).await {
            Heard::Closed(1000, _) => self.end(&present, listener, End::Over),
            Heard::Closed(1008, _) => self.end_slow(&present, listener),
            // If the machine is too busy to read for five seconds, the TCP connection is cut.
            Heard::Ended { .. } => self.lose(&present, listener),
            other => self.fault(&format!("the end of {} was {other:?}", present.id)),
        }
    }

    /// Sends bad requests on TCP connections of their own. The server must not be affected.
    async fn misbehave(&mut self) {
        self.done("misbehave");
        let bad: [(&str, &str, &str, u16); 5] = [
            ("POST", "/message", "[{", 400),
            ("POST", "/subscribe", r#"{"conn_id": 5, "channels": []}"#, 422),
            ("POST", "/messages", "[]", 404),
            ("PATCH", "/message", r#"[{"uuid": "none"}]"#, 422),
            ("GET", "/listen?conn_id=none", "", 422),
        ];
        let (method, target, body, status) = *self.dice.of(&bad);
        let body = body.to_owned();
        let Some(mut line) = self.line().await else { return };
        if self.dice.one_in(2) {
            let _ = line.write(b"POST /message HTTP/1.1\r\ncontent-length: 100\r\n\r\n[").await;
            return line.cut();
        }
        match line.request(method, target, &body).await {
            Ok((told, _)) if told == status => {}
            other => self.fault(&format!("{method} {target} was answered {other:?}")),
        }
    }

    /// Listens until each channel it is in and its own user have said that no more comes, and a
    /// little longer. Comes back as often as it is closed as slow.
    async fn hear_to_the_marks(&mut self) {
        let begun = Instant::now();
        let mut all_told = None;
        while let Some(mut present) = self.present.take() {
            if present.socket.is_none() {
                self.open(present).await;
                continue;
            }
            self.listen(&mut present, Duration::from_millis(50)).await;
            let missing = self.round.unmarked(present.life, &present.channels);
            self.present = Some(present);
            if self.round.marked() && missing.is_empty() {
                if all_told.is_some() {
                    return;
                }
                all_told = Some(());
            } else if begun.elapsed() > PATIENCE {
                return self.fault(&format!("in vain waited for the end of {missing:?}"));
            }
        }
    }
}
