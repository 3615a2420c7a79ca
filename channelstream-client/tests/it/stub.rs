//! A server that answers what it is told, whatever it is asked.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// Answers requests one after another, each on a line of its own, until the program ends.
pub(crate) struct Stub {
    pub(crate) host: String,
    requests: Receiver<Request>,
}

/// What the stub was asked.
pub(crate) struct Request {
    head: String,
    pub(crate) body: String,
}

impl Stub {
    /// Makes of each request's head the bytes of an answer; `None`: says nothing, and keeps the
    /// line open.
    pub(crate) fn start(answer: impl Fn(&Request) -> Option<String> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let (sender, requests) = channel();
        thread::spawn(move || {
            let mut silent = Vec::new();
            for line in listener.incoming() {
                let mut line = line.unwrap();
                let request = read(&mut line);
                match answer(&request) {
                    Some(answer) => line.write_all(answer.as_bytes()).unwrap(),
                    None => silent.push(line),
                }
                if sender.send(request).is_err() {
                    return;
                }
            }
        });
        Self { host, requests }
    }

    /// Answers everything with this status line and JSON body.
    pub(crate) fn answering(status: &'static str, body: &'static str) -> Self {
        Self::start(move |_| Some(answer(status, body)))
    }

    /// The next request, in the order they came.
    pub(crate) fn request(&self) -> Request {
        self.requests.recv().unwrap()
    }
}

impl Request {
    /// Method and target.
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap().strip_suffix(" HTTP/1.1").unwrap()
    }

    /// The one value of a header.
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

fn read(line: &mut TcpStream) -> Request {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        line.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
    let mut request = Request { head: String::from_utf8(bytes).unwrap(), body: String::new() };
    let length = request.header("content-length").map_or(0, |text| text.parse().unwrap());
    let mut body = vec![0; length];
    line.read_exact(&mut body).unwrap();
    request.body = String::from_utf8(body).unwrap();
    request
}
