//! `/ws`: one listener over a websocket (contract §6).

use std::cell::RefCell;
use std::io;
use std::sync::Arc;

use channelstream_core::protocol::FieldErrors;
use channelstream_core::state::{Appends, Closing, ConnectionId, ListenerKind, Since};
use hyper::upgrade::OnUpgrade;
use tokio::task::yield_now;

use crate::app::App;
use crate::http::access::Line;
use crate::http::answer::Answer;
use crate::http::connection_limit::ConnectionGuard;
use crate::http::peer::Peer;
use crate::http::problem::Problem;
use crate::http::request::Request;
use crate::journal;
use crate::limits::Limit;
use crate::listener::Listener;
use crate::listener::outbox::{Ending, Sink};
use crate::node;
use crate::places::Place;
use crate::wire::Encoding;
use crate::wire::websocket::{
    CloseCode, Decoder, Incoming, check_handshake, close_frame, pong_frame,
};

/// Bytes of one socket that are read before other tasks get a turn. They can be hundreds of websocket
/// frames, each of which costs as much as one of some size.
const TURN: usize = 2 * 1024;

thread_local! {
    /// The buffer into which the sockets of a thread are read, one after another. It keeps nothing
    /// between reads.
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; TURN].into_boxed_slice());
}

/// Checks the request and reserves a place. The socket begins after the answer.
pub(crate) fn open(app: &Arc<App>, request: &mut Request) -> Result<Answer, Problem> {
    let accept = check_handshake(&request.head.method, request.head.version, &request.head.headers)
        .map_err(Problem::Handshake)?;
    let connection =
        super::connection(request).map_err(|error| FieldErrors::from_texts("conn_id", [error]))?;
    let since = super::since(request)?;
    let appends = super::appends(request)?;
    let place = super::reserve(app, request.peer)?;
    let upgrade = super::upgrade(request)?;
    let client = Client {
        request: request.id,
        peer: request.peer,
        appends,
        _line: request.line.take(),
        _tcp: Arc::clone(&request.head.tcp),
    };
    let thread = app.node.hub().thread(connection);
    thread.spawn(begin(Arc::clone(app), connection, since, place, upgrade, client));
    Ok(Answer::switching_protocols(&accept))
}

/// Takes the TCP connection over from HTTP and opens the listener. Reading is a task of its own: a
/// task keeps the memory of its largest step as long as it lives, and reading is what sockets do
/// nearly all of their life.
async fn begin(
    app: Arc<App>,
    connection: ConnectionId,
    since: Option<Since>,
    place: Place,
    upgrade: OnUpgrade,
    client: Client,
) {
    let Client { request, peer, appends, .. } = client;
    let (stream, first) = match super::take_over(upgrade).await {
        Ok(taken) => taken,
        Err(error) => {
            tracing::debug!(request, %peer, %error, "websocket upgrade failed");
            return;
        }
    };
    let sink = Sink::Socket(stream);
    let encoding = if since.is_some() { Encoding::WebSocketWithSeq } else { Encoding::WebSocket };
    let listener = Listener::new(&app.node, place, connection, sink, encoding, since);
    let decoder = Some(Decoder::new(app.settings().config.max_client_message as u64));
    let mut reader = Box::new(Reader { app, listener, decoder, client });
    if let Err(error) = reader.listener.open(ListenerKind::Socket, appends).await {
        tracing::debug!(request, %peer, %error, "connection closed");
        reader.listener.outbox().end(match error {
            node::Error::Refused(_) => Ending::Ended,
            node::Error::Unavailable(journal::Error::Closed) | node::Error::Stopped => {
                Ending::Shutdown
            }
            node::Error::Unavailable(_) => Ending::Full,
        });
    }
    reader.take(&mut first.to_vec());
    tokio::spawn(reader.run());
}

/// The client that opened a socket.
struct Client {
    /// The number of the request that opened it, by which the log names it.
    request: u64,
    peer: Peer,
    appends: Appends,
    /// What the log tells of it, written at its end.
    _line: Option<Arc<Line>>,
    /// The TCP connection counts as open as long as this lives.
    _tcp: Arc<ConnectionGuard>,
}

/// The reading side of a socket. What clients send is ignored, except pings and closing.
///
/// It is boxed, since a task holds what it starts with twice.
struct Reader {
    app: Arc<App>,
    listener: Listener,
    /// `None` once the peer has closed.
    decoder: Option<Decoder>,
    client: Client,
}

impl Reader {
    /// Closes the listener as soon as the peer has closed, and keeps the TCP connection until the peer
    /// has let go of it.
    async fn run(mut self: Box<Self>) {
        while self.decoder.is_some() && self.read().await.is_ok() {
            yield_now().await;
        }
        let ending = self.listener.outbox().ending();
        super::count_end(&self.app, ending, self.client.peer);
        self.listener.close(match ending {
            Some(Ending::Ended | Ending::Closed) => Closing::ByPeer,
            // The client may open a connection that broke without a close again, as after an end of
            // the server's.
            Some(_) | None => Closing::Otherwise,
        });
        if let Some(stream) = self.listener.outbox().socket() {
            // It is over, however it ends.
            let _ = super::linger(stream).await;
        }
    }

    /// Waits for something to read, and reads as much of it as has place in one turn.
    async fn read(&mut self) -> io::Result<()> {
        let outbox = Arc::clone(self.listener.outbox());
        let stream = outbox.socket().ok_or(io::ErrorKind::NotConnected)?;
        stream.readable().await?;
        READ_BUFFER.with_borrow_mut(|buffer| match stream.try_read(buffer) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                outbox.heard();
                self.take(&mut buffer[..count]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        })
    }

    /// Takes what the peer sent. After its close, or a violation of the protocol, nothing more is
    /// looked at.
    fn take(&mut self, bytes: &mut [u8]) {
        let Some(decoder) = &mut self.decoder else { return };
        let outbox = self.listener.outbox();
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
            let Client { request, peer, .. } = self.client;
            tracing::debug!(request, %peer, %violation, "websocket breaks the protocol");
            if violation.code() == CloseCode::TOO_BIG {
                self.app.limits.refused(Limit::ClientMessage, peer);
            }
            last = Some(violation.close_frame());
        }
        // Of several pings the newest is answered.
        if let Some(ping) = ping {
            outbox.pong(pong_frame(&ping));
        }
        if let Some(last) = last {
            outbox.close(last);
            self.decoder = None;
        }
    }
}
