//! A collector of traces: OTLP over HTTP, as much of it as the program sends.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use prost::Message;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::app::PATIENCE;

pub(crate) const INTERNAL: i32 = 1;
pub(crate) const SERVER: i32 = 2;
pub(crate) const PRODUCER: i32 = 4;

#[derive(Clone, PartialEq, Message)]
struct Traces {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) parent: Vec<u8>,
    #[prost(string, tag = "5")]
    pub(crate) name: String,
    #[prost(int32, tag = "6")]
    pub(crate) kind: i32,
    /// Nanoseconds since 1970.
    #[prost(fixed64, tag = "7")]
    pub(crate) start: u64,
    #[prost(fixed64, tag = "8")]
    pub(crate) end: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

/// A text or a number. There is no other kind here.
#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(string, optional, tag = "1")]
    text: Option<String>,
    #[prost(int64, optional, tag = "3")]
    number: Option<i64>,
}

impl Span {
    pub(crate) fn trace(&self) -> String {
        hex(&self.trace)
    }

    pub(crate) fn id(&self) -> String {
        hex(&self.id)
    }

    pub(crate) fn parent(&self) -> String {
        hex(&self.parent)
    }

    fn value(&self, key: &str) -> AnyValue {
        let found = self.attributes.iter().find(|attribute| attribute.key == key);
        found.and_then(|found| found.value.clone()).unwrap_or_else(|| panic!("{key}: {self:?}"))
    }

    pub(crate) fn text(&self, key: &str) -> String {
        self.value(key).text.unwrap()
    }

    pub(crate) fn number(&self, key: &str) -> i64 {
        self.value(key).number.unwrap()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One request of the program.
#[derive(Clone)]
pub(crate) struct Export {
    pub(crate) path: String,
    pub(crate) head: String,
    body: Vec<u8>,
}

impl Export {
    /// Returns `true` if the body has a text anywhere.
    pub(crate) fn contains(&self, text: &str) -> bool {
        self.body.windows(text.len()).any(|bytes| bytes == text.as_bytes())
    }
}

pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    exports: Arc<Mutex<Vec<Export>>>,
}

impl Collector {
    /// One that answers.
    pub(crate) fn start() -> Self {
        Self::begin(|stream, exports| serve(stream, exports, true))
    }

    /// One that reads what it is sent, and never answers.
    pub(crate) fn silent() -> Self {
        Self::begin(|stream, exports| serve(stream, exports, false))
    }

    /// One that answers over TLS, with a certificate for localhost.
    pub(crate) fn secure(certificate: &str, key: &str) -> Self {
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes());
        let chain = chain.collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider);
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let config = Arc::new(config.with_single_cert(chain, key).unwrap());
        Self::begin(move |stream, exports| {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            serve(StreamOwned::new(connection, stream), exports, true);
        })
    }

    fn begin(serve: impl Fn(TcpStream, &Mutex<Vec<Export>>) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, exports) = (listener.local_addr().unwrap(), Arc::default());
        let (all, serve) = (Arc::clone(&exports), Arc::new(serve));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, all, serve) = (stream.unwrap(), Arc::clone(&all), Arc::clone(&serve));
                thread::spawn(move || serve(stream, &all));
            }
        });
        Self { address, exports }
    }

    pub(crate) fn exported(&self) -> Vec<Export> {
        self.exports.lock().unwrap().clone()
    }

    /// All spans so far, in the order in which they began.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let decode = |export: Export| Traces::decode(&*export.body).unwrap().resources;
        let resources = self.exported().into_iter().flat_map(decode);
        let scopes = resources.flat_map(|resource| resource.scopes);
        let mut spans: Vec<_> = scopes.flat_map(|scope| scope.spans).collect();
        spans.sort_by_key(|span| span.start);
        spans
    }

    pub(crate) fn wait_for<T>(&self, what: &str, find: impl Fn(&[Span]) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            let spans = self.spans();
            if let Some(found) = find(&spans) {
                return found;
            }
            assert!(begun.elapsed() < PATIENCE, "in vain waited for {what}: {spans:#?}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn wait_for_export(&self) {
        self.wait_for("an export", |spans| (!spans.is_empty()).then_some(()));
    }
}

/// Reads requests until the program closes.
fn serve(mut stream: impl Read + Write, exports: &Mutex<Vec<Export>>, answers: bool) {
    let mut read = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        while let Some(export) = take(&mut read) {
            exports.lock().unwrap().push(export);
            if answers {
                let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
                // The program may be gone.
                let _ = stream.write_all(answer.as_bytes());
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(count) => read.extend_from_slice(&buffer[..count]),
        }
    }
}

/// Takes a request off what was read, if it is whole.
fn take(read: &mut Vec<u8>) -> Option<Export> {
    let end = read.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(read[..end].to_vec()).unwrap();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
    });
    let whole = end + length.unwrap();
    if read.len() < whole {
        return None;
    }
    let body = read[end..whole].to_vec();
    read.drain(..whole);
    Some(Export { path: head.split(' ').nth(1).unwrap().to_owned(), head, body })
}
