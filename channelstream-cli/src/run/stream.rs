//! `stream`: a message that grows by what arrives on standard input; and `cancel`.

use std::io::{self, Read as _, Write as _, stdin, stdout};
use std::thread;

use channelstream_client::{
    Client, MessageStream, NewMessage, Piece, Status, StreamError, Taken, json,
};
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::parse::{address, payload};
use crate::access::{self, Origin};
use crate::args::{AccessArgs, CancelArgs, StreamArgs};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output;

/// The exit code if the message was canceled.
const CANCELLED: u8 = 3;

/// The size of a read. More is there at once only if the model is faster than the server.
const CHUNK: usize = 16 * 1024;

/// The number of chunks that may wait.
const WAITING: usize = 4;

pub(super) async fn stream(access: &AccessArgs, args: &StreamArgs) -> Result<(), Failure> {
    let mut interrupt = Interrupt::new()?;
    let (client, origin) = access::client(access)?;
    let failed = |error| failure(error, &origin);
    let mut message = begin(&client, args).await.map_err(|error| match error {
        Begin::Failed(failure) => failure,
        Begin::Stream(error) => failed(error),
    })?;
    opened(args, &message)?;
    let mut chunks = read_input();
    let mut text = Text::default();
    let outcome = loop {
        let chunk = tokio::select! {
            chunk = chunks.recv() => chunk,
            () = interrupt.received() => break Err("interrupted".to_owned()),
            error = message.ended() => return Err(failed(error)),
        };
        let read = match chunk {
            Some(Ok(chunk)) => Ok(text.take(&chunk)),
            Some(Err(error)) => Err(format!("standard input cannot be read: {error}")),
            None if text.is_whole() => break Ok(()),
            None => Err(NOT_UTF8.to_owned()),
        };
        match read {
            Ok(piece) if piece.is_empty() => {}
            Ok(piece) => tokio::select! {
                sent = message.send(&args.key, Piece::text(&piece)) => sent.map_err(failed)?,
                () = interrupt.received() => break Err("interrupted".to_owned()),
            },
            Err(what) => break Err(what),
        }
        if text.is_invalid {
            break Err(NOT_UTF8.to_owned());
        }
    };
    let given_up = outcome.is_err();
    let end = async { if given_up { message.fail().await } else { message.finish().await } };
    let taken = tokio::select! {
        taken = end => taken.map_err(failed)?,
        () = interrupt.received() => {
            return Err(anyhow::anyhow!("interrupted before everything was sent").into());
        }
    };
    ended(args, &taken)?;
    outcome.map_err(|what| {
        Failure::from(anyhow::Error::msg(what)).with_hint("the message is `failed`")
    })
}

/// Why no message was begun.
enum Begin {
    Failed(Failure),
    Stream(StreamError),
}

/// Opens the message, or goes on with the one that is there.
async fn begin(client: &Client, args: &StreamArgs) -> Result<MessageStream, Begin> {
    if let Some(uuid) = args.uuid {
        match client.resume(uuid, args.channel.clone()).await {
            Err(StreamError::Unknown) => {}
            outcome => return outcome.map_err(Begin::Stream),
        }
    }
    let text = payload(args.message.as_deref().unwrap_or("{}"), false).map_err(Begin::Failed)?;
    let message = NewMessage {
        payload: Some(text),
        no_history: args.no_history,
        uuid: args.uuid,
        ..NewMessage::new(&args.user, address(args.channel.as_deref(), &args.address))
    };
    let mut builder = client.stream(message).cancel_by(&args.cancel_by);
    if let Some(timeout) = args.append_timeout {
        builder = builder.append_timeout(timeout);
    }
    builder.await.map_err(Begin::Stream)
}

fn opened(args: &StreamArgs, message: &MessageStream) -> Result<(), Failure> {
    let uuid = message.uuid();
    if args.json {
        let (channel, rev, step) = (message.channel(), message.rev(), message.step());
        let line = json!({
            "event": "opened", "uuid": uuid, "channel": channel, "rev": rev, "step": step
        });
        output::json_line(&mut stdout(), &line)?;
    } else if !args.quiet {
        writeln!(stdout(), "{uuid}")?;
    }
    Ok(())
}

fn ended(args: &StreamArgs, taken: &Taken) -> Result<(), Failure> {
    if args.json {
        let Taken { uuid, status, rev, size, .. } = taken;
        let line = json!({
            "event": "ended", "uuid": uuid, "status": status, "rev": rev, "size": size
        });
        output::json_line(&mut stdout(), &line)?;
    }
    Ok(())
}

fn failure(error: StreamError, origin: &Origin) -> Failure {
    let is_cancelled = error.is_cancelled();
    let hint = match &error {
        StreamError::Unknown => Some("a server that is restarted forgets its messages"),
        StreamError::Nowhere(_) => Some("`channelstream channel NAME --create` creates a channel"),
        _ => None,
    };
    let mut failure = Failure::of_stream(error, origin);
    if let Some(hint) = hint {
        failure = failure.with_hint(hint);
    }
    if is_cancelled { failure.with_code(CANCELLED) } else { failure }
}

/// Reads standard input as it arrives, on a thread of its own, since a read cannot be given up.
fn read_input() -> Receiver<io::Result<Vec<u8>>> {
    let (sender, chunks) = mpsc::channel(WAITING);
    // The thread may be stuck in a read, and ends with the program.
    thread::spawn(move || forward(&sender));
    chunks
}

fn forward(sender: &Sender<io::Result<Vec<u8>>>) {
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = match stdin().read(&mut chunk) {
            Ok(0) => return,
            Ok(count) => Ok(chunk[..count].to_vec()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let is_end = read.is_err();
        if sender.blocking_send(read).is_err() || is_end {
            return;
        }
    }
}

const NOT_UTF8: &str = "standard input is not UTF-8";

/// Puts together characters that were split between reads.
#[derive(Default)]
struct Text {
    /// The beginning of a character.
    rest: Vec<u8>,
    /// Whether it is not that of a character.
    is_invalid: bool,
}

impl Text {
    /// Returns the whole characters that there are by now. What is no text stays.
    fn take(&mut self, chunk: &[u8]) -> String {
        self.rest.extend_from_slice(chunk);
        let Some(whole) = self.rest.utf8_chunks().next() else { return String::new() };
        let text = whole.valid().to_owned();
        self.is_invalid =
            str::from_utf8(&self.rest).is_err_and(|error| error.error_len().is_some());
        self.rest.drain(..text.len());
        text
    }

    fn is_whole(&self) -> bool {
        self.rest.is_empty()
    }
}

pub(super) async fn cancel(access: &AccessArgs, args: &CancelArgs) -> Result<(), Failure> {
    let (client, origin) = access::client(access)?;
    let taken = client.cancel(args.conn_id, args.id).await;
    let taken = taken.map_err(|error| {
        let is_forbidden = error.status().is_some_and(|status| status.as_u16() == 403);
        let failure = Failure::of_client(error, &origin);
        match is_forbidden {
            true => failure.with_hint(
                "the message is unknown, or its publisher does not let the user cancel it",
            ),
            false => failure,
        }
    })?;
    if args.output.json {
        output::json(&mut stdout(), &taken)?;
    } else if taken.taken && !args.output.quiet {
        writeln!(stdout(), "canceled {}", taken.uuid)?;
    }
    match taken.status {
        _ if taken.taken => Ok(()),
        Some(Status::Cancelled) => Err(anyhow::anyhow!("the message was canceled before").into()),
        _ => Err(anyhow::anyhow!("the message has ended already").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_are_split_between_reads_are_whole() {
        let all = "aäö€😀\u{0}z";
        for size in 1..=all.len() {
            let mut text = Text::default();
            let read: String = all.as_bytes().chunks(size).map(|chunk| text.take(chunk)).collect();
            assert_eq!((read.as_str(), text.is_whole()), (all, true));
        }
        let mut text = Text::default();
        assert_eq!(text.take(b"a\xf0\x9f"), "a");
        assert!(!text.is_whole() && !text.is_invalid);
        assert_eq!(text.take(b"b"), "");
        assert!(text.is_invalid);
        let mut text = Text::default();
        assert_eq!(
            (text.take(b"what is text\xff counts").as_str(), text.is_invalid),
            ("what is text", true)
        );
    }
}
