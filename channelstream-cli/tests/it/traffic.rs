//! `publish` and `info` against a server.

use channelstream_client::{ChannelSettings, Client, Configure, Uuid};
use serde_json::Value;

use crate::program::{ask, command, end, failed, printed, published, run};
use crate::server::{SECRET, Server};

/// Creates channels that keep their messages.
pub(crate) fn configure(server: &Server, names: &[&str]) {
    let settings = ChannelSettings { store_history: true, ..ChannelSettings::default() };
    let configs = Configure::new(names.iter().map(|name| (*name, settings)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = Client::new(&server.url, SECRET).unwrap();
    runtime.block_on(client.configure(configs)).unwrap();
}

pub(crate) fn history(server: &Server, channel: &str) -> Value {
    let json = printed(ask(server, &["info", channel, "--json"]));
    let mut info: Value = serde_json::from_str(&json).unwrap();
    info["channels"][channel]["history"].take()
}

#[test]
fn messages_arrive() {
    let server = Server::start();
    configure(&server, &["news"]);
    let id = published(ask(&server, &["publish", "news", "Hello, \"world\"!"]));
    let id: Uuid = id.strip_suffix('\n').unwrap().parse().unwrap();
    let object = r#" {"n": 1.10, "text": "x"}"#;
    published(ask(&server, &["publish", "news", object, "--user", "ann", "--to-user", "bob"]));

    let history = history(&server, "news");
    let [text, object] = &history.as_array().unwrap()[..] else { panic!("not two: {history}") };
    assert_eq!(text["uuid"], id.to_string());
    assert_eq!(
        (&text["user"], &text["message"]["text"]),
        (&"system".into(), &"Hello, \"world\"!".into())
    );
    assert_eq!((&object["user"], &object["pm_users"][0]), (&"ann".into(), &"bob".into()));
    assert_eq!(object["message"]["n"], 1.1);

    let ended = ask(&server, &["publish", "--to-user", "bob", "only you"]);
    assert_eq!((ended.code, ended.err.as_str()), (0, "0 listeners: no such user\n"));
}

#[test]
fn channels_are_shown_as_a_table() {
    let server = Server::start();
    assert_eq!(printed(ask(&server, &["info"])), "CHANNEL  USERS  CONNECTIONS  LAST ACTIVE\n");
    configure(&server, &["a", "long name", "b"]);
    let table = printed(ask(&server, &["info"]));
    assert_eq!(table.lines().count(), 4, "{table}");
    let row = "long name      0            0  20";
    assert!(table.lines().nth(2).unwrap().starts_with(row), "{table}");

    let ended = ask(&server, &["info", "b", "nosuch", "neither"]);
    assert_eq!((ended.code, ended.out.lines().count()), (1, 2), "{}", ended.out);
    assert_eq!(ended.err, "channelstream: the server has no channel `nosuch`, `neither`\n");
}

#[test]
fn refusals_are_one_line_and_a_hint() {
    let server = Server::start();
    let marked = end(command(&server, &["info"]).env("CHANNELSTREAM_SECRET", "marked-secret"));
    let (what, hint) = failed(&marked, 1);
    assert_eq!(what, "POST /info was refused with 401 Unauthorized");
    assert!(
        hint.unwrap().ends_with("(the secret came from CHANNELSTREAM_SECRET)"),
        "{}",
        marked.err
    );
    assert!(!marked.err.contains("marked"));

    let default = end(command(&server, &["info"]).env_remove("CHANNELSTREAM_SECRET"));
    let hint = failed(&default, 1).1.unwrap();
    assert!(hint.contains("no secret was given, so the default was used"), "{hint}");

    let ended = ask(&server, &["publish", "", "text"]);
    let (what, hint) = failed(&ended, 1);
    assert!(what.ends_with("0.channel: Length must be between 1 and 256."), "{what}");
    assert_eq!(hint, None);

    let elsewhere = format!("{}/nowhere", server.url);
    let ended = ask(&server, &["info", "--url", &elsewhere]);
    let (what, hint) = failed(&ended, 1);
    let expected = "POST /info was refused with 404 Not Found: not found";
    assert_eq!(what, expected);
    assert!(hint.unwrap().contains("path of its address"), "{}", ended.err);
}

#[test]
fn a_server_that_is_not_there() {
    // Bound but not listening: connections are refused.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let ended = run(&["info", "--url", &url]);
    let (what, hint) = failed(&ended, 1);
    assert!(
        what.starts_with(&format!("cannot reach {url} for POST /info: Connection refused")),
        "{what}"
    );
    assert!(hint.unwrap().starts_with("is the server running?"), "{}", ended.err);
}

#[test]
fn what_cannot_be_sent_is_wrong_usage() {
    let ended = run(&["info", "--url", "ftp://127.0.0.1:8000"]);
    let (what, hint) = failed(&ended, 2);
    assert_eq!(what, "the server's address does not begin with http:// or https://");
    assert_eq!(hint, Some("an example of an address: http://127.0.0.1:8000"));
    let ended = run(&["publish", "no address"]);
    assert_eq!(failed(&ended, 2).0, "a channel (or --to-user) and a message are required");
    let ended = run(&["publish", "news", "{\"text\": "]);
    let (what, _) = failed(&ended, 2);
    assert!(what.starts_with("the message is not a valid JSON object: "), "{what}");
}

#[test]
fn messages_that_are_not_quoted_or_no_object() {
    let server = Server::start();
    configure(&server, &["news"]);
    let id = ask(&server, &["publish", "news", "first"]).out;
    let id = id.trim_end();
    for (arguments, example) in [
        (&["publish", "news", "hello", "world"][..], "publish CHANNEL 'Hello world'"),
        (&["publish", "news", "hello", "big", "world"], "publish CHANNEL 'Hello world'"),
        (&["edit", id, "news", "hello", "world"], "edit ID CHANNEL 'Hello world'"),
    ] {
        let ended = ask(&server, arguments);
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{}", ended.err);
        let hint = ended.err.lines().last().unwrap();
        assert!(hint.starts_with("hint: quote a message of several words: "), "{}", ended.err);
        assert!(hint.ends_with(example), "{hint}");
    }
    assert!(!run(&["info", "--josn"]).err.contains("quote"));
    for (json, what) in [
        ("[1,2]", "a list"),
        (" [1, 2]", "a list"),
        ("42", "a number"),
        ("\"quoted\"", "a string"),
        ("true", "a boolean"),
        ("null", "null"),
    ] {
        for arguments in [&["publish", "news", json][..], &["edit", id, "news", json]] {
            let ended = ask(&server, arguments);
            let (text, hint) = failed(&ended, 2);
            let expected = format!("the message is {what} in JSON; it must be an object or a text");
            assert_eq!(
                (text, hint),
                (expected.as_str(), Some("--text sends it as a text")),
                "{json}"
            );
        }
        printed(ask(&server, &["publish", "news", "--text", json, "--quiet"]));
    }
    printed(ask(&server, &["publish", "news", "--text", "{\"a\": 1}", "--quiet"]));
    printed(ask(&server, &["publish", "news", "[draft] 7 things, \"quoted\"", "--quiet"]));
    let history = history(&server, "news");
    let texts: Vec<_> =
        history.as_array().unwrap().iter().map(|message| &message["message"]["text"]).collect();
    assert_eq!(texts[1], "[1,2]");
    assert_eq!(texts[texts.len() - 2..], ["{\"a\": 1}", "[draft] 7 things, \"quoted\""]);
}
