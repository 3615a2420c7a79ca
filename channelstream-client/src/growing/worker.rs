//! `Worker`: the task of a stream, which sends appends together and repeats what fails.

use std::time::Duration;

use channelstream_core::protocol::{
    AppendRequest, Change, ChangeReply, Piece, Status, Taken, Uuid,
};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::builder::Settings;
use super::error::StreamError;
use crate::client::Client;
use crate::retry::Backoff;

/// The size of the pieces of a request, in bytes of JSON. A larger piece is sent alone.
const MOST_BYTES: usize = 64 * 1024;

/// The number of items of a request.
pub(super) const MOST_ITEMS: usize = 8;

/// The pauses between calls, each of which has pauses of its own.
const BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(250), longest: Duration::from_secs(5) };

/// What the owner of the stream wants.
pub(super) enum Order {
    Piece { key: String, piece: Piece },
    KeepAlive,
    End(Status),
}

/// How far the worker has come.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    pub(super) rev: u64,
    pub(super) step: u64,
    pub(super) size: Option<usize>,
    /// The number of orders that the server has carried out.
    pub(super) carried_out: u64,
    /// How the stream has ended.
    pub(super) end: Option<Result<Taken, StreamError>>,
}

impl Progress {
    /// Returns why a stream that has ended takes no order.
    pub(super) fn failure(&self) -> StreamError {
        match &self.end {
            Some(Err(error)) => error.clone(),
            Some(Ok(taken)) => StreamError::ended(taken.status.unwrap_or(Status::Done)),
            None => StreamError::Stopped,
        }
    }
}

pub(super) struct Worker {
    client: Client,
    uuid: Uuid,
    channel: Option<String>,
    settings: Settings,
    progress: watch::Sender<Progress>,
}

impl Worker {
    pub(super) fn new(
        client: Client,
        uuid: Uuid,
        channel: Option<String>,
        settings: Settings,
        progress: watch::Sender<Progress>,
    ) -> Self {
        Self { client, uuid, channel, settings, progress }
    }

    /// Carries out orders until the message ends, an error occurs, or the stream is dropped.
    pub(super) async fn run(self, mut orders: mpsc::Receiver<Order>) {
        let mut next = None;
        // The first piece is sent at once.
        let mut due = Instant::now();
        loop {
            let first = match next.take() {
                Some(order) => order,
                None => match orders.recv().await {
                    Some(order) => order,
                    None => return,
                },
            };
            let mut batch = Batch::new(&self.client, self.settings);
            next = batch.take(first);
            while next.is_none() && !batch.is_full() {
                tokio::select! {
                    biased;
                    order = orders.recv() => match order {
                        Some(order) => next = batch.take(order),
                        None => break,
                    },
                    () = sleep_until(due) => break,
                }
            }
            due = Instant::now() + self.settings.interval;
            let (orders_of_batch, ends) = (batch.orders, batch.end.is_some());
            let sent = self.send(batch).await;
            let is_over = ends || sent.is_err();
            self.progress.send_modify(|progress| match sent {
                Ok(taken) => {
                    progress.rev = taken.rev.unwrap_or(progress.rev);
                    progress.step = taken.step.unwrap_or(progress.step);
                    progress.size = taken.size.or(progress.size);
                    progress.carried_out += orders_of_batch;
                    progress.end = ends.then_some(Ok(taken));
                }
                Err(error) => progress.end = Some(Err(error)),
            });
            if is_over {
                return;
            }
        }
    }

    /// Sends a batch, again if the server cannot be reached. Returns the answer to its last item.
    async fn send(&self, batch: Batch) -> Result<Taken, StreamError> {
        let known = self.progress.borrow().clone();
        let requests = batch.into_requests(self.uuid, self.channel.as_ref(), known.step);
        let changes: Vec<_> = requests.iter().cloned().map(Change::Append).collect();
        let begun = Instant::now();
        let mut failures = 0;
        loop {
            let error = match self.client.change(changes.clone()).await {
                Ok(replies) => return check(&known, &requests, replies),
                Err(error) => error,
            };
            let pause = BACKOFF.pause(failures).max(error.retry_after().unwrap_or_default());
            if !error.is_retryable() || begun.elapsed() + pause > self.settings.patience {
                return Err(error.into());
            }
            failures += 1;
            sleep(pause).await;
        }
    }
}

/// Checks that the server has carried out the items of this producer, and has not taken their steps for
/// repeats of another producer's. Returns the last answer.
fn check(
    known: &Progress,
    requests: &[AppendRequest],
    replies: Vec<ChangeReply>,
) -> Result<Taken, StreamError> {
    let last_step = requests.iter().filter_map(|request| request.step).max().unwrap_or(known.step);
    let end = requests.last().and_then(|request| request.status);
    let mut last = None;
    for (request, reply) in requests.iter().zip(replies) {
        // A server that does not know growing messages takes an append for an edit.
        let ChangeReply::Taken(taken) = reply else { return Err(StreamError::NotOpen) };
        if !taken.taken {
            return Err(StreamError::of(&taken));
        }
        // In the answers to a repeat, the later items of the batch are done, too. A producer that takes
        // over takes more steps than a batch has.
        let ours = request.step.unwrap_or(known.step)..=last_step;
        if !ours.contains(&taken.step.unwrap_or(0)) {
            return Err(StreamError::TakenOver);
        }
        if let Some(status) =
            taken.status.filter(|status| status.is_final() && end != Some(*status))
        {
            return Err(StreamError::ended(status));
        }
        last = Some(*taken);
    }
    match last {
        Some(taken) if end.is_none() || taken.status == end => Ok(taken),
        // The step of the end was taken, and the message has not ended: it was that of another producer.
        _ => Err(StreamError::TakenOver),
    }
}

/// What is sent in one request.
struct Batch {
    /// The pieces by key, in order. Those of one entry are joined.
    pieces: Vec<(String, Vec<Piece>)>,
    bytes: usize,
    end: Option<Status>,
    /// The number of orders in it.
    orders: u64,
    most_bytes: usize,
    /// Whether each piece is a step of its own.
    is_split: bool,
}

impl Batch {
    fn new(client: &Client, settings: Settings) -> Self {
        Self {
            pieces: Vec::new(),
            bytes: 0,
            end: None,
            orders: 0,
            most_bytes: MOST_BYTES.min(client.0.max_body_size / 2),
            is_split: settings.interval.is_zero(),
        }
    }

    fn is_full(&self) -> bool {
        self.end.is_some() || self.bytes >= self.most_bytes
    }

    /// Takes an order, or returns it if it does not fit. An empty batch takes any order.
    fn take(&mut self, order: Order) -> Option<Order> {
        match order {
            Order::Piece { key, piece } => {
                let size = key.len() + piece.json().len();
                let joins = !self.is_split
                    && self.pieces.last().is_some_and(|(last, pieces)| {
                        *last == key && pieces.iter().all(|other| other.is_like(&piece))
                    });
                let is_large = self.bytes > 0 && self.bytes + size > self.most_bytes;
                if is_large || (!joins && self.pieces.len() >= MOST_ITEMS) {
                    return Some(Order::Piece { key, piece });
                }
                self.bytes += size;
                match self.pieces.last_mut().filter(|_| joins) {
                    Some((_, pieces)) => pieces.push(piece),
                    None => self.pieces.push((key, vec![piece])),
                }
            }
            Order::KeepAlive => {}
            Order::End(status) => self.end = Some(status),
        }
        self.orders += 1;
        None
    }

    /// Returns the items of the request, which come after the step `step`.
    fn into_requests(
        self,
        uuid: Uuid,
        channel: Option<&String>,
        mut step: u64,
    ) -> Vec<AppendRequest> {
        let new = || AppendRequest::new(uuid, channel.cloned());
        let mut requests = Vec::new();
        for (key, pieces) in self.pieces {
            let joined = Piece::join(&pieces).map_or(pieces, |piece| vec![piece]);
            for piece in joined {
                step += 1;
                let mut request = new().step(step);
                request.append.insert(key.clone(), piece);
                requests.push(request);
            }
        }
        match (self.end, requests.last_mut()) {
            (Some(status), Some(last)) => last.status = Some(status),
            (Some(status), None) => requests.push(new().step(step + 1).status(status)),
            // It is only a sign of life, which takes no step.
            (None, None) => requests.push(new()),
            (None, Some(_)) => {}
        }
        requests
    }
}
