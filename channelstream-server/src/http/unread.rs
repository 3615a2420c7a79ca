//! What is unread of a body when its request is answered: a short rest is read, for a longer one the answer says
//! `Connection: close`.
//!
//! hyper closes a TCP connection whose body was not read, and the answer does not tell. A proxy that keeps
//! connections would send its next request into it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::http::body::{Broken, Chunks};
use crate::http::header;

/// The longest body whose rest is read.
const SHORT: u64 = 64 * 1024;
/// How long an answer waits for that rest, which is on its way mostly.
const PATIENCE: Duration = Duration::from_secs(1);

/// A body that is being read elsewhere.
pub(crate) struct Unread<B> {
    rest: oneshot::Receiver<B>,
    is_short: bool,
}

/// Lends a body, and keeps what tells of its rest. A request without a body has none.
pub(crate) fn lend<B>(headers: &HeaderMap, body: B) -> (Chunks, Option<Unread<B>>)
where
    B: Stream<Item = Result<Bytes, Broken>> + Send + Unpin + 'static,
{
    let length = header::text(headers, &CONTENT_LENGTH).and_then(|text| text.parse::<u64>().ok());
    if length.unwrap_or(0) == 0 && !headers.contains_key(TRANSFER_ENCODING) {
        return (Box::pin(body), None);
    }
    // Who expects to be asked for the body has not sent it.
    let is_short = length.is_some_and(|length| length <= SHORT) && !headers.contains_key(EXPECT);
    let (back, rest) = oneshot::channel();
    (Box::pin(Lent { body: Some((body, back)) }), Some(Unread { rest, is_short }))
}

impl<B: Stream<Item = Result<Bytes, Broken>> + Unpin> Unread<B> {
    /// Reads the rest, or changes the headers of the answer.
    pub(crate) async fn settle(mut self, answer: &mut HeaderMap) {
        // Nothing comes back of a body that was read to its end, or is still being read.
        let Ok(mut rest) = self.rest.try_recv() else { return };
        let all = async { while let Some(Ok(_)) = rest.next().await {} };
        if !self.is_short || timeout(PATIENCE, all).await.is_err() {
            answer.insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

/// Gives the body back when it is dropped before its end.
struct Lent<B> {
    body: Option<(B, oneshot::Sender<B>)>,
}

impl<B: Stream<Item = Result<Bytes, Broken>> + Unpin> Stream for Lent<B> {
    type Item = Result<Bytes, Broken>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some((body, _)) = &mut self.body else { return Poll::Ready(None) };
        let chunk = ready!(body.poll_next_unpin(context));
        if !matches!(chunk, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(chunk)
    }
}

impl<B> Drop for Lent<B> {
    fn drop(&mut self) {
        if let Some((body, back)) = self.body.take() {
            // Nobody waits for it if the connection is gone.
            let _ = back.send(body);
        }
    }
}
