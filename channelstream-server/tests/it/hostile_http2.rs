//! Clients of HTTP/2 that reset, never end their heads, flood, or let nothing through.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::app::{PATIENCE, Request, Site, eventually};
use crate::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEAD_TOO_LARGE, HEADERS,
    INITIAL_WINDOW, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame, request,
};
use crate::process::Process;
use crate::raw::TestServer;

/// Bytes by which the memory of the server may grow under an attack.
#[cfg(target_os = "linux")]
const GROWTH: u64 = 24 * 1024 * 1024;

/// The program, and the memory that it had before.
#[cfg(target_os = "linux")]
struct Victim {
    process: Process,
    before: u64,
}

#[cfg(target_os = "linux")]
impl Victim {
    fn start() -> Self {
        let process = Process::start(&[]);
        let before = memory(&process);
        Self { process, before }
    }

    fn open(&self) -> Frames {
        Frames::open(self.process.address, &[])
    }

    /// Shows that the server serves, and has not grown.
    fn assert_well(&self) {
        let info = Request::new("GET", "/info").signed();
        assert_eq!(Site(self.process.address).send(&info).status, 200);
        let grown = memory(&self.process).saturating_sub(self.before);
        assert!(grown < GROWTH, "it has grown by {grown} bytes");
        let log = self.process.log();
        assert!(!log.contains("panic") && !log.contains("ERROR"), "{log}");
    }
}

/// The resident memory of a process, in bytes.
#[cfg(target_os = "linux")]
fn memory(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    1024 * line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn ten_thousand_streams_that_are_reset_at_once_end_the_connection() {
    let victim = Victim::start();
    let mut frames = victim.open();
    let flood: Vec<u8> = (0..10_000)
        .flat_map(|number| {
            let stream = 2 * number + 1;
            let head = frame(HEADERS, END_HEADERS | END_STREAM, stream, &request("GET", "/info"));
            [head, frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
        })
        .collect();
    // The server may close before all of it is written.
    frames.try_write(&flood);
    let rest = frames.rest();
    assert!(rest.iter().any(|frame| frame.kind == GOAWAY) || rest.len() < 100, "{}", rest.len());
    victim.assert_well();
}

#[cfg(target_os = "linux")]
#[test]
fn streams_that_are_reset_one_after_another_are_no_load_that_stays() {
    let victim = Victim::start();
    let mut frames = victim.open();
    for number in 0..10_000 {
        let stream = 2 * number + 1;
        let head = frame(HEADERS, END_HEADERS | END_STREAM, stream, &request("GET", "/healthz"));
        let reset = frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
        // Ten at a time, with a round trip between.
        if !frames.try_write(&[head, reset].concat()) {
            break;
        }
        let ping = frame(PING, 0, 0, &[0; 8]);
        if number % 10 == 9 && (!frames.try_write(&ping) || frames.next_of(PING).is_none()) {
            break;
        }
    }
    victim.assert_well();
}

#[cfg(target_os = "linux")]
#[test]
fn a_head_without_an_end_ends_the_connection() {
    let victim = Victim::start();
    for block in [block(&[("x-more", &"x".repeat(1000))]), Vec::new()] {
        let mut frames = victim.open();
        frames.write(&frame(HEADERS, END_STREAM, 1, &request("GET", "/info")));
        let more = frame(CONTINUATION, 0, 1, &block);
        // What comes behind the end is read and dropped for a moment.
        let begun = Instant::now();
        while frames.try_write(&more) {
            assert!(begun.elapsed() < PATIENCE, "it takes more and more");
        }
        victim.assert_well();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn floods_of_settings_and_pings_are_slowed_down_by_who_does_not_read() {
    let victim = Victim::start();
    for flood in [
        frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255]),
        frame(SETTINGS, 0, 0, &[]),
        frame(PING, 0, 0, &[1; 8]),
        frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()),
    ] {
        let mut frames = victim.open();
        let many = flood.repeat(1000);
        // The answers are not read: at some time the server takes no more, or closes.
        let begun = Instant::now();
        frames.write_timeout(Duration::from_millis(500));
        while begun.elapsed() < Duration::from_secs(3) && frames.try_write(&many) {}
        victim.assert_well();
    }
}

/// Each may change the windows of a hundred streams.
#[test]
fn settings_without_end_end_the_connection() {
    let server = TestServer::start();
    let mut frames = Frames::open(server.address(), &[]);
    let one = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255]);
    for _ in 0..90 {
        frames.write(&one);
    }
    frames.request(1, "GET", "/healthz");
    assert!(frames.next_of(HEADERS).is_some(), "some are taken");
    frames.try_write(&one.repeat(20));
    frames.rest();
}

#[test]
fn streams_beyond_the_limit_are_refused() {
    let server = TestServer::with(|config| config.wake_connections_after = PATIENCE);
    let mut frames = Frames::open(server.address(), &[]);
    for number in 0..101 {
        let id = server.connect(&format!("user{number}"), &["a"]);
        frames.request(2 * number + 1, "GET", &format!("/listen?conn_id={id}"));
    }
    let refused = frames.next_of(RST_STREAM).unwrap();
    assert_eq!((refused.stream, refused.payload[3]), (201, 7), "REFUSED_STREAM");
    eventually("the others listen", || server.debug_figure("listeners") == 100);
    drop(frames);
    eventually("they are gone with the connection", || server.debug_figure("listeners") == 0);
}

#[test]
fn a_head_that_is_too_large_gets_431() {
    let server = TestServer::with(|config| config.max_head_size = 8192);
    let mut frames = Frames::open(server.address(), &[]);
    let large = "x".repeat(9000);
    let headers = block(&[
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", "/info"),
        ("x-large", &large),
    ]);
    frames.write(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &headers));
    let answer = std::iter::from_fn(|| frames.next()).find(|it| it.stream == 1).unwrap();
    assert!(answer.payload.starts_with(&HEAD_TOO_LARGE), "{answer:?}");
    // The connection goes on.
    frames.request(3, "GET", "/nowhere");
    let answer = std::iter::from_fn(|| frames.next()).find(|it| it.stream == 3).unwrap();
    assert_eq!(answer.payload[0], 0x8d);
}

#[test]
fn a_head_that_comes_slowly_ends_with_the_idle_connection() {
    let server = TestServer::with(|config| config.head_timeout = Duration::from_millis(300));
    for begun in [&b""[..], &frame(HEADERS, 0, 1, &request("GET", "/info"))] {
        let mut frames = Frames::open(server.address(), &[]);
        frames.write(begun);
        frames.rest();
    }
    let mut half = server.line();
    half.write("PRI * HTTP/2.0\r\n");
    half.assert_closed();
}

#[test]
fn answers_for_which_no_window_is_opened_are_given_up() {
    for window in [0, 1, 20] {
        let server = TestServer::with(|config| config.answer_timeout = Duration::from_millis(500));
        let mut frames = Frames::open(server.address(), &[(INITIAL_WINDOW, window)]);
        frames.request(1, "GET", "/static/channelstream/index.js");
        frames.request(3, "GET", "/nowhere");
        let mut reset: Vec<_> =
            (0..2).map(|_| frames.next_of(RST_STREAM).unwrap().stream).collect();
        reset.sort_unstable();
        assert_eq!(reset, [1, 3], "{window}");
        // The connection goes on, and says that it does.
        frames.write(&frame(PING, 0, 0, &[7; 8]));
        assert_eq!(frames.next_of(PING).unwrap().flags, ACK);
    }
}

#[test]
fn who_opens_its_window_slowly_gets_the_whole_answer() {
    let server = TestServer::with(|config| config.answer_timeout = Duration::from_secs(3));
    let mut frames = Frames::open(server.address(), &[(INITIAL_WINDOW, 8192)]);
    frames.request(1, "GET", "/static/channelstream/index.js");
    let expected = server.get("/static/channelstream/index.js").body.len();
    let mut received = 0;
    loop {
        let frame = frames.next().unwrap();
        assert_ne!(frame.kind, RST_STREAM, "behind {received} bytes of {expected}");
        if frame.kind != DATA {
            continue;
        }
        received += frame.payload.len();
        if frame.flags & END_STREAM != 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(30));
        let update = u32::try_from(frame.payload.len()).unwrap().to_be_bytes();
        for stream in [0, 1] {
            frames.write(&crate::frames::frame(WINDOW_UPDATE, 0, stream, &update));
        }
    }
    assert_eq!(received, expected);
}

#[test]
fn an_answer_that_fits_the_window_exactly_is_whole() {
    let server = TestServer::start();
    let length = u32::try_from(server.get("/healthz").text().len()).unwrap();
    let mut frames = Frames::open(server.address(), &[(INITIAL_WINDOW, length)]);
    frames.request(1, "GET", "/healthz");
    let mut received = 0;
    while received < length {
        let data = frames.next_of(DATA).unwrap();
        received += u32::try_from(data.payload.len()).unwrap();
        assert_eq!(data.flags & END_STREAM != 0, received == length);
    }
}

#[test]
fn a_stream_for_which_no_window_is_opened_is_given_up_and_its_events_wait() {
    let server = TestServer::with(|config| {
        config.heartbeat_interval = Duration::from_millis(200);
        config.ping_interval = Duration::from_millis(500);
        config.ping_timeout = Duration::from_secs(2);
        config.gc_conns_after = PATIENCE;
    });
    let id = server.connect("ann", &["a"]);
    let mut frames = Frames::open(server.address(), &[(INITIAL_WINDOW, 0)]);
    frames.request(1, "GET", &format!("/stream?conn_id={id}"));
    eventually("it listens", || server.debug_figure("listeners") == 1);
    // More than what is on its way when the stream is given up.
    let text = "x".repeat(50_000);
    for number in 0..4 {
        server.publish("a", &json!({"n": number, "text": text}));
    }
    assert_eq!(frames.next_of(RST_STREAM).unwrap().stream, 1);
    eventually("it is gone", || server.debug_figure("listeners") == 0);
    let rest = server.get(&format!("/listen?conn_id={id}")).json();
    let last = rest.as_array().unwrap().last().unwrap();
    assert_eq!(last["message"]["n"], 3);
}

#[test]
fn a_connection_that_reads_nothing_is_given_up() {
    let server = TestServer::with(|config| config.answer_timeout = Duration::from_secs(1));
    let mut frames = Frames::open(server.address(), &[(INITIAL_WINDOW, 0x7fff_ffff)]);
    frames.write(&frame(WINDOW_UPDATE, 0, 0, &0x7000_0000_u32.to_be_bytes()));
    let mut stream = 1;
    // Until nothing more goes either way.
    frames.write_timeout(Duration::from_millis(300));
    for _ in 0..100 {
        let path = "/static/channelstream/index.js.map";
        let head = frame(HEADERS, END_HEADERS | END_STREAM, stream, &request("GET", path));
        if !frames.try_write(&head) {
            break;
        }
        stream += 2;
    }
    eventually("it is gone", || server.debug_figure("tcp_connections") == 1);
    drop(frames);
}
