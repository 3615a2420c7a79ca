//! `EventStream`: what a connection is sent, as a stream that survives what happens to lines.

mod builder;
mod event;
mod reconnector;
mod stream_event;
mod transport;

use std::fmt::{self, Debug, Formatter};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use channelstream_core::protocol::{Connect, Uuid};
use futures_util::{Stream, StreamExt, stream};

pub use self::builder::EventStreamBuilder;
pub use self::event::{Event, EventKind};
pub use self::stream_event::{End, Gap, StreamEvent, Transport};

use self::reconnector::Reconnector;
use crate::client::Client;

/// Hears what a connection is sent: a [`Stream`] of [`StreamEvent`]s.
///
/// It listens over a websocket, and over long polls where no websocket comes through. When the
/// line breaks, or nothing is heard for too long, it opens another after a pause; the server then
/// sends what was missed meanwhile. When the connection itself has ended, it makes a new one if it
/// was given [a way to do so](EventStreamBuilder::renewed_by); else the stream ends with
/// [`StreamEvent::Ended`].
///
/// ```no_run
/// use channelstream_client::{Client, Connect, Error, StreamEvent};
///
/// # async fn listen() -> Result<(), Error> {
/// let client = Client::new("http://127.0.0.1:8000", "secret")?;
/// let mut listener = client.listen_as(Connect::new("robot").channels(["news"])).build()?;
/// while let Some(event) = listener.next().await {
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
/// Nothing happens but while it is waited for: there is no task behind it, and dropping it closes
/// the line at once. The connection then waits for another listener for 15 s;
/// [`Client::disconnect`] ends it sooner. Who doesn't wait for the next event holds the server up,
/// which closes the line when too much waits; and whoever pauses for longer than half a minute
/// leaves pings unanswered, which also ends the line. Neither loses anything that catch-up still
/// has.
#[must_use = "nothing is heard unless it is waited for"]
pub struct EventStream(Pin<Box<dyn Stream<Item = StreamEvent> + Send>>);

impl EventStream {
    /// A listener on the connection `conn_id` of the server at `address`, which is as for
    /// [`Client::new`]. Listening needs no secret but the connection's id.
    pub fn builder(address: impl Into<String>, conn_id: Uuid) -> EventStreamBuilder {
        EventStreamBuilder::new(builder::Place::Address(address.into()), Some(conn_id))
    }

    /// The next event; nothing after [`StreamEvent::Ended`]. To give up waiting, as `select!` does,
    /// loses no event.
    pub async fn next(&mut self) -> Option<StreamEvent> {
        poll_fn(|context| self.0.as_mut().poll_next(context)).await
    }

    fn new(reconnector: Reconnector) -> Self {
        let events = stream::unfold(reconnector, async |mut reconnector| {
            let event = reconnector.next().await?;
            Some((event, reconnector))
        });
        Self(Box::pin(events.fuse()))
    }
}

impl Stream for EventStream {
    type Item = StreamEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<StreamEvent>> {
        self.0.as_mut().poll_next(context)
    }
}

impl Debug for EventStream {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").finish_non_exhaustive()
    }
}

impl Client {
    /// A listener on a connection that was made before.
    pub fn listen(&self, conn_id: Uuid) -> EventStreamBuilder {
        EventStreamBuilder::new(builder::Place::Client(self.clone()), Some(conn_id))
    }

    /// A listener that makes its connection itself, with this request, and another when that has
    /// ended: it comes back by itself when the server was restarted.
    pub fn listen_as(&self, request: Connect) -> EventStreamBuilder {
        let client = self.clone();
        EventStreamBuilder::new(builder::Place::Client(self.clone()), None).renewed_by(move || {
            let (client, request) = (client.clone(), request.clone());
            async move { client.connect(request).await.map(|connected| connected.conn_id) }
        })
    }
}
