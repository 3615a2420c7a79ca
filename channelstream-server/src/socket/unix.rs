//! Binding a unix socket: what may be replaced at its path, and when its file is removed.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use super::BACKLOG;

/// Owner and group may connect, which takes the permission to write.
const MODE: u32 = 0o660;

/// The file of a bound socket. Dropping this removes it, unless another server listens there by then. It
/// has to be dropped behind the socket.
#[derive(Debug)]
pub(crate) struct SocketFile(PathBuf);

/// Binds a unix socket. The socket of a server that is gone is replaced.
///
/// # Errors
/// If a server listens there, or the path names something that is not a socket.
pub(super) fn bind(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    let address = SockAddr::unix(path)?;
    make_way(path, &address)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&address)?;
    // Nobody can connect before the socket listens, so nobody connects with other permissions.
    fs::set_permissions(path, Permissions::from_mode(MODE))?;
    socket.listen(BACKLOG)?;
    Ok((socket.into(), SocketFile(path.to_owned())))
}

/// Removes the socket of a server that is gone.
#[expect(clippy::disallowed_methods, reason = "nobody is served yet, or any more")]
fn make_way(path: &Path, address: &SockAddr) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(there) if !there.file_type().is_socket() => {
            let text = "there is something that is not a socket";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        Ok(_) => {}
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A server whose backlog is full would let this wait.
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // What stays is replaced by the next server.
        let _ = SockAddr::unix(&self.0).and_then(|address| make_way(&self.0, &address));
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may wait")]
mod tests {
    use super::*;

    #[test]
    fn only_the_socket_of_a_server_that_is_gone_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.sock");
        let (first, file) = bind(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        let taken = bind(&path).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        // A server that is killed leaves its file behind.
        std::mem::forget(file);
        drop(first);
        let (second, file) = bind(&path).unwrap();
        drop(second);
        drop(file);
        assert!(!path.exists(), "it is removed at the end");
    }

    #[test]
    fn what_is_no_socket_stays() {
        let directory = tempfile::tempdir().unwrap();
        let (path, link) = (directory.path().join("notes"), directory.path().join("link"));
        fs::write(&path, "precious").unwrap();
        std::os::unix::fs::symlink(directory.path().join("nowhere"), &link).unwrap();
        for path in [&path, &link, &directory.path().to_owned()] {
            assert_eq!(bind(path).unwrap_err().kind(), io::ErrorKind::AlreadyExists, "{path:?}");
        }
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        let missing = bind(&directory.path().join("missing/server.sock")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn the_socket_of_a_newer_server_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.sock");
        let (first, file) = bind(&path).unwrap();
        drop(first);
        let (_second, _newer) = bind(&path).unwrap();
        drop(file);
        assert!(path.exists());
    }
}
