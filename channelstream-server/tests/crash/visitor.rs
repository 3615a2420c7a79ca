//! A client with a cursor, which comes back to whatever server listens on its address.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::app::{PATIENCE, Request};

/// A client that listens to one connection, as lines of JSON.
pub(crate) struct Visitor {
    pub(crate) address: SocketAddr,
    pub(crate) connection: String,
    /// What was heard, in this order.
    pub(crate) events: Vec<Value>,
    cursor: String,
}

impl Visitor {
    pub(crate) fn new(address: SocketAddr, connection: String) -> Self {
        Self { address, connection, events: Vec::new(), cursor: String::new() }
    }

    /// Listens until `is_over`, or until the event for which `is_last` is true.
    pub(crate) fn listen(&mut self, is_over: &AtomicBool, is_last: impl Fn(&Value) -> bool) {
        let mut heard_at = Instant::now();
        while !is_over.load(Ordering::Relaxed) {
            assert!(heard_at.elapsed() < PATIENCE, "nothing came since {}", self.cursor);
            let before = self.events.len();
            if self.visit(is_over, &is_last).is_some() {
                return;
            }
            if self.events.len() > before {
                heard_at = Instant::now();
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Listens on one line, until it ends. Returns `Some` if the last event came.
    fn visit(&mut self, is_over: &AtomicBool, is_last: impl Fn(&Value) -> bool) -> Option<()> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(Duration::from_millis(50))).ok()?;
        let path = format!("/stream?conn_id={}&since={}", self.connection, self.cursor);
        stream.write_all(&Request::new("GET", &path).bytes()).ok()?;
        let begun = Instant::now();
        let (mut read, mut buffer) = (Vec::new(), [0; 16 * 1024]);
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(count) => read.extend_from_slice(&buffer[..count]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    if is_over.load(Ordering::Relaxed) {
                        return None;
                    }
                }
                Err(_) => return None,
            }
            // Sizes of chunks stand between the lines, and the head before them: neither begins so.
            assert!(
                begun.elapsed() < PATIENCE,
                "nothing came since {}: {}",
                self.cursor,
                read.escape_ascii()
            );
            while let Some(end) = read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = read.drain(..=end).collect();
                if !line.starts_with(b"{") {
                    continue;
                }
                let Ok(event) = serde_json::from_slice::<Value>(&line) else { continue };
                if let Some(cursor) = event["seq"].as_str() {
                    cursor.clone_into(&mut self.cursor);
                }
                let is_last = is_last(&event);
                self.events.push(event);
                if is_last {
                    return Some(());
                }
            }
        }
    }
}
