//! The life of a listener, which is one open socket or one waiting poll: from the place that is
//! reserved for it to its removal.
//!
//! 1. [`Hub::reserve`](hub::Hub::reserve) gives a place, or the client is refused.
//! 2. [`Listener::new`] opens an outbox in the hub.
//! 3. [`Listener::open`] submits `Open`; from then on the state addresses events to the listener.
//! 4. The transport brings to the client what is in the outbox, until one of them comes to its end.
//! 5. [`Listener::close`], or dropping the listener, closes it: the shard reports what was really
//!    sent, `Close` brings that into the state, and then the place is free again and the listener
//!    removed from the hub.

pub(crate) mod hub;
pub(crate) mod outbox;
pub(crate) mod portions;
mod run;
mod shard;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::Arc;

use channelstream_core::state::{
    Appends, CatchUp, Closing, Command, ConnectionId, ListenerId, ListenerKind, Reply, Sent, Since,
};
use tokio::sync::mpsc;

use crate::node::{self, Node};
use crate::places::Place;
use crate::wire::Encoding;
use outbox::{Outbox, Sink};

/// Creates the way on which listeners ask for what they missed.
#[expect(clippy::disallowed_methods, reason = "each listener is in it at most once")]
pub(crate) fn asking() -> (mpsc::UnboundedSender<Arc<Outbox>>, mpsc::UnboundedReceiver<Arc<Outbox>>)
{
    mpsc::unbounded_channel()
}

/// A listener of this node. Dropping it closes it, whatever happened before.
pub(crate) struct Listener {
    node: Node,
    connection: ConnectionId,
    outbox: Arc<Outbox>,
    catch_up: CatchUp,
    /// `None` once the listener is being closed.
    place: Option<Place>,
    /// Whether an `Open` was submitted and its reply has not come yet.
    is_opening: bool,
}

impl Listener {
    /// Opens an outbox for a listener, of which the state knows nothing yet. With `since` the listener
    /// reads from there on; without it the state delivers what the connection was not sent.
    pub(crate) fn new(
        node: &Node,
        place: Place,
        connection: ConnectionId,
        sink: Sink,
        encoding: Encoding,
        since: Option<Since>,
    ) -> Self {
        Self {
            node: node.clone(),
            connection,
            outbox: node.hub().open(connection, sink, encoding, since),
            catch_up: match since {
                None => CatchUp::Deliver,
                Some(Since::Record) => CatchUp::ReadRecord,
                Some(_) => CatchUp::Read,
            },
            place: Some(place),
            is_opening: false,
        }
    }

    pub(crate) fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// Opens the listener on its connection. Returns [`Reply::Opened`], or [`Reply::Occupied`] for a
    /// poll on a connection that has a socket; then it may be called again.
    ///
    /// A listener that takes over from one that was too slow is opened a second time, after the state
    /// knows what was sent to the older one. So it catches up on what is stored.
    pub(crate) async fn open(
        &mut self,
        kind: ListenerKind,
        appends: Appends,
    ) -> Result<Reply, node::Error> {
        self.is_opening = true;
        let opened = self.submit_open(kind, appends).await;
        self.is_opening = false;
        opened
    }

    async fn submit_open(
        &self,
        kind: ListenerKind,
        appends: Appends,
    ) -> Result<Reply, node::Error> {
        let Self { connection, catch_up, .. } = *self;
        let listener = self.outbox.id;
        let open = || Command::Open { connection, listener, kind, catch_up, appends };
        let opened = self.node.submit(open()).await?;
        if catch_up != CatchUp::Deliver {
            // What comes after a portion comes live, and only to the listener of the connection.
            if matches!(opened, Reply::Opened) {
                self.outbox.read_on();
            }
            return Ok(opened);
        }
        let hub = self.node.hub();
        let Some(sent) = hub.sent_before(&self.outbox).await else { return Ok(opened) };
        let how = Closing::Otherwise;
        self.node.submit(Command::Close { connection, listener, how, sent }).await?;
        hub.resume(&self.outbox).await;
        self.node.submit(open()).await
    }

    /// Closes the listener, in a task of its own. Nothing is sent to it from then on.
    pub(crate) fn close(&mut self, how: Closing) {
        let Some(place) = self.place.take() else { return };
        self.node.metrics().listener_ended(self.outbox.ending());
        let ended = Ended {
            node: self.node.clone(),
            connection: self.connection,
            outbox: Arc::clone(&self.outbox),
            place,
            was_opening: self.is_opening,
            how,
        };
        self.node.hub().thread(self.connection).spawn(ended.remove());
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.close(Closing::Otherwise);
    }
}

/// Reports what a listener was sent that another node takes over from. Whether its client has closed the TCP
/// connection does not matter any more.
pub(crate) async fn report(node: Node, connection: ConnectionId, listener: ListenerId) {
    let Some(outbox) = node.hub().outbox(listener) else { return };
    let sent = node.hub().sent(&outbox).await;
    close(&node, connection, listener, Closing::Otherwise, sent).await;
}

/// Brings into the state what a listener was sent that has ended.
async fn close(
    node: &Node,
    connection: ConnectionId,
    listener: ListenerId,
    how: Closing,
    sent: Sent,
) {
    // A connection must not stay occupied forever.
    node.insist(|| Command::Close { connection, listener, how, sent: sent.clone() }).await;
}

/// A listener that is being closed.
struct Ended {
    node: Node,
    connection: ConnectionId,
    outbox: Arc<Outbox>,
    place: Place,
    was_opening: bool,
    how: Closing,
}

impl Ended {
    /// Reports to the state what was sent and, once that is applied, removes the listener.
    async fn remove(self) {
        let Self { node, connection, outbox, place, was_opening, how } = self;
        // An `Open` whose reply nobody waited for is carried out all the same, and may bring events
        // into the outbox. They must be there before it reports what was not sent: what is behind it
        // in the journal waits for it.
        if was_opening {
            node.insist(|| Command::Tick).await;
        }
        let sent = node.hub().sent(&outbox).await;
        close(&node, connection, outbox.id, how, sent).await;
        drop(place);
        node.hub().remove(outbox.id).await;
    }
}
