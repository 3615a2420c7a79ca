//! Clients that send as fast as they can: nobody else waits for them.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use serde_json::json;

use crate::frames::{
    DATA, END_HEADERS, END_STREAM, Frames, HEADERS, PING as PING_FRAME, SETTINGS, WINDOW_UPDATE,
    frame, request,
};
use crate::raw::{PING, Socket, TestServer, masked};

/// Threads that send, each over its part of the connections.
const SENDERS: usize = 2;

/// Sends `bytes` over all the connections again and again, and reads what comes, as long as `during`
/// runs.
fn flood<T>(streams: &[TcpStream], bytes: &[u8], during: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    let part = streams.len().div_ceil(SENDERS);
    thread::scope(|scope| {
        for streams in streams.chunks(part) {
            scope.spawn(|| {
                let mut out = vec![0; streams.len()];
                let mut answers = vec![0; 64 * 1024];
                while !over.load(Ordering::Relaxed) {
                    for (mut stream, out) in streams.iter().zip(&mut out) {
                        match stream.write(&bytes[*out..]) {
                            Ok(count) => *out = (*out + count) % bytes.len(),
                            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                        }
                        match stream.read(&mut answers) {
                            Ok(count) => assert!(count > 0, "the server has closed"),
                            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                        }
                    }
                }
            });
        }
        /// Ends the threads also when `during` panics.
        struct End<'a>(&'a AtomicBool);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _end = End(&over);
        during()
    })
}

fn open(stream: TcpStream) -> TcpStream {
    stream.set_nonblocking(true).unwrap();
    stream
}

fn sockets(server: &TestServer, count: usize) -> Vec<TcpStream> {
    let open = |number| {
        let socket = server.websocket(&server.connect(&format!("loud{number}"), &["loud"]));
        open(socket.line.stream().try_clone().unwrap())
    };
    (0..count).map(open).collect()
}

/// Publishes to a socket, time after time: each message comes before the next is published.
fn talk(server: &TestServer, socket: &mut Socket) {
    for number in 0..5 {
        server.publish("quiet", &json!({"n": number}));
        assert_eq!(socket.event()["message"]["n"], number);
    }
}

#[test]
fn floods_of_pings_do_not_hold_up_others() {
    let server = TestServer::start();
    let mut socket = server.websocket(&server.connect("quiet", &["quiet"]));
    let pings = masked(PING, b"").repeat(10_000);
    flood(&sockets(&server, 200), &pings, || talk(&server, &mut socket));
}

#[test]
fn floods_of_tiny_fragments_do_not_hold_up_others() {
    let server = TestServer::start();
    let mut socket = server.websocket(&server.connect("quiet", &["quiet"]));
    // A message that is begun, goes on in nothing, and ends.
    let mut message = masked(0x01, b"x");
    message.extend(masked(0x00, b"").repeat(10_000));
    message.extend(masked(0x80, b""));
    flood(&sockets(&server, 200), &message, || talk(&server, &mut socket));
}

#[test]
fn requests_sent_in_a_row_do_not_hold_up_others() {
    let server = TestServer::start();
    let mut socket = server.websocket(&server.connect("quiet", &["quiet"]));
    let connect = |address: SocketAddr| open(TcpStream::connect(address).unwrap());
    let lines: Vec<_> = (0..100).map(|_| connect(server.address())).collect();
    let requests = "GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n".repeat(500);
    flood(&lines, requests.as_bytes(), || talk(&server, &mut socket));
}

#[test]
fn floods_of_frames_do_not_hold_up_others() {
    let server = TestServer::start();
    let mut socket = server.websocket(&server.connect("quiet", &["quiet"]));
    let streams: Vec<_> = (0..50)
        .map(|_| {
            let mut stream = TcpStream::connect(server.address()).unwrap();
            stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
            stream.write_all(&frame(SETTINGS, 0, 0, &[])).unwrap();
            open(stream)
        })
        .collect();
    let pings = frame(PING_FRAME, 0, 0, &[0; 8]).repeat(10_000);
    flood(&streams, &pings, || talk(&server, &mut socket));
}

#[test]
fn many_streams_of_a_few_connections_do_not_hold_up_others() {
    const STREAMS: usize = 100;
    let server = TestServer::start();
    let mut socket = server.websocket(&server.connect("quiet", &["quiet"]));
    let over = AtomicBool::new(false);
    let answered = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..SENDERS {
            scope.spawn(|| {
                let mut frames = Frames::open(server.address(), &[]);
                let mut stream = 1;
                while !over.load(Ordering::Relaxed) {
                    let requests: Vec<u8> = (0..STREAMS)
                        .flat_map(|_| {
                            let head = request("GET", "/nowhere");
                            stream += 2;
                            frame(HEADERS, END_HEADERS | END_STREAM, stream - 2, &head)
                        })
                        .collect();
                    frames.write(&requests);
                    let mut windows = 0;
                    for _ in 0..STREAMS {
                        let end = std::iter::from_fn(|| frames.next())
                            .inspect(|frame| windows += frame.payload.len())
                            .find(|frame| frame.kind == DATA && frame.flags & END_STREAM != 0);
                        assert!(end.is_some(), "the server has closed");
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    let window = u32::try_from(windows).unwrap().to_be_bytes();
                    frames.write(&frame(WINDOW_UPDATE, 0, 0, &window));
                }
            });
        }
        talk(&server, &mut socket);
        crate::app::eventually("the flood was one", || answered.load(Ordering::Relaxed) > 1000);
        talk(&server, &mut socket);
        over.store(true, Ordering::Relaxed);
    });
}
