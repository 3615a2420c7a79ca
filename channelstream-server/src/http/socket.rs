//! `/ws`: one listener over a websocket (contract §6).

use std::io;
use std::sync::{Arc, Mutex};

use channelstream_core::protocol::{Faults, parse_uuid};
use channelstream_core::state::{Closing, ConnectionId, ListenerKind};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::App;
use super::accept::Line;
use super::answer::{Answer, Problem};
use super::refusal::Refusing;
use super::request::Request;
use crate::frame_codec::{Decoder, Incoming, check_handshake, close_frame, pong_frame};
use crate::outbox::{Ending, Outbox, Way};

/// Reads of one socket before others get a turn.
const READS: usize = 8;

/// What sockets are read into, one after another; between reads nothing is kept in it.
#[derive(Debug)]
pub(super) struct ReadBuffer(Mutex<Box<[u8]>>);

impl ReadBuffer {
    pub(super) fn new() -> Self {
        Self(Mutex::new(vec![0; 64 * 1024].into_boxed_slice()))
    }
}

/// Checks the handshake and lets the socket begin behind the answer.
pub(super) fn open(app: &Arc<App>, request: &mut Request) -> Result<Answer, Problem> {
    let accept = check_handshake(&request.method, request.version, &request.headers)
        .map_err(Problem::Handshake)?;
    let connection = match request.parameter("conn_id") {
        None => return Err(Faults::from_texts("conn_id", ["Field may not be null."]).into()),
        Some(text) => text
            .and_then(|text| parse_uuid(&text))
            .ok_or_else(|| Faults::from_texts("conn_id", ["Not a valid UUID."]))?,
    };
    if !app.node.hub().has_place() {
        return Err(Problem::Unavailable("as many listeners as allowed are open".to_owned()));
    }
    let upgrade = request
        .upgrade
        .take()
        .ok_or_else(|| Problem::Unavailable("the line cannot be taken over".to_owned()))?;
    let line = Arc::clone(&request.line);
    tokio::spawn(begin(Arc::clone(app), connection, upgrade, line));
    Ok(Answer::switching_protocols(&accept))
}

/// Takes the line over from HTTP. What listens afterwards is a task of its own, for this one
/// would keep the memory that the taking over needed.
async fn begin(app: Arc<App>, connection: ConnectionId, upgrade: OnUpgrade, line: Arc<Line>) {
    let (stream, first) = match upgrade.await.map_err(io::Error::other).and_then(take_over) {
        Ok(taken) => taken,
        Err(error) => {
            tracing::debug!(%connection, %error, "a websocket did not come about");
            return;
        }
    };
    let Some(outbox) = app.node.hub().open(Way::Socket(stream)) else { return };
    let decoder = Some(Decoder::new(app.config.max_client_message as u64));
    let reader = Reader { app, outbox, decoder };
    tokio::spawn(listen(reader, connection, first, line));
}

/// The socket itself and what was read beyond the request. It is registered anew: tokio's old
/// registration holds the waker of hyper's finished task, and with it that task's memory.
fn take_over(upgraded: Upgraded) -> io::Result<(TcpStream, bytes::Bytes)> {
    let parts = upgraded
        .downcast::<Refusing<TokioIo<TcpStream>>>()
        .map_err(|_| io::Error::other("the line is not a TCP stream"))?;
    let stream = parts.io.into_inner().into_inner().into_std()?;
    Ok((TcpStream::from_std(stream)?, parts.read_buf))
}

async fn listen(
    mut reader: Reader,
    connection: ConnectionId,
    first: bytes::Bytes,
    line: Arc<Line>,
) {
    let node = reader.app.node.clone();
    let opened = node.open(connection, &reader.outbox, ListenerKind::Socket).await;
    if let Err(error) = &opened {
        tracing::debug!(%connection, %error, "a socket is closed at once");
        reader.end(match error {
            crate::node::Error::Refused(_) => Ending::Ended,
            _ => Ending::Shutdown,
        });
    }
    reader.take(&mut first.to_vec());
    drop(first);
    reader.read_to_the_end().await;
    let how = match reader.outbox.ending() {
        Some(Ending::Slow | Ending::Superseded | Ending::Shutdown) => Closing::ByServer,
        Some(Ending::Ended) | None => Closing::ByPeer,
    };
    let sent = reader.outbox.sent(node.hub().latest());
    let Reader { outbox, .. } = reader;
    node.close(connection, &outbox, how, sent).await;
    drop(line);
}

/// The reading side of a socket. What clients say is ignored, but for pings and closing.
struct Reader {
    app: Arc<App>,
    outbox: Arc<Outbox>,
    /// None once the peer has closed.
    decoder: Option<Decoder>,
}

impl Reader {
    async fn read_to_the_end(&mut self) {
        loop {
            let outbox = Arc::clone(&self.outbox);
            let Some(stream) = outbox.socket() else { return };
            if stream.readable().await.is_err() {
                return;
            }
            for _ in 0..READS {
                match self.read(stream) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(_) => return,
                }
            }
            tokio::task::yield_now().await;
        }
    }

    /// Reads what is there: whether there may be more.
    fn read(&mut self, stream: &TcpStream) -> io::Result<bool> {
        let app = Arc::clone(&self.app);
        let mut buffer = app.read_buffer.0.lock().expect("decoding does not panic");
        match stream.try_read(&mut buffer) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.take(&mut buffer[..count]);
                Ok(count == buffer.len())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes what the peer sent. After its close, or a breach of the protocol, the rest is read
    /// and dropped until the line is closed.
    fn take(&mut self, bytes: &mut [u8]) {
        let Some(decoder) = &mut self.decoder else { return };
        let (outbox, hub) = (&self.outbox, self.app.node.hub());
        let mut pong = None;
        let mut last = None;
        let outcome = decoder.read(bytes, |incoming| match incoming {
            Incoming::Ping(payload) => pong = Some(pong_frame(payload)),
            Incoming::Close(close) => last = Some(close_frame(close)),
            Incoming::Message | Incoming::Pong(_) => {}
        });
        if let Err(violation) = outcome {
            tracing::debug!(%violation, "a websocket breaks the protocol");
            last = Some(violation.close_frame());
        }
        // Of many pings the newest is answered.
        if let Some(pong) = pong {
            hub.call(outbox, outbox.pong(pong));
        }
        if let Some(last) = last {
            hub.call(outbox, outbox.close(last));
            self.decoder = None;
        }
    }

    fn end(&self, ending: Ending) {
        self.app.node.hub().call(&self.outbox, self.outbox.end(ending));
    }
}
