//! Pages of other sites in a browser that reaches the server: what they may not do in its user's
//! name.

use channelstream_server::Config;
use channelstream_server::config::{Secret, Tutorial};
use serde_json::json;

use crate::app::{Answer, App, Request};

/// What a page of another site makes a browser send; the last two come from old ones.
const FOREIGN: [(&str, &str); 5] = [
    ("sec-fetch-site", "cross-site"),
    ("sec-fetch-site", "same-site"),
    ("origin", "http://evil.test"),
    ("origin", "http://localhost:81"),
    ("origin", "null"),
];

/// Names that lead to this machine, and whose pages are then of the server's own origin.
const REBOUND: [&str; 5] =
    ["evil.test", "evil.test:8000", "localhost.evil.test", "127.0.0.1.evil.test:8000", "192.0.2.1"];

#[track_caller]
fn assert_refused(answer: &Answer, setting: &str) {
    assert_eq!(answer.status, 403, "{answer:?}");
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains(setting) && message.contains("well-known default"), "{message}");
}

fn own_secret() -> Config {
    Config { secrets: vec![Secret::new("one of its own")], ..Config::default() }
}

/// What a page can send without asking first.
fn simple(path: &str) -> Request {
    let signed = format!("{path}?secret={}", crate::app::signature());
    Request::new("POST", &signed).header("content-type", "text/plain")
}

#[test]
fn a_page_of_another_site_gets_nothing_by_the_secret_that_everybody_knows() {
    let app = App::start(Config::default());
    app.call("/connect", &json!({"username": "ann", "channels": ["room"]}));
    let body = json!([{"user": "ann", "channel": "room", "message": {"t": "never said"}}]);
    for (name, value) in FOREIGN {
        for (path, body) in [("/info", json!({"info": {}})), ("/message", body.clone())] {
            assert_refused(&app.send(&simple(path).header(name, value).json(&body)), "secret");
        }
        for path in ["/admin/admin.json", "/openapi.json", "/admin/debug"] {
            let request = Request::new("GET", path).signed().header(name, value);
            assert_refused(&app.send(&request), "secret");
        }
        // What needs no rights is for pages of other sites too.
        let id = app.connect("bob", &["room"]);
        let leave = Request::new("GET", &format!("/disconnect?conn_id={id}")).signed();
        assert_eq!(app.send(&leave.header(name, value)).ok(), true);
    }
    for host in REBOUND {
        let request = simple("/info").header("host", host).json(&json!({"info": {}}));
        assert_refused(&app.send(&request), "secret");
    }
    let two = simple("/info").header("host", "localhost").header("host", "evil.test");
    assert_ne!(app.send(&two.json(&json!({"info": {}}))).status, 200);
    assert_eq!(app.channel("room")["history"], json!([]));
}

#[test]
fn programs_and_the_servers_own_pages_are_served_as_before() {
    let app = App::start(Config::default());
    let info = json!({"info": {}});
    for host in ["localhost", "LOCALHOST:8000", "127.0.0.1:8000", "127.1.2.3", "[::1]:8000"] {
        app.send(&Request::call("/info", &info).header("host", host)).ok();
        for own in [
            ("origin", format!("http://{host}")),
            ("sec-fetch-site", "same-origin".to_owned()),
            ("sec-fetch-site", "none".to_owned()),
        ] {
            app.send(&Request::call("/info", &info).header("host", host).header(own.0, &own.1))
                .ok();
        }
    }
    // Other machines call a server that listens for them by names that it does not know.
    let public = App::start(Config { host: "0.0.0.0".to_owned(), ..Config::default() });
    public.send(&Request::call("/info", &info).header("host", "channelstream:8000")).ok();
    for (name, value) in FOREIGN {
        let request = Request::call("/info", &info).header("host", "channelstream:8000");
        assert_refused(&public.send(&request.header(name, value)), "secret");
    }
    // A secret of its own is enough, wherever it comes from.
    let safe = App::start(own_secret());
    let signature = crate::app::signature_with("one of its own");
    for (name, value) in FOREIGN {
        let request = Request::new("GET", "/info").header("host", "push.test");
        let request = request.header("x-channelstream-secret", &signature);
        safe.send(&request.header(name, value)).ok();
    }
}

fn sign_in(app: &App, password: &str, headers: &[(&str, &str)]) -> Answer {
    let form = Request::new("POST", "/admin/sign_in");
    let form = headers.iter().fold(form, |form, (name, value)| form.header(name, value));
    app.send(&form.body(format!("username=admin&password={password}")))
}

#[test]
fn the_password_that_everybody_knows_opens_nothing_by_a_name_of_somebody_else() {
    let app = App::start(own_secret());
    for host in REBOUND {
        let origin = format!("http://{host}");
        for headers in [&[("host", host)][..], &[("host", host), ("origin", &*origin)]] {
            let answer = sign_in(&app, "admin_secret", headers);
            assert_eq!((answer.status, answer.header("set-cookie")), (403, None), "{answer:?}");
        }
    }
    let page = sign_in(&app, "admin_secret", &[("host", "evil.test"), ("accept", "text/html")]);
    assert_eq!((page.status, page.header("set-cookie")), (403, None), "{page:?}");
    assert!(page.body.contains("admin_secret is the well-known default"), "{}", page.body);
    assert_eq!(sign_in(&app, "admin_secret", &[]).status, 302);
    let own = Config { admin_secret: Secret::new("mine"), ..own_secret() };
    assert_eq!(sign_in(&App::start(own), "mine", &[("host", "push.test")]).status, 302);
}

#[test]
fn a_page_of_another_site_cannot_sign_in_and_locks_nobody_out() {
    for admin_secret in ["admin_secret", "one of its own"] {
        let config = Config { max_failed_sign_ins: 2, ..Config::default() };
        let app = App::start(Config { admin_secret: Secret::new(admin_secret), ..config });
        for (name, value) in FOREIGN {
            for password in ["wrong", admin_secret] {
                let answer = sign_in(&app, password, &[(name, value)]);
                assert_eq!((answer.status, answer.header("set-cookie")), (403, None));
            }
        }
        // After ten wrong attempts, the admin can still sign in: the browser sends the origin of
        // the form.
        for own in [("origin", "http://localhost"), ("sec-fetch-site", "same-origin")] {
            assert_eq!(sign_in(&app, admin_secret, &[own]).status, 302, "{own:?}");
        }
        assert_eq!(sign_in(&app, "wrong", &[]).status, 200);
    }
}

#[test]
fn nothing_of_the_admin_area_is_for_pages_of_other_sites() {
    let app = App::start(Config::default());
    let paths = [
        "/admin",
        "/admin/sign_in",
        "/admin/sign_out",
        "/admin/admin.json",
        "/admin/debug",
        "/admin/ws",
        "/admin/api/message",
        "/admin/nowhere",
    ];
    for path in paths {
        for method in ["GET", "POST", "OPTIONS", "PATCH"] {
            for signed in [true, false] {
                let request = Request::new(method, path).header("origin", "http://localhost");
                let request = request.header("access-control-request-method", "POST");
                let request = if signed { request.signed() } else { request };
                let answer = app.send(&request);
                for name in ["origin", "methods", "headers"] {
                    let told = answer.header(&format!("access-control-allow-{name}"));
                    assert_eq!(told, None, "{method} {path}: {answer:?}");
                }
                assert_eq!(answer.header("access-control-max-age"), None, "{method} {path}");
            }
        }
    }
    let elsewhere = app.send(&Request::new("OPTIONS", "/administration"));
    assert_eq!(elsewhere.header("access-control-allow-origin"), Some("*"));
}

#[test]
fn the_tutorial_goes_by_the_same_rule() {
    let app = App::start(Config { tutorial: Tutorial::Auto, ..Config::default() });
    let connect = |headers: &[(&str, &str)]| {
        let request = Request::new("POST", "/tutorial/connect")
            .header("content-type", "application/json")
            .json(&json!({"username": "ann"}));
        let add = |request: Request, &(name, value): &(&str, &str)| request.header(name, value);
        app.send(&headers.iter().fold(request, add)).status
    };
    assert_eq!(connect(&[("origin", "http://localhost")]), 200);
    for foreign in FOREIGN {
        assert_eq!(connect(&[foreign]), 403, "{foreign:?}");
    }
    for host in REBOUND {
        let origin = format!("http://{host}");
        assert_eq!(connect(&[("host", host), ("origin", &origin)]), 403, "{host}");
    }
}
