//! Sockets: those that listen, and the connections that they accept, over TCP or as a unix socket, with
//! TLS or without.
//!
//! An accepted connection is first read by HTTP, as an asynchronous stream. A websocket is later
//! written by whoever has something for it, while another task reads it, so all calls of the second
//! kind take `&self`.

mod bound;
mod options;
mod session;
mod system;
#[cfg(unix)]
mod unix;

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop;
use tokio_rustls::TlsAcceptor;

pub use bound::{BoundSocket, LocalAddr};
use session::Session;
pub(crate) use system::System;

/// Connections that the system holds until the server accepts them.
pub(crate) const BACKLOG: i32 = 4096;

/// An accepted connection.
#[derive(Debug)]
pub(crate) struct Socket {
    system: System,
    tls: Option<Box<Session>>,
}

impl Socket {
    /// A connection without TLS.
    pub(crate) fn plain(system: System) -> Self {
        Self { system, tls: None }
    }

    /// Carries out the handshake of TLS.
    ///
    /// # Errors
    /// If the connection breaks or the handshake fails; then the source is a [`rustls::Error`].
    pub(crate) async fn secure(system: System, config: Arc<ServerConfig>) -> io::Result<Self> {
        let (system, session) = TlsAcceptor::from(config).accept(system).await?.into_inner();
        Ok(Self { system, tls: Some(Box::new(Session::new(session))) })
    }

    pub(crate) fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Returns `true` if client and server have agreed on HTTP/2 in the handshake.
    pub(crate) fn has_agreed_on_http2(&self) -> bool {
        self.tls.as_ref().is_some_and(|session| session.protocol() == Some(b"h2".to_vec()))
    }

    /// Registers the socket again: tokio's old registration holds the waker of the task that used it,
    /// and with it that task's memory.
    ///
    /// # Errors
    /// If the system has no place for another registration.
    pub(crate) fn registered_again(self) -> io::Result<Self> {
        Ok(Self { system: self.system.registered_again()?, tls: self.tls })
    }

    /// Bounds how long the system keeps what the peer does not take, also after the close.
    pub(crate) fn bound_rest(&self, time: Duration) {
        self.system.bound_rest(time);
    }

    /// Makes the close a reset, which frees at once what the system still holds.
    pub(crate) fn reset_on_close(&self) {
        self.system.reset_on_close();
    }

    /// Waits until there is something to read. If several tasks wait, the last of them is woken: a place for
    /// one is a fraction of what tokio keeps for many, and most sockets wait here all their life.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        if self.tls.as_ref().is_some_and(|session| session.has_plaintext()) {
            return Ok(());
        }
        poll_fn(|cx| self.system.poll_readable(cx)).await
    }

    /// Waits until the system takes more. If several tasks wait, the last of them is woken.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        poll_fn(|cx| self.system.poll_writable(cx)).await
    }

    pub(crate) fn try_read(&self, space: &mut [u8]) -> io::Result<usize> {
        match &self.tls {
            None => self.system.try_read(space),
            Some(session) => session.read(&self.system, space),
        }
    }

    /// Writes what the socket takes. With TLS that is a record of up to 16 kB, of which the system may
    /// have taken a part only: [`try_flush`](Self::try_flush) tells.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match &self.tls {
            None => self.system.try_write(bytes),
            Some(session) => session.write(&self.system, &[IoSlice::new(bytes)]),
        }
    }

    /// The same for several slices.
    pub(crate) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match &self.tls {
            None => self.system.try_write_vectored(slices),
            Some(session) => session.write(&self.system, slices),
        }
    }

    /// Gives the system what is encrypted.
    ///
    /// # Errors
    /// Returns [`io::ErrorKind::WouldBlock`] if it does not take all of it.
    pub(crate) fn try_flush(&self) -> io::Result<()> {
        self.tls.as_ref().map_or(Ok(()), |session| session.flush(&self.system))
    }

    /// Writes although the system does not call the socket writable yet.
    pub(crate) fn press(&self, bytes: &[u8]) -> io::Result<usize> {
        match &self.tls {
            None => self.system.press(bytes),
            Some(session) => session.press(&self.system, bytes),
        }
    }

    /// Closes the writing side, or both at once.
    pub(crate) fn close(&self, how: Shutdown) -> io::Result<()> {
        if let Some(session) = &self.tls {
            session.notify_of_close(&self.system);
        }
        self.system.close(how)
    }

    /// Ready if the peer has closed or reset the connection, or has sent something: then it is there.
    pub(crate) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let Some(session) = &self.tls else {
            let mut space = [0; 1];
            let mut space = ReadBuf::new(&mut space);
            return self.system.poll_peek(cx, &mut space).map_ok(|count| count == 0);
        };
        loop {
            match session.is_gone(&self.system) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
            ready!(self.system.poll_readable(cx))?;
        }
    }
}

/// Tries until the system is not ready.
macro_rules! poll_tls {
    ($attempt:expr, $ready:expr) => {
        loop {
            match $attempt {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => break Poll::Ready(outcome),
            }
            ready!($ready)?;
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { system, tls } = &mut *self;
        let Some(session) = tls else { return Pin::new(system).poll_read(cx, space) };
        // A peer that never stops sending must not keep the thread.
        let turn = ready!(coop::poll_proceed(cx));
        let count = ready!(poll_tls!(
            session.read(system, space.initialize_unfilled()),
            system.poll_readable(cx)
        ))?;
        space.advance(count);
        turn.made_progress();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { system, tls } = &mut *self;
        match (tls, slices) {
            (None, [only]) => Pin::new(system).poll_write(cx, only),
            (None, several) => Pin::new(system).poll_write_vectored(cx, several),
            (Some(session), slices) => {
                poll_tls!(session.write(system, slices), system.poll_writable(cx))
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { system, tls } = &mut *self;
        match tls {
            None => Pin::new(system).poll_flush(cx),
            Some(session) => poll_tls!(session.flush(system), system.poll_writable(cx)),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(session) = &self.tls {
            session.notify_of_close(&self.system);
            ready!(self.as_mut().poll_flush(cx))?;
        }
        Pin::new(&mut self.system).poll_shutdown(cx)
    }
}
