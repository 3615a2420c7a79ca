//! A proxy between client and server that cuts, stalls, splits, or blocks websockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// What the proxy does to TCP connections, including those that are already open.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mode {
    Honest,
    /// Forwards each byte alone.
    Splitting,
    /// Cuts each TCP connection after this many bytes from the server.
    Cutting(usize),
    /// Forwards nothing, and keeps everything open.
    Stalling,
    /// Removes the request for a websocket.
    NoUpgrade,
    /// Forwards the head of an answer that opens a websocket, and nothing after it.
    MuteSockets,
}

pub(crate) struct Proxy {
    pub(crate) url: String,
    mode: watch::Sender<Mode>,
    lines: Arc<AtomicU32>,
    task: AbortHandle,
}

impl Proxy {
    /// Starts a proxy before the server at `port`.
    pub(crate) async fn start(port: u16, mode: Mode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (mode, modes) = watch::channel(mode);
        let lines = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&lines);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream, port, modes.clone()));
            }
        });
        Self { url, mode, lines, task: task.abort_handle() }
    }

    pub(crate) fn turn(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Returns the number of TCP connections that were opened to the proxy.
    pub(crate) fn lines(&self) -> u32 {
        self.lines.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream, port: u16, modes: watch::Receiver<Mode>) {
    let Ok(server) = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).await else {
        return;
    };
    stream.set_nodelay(true).unwrap();
    let (from_client, to_client) = stream.into_split();
    let (from_server, to_server) = server.into_split();
    // Both directions end when the first one ends.
    tokio::select! {
        () = pass(from_client, to_server, modes.clone(), true) => {}
        () = pass(from_server, to_client, modes, false) => {}
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut modes: watch::Receiver<Mode>,
    upwards: bool,
) {
    let mut buffer = vec![0; 16 * 1024];
    let (mut passed, mut is_socket) = (0, false);
    loop {
        let Ok(count @ 1..) = from.read(&mut buffer).await else { return };
        if modes.wait_for(|mode| *mode != Mode::Stalling).await.is_err() {
            return;
        }
        let mode = *modes.borrow();
        let mut bytes = buffer[..count].to_vec();
        let passing = match mode {
            Mode::Splitting => {
                for byte in bytes {
                    if to.write_all(&[byte]).await.is_err() {
                        return;
                    }
                }
                continue;
            }
            Mode::Cutting(limit) if !upwards => {
                passed += count;
                if passed >= limit {
                    let rest = limit.saturating_sub(passed - count);
                    let _ = to.write_all(&bytes[..rest]).await;
                    return;
                }
                bytes
            }
            Mode::NoUpgrade if upwards => {
                let head = String::from_utf8_lossy(&bytes).replace("upgrade: ", "x-nothing: ");
                head.into_bytes()
            }
            Mode::MuteSockets if !upwards && is_socket => continue,
            Mode::MuteSockets if !upwards && bytes.starts_with(b"HTTP/1.1 101") => {
                is_socket = true;
                let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
                bytes.truncate(end);
                bytes
            }
            _ => bytes,
        };
        if to.write_all(&passing).await.is_err() {
            return;
        }
    }
}
