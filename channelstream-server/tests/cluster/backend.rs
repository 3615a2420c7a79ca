//! A backend that publishes numbers one after the other, and repeats what was not answered with the same key.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::app::{PATIENCE, Request, eventually, numbered};

#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    answered: AtomicU64,
    repeats: AtomicU64,
    /// Connections that nobody accepted.
    refused: AtomicU64,
}

pub(crate) struct Backend {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

impl Backend {
    /// Publishes to a channel, with a pause after each number.
    pub(crate) fn start(address: SocketAddr, channel: &'static str, pause: Duration) -> Self {
        let shared = Arc::<Shared>::default();
        let its = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            for number in 1.. {
                if its.is_over.load(Ordering::Relaxed) {
                    return;
                }
                while !its.publish(address, channel, number) {
                    its.repeats.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(20));
                }
                its.answered.store(number, Ordering::Relaxed);
                thread::sleep(pause);
            }
        });
        Self { shared, thread }
    }

    /// Waits until so many more numbers are answered.
    pub(crate) fn goes_on(&self, more: u64) {
        let answered = || self.shared.answered.load(Ordering::Relaxed);
        let until = answered() + more;
        eventually("messages are answered", || answered() >= until || self.thread.is_finished());
        assert!(!self.thread.is_finished(), "it was answered what is no reason to repeat");
    }

    /// Returns how many connections were refused.
    pub(crate) fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }

    /// Stops. Returns the last number, up to which all are published, and how many requests were repeats.
    pub(crate) fn stop(self) -> (u64, u64) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        let Shared { answered, repeats, .. } = &*self.shared;
        (answered.load(Ordering::Relaxed), repeats.load(Ordering::Relaxed))
    }
}

impl Shared {
    /// Publishes a number. Returns `false` if nobody took it, or nobody knows.
    fn publish(&self, address: SocketAddr, channel: &str, number: u64) -> bool {
        let answer = || {
            let connected = TcpStream::connect(address);
            self.refused.fetch_add(u64::from(connected.is_err()), Ordering::Relaxed);
            let mut stream = connected.ok()?;
            stream.set_read_timeout(Some(PATIENCE)).ok()?;
            let request = Request::call("/message", &numbered(channel, number))
                .header("idempotency-key", &format!("number-{number}"))
                .header("connection", "close");
            stream.write_all(&request.bytes()).ok()?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).ok()?;
            String::from_utf8(answer).ok().filter(|answer| !answer.is_empty())
        };
        let Some(answer) = answer() else { return false };
        match answer.split(' ').nth(1) {
            Some("200") => true,
            Some("502" | "503" | "504") => false,
            _ => panic!("{answer}"),
        }
    }
}
