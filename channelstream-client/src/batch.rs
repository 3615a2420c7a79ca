//! Publishing large numbers of messages: split into requests, with an exact report of what was accepted.

use std::fmt::{self, Display, Formatter};
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use channelstream_core::protocol::{Bounds, NewMessage, Posted, Receipt, Uuid};
use futures_util::{Stream, stream};

use crate::client::Client;
use crate::endpoint::MESSAGE;
use crate::error::Error;
use crate::retry::Repeats;

/// The maximum number of messages in a request. Larger requests save nothing and delay those of
/// other clients on the server.
const MOST_MESSAGES: usize = 1000;

/// The report of publishing many messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// The messages that the server accepted.
    pub messages: u64,
    /// The messages that the server dropped because they had neither a channel nor users.
    pub dropped: u64,
    /// The accepted messages to channels or users that do not exist, as far as the server reports
    /// them.
    pub nowhere: u64,
    /// The requests that succeeded.
    pub requests: u64,
}

impl Published {
    /// Counts the answer to a request with `sent` messages.
    fn take(&mut self, answer: &[Posted], sent: usize) {
        let left_out = sent.saturating_sub(answer.len()) as u64;
        self.dropped += left_out;
        for posted in answer {
            match posted.receipt.problem.as_deref() {
                Some(Receipt::NO_ADDRESS) => self.dropped += 1,
                problem => {
                    self.messages += 1;
                    self.nowhere += u64::from(problem.is_some());
                }
            }
        }
    }
}

/// The error of publishing many messages, of which some may have been accepted.
///
/// All messages before the failed request were [accepted](Self::published), and none after it was
/// sent. [`into_unpublished`](Self::into_unpublished) returns those of the failed request.
#[derive(Debug)]
pub struct PublishError {
    published: Published,
    unpublished: Vec<NewMessage>,
    error: Error,
}

impl PublishError {
    /// Returns what the requests before the failed one achieved. `messages + dropped` is the position
    /// in the input of the first message of the failed request.
    #[must_use]
    pub fn published(&self) -> Published {
        self.published
    }

    /// Returns the error of the failed request. The indexes in its
    /// [field errors](Error::field_errors) count from the first message of the request.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// Returns `true` if the messages of the failed request may have been accepted nevertheless.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.error.is_in_doubt()
    }

    /// Returns the messages of the failed request.
    #[must_use]
    pub fn unpublished(&self) -> &[NewMessage] {
        &self.unpublished
    }

    /// Returns the messages of the failed request. Each has an id, so that receivers can recognize
    /// repeats if the messages are sent again.
    #[must_use]
    pub fn into_unpublished(self) -> Vec<NewMessage> {
        self.unpublished
    }
}

impl Display for PublishError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (taken, count) = (self.published.messages, self.unpublished.len());
        let outcome = if self.is_in_doubt() { "may have been" } else { "were not" };
        let were = if taken == 1 { "message was" } else { "messages were" };
        write!(f, "{taken} {were} accepted, the next {count} {outcome}")?;
        if f.alternate() { write!(f, ": {:#}", self.error) } else { Ok(()) }
    }
}

impl std::error::Error for PublishError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl Client {
    /// Sends any number of messages, in order, in as few requests as the server's limits allow, one
    /// request after the other. Only the messages of one request are in memory.
    ///
    /// Messages without an id receive one, so that requests can be [repeated](crate#repeats).
    ///
    /// # Errors
    ///
    /// The first request that fails, after its repeats, ends the call. [`PublishError`] reports
    /// exactly which messages were accepted. A single message that is larger than
    /// [`max_body_size`](crate::ClientBuilder::max_body_size) is sent as a request of its own, which
    /// the server refuses with 413.
    pub async fn publish_all(
        &self,
        messages: impl IntoIterator<Item = NewMessage>,
    ) -> Result<Published, PublishError> {
        self.publish_stream(stream::iter(messages)).await
    }

    /// Sends the messages of a stream as they become ready, until the stream ends. Messages that
    /// become ready during a request are sent together in the next one. Otherwise like
    /// [`publish_all`](Self::publish_all).
    ///
    /// # Errors
    ///
    /// As for [`publish_all`](Self::publish_all).
    pub async fn publish_stream(
        &self,
        messages: impl Stream<Item = NewMessage>,
    ) -> Result<Published, PublishError> {
        let mut messages = pin!(messages);
        let mut published = Published::default();
        let (mut next, mut ended) = (None, false);
        loop {
            let mut batch = Batch::new(self.0.max_body_size);
            if let Some(message) = next.take() {
                batch.push(message);
            }
            let fill = |context: &mut std::task::Context<'_>| {
                while !ended && !batch.is_full() {
                    match messages.as_mut().poll_next(context) {
                        Poll::Ready(Some(message)) => {
                            let message = Written::from(message);
                            if !batch.has_room_for(&message) {
                                next = Some(message);
                                break;
                            }
                            batch.push(message);
                        }
                        Poll::Pending if batch.messages.is_empty() => return Poll::Pending,
                        Poll::Pending => break,
                        Poll::Ready(None) => ended = true,
                    }
                }
                Poll::Ready(())
            };
            poll_fn(fill).await;
            if batch.messages.is_empty() {
                return Ok(published);
            }
            let (body, messages) = batch.into_parts();
            match self.send::<Vec<Posted>>(MESSAGE, body, Repeats::Harmless).await {
                Ok(taken) => {
                    published.requests += 1;
                    published.take(&taken, messages.len());
                }
                Err(error) => {
                    return Err(PublishError { published, unpublished: messages, error });
                }
            }
        }
    }
}

/// A message and its JSON.
struct Written {
    message: NewMessage,
    json: Vec<u8>,
    values: usize,
}

impl From<NewMessage> for Written {
    fn from(mut message: NewMessage) -> Self {
        message.uuid.get_or_insert_with(Uuid::new_v4);
        let json = serde_json::to_vec(&message).expect("messages hold texts, flags and JSON only");
        // At least as many as the server counts: it does not count brackets and commas in strings.
        let values = json.iter().filter(|byte| b"[{,".contains(byte)).count() + 1;
        Self { message, json, values }
    }
}

/// The messages of one request.
struct Batch {
    messages: Vec<NewMessage>,
    body: Vec<u8>,
    values: usize,
    max_body_size: usize,
}

impl Batch {
    fn new(max_body_size: usize) -> Self {
        Self { messages: Vec::new(), body: vec![b'['], values: 2, max_body_size }
    }

    fn is_full(&self) -> bool {
        self.messages.len() >= MOST_MESSAGES
    }

    /// Returns `true` if the message fits. An empty batch has room for any message.
    fn has_room_for(&self, message: &Written) -> bool {
        let size = self.body.len() + message.json.len() + 1;
        self.messages.is_empty()
            || (size <= self.max_body_size
                && self.values + message.values <= Bounds::default().elements)
    }

    fn push(&mut self, message: Written) {
        self.body.extend_from_slice(&message.json);
        self.body.push(b',');
        self.values += message.values + 1;
        self.messages.push(message.message);
    }

    fn into_parts(mut self) -> (Bytes, Vec<NewMessage>) {
        self.body.pop();
        self.body.push(b']');
        (self.body.into(), self.messages)
    }
}

#[cfg(test)]
mod tests {
    use channelstream_core::protocol::parse;

    use super::*;

    fn written(text: &str) -> Written {
        let payload = serde_json::json!({"text": text, "more": [1, 2]});
        NewMessage::to_channel("a", "c", payload).unwrap().into()
    }

    #[test]
    fn a_full_batch_is_within_the_bounds_to_the_byte() {
        let size = written("12345").json.len();
        let mut batch = Batch::new(3 * size + 4);
        for _ in 0..3 {
            assert!(batch.has_room_for(&written("12345")));
            batch.push(written("12345"));
        }
        assert!(!batch.has_room_for(&written("")));
        let (body, messages) = batch.into_parts();
        assert_eq!((body.len(), messages.len()), (3 * size + 4, 3));
        parse(&body, Bounds::default()).unwrap();
    }

    #[test]
    fn one_byte_less_makes_two_batches() {
        let size = written("12345").json.len();
        let mut batch = Batch::new(2 * size + 2);
        batch.push(written("12345"));
        assert!(!batch.has_room_for(&written("12345")));
        assert!(batch.has_room_for(&written("1234")));
    }

    #[test]
    fn values_are_counted_as_the_server_counts_them() {
        let list: Vec<_> = (0..10_000).collect();
        let message = || {
            let message = serde_json::json!({ "list": list });
            Written::from(NewMessage::to_channel("a", "c", message).unwrap())
        };
        let mut batch = Batch::new(usize::MAX);
        while batch.has_room_for(&message()) {
            batch.push(message());
        }
        let (body, messages) = batch.into_parts();
        assert_eq!(messages.len(), 9);
        parse(&body, Bounds::default()).unwrap();
    }
}
