//! What hyper leaves open, mended below it, where it writes and closes.
//!
//! * A head that cannot be read is answered by hyper itself, with nothing but a status: such a
//!   refusal gets a body and the headers of all answers.
//! * A TCP connection that is closed while the peer still sends is reset by the system, which can take
//!   the answer away before the peer has read it: it is read out first.
//! * An answer that nobody reads would wait for ever: its TCP connection is reset.
//! * hyper does not look whether the peer is still there while a request is served (else it would drop
//!   the answer for who closes behind the last request): for a poll that is looked at here.

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep};

use crate::app::App;
use crate::http::connection::Line;
use crate::http::stall::Stall;
use crate::limits::Limit;
use crate::tcp;

/// After the last answer a line is read out until nothing has come for so long,
const QUIET: Duration = Duration::from_millis(500);

/// but not longer than this.
const LONGEST: Duration = Duration::from_secs(3);

/// Reads of 4 KiB while a line is read out, before others get a turn.
const READS: usize = 4;

/// `answer_timeout` during the drain, which must not wait for who does not read.
const DRAINING: Duration = Duration::from_secs(1);

/// A whole answer after which the line is closed. `status` is code and reason; `more` are header
/// lines.
pub(crate) fn refusal(status: &str, message: &str, more: &str) -> String {
    let title = status.split_once(' ').map_or(status, |(_, reason)| reason);
    // As in our own answers: here, nothing was done.
    let outcome = if status.starts_with("503") { r#","outcome":"not_done""# } else { "" };
    let body = format!(r#"{{"message":"{message}","code":"{status}","title":"{title}"{outcome}}}"#);
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         x-content-type-options: nosniff\r\ncache-control: no-store\r\n{more}\
         connection: close\r\n\r\n{body}",
        body.len()
    )
}

/// What stands in the place of `written`, if that is a refusal of hyper's own: an error status
/// without a body, which none of our answers is.
fn instead_of(written: &[u8], more: &str) -> Option<String> {
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
        "414" => "the address in the request line is too long",
        "431" => "the head of the request is too large (max_head_size)",
        _ => "the head of the request is malformed",
    };
    (is_empty && is_last).then(|| refusal(&status, message, more))
}

/// A TCP connection below hyper.
pub(crate) struct Refusing {
    inner: TokioIo<TcpStream>,
    app: Arc<App>,
    line: Arc<Line>,
    drain: watch::Receiver<bool>,
    /// What is written in the place of hyper's refusal, and how much of it is out.
    instead: Option<(String, usize)>,
    stall: Stall,
    closing: Option<Closing>,
}

/// The reading out of a line before it is closed.
#[derive(Debug)]
struct Closing {
    quiet: Pin<Box<Sleep>>,
    latest: Instant,
}

impl Refusing {
    pub(crate) fn new(
        stream: TcpStream,
        app: Arc<App>,
        line: Arc<Line>,
        drain: watch::Receiver<bool>,
    ) -> Self {
        let (inner, stall) = (TokioIo::new(stream), Stall::default());
        Self { inner, app, line, drain, instead: None, stall, closing: None }
    }

    pub(crate) fn into_inner(self) -> TcpStream {
        self.inner.into_inner()
    }

    /// Writes what stands in the place of `length` bytes, all of it before they count as written.
    fn poll_instead(
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
                    self.instead = Some((text, out));
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(length))
    }

    /// What is to be written in the place of this, from where.
    fn instead_of(&mut self, written: &[u8]) -> Option<(String, usize)> {
        let more = self.app.common_headers.of_refusals();
        self.instead.take().or_else(|| Some((instead_of(written, more)?, 0)))
    }

    /// What came of a write, unless the peer has left the answer unread for too long.
    fn in_time(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let most = self.app.config.answer_timeout;
        match &outcome {
            Poll::Ready(Ok(count)) => self.stall.taken(*count, most),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                let most = if *self.drain.borrow() { most.min(DRAINING) } else { most };
                if self.stall.poll_over(cx, most).is_ready() {
                    self.app.limits.refused(Limit::AnswerTime, self.line.peer);
                    tcp::reset_on_close(self.inner.inner());
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
        }
        outcome
    }

    /// Whether the peer has closed or broken off. One that sends is there.
    fn peer_is_gone(&self, cx: &mut Context<'_>) -> bool {
        let mut space = [0; 1];
        let mut space = tokio::io::ReadBuf::new(&mut space);
        matches!(
            self.inner.inner().poll_peek(cx, &mut space),
            Poll::Ready(Ok(0)) | Poll::Ready(Err(_))
        )
    }
}

impl Read for Refusing {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_read(cx, buf);
        // The drain waits for requests. A head that is not complete is none.
        if outcome.is_pending() && *self.drain.borrow() && !self.line.is_asked() {
            return Poll::Ready(Ok(()));
        }
        outcome
    }
}

impl Write for Refusing {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = match self.instead_of(buf) {
            Some((text, out)) => self.poll_instead(cx, text, out, buf.len()),
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
            && let Some((text, out)) = self.instead_of(buf)
        {
            let outcome = self.poll_instead(cx, text, out, buf.len());
            return self.in_time(cx, outcome);
        }
        let outcome = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.in_time(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    /// hyper comes here whenever nothing is left to write, also while a request is served.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stall.all_taken();
        if self.line.ends_with_peer() && self.peer_is_gone(cx) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    /// Tells the peer that nothing more comes, and takes what it still sends until it closes too.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let closing = match &mut this.closing {
            Some(closing) => closing,
            none => {
                tcp::bound_rest(this.inner.inner(), this.app.config.answer_timeout);
                ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
                let latest = Instant::now() + LONGEST;
                none.insert(Closing { quiet: Box::pin(sleep(QUIET)), latest })
            }
        };
        let mut space = [0; 4096];
        for _ in 0..READS {
            let mut read = ReadBuf::new(&mut space);
            match Pin::new(&mut this.inner).poll_read(cx, read.unfilled()) {
                Poll::Ready(Ok(())) if !read.filled().is_empty() => {
                    let quiet = Instant::now() + QUIET;
                    if quiet > closing.latest {
                        return Poll::Ready(Ok(()));
                    }
                    closing.quiet.as_mut().reset(quiet);
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return closing.quiet.as_mut().poll(cx).map(Ok),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::instead_of;

    #[test]
    fn only_refusals_without_body_are_replaced() {
        let bare = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\
                    content-length: 0\r\ndate: Mon, 06 May 2024 07:08:09 GMT\r\n\r\n";
        let text = instead_of(bare.as_bytes(), "x-more: 1\r\n").unwrap_or_default();
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
            assert_eq!(instead_of(other.as_bytes(), ""), None, "{other}");
        }
    }
}
