//! `Transport`: how listeners listen, and `Stream`: their bytes, with TLS or without.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

/// How listeners listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    WebSocket,
    /// A websocket with TLS.
    Tls,
    EventStream,
    LongPoll,
}

/// A connection, with TLS or without.
pub(crate) enum Stream<S: Read + Write> {
    Plain(S),
    Tls(Box<StreamOwned<ClientConnection, S>>),
}

impl<S: Read + Write> Stream<S> {
    /// Returns the connection below TLS.
    pub(crate) fn socket(&mut self) -> &mut S {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &mut stream.sock,
        }
    }

    /// Goes on with the same connection in another form.
    pub(crate) fn map<T: Read + Write>(self, change: impl FnOnce(S) -> T) -> Stream<T> {
        match self {
            Self::Plain(socket) => Stream::Plain(change(socket)),
            Self::Tls(stream) => {
                let (connection, socket) = stream.into_parts();
                Stream::Tls(Box::new(StreamOwned::new(connection, change(socket))))
            }
        }
    }
}

impl<S: Read + Write> Read for Stream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl<S: Read + Write> Write for Stream<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// A certificate of the server that signs itself, and clients that trust it alone.
pub(crate) struct Tls {
    folder: TempDir,
    config: Arc<ClientConfig>,
}

impl Tls {
    /// Creates the certificate, by openssl.
    pub(crate) fn new() -> Result<Self> {
        let folder = TempDir::new()?;
        let [certificate, key] = files(folder.path());
        let output = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-nodes", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE", "-out"])
            .args([&certificate, "-keyout", &key])
            .output()
            .context("running openssl")?;
        ensure!(output.status.success(), "{output:?}");
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&fs::read(&certificate)?)?)?;
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Ok(Self { folder, config: Arc::new(config) })
    }

    /// Returns the flags of the server.
    pub(crate) fn flags(&self) -> [String; 4] {
        let [certificate, key] = files(self.folder.path());
        ["--tls-cert".to_owned(), certificate, "--tls-key".to_owned(), key]
    }

    /// Begins TLS on a connection.
    pub(crate) fn begin(&self, socket: TcpStream) -> Result<Stream<TcpStream>> {
        let name = ServerName::try_from("localhost")?;
        let connection = ClientConnection::new(Arc::clone(&self.config), name)?;
        Ok(Stream::Tls(Box::new(StreamOwned::new(connection, socket))))
    }
}

/// Returns the paths of the certificate and of its key.
fn files(folder: &Path) -> [String; 2] {
    ["cert.pem", "key.pem"].map(|name| folder.join(name).display().to_string())
}
