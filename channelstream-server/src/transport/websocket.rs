//! `/ws`: one listener over a websocket (contract §6).

use std::cell::RefCell;
use std::io;
use std::sync::Arc;

use channelstream_core::protocol::{FieldErrors, parse_uuid};
use channelstream_core::state::{Closing, ConnectionId, ListenerKind};
use hyper::upgrade::{OnUpgrade, Upgraded};
use tokio::net::TcpStream;

use crate::app::App;
use crate::http::answer::{Answer, FULL, Problem};
use crate::http::connection::Line;
use crate::http::linger::Refusing;
use crate::http::peer::Peer;
use crate::http::request::Request;
use crate::journal;
use crate::limits::Limit;
use crate::listener::outbox::{Ending, Outbox, Way};
use crate::node;
use crate::wire::websocket::{
    CloseCode, Decoder, Incoming, check_handshake, close_frame, pong_frame,
};

/// Bytes of one socket that are looked at before others get a turn. They can be hundreds of
/// websocket frames, each of which costs as much as one of some size.
const TURN: usize = 2 * 1024;

thread_local! {
    /// What the sockets of a thread are read into, one after another; between reads nothing is kept
    /// in it.
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; TURN].into_boxed_slice());
}

/// Checks the handshake and lets the socket begin behind the answer.
pub(crate) fn open(app: &Arc<App>, request: &mut Request) -> Result<Answer, Problem> {
    let accept = check_handshake(&request.head.method, request.head.version, &request.head.headers)
        .map_err(Problem::Handshake)?;
    let connection = match request.parameter("conn_id") {
        None => return Err(FieldErrors::from_texts("conn_id", ["Field may not be null."]).into()),
        Some(text) => text
            .and_then(|text| parse_uuid(&text))
            .map(ConnectionId::from)
            .ok_or_else(|| FieldErrors::from_texts("conn_id", ["Not a valid UUID."]))?,
    };
    if !app.node.hub().has_place() {
        app.limits.refused(Limit::Listeners, request.peer);
        return Err(Problem::Unavailable(FULL.into()));
    }
    let upgrade = request
        .upgrade
        .take()
        .ok_or_else(|| Problem::Unavailable("the line cannot be taken over".into()))?;
    let _line = Arc::clone(&request.head.line);
    let client = Box::new(Client { request: request.id, peer: request.peer, _line });
    let thread = app.node.hub().thread(connection);
    thread.spawn(begin(Arc::clone(app), connection, upgrade, client));
    Ok(Answer::switching_protocols(&accept))
}

/// Takes the line over from HTTP and opens the listener. What reads afterwards is a task of its
/// own, as is the closing: a task keeps the memory of the largest step in it as long as it lives,
/// and reading is what sockets do nearly all of their life.
async fn begin(app: Arc<App>, connection: ConnectionId, upgrade: OnUpgrade, client: Box<Client>) {
    let (stream, first) = match upgrade.await.map_err(io::Error::other).and_then(take_over) {
        Ok(taken) => taken,
        Err(error) => {
            let Client { request, peer, .. } = *client;
            tracing::debug!(request, %peer, %error, "a websocket did not come about");
            return;
        }
    };
    let outbox = match app.node.hub().open(connection, Way::Socket(stream)) {
        Ok(outbox) => outbox,
        // Others were faster since the handshake. A new line has room for the few bytes.
        Err(Way::Socket(stream)) => {
            app.limits.refused(Limit::Listeners, client.peer);
            let _ = stream.try_write(&Ending::Full.close_frame());
            return;
        }
        Err(Way::Poll(_)) => return,
    };
    let decoder = Some(Decoder::new(app.config.max_client_message as u64));
    let mut reader = Reader { app, outbox, decoder, connection, client };
    let node = &reader.app.node;
    if let Err(error) = node.open(connection, &reader.outbox, ListenerKind::Socket).await {
        let Client { request, peer, .. } = *reader.client;
        tracing::debug!(request, %peer, %error, "a socket is closed at once");
        reader.end(match error {
            node::Error::Refused(_) => Ending::Ended,
            node::Error::Unavailable(journal::Error::Full) => Ending::Full,
            node::Error::Unavailable(journal::Error::Closed) | node::Error::Stopped => {
                Ending::Shutdown
            }
        });
    }
    reader.take(&mut first.to_vec());
    tokio::spawn(reader.read_to_the_end());
}

/// The socket itself and what was read beyond the request. It is registered anew: tokio's old
/// registration holds the waker of hyper's finished task, and with it that task's memory.
pub(crate) fn take_over(upgraded: Upgraded) -> io::Result<(TcpStream, bytes::Bytes)> {
    let parts = upgraded
        .downcast::<Refusing>()
        .map_err(|_| io::Error::other("the line is not a TCP stream"))?;
    let stream = parts.io.into_inner().into_std()?;
    Ok((TcpStream::from_std(stream)?, parts.read_buf))
}

/// Who has opened a socket. The line counts as open as long as this lives. Boxed, since it is hardly
/// looked at, and a reader holds all it has twice.
struct Client {
    /// The number of the request that opened it, by which the log names it.
    request: u64,
    peer: Peer,
    _line: Arc<Line>,
}

/// The reading side of a socket. What clients say is ignored, but for pings and closing.
struct Reader {
    app: Arc<App>,
    outbox: Arc<Outbox>,
    /// None once the peer has closed.
    decoder: Option<Decoder>,
    connection: ConnectionId,
    client: Box<Client>,
}

impl Reader {
    async fn read_to_the_end(mut self) {
        while self.decoder.is_some() && self.read_on().await.is_ok() {
            tokio::task::yield_now().await;
        }
        tokio::spawn(self.close());
    }

    /// Tells of the end as soon as the peer has closed, and keeps the line until it has let go of
    /// it: what it still sends must not make the system reset the line, and our close frame with it.
    async fn close(mut self) {
        let ending = self.outbox.ending();
        self.app.live.count_end(ending);
        let limit = match ending {
            Some(Ending::Slow) => Some(Limit::Outbox),
            Some(Ending::Stalled) => Some(Limit::PingTimeout),
            _ => None,
        };
        if let Some(limit) = limit {
            self.app.limits.refused(limit, self.client.peer);
        }
        let how = match ending {
            Some(Ending::Ended) => Closing::ByPeer,
            // A line that broke without a word may be opened again, as after an end of ours.
            Some(_) | None => Closing::Otherwise,
        };
        let node = &self.app.node;
        let sent = node.hub().sent(&self.outbox).await;
        node.close(self.connection, &self.outbox, how, sent).await;
        while self.read_on().await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    /// Waits for something to read, and reads as much of it as has place in one turn.
    async fn read_on(&mut self) -> io::Result<()> {
        let outbox = Arc::clone(&self.outbox);
        let stream = outbox.socket().ok_or(io::ErrorKind::NotConnected)?;
        stream.readable().await?;
        READ_BUFFER.with_borrow_mut(|buffer| match stream.try_read(buffer) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.outbox.heard();
                self.take(&mut buffer[..count]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        })
    }

    /// Takes what the peer sent. After its close, or a breach of the protocol, the rest is read
    /// and dropped until the line is closed.
    fn take(&mut self, bytes: &mut [u8]) {
        let Some(decoder) = &mut self.decoder else { return };
        let (outbox, hub) = (&self.outbox, self.app.node.hub());
        let mut ping: Option<Vec<u8>> = None;
        let mut last = None;
        let outcome = decoder.read(bytes, |incoming| match incoming {
            Incoming::Ping(payload) => {
                let newest = ping.get_or_insert_default();
                newest.clear();
                newest.extend_from_slice(payload);
            }
            Incoming::Close(close) => last = Some(close_frame(close)),
            Incoming::Text(_) | Incoming::Message | Incoming::Pong(_) => {}
        });
        if let Err(violation) = outcome {
            let (request, peer) = (self.client.request, self.client.peer);
            tracing::debug!(request, %peer, %violation, "a websocket breaks the protocol");
            if violation.code() == CloseCode::TOO_BIG {
                self.app.limits.refused(Limit::ClientMessage, peer);
            }
            last = Some(violation.close_frame());
        }
        // Of many pings the newest is answered.
        if let Some(ping) = ping {
            hub.call(outbox, outbox.pong(pong_frame(&ping)));
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
