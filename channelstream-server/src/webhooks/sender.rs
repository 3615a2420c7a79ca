//! Sends webhooks: takes what happened into the queue, and makes the requests.

use std::error::Error;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use channelstream_core::protocol::Timestamp;
use channelstream_signer::webhook::WebhookSigner;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use tokio::sync::mpsc;

use super::attempts::Attempt;
use super::event::Webhook;
use super::queue::{Attempted, IN_FLIGHT, Next, Queue};
use super::store::Store;
use super::{Told, Webhooks, signer};
use crate::clock;
use crate::config::{Config, WebhookUrl};

/// How many outcomes are taken at once.
const BATCH: usize = 256;

/// The most bytes of an answer that are read, so that its TCP connection can be used again.
const ANSWER: u64 = 16 * 1024;

/// The end that sends. It has to be run.
pub(crate) struct Sender {
    webhooks: Webhooks,
    told: mpsc::Receiver<Told>,
    queue: Queue,
    /// Where what waits is kept, if the journal is in files.
    store: Option<Store>,
    /// Where webhooks go now, if anywhere.
    receiver: Option<Arc<Receiver>>,
    /// Whether the receiver has said that it is gone.
    is_gone: bool,
}

/// The receiver of webhooks.
struct Receiver {
    client: Client,
    url: WebhookUrl,
    signer: WebhookSigner,
}

/// How an attempt ended.
struct Ended {
    /// To whom it went.
    receiver: Arc<Receiver>,
    webhook: Arc<Webhook>,
    number: u32,
    began: Instant,
    time: Timestamp,
    /// The status and the pause that the receiver asked for.
    answer: Result<(StatusCode, Option<Duration>), Unanswered>,
}

/// Why there is no answer.
struct Unanswered {
    /// One of few words.
    why: &'static str,
    /// What the system says.
    cause: String,
}

impl Sender {
    /// Creates the end that sends, with what waited at the end of the last run.
    pub(super) fn new(
        webhooks: Webhooks,
        told: mpsc::Receiver<Told>,
        kept: Option<(Store, Vec<Webhook>)>,
    ) -> Self {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let store = kept.map(|(store, waiting)| {
            webhooks.0.figures.waiting.store(waiting.len(), Ordering::Relaxed);
            waiting.into_iter().for_each(|webhook| queue.push(Arc::new(webhook), now));
            store
        });
        Self { webhooks, told, queue, store, receiver: None, is_gone: false }
    }

    /// Sends webhooks until the server ends.
    pub(crate) async fn run(mut self) {
        let webhooks = self.webhooks.clone();
        self.set_receiver();
        let mut batch = Vec::with_capacity(BATCH);
        let mut flying: FuturesUnordered<BoxFuture<'static, Ended>> = FuturesUnordered::new();
        loop {
            let wait_until = self.start(&mut flying);
            self.tell();
            tokio::select! {
                // This end has the other one, too, so that it never ends.
                _ = self.told.recv_many(&mut batch, BATCH) => self.take(&mut batch),
                Some(ended) = flying.next(), if !flying.is_empty() => {
                    if self.ended(&ended) {
                        // What is left of the requests is broken off.
                        flying.clear();
                    }
                }
                () = wait(wait_until) => {}
                () = webhooks.0.changed.notified() => {
                    self.set_receiver();
                    self.queue.hurry(Instant::now());
                }
            }
        }
    }

    /// Starts all attempts that are due. Returns when the next one is.
    fn start(
        &mut self,
        flying: &mut FuturesUnordered<BoxFuture<'static, Ended>>,
    ) -> Option<Instant> {
        let receiver = self.receiver.clone()?;
        loop {
            match self.queue.next(Instant::now()) {
                Next::Send(webhook, number) => {
                    flying.push(Box::pin(Arc::clone(&receiver).attempt(webhook, number)));
                }
                Next::Wait(until) => return until,
            }
        }
    }

    fn take(&mut self, batch: &mut Vec<Told>) {
        let (now, mut all) = (Instant::now(), Vec::new());
        for Told { notices, time } in batch.drain(..) {
            if self.is_gone {
                self.count_gone(notices.len());
                continue;
            }
            for notice in notices {
                let webhook = Arc::new(Webhook::new(&notice, time));
                self.queue.push(Arc::clone(&webhook), now);
                all.push(webhook);
            }
        }
        if let Some(store) = self.store.as_mut().filter(|_| !all.is_empty()) {
            store.queued(&all, || self.queue.all());
        }
    }

    /// Notes how an attempt ended. Returns `true` if nothing more is sent.
    fn ended(&mut self, ended: &Ended) -> bool {
        let figures = &self.webhooks.0.figures;
        let is_taken = matches!(&ended.answer, Ok((status, _)) if status.is_success());
        let count = if is_taken { &figures.succeeded } else { &figures.failed };
        count.fetch_add(1, Ordering::Relaxed);
        let attempt = ended.attempt();
        self.webhooks.0.attempts.lock().unwrap_or_else(PoisonError::into_inner).push(attempt);
        // One that has been replaced meanwhile says nothing about the next.
        let is_current =
            self.receiver.as_ref().is_some_and(|now| Arc::ptr_eq(now, &ended.receiver));
        if is_current && matches!(&ended.answer, Ok((StatusCode::GONE, _))) {
            self.end();
            return true;
        }
        let was_failing = figures.failing.swap(!is_taken, Ordering::Relaxed);
        if was_failing && is_taken {
            tracing::info!("the receiver of webhooks takes them again");
        } else if !was_failing && !is_taken {
            ended.warn(self.queue.len());
        }
        let attempted = match &ended.answer {
            Ok((status, _)) if status.is_success() => Attempted::Taken,
            Ok((_, asked)) => Attempted::Failed(*asked),
            Err(_) => Attempted::Failed(None),
        };
        let lane = &ended.webhook.lane;
        let over = self.queue.done(lane, attempted, Instant::now(), clock::salt());
        let count = if is_taken { &figures.delivered } else { &figures.given_up };
        count.fetch_add(over.len() as u64, Ordering::Relaxed);
        figures.waiting.fetch_sub(over.len(), Ordering::Relaxed);
        if let Some(store) = self.store.as_mut().filter(|_| !over.is_empty()) {
            store.over(&over, || self.queue.all());
        }
        if !is_taken && !over.is_empty() {
            tracing::error!(
                count = over.len(),
                subject = &*ended.webhook.subject,
                "webhooks given up: the receiver did not take them for a day"
            );
        }
        false
    }

    /// Ends sending: the receiver says that it is gone for good.
    fn end(&mut self) {
        self.receiver = None;
        self.is_gone = true;
        self.webhooks.0.wanted.store(false, Ordering::Relaxed);
        let count = self.queue.clear();
        if let Some(store) = &mut self.store {
            store.clear();
        }
        self.count_gone(count);
        tracing::error!(
            dropped = count,
            "the receiver of webhooks answered 410 Gone: no more are sent until the settings are \
             reloaded or the server is started again"
        );
    }

    fn count_gone(&self, count: usize) {
        let figures = &self.webhooks.0.figures;
        figures.waiting.fetch_sub(count, Ordering::Relaxed);
        figures.gone.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Takes the receiver from the settings.
    fn set_receiver(&mut self) {
        let settings = self.webhooks.0.settings.load_full();
        self.receiver = Receiver::new(&settings).map(Arc::new);
        self.is_gone = false;
    }

    /// Tells how long the oldest webhook has been waiting.
    fn tell(&self) {
        let mut oldest =
            self.webhooks.0.figures.oldest.lock().unwrap_or_else(PoisonError::into_inner);
        *oldest = self.queue.oldest();
    }
}

impl Receiver {
    fn new(config: &Config) -> Option<Self> {
        let url = config.webhook_url.clone()?;
        let Some(signer) = signer(&config.webhook_secrets) else {
            tracing::error!("webhooks cannot be sent: webhook_url has no webhook_secret");
            return None;
        };
        // A proxy of the environment is for programs that look into the web.
        let client = Client::builder()
            .user_agent(concat!("channelstream/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .no_proxy()
            .timeout(config.webhook_timeout)
            .pool_max_idle_per_host(IN_FLIGHT)
            .build();
        match client {
            Ok(client) => Some(Self { client, url, signer }),
            Err(error) => {
                let error = causes(&error);
                tracing::error!(error, "webhooks cannot be sent: no TLS on this machine");
                None
            }
        }
    }

    async fn attempt(self: Arc<Self>, webhook: Arc<Webhook>, number: u32) -> Ended {
        let (began, time) = (Instant::now(), clock::now());
        let answer = self.request(&webhook).await;
        Ended { receiver: self, webhook, number, began, time, answer }
    }

    async fn request(
        &self,
        webhook: &Webhook,
    ) -> Result<(StatusCode, Option<Duration>), Unanswered> {
        let timestamp = clock::unix_seconds();
        let signature = self.signer.sign(&webhook.id, timestamp, webhook.body.as_bytes());
        let request = self
            .client
            .post(self.url.url().clone())
            .header("content-type", "application/json")
            .header("webhook-id", &webhook.id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(webhook.body.clone());
        let answer = request.send().await.map_err(|error| Unanswered::new(&error))?;
        let status = answer.status();
        let asked = match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => retry_after(&answer),
            _ => None,
        };
        read_on(answer).await;
        Ok((status, asked))
    }
}

/// Reads the rest of a small answer. Of others, the TCP connection is closed.
async fn read_on(mut answer: Response) {
    if answer.content_length().is_some_and(|length| length <= ANSWER) {
        // It is answered, whatever becomes of the body.
        while let Ok(Some(_)) = answer.chunk().await {}
    }
}

/// Returns the seconds of `Retry-After`. A date in it is passed over: it would depend on two clocks.
fn retry_after(answer: &Response) -> Option<Duration> {
    let seconds = answer.headers().get("retry-after")?.as_bytes();
    let seconds = std::str::from_utf8(seconds).ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

impl Unanswered {
    fn new(error: &reqwest::Error) -> Self {
        let why = if error.is_timeout() {
            "timeout"
        } else if error.is_connect() {
            "not connected"
        } else {
            "broken off"
        };
        Self { why, cause: causes(error) }
    }
}

impl Ended {
    fn attempt(&self) -> Attempt {
        let answer = self.answer.as_ref();
        Attempt {
            time: self.time,
            id: self.webhook.id.clone(),
            event: self.webhook.event.clone(),
            subject: Arc::clone(&self.webhook.subject),
            number: self.number,
            took: self.began.elapsed(),
            answer: answer.map(|(status, _)| status.as_u16()).map_err(|error| error.why),
        }
    }

    /// Says once that the receiver fails.
    fn warn(&self, waiting: usize) {
        let id = &*self.webhook.id;
        match &self.answer {
            Ok((status, _)) => tracing::warn!(
                status = status.as_u16(),
                attempt = self.number,
                id,
                waiting,
                "the receiver of webhooks refuses them; they are sent again"
            ),
            Err(Unanswered { why, cause }) => tracing::warn!(
                why,
                cause,
                id,
                waiting,
                "the receiver of webhooks does not answer; they are sent again"
            ),
        }
    }
}

/// Returns what is behind an error, without the URL, which may have a secret in it.
fn causes(error: &reqwest::Error) -> String {
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    causes.join(": ")
}

/// Waits until then, or forever.
async fn wait(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until.into()).await,
        None => std::future::pending().await,
    }
}
