//! `publish --file`: very many messages, at a rate, with an exact account of what was taken.

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

/// Messages that are sent together at most: so much is in doubt when the server vanishes.
const MOST: u32 = 1000;
const PROGRESS: Duration = Duration::from_millis(200);

/// What became of the file.
#[derive(Debug, Default, Serialize)]
struct Account {
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
        _ => return Err(Failure::usage("with --file, the messages come from there")),
    };
    let reader = lines::Reading::new(channel, args);
    let (client, origin) = access::client(access)?;
    let mut interrupt = Interrupt::new()?;
    let mut source = lines::open(file, args.skip)?;

    let mut account = Account { lines: args.skip, ..Account::default() };
    let begun = Instant::now();
    let mut sending = Sending { client, origin, interrupt: &mut interrupt, account: &mut account };
    let mut pace = Pace::new(args.rate);
    let mut progress = Progress::new(args.output.quiet);
    let outcome = loop {
        let mut batch = Vec::new();
        tokio::select! {
            biased;
            () = sending.interrupt.heard() => break Err(interrupted()),
            count = source.lines.recv_many(&mut batch, pace.batch) => if count == 0 {
                break Ok(());
            },
        }
        tokio::select! {
            biased;
            () = sending.interrupt.heard() => break Err(interrupted()),
            () = sleep_until(pace.next) => {}
        }
        let before = sending.account.messages;
        if let Err(failure) = sending.send(&reader, batch).await {
            break Err(failure);
        }
        pace.sent(sending.account.messages - before);
        progress.show(sending.account, begun, source.share_read());
    };
    progress.clear();
    account.complete = outcome.is_ok();
    account.seconds = (begun.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
    report(&account, args);
    outcome
}

fn interrupted() -> Failure {
    anyhow::anyhow!("interrupted").into()
}

/// What sending needs, and what came of it.
struct Sending<'a> {
    client: Client,
    origin: Origin,
    interrupt: &'a mut Interrupt,
    account: &'a mut Account,
}

impl Sending<'_> {
    /// Sends lines up to the first that is faulty.
    async fn send(
        &mut self,
        reading: &lines::Reading<'_>,
        batch: Vec<Result<Line, Failure>>,
    ) -> Result<(), Failure> {
        let mut messages = Vec::with_capacity(batch.len());
        let mut numbers = Vec::with_capacity(batch.len());
        let mut last = self.account.lines;
        let mut fault = None;
        for line in batch {
            match line.and_then(|line| Ok((line.number, reading.message(&line)?))) {
                Ok((number, message)) => {
                    last = number;
                    numbers.extend(message.is_some().then_some(number));
                    messages.extend(message);
                }
                Err(failure) => {
                    fault = Some(failure);
                    break;
                }
            }
        }
        if !messages.is_empty() {
            self.request(messages, &numbers).await?;
        }
        self.account.lines = last;
        fault.map_or(Ok(()), Err)
    }

    /// Sends messages, which stand on lines of these numbers; a first interrupt waits for the end.
    async fn request(&mut self, messages: Vec<NewMessage>, numbers: &[u64]) -> Result<(), Failure> {
        let count = messages.len() as u64;
        let mut stop = false;
        let outcome = {
            let mut publishing = pin!(self.client.publish_all(messages));
            loop {
                tokio::select! {
                    outcome = &mut publishing => break outcome,
                    () = self.interrupt.heard() => {
                        if stop {
                            self.account.in_doubt = count;
                            return Err(interrupted());
                        }
                        stop = true;
                    }
                }
            }
        };
        match outcome {
            Ok(published) => self.take(&published),
            Err(error) => return Err(self.failed(&error, numbers)),
        }
        if !stop {
            return Ok(());
        }
        self.account.lines = numbers.last().copied().unwrap_or(self.account.lines);
        Err(interrupted())
    }

    fn failed(&mut self, error: &PublishError, numbers: &[u64]) -> Failure {
        let published = error.published();
        self.take(&published);
        let place = usize::try_from(published.messages + published.dropped).unwrap_or(usize::MAX);
        let rest = numbers.get(place..).unwrap_or_default();
        if let Some(last) = place.checked_sub(1).and_then(|place| numbers.get(place)) {
            self.account.lines = *last;
        }
        if error.is_in_doubt() {
            self.account.in_doubt = error.unpublished().len() as u64;
        }
        let faults = error.error().faults().into_iter().flat_map(|faults| faults.iter());
        let mut faulty = faults.filter_map(|(key, _)| rest.get(key.parse::<usize>().ok()?));
        Failure::of_publishing(error.error(), faulty.next().copied(), &self.origin)
    }

    fn take(&mut self, published: &Published) {
        self.account.messages += published.messages;
        self.account.dropped += published.dropped;
        self.account.nowhere += published.nowhere;
        self.account.requests += published.requests;
    }
}

/// How many messages are sent together, and when the next ones may be.
struct Pace {
    rate: Option<u32>,
    batch: usize,
    next: Instant,
}

impl Pace {
    /// At a rate, a tenth of a second's messages together.
    fn new(rate: Option<u32>) -> Self {
        let batch = rate.map_or(MOST, |rate| (rate / 10).clamp(1, MOST));
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

/// A line on a terminal that is written over again and again.
struct Progress {
    wanted: bool,
    shown: Option<Instant>,
}

impl Progress {
    fn new(quiet: bool) -> Self {
        Self { wanted: !quiet && stderr().is_terminal(), shown: None }
    }

    fn show(&mut self, account: &Account, begun: Instant, share: Option<f64>) {
        let now = Instant::now();
        if !self.wanted || self.shown.is_some_and(|shown| now - shown < PROGRESS) {
            return;
        }
        self.shown = Some(now);
        let bar = share.map_or_else(String::new, |share| {
            // Cells of a bar of twenty, of which the first `full` are done.
            let full = (1..=20).filter(|cell| f64::from(*cell) <= share * 20.0).count();
            format!("[{}{}] ", "#".repeat(full), "-".repeat(20 - full))
        });
        let seconds = now.duration_since(begun).as_secs().max(1);
        let (lines, rate) = (account.lines, account.messages / seconds);
        let _ = write!(stderr(), "\r\x1b[K{bar}{lines} lines, {rate} messages/s");
    }

    fn clear(&self) {
        if self.shown.is_some() {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

/// For people it goes to standard error, as JSON does when nobody reads the output any more.
fn report(account: &Account, args: &PublishArgs) {
    if args.output.json && output::json(&mut stdout(), account).is_ok() {
        return;
    }
    if args.output.quiet && account.complete {
        return;
    }
    let Account { lines, messages, dropped, nowhere, requests, in_doubt, seconds, .. } = account;
    let dropped = match dropped {
        0 => String::new(),
        dropped => format!(", {dropped} without an address"),
    };
    let nowhere = match nowhere {
        0 => String::new(),
        nowhere => format!(", {nowhere} to channels or users that do not exist"),
    };
    let [done, taken, requests] = [(lines, "line"), (messages, "message"), (requests, "request")]
        .map(|(number, word)| counted(*number, word));
    output::say(&format!("{done} done: {taken} in {requests}{dropped}{nowhere}, {seconds} s"));
    if *in_doubt > 0 {
        let (were, they) = if *in_doubt == 1 { ("was", "it") } else { ("were", "they") };
        output::say(&format!(
            "the next {} {were} perhaps taken; sent again, {they} may be heard twice",
            counted(*in_doubt, "message")
        ));
    }
    if !account.complete {
        output::say(&format!("to go on: --skip {lines}"));
    }
}
