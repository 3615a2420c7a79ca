//! `MessageStreamBuilder`: how a growing message is opened or taken over.

use std::fmt::{self, Debug, Formatter};
use std::future::IntoFuture;
use std::pin::Pin;
use std::time::Duration;

use channelstream_core::protocol::{
    AppendRequest, Change, ChangeReply, NewMessage, Opening, Taken, Uuid,
};
use http::StatusCode;
use tokio::sync::{mpsc, watch};

use super::MessageStream;
use super::error::StreamError;
use super::worker::{MOST_ITEMS, Progress, Worker};
use crate::client::Client;

/// The server's own `append_interval`, which is about two frames of a screen.
const DEFAULT_INTERVAL: Duration = Duration::from_millis(40);
const DEFAULT_PATIENCE: Duration = Duration::from_secs(60);

/// The number of orders that may wait for the worker. Each has the size of one append.
const WAITING: usize = 64;

/// How often a message is taken over again, because its other producer took a step in between.
const TAKEOVERS: u32 = 10;

/// A builder of a [`MessageStream`], created by [`Client::stream`] and [`Client::resume`]. Awaiting it
/// opens the message or takes it over.
#[must_use = "nothing is sent before the builder is awaited"]
pub struct MessageStreamBuilder {
    client: Client,
    begin: Begin,
    settings: Settings,
}

/// How the stream begins.
pub(super) enum Begin {
    Open(Box<NewMessage>),
    Resume(Uuid, Option<String>),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) interval: Duration,
    pub(super) patience: Duration,
}

impl MessageStreamBuilder {
    pub(super) fn new(client: Client, begin: Begin) -> Self {
        let settings = Settings { interval: DEFAULT_INTERVAL, patience: DEFAULT_PATIENCE };
        Self { client, begin, settings }
    }

    /// Sets the time within which appends are sent together. The default is 40 ms. With zero each append is
    /// a step of its own, so that [`MessageStream::step`] counts appends.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.settings.interval = interval;
        self
    }

    /// Sets how long a request is repeated while the server cannot be reached or is busy, beyond the
    /// [policy](crate::RetryPolicy) of the client. The default is a minute.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.settings.patience = patience;
        self
    }

    /// Allows these users to cancel the message. This has no effect on a message that is taken over.
    pub fn cancel_by<T: Into<String>>(self, users: impl IntoIterator<Item = T>) -> Self {
        let users = users.into_iter().map(Into::into).collect();
        self.opening(|mut opening| {
            opening.cancel_by = users;
            opening
        })
    }

    /// Sets the silence after which the message is `stalled`, in whole seconds, 1 s to an hour. The default
    /// is the server's `append_timeout`, 30 s. This has no effect on a message that is taken over.
    pub fn append_timeout(self, timeout: Duration) -> Self {
        self.opening(|opening| opening.append_timeout(timeout.as_secs()))
    }

    fn opening(mut self, change: impl FnOnce(Opening) -> Opening) -> Self {
        if let Begin::Open(message) = &mut self.begin {
            let opening = message.opening.take().map_or_else(opening, |opening| *opening);
            message.opening = Some(Box::new(change(opening)));
        }
        self
    }

    async fn begin(self) -> Result<MessageStream, StreamError> {
        let Self { client, begin, settings } = self;
        let (uuid, channel, progress) = match begin {
            Begin::Open(message) => open(&client, *message).await?,
            Begin::Resume(uuid, channel) => {
                let (channel, progress) = take_over(&client, uuid, channel).await?;
                (uuid, channel, progress)
            }
        };
        let (orders, waiting) = mpsc::channel(WAITING);
        let (sender, receiver) = watch::channel(progress);
        let worker = Worker::new(client, uuid, channel.clone(), settings, sender);
        tokio::spawn(worker.run(waiting));
        Ok(MessageStream { uuid, channel, orders, progress: receiver, given: 0 })
    }
}

impl IntoFuture for MessageStreamBuilder {
    type Output = Result<MessageStream, StreamError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.begin())
    }
}

impl Debug for MessageStreamBuilder {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageStreamBuilder")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

fn opening() -> Opening {
    Opening::new(None::<String>)
}

async fn open(
    client: &Client,
    mut message: NewMessage,
) -> Result<(Uuid, Option<String>, Progress), StreamError> {
    let uuid = *message.uuid.get_or_insert_with(Uuid::new_v4);
    let channel = message.address.channel.clone();
    message.opening.get_or_insert_with(|| Box::new(opening()));
    let posted = match client.publish(message).await {
        Ok(posted) => posted,
        // The first request was carried out, and the repeat is refused because the message is there.
        Err(error)
            if error.is_in_doubt() && error.status() == Some(StatusCode::UNPROCESSABLE_ENTITY) =>
        {
            let (channel, progress) = take_over(client, uuid, channel).await?;
            return Ok((uuid, channel, progress));
        }
        Err(error) => return Err(error.into()),
    };
    // A server that does not know growing messages may have published an ordinary one.
    let Some(posted) = posted.first() else { return Err(StreamError::NotOpen) };
    match (&posted.receipt.problem, posted.growth) {
        (Some(problem), _) => Err(StreamError::Nowhere(problem.clone())),
        (None, None) => Err(StreamError::NotOpen),
        (None, Some(_)) => Ok((uuid, channel, Progress::default())),
    }
}

/// Takes a message over: by more steps without a text than a request of another producer has.
///
/// The server takes the steps of one request together. If it answers the first with that step, all are
/// ours; otherwise another producer took them. Whatever the producer before sends with these steps is not
/// carried out, and by the answer it learns that it is no longer the one.
async fn take_over(
    client: &Client,
    uuid: Uuid,
    channel: Option<String>,
) -> Result<(Option<String>, Progress), StreamError> {
    let mut known = of_open(client.append(AppendRequest::new(uuid, channel.clone())).await?)?;
    for _ in 0..TAKEOVERS {
        let before = known.step.unwrap_or(0);
        let steps = before + 1..=before + MOST_ITEMS as u64 + 1;
        let request = |step| Change::Append(AppendRequest::new(uuid, channel.clone()).step(step));
        let claims: Vec<_> = steps.clone().map(request).collect();
        let mut first = None;
        for reply in client.change(claims).await? {
            let ChangeReply::Taken(taken) = reply else { return Err(StreamError::NotOpen) };
            known = of_open(*taken)?;
            first = first.or(known.step);
        }
        if first == Some(*steps.start()) {
            let Taken { channel, rev, step, size, .. } = known;
            let (rev, step) = (rev.unwrap_or(0), step.unwrap_or(*steps.end()));
            return Ok((channel, Progress { rev, step, size, ..Progress::default() }));
        }
    }
    Err(StreamError::TakenOver)
}

/// Returns the answer about a message that still grows.
fn of_open(taken: Taken) -> Result<Taken, StreamError> {
    match taken.status.filter(|status| status.is_final()) {
        Some(status) => Err(StreamError::ended(status)),
        None if taken.taken => Ok(taken),
        None => Err(StreamError::of(&taken)),
    }
}
