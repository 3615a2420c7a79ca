//! A crowd of clients with cursors, a task each: they listen through one address, and come back whenever their
//! line ends. What comes twice, too late or not at all, and whatever else is no message, is a fault.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::app::Site;

/// For a crowd of ten thousand on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(120);

/// Lines that are opened at the same time: fewer than wait to be accepted.
const AT_ONCE: usize = 256;

/// A transport.
#[derive(Clone, Copy, Debug)]
pub(crate) enum How {
    WebSocket,
    EventStream,
    Poll,
}

/// Clients, each of which is a user in one channel.
pub(crate) struct Crowd {
    // The tasks end with it.
    _runtime: Runtime,
    members: Vec<Arc<Member>>,
    scene: Arc<Scene>,
}

/// What all clients share.
struct Scene {
    address: SocketAddr,
    http: reqwest::Client,
    opening: Semaphore,
    faults: Mutex<Vec<String>>,
    /// Connections that nobody accepted.
    refused: AtomicUsize,
}

struct Member {
    index: usize,
    how: How,
    connection: String,
    cursor: Mutex<String>,
    listens: AtomicBool,
    /// The newest number it has heard.
    newest: AtomicU64,
    /// How many lines it has opened.
    lines: AtomicUsize,
}

/// How a line ended that may be opened again.
enum End {
    Broken,
    /// A poll was answered.
    Answered,
}

impl Crowd {
    /// Connects users to a channel, and lets them listen by these transports in turn. Returns when all do.
    pub(crate) fn gather(
        address: SocketAddr,
        channel: &str,
        count: usize,
        hows: &'static [How],
    ) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let (opening, faults) = (Semaphore::new(AT_ONCE), Mutex::default());
        let refused = AtomicUsize::new(0);
        let scene = Arc::new(Scene { address, http, opening, faults, refused });
        let site = Site(address);
        let info = json!({"include_users": false, "include_history": false});
        let mut members = Vec::with_capacity(count);
        for (index, how) in (0..count).zip(hows.iter().cycle()) {
            let user = format!("user{index}");
            let body = json!({"username": user, "channels": [channel], "info": info});
            let answer = site.call("/connect", &body);
            let member = Arc::new(Member {
                index,
                how: *how,
                connection: answer["conn_id"].as_str().unwrap().to_owned(),
                cursor: Mutex::default(),
                listens: AtomicBool::new(false),
                newest: AtomicU64::new(0),
                lines: AtomicUsize::new(0),
            });
            runtime.spawn(Arc::clone(&member).live(Arc::clone(&scene)));
            members.push(member);
        }
        let crowd = Self { _runtime: runtime, members, scene };
        crowd.wait("listens", |member| member.listens.load(Ordering::Relaxed));
        crowd
    }

    /// Waits until everybody has heard all numbers up to the last.
    pub(crate) fn hears(&self, last: u64) {
        self.wait(&format!("hears {last}"), |one| one.newest.load(Ordering::Relaxed) == last);
    }

    /// Waits until everybody has opened so many lines.
    pub(crate) fn opens(&self, lines: usize) {
        self.wait(&format!("has opened {lines} lines"), |one| {
            one.lines.load(Ordering::Relaxed) >= lines
        });
    }

    /// Returns how many lines all of them have opened.
    pub(crate) fn lines(&self) -> usize {
        self.members.iter().map(|member| member.lines.load(Ordering::Relaxed)).sum()
    }

    /// Returns how many connections of websockets were refused.
    pub(crate) fn refused(&self) -> usize {
        self.scene.refused.load(Ordering::Relaxed)
    }

    fn wait(&self, what: &str, is_so: impl Fn(&Member) -> bool) {
        let begun = Instant::now();
        loop {
            let faults = self.scene.faults.lock().unwrap();
            assert!(
                faults.is_empty(),
                "{} faults: {:#?}",
                faults.len(),
                &faults[..faults.len().min(5)]
            );
            drop(faults);
            let missing: Vec<_> = self.members.iter().filter(|member| !is_so(member)).collect();
            let Some(first) = missing.first() else { return };
            assert!(
                begun.elapsed() < PATIENCE,
                "{} of {} do not: {what}; {} by {:?} has {:?} on line {:?} since {:?}",
                missing.len(),
                self.members.len(),
                first.index,
                first.how,
                first.newest,
                first.lines,
                first.cursor,
            );
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Member {
    async fn live(self: Arc<Self>, scene: Arc<Scene>) {
        loop {
            let end = match self.how {
                How::WebSocket => self.socket(&scene).await,
                How::EventStream => self.stream(&scene).await,
                How::Poll => self.poll(&scene).await,
            };
            match end {
                Ok(End::Answered) => {}
                // Clients do not come back all at once.
                Ok(End::Broken) => {
                    sleep(Duration::from_millis(self.index as u64 % 64 * 8 + 20)).await
                }
                Err(fault) => {
                    let fault = format!("{} by {:?}: {fault}", self.index, self.how);
                    return scene.faults.lock().unwrap().push(fault);
                }
            }
        }
    }

    fn path(&self, path: &str) -> String {
        format!("/{path}?conn_id={}&since={}", self.connection, self.cursor.lock().unwrap())
    }

    async fn socket(&self, scene: &Scene) -> Result<End, String> {
        let opening = scene.opening.acquire().await.unwrap();
        let open = async {
            let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0);
            let connected = TcpStream::connect(scene.address).await;
            scene.refused.fetch_add(usize::from(connected.is_err()), Ordering::Relaxed);
            let line = connected.map_err(Error::Io)?;
            let url = format!("ws://{}{}", scene.address, self.path("ws"));
            client_async_with_config(url, line, Some(config)).await
        };
        let mut socket = match timeout(PATIENCE, open).await {
            Ok(Ok((socket, _))) => socket,
            Ok(Err(Error::Http(answer))) => return comes_again(answer.status().as_u16()),
            Ok(Err(_)) | Err(_) => return Ok(End::Broken),
        };
        drop(opening);
        self.lines.fetch_add(1, Ordering::Relaxed);
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Text(text) = message {
                self.hears_all(&text)?;
            }
        }
        Ok(End::Broken)
    }

    async fn stream(&self, scene: &Scene) -> Result<End, String> {
        let opening = scene.opening.acquire().await.unwrap();
        let url = format!("http://{}{}", scene.address, self.path("sse"));
        let Ok(mut answer) = scene.http.get(url).send().await else { return Ok(End::Broken) };
        drop(opening);
        if answer.status() != 200 {
            return comes_again(answer.status().as_u16());
        }
        self.lines.fetch_add(1, Ordering::Relaxed);
        let mut read = Vec::new();
        while let Ok(Some(piece)) = answer.chunk().await {
            read.extend_from_slice(&piece);
            while let Some(end) = read.windows(2).position(|two| two == b"\n\n") {
                let block = String::from_utf8(read.drain(..end + 2).collect()).unwrap();
                let field = |name| block.lines().find_map(|line| line.strip_prefix(name));
                if let (Some(id), Some(data)) = (field("id: "), field("data: ")) {
                    self.hears_one(&serde_json::from_str(data).unwrap(), id)?;
                }
            }
        }
        Ok(End::Broken)
    }

    async fn poll(&self, scene: &Scene) -> Result<End, String> {
        let url = format!("http://{}{}", scene.address, self.path("listen"));
        let Ok(answer) = scene.http.get(url).send().await else { return Ok(End::Broken) };
        if answer.status() != 200 {
            return comes_again(answer.status().as_u16());
        }
        self.lines.fetch_add(1, Ordering::Relaxed);
        let Ok(text) = answer.text().await else { return Ok(End::Broken) };
        self.hears_all(&text)?;
        Ok(End::Answered)
    }

    fn hears_all(&self, text: &str) -> Result<(), String> {
        for event in serde_json::from_str::<Vec<Value>>(text).unwrap() {
            let cursor =
                event["seq"].as_str().ok_or_else(|| format!("without a cursor: {event}"))?;
            self.hears_one(&event, cursor)?;
        }
        Ok(())
    }

    fn hears_one(&self, event: &Value, cursor: &str) -> Result<(), String> {
        cursor.clone_into(&mut self.cursor.lock().unwrap());
        self.listens.store(true, Ordering::Relaxed);
        let newest = self.newest.load(Ordering::Relaxed);
        match event["message"]["n"].as_u64() {
            Some(number) if number == newest + 1 => self.newest.store(number, Ordering::Relaxed),
            None if event["type"] == "cursor" => {}
            _ => {
                let lines = self.lines.load(Ordering::Relaxed);
                return Err(format!("after {newest}, on line {lines}: {event}"));
            }
        }
        Ok(())
    }
}

/// Goes on after an answer that says that nobody is there for now.
fn comes_again(status: u16) -> Result<End, String> {
    match status {
        502..=504 => Ok(End::Broken),
        _ => Err(format!("answered {status}")),
    }
}
