//! Clients with a cursor, which go to another server when theirs ends, and one that publishes all the time.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::app::{PATIENCE, Request, eventually};
use crate::cluster::{Outcome, publish};

#[derive(Default)]
struct Shared {
    numbers: Mutex<Vec<u64>>,
    gaps: Mutex<Vec<Value>>,
    opened: AtomicUsize,
    is_over: AtomicBool,
}

/// A client that listens on a thread, as lines of JSON.
pub(crate) struct Visitor {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Visitor {
    /// Listens on the first address, and on the next one whenever a line ends.
    pub(crate) fn listen(addresses: Vec<SocketAddr>, connection: String) -> Self {
        let shared = Arc::<Shared>::default();
        let its = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            let mut cursor = String::new();
            for address in addresses.iter().cycle() {
                if its.is_over.load(Ordering::Relaxed) {
                    return;
                }
                its.opened.fetch_add(1, Ordering::Relaxed);
                let _ = visit(&its, *address, &connection, &mut cursor);
                thread::sleep(Duration::from_millis(50));
            }
        });
        let visitor = Self { shared, thread: Some(thread) };
        eventually("it listens", || visitor.opened() > 0);
        visitor
    }

    /// Returns how many lines it has opened.
    pub(crate) fn opened(&self) -> usize {
        self.shared.opened.load(Ordering::Relaxed)
    }

    /// Waits for a number. Returns all that came, each once at most, whatever happened between.
    pub(crate) fn hears(&self, last: u64) -> Vec<u64> {
        let begun = Instant::now();
        while !self.shared.numbers.lock().unwrap().contains(&last) {
            let newest = self.shared.numbers.lock().unwrap().last().copied();
            let opened = self.opened();
            assert!(
                begun.elapsed() < PATIENCE,
                "waits for {last}, and has {newest:?} on line {opened}"
            );
            thread::sleep(Duration::from_millis(10));
        }
        let numbers = self.shared.numbers.lock().unwrap().clone();
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        let count = sorted.len();
        sorted.dedup();
        assert_eq!(sorted.len(), count, "something came twice: {numbers:?}");
        let gaps = self.shared.gaps.lock().unwrap().clone();
        assert!(gaps.is_empty(), "{gaps:?}");
        sorted
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Listens on one line until it ends.
fn visit(
    shared: &Shared,
    address: SocketAddr,
    connection: &str,
    cursor: &mut String,
) -> Option<()> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_millis(50))).ok()?;
    let path = format!("/stream?conn_id={connection}&since={cursor}");
    let request = Request::new("GET", &path).header("connection", "close");
    stream.write_all(&request.bytes()).ok()?;
    let (mut read, mut buffer) = (Vec::new(), [0; 16 * 1024]);
    while !shared.is_over.load(Ordering::Relaxed) {
        match stream.read(&mut buffer) {
            Ok(0) => return None,
            Ok(count) => read.extend_from_slice(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return None,
        }
        // Sizes of chunks stand between the lines, and the head before them: neither begins so.
        while let Some(end) = read.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = read.drain(..=end).collect();
            let Ok(event) = serde_json::from_slice::<Value>(&line) else { continue };
            if let Some(seq) = event["seq"].as_str() {
                seq.clone_into(cursor);
            }
            if let Some(number) = event["message"]["n"].as_u64() {
                shared.numbers.lock().unwrap().push(number);
            } else if event["type"] == "gap" {
                shared.gaps.lock().unwrap().push(event);
            }
        }
    }
    None
}

/// Publishes numbers, one after the other, to one server after the other.
pub(crate) struct Publisher {
    outcomes: Arc<Mutex<BTreeMap<u64, Outcome>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Publisher {
    /// Begins with the number `from`.
    pub(crate) fn start(addresses: Vec<SocketAddr>, channel: &'static str, from: u64) -> Self {
        let (outcomes, is_over) =
            (Arc::<Mutex<BTreeMap<_, _>>>::default(), Arc::<AtomicBool>::default());
        let (its, ends) = (Arc::clone(&outcomes), Arc::clone(&is_over));
        let thread = thread::spawn(move || {
            for (number, address) in (from..).zip(addresses.iter().cycle()) {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                let outcome = publish(*address, channel, number);
                its.lock().unwrap().insert(number, outcome);
                thread::sleep(Duration::from_millis(5));
            }
        });
        Self { outcomes, is_over, thread: Some(thread) }
    }

    /// Waits until so many more were answered.
    pub(crate) fn answered(&self, more: usize) {
        let done = || {
            let outcomes = self.outcomes.lock().unwrap();
            outcomes.values().filter(|outcome| **outcome == Outcome::Done).count()
        };
        let before = done();
        eventually("requests are answered", || done() >= before + more);
    }

    /// Waits until the next request is refused.
    pub(crate) fn refused(&self) {
        let last = || self.outcomes.lock().unwrap().last_key_value().map(|(_, outcome)| *outcome);
        eventually("a request is refused", || last() == Some(Outcome::NotDone));
    }

    /// Stops. Returns what became of each number.
    pub(crate) fn stop(mut self) -> BTreeMap<u64, Outcome> {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        std::mem::take(&mut self.outcomes.lock().unwrap())
    }
}

/// Compares what came of requests with what is there: all that was answered and nothing that was refused.
pub(crate) fn compare(outcomes: &BTreeMap<u64, Outcome>, found: &[u64], where_: &str) {
    let has = |number: &u64| found.contains(number);
    let of = |wanted| outcomes.iter().filter(move |(_, one)| **one == wanted).map(|(n, _)| *n);
    let missing: Vec<_> = of(Outcome::Done).filter(|number| !has(number)).collect();
    assert!(missing.is_empty(), "{where_}: answered, but not there: {missing:?}");
    let done: Vec<_> = of(Outcome::NotDone).filter(has).collect();
    assert!(done.is_empty(), "{where_}: refused, but there: {done:?}");
    let mut once = found.to_vec();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), found.len(), "{where_}: something is there twice");
}
