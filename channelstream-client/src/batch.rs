//! Publishing very many messages: cut into requests, with an exact account of what was taken.

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

/// More in one request save nothing, and hold up everybody else's on the server.
const MOST_MESSAGES: usize = 1000;

/// What became of many messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// Messages that the server took.
    pub messages: u64,
    /// Messages that it dropped since they had neither a channel nor users.
    pub dropped: u64,
    /// Of those it took, messages to channels or users that do not exist, as far as it tells.
    pub nowhere: u64,
    /// Requests that were answered well.
    pub requests: u64,
}

impl Published {
    /// Counts what was answered to so many messages.
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

/// Publishing many messages failed on the way.
///
/// All messages before the request that failed were [taken](Self::published), none behind it was
/// sent; what was in it, [`into_unpublished`](Self::into_unpublished) gives back.
#[derive(Debug)]
pub struct PublishError {
    published: Published,
    unpublished: Vec<NewMessage>,
    error: Error,
}

impl PublishError {
    /// What was taken by the requests before the one that failed. `messages + dropped` is the
    /// place in the input at which it begins.
    #[must_use]
    pub fn published(&self) -> Published {
        self.published
    }

    /// Why the request failed. Places in its [faults](Error::field_errors) count from the first
    /// message of the request.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// Whether the messages of the request that failed may have been taken nevertheless.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.error.is_in_doubt()
    }

    /// The messages of the request that failed.
    #[must_use]
    pub fn unpublished(&self) -> &[NewMessage] {
        &self.unpublished
    }

    /// The messages of the request that failed, each with an id: sent again, they can be
    /// recognised as repeats.
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
    /// Sends any number of messages, in order, in as few requests as the server's bounds allow,
    /// one after the other. Only the messages of one request are in memory.
    ///
    /// Messages without an id are given one, so that requests may be repeated: see
    /// [what repeats do](crate#repeats).
    ///
    /// # Errors
    ///
    /// The first request that fails, after its repeats, ends it; [`PublishError`] tells exactly
    /// how far it came. A single message that is larger than
    /// [`max_body_size`](crate::ClientBuilder::max_body_size) is a request of its own, and
    /// refused with 413.
    pub async fn publish_all(
        &self,
        messages: impl IntoIterator<Item = NewMessage>,
    ) -> Result<Published, PublishError> {
        self.publish_stream(stream::iter(messages)).await
    }

    /// Sends messages as they come, until there are no more: at once what is ready, together what
    /// became ready during the request before. Otherwise like [`publish_all`](Self::publish_all).
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
        // As the server counts them, or more, since those in texts don't count there.
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

    /// The first one always has.
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
#[expect(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]
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
    fn one_byte_less_makes_two_of_it() {
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
