//! `webhooks test`: what a receiver gets, and what is told of its answer.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::thread::{self, JoinHandle};

use channelstream_signer::webhook::WebhookSigner;

use crate::program::{failed, run};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A receiver of one request, which it returns as head and body.
fn receiver(answer: &'static str) -> (SocketAddr, JoinHandle<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let received = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut text, mut buffer) = (String::new(), [0; 4096]);
        loop {
            let count = stream.read(&mut buffer).unwrap();
            text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
            if let Some((head, body)) = text.split_once("\r\n\r\n")
                && body.ends_with("\"type\":\"test\"}")
            {
                stream.write_all(answer.as_bytes()).unwrap();
                return (head.to_owned(), body.to_owned());
            }
        }
    });
    (address, received)
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).unwrap().1
}

#[test]
fn a_receiver_gets_a_signed_webhook_and_its_answer_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    let (address, received) = receiver("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nok\x1b[31m\n");
    let url = format!("http://{address}/hooks");
    let ended = run(&["webhooks", "test", &url, "--secret-file", file.to_str().unwrap()]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.out.contains("status  200 OK\n"), "{}", ended.out);
    assert!(ended.out.contains("answer  ok\\u{1b}[31m\n"), "{}", ended.out);
    let (head, body) = received.join().unwrap();
    assert!(head.starts_with("POST /hooks HTTP/1.1"), "{head}");
    let (id, time) = (header(&head, "webhook-id"), header(&head, "webhook-timestamp"));
    let signature = header(&head, "webhook-signature");
    let signer = WebhookSigner::new([SECRET]).unwrap();
    signer.verify(id, time.parse().unwrap(), body.as_bytes(), signature).unwrap();
    assert!(ended.out.contains(&format!("id      {id}\n")), "{}", ended.out);
}

#[test]
fn a_refusal_is_a_failure_with_a_hint() {
    for (answer, code, hint) in [
        ("HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n", "302", "no redirects"),
        ("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n", "401", "same secret"),
        ("HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n", "410", "no more"),
    ] {
        let (address, received) = receiver(answer);
        let url = format!("http://{address}/");
        let ended = run(&["webhooks", "test", &url, "--secret", SECRET, "--quiet"]);
        received.join().unwrap();
        assert_eq!((ended.code, &*ended.out), (1, ""));
        assert!(ended.err.contains(code) && ended.err.contains(hint), "{}", ended.err);
        assert!(!ended.err.contains(SECRET), "{}", ended.err);
    }
}

#[test]
fn what_cannot_be_sent_is_told_without_the_query() {
    let ended = run(&["webhooks", "test", "http://127.0.0.1:1/?token=hidden"]);
    let (what, hint) = failed(&ended, 2);
    assert!(what.contains("whsec_"), "{what}");
    assert!(hint.unwrap().contains("--secret-file"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, SECRET).unwrap();
    let file = file.to_str().unwrap();
    let url = "http://127.0.0.1:1/?token=hidden";
    let ended = run(&["webhooks", "test", url, "--secret-file", file]);
    assert_eq!((ended.code, ended.err.contains("hidden")), (1, false), "{}", ended.err);
}
