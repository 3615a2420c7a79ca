//! `publish --file`: many messages, at a rate, with an exact report of what was accepted.

use std::io::{IsTerminal as _, Write as _, stderr, stdout};
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use channelstream_client::{Client, NewMessage, PublishError, Published};
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use super::lines::{self, Line};
use crate::access::{self, Origin};
use crate::args::{AccessArgs, PublishArgs};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::{self, counted};

/// The largest number of messages in a request, and so of messages in doubt when the server vanishes.
const MAX_BATCH: u32 = 1000;
/// The time between updates of the progress line.
const PROGRESS: Duration = Duration::from_millis(200);

/// The result of sending a file.
#[derive(Debug, Default, Serialize)]
struct Report {
    complete: bool,
    lines: u64,
    messages: u64,
    dropped: u64,
    nowhere: u64,
    requests: u64,
    in_doubt: u64,
    seconds: f64,
}

pub(super) async fn publish(
    access: &AccessArgs,
    args: &PublishArgs,
    file: &Path,
) -> Result<(), Failure> {
    let channel = match &args.what[..] {
        [] => None,
        [channel] => Some(channel.as_str()),
        _ => return Err(Failure::usage("--file and a message exclude each other")),
    };
    let parser = lines::LineParser::new(channel, args);
    let (client, origin) = access::client(access)?;
    let mut interrupt = Interrupt::new()?;
    let mut source = lines::open(file, args.skip)?;

    let mut report = Report { lines: args.skip, ..Report::default() };
    let started = Instant::now();
    let mut sender = Sender { client, origin, interrupt: &mut interrupt, report: &mut report };
    let mut pace = Pace::new(args.rate);
    let mut progress = Progress::new(args.output.quiet);
    let outcome = loop {
        let mut batch = Vec::new();
        tokio::select! {
            biased;
            () = sender.interrupt.received() => break Err(interrupted()),
            count = source.lines.recv_many(&mut batch, pace.batch) => if count == 0 {
                break Ok(());
            },
        }
        tokio::select! {
            biased;
            () = sender.interrupt.received() => break Err(interrupted()),
            () = sleep_until(pace.next) => {}
        }
        let before = sender.report.messages;
        if let Err(failure) = sender.send(&parser, batch).await {
            break Err(failure);
        }
        pace.sent(sender.report.messages - before);
        progress.show(sender.report, started, source.fraction_read());
    };
    progress.clear();
    report.complete = outcome.is_ok();
    report.seconds = (started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
    report.print(args);
    outcome
}

fn interrupted() -> Failure {
    anyhow::anyhow!("interrupted").into()
}

impl Report {
    /// Prints the report: for people to standard error, which is also the fallback for JSON when
    /// standard output is closed.
    fn print(&self, args: &PublishArgs) {
        if args.output.json && output::json(&mut stdout(), self).is_ok() {
            return;
        }
        if args.output.quiet && self.complete {
            return;
        }
        let Self { lines, messages, dropped, nowhere, requests, in_doubt, seconds, .. } = self;
        let dropped = match dropped {
            0 => String::new(),
            dropped => format!(", {dropped} without an address"),
        };
        let nowhere = match nowhere {
            0 => String::new(),
            nowhere => format!(", {nowhere} to channels or users that do not exist"),
        };
        let [done, sent, requests] =
            [(lines, "line"), (messages, "message"), (requests, "request")]
                .map(|(number, word)| counted(*number, word));
        output::say(&format!("{done} done: {sent} in {requests}{dropped}{nowhere}, {seconds} s"));
        if *in_doubt > 0 {
            let they = if *in_doubt == 1 { "it" } else { "they" };
            output::say(&format!(
                "the next {} may have been accepted; if sent again, {they} may arrive twice",
                counted(*in_doubt, "message")
            ));
        }
        if !self.complete {
            output::say(&format!("to resume: --skip {lines}"));
        }
    }
}

/// Sends lines as messages and counts them in the report.
struct Sender<'a> {
    client: Client,
    origin: Origin,
    interrupt: &'a mut Interrupt,
    report: &'a mut Report,
}

impl Sender<'_> {
    /// Sends the lines before the first invalid one.
    async fn send(
        &mut self,
        parser: &lines::LineParser<'_>,
        batch: Vec<Result<Line, Failure>>,
    ) -> Result<(), Failure> {
        let mut messages = Vec::with_capacity(batch.len());
        let mut numbers = Vec::with_capacity(batch.len());
        let mut last = self.report.lines;
        let mut invalid = None;
        for line in batch {
            match line.and_then(|line| Ok((line.number, parser.message(&line)?))) {
                Ok((number, message)) => {
                    last = number;
                    numbers.extend(message.is_some().then_some(number));
                    messages.extend(message);
                }
                Err(failure) => {
                    invalid = Some(failure);
                    break;
                }
            }
        }
        if !messages.is_empty() {
            self.request(messages, &numbers).await?;
        }
        self.report.lines = last;
        invalid.map_or(Ok(()), Err)
    }

    /// Sends messages from the lines with these numbers. A first interrupt waits for the answer, a
    /// second one does not.
    async fn request(&mut self, messages: Vec<NewMessage>, numbers: &[u64]) -> Result<(), Failure> {
        let count = messages.len() as u64;
        let mut stop = false;
        let outcome = {
            let mut publishing = pin!(self.client.publish_all(messages));
            loop {
                tokio::select! {
                    outcome = &mut publishing => break outcome,
                    () = self.interrupt.received() => {
                        if stop {
                            self.report.in_doubt = count;
                            return Err(interrupted());
                        }
                        stop = true;
                    }
                }
            }
        };
        match outcome {
            Ok(published) => self.count(&published),
            Err(error) => return Err(self.failed(&error, numbers)),
        }
        if !stop {
            return Ok(());
        }
        self.report.lines = numbers.last().copied().unwrap_or(self.report.lines);
        Err(interrupted())
    }

    fn failed(&mut self, error: &PublishError, numbers: &[u64]) -> Failure {
        let published = error.published();
        self.count(&published);
        let place = usize::try_from(published.messages + published.dropped).unwrap_or(usize::MAX);
        let rest = numbers.get(place..).unwrap_or_default();
        if let Some(last) = place.checked_sub(1).and_then(|place| numbers.get(place)) {
            self.report.lines = *last;
        }
        if error.is_in_doubt() {
            self.report.in_doubt = error.unpublished().len() as u64;
        }
        let invalid = error.error().field_errors().into_iter().flat_map(|errors| errors.iter());
        let mut lines = invalid.filter_map(|(key, _)| rest.get(key.parse::<usize>().ok()?));
        Failure::of_publishing(error.error(), lines.next().copied(), &self.origin)
    }

    fn count(&mut self, published: &Published) {
        self.report.messages += published.messages;
        self.report.dropped += published.dropped;
        self.report.nowhere += published.nowhere;
        self.report.requests += published.requests;
    }
}

/// The size of a request, and the earliest time of the next one.
struct Pace {
    rate: Option<u32>,
    batch: usize,
    next: Instant,
}

impl Pace {
    /// Creates the pace; at a rate, each request has the messages of a tenth of a second.
    fn new(rate: Option<u32>) -> Self {
        let batch = rate.map_or(MAX_BATCH, |rate| (rate / 10).clamp(1, MAX_BATCH));
        Self { rate, batch: batch as usize, next: Instant::now() }
    }

    fn sent(&mut self, messages: u64) {
        if let Some(rate) = self.rate {
            let messages = u32::try_from(messages).unwrap_or(u32::MAX);
            let share = f64::from(messages) / f64::from(rate);
            self.next = self.next.max(Instant::now()) + Duration::from_secs_f64(share);
        }
    }
}

/// A progress line that overwrites itself on a terminal.
struct Progress {
    wanted: bool,
    shown: Option<Instant>,
}

impl Progress {
    fn new(quiet: bool) -> Self {
        Self { wanted: !quiet && stderr().is_terminal(), shown: None }
    }

    fn show(&mut self, report: &Report, started: Instant, fraction: Option<f64>) {
        let now = Instant::now();
        if !self.wanted || self.shown.is_some_and(|shown| now - shown < PROGRESS) {
            return;
        }
        self.shown = Some(now);
        let bar = fraction.map_or_else(String::new, |fraction| {
            // A bar of twenty cells.
            let full = (1..=20).filter(|cell| f64::from(*cell) <= fraction * 20.0).count();
            format!("[{}{}] ", "#".repeat(full), "-".repeat(20 - full))
        });
        let seconds = now.duration_since(started).as_secs().max(1);
        let (lines, rate) = (report.lines, report.messages / seconds);
        let _ = write!(stderr(), "\r\x1b[K{bar}{lines} lines, {rate} messages/s");
    }

    fn clear(&self) {
        if self.shown.is_some() {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}
