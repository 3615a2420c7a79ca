//! Proxies with a planted fault between the program and the server.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// The fault of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Renumbers message 3 of `bench` to 1, and swaps 4 and 6.
    Renumbers,
    /// Removes the header `Upgrade` from requests.
    NoUpgrade,
    /// Answers with a date in the distant past.
    OldDate,
    /// Answers as HTTP/1.0.
    OldHttp,
    /// Holds back everything after the head of a 101.
    Buffers,
    /// Cuts a TCP connection on which the server sent nothing for two seconds.
    CutsIdle,
}

/// A proxy that lives as long as the process. Its threads end with their TCP connections.
pub(crate) struct Proxy {
    pub(crate) url: String,
}

impl Proxy {
    pub(crate) fn start(server: u16, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), Ok(server)) = (stream, TcpStream::connect(("127.0.0.1", server)))
                else {
                    continue;
                };
                let (stream_back, server_back) =
                    (stream.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || requests(stream, server, fault));
                thread::spawn(move || answers(server_back, stream_back, fault));
            }
        });
        Self { url }
    }
}

/// Forwards requests, each of which arrives in one piece, beginning with its head.
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

/// Returns the bytes without the header line that begins like this, in any case.
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
