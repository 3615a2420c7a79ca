//! A restart behind sockets that systemd keeps: nobody is refused while no server is there.

use std::ffi::OsStr;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::app::Site;
use crate::backend::Backend;
use crate::crowd::{Crowd, How};
use crate::journal::{Journal, kept};
use crate::process::Process;
use crate::rounds;

/// Pause between two messages of the backend: about a hundred a second.
const PAUSE: Duration = Duration::from_millis(10);

#[test]
#[expect(clippy::print_stdout, reason = "the figures are asked for beside the verdict")]
fn restarts_behind_a_socket_unit_refuse_and_lose_nothing() {
    let count = rounds(200, 1000) as usize;
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    // As `Backlog=` in the unit.
    rustix::net::listen(&socket, 4096).unwrap();
    let (address, site) = (socket.local_addr().unwrap(), Site(socket.local_addr().unwrap()));
    let journal = Journal::new();
    let flags = journal.flags();
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let start = || {
        let server = Process::start_on(socket.try_clone().unwrap(), &flags, &[]);
        assert_eq!(server.address, address, "where the socket is, whatever --port says");
        server
    };
    let mut server = start();
    let settings = json!({"store_history": true, "history_size": 100_000, "store_frames": true,
        "frames_size": 100_000});
    site.configure("news", &settings);
    let crowd = Crowd::gather(address, "news", count, &[How::WebSocket]);
    let backend = Backend::start(address, "news", PAUSE);
    for round in 2..2 + rounds(2, 10) as usize {
        backend.goes_on(20);
        let begun = Instant::now();
        server.signal("TERM");
        server.ended();
        let ended = begun.elapsed();
        server = start();
        let started = begun.elapsed();
        crowd.opens(round);
        let all = begun.elapsed();
        println!("ended after {ended:?}, listens after {started:?}, all are back after {all:?}");
    }
    backend.goes_on(20);
    let refused = (backend.refused(), crowd.refused());
    let (last, repeats) = backend.stop();
    crowd.hears(last);
    println!("{last} messages, {repeats} repeats, {} lines, {refused:?} refused", crowd.lines());
    assert_eq!(refused, (0, 0));
    assert!(kept(site, "news").into_iter().eq(1..=last));
    assert_eq!(site.channel("news")["total_users"], count);
}

#[test]
fn a_socket_for_another_process_is_not_taken() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = socket.local_addr().unwrap();
    let other = [("LISTEN_FDS", OsStr::new("1")), ("LISTEN_PID", OsStr::new("1"))];
    let server = Process::start_in(&[], &other);
    assert_ne!(server.address, taken);
    assert_eq!(Site(server.address).get("/healthz").status, 200);
}
