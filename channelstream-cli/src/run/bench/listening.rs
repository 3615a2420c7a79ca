//! The listeners: each on a connection and a line of its own, counting what it hears.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use channelstream_client::{Connect, Content, Event, InfoOptions, Listener, Uuid};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::sending::Said;
use super::{Plan, TOGETHER, USER};
use crate::failure::Failure;

/// All listeners, while they listen.
pub(super) struct Listeners {
    tasks: JoinSet<Heard>,
    stop: watch::Sender<bool>,
    openings: Vec<u32>,
}

/// What one listener heard, or all of them.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// From the first request to the open line, in microseconds.
    pub(super) openings: Vec<u32>,
    /// From sending to hearing, in microseconds, of each message when it came first.
    pub(super) latencies: Vec<u32>,
    pub(super) doubled: u64,
    /// Those that came after one that was sent later.
    pub(super) reordered: u64,
    /// How often a line broke, or ended for good.
    pub(super) interruptions: u64,
    /// A bit for each message.
    seen: Vec<u64>,
    /// The number of the next message, if all come in order.
    next: u64,
}

impl Listeners {
    /// Connects all of them, a few at a time, and returns when all lines are open.
    pub(super) async fn open(plan: &Arc<Plan>) -> Result<Self, Failure> {
        let room = Arc::new(Semaphore::new(TOGETHER));
        let (stop, stopped) = watch::channel(false);
        let (tell, mut opened) = mpsc::channel(1);
        let mut tasks = JoinSet::new();
        for conn_id in plan.conn_ids.iter().copied() {
            let (plan, room) = (Arc::clone(plan), Arc::clone(&room));
            let (stopped, tell) = (stopped.clone(), tell.clone());
            tasks.spawn(async move {
                let turn = room.acquire().await;
                let begun = Instant::now();
                let listener = match open(&plan, conn_id).await {
                    Ok(listener) => listener,
                    Err(failure) => {
                        let _ = tell.send(Err(failure)).await;
                        return Heard::default();
                    }
                };
                let opening = u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX);
                plan.progress.opened.fetch_add(1, Ordering::Relaxed);
                drop(turn);
                // If nobody wants to know, it is over.
                let _ = tell.send(Ok(opening)).await;
                drop(tell);
                hear(listener, &plan, stopped).await
            });
        }
        drop(tell);
        let mut openings = Vec::with_capacity(plan.conn_ids.len());
        while let Some(opening) = opened.recv().await {
            openings.push(opening?);
        }
        Ok(Self { tasks, stop, openings })
    }

    /// Ends them, and tells what they heard together.
    pub(super) async fn end(mut self) -> Result<Heard, Failure> {
        self.stop.send_replace(true);
        let mut all = Heard { openings: self.openings, ..Heard::default() };
        while let Some(heard) = self.tasks.join_next().await {
            let heard = heard.map_err(anyhow::Error::new)?;
            all.latencies.extend(heard.latencies);
            all.doubled += heard.doubled;
            all.reordered += heard.reordered;
            all.interruptions += heard.interruptions;
        }
        Ok(all)
    }
}

/// Makes a connection, and opens a websocket for it.
async fn open(plan: &Plan, conn_id: Uuid) -> Result<Listener, Failure> {
    let request = Connect {
        conn_id: Some(conn_id),
        // All members in each of so many answers would be what is measured.
        info: InfoOptions {
            include_history: false,
            include_users: false,
            ..InfoOptions::default()
        },
        ..Connect::new(USER).channels([&plan.channel])
    };
    let failed = |error| Failure::of_client(error, &plan.origin);
    plan.client.connect(&request).await.map_err(failed)?;
    let mut listener = plan.client.listen(conn_id).only_websocket().build().map_err(failed)?;
    loop {
        match listener.next().await {
            Some(Event::Opened { .. }) => return Ok(listener),
            Some(Event::Interrupted { error, .. }) => return Err(failed(error)),
            Some(Event::Ended(_)) | None => {
                return Err(anyhow::anyhow!("a connection ended before it was listened on").into());
            }
            Some(_) => {}
        }
    }
}

/// Counts what comes until it is told to stop.
async fn hear(mut listener: Listener, plan: &Plan, mut stopped: watch::Receiver<bool>) -> Heard {
    let mut heard = Heard::default();
    loop {
        let event = tokio::select! {
            event = listener.next() => event,
            _ = stopped.changed() => return heard,
        };
        match event {
            Some(Event::Frame(frame)) => {
                let now = plan.micros(Instant::now());
                let is_message = matches!(frame.content, Content::Message { .. });
                if let Some(Ok(said)) = is_message.then(|| frame.payload::<Said>())
                    && heard.take(&said, now)
                {
                    plan.progress.deliveries.fetch_add(1, Ordering::Relaxed);
                }
            }
            Some(Event::Interrupted { .. } | Event::Ended(_)) => heard.interruptions += 1,
            Some(_) => {}
            None => return heard,
        }
    }
}

impl Heard {
    /// Counts a message; whether it came for the first time.
    fn take(&mut self, said: &Said, now: u64) -> bool {
        let Ok(place) = usize::try_from(said.number / 64) else { return false };
        if place >= self.seen.len() {
            self.seen.resize(place + 1, 0);
        }
        let bit = 1 << (said.number % 64);
        if self.seen[place] & bit != 0 {
            self.doubled += 1;
            return false;
        }
        self.seen[place] |= bit;
        if said.number < self.next {
            self.reordered += 1;
        } else {
            self.next = said.number + 1;
        }
        self.latencies.push(u32::try_from(now.saturating_sub(said.sent)).unwrap_or(u32::MAX));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_counted_as_what_it_is() {
        let mut heard = Heard::default();
        // 1 is lost, 2 comes too late and again.
        let new = [0, 3, 2, 2, 200].map(|number| heard.take(&Said { number, sent: 7 }, 10));
        assert_eq!(new, [true, true, true, false, true]);
        assert_eq!((heard.doubled, heard.reordered), (1, 1));
        assert_eq!(heard.latencies, [3; 4]);
    }
}
