//! `MessageSink`: a growing message as a [`Sink`] of texts.

use std::fmt::{self, Debug, Formatter};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::Sink;

use super::{MessageStream, StreamError};

/// A [`MessageStream`] as a [`Sink`] of texts, so that a stream of texts can be forwarded to it. Closing it
/// finishes the message; dropping it leaves the message open.
///
/// ```no_run
/// use channelstream_client::{Client, NewMessage, json};
/// use futures_util::{Stream, StreamExt as _};
///
/// # async fn answer(
/// #     client: Client,
/// #     words: impl Stream<Item = Result<String, channelstream_client::StreamError>>,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// let message = NewMessage::to_channel("bot", "chat:42", json!({"text": ""}))?;
/// words.forward(client.stream(message).await?.into_sink()).await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a message stays open until it is finished"]
pub struct MessageSink(State);

/// What is under way. It ends with the stream, unless the message has ended.
type Work = Pin<Box<dyn Future<Output = Result<Option<MessageStream>, StreamError>> + Send>>;

enum State {
    Idle(Box<MessageStream>),
    Working(Work),
    Closed,
}

impl Debug for MessageSink {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageSink").finish_non_exhaustive()
    }
}

impl MessageStream {
    /// Turns the stream into a [`Sink`] of texts, which go behind the text of the payload's key `text`.
    pub fn into_sink(self) -> MessageSink {
        MessageSink(State::Idle(Box::new(self)))
    }
}

impl MessageSink {
    /// Waits until nothing is under way.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        let State::Working(work) = &mut self.0 else { return Poll::Ready(Ok(())) };
        let done = ready!(work.as_mut().poll(cx));
        self.0 = State::Closed;
        if let Some(stream) = done? {
            self.0 = State::Idle(Box::new(stream));
        }
        Poll::Ready(Ok(()))
    }

    /// Begins something, if the message has not ended. Returns `false` if it has.
    fn begin(&mut self, work: impl FnOnce(MessageStream) -> Work) -> bool {
        match std::mem::replace(&mut self.0, State::Closed) {
            State::Idle(stream) => self.0 = State::Working(work(*stream)),
            state @ State::Working(_) => self.0 = state,
            State::Closed => return false,
        }
        true
    }
}

impl Sink<String> for MessageSink {
    type Error = StreamError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        self.poll_idle(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, text: String) -> Result<(), StreamError> {
        let append = |mut stream: MessageStream| -> Work {
            Box::pin(async move { stream.append(&text).await.map(|()| Some(stream)) })
        };
        if self.begin(append) { Ok(()) } else { Err(StreamError::Stopped) }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        ready!(self.poll_idle(cx))?;
        let State::Idle(stream) = &self.0 else { return Poll::Ready(Ok(())) };
        if stream.is_flushed() {
            return Poll::Ready(Ok(()));
        }
        self.begin(|mut stream| {
            Box::pin(async move { stream.flush().await.map(|()| Some(stream)) })
        });
        self.poll_idle(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        ready!(self.poll_idle(cx))?;
        self.begin(|stream| Box::pin(async move { stream.finish().await.map(|_| None) }));
        self.poll_idle(cx)
    }
}
