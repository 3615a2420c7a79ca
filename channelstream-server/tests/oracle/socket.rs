//! A websocket client that collects what comes, while the scenario goes on.

use std::mem;
use std::net;
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::runtime::{self, Runtime};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::json::{Json, Object, object};

/// How long to wait for the end of the TCP connection once the closing handshake has begun.
const CLOSING: Duration = Duration::from_secs(3);

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("the system has room for a thread")
});

/// A text or binary message of the socket.
pub(crate) struct Frame {
    /// When it arrived.
    pub(crate) at: Instant,
    pub(crate) text: String,
    /// The messages it holds; none are a heartbeat. What isn't a list in a text frame stands as
    /// one message that says so.
    pub(crate) messages: Vec<Json>,
}

impl Frame {
    fn new(text: String, is_binary: bool) -> Self {
        let note = |note: &str, value: Json| vec![Json::from(object! { note => value })];
        let messages = match Json::parse(&text) {
            Ok(value) if is_binary => note("<binary frame>", value),
            Ok(Json::List(messages)) => messages,
            Ok(value) => note("<not a list>", value),
            Err(_) => note("<not json>", text.as_str().into()),
        };
        Self { at: Instant::now(), text, messages }
    }
}

/// What has come since the last look.
#[derive(Default)]
pub(crate) struct Inbox {
    pub(crate) frames: Vec<Frame>,
    /// How the socket was closed (code and reason), if it was.
    pub(crate) closed: Option<Object>,
    pongs: Vec<Bytes>,
}

#[derive(Default)]
struct Shared {
    inbox: Mutex<Inbox>,
    changed: Condvar,
}

pub(crate) struct Socket {
    sink: SplitSink<WebSocketStream<TcpStream>, Message>,
    shared: Arc<Shared>,
    pub(crate) subprotocol: Option<String>,
}

/// Why there is no socket: the status of a refused handshake, or what else went wrong.
pub(crate) enum Refused {
    Status(u16),
    Failure(String),
}

impl Socket {
    /// Opens a socket at `host` (`address:port`); `path` holds the query too.
    pub(crate) fn open(host: &str, path: &str) -> Result<Self, Refused> {
        let opened = async {
            let request = format!("ws://{host}{path}");
            let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
            let line = TcpStream::connect(host).await?.into_std()?;
            let end = line.try_clone()?;
            let line = TcpStream::from_std(line)?;
            let opening = client_async_with_config(request, line, Some(config));
            let opened = timeout(Duration::from_secs(10), opening).await.context("no answer")??;
            Ok((opened, end))
        };
        let ((stream, answer), end) =
            RUNTIME.block_on(opened).map_err(|error: anyhow::Error| {
                match error.downcast_ref::<Error>() {
                    Some(Error::Http(answer)) => Refused::Status(answer.status().as_u16()),
                    _ => Refused::Failure(format!("{error:#}")),
                }
            })?;
        let subprotocol = answer.headers().get("sec-websocket-protocol");
        let subprotocol =
            subprotocol.map(|name| String::from_utf8_lossy(name.as_bytes()).into_owned());
        let (sink, stream) = stream.split();
        let shared = Arc::new(Shared::default());
        RUNTIME.spawn(Arc::clone(&shared).read(stream, end));
        Ok(Self { sink, shared, subprotocol })
    }

    pub(crate) fn send(&mut self, message: Message) -> Result<()> {
        RUNTIME.block_on(self.sink.send(message)).map_err(|error| anyhow!(error))
    }

    /// Sends a ping. Returns `true` if its pong came in time.
    pub(crate) fn ping(&mut self, data: &str, limit: Duration) -> Result<bool> {
        let data = Bytes::copy_from_slice(data.as_bytes());
        self.send(Message::Ping(data.clone()))?;
        Ok(self.wait(limit, |inbox| inbox.pongs.contains(&data)).pongs.contains(&data))
    }

    /// Closes from this side and waits for the answer.
    pub(crate) fn close(&mut self, code: u16, reason: &str) -> Option<Object> {
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        // a TCP connection that is gone already shows in `closed`
        let _ = self.send(Message::Close(Some(frame)));
        self.wait(2 * CLOSING, |inbox| inbox.closed.is_some()).closed.clone()
    }

    /// Waits until `enough` holds, the socket is closed or `limit` is over.
    pub(crate) fn wait(
        &self,
        limit: Duration,
        enough: impl Fn(&Inbox) -> bool,
    ) -> MutexGuard<'_, Inbox> {
        let more = |inbox: &mut Inbox| inbox.closed.is_none() && !enough(inbox);
        let waited = self.shared.changed.wait_timeout_while(self.shared.lock(), limit, more);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Takes the frames that have arrived. Returns them, and how the socket was closed if it was.
    pub(crate) fn take(&self) -> (Vec<Frame>, Option<Object>) {
        let mut inbox = self.shared.lock();
        (mem::take(&mut inbox.frames), inbox.closed.clone())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads to the end, and then ends the TCP connection from this side too.
    async fn read(
        self: Arc<Self>,
        mut stream: SplitStream<WebSocketStream<TcpStream>>,
        line: net::TcpStream,
    ) {
        let mut closed = (1006, String::new());
        let closing = loop {
            let Some(Ok(message)) = stream.next().await else { break None };
            let frame = match message {
                Message::Text(text) => Frame::new(text.to_string(), false),
                Message::Binary(data) => {
                    Frame::new(String::from_utf8_lossy(&data).into_owned(), true)
                }
                Message::Pong(data) => {
                    self.lock().pongs.push(data);
                    self.changed.notify_all();
                    continue;
                }
                Message::Close(frame) => break Some(frame),
                Message::Ping(_) | Message::Frame(_) => continue,
            };
            self.lock().frames.push(frame);
            self.changed.notify_all();
        };
        if let Some(frame) = closing {
            // the closing is complete when the server has ended the TCP connection too
            let end = async { while let Some(Ok(_)) = stream.next().await {} };
            let _ = timeout(CLOSING, end).await;
            closed = match frame {
                Some(frame) => (u16::from(frame.code), frame.reason.to_string()),
                None => (1005, String::new()),
            };
        }
        // fails only if the TCP connection is gone already
        let _ = line.shutdown(net::Shutdown::Both);
        let (code, reason) = closed;
        self.lock().closed = Some(object! { "code" => usize::from(code), "reason" => reason });
        self.changed.notify_all();
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // a scenario ends as a page does; if the TCP connection is gone, there is no peer for a
        // close frame
        let _ = self.send(Message::Close(None));
    }
}
