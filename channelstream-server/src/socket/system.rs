//! The socket of an accepted connection, TCP or unix, without the encryption above it.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

use super::options;

/// A socket of the system.
#[derive(Debug)]
pub(crate) enum System {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

/// Evaluates an expression for the stream of a socket.
macro_rules! of_stream {
    ($socket:expr, $stream:ident => $value:expr) => {
        match $socket {
            System::Tcp($stream) => $value,
            #[cfg(unix)]
            System::Unix($stream) => $value,
        }
    };
}

impl System {
    /// Sets the options of a connection that has just been accepted.
    ///
    /// # Errors
    /// If the peer is gone.
    pub(crate) fn prepare(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                // Small frames must not wait for the acknowledgement of earlier ones.
                stream.set_nodelay(true)?;
                options::bound_unsent(stream)
            }
            // What the system takes for the peer of a unix socket is bounded.
            #[cfg(unix)]
            Self::Unix(_) => Ok(()),
        }
    }

    /// Registers the socket again: tokio's old registration holds the waker of the task that used it,
    /// and with it that task's memory.
    ///
    /// # Errors
    /// If the system has no place for another registration.
    pub(super) fn registered_again(self) -> io::Result<Self> {
        match self {
            Self::Tcp(stream) => TcpStream::from_std(stream.into_std()?).map(Self::Tcp),
            #[cfg(unix)]
            Self::Unix(stream) => UnixStream::from_std(stream.into_std()?).map(Self::Unix),
        }
    }

    /// Bounds how long the system keeps what the peer does not take, also after the close. What was
    /// written to a unix socket is the peer's.
    pub(super) fn bound_rest(&self, time: Duration) {
        match self {
            Self::Tcp(stream) => options::bound_rest(stream, time),
            #[cfg(unix)]
            Self::Unix(_) => {}
        }
    }

    /// Makes the close a reset, which frees at once what the system still holds.
    pub(super) fn reset_on_close(&self) {
        match self {
            Self::Tcp(stream) => options::reset_on_close(stream),
            #[cfg(unix)]
            Self::Unix(_) => {}
        }
    }

    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_stream!(self, stream => stream.poll_read_ready(cx))
    }

    pub(super) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_stream!(self, stream => stream.poll_write_ready(cx))
    }

    pub(crate) fn try_read(&self, space: &mut [u8]) -> io::Result<usize> {
        of_stream!(self, stream => stream.try_read(space))
    }

    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        of_stream!(self, stream => stream.try_write(bytes))
    }

    pub(super) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        of_stream!(self, stream => stream.try_write_vectored(slices))
    }

    /// Writes although the system does not call the socket writable yet.
    pub(super) fn press(&self, bytes: &[u8]) -> io::Result<usize> {
        of_stream!(self, stream => SockRef::from(stream).send(bytes))
    }

    /// Closes one side of the connection, or both.
    pub(super) fn close(&self, how: Shutdown) -> io::Result<()> {
        of_stream!(self, stream => SockRef::from(stream).shutdown(how))
    }

    /// Returns how many bytes of what the peer has sent fit into the space, and leaves them there. None:
    /// the peer has closed its side.
    pub(crate) fn poll_peek(
        &self,
        cx: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => stream.poll_peek(cx, space),
            #[cfg(unix)]
            Self::Unix(stream) => loop {
                std::task::ready!(stream.poll_read_ready(cx))?;
                let peek = || {
                    let mut byte = [std::mem::MaybeUninit::new(0)];
                    SockRef::from(stream).peek(&mut byte)
                };
                match stream.try_io(tokio::io::Interest::READABLE, peek) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    outcome => return Poll::Ready(outcome),
                }
            },
        }
    }
}

impl AsyncRead for System {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        of_stream!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, space))
    }
}

impl AsyncWrite for System {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        of_stream!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        of_stream!(self.get_mut(), stream => Pin::new(stream).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_stream!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_stream!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(cx))
    }
}
