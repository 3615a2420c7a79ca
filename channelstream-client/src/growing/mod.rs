//! `MessageStream`: a message that grows while its text is made, such as the answer of a language model.

mod builder;
mod error;
mod sink;
mod worker;

use std::fmt::{self, Debug, Formatter};

use channelstream_core::protocol::{NewMessage, Piece, Status, Taken, Uuid};
use tokio::sync::{mpsc, watch};

pub use self::builder::MessageStreamBuilder;
pub use self::error::StreamError;
pub use self::sink::MessageSink;

use self::builder::Begin;
use self::worker::{Order, Progress};
use crate::client::Client;

/// A message that grows while it is published.
///
/// Readers see it grow; who comes later sees it as it is by then. The message is there once, in the
/// history and for catch-up, with its newest text.
///
/// ```no_run
/// use channelstream_client::{Client, NewMessage, json};
///
/// # async fn model() -> Vec<String> { Vec::new() }
/// # async fn answer(client: Client) -> Result<(), Box<dyn std::error::Error>> {
/// let message = NewMessage::to_channel("bot", "chat:42", json!({"text": ""}))?;
/// let mut answer = client.stream(message).cancel_by(["ann"]).await?;
/// for word in model().await {
///     // Fails as soon as Ann is known to have canceled the answer.
///     answer.append(&word).await?;
/// }
/// answer.finish().await?;
/// # Ok(())
/// # }
/// ```
///
/// The first piece is sent at once. What is appended within a [short time](MessageStreamBuilder::interval)
/// is sent together, by a task of the stream. [`append`](Self::append) waits while much is unsent, so that
/// a fast producer does not fill the memory.
///
/// Each request counts the steps of the message, and the server takes each step once. So a request whose
/// answer did not arrive is repeated without doubling text, for as long as the stream is
/// [patient](MessageStreamBuilder::patience).
///
/// After an error the stream is over. Nothing was appended behind the place of the error, and
/// [`Client::resume`] may go on.
///
/// Dropping the stream sends what was appended and leaves the message open. After its `append_timeout`
/// without an append the message is `stalled`, until a producer [resumes](Client::resume) it.
#[must_use = "a message stays open until it is finished"]
pub struct MessageStream {
    uuid: Uuid,
    channel: Option<String>,
    orders: mpsc::Sender<Order>,
    progress: watch::Receiver<Progress>,
    /// The number of orders that were given.
    given: u64,
}

impl MessageStream {
    /// Returns the id of the message.
    #[must_use]
    pub fn uuid(&self) -> Uuid {
        self.uuid
    }

    /// Returns the channel of the message; `None` for a private message, or if [`Client::resume`] was not
    /// told the channel and the server did not report it.
    #[must_use]
    pub fn channel(&self) -> Option<&str> {
        self.channel.as_deref()
    }

    /// Returns the number of changes of the message so far, as far as the server's answers have arrived.
    #[must_use]
    pub fn rev(&self) -> u64 {
        self.progress.borrow().rev
    }

    /// Returns the last step that the server has taken.
    #[must_use]
    pub fn step(&self) -> u64 {
        self.progress.borrow().step
    }

    /// Returns the size of the payload in bytes of JSON, as far as the server's answers have arrived.
    #[must_use]
    pub fn size(&self) -> Option<usize> {
        self.progress.borrow().size
    }

    /// Appends to the text of the payload's key `text`. An empty text does nothing.
    ///
    /// It returns when the text is taken over for sending. An error is that of an earlier append, since
    /// the text itself is sent later; [`flush`](Self::flush) waits for the answer. Not cancel safe: if the
    /// future is dropped while it waits for room, the text is lost.
    ///
    /// # Errors
    ///
    /// [`StreamError::Cancelled`] if a reader has canceled the message, and the others of [`StreamError`].
    pub async fn append(&mut self, text: &str) -> Result<(), StreamError> {
        if text.is_empty() {
            return self.check();
        }
        self.send("text", Piece::text(text)).await
    }

    /// Appends a piece to the value of a key, or of a JSON Pointer such as `/parts/3/text`: a text to a
    /// text, a list to a list. A key that is not there begins empty.
    ///
    /// ```no_run
    /// use channelstream_client::{MessageStream, Piece, StreamError};
    ///
    /// # async fn send(mut answer: MessageStream) -> Result<(), StreamError> {
    /// answer.send("/parts/0/text", Piece::text("more")).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`append`](Self::append).
    pub async fn send(&mut self, key: impl Into<String>, piece: Piece) -> Result<(), StreamError> {
        self.check()?;
        self.order(Order::Piece { key: key.into(), piece }).await
    }

    /// Tells the server that the producer lives, although it has nothing to append. This keeps the message
    /// from being `stalled`.
    ///
    /// # Errors
    ///
    /// As for [`append`](Self::append).
    pub async fn keep_alive(&mut self) -> Result<(), StreamError> {
        self.check()?;
        self.order(Order::KeepAlive).await
    }

    /// Returns `true` if nothing is unsent, or nothing is sent any more.
    fn is_flushed(&self) -> bool {
        self.progress.borrow().carried_out >= self.given
    }

    /// Waits until the server has taken everything that was appended.
    ///
    /// # Errors
    ///
    /// As for [`append`](Self::append), of everything before this call.
    pub async fn flush(&mut self) -> Result<(), StreamError> {
        let given = self.given;
        let progress = self
            .progress
            .wait_for(|progress| progress.carried_out >= given || progress.end.is_some());
        match progress.await {
            Ok(progress) if progress.carried_out >= given => Ok(()),
            Ok(progress) => Err(progress.failure()),
            Err(_) => Err(StreamError::Stopped),
        }
    }

    /// Sends what was appended and finishes the message: `done`.
    ///
    /// # Errors
    ///
    /// As for [`append`](Self::append).
    pub async fn finish(self) -> Result<Taken, StreamError> {
        self.end(Status::Done).await
    }

    /// Sends what was appended and gives the message up: `failed`.
    ///
    /// # Errors
    ///
    /// As for [`append`](Self::append).
    pub async fn fail(self) -> Result<Taken, StreamError> {
        self.end(Status::Failed).await
    }

    /// Waits until the message has ended, as far as the stream knows: the server answers requests of the
    /// stream, and reports nothing by itself. For programs that stop their model at once.
    ///
    /// ```no_run
    /// # use channelstream_client::{MessageStream, StreamError};
    /// # async fn next_word() -> String { String::new() }
    /// # async fn send(mut answer: MessageStream) -> Result<(), StreamError> {
    /// let ended = answer.ended();
    /// tokio::pin!(ended);
    /// loop {
    ///     tokio::select! {
    ///         error = &mut ended => return Err(error),
    ///         word = next_word() => answer.append(&word).await?,
    ///     }
    /// }
    /// # }
    /// ```
    pub fn ended(&self) -> impl Future<Output = StreamError> + Send + 'static {
        let mut progress = self.progress.clone();
        async move {
            let ended = progress.wait_for(|progress| progress.end.is_some()).await;
            ended.map_or(StreamError::Stopped, |progress| progress.failure())
        }
    }

    async fn end(mut self, status: Status) -> Result<Taken, StreamError> {
        self.check()?;
        self.order(Order::End(status)).await?;
        let Ok(progress) = self.progress.wait_for(|progress| progress.end.is_some()).await else {
            return Err(StreamError::Stopped);
        };
        match &progress.end {
            Some(Ok(taken)) => Ok(taken.clone()),
            _ => Err(progress.failure()),
        }
    }

    async fn order(&mut self, order: Order) -> Result<(), StreamError> {
        if self.orders.send(order).await.is_err() {
            // The worker has ended, and has said why before.
            self.check()?;
            return Err(StreamError::Stopped);
        }
        self.given += 1;
        Ok(())
    }

    /// Returns the error if the stream is over.
    fn check(&self) -> Result<(), StreamError> {
        let progress = self.progress.borrow();
        if progress.end.is_some() { Err(progress.failure()) } else { Ok(()) }
    }
}

impl Debug for MessageStream {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageStream")
            .field("uuid", &self.uuid)
            .field("channel", &self.channel)
            .field("progress", &*self.progress.borrow())
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Returns a builder of a message that grows. Awaiting the builder opens the message.
    pub fn stream(&self, message: NewMessage) -> MessageStreamBuilder {
        MessageStreamBuilder::new(self.clone(), Begin::Open(Box::new(message)))
    }

    /// Returns a builder of a stream that goes on with a message that is there and still grows. Awaiting
    /// the builder takes the message over: a producer that was there before learns from its next append
    /// that it is [no longer](StreamError::TakenOver) the one.
    ///
    /// ```no_run
    /// # use channelstream_client::{Client, InfoOptions, StreamError, Uuid};
    /// # async fn next(client: Client, uuid: Uuid) -> Result<(), StreamError> {
    /// let mut answer = client.resume(uuid, Some("chat:42".to_owned())).await?;
    /// // What is there by now says where to go on: `size` is that of the payload as JSON.
    /// println!("{:?} bytes after {} changes", answer.size(), answer.rev());
    /// answer.append(" and so on").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn resume(&self, uuid: Uuid, channel: impl Into<Option<String>>) -> MessageStreamBuilder {
        MessageStreamBuilder::new(self.clone(), Begin::Resume(uuid, channel.into()))
    }
}
