//! Proxies with a planted fault, between the program and the server.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// What the proxy does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Calls message 3 of `bench` 1, and exchanges 4 and 6.
    Renumbers,
    /// Removes the header `Upgrade` from requests.
    NoUpgrade,
    /// Answers with a date of long ago.
    OldDate,
    /// Answers as HTTP/1.0.
    OldHttp,
    /// Keeps back what comes after the head of a 101.
    Buffers,
    /// Cuts a line on which nothing came for two seconds.
    CutsIdle,
}

/// Lives as long as the process; its threads end with their lines.
pub(crate) struct Proxy {
    pub(crate) url: String,
}

impl Proxy {
    pub(crate) fn start(server: u16, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            for line in listener.incoming() {
                let (Ok(line), Ok(server)) = (line, TcpStream::connect(("127.0.0.1", server)))
                else {
                    continue;
                };
                let (line_back, server_back) =
                    (line.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || requests(line, server, fault));
                thread::spawn(move || answers(server_back, line_back, fault));
            }
        });
        Self { url }
    }
}

/// Requests of the program come in one piece, heads first.
fn requests(from: TcpStream, to: TcpStream, fault: Fault) {
    pass(from, to, |bytes| match fault {
        Fault::NoUpgrade => without_line(bytes, b"upgrade: "),
        _ => bytes,
    });
}

fn answers(from: TcpStream, to: TcpStream, fault: Fault) {
    let mut upgraded = false;
    if fault == Fault::CutsIdle {
        from.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    }
    pass(from, to, |bytes| match fault {
        Fault::Renumbers => renumbered(bytes),
        Fault::OldDate => {
            let mut bytes = without_line(bytes, b"date: ");
            let end = bytes.windows(2).position(|window| window == b"\r\n");
            if let (true, Some(end)) = (bytes.starts_with(b"HTTP/"), end) {
                let date = b"\r\ndate: Tue, 14 Nov 2023 22:13:20 GMT";
                bytes.splice(end..end, date.iter().copied());
            }
            bytes
        }
        Fault::OldHttp if bytes.starts_with(b"HTTP/1.1 ") => {
            [b"HTTP/1.0 ", &bytes[b"HTTP/1.1 ".len()..]].concat()
        }
        Fault::Buffers => {
            let was_upgraded = upgraded;
            upgraded |= bytes.starts_with(b"HTTP/1.1 101");
            if was_upgraded { Vec::new() } else { bytes }
        }
        _ => bytes,
    });
}

fn renumbered(mut bytes: Vec<u8>) -> Vec<u8> {
    const BEFORE: &[u8] = b"\"number\":";
    for end in BEFORE.len()..bytes.len() {
        if bytes[..end].ends_with(BEFORE) && bytes.get(end + 1) == Some(&b',') {
            bytes[end] = match bytes[end] {
                b'3' => b'1',
                b'4' => b'6',
                b'6' => b'4',
                other => other,
            };
        }
    }
    bytes
}

/// The bytes without the line that begins so, whatever the case.
fn without_line(mut bytes: Vec<u8>, beginning: &[u8]) -> Vec<u8> {
    let lower = bytes.to_ascii_lowercase();
    let start = lower
        .windows(beginning.len())
        .enumerate()
        .position(|(at, window)| window == beginning && at > 0 && lower[at - 1] == b'\n');
    if let Some(start) = start {
        let length = lower[start..].iter().position(|byte| *byte == b'\n').unwrap();
        bytes.drain(start..=start + length);
    }
    bytes
}

fn pass(mut from: TcpStream, mut to: TcpStream, mut change: impl FnMut(Vec<u8>) -> Vec<u8>) {
    let mut buffer = [0; 64 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                if to.write_all(&change(buffer[..count].to_vec())).is_err() {
                    break;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
