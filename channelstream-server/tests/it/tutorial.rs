//! The tutorial: its page, and which requests `/tutorial/...` accepts without a signature.

use channelstream_server::Config;
use channelstream_server::config::{Secret, Tutorial};
use serde_json::json;

use crate::app::{Answer, App, Request};

const HOST: &str = "127.0.0.1:8000";

/// What the page of a server at `host` sends to connect a user.
fn from_page(host: &str) -> Request {
    bare(host)
        .header("content-type", "application/json")
        .header("origin", &format!("http://{host}"))
        .header("sec-fetch-site", "same-origin")
}

/// The same without the headers of a browser.
fn bare(host: &str) -> Request {
    let body = json!({"username": "someuser", "channels": ["/tutorial-1"]});
    Request::new("POST", "/tutorial/connect").header("host", host).json(&body)
}

fn assert_refused(answer: &Answer, told: &str) {
    assert_eq!(answer.status, 403, "{told}: {answer:?}");
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("the tutorial does not act for this request: "), "{message}");
}

/// The page: whether it can be played with.
fn is_playable(app: &App, request: &Request) -> bool {
    let answer = app.send(request);
    assert_eq!(answer.status, 200, "{answer:?}");
    let on = answer.body.contains("data-simulation=\"on\"");
    assert!(on || answer.body.contains("data-simulation=\"off\""));
    on
}

fn page(host: &str) -> Request {
    Request::new("GET", "/").header("host", host).header("accept", "text/html,*/*;q=0.8")
}

#[test]
fn who_does_not_ask_for_pages_finds_none() {
    let app = App::start(Config::default());
    for accept in ["*/*", "application/json", "text/plain, */*", "text/html-not"] {
        let request = Request::new("GET", "/").header("accept", accept);
        assert_eq!(app.send(&request).status, 404, "{accept}");
    }
    let answer = app.get("/");
    assert_eq!(answer.status, 404);
    assert!(answer.body.contains("nothing here but a page for browsers"), "{}", answer.body);
    for (method, path, told) in [
        ("GET", "/message", "this path takes POST, PATCH, DELETE, not GET"),
        ("POST", "/conect", "not found; did you mean /connect?"),
        ("GET", "/static/admin/none", "there is no such file"),
        ("GET", "/%ff", "the path is not UTF-8"),
    ] {
        let answer = app.send(&Request::new(method, path));
        assert_eq!(answer.status, 404, "{method} {path}");
        assert!(answer.body.contains(told), "{method} {path}: {}", answer.body);
    }
    let off = with(Tutorial::Off).get("/");
    assert!(off.status == 404 && off.body.contains("switched off"), "{off:?}");
}

fn with(tutorial: Tutorial) -> App {
    App::start(Config { tutorial, ..Config::default() })
}

fn signed_in(app: &App) -> String {
    let form = Request::new("POST", "/admin/sign_in");
    let answer = app.send(&form.body("username=admin&password=admin_secret"));
    answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

#[test]
fn a_local_browser_may_do_what_a_backend_does() {
    let app = App::start(Config::default());
    for host in [HOST, "localhost:8000", "LOCALHOST", "[::1]:8000", "127.0.0.2"] {
        assert!(is_playable(&app, &page(host)), "{host}");
        assert_eq!(app.send(&from_page(host)).ok()["username"], "someuser", "{host}");
    }
    let send = |method: &str, path: &str, body: serde_json::Value| {
        let request = Request::new(method, path).header("host", HOST).json(&body);
        let request = request.header("content-type", "application/json; charset=utf-8");
        app.send(&request.header("origin", &format!("http://{HOST}")))
    };
    let uuid = uuid::Uuid::new_v4();
    let id = app.connect("ann", &["/tutorial-1"]);
    let room = json!("/tutorial-1");
    for (method, path, body) in [
        ("POST", "subscribe", json!({"conn_id": id, "channels": ["other"]})),
        ("POST", "unsubscribe", json!({"conn_id": id, "channels": ["other"]})),
        ("POST", "user_state", json!({"user": "ann", "user_state": {"mood": "happy"}})),
        ("POST", "channel_config", json!({"/tutorial-1": {"store_history": true}})),
        ("POST", "message", json!([{"user": "system", "channel": room, "uuid": uuid}])),
        ("PATCH", "message", json!([{"uuid": uuid, "channel": room, "message": {"n": 2}}])),
    ] {
        send(method, &format!("/tutorial/{path}"), body).ok();
    }
    let info = send("POST", "/tutorial/info", json!({"info": {"channels": [room]}})).ok();
    let channel = &info["channels"]["/tutorial-1"];
    assert_eq!(channel["history"][0]["message"], json!({"n": 2}), "{info}");
    assert_eq!(channel["total_connections"], 6);
    send("DELETE", "/tutorial/message", json!([{"uuid": uuid, "channel": room}])).ok();
    let faulty = send("POST", "/tutorial/connect", json!({"username": ""}));
    assert_eq!(faulty.status, 422, "the endpoint itself answers: {faulty:?}");
    // Nothing else is below that path.
    for path in ["/tutorial/admin/admin.json", "/tutorial/ws", "/tutorial/listen", "/tutorial/"] {
        assert_eq!(send("POST", path, json!({})).status, 404, "{path}");
    }
}

#[test]
fn what_comes_through_a_proxy_is_not_local() {
    let proxies = "127.0.0.1".parse().unwrap();
    let behind = App::start(Config { trusted_proxies: proxies, ..Config::default() });
    for app in [App::start(Config::default()), behind] {
        for (name, value) in [
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-for", "203.0.113.7"),
            ("x-forwarded-for", ""),
            ("x-forwarded-host", HOST),
            ("x-forwarded-proto", "https"),
            ("forwarded", "for=127.0.0.1"),
            ("via", "1.1 proxy"),
            ("x-real-ip", "127.0.0.1"),
            ("x-scheme", "http"),
            ("x-script-name", "/push"),
        ] {
            assert_refused(&app.send(&from_page(HOST).header(name, value)), name);
            assert!(!is_playable(&app, &page(HOST).header(name, value)), "{name}");
        }
        assert!(is_playable(&app, &page(HOST)));
    }
}

#[test]
fn a_name_that_leads_here_is_not_local() {
    let app = App::start(Config::default());
    for host in ["push.test", "localhost.push.test", "127.0.0.1.push.test", "10.0.0.1"] {
        assert_refused(&app.send(&from_page(host)), host);
        assert!(!is_playable(&app, &page(host)), "{host}");
    }
    for request in [from_page(""), from_page("["), from_page(HOST).header("host", "push.test")] {
        assert_eq!(app.send(&request).status, 400, "none, or two");
    }
}

#[test]
fn a_page_of_another_origin_gets_nothing() {
    let json = ("content-type", "application/json");
    let origin = ("origin", "http://127.0.0.1:8000");
    let refused: [&[(&str, &str)]; 9] = [
        &[json],
        &[json, ("origin", "http://push.test")],
        &[json, ("origin", "http://127.0.0.1:8001")],
        &[json, ("origin", "null")],
        &[json, origin, ("sec-fetch-site", "cross-site")],
        &[json, origin, ("sec-fetch-site", "same-site")],
        &[json, origin, ("sec-fetch-site", "none")],
        &[origin],
        &[("content-type", "text/plain"), origin, ("sec-fetch-site", "same-origin")],
    ];
    for tutorial in [Tutorial::Auto, Tutorial::On] {
        let app = with(tutorial);
        let cookie = signed_in(&app);
        for headers in refused {
            let add = |request: Request, &(name, value): &(&str, &str)| request.header(name, value);
            let request = headers.iter().fold(bare(HOST), add);
            assert_refused(&app.send(&request), &format!("{headers:?}"));
            let request = request.header("cookie", &cookie);
            assert_refused(&app.send(&request), &format!("signed in, {headers:?}"));
        }
        let request = bare(HOST).header(json.0, json.1).header(origin.0, origin.1);
        app.send(&request).ok();
        // A preflight is not allowed.
        let first = Request::new("OPTIONS", "/tutorial/connect").header("host", HOST);
        assert_refused(&app.send(&first.header("origin", "http://push.test")), "preflight");
    }
}

#[test]
fn an_admin_may_from_anywhere() {
    let config = || Config { secrets: vec![Secret::new("of its own")], ..Config::default() };
    let app = App::start(config());
    assert!(!is_playable(&app, &page(HOST)), "the secret is nobody's");
    assert_refused(&app.send(&from_page(HOST)), "the secret is nobody's");
    let cookie = signed_in(&app);
    for host in [HOST, "push.test"] {
        let forwarded = ("x-forwarded-for", "203.0.113.7");
        let admin =
            |request: Request| request.header(forwarded.0, forwarded.1).header("cookie", &cookie);
        assert!(is_playable(&app, &admin(page(host))));
        app.send(&admin(from_page(host))).ok();
    }
    let forged = from_page(HOST).header("cookie", "auth_tkt=admin.AAAAAA.AAAA");
    assert_refused(&app.send(&forged), "a cookie that is not ours");
    // It is the admin area's cookie; the API itself still wants a signature.
    let body = json!({"username": "ann"});
    let plain = Request::new("POST", "/connect").header("cookie", &cookie).json(&body);
    assert_eq!(app.send(&plain).status, 403);
}

#[test]
fn only_the_addresses_that_may_post_are_local() {
    let allow_posting_from = "10.0.0.0/8".parse().unwrap();
    let app = App::start(Config { allow_posting_from, ..Config::default() });
    assert_refused(&app.send(&from_page(HOST)), "this machine may not post");
    let app = App::start(Config { host: "0.0.0.0".to_owned(), ..Config::default() });
    assert!(!is_playable(&app, &page(HOST)), "others reach it too");
    assert_refused(&app.send(&from_page(HOST)), "others reach it too");
}

#[test]
fn on_is_for_everybody_and_off_for_nobody() {
    let on = with(Tutorial::On);
    let forwarded = from_page("push.test").header("x-forwarded-for", "203.0.113.7");
    on.send(&forwarded).ok();
    assert!(is_playable(&on, &page("push.test")));
    let off = with(Tutorial::Off);
    let cookie = signed_in(&off);
    for request in [from_page(HOST), from_page(HOST).header("cookie", &cookie)] {
        assert_refused(&off.send(&request), "off");
    }
    assert_eq!(off.send(&page(HOST)).status, 404);
}

#[test]
fn the_page_tells_why_it_cannot_be_played_with() {
    let answer = with(Tutorial::Auto).send(&page("push.test"));
    assert!(answer.body.contains("the address is not 127.0.0.1 or localhost"), "{}", answer.body);
    assert!(!answer.body.contains("{{"), "{}", answer.body);
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'self';"), "{policy}");
    assert_eq!(answer.header("access-control-allow-origin"), None);
}
