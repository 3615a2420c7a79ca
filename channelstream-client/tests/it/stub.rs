//! A server with prepared answers.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// Answers requests one after another, each on its own TCP connection, until the program ends.
pub(crate) struct Stub {
    pub(crate) host: String,
    requests: Receiver<Request>,
}

/// A request that the stub received.
pub(crate) struct Request {
    head: String,
    pub(crate) body: String,
}

impl Stub {
    /// Starts a stub that answers each request with the bytes that `answer` returns. If it returns
    /// `None`, the stub sends nothing and keeps the TCP connection open.
    pub(crate) fn start<Bytes: AsRef<[u8]>>(
        answer: impl Fn(&Request) -> Option<Bytes> + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let (sender, requests) = channel();
        thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let request = read(&mut stream);
                match answer(&request) {
                    Some(answer) => stream.write_all(answer.as_ref()).unwrap(),
                    None => silent.push(stream),
                }
                if sender.send(request).is_err() {
                    return;
                }
            }
        });
        Self { host, requests }
    }

    /// Starts a stub that answers every request with this status and JSON body.
    pub(crate) fn answering(status: &'static str, body: &'static str) -> Self {
        Self::start(move |_| Some(answer(status, body)))
    }

    /// Returns the next request, in order of arrival.
    pub(crate) fn request(&self) -> Request {
        self.requests.recv().unwrap()
    }
}

impl Request {
    /// Returns the method and the target.
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap().strip_suffix(" HTTP/1.1").unwrap()
    }

    /// Returns the only value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.head.lines().skip(1).filter_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        });
        let value = values.next();
        assert!(values.next().is_none(), "{name} is there twice");
        value
    }
}

pub(crate) fn answer(status: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    )
}

fn read(stream: &mut TcpStream) -> Request {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
    let mut request = Request { head: String::from_utf8(bytes).unwrap(), body: String::new() };
    let length = request.header("content-length").map_or(0, |text| text.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    request.body = String::from_utf8(body).unwrap();
    request
}
