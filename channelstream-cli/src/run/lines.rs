//! Messages from a file, one per line, read ahead on a thread of its own.

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

use super::parse::{address, payload, whole_seconds};
use crate::args::PublishArgs;
use crate::failure::Failure;
use crate::output::counted;

/// The maximum length of a line in bytes. The server refuses longer messages anyway.
const MAX_LINE: u64 = 1024 * 1024;
/// The number of lines that are read ahead.
const READ_AHEAD: usize = 1000;

/// A line of the file without its terminator, numbered from 1.
pub(super) struct Line {
    pub(super) number: u64,
    text: String,
}

/// The lines of a file as they are read.
pub(super) struct Source {
    pub(super) lines: Receiver<Result<Line, Failure>>,
    read: Arc<AtomicU64>,
    size: Option<u32>,
}

impl Source {
    /// Returns the fraction of the file that was read, from 0 to 1, if its size is known.
    pub(super) fn fraction_read(&self) -> Option<f64> {
        // In KiB, so that `u32` covers files of 4 TiB.
        let read = u32::try_from(self.read.load(Ordering::Relaxed) / 1024).ok()?;
        self.size.map(|size| f64::from(read) / f64::from(size.max(1)))
    }
}

/// Starts to read the file, or standard input for `-`, after its first `skip` lines.
pub(super) fn open(path: &Path, skip: u64) -> Result<Source, Failure> {
    let (sender, lines) = channel(READ_AHEAD);
    let read = Arc::new(AtomicU64::new(0));
    let progress = Arc::clone(&read);
    if path == Path::new("-") {
        thread::spawn(move || forward(BufReader::new(stdin()), skip, &sender, &progress));
        return Ok(Source { lines, read, size: None });
    }
    let cannot = |error| {
        let text = format!("cannot read messages from {}", path.display());
        Failure::from(anyhow::Error::new(error).context(text))
    };
    let file = File::open(path).map_err(cannot)?;
    let data = file.metadata().map_err(cannot)?;
    let size = if data.is_file() { u32::try_from(data.len() / 1024).ok() } else { None };
    thread::spawn(move || forward(BufReader::new(file), skip, &sender, &progress));
    Ok(Source { lines, read, size })
}

/// Sends the lines until the file ends, an error occurs, or the receiver is dropped.
fn forward(
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
                let text =
                    format!("there are only {}, but --skip is {skip}", counted(number, "line"));
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
    // One byte more, for the terminator of a line of the maximum length.
    let read = reader.take(MAX_LINE + 1).read_until(b'\n', &mut bytes);
    let read = read.map_err(|error| failed(format!("cannot be read: {error}")))?;
    if read == 0 {
        return Ok(None);
    }
    bytes.pop_if(|last| *last == b'\n');
    if bytes.len() as u64 > MAX_LINE {
        return Err(failed(format!("longer than {MAX_LINE} bytes")));
    }
    // A byte order mark before the first line is skipped if it is that of UTF-8, else reported.
    let text = if number == 1 {
        file::text(bytes).map_err(|error| match error {
            FileError::Encoding(_) => failed(error.to_string()),
            _ => failed("not UTF-8".to_owned()),
        })?
    } else {
        String::from_utf8(bytes).map_err(|_| failed("not UTF-8".to_owned()))?
    };
    Ok(Some(Line { number, text }))
}

/// A complete message on a line.
///
/// `NewMessage` cannot be parsed instead: it ignores unknown fields, so that a misspelled `channel`
/// would be dropped in silence, and it requires `user`, which defaults to `--user` here.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Complete {
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
    expires: Option<u64>,
}

/// Parses lines as messages.
pub(super) struct LineParser<'a> {
    user: &'a str,
    no_history: bool,
    expires: Option<u64>,
    /// The address of all messages; without one, each line has its own.
    address: Option<Address>,
}

impl<'a> LineParser<'a> {
    pub(super) fn new(channel: Option<&str>, args: &'a PublishArgs) -> Self {
        let address = address(channel, &args.address);
        let address = (!address.is_nowhere()).then_some(address);
        let expires = args.expires.map(whole_seconds);
        Self { user: &args.user, no_history: args.no_history, expires, address }
    }

    /// Parses the message on a line; an empty line has none.
    pub(super) fn message(&self, line: &Line) -> Result<Option<NewMessage>, Failure> {
        let text = line.text.trim();
        let number = line.number;
        if text.is_empty() {
            return Ok(None);
        }
        let invalid = |what: String| Failure::from(anyhow::anyhow!("line {number}: {what}"));
        if !text.starts_with('{') {
            return Err(invalid("not a JSON object".to_owned()));
        }
        if let Some(address) = &self.address {
            let message =
                payload(text, false).map_err(|_| invalid("not a JSON object".to_owned()))?;
            return Ok(Some(NewMessage {
                payload: Some(message),
                no_history: self.no_history,
                expires: self.expires,
                ..NewMessage::new(self.user, address.clone())
            }));
        }
        let complete: Complete = serde_json::from_str(text)
            .map_err(|error| invalid(format!("not a message: {error}")))?;
        let Complete { user, message, channel, pm_users, exclude_users, .. } = complete;
        Ok(Some(NewMessage {
            user: user.unwrap_or_else(|| self.user.to_owned()),
            payload: message,
            address: Address { channel, pm_users, exclude_users },
            no_history: complete.no_history || self.no_history,
            uuid: complete.uuid,
            timestamp: complete.timestamp,
            opening: None,
            expires: complete.expires.or(self.expires),
        }))
    }
}
