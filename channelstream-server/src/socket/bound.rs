//! A listening socket, bound by the server or handed in, and its address.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
#[cfg(unix)]
use std::os::unix::net::UnixListener;
#[cfg(unix)]
use std::path::{Path, PathBuf};
#[cfg(unix)]
use std::sync::Arc;

use super::System;
#[cfg(unix)]
use super::unix::{self, SocketFile};

/// A listening socket. It comes from a listener of the standard library, TCP or unix, for example one
/// that a socket activation hands in.
#[derive(Debug)]
pub struct BoundSocket(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(std::net::TcpListener),
    #[cfg(unix)]
    /// With its file, if that is to be removed.
    Unix(UnixListener, Option<Arc<SocketFile>>),
}

/// Where a socket listens. As text it is `127.0.0.1:8000` or `unix:/run/server.sock`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LocalAddr {
    /// An address of TCP.
    Tcp(SocketAddr),
    /// The path of a unix socket; empty if it has none.
    #[cfg(unix)]
    Unix(PathBuf),
}

impl BoundSocket {
    /// Returns where it listens.
    ///
    /// # Errors
    /// Returns the error of the system.
    pub fn local_addr(&self) -> io::Result<LocalAddr> {
        match &self.0 {
            Kind::Tcp(listener) => listener.local_addr().map(LocalAddr::Tcp),
            #[cfg(unix)]
            Kind::Unix(listener, _) => {
                let address = listener.local_addr()?;
                Ok(LocalAddr::Unix(address.as_pathname().map(Path::to_owned).unwrap_or_default()))
            }
        }
    }

    /// Binds the path of a unix socket. Its file is removed when the last handle is dropped.
    #[cfg(unix)]
    pub(crate) fn unix(path: &Path) -> io::Result<Self> {
        let (listener, file) = unix::bind(path)?;
        Ok(Self(Kind::Unix(listener, Some(Arc::new(file)))))
    }

    /// Returns another handle of the same socket.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        match &self.0 {
            Kind::Tcp(listener) => listener.try_clone().map(Kind::Tcp),
            #[cfg(unix)]
            Kind::Unix(listener, file) => {
                listener.try_clone().map(|listener| Kind::Unix(listener, file.clone()))
            }
        }
        .map(Self)
    }

    /// Registers the socket with the runtime of this thread.
    pub(crate) fn into_acceptor(self) -> io::Result<Acceptor> {
        match self.0 {
            Kind::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                tokio::net::TcpListener::from_std(listener).map(Acceptor::Tcp)
            }
            #[cfg(unix)]
            Kind::Unix(listener, file) => {
                listener.set_nonblocking(true)?;
                let listener = tokio::net::UnixListener::from_std(listener)?;
                Ok(Acceptor::Unix(listener, file))
            }
        }
    }
}

impl From<std::net::TcpListener> for BoundSocket {
    fn from(listener: std::net::TcpListener) -> Self {
        Self(Kind::Tcp(listener))
    }
}

#[cfg(unix)]
impl From<UnixListener> for BoundSocket {
    /// The file of the socket stays when the server ends.
    fn from(listener: UnixListener) -> Self {
        Self(Kind::Unix(listener, None))
    }
}

impl LocalAddr {
    /// Returns the address of TCP, if it is one.
    #[must_use]
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            #[cfg(unix)]
            Self::Unix(_) => None,
        }
    }

    /// Returns `true` if only this machine can reach it.
    pub(crate) fn is_of_this_machine(&self) -> bool {
        self.tcp().is_none_or(|address| address.ip().to_canonical().is_loopback())
    }
}

impl fmt::Display for LocalAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            #[cfg(unix)]
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A listening socket that accepts connections on this thread.
#[derive(Debug)]
pub(crate) enum Acceptor {
    Tcp(tokio::net::TcpListener),
    #[cfg(unix)]
    Unix(
        tokio::net::UnixListener,
        #[expect(dead_code, reason = "its drop removes the file")] Option<Arc<SocketFile>>,
    ),
}

impl Acceptor {
    /// Accepts a connection. Returns its socket, and the address of the peer if it has one.
    pub(crate) async fn accept(&self) -> io::Result<(System, Option<IpAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok((System::Tcp(stream), Some(address.ip())))
            }
            #[cfg(unix)]
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((System::Unix(stream), None))
            }
        }
    }
}
