//! TLS above a socket: records are read and written without waiting.

use std::io::{self, BufRead as _, IoSlice, Read, Write};
use std::sync::{Mutex, MutexGuard};

use rustls::ServerConnection;

use super::System;

/// Bytes of a record at most, and of what is encrypted before the system takes it.
const RECORD: usize = 16 * 1024;

/// The session of one connection, after its handshake.
///
/// One task reads a websocket while others write to it, so a lock guards the session. It is the
/// innermost one: nothing else is locked while it is held.
#[derive(Debug)]
pub(super) struct Session(Mutex<ServerConnection>);

/// The bytes of a socket for rustls.
struct Raw<'a> {
    system: &'a System,
    /// Whether to write although the system does not call the socket writable.
    presses: bool,
    written: usize,
}

impl<'a> Raw<'a> {
    fn of(system: &'a System) -> Self {
        Self { system, presses: false, written: 0 }
    }
}

impl Read for Raw<'_> {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        self.system.try_read(space)
    }
}

impl Write for Raw<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = match self.presses {
            true => self.system.press(bytes),
            false => self.system.try_write(bytes),
        }?;
        self.written += count;
        Ok(count)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.presses {
            let first = slices.iter().find(|slice| !slice.is_empty());
            return first.map_or(Ok(0), |slice| self.write(slice));
        }
        let count = self.system.try_write_vectored(slices)?;
        self.written += count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Session {
    pub(super) fn new(mut connection: ServerConnection) -> Self {
        connection.set_buffer_limit(Some(RECORD));
        Self(Mutex::new(connection))
    }

    fn lock(&self) -> MutexGuard<'_, ServerConnection> {
        self.0.lock().expect("nothing that holds a session can panic")
    }

    /// Returns what the handshake has agreed on.
    pub(super) fn protocol(&self) -> Option<Vec<u8>> {
        self.lock().alpn_protocol().map(<[u8]>::to_vec)
    }

    /// Returns `true` if something can be read without the socket, the end included.
    pub(super) fn has_plaintext(&self) -> bool {
        !is_blocked(&self.lock().reader().fill_buf())
    }

    /// Reads what the peer sent. A peer that closes the socket without a word has closed: HTTP and
    /// websockets know where their messages end.
    pub(super) fn read(&self, system: &System, space: &mut [u8]) -> io::Result<usize> {
        let session = &mut *self.lock();
        loop {
            match session.reader().read(space) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    receive(session, system)?
                }
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                outcome => return outcome,
            }
        }
    }

    /// Returns `true` if the peer has closed, and `false` if it has sent something.
    pub(super) fn is_gone(&self, system: &System) -> io::Result<bool> {
        let session = &mut *self.lock();
        loop {
            match session.reader().fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(true),
                outcome => return outcome.map(<[u8]>::is_empty),
            }
            receive(session, system)?;
        }
    }

    /// Encrypts a record, once the one before it is out, and writes as much of it as the system takes.
    pub(super) fn write(&self, system: &System, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let session = &mut *self.lock();
        let mut raw = Raw::of(system);
        flush(session, &mut raw)?;
        encrypt(session, slices, &mut raw)
    }

    /// The same for one slice, although the system does not call the socket writable. Nothing of it is
    /// taken if the system takes only some of what came before.
    pub(super) fn press(&self, system: &System, bytes: &[u8]) -> io::Result<usize> {
        let session = &mut *self.lock();
        let mut raw = Raw { presses: true, ..Raw::of(system) };
        match flush(session, &mut raw) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && raw.written > 0 => Ok(0),
            Err(error) => Err(error),
            Ok(()) => encrypt(session, &[IoSlice::new(bytes)], &mut raw),
        }
    }

    pub(super) fn flush(&self, system: &System) -> io::Result<()> {
        flush(&mut self.lock(), &mut Raw::of(system))
    }

    /// Tells the peer that nothing follows.
    pub(super) fn notify_of_close(&self, system: &System) {
        let session = &mut *self.lock();
        session.send_close_notify();
        // A peer that does not read does not hear it.
        let _ = flush(session, &mut Raw::of(system));
    }
}

fn is_blocked<T>(outcome: &io::Result<T>) -> bool {
    outcome.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// Reads once from the socket.
fn receive(session: &mut ServerConnection, system: &System) -> io::Result<()> {
    session.read_tls(&mut Raw::of(system))?;
    let processed = session.process_new_packets();
    // There may be an answer, or an alert that says why the session is over. If it does not fit, the next
    // write brings it along.
    let _ = flush(session, &mut Raw::of(system));
    processed.map(drop).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn flush(session: &mut ServerConnection, raw: &mut Raw<'_>) -> io::Result<()> {
    while session.wants_write() {
        if session.write_tls(raw)? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    Ok(())
}

fn encrypt(
    session: &mut ServerConnection,
    slices: &[IoSlice<'_>],
    raw: &mut Raw<'_>,
) -> io::Result<usize> {
    let count = session.writer().write_vectored(slices)?;
    match flush(session, raw) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Ok(count),
    }
}
