//! The commands for connections, messages, users and channels, in all output forms.

use channelstream_client::Uuid;
use serde_json::Value;

use crate::program::{ask, ask_until_it_fails, failed, printed, published};
use crate::server::Server;
use crate::traffic::{configure, history};

fn json(server: &Server, arguments: &[&str]) -> Value {
    serde_json::from_str(&printed(ask(server, arguments))).unwrap()
}

#[test]
fn a_connection_joins_leaves_and_ends() {
    let server = Server::start();
    let id = printed(ask(&server, &["connect", "ann", "news", "--quiet"]));
    let id = id.trim_end();
    let _: Uuid = id.parse().unwrap();

    let table = printed(ask(&server, &["subscribe", id, "chat", "news"]));
    assert_eq!(table, "joined    chat\nchannels  chat, news\n");
    let left = json(&server, &["unsubscribe", id, "news", "--json"]);
    assert_eq!(left["unsubscribed_from"], serde_json::json!(["news"]));
    assert_eq!(left["channels_info"]["channels"]["chat"]["total_connections"], 1);
    assert_eq!(printed(ask(&server, &["subscribe", id, "news", "--quiet"])), "");

    assert_eq!(printed(ask(&server, &["disconnect", id])), format!("disconnected {id}\n"));
    let ended = ask_until_it_fails(&server, &["disconnect", id]);
    let (what, hint) = failed(&ended, 1);
    assert_eq!(what, format!("the server does not know the connection {id}"));
    assert!(hint.is_some());
    assert_eq!(ask(&server, &["disconnect", id, "--quiet"]).code, 1);
    failed(&ask(&server, &["subscribe", id, "news"]), 1);
}

#[test]
fn channels_are_deleted_and_unknown_ones_told() {
    let server = Server::start();
    configure(&server, &["news", "chat"]);
    let deleted = printed(ask(&server, &["delete-channel", "nowhere", "news"]));
    assert_eq!(deleted, "deleted  news\nunknown  nowhere\n");
    assert_eq!(ask(&server, &["info", "news"]).code, 1);
    let answer = json(&server, &["delete-channel", "news", "chat", "--json"]);
    assert_eq!(answer, serde_json::json!({"deleted": ["chat"], "unknown": ["news"]}));
    assert_eq!(printed(ask(&server, &["delete-channel", "news", "--quiet"])), "");
    assert_eq!(printed(ask(&server, &["delete-channel", ""])), "unknown\n");
}

#[test]
fn users_are_disconnected_and_refused() {
    let server = Server::start();
    printed(ask(&server, &["connect", "ann", "news", "--quiet"]));
    let arguments = ["disconnect-user", "ann", "--reason", "spam", "--refuse-for", "5m"];
    let done = printed(ask(&server, &arguments));
    assert_eq!(done, "ended 1 connection\nrefused for 300 s\n");
    let refused = ask(&server, &["connect", "ann"]);
    assert!(failed(&refused, 1).0.contains("spam"), "{}", refused.err);
    let answer = json(&server, &["disconnect-user", "ann", "--refuse-for", "0s", "--json"]);
    assert_eq!(answer, serde_json::json!({"user": "ann", "connections": 0, "refused_for": 0}));
    printed(ask(&server, &["connect", "ann", "--quiet"]));
    assert_eq!(printed(ask(&server, &["disconnect-user", "ann", "--quiet"])), "");
    failed(&ask(&server, &["disconnect-user", "ann", "--refuse-for", "32d"]), 1);
}

#[test]
fn channels_and_users_are_listed_by_pages() {
    let server = Server::start();
    printed(ask(&server, &["connect", "ann", "news", "chat", "sport", "--quiet"]));
    let page = json(&server, &["list", "channels", "--limit", "2", "--json"]);
    let names = [&page["channels"][0]["name"], &page["channels"][1]["name"], &page["next"]];
    assert_eq!(names, ["chat", "news", "news"]);
    let ended = ask(&server, &["list", "channels", "--limit", "2"]);
    assert!(ended.out.contains("chat") && ended.err.contains("--after \"news\""), "{ended:?}");
    let table = printed(ask(&server, &["list", "channels", "--after", "news"]));
    assert!(table.contains("sport") && !table.contains("chat"), "{table}");
    let table = printed(ask(&server, &["list", "users", "--connected", "--prefix", "a"]));
    assert_eq!(table.lines().count(), 2, "{table}");
    failed(&ask(&server, &["list", "users", "--limit", "0"]), 1);
    failed(&ask(&server, &["list", "channels", "--connected"]), 2);
}

#[test]
fn a_history_is_read_by_pages() {
    let server = Server::start();
    printed(ask(
        &server,
        &["channel", "news", "--create", "--set", "store_history=true", "--quiet"],
    ));
    for text in ["one", "two", "three"] {
        published(ask(&server, &["publish", "news", text]));
    }
    let page = json(&server, &["history", "news", "--limit", "2", "--json"]);
    assert_eq!(page["messages"].as_array().unwrap().len(), 2);
    let next = page["next"].as_str().unwrap();
    let ended = ask(&server, &["history", "news", "--since", next]);
    assert!(ended.out.contains("three") && !ended.out.contains("two"), "{ended:?}");
    assert!(ended.err.contains("for what comes later: --since "), "{ended:?}");
    let ended = ask(&server, &["history", "news", "--since", "0000000a-7"]);
    assert!(ended.out.contains("one") && ended.err.contains("may be missing"), "{ended:?}");
    failed(&ask(&server, &["history", "nowhere"]), 1);
    assert_eq!(ask(&server, &["history", "news", "--since", "yesterday"]).code, 2);
}

#[test]
fn users_have_states() {
    let server = Server::start();
    let arguments =
        ["connect", "ann", "news", "--state", "mood=good", "--state", "n=1.10", "--public", "mood"];
    let table = printed(ask(&server, &arguments));
    assert!(table.contains("\nstate       mood=\"good\" n=1.10\n"), "{table}");
    assert!(table.contains("\npublic      mood=\"good\"\n"), "{table}");
    let connected = json(&server, &["connect", "ann", "--json", "--fresh-state", "mood=new"]);
    assert_eq!(connected["state"]["mood"], "good");

    let table = printed(ask(&server, &["user-state", "ann", "mood=bad", "on=true"]));
    assert_eq!(
        table,
        "KEY   VALUE  PUBLIC  CHANGED\n\
         mood  \"bad\"  no      yes\n\
         n     1.10   no      no\n\
         on    true   no      yes\n"
    );
    let set = json(&server, &["user-state", "ann", "--public", "on", "--json"]);
    assert_eq!((&set["public_keys"][0], &set["user_state"]["on"]), (&"on".into(), &true.into()));
    let user = json(&server, &["user", "ann", "--json"]);
    assert_eq!(
        (&user["state"]["mood"], &user["public_state"]),
        (&"bad".into(), &serde_json::json!({"on": true}))
    );
    assert_eq!(user["channels"], serde_json::json!(["news"]));
    assert_eq!(user["connections"].as_array().unwrap().len(), 2);
    let table = printed(ask(&server, &["user", "ann"]));
    assert!(table.contains("channels    news\n") && table.lines().count() == 6, "{table}");
    assert_eq!(printed(ask(&server, &["user", "ann", "--quiet"])), "");
    printed(ask(&server, &["user-state", "ann", "--no-public", "--quiet"]));
    assert_eq!(failed(&ask(&server, &["user", "bob"]), 1).0, "no user `bob` has a connection");
    failed(&ask(&server, &["user-state", "bob", "a=b"]), 1);
}

#[test]
fn messages_are_changed_and_removed() {
    let server = Server::start();
    configure(&server, &["news"]);
    let sent = json(&server, &["publish", "news", "first", "--json"]);
    let id = sent[0]["uuid"].as_str().unwrap();
    assert_eq!(published(ask(&server, &["publish", "news", "--no-history", "x", "--quiet"])), "");

    let edited = printed(ask(&server, &["edit", id, "news", "second", "--user", "ann"]));
    assert_eq!(edited.trim_end(), id);
    let kept = history(&server, "news");
    assert_eq!(kept.as_array().unwrap().len(), 1, "{kept}");
    assert_eq!((&kept[0]["message"]["text"], &kept[0]["user"]), (&"second".into(), &"ann".into()));

    let deleted = json(&server, &["delete", id, "news", "--json"]);
    assert_eq!(deleted[0]["uuid"], id);
    assert_eq!(history(&server, "news"), serde_json::json!([]));
}

#[test]
fn who_heard_a_message_is_told() {
    let server = Server::start();
    let publish = |arguments: &[&str]| {
        let ended = ask(&server, &[&["publish"], arguments].concat());
        assert_eq!(ended.code, 0, "{}", ended.err);
        assert_eq!(ended.out.lines().count(), 1, "the id alone: {}", ended.out);
        ended.err
    };
    assert_eq!(publish(&["nosuch", "x"]), "0 listeners: no such channel\n");
    assert_eq!(publish(&["--to-user", "nobody", "x"]), "0 listeners: no such user\n");
    configure(&server, &["news"]);
    assert_eq!(publish(&["news", "x"]), "0 listeners, stored\n");
    let ended = ask(&server, &["publish", "nosuch", "x", "--quiet"]);
    assert_eq!((ended.out.as_str(), ended.err.as_str()), ("", ""));
    let posted = json(&server, &["publish", "nosuch", "x", "--json"]);
    assert_eq!((&posted[0]["recipients"], &posted[0]["stored"]), (&0.into(), &false.into()));
    assert_eq!(posted[0]["problem"], "no such channel");
}

#[test]
fn channels_are_shown_and_set() {
    let server = Server::start();
    let ended = ask(&server, &["channel", "news"]);
    let (what, hint) = failed(&ended, 1);
    assert_eq!((what, hint), ("the server has no channel `news`", Some("--create creates it")));

    let arguments = ["channel", "news", "--create", "--set", "store_history=true"];
    let table = printed(ask(&server, &arguments));
    assert!(table.contains("store_history                       true\n"), "{table}");
    let info = json(&server, &["channel", "news", "--set", "history_size=2", "--json"]);
    let settings = &info["channels"]["news"]["settings"];
    assert_eq!(
        (&settings["store_history"], &settings["history_size"]),
        (&true.into(), &2.into()),
        "what is not named stays"
    );
    published(ask(&server, &["publish", "news", "a\u{1b}[2Jb"]));
    let table = printed(ask(&server, &["channel", "news"]));
    assert!(table.lines().last().unwrap().contains("system  {\"text\":\"a"), "{table}");
    assert!(!table.contains('\u{1b}'), "{table}");

    let info = json(&server, &["channel", "news", "--set", "history_ttl=3600", "--json"]);
    assert_eq!(info["channels"]["news"]["settings"]["history_ttl"], 3600);
    let message = json(&server, &["publish", "news", "goes", "--expires", "1.5h", "--json"]);
    assert!(message[0]["expires_at"].is_string(), "{message}");
    failed(&ask(&server, &["publish", "news", "goes", "--expires", "0s"]), 1);

    let ended = ask(&server, &["channel", "news", "--set", "history=2"]);
    let (what, hint) = failed(&ended, 2);
    assert_eq!(what, "channels have no setting `history`");
    assert!(hint.unwrap().contains("history_size"), "{hint:?}");
    let ended = ask(&server, &["channel", "news", "--set", "history_size=many"]);
    assert_eq!(failed(&ended, 2).0, "history_size must be a whole number, not `many`");
}

#[test]
fn info_can_be_quiet() {
    let server = Server::start();
    configure(&server, &["news"]);
    assert_eq!(printed(ask(&server, &["info", "news", "--quiet"])), "");
    failed(&ask(&server, &["info", "nosuch", "--quiet"]), 1);
}
