//! Listening: sockets and polls, how they follow each other and how they end.

use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{Client, Heard, Present};
use crate::model::{Action, End, Listener};
use crate::round::{AFTER_CLOSE, AFTER_LISTENER, UNTIL_CUT, is_wide};
use crate::wire::{Incoming, Line, PATIENCE, Socket};

impl Client {
    pub(super) fn end(&self, present: &Present, listener: usize, end: End) {
        self.round.record.lives.borrow_mut()[present.life].listeners[listener].end = end;
    }

    pub(super) fn end_slow(&self, present: &Present, listener: usize) {
        self.done("closed as slow");
        self.end(present, listener, End::ReadOut);
        self.round.record.lives.borrow_mut()[present.life].listeners[listener].slow = true;
    }

    /// Notes an end in the middle of a frame: the close frame of a slow listener could not be sent.
    pub(super) fn end_broken(&self, present: &Present, listener: usize) {
        self.done("broken off");
        self.end(present, listener, End::ReadOut);
        self.round.record.lives.borrow_mut()[present.life].listeners[listener].slow = true;
    }

    pub(super) fn new_listener(&self, present: &Present, begun: Instant) -> usize {
        let listeners = &mut self.round.record.lives.borrow_mut()[present.life].listeners;
        listeners.push(Listener {
            received: vec![],
            end: End::Open,
            slow: false,
            again: None,
            maybe: false,
            waits: self.round.site.addresses.len() > 1,
            begun,
        });
        listeners.len() - 1
    }

    /// Opens a socket where there is none.
    pub(super) async fn open(&mut self, mut present: Present) {
        self.done("open");
        if self.open_socket(&mut present, false).await {
            self.present = Some(present);
        }
    }

    /// Opens a socket and waits until it is known that it is open; false if the connection is
    /// unknown.
    pub(super) async fn open_socket(&mut self, present: &mut Present, listening: bool) -> bool {
        let record = &self.round.record;
        let narrow = present.channels.iter().any(|channel| is_wide(*channel));
        let narrow = narrow && self.dice.one_in(2);
        let (asked, begun) = (record.tick(), Instant::now());
        let mut socket = match Socket::open(self.round.site.any(), &present.id, narrow).await {
            Ok(socket) => socket,
            Err(error) => {
                self.fault(&format!("no socket: {error}"));
                return false;
            }
        };
        let listener = self.new_listener(present, begun);
        // If that fails, reading returns the reason.
        let _ = socket.ping().await;
        let heard = self.hear(&mut socket, present, listener, begun + PATIENCE).await;
        let opened = Action::Open(listener);
        match heard {
            Heard::Pong => {
                record.step(present.life, opened, asked, record.tick());
                present.read_out = Instant::now();
                present.socket = Some((socket, listener));
                true
            }
            Heard::Closed(1008, _) => {
                record.step(present.life, opened, asked, record.tick());
                self.closed_as_slow(present, listener, begun);
                true
            }
            Heard::Closed(1000, _) => {
                self.gone(present, listening, asked);
                false
            }
            other => {
                self.fault(&format!("a socket was opened and then {other:?}"));
                false
            }
        }
    }

    pub(super) fn closed_as_slow(&self, present: &mut Present, listener: usize, since: Instant) {
        self.end_slow(present, listener);
        let record = &self.round.record;
        let now = record.tick();
        record.step(present.life, Action::Close, now, now);
        // A client that does not read the close frame either is cut; then the server is done with
        // it.
        present.safe_until = since.min(present.read_out + UNTIL_CUT) + AFTER_LISTENER;
    }

    /// Reads and notes events until something else happens.
    pub(super) async fn hear(
        &self,
        socket: &mut Socket,
        present: &Present,
        listener: usize,
        until: Instant,
    ) -> Heard {
        loop {
            match socket.next(until).await {
                None => return Heard::Enough,
                Some(Incoming::Text(text)) => self.note(present, listener, &text),
                Some(Incoming::Pong) => return Heard::Pong,
                Some(Incoming::Close(code, reason)) => return Heard::Closed(code, reason),
                Some(Incoming::End { orderly, whole }) => return Heard::Ended { orderly, whole },
            }
        }
    }

    pub(super) fn note(&self, present: &Present, listener: usize, text: &[u8]) {
        match self.round.record.read(self.user, text) {
            Ok(received) => {
                let lives = &mut self.round.record.lives.borrow_mut();
                lives[present.life].listeners[listener].received.extend(received);
            }
            Err(error) => self.fault(&error),
        }
    }

    /// Listens for a time; whether the socket is still open then.
    pub(super) async fn listen(&mut self, present: &mut Present, time: Duration) -> bool {
        let Some((mut socket, listener)) = present.socket.take() else { return false };
        let begun = Instant::now();
        match self.hear(&mut socket, present, listener, begun + time).await {
            Heard::Enough => {
                present.read_out = Instant::now();
                present.socket = Some((socket, listener));
                true
            }
            Heard::Closed(1008, _) => {
                self.closed_as_slow(present, listener, begun);
                false
            }
            other => {
                self.fault(&format!("an open socket ended: {other:?}"));
                present.safe_until = begun;
                let record = &self.round.record;
                self.end(present, listener, End::Cut);
                record.step(present.life, Action::Close, record.tick(), record.tick());
                false
            }
        }
    }

    /// Opens a second socket, which takes over; at the same moment the first may be closed.
    pub(super) async fn take_over(&mut self, mut present: Present, closes: bool) {
        let Some((mut old, listener)) = present.socket.take() else { return };
        self.done(if closes { "close and open at once" } else { "take over" });
        let given = self.given(&present, listener);
        if closes {
            present.safe_until = Instant::now() + AFTER_CLOSE;
            let now = self.round.record.tick();
            self.round.record.step(present.life, Action::Close, now, now);
            // It may be closed already as slow; reading returns the reason.
            let _ = old.close().await;
        }
        let is_known = self.open_socket(&mut present, !closes).await;
        match self.hear(&mut old, &present, listener, Instant::now() + PATIENCE).await {
            Heard::Closed(1000, _) => self.end(&present, listener, End::ReadOut),
            // The frame comes whole to the newer one.
            Heard::Ended { orderly: true, whole: false } => self.end_broken(&present, listener),
            Heard::Closed(1008, _) => self.end_slow(&present, listener),
            other => self.fault(&format!("a socket that was taken over ended: {other:?}")),
        }
        if closes {
            self.may_come_again(&present, listener, given);
        }
        self.present = is_known.then_some(present);
    }

    pub(super) async fn leave(&mut self, present: Present) {
        let how = self.dice.below(4);
        self.leave_by(present, how).await;
    }

    pub(super) async fn leave_by(&mut self, mut present: Present, how: usize) {
        let Some((mut socket, listener)) = present.socket.take() else { return };
        let ways = ["leave by close", "leave by FIN", "leave by RST", "breach the protocol"];
        self.done(ways[how]);
        let now = self.round.record.tick();
        self.round.record.step(present.life, Action::Close, now, now);
        present.safe_until = Instant::now() + AFTER_CLOSE;
        let given = self.given(&present, listener);
        // If writing fails, reading returns the reason.
        let _ = match how {
            0 => socket.close().await,
            1 => socket.finish().await,
            2 => {
                socket.cut();
                self.lose(&present, listener);
                self.present = Some(present);
                return;
            }
            _ => {
                let breaches: [&[u8]; 3] = [b"\x81\x01a", b"\x83\x80\0\0\0\0", b"\x89\xfe\x01\0"];
                {
                    let breach = breaches[self.dice.below(3)];
                    socket.write(breach).await
                }
            }
        };
        match self.hear(&mut socket, &present, listener, Instant::now() + PATIENCE).await {
            Heard::Closed(1008, _) => self.end_slow(&present, listener),
            Heard::Closed(1000, _) if how == 0 => self.end(&present, listener, End::ReadOut),
            Heard::Closed(1002, _) if how == 3 => self.end(&present, listener, End::ReadOut),
            Heard::Ended { orderly: true, whole: true } if how == 1 => {
                self.end(&present, listener, End::ReadOut);
            }
            Heard::Ended { orderly: true, whole: false } => self.end_broken(&present, listener),
            Heard::Ended { orderly: false, .. } => self.lose(&present, listener),
            other => self.fault(&format!("after {}: {other:?}", ways[how])),
        }
        if how != 1 {
            self.may_come_again(&present, listener, given);
        }
        self.present = Some(present);
    }

    /// How many events a listener was given.
    pub(super) fn given(&self, present: &Present, listener: usize) -> usize {
        self.round.record.lives.borrow()[present.life].listeners[listener].received.len()
    }

    /// Notes that of what a listener was given after it had closed, the last may come again.
    pub(super) fn may_come_again(&self, present: &Present, listener: usize, before: usize) {
        let given = self.given(present, listener);
        let listeners = &mut self.round.record.lives.borrow_mut()[present.life].listeners;
        listeners[listener].again = given.checked_sub(1).filter(|last| *last >= before);
    }

    /// Notes that a listener may not have been given all; whether it was slow is not known.
    pub(super) fn lose(&self, present: &Present, listener: usize) {
        self.end(present, listener, End::Cut);
        self.round.record.lives.borrow_mut()[present.life].listeners[listener].slow = true;
    }

    /// A poll where there is no socket.
    pub(super) async fn poll(&mut self, mut present: Present) {
        self.done("poll");
        let record = Rc::clone(&self.round);
        let record = &record.record;
        let (asked, begun) = (record.tick(), Instant::now());
        let target = format!("/listen?conn_id={}", present.id);
        match self.request("GET", &target, &Value::Null).await {
            Some((200, list)) => {
                let listener = self.new_listener(&present, begun);
                self.note(&present, listener, &list);
                let answered = record.tick();
                record.step(present.life, Action::Open(listener), asked, answered);
                record.step(present.life, Action::Close, asked, answered);
                self.end(&present, listener, End::ReadOut);
                // An empty one may have found the socket that was just left still there, and then
                // was no listener.
                let is_empty = self.given(&present, listener) == 0;
                let it = &mut record.lives.borrow_mut()[present.life].listeners[listener];
                (it.maybe, it.slow) = (is_empty, true);
                if !is_empty {
                    present.safe_until = begun + AFTER_LISTENER;
                }
                self.present = Some(present);
            }
            Some((401, _)) => self.gone(&present, false, asked),
            other => self.fault(&format!("/listen was answered {other:?}")),
        }
    }

    /// Begins a poll. Returns its TCP connection and its number among the listeners.
    pub(super) async fn begin_poll(&mut self, present: &Present) -> Option<(Line, usize)> {
        let begun = Instant::now();
        let mut line = self.line().await?;
        let head =
            format!("GET /listen?conn_id={} HTTP/1.1\r\nhost: localhost\r\n\r\n", present.id);
        line.write(head.as_bytes()).await.ok()?;
        let listener = self.new_listener(present, begun);
        let lives = &mut self.round.record.lives.borrow_mut();
        let it = &mut lives[present.life].listeners[listener];
        (it.maybe, it.slow) = (true, true);
        Some((line, listener))
    }

    /// A poll is given up, and a socket opens at once.
    pub(super) async fn abort_poll(&mut self, mut present: Present) {
        self.done("abort a poll");
        let record = Rc::clone(&self.round);
        let record = &record.record;
        let asked = record.tick();
        let Some((line, listener)) = self.begin_poll(&present).await else { return };
        let time = self.dice.pause(120);
        sleep(time).await;
        line.cut();
        let answered = record.tick();
        record.step(present.life, Action::Open(listener), asked, answered);
        record.step(present.life, Action::Close, asked, answered);
        let is_known = self.open_socket(&mut present, false).await;
        // A poll gathers before it answers, but one that is full answers at once.
        self.end(&present, listener, End::Cut);
        self.present = is_known.then_some(present);
    }

    /// A poll waits, and a socket takes over.
    pub(super) async fn socket_over_poll(&mut self, mut present: Present) {
        self.done("socket over a poll");
        let asked = self.round.record.tick();
        let Some((mut line, listener)) = self.begin_poll(&present).await else { return };
        let time = self.dice.pause(100);
        sleep(time).await;
        let now = self.round.record.tick();
        self.round.record.step(present.life, Action::Open(listener), asked, now);
        let is_known = self.open_socket(&mut present, false).await;
        match line.answer().await {
            Ok((200, list)) => {
                self.note(&present, listener, &list);
                self.end(&present, listener, End::ReadOut);
            }
            Ok((401, _)) if Instant::now() > present.safe_until => {}
            other => self.fault(&format!("a poll that was taken over: {other:?}")),
        }
        self.present = is_known.then_some(present);
    }

    /// A poll beside an open socket gets nothing.
    pub(super) async fn poll_beside(&mut self, present: Present) {
        self.done("poll beside a socket");
        let target = format!("/listen?conn_id={}", present.id);
        match self.request("GET", &target, &Value::Null).await {
            Some((200, list)) if list == b"[]" => {}
            // The socket was closed as slow meanwhile; what the poll took is not noted.
            other => self.fault(&format!("/listen beside a socket was answered {other:?}")),
        }
        self.present = Some(present);
    }
}
