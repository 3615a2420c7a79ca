//! `EventStream`: the events of a connection, as a stream that reconnects by itself.

mod builder;
mod event;
mod reconnector;
mod stream_event;
mod transport;

use std::fmt::{self, Debug, Formatter};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use channelstream_core::protocol::{Connect, Uuid};
use futures_util::{Stream, StreamExt, stream};

pub use self::builder::EventStreamBuilder;
pub use self::event::{Event, EventKind};
pub use self::stream_event::{End, Gap, StreamEvent, Transport};

use self::builder::{Renewed, Renewing};
use self::reconnector::{Item, Reconnector};
use crate::client::Client;

/// The events of a connection, as a [`Stream`] of [`StreamEvent`]s.
///
/// The stream listens over a websocket, or over long polls where no websocket can be opened. When
/// the TCP connection breaks, or is silent for too long, the stream opens another one after a pause,
/// and the server sends the events that were missed. When the connection itself has ended, the
/// stream requests a new one [if it can](EventStreamBuilder::renewed_by); otherwise it ends with
/// [`StreamEvent::Ended`].
///
/// ```no_run
/// use channelstream_client::{Client, Connect, Error, StreamEvent};
///
/// # async fn listen() -> Result<(), Error> {
/// let client = Client::new("http://127.0.0.1:8000", "secret")?;
/// let mut events = client.listen_as(Connect::new("robot").channels(["news"])).build()?;
/// while let Some(event) = events.next().await {
///     match event {
///         StreamEvent::Event(event) => println!("{}", event.json()),
///         StreamEvent::Gap(gap) => println!("something may be missing: {gap:?}"),
///         StreamEvent::Interrupted { error, pause, .. } => println!("{error}; again in {pause:?}"),
///         StreamEvent::Ended(end) => println!("the end: {end:?}"),
///         _ => {}
///     }
/// }
/// # Ok(())
/// # }
/// ```
///
/// The stream has no background task: it makes progress only while it is polled, and dropping it
/// closes the TCP connection at once. The connection then waits 15 s for another listener;
/// [`Client::disconnect`] ends it sooner.
///
/// A program that does not poll the stream leaves events waiting on the server, which closes the TCP
/// connection when too many wait. A program that does not poll it for more than half a minute leaves
/// pings unanswered, which closes the TCP connection too. In both cases the stream reconnects when it
/// is polled again, and no event is lost that the server still has for catch-up.
///
/// # Cursors
///
/// A server that knows cursors tells with each event where it stands in the order of all events. The
/// stream begins there when it reconnects, also with a new connection or another transport. So no event is
/// lost that the server still has, none arrives twice, and what is lost is reported as [`Gap::Lost`]. A
/// program that stores [`cursor`](Self::cursor) goes on [from there](EventStreamBuilder::since) after its
/// own restart.
#[must_use = "a stream does nothing unless it is polled"]
pub struct EventStream {
    items: Pin<Box<dyn Stream<Item = Item> + Send>>,
    cursor: Option<String>,
}

impl EventStream {
    /// Returns a builder of a stream of the connection `conn_id` on the server at `address`. The
    /// address has the form that [`Client::new`] describes. The connection's id is the only secret
    /// that listening needs.
    pub fn builder(address: impl Into<String>, conn_id: Uuid) -> EventStreamBuilder {
        EventStreamBuilder::new(builder::Place::Address(address.into()), Some(conn_id))
    }

    /// Waits for the next event. Returns `None` after [`StreamEvent::Ended`].
    ///
    /// This method is cancel safe: if the future is dropped, as `select!` does, no event is lost.
    pub async fn next(&mut self) -> Option<StreamEvent> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// Returns the cursor behind the item that was returned last, or `None` before the server has told one.
    #[must_use]
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    fn new(reconnector: Reconnector, cursor: Option<String>) -> Self {
        let items = stream::unfold(reconnector, async |mut reconnector| {
            let item = reconnector.next().await?;
            Some((item, reconnector))
        });
        Self { items: Box::pin(items.fuse()), cursor }
    }
}

impl Stream for EventStream {
    type Item = StreamEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<StreamEvent>> {
        loop {
            let Some(Item { event, cursor }) = ready!(self.items.as_mut().poll_next(context))
            else {
                return Poll::Ready(None);
            };
            if cursor.is_some() {
                self.cursor = cursor;
            }
            if let Some(event) = event {
                return Poll::Ready(Some(event));
            }
        }
    }
}

impl Debug for EventStream {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").finish_non_exhaustive()
    }
}

impl Client {
    /// Returns a builder of a stream of an existing connection.
    pub fn listen(&self, conn_id: Uuid) -> EventStreamBuilder {
        EventStreamBuilder::new(builder::Place::Client(self.clone()), Some(conn_id))
    }

    /// Returns a builder of a stream that creates its connection with this request. When the
    /// connection has ended, for example because the server was restarted, the stream creates another
    /// one.
    pub fn listen_as(&self, request: Connect) -> EventStreamBuilder {
        let client = self.clone();
        let renew = move || -> Renewing {
            let (client, request) = (client.clone(), request.clone());
            Box::pin(async move {
                let connected = client.connect(request).await?;
                let cursor = connected.cursor.map(|cursor| cursor.to_string());
                Ok(Renewed { conn_id: connected.conn_id, cursor })
            })
        };
        let place = builder::Place::Client(self.clone());
        EventStreamBuilder::new(place, None).renewed(Box::new(renew))
    }
}
