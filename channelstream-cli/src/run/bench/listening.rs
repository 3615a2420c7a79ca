//! The listeners of the benchmark: each counts the messages on a connection of its own.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use channelstream_client::{Connect, EventKind, EventStream, InfoOptions, StreamEvent, Uuid};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::sending::Payload;
use super::{Plan, TOGETHER, USER};
use crate::failure::Failure;

/// All listeners.
pub(super) struct Listeners {
    tasks: JoinSet<Received>,
    stop: watch::Sender<bool>,
    openings: Vec<u32>,
}

/// The counts of one listener, or of all of them.
#[derive(Debug, Default)]
pub(super) struct Received {
    /// The time from the first request to the open websocket, in microseconds.
    pub(super) openings: Vec<u32>,
    /// The time from sending a message to its first arrival, in microseconds.
    pub(super) latencies: Vec<u32>,
    pub(super) doubled: u64,
    /// Messages that arrived after one that was sent later.
    pub(super) reordered: u64,
    /// How often a websocket broke or a stream ended.
    pub(super) interruptions: u64,
    /// One bit for each message.
    seen: Vec<u64>,
    /// The number of the next message if all arrive in order.
    next: u64,
}

impl Listeners {
    /// Connects all listeners, a few at a time, and returns when all websockets are open.
    pub(super) async fn open(plan: &Arc<Plan>) -> Result<Self, Failure> {
        let room = Arc::new(Semaphore::new(TOGETHER));
        let (stop, stopped) = watch::channel(false);
        let (sender, mut opened) = mpsc::channel(1);
        let mut tasks = JoinSet::new();
        for conn_id in plan.conn_ids.iter().copied() {
            let (plan, room) = (Arc::clone(plan), Arc::clone(&room));
            let (stopped, sender) = (stopped.clone(), sender.clone());
            tasks.spawn(async move {
                let permit = room.acquire().await;
                let started = Instant::now();
                let events = match open(&plan, conn_id).await {
                    Ok(events) => events,
                    Err(failure) => {
                        let _ = sender.send(Err(failure)).await;
                        return Received::default();
                    }
                };
                let opening = u32::try_from(started.elapsed().as_micros()).unwrap_or(u32::MAX);
                plan.progress.opened.fetch_add(1, Ordering::Relaxed);
                drop(permit);
                // A dropped receiver means that the benchmark is over.
                let _ = sender.send(Ok(opening)).await;
                drop(sender);
                receive(events, &plan, stopped).await
            });
        }
        drop(sender);
        let mut openings = Vec::with_capacity(plan.conn_ids.len());
        while let Some(opening) = opened.recv().await {
            openings.push(opening?);
        }
        Ok(Self { tasks, stop, openings })
    }

    /// Stops all listeners and returns their counts together.
    pub(super) async fn end(mut self) -> Result<Received, Failure> {
        self.stop.send_replace(true);
        let mut all = Received { openings: self.openings, ..Received::default() };
        while let Some(received) = self.tasks.join_next().await {
            let received = received.map_err(anyhow::Error::new)?;
            all.latencies.extend(received.latencies);
            all.doubled += received.doubled;
            all.reordered += received.reordered;
            all.interruptions += received.interruptions;
        }
        Ok(all)
    }
}

/// Creates a connection and opens a websocket on it.
async fn open(plan: &Plan, conn_id: Uuid) -> Result<EventStream, Failure> {
    let request = Connect {
        conn_id: Some(conn_id),
        // The lists of all members in so many answers would dominate the measurement.
        info: InfoOptions {
            include_history: false,
            include_users: false,
            ..InfoOptions::default()
        },
        ..Connect::new(USER).channels([&plan.channel])
    };
    let failed = |error| Failure::of_client(error, &plan.origin);
    plan.client.connect(request).await.map_err(failed)?;
    let mut events = plan.client.listen(conn_id).only_websocket().build().map_err(failed)?;
    loop {
        match events.next().await {
            Some(StreamEvent::Opened { .. }) => return Ok(events),
            Some(StreamEvent::Interrupted { error, .. }) => return Err(failed(error)),
            Some(StreamEvent::Ended(_)) | None => {
                return Err(
                    anyhow::anyhow!("a connection ended before its websocket opened").into()
                );
            }
            Some(_) => {}
        }
    }
}

/// Counts messages until it is stopped.
async fn receive(
    mut events: EventStream,
    plan: &Plan,
    mut stopped: watch::Receiver<bool>,
) -> Received {
    let mut received = Received::default();
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            _ = stopped.changed() => return received,
        };
        match event {
            Some(StreamEvent::Event(event)) => {
                let now = plan.micros(Instant::now());
                let is_message = matches!(event.kind, EventKind::Message { .. });
                if let Some(Ok(payload)) = is_message.then(|| event.payload::<Payload>())
                    && received.count(&payload, now)
                {
                    plan.progress.deliveries.fetch_add(1, Ordering::Relaxed);
                }
            }
            Some(StreamEvent::Interrupted { .. } | StreamEvent::Ended(_)) => {
                received.interruptions += 1
            }
            Some(_) => {}
            None => return received,
        }
    }
}

impl Received {
    /// Counts a message; returns `true` if it arrived for the first time.
    fn count(&mut self, message: &Payload, now: u64) -> bool {
        let Ok(place) = usize::try_from(message.number / 64) else { return false };
        if place >= self.seen.len() {
            self.seen.resize(place + 1, 0);
        }
        let bit = 1 << (message.number % 64);
        if self.seen[place] & bit != 0 {
            self.doubled += 1;
            return false;
        }
        self.seen[place] |= bit;
        if message.number < self.next {
            self.reordered += 1;
        } else {
            self.next = message.number + 1;
        }
        self.latencies.push(u32::try_from(now.saturating_sub(message.sent)).unwrap_or(u32::MAX));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_doubled_and_reordered_messages_are_counted() {
        let mut received = Received::default();
        // 1 is lost; 2 arrives late, and twice.
        let new = [0, 3, 2, 2, 200].map(|number| received.count(&Payload { number, sent: 7 }, 10));
        assert_eq!(new, [true, true, true, false, true]);
        assert_eq!((received.doubled, received.reordered), (1, 1));
        assert_eq!(received.latencies, [3; 4]);
    }
}
