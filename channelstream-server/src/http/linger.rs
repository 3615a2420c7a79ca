//! The byte stream below hyper, which adds what hyper leaves out.
//!
//! * hyper answers a malformed head with a bare status. Such a refusal gets a JSON body and the
//!   common headers here.
//! * The system resets a TCP connection that is closed while the peer still sends, and the peer may
//!   lose the answer. So the connection is read to its end before it is closed.
//! * An answer that the peer does not read would wait forever. Its TCP connection is reset.
//! * hyper does not notice that the peer is gone while a request is served; if it looked, a client
//!   that closes its side behind the last request would lose the answer. A poll or an event stream
//!   ends when its peer is gone, so this stream looks.

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep};

use crate::http::begin::Begun;
use crate::http::connection::Shared;
use crate::http::connection_limit::ConnectionGuard;
use crate::http::settings_frames::SettingsFrames;
use crate::http::stall::Stall;
use crate::limits::Limit;
use crate::socket::Socket;

/// A lingering connection is closed when the peer has sent nothing for this long.
const QUIET: Duration = Duration::from_millis(500);

/// A connection lingers no longer than this.
const LONGEST: Duration = Duration::from_secs(3);

/// Reads in a row by a lingering connection, or by one of HTTP/2, before other connections get a turn. h2
/// reads on for as long as there is something: thousands of small frames.
const READS: usize = 4;

/// The longest `answer_timeout` during the drain, which must not wait for a peer that does not read.
pub(super) const DRAINING: Duration = Duration::from_secs(1);

/// A whole answer after which the connection is closed. `status` is code and reason, `headers` are
/// further header lines.
pub(crate) fn refusal(status: &str, message: &str, headers: &str) -> String {
    let title = status.split_once(' ').map_or(status, |(_, reason)| reason);
    // As in the 503 of a handler that has done nothing.
    let outcome = if status.starts_with("503") { r#","outcome":"not_done""# } else { "" };
    let body = format!(r#"{{"message":"{message}","code":"{status}","title":"{title}"{outcome}}}"#);
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         x-content-type-options: nosniff\r\ncache-control: no-store\r\n{headers}\
         connection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Returns status and message of `written`, if that is a refusal of hyper's own: an error status without a
/// body. The server's own answers always have one.
fn bare_refusal(written: &[u8]) -> Option<(String, &'static str)> {
    let rest = written.strip_prefix(b"HTTP/1.1 4")?;
    let head = str::from_utf8(rest.strip_suffix(b"\r\n\r\n")?).ok()?;
    let mut lines = head.split("\r\n");
    let status = format!("4{}", lines.next()?);
    let (mut is_empty, mut is_last) = (false, false);
    for line in lines {
        match line.split_once(": ")? {
            ("content-length", length) => is_empty = length == "0",
            ("connection", connection) => is_last = connection == "close",
            ("date", _) => {}
            _ => return None,
        }
    }
    let message = match status.get(..3)? {
        "414" => "the request target is too long",
        "431" => "the request head is too large (max_head_size)",
        _ => "malformed request head",
    };
    (is_empty && is_last).then_some((status, message))
}

/// The stream of a connection below hyper.
pub(crate) struct LingerIo {
    inner: TokioIo<Socket>,
    shared: Arc<Shared>,
    tcp: Arc<ConnectionGuard>,
    drain: watch::Receiver<bool>,
    /// What was read before hyper began.
    first: Bytes,
    /// What counts the SETTINGS frames of HTTP/2; `None` for HTTP/1.1.
    settings_frames: Option<SettingsFrames>,
    /// Reads of HTTP/2 since the connection got its turn.
    reads: usize,
    /// What replaces a refusal of hyper's own, and how many bytes of it are written.
    replacement: Option<(String, usize)>,
    stall: Stall,
    /// Whether the system gives up a peer that takes nothing of a stream.
    is_bounded: bool,
    lingering: Option<Lingering>,
}

/// A connection that is read to its end before it is closed.
#[derive(Debug)]
struct Lingering {
    quiet: Pin<Box<Sleep>>,
    latest: Instant,
}

impl LingerIo {
    pub(super) fn new(
        begun: Begun,
        shared: Arc<Shared>,
        tcp: Arc<ConnectionGuard>,
        drain: watch::Receiver<bool>,
    ) -> Self {
        let Begun { socket, first, is_http2 } = begun;
        let (inner, stall) = (TokioIo::new(socket), Stall::default());
        Self {
            inner,
            shared,
            tcp,
            drain,
            first,
            settings_frames: is_http2.then(SettingsFrames::default),
            reads: 0,
            replacement: None,
            stall,
            is_bounded: false,
            lingering: None,
        }
    }

    pub(crate) fn into_inner(self) -> Socket {
        self.inner.into_inner()
    }

    /// Writes a replacement for `length` bytes, which count as written when all of it is.
    fn poll_replacement(
        &mut self,
        cx: &mut Context<'_>,
        text: String,
        mut out: usize,
        length: usize,
    ) -> Poll<io::Result<usize>> {
        while out < text.len() {
            match Pin::new(&mut self.inner).poll_write(cx, &text.as_bytes()[out..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => out += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.replacement = Some((text, out));
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(length))
    }

    /// Returns what replaces `written`, and how many bytes of it are written.
    fn take_replacement(&mut self, written: &[u8]) -> Option<(String, usize)> {
        if self.settings_frames.is_some() {
            return None;
        }
        self.replacement.take().or_else(|| {
            let (status, message) = bare_refusal(written)?;
            let settings = self.shared.settings();
            Some((refusal(&status, message, settings.common_headers.refusal_lines()), 0))
        })
    }

    /// Returns the outcome of a write, or an error if the peer has not read for too long.
    fn in_time<T: Taken>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if matches!(outcome, Poll::Ready(Ok(_))) && !self.stall.is_running() {
            return outcome;
        }
        let streams = self.tcp.streams();
        let settings = self.shared.settings();
        let most = if streams { settings.stream_timeout } else { settings.answer_timeout };
        match &outcome {
            Poll::Ready(Ok(taken)) => taken.note(&mut self.stall, most),
            Poll::Ready(Err(error)) => self.note(error),
            Poll::Pending => {
                let most = if *self.drain.borrow() { most.min(DRAINING) } else { most };
                if self.stall.poll_over(cx, most).is_ready() {
                    if streams {
                        self.tcp.set_stalled();
                    } else {
                        self.shared.limits.refused(Limit::AnswerTime, self.tcp.peer);
                    }
                    self.inner.inner().reset_on_close();
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
        }
        outcome
    }

    /// Counts the SETTINGS frames in what HTTP/2 has read.
    fn count_settings(&mut self, read: &[u8]) -> io::Result<()> {
        let Some(frames) = &mut self.settings_frames else { return Ok(()) };
        frames.take(read).map_err(io::Error::other)
    }

    /// Reads as HTTP/2 does: so much in a turn, and no flood of settings.
    fn poll_read_frames(
        &mut self,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        /// Bytes of a read. They are copied, since the cursor does not show what it was filled with.
        const READ: usize = 8 * 1024;
        if self.reads >= READS {
            self.reads = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut space = [0; READ];
        let most = buf.remaining().min(READ);
        let mut read = ReadBuf::new(&mut space[..most]);
        let outcome = Pin::new(&mut self.inner).poll_read(cx, read.unfilled());
        self.reads = if outcome.is_pending() { 0 } else { self.reads + 1 };
        if let Poll::Ready(Ok(())) = outcome {
            self.count_settings(read.filled())?;
            buf.put_slice(read.filled());
        }
        self.unless_drained(outcome)
    }

    /// Ends the reading of a connection that is drained and waits for a head.
    fn unless_drained(&self, outcome: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        // The drain waits for requests, but not for the rest of an incomplete head.
        if outcome.is_pending() && *self.drain.borrow() && !self.tcp.is_serving() {
            return Poll::Ready(Ok(()));
        }
        outcome
    }

    /// Returns `true` if the peer has closed or reset the connection. A peer that sends is there.
    fn peer_is_gone(&self, cx: &mut Context<'_>) -> bool {
        match self.inner.inner().poll_gone(cx) {
            Poll::Ready(Ok(is_gone)) => is_gone,
            Poll::Ready(Err(error)) => {
                self.note(&error);
                true
            }
            Poll::Pending => false,
        }
    }

    /// Notes that the system has given the peer of a stream up.
    fn note(&self, error: &io::Error) {
        if error.kind() == io::ErrorKind::TimedOut && self.tcp.streams() {
            self.tcp.set_stalled();
        }
    }
}

/// What a write or a flush that succeeds tells of the peer.
trait Taken {
    fn note(&self, stall: &mut Stall, most: Duration);
}

impl Taken for usize {
    fn note(&self, stall: &mut Stall, most: Duration) {
        stall.taken(*self, most);
    }
}

impl Taken for () {
    fn note(&self, stall: &mut Stall, _: Duration) {
        stall.all_taken();
    }
}

impl Read for LingerIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let count = self.first.len().min(buf.remaining());
            let first = self.first.split_to(count);
            buf.put_slice(&first);
            return Poll::Ready(self.count_settings(&first));
        }
        if self.settings_frames.is_some() {
            return self.poll_read_frames(cx, buf);
        }
        let outcome = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.unless_drained(outcome)
    }
}

impl Write for LingerIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = match self.take_replacement(buf) {
            Some((text, out)) => self.poll_replacement(cx, text, out, buf.len()),
            None => Pin::new(&mut self.inner).poll_write(cx, buf),
        };
        self.in_time(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A refusal has no body, so it stands alone.
        if let [buf] = bufs
            && let Some((text, out)) = self.take_replacement(buf)
        {
            let outcome = self.poll_replacement(cx, text, out, buf.len());
            return self.in_time(cx, outcome);
        }
        let outcome = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.in_time(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    /// hyper flushes whenever nothing is left to write, also while a request is served.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A heartbeat fits into what the system takes for a peer that is gone without a word.
        if self.tcp.streams() && !self.is_bounded {
            self.is_bounded = true;
            self.inner.inner().bound_rest(self.shared.settings().stream_timeout);
        }
        if self.tcp.ends_with_peer() && self.peer_is_gone(cx) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        // What is encrypted waits here.
        let outcome = Pin::new(&mut self.inner).poll_flush(cx);
        self.in_time(cx, outcome)
    }

    /// Closes the writing side, and reads what the peer still sends until it closes too.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.lingering.is_none() {
            this.inner.inner().bound_rest(this.shared.settings().answer_timeout);
            // What is encrypted goes first, if the peer reads it.
            let outcome = Pin::new(&mut this.inner).poll_shutdown(cx);
            ready!(this.in_time(cx, outcome))?;
        }
        let lingering = this.lingering.get_or_insert_with(|| Lingering {
            quiet: Box::pin(sleep(QUIET)),
            latest: Instant::now() + LONGEST,
        });
        let mut space = [0; 4096];
        for _ in 0..READS {
            let mut read = ReadBuf::new(&mut space);
            match Pin::new(&mut this.inner).poll_read(cx, read.unfilled()) {
                Poll::Ready(Ok(())) if !read.filled().is_empty() => {
                    let quiet = Instant::now() + QUIET;
                    if quiet > lingering.latest {
                        return Poll::Ready(Ok(()));
                    }
                    lingering.quiet.as_mut().reset(quiet);
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return lingering.quiet.as_mut().poll(cx).map(Ok),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::{bare_refusal, refusal};

    /// What replaces `written`.
    fn replacement(written: &str, headers: &str) -> Option<String> {
        let (status, message) = bare_refusal(written.as_bytes())?;
        Some(refusal(&status, message, headers))
    }

    #[test]
    fn only_refusals_without_a_body_are_replaced() {
        let bare = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\
                    content-length: 0\r\ndate: Mon, 06 May 2024 07:08:09 GMT\r\n\r\n";
        let text = replacement(bare, "x-more: 1\r\n").unwrap_or_default();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
        assert!(head.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"), "{head}");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
        assert!(head.contains("\r\nx-more: 1\r\n"), "{head}");
        assert!(body.contains(r#""title":"Request Header Fields Too Large""#), "{body}");
        for other in [
            bare.replace("431", "200"),
            bare.replace("length: 0", "length: 7"),
            bare.replace("close", "keep-alive"),
            bare.replace("date", "content-type"),
            bare.replace("connection: close\r\n", ""),
            format!("{bare}x"),
            String::new(),
        ] {
            assert_eq!(replacement(&other, ""), None, "{other}");
        }
    }
}
