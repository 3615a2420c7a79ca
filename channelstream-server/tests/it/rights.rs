//! Permissions: address, signature, cookie, proxies, scheme, origin (contract §2, §3, §13).

use channelstream_server::Config;
use channelstream_server::config::{Scheme, Secret};
use channelstream_signer::{TimestampSigner, unix_now};
use serde_json::json;

use crate::app::{App, Request};

const SECRET_HEADER: &str = "x-channelstream-secret";

/// Signatures that have to be refused wherever they are looked at.
fn bad_signatures() -> Vec<String> {
    let (signer, now) = (TimestampSigner::new("secret"), unix_now());
    let good = signer.sign_at("/connect", now);
    let without_timestamp = good.replace(&good[8..15], "");
    vec![
        signer.sign_at("/connect", now - 62),
        TimestampSigner::new("another").sign_at("/connect", now),
        good.replacen("/connect", "/message", 1),
        without_timestamp,
        "nonsense".to_owned(),
        " . . ".to_owned(),
    ]
}

/// Status of each path and method without rights and with them.
const PATHS: &[(&str, &str, u16, u16)] = &[
    ("POST", "/connect", 403, 400),
    ("POST", "/subscribe", 403, 400),
    ("POST", "/unsubscribe", 403, 400),
    ("POST", "/user_state", 403, 400),
    ("POST", "/channel_config", 403, 400),
    ("POST", "/message", 403, 400),
    ("PATCH", "/message", 403, 400),
    ("DELETE", "/message", 403, 400),
    ("GET", "/info", 403, 200),
    ("POST", "/info", 403, 200),
    ("PUT", "/info", 403, 200),
    ("GET", "/listen", 422, 422),
    ("GET", "/disconnect", 422, 422),
    ("POST", "/disconnect", 400, 400),
    ("DELETE", "/disconnect", 422, 422),
    ("GET", "/healthz", 200, 200),
    ("HEAD", "/readyz", 200, 200),
    ("GET", "/metrics", 200, 200),
    ("POST", "/metrics", 404, 404),
    ("GET", "/admin", 302, 200),
    ("HEAD", "/admin", 302, 200),
    ("GET", "/admin/debug", 302, 200),
    ("GET", "/admin/stats.json", 302, 200),
    ("GET", "/admin/admin.json", 302, 200),
    ("POST", "/admin/admin.json", 302, 200),
    ("GET", "/api-explorer", 302, 200),
    ("GET", "/openapi.json", 403, 200),
    ("GET", "/admin/sign_in", 200, 200),
    ("GET", "/admin/sign_out", 302, 302),
    ("PUT", "/admin/sign_out", 302, 302),
    ("GET", "/static/admin/style.css", 200, 200),
    ("GET", "/static/admin/none.css", 404, 404),
    ("GET", "/static/channelstream/index.js", 200, 200),
    ("GET", "/static/channelstream/none.js", 404, 404),
    ("OPTIONS", "/connect", 200, 200),
    ("OPTIONS", "/nowhere", 200, 200),
    ("GET", "/nowhere", 404, 404),
    ("GET", "/", 404, 404),
    ("POST", "/", 404, 404),
    ("POST", "/tutorial/connect", 403, 403),
    ("GET", "/tutorial", 404, 404),
    ("GET", "/tutorial/ws", 404, 404),
    ("GET", "/connect", 404, 404),
    ("POST", "/connect/", 404, 404),
    ("POST", "/Connect", 404, 404),
    ("POST", "/listen", 404, 404),
    ("PUT", "/message", 404, 404),
    ("GET", "/admin/other", 404, 404),
    ("GET", "/static/", 404, 404),
    // It checks nothing but the handshake.
    ("GET", "/ws", 426, 426),
];

fn status(app: &App, method: &str, path: &str, signature: Option<&str>) -> u16 {
    let mut request = Request::new(method, path);
    if let Some(signature) = signature {
        request = request.header(SECRET_HEADER, signature);
    }
    app.send(&request).status
}

#[test]
fn the_order_of_checks_is_address_signature_path_rights() {
    let open = App::start(Config::default());
    let elsewhere = "10.0.0.0/8, 127.0.0.2".parse().unwrap();
    let shut = App::start(Config { allow_posting_from: elsewhere, ..Config::default() });
    let good = crate::app::signature();
    let bad = bad_signatures();
    for &(method, path, without, with) in PATHS {
        let told = format!("{method} {path}");
        assert_eq!(status(&open, method, path, None), without, "{told}");
        assert_eq!(status(&open, method, path, Some("")), without, "{told}, empty");
        assert_eq!(status(&open, method, path, Some(&good)), with, "{told}, good");
        for bad in &bad {
            let refused = match path {
                "/ws" => 426,
                "/healthz" | "/readyz" => 200,
                "/metrics" if method == "GET" => 200,
                _ => 401,
            };
            assert_eq!(status(&open, method, path, Some(bad)), refused, "{told}, {bad}");
        }
        // From an address that is not listed, no signature is looked at.
        assert_eq!(status(&shut, method, path, None), without, "{told}, elsewhere");
        assert_eq!(status(&shut, method, path, Some(&good)), without, "{told}, good elsewhere");
        assert_eq!(status(&shut, method, path, Some(&bad[0])), without, "{told}, bad elsewhere");
    }
}

#[test]
fn a_bad_signature_is_told_as_json() {
    let app = App::start(Config::default());
    let request = Request::new("GET", "/nowhere").header("accept", "text/html");
    let answer = app.send(&request.header(SECRET_HEADER, "bad"));
    assert_eq!((answer.status, answer.json()), (401, json!({"request": "Bad Signature"})));
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

#[test]
fn the_signature_may_stand_in_the_query_but_the_header_wins() {
    let app = App::start(Config::default());
    let good = crate::app::signature();
    let encoded = good.replace('/', "%2F");
    let info = |query: &str, header: Option<&str>| status(&app, "GET", query, header);
    let path = format!("/info?secret={encoded}");
    assert_eq!(info(&path, None), 200);
    assert_eq!(info(&format!("/info?secret={good}"), None), 200);
    assert_eq!(info(&path, Some("bad")), 401);
    assert_eq!(info(&path, Some("")), 403);
    assert_eq!(info("/info?secret=bad", Some(&good)), 200);
    assert_eq!(info("/info?secret=bad", None), 401);
    assert_eq!(info("/info?secret=%FF", None), 401);
    assert_eq!(info("/info?secret=", None), 403);
    assert_eq!(info("/info?SECRET=bad", None), 403);
}

#[test]
fn all_secrets_count_and_a_signature_from_the_future_does() {
    let secrets = ["newest", "older"].map(Secret::new).into();
    let app = App::start(Config { secrets, ..Config::default() });
    let now = unix_now();
    for (secret, time, expected) in [
        ("newest", now, 200),
        ("older", now, 200),
        ("older", now - 62, 401),
        ("secret", now, 401),
        ("", now, 401),
        ("newest", now + 3600, 200),
        ("older", u64::MAX, 200),
        ("newest", 0, 401),
    ] {
        let signature = TimestampSigner::new(secret).sign_at("any.value.at:all", time);
        assert_eq!(status(&app, "GET", "/info", Some(&signature)), expected, "{secret} {time}");
    }
}

#[test]
fn without_validation_only_the_age_does_not_count() {
    let app = App::start(Config { validate_requests: false, ..Config::default() });
    let old = TimestampSigner::new("secret").sign_at("/info", unix_now() - 86_400);
    assert_eq!(status(&app, "GET", "/info", Some(&old)), 200);
    let foreign = TimestampSigner::new("another").sign("/info");
    assert_eq!(status(&app, "GET", "/info", Some(&foreign)), 401);
    assert_eq!(status(&app, "GET", "/info", None), 403);
}

/// Signs in: the cookie as a browser sends it back.
fn signed_in(app: &App) -> String {
    let form = Request::new("POST", "/admin/sign_in");
    let answer = app.send(&form.body("username=admin&password=admin_secret"));
    assert_eq!(answer.status, 302, "{answer:?}");
    let cookie = answer.header("set-cookie").unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

#[test]
fn the_cookie_opens_the_admin_area_alone() {
    let elsewhere = "10.0.0.0/8".parse().unwrap();
    for config in [Config::default(), Config { allow_posting_from: elsewhere, ..Config::default() }]
    {
        let app = App::start(config);
        let cookie = signed_in(&app);
        for &(method, path, without, with) in PATHS {
            let is_admin =
                path.starts_with("/admin") || path == "/openapi.json" || path == "/api-explorer";
            let expected = if is_admin { with } else { without };
            let request = Request::new(method, path).header("cookie", &cookie);
            assert_eq!(app.send(&request).status, expected, "{method} {path}");
            if is_admin {
                let request = request.header(SECRET_HEADER, "bad");
                assert_eq!(app.send(&request).status, expected, "{method} {path}, bad signature");
            }
        }
        let (name, value) = cookie.split_once('=').unwrap();
        let foreign = TimestampSigner::new("secret").sign("admin");
        let flipped = value.replacen('a', "b", 1);
        for bad in ["", "admin", &value[1..], &value[..value.len() - 2], &foreign, &flipped] {
            let request = Request::new("GET", "/admin").header("cookie", &format!("{name}={bad}"));
            assert_eq!(app.send(&request).status, 302, "{bad}");
        }
        let among = format!("a=b; {cookie}; c");
        assert_eq!(app.send(&Request::new("GET", "/admin").header("cookie", &among)).status, 200);
    }
}

#[test]
fn a_cookie_outlives_a_restart_only_with_a_secret_of_its_own() {
    let with_secret =
        || Config { cookie_secret: Some(Secret::new("for cookies")), ..Config::default() };
    let admin = |app: &App, cookie: &str| {
        app.send(&Request::new("GET", "/admin").header("cookie", cookie)).status
    };
    let cookie = signed_in(&App::start(with_secret()));
    assert_eq!(admin(&App::start(with_secret()), &cookie), 200);
    assert_eq!(admin(&App::start(Config::default()), &cookie), 302);
    let cookie = signed_in(&App::start(Config::default()));
    assert_eq!(admin(&App::start(Config::default()), &cookie), 302);
}

#[test]
fn https_is_what_a_trusted_proxy_says() {
    let local = || "127.0.0.1".parse().unwrap();
    let strict = Config { enforce_https: true, ..Config::default() };
    let alone = App::start(strict.clone());
    let behind = App::start(Config { trusted_proxies: local(), ..strict });
    for header in ["x-forwarded-proto", "x-scheme", "x-url-scheme"] {
        for (scheme, expected) in [("https", 200), ("HTTPS", 200), ("http", 406), ("", 406)] {
            let request = Request::new("GET", "/info").signed().header(header, scheme);
            assert_eq!(behind.send(&request).status, expected, "{header}: {scheme}");
            assert_eq!(alone.send(&request).status, 406, "{header}: {scheme}");
        }
    }
    // Before anything else, signatures and unknown paths included.
    for path in ["/info", "/nowhere", "/listen", "/static/admin/style.css", "/admin/sign_in"] {
        assert_eq!(status(&alone, "GET", path, Some("bad")), 406, "{path}");
    }
    assert_eq!(status(&alone, "OPTIONS", "/info", None), 406);
    let unknown = uuid::Uuid::new_v4().to_string();
    assert_eq!(alone.socket(&unknown).closed(), Some(1000), "sockets are exempt");
}

#[test]
fn the_address_is_the_one_a_trusted_proxy_names() {
    let posting = "203.0.113.0/24".parse().unwrap();
    let config = Config { allow_posting_from: posting, ..Config::default() };
    let alone = App::start(config.clone());
    let trusted_proxies = "127.0.0.1, 10.0.0.0/8".parse().unwrap();
    let behind = App::start(Config { trusted_proxies, ..config });
    for (forwarded, expected) in [
        ("203.0.113.7", 200),
        ("203.0.113.7, 10.1.2.3", 200),
        ("198.51.100.1", 403),
        ("203.0.113.7, 198.51.100.1", 403),
        ("198.51.100.1, 203.0.113.7", 200),
        ("nonsense", 403),
        ("", 403),
    ] {
        let request = Request::new("GET", "/info").signed().header("x-forwarded-for", forwarded);
        assert_eq!(behind.send(&request).status, expected, "{forwarded}");
        assert_eq!(alone.send(&request).status, 403, "{forwarded}");
    }
}

#[test]
fn prefix_scheme_and_host_of_a_proxy_stand_in_redirects() {
    let app = App::start(Config::default());
    let location = |app: &App, path: &str, headers: &[(&str, &str)]| {
        let request = headers
            .iter()
            .fold(Request::new("GET", path), |request, (name, value)| request.header(name, value));
        let answer = app.send(&request);
        assert_eq!(answer.status, 302, "{answer:?}");
        answer.header("location").unwrap().to_owned()
    };
    let host = ("host", "push.example.org:8443");
    let sign_in = "push.example.org:8443/admin/sign_in";
    assert_eq!(location(&app, "/admin", &[host]), format!("http://{sign_in}"));
    assert_eq!(
        location(&app, "/admin", &[host, ("x-scheme", "https")]),
        format!("https://{sign_in}")
    );
    let both = [host, ("x-scheme", "https"), ("x-url-scheme", "http")];
    assert_eq!(location(&app, "/admin", &both), format!("http://{sign_in}"));
    let prefix = ("x-script-name", "/push");
    for path in ["/push/admin", "/admin"] {
        assert_eq!(
            location(&app, path, &[host, prefix]),
            "http://push.example.org:8443/push/admin/sign_in"
        );
    }
    assert_eq!(status(&app, "GET", "/push/info", Some(&crate::app::signature())), 404);
    let request = Request::new("GET", "/push/info").signed().header("x-script-name", "/push");
    assert_eq!(app.send(&request).status, 200);
    let request = Request::new("GET", "/pushinfo").signed().header("x-script-name", "/push");
    assert_eq!(app.send(&request).status, 404);

    let fixed = App::start(Config { http_scheme: Some(Scheme::Https), ..Config::default() });
    let told = [host, ("x-scheme", "http")];
    assert_eq!(location(&fixed, "/admin", &told), format!("https://{sign_in}"));
}

#[test]
fn other_origins_may_read_what_is_allowed() {
    let app = App::start(Config::default());
    let chosen = ["example.org", "https://other"].map(String::from).into();
    let choosy = App::start(Config { allow_cors: chosen, ..Config::default() });
    let origin = |app: &App, path: &str, origin: &str| {
        let request = Request::new("GET", path).header("origin", origin);
        let answer = app.send(&request);
        let others = ["methods", "headers"]
            .map(|name| answer.header(&format!("access-control-allow-{name}")).is_some());
        assert_eq!(others, [true; 2], "{answer:?}");
        assert_eq!(answer.header("access-control-max-age"), Some("86400"));
        assert_eq!(answer.header("xdomainrequestallowed"), Some("1"));
        answer.header("access-control-allow-origin").map(str::to_owned)
    };
    let any = Some("*".to_owned());
    // Errors as well as answers.
    let client = "/static/channelstream/index.js";
    for path in ["/nowhere", "/info", "/listen?conn_id=x", "/ws", client] {
        assert_eq!(origin(&app, path, "https://anything"), any, "{path}");
        assert_eq!(origin(&choosy, path, "https://www.example.org"), any, "{path}");
        assert_eq!(origin(&choosy, path, "https://other:8443"), any, "{path}");
        assert_eq!(origin(&choosy, path, "http://other"), None, "{path}");
        assert_eq!(origin(&choosy, path, ""), None, "{path}");
    }
    for path in ["/static/admin/style.css", "/admin/sign_out", "/admin", "/admin/sign_in"] {
        let answer = app.send(&Request::new("GET", path).header("origin", "https://anything"));
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
    }
}

/// Settings refuse an empty secret; a program that embeds the server can still give none.
#[test]
fn no_secret_opens_nothing() {
    for secrets in [vec![], vec![Secret::new("")]] {
        let app =
            App::start(Config { secrets, admin_secret: Secret::new(""), ..Config::default() });
        let signed = TimestampSigner::new("").sign("/info");
        let info = Request::new("GET", "/info").header(SECRET_HEADER, &signed);
        assert_eq!(app.send(&info).status, 401);
        let form = Request::new("POST", "/admin/sign_in").body("username=admin&password=");
        assert!(app.send(&form).header("set-cookie").is_none());
    }
}
