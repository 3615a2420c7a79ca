//! Messages from a file, one a line: read on a thread of its own, a bounded number ahead.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _, stdin};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use channelstream_client::{Address, DateTime, NewMessage, Payload, Uuid};
use channelstream_signer::file::{self, FileError};
use serde::Deserialize;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::reading::{address, payload};
use crate::args::PublishArgs;
use crate::failure::Failure;
use crate::output::counted;

/// Longer lines would be refused by the server anyway.
const LONGEST: u64 = 1024 * 1024;
/// How many lines are read ahead.
const AHEAD: usize = 1000;

/// A line of the file, counted from 1, without its end.
pub(super) struct Line {
    pub(super) number: u64,
    text: String,
}

/// The lines as they come.
pub(super) struct Source {
    pub(super) lines: Receiver<Result<Line, Failure>>,
    read: Arc<AtomicU64>,
    size: Option<u32>,
}

impl Source {
    /// How much of the file has been read, from 0 to 1, if its size is known.
    pub(super) fn share_read(&self) -> Option<f64> {
        // In KiB, which fit for files of 4 TiB.
        let read = u32::try_from(self.read.load(Ordering::Relaxed) / 1024).ok()?;
        self.size.map(|size| f64::from(read) / f64::from(size.max(1)))
    }
}

/// Begins to read the file, or standard input for `-`, behind its first `skip` lines.
pub(super) fn open(path: &Path, skip: u64) -> Result<Source, Failure> {
    let (sender, lines) = channel(AHEAD);
    let read = Arc::new(AtomicU64::new(0));
    let progress = Arc::clone(&read);
    if path == Path::new("-") {
        thread::spawn(move || pass_on(BufReader::new(stdin()), skip, &sender, &progress));
        return Ok(Source { lines, read, size: None });
    }
    let cannot = |error| {
        let text = format!("cannot read messages from {}", path.display());
        Failure::from(anyhow::Error::new(error).context(text))
    };
    let file = File::open(path).map_err(cannot)?;
    let data = file.metadata().map_err(cannot)?;
    let size = if data.is_file() { u32::try_from(data.len() / 1024).ok() } else { None };
    thread::spawn(move || pass_on(BufReader::new(file), skip, &sender, &progress));
    Ok(Source { lines, read, size })
}

/// Ends with the file, a fault, or when nobody takes the lines any more.
fn pass_on(
    mut reader: impl BufRead,
    skip: u64,
    sender: &Sender<Result<Line, Failure>>,
    progress: &AtomicU64,
) {
    let mut number = 0;
    loop {
        let line = match next(&mut reader, number + 1) {
            Ok(Some(line)) => line,
            Ok(None) if number < skip => {
                let text = format!(
                    "there are only {}, and --skip passes over {skip}",
                    counted(number, "line")
                );
                let _ = sender.blocking_send(Err(anyhow::Error::msg(text).into()));
                return;
            }
            Ok(None) => return,
            Err(failure) => {
                let _ = sender.blocking_send(Err(failure));
                return;
            }
        };
        number += 1;
        progress.fetch_add(line.text.len() as u64 + 1, Ordering::Relaxed);
        if number > skip && sender.blocking_send(Ok(line)).is_err() {
            return;
        }
    }
}

fn next(reader: &mut impl BufRead, number: u64) -> Result<Option<Line>, Failure> {
    let failed = |text: String| Failure::from(anyhow::anyhow!("line {number}: {text}"));
    let mut bytes = Vec::new();
    // One byte more, for the end of a line that is just not too long.
    let read = reader.take(LONGEST + 1).read_until(b'\n', &mut bytes);
    let read = read.map_err(|error| failed(format!("cannot be read: {error}")))?;
    if read == 0 {
        return Ok(None);
    }
    bytes.pop_if(|last| *last == b'\n');
    if bytes.len() as u64 > LONGEST {
        return Err(failed(format!("it is longer than {LONGEST} bytes")));
    }
    // Of the first line the byte order mark of the file is left out, or told of if it is another's.
    let text = if number == 1 {
        file::text(bytes).map_err(|error| match error {
            FileError::Encoding(_) => failed(error.to_string()),
            _ => failed("it is not UTF-8".to_owned()),
        })?
    } else {
        String::from_utf8(bytes).map_err(|_| failed("it is not UTF-8".to_owned()))?
    };
    Ok(Some(Line { number, text }))
}

/// A message as the server takes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    user: Option<String>,
    message: Option<Payload>,
    channel: Option<String>,
    #[serde(default)]
    pm_users: Vec<String>,
    #[serde(default)]
    exclude_users: Vec<String>,
    #[serde(default)]
    no_history: bool,
    uuid: Option<Uuid>,
    timestamp: Option<DateTime>,
}

/// How lines become messages.
pub(super) struct Reading<'a> {
    user: &'a str,
    no_history: bool,
    /// Where all of them go, unless they say it themselves.
    address: Option<Address>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(channel: Option<&str>, args: &'a PublishArgs) -> Self {
        let address = address(channel, &args.address);
        let address = (!address.is_nowhere()).then_some(address);
        Self { user: &args.user, no_history: args.no_history, address }
    }

    /// The message on a line; nothing on an empty one.
    pub(super) fn message(&self, line: &Line) -> Result<Option<NewMessage>, Failure> {
        let text = line.text.trim();
        let number = line.number;
        if text.is_empty() {
            return Ok(None);
        }
        let fault = |fault: String| Failure::from(anyhow::anyhow!("line {number}: {fault}"));
        if !text.starts_with('{') {
            return Err(fault("it is no JSON object".to_owned()));
        }
        if let Some(address) = &self.address {
            let message =
                payload(text, false).map_err(|_| fault("it is no JSON object".to_owned()))?;
            return Ok(Some(NewMessage {
                message: Some(message),
                no_history: self.no_history,
                ..NewMessage::new(self.user, address.clone())
            }));
        }
        let whole: Whole = serde_json::from_str(text)
            .map_err(|error| fault(format!("it is no message: {error}")))?;
        let Whole { channel, pm_users, exclude_users, .. } = whole;
        let address = Address { channel, pm_users, exclude_users };
        let user = whole.user.unwrap_or_else(|| self.user.to_owned());
        Ok(Some(NewMessage {
            message: whole.message,
            no_history: whole.no_history || self.no_history,
            uuid: whole.uuid,
            timestamp: whole.timestamp,
            ..NewMessage::new(user, address)
        }))
    }
}
