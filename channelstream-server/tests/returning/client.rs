//! A client that is cut again and again, and comes back with its cursor.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::time::Duration;

use crate::app::{Site, eventually};
use crate::dice::Dice;
use crate::wire::{Cut, Heard, How, Wire};

/// How many lines stay open behind a client's back.
const LEFT_OPEN: usize = 8;

pub(crate) struct Client {
    site: Site,
    user: String,
    channels: &'static [&'static str],
    hows: Vec<How>,
    connection: String,
    cursor: String,
    wire: Option<Wire>,
    left_open: VecDeque<TcpStream>,
    pub(crate) dice: Dice,
    /// How often it got a new connection.
    pub(crate) renewed: usize,
    /// The bytes that came on all lines.
    pub(crate) bytes: usize,
}

impl Client {
    /// Connects, and listens from then on.
    pub(crate) fn begin(
        site: Site,
        user: &str,
        channels: &'static [&'static str],
        hows: &[How],
        seed: u64,
    ) -> Self {
        let connection = site.connect(user, channels);
        let mut client = Self {
            site,
            user: user.to_owned(),
            channels,
            hows: hows.to_vec(),
            connection,
            cursor: String::new(),
            wire: None,
            left_open: VecDeque::new(),
            dice: Dice(seed),
            renewed: 0,
            bytes: 0,
        };
        let first = client.next();
        assert_eq!(first.event["type"], "cursor");
        client
    }

    /// The next event, on whatever line. A line that the server ended is opened again.
    pub(crate) fn next(&mut self) -> Heard {
        let patience = std::time::Instant::now() + crate::PATIENCE;
        loop {
            assert!(std::time::Instant::now() < patience, "nothing came to {}", self.user);
            let how = self.dice.one_of(&self.hows);
            let wire = match &mut self.wire {
                Some(wire) => wire,
                None => match Wire::open(self.site, how, &self.connection, &self.cursor) {
                    Some(wire) => self.wire.insert(wire),
                    None => {
                        self.renew();
                        continue;
                    }
                },
            };
            let before = wire.bytes;
            let heard = wire.next_within(Duration::from_secs(2));
            self.bytes += wire.bytes - before;
            if let Some(heard) = heard {
                self.cursor.clone_from(&heard.cursor);
                return heard;
            }
            if wire.is_over() {
                self.wire = None;
                if !self.is_known() {
                    self.renew();
                }
            }
        }
    }

    fn is_known(&self) -> bool {
        let answer = self.site.send(&crate::app::Request::new(
            "HEAD",
            &format!("/listen?conn_id={}", self.connection),
        ));
        answer.status == 200
    }

    /// The backend gives the page a new connection.
    fn renew(&mut self) {
        self.connection = self.site.connect(&self.user, self.channels);
        self.renewed += 1;
    }

    /// Breaks the line, with all that is on its way.
    pub(crate) fn cut(&mut self) {
        let cut = self.dice.one_of(&[Cut::Reset, Cut::Silent, Cut::HalfClosed]);
        let Some(wire) = self.wire.take() else { return };
        self.left_open.extend(wire.cut(cut));
        if self.left_open.len() > LEFT_OPEN {
            self.left_open.pop_front();
        }
    }

    /// Goes away until its connection has ended by silence.
    pub(crate) fn stay_away(&mut self) {
        self.cut();
        self.left_open.clear();
        let user = &self.user;
        eventually("the connection ends", || {
            let users = self.site.channel(self.channels[0])["users"].clone();
            !users.as_array().unwrap().iter().any(|one| one == user.as_str())
        });
        self.renew();
    }
}
