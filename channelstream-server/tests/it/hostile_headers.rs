//! Headers with unexpected contents: an odd byte, another program's cookie, an old sign-in.

use channelstream_server::config::Secret;
use channelstream_signer::TimestampSigner;

use crate::app::signature;
use crate::raw::{Response, TestServer};

/// The answer to a request with these header lines.
#[track_caller]
fn ask(server: &TestServer, request: &str, headers: &[u8], body: &str) -> Response {
    let mut line = server.line();
    let length = body.len();
    let head = format!("{request} HTTP/1.1\r\nconnection: close\r\ncontent-length: {length}\r\n");
    line.write([head.as_bytes(), headers, b"\r\n", body.as_bytes()].concat());
    line.answer()
}

/// The cookies that an answer sets, without their attributes.
fn cookies(answer: &Response) -> Vec<String> {
    let lines = answer.headers.iter().filter(|(name, _)| name == "set-cookie");
    lines.map(|(_, value)| value.split(';').next().unwrap().to_owned()).collect()
}

/// Signs in. Returns the cookie as a browser sends it back.
#[track_caller]
fn sign_in(server: &TestServer, password: &str) -> String {
    let form = format!("username=admin&password={password}");
    let answer = ask(server, "POST /admin/sign_in", b"host: localhost\r\n", &form);
    assert_eq!(answer.status, 302, "{answer:?}");
    cookies(&answer).pop().unwrap()
}

/// Returns `true` if a request with these cookies gets the admin page.
fn is_signed_in(server: &TestServer, cookies: &[u8]) -> bool {
    let headers = [b"host: localhost\r\ncookie: ", cookies, b"\r\n"].concat();
    match ask(server, "GET /admin", &headers, "").status {
        200 => true,
        302 => false,
        other => panic!("{other} for {}", cookies.escape_ascii()),
    }
}

#[test]
fn an_odd_byte_in_another_cookie_costs_that_one() {
    let server = TestServer::start();
    let good = sign_in(&server, "admin_secret");
    let good = good.as_bytes();
    for cookies in [
        [b"name=J\xf6rg; ", good].concat(),
        ["name=J\u{f6}rg; ".as_bytes(), good].concat(),
        [good, b"; \xff"].concat(),
        [b"\xff=\xff;", good, b";\xff;=;;"].concat(),
        [b"a=b\r\ncookie: \xff\r\ncookie: ", good].concat(),
        [b"auth_tkt=\xff; auth_tkt=x; channelstream_1=\xff; ", good].concat(),
    ] {
        assert!(is_signed_in(&server, &cookies), "{}", cookies.escape_ascii());
    }
    for cookies in [[good, b"\xff"].concat(), [b"\xff", good].concat(), b"\xff".to_vec()] {
        assert!(!is_signed_in(&server, &cookies), "{}", cookies.escape_ascii());
    }
}

#[test]
fn an_odd_byte_costs_what_it_stands_in() {
    let server = TestServer::start();
    let cookie = sign_in(&server, "admin_secret");
    // `Accept`: a request that names HTML gets the tutorial's page.
    for accept in [&b"\xff, text/html"[..], b"text/html;x=\xff", b"x/\xff;q=1,text/html;q=0.9"] {
        let headers = [b"host: localhost\r\naccept: ", accept, b"\r\n"].concat();
        assert_eq!(ask(&server, "GET /", &headers, "").status, 200, "{}", accept.escape_ascii());
        let page = ask(&server, "GET /nowhere", &headers, "");
        let content_type = page.header("content-type").unwrap();
        let is_html = content_type.starts_with("text/html");
        assert!(is_html || accept.contains(&b'x'), "{}: {content_type}", accept.escape_ascii());
    }
    let headers = b"host: localhost\r\naccept: \xff\r\naccept: application/json\r\n";
    let page = ask(&server, "GET /nowhere", headers, "");
    assert_eq!(page.header("content-type"), Some("application/json"), "{page:?}");
    // The type of the body, and the origin of the page.
    let act = |content_type: &[u8], origin: &[u8]| {
        let own = format!("host: localhost\r\ncookie: {cookie}\r\ncontent-type: ");
        let headers = [own.as_bytes(), content_type, b"\r\norigin: ", origin, b"\r\n"].concat();
        ask(&server, "POST /admin/api/info", &headers, r#"{"info": {"channels": []}}"#).status
    };
    assert_eq!(act(b"application/json", b"http://localhost"), 200);
    assert_eq!(act(b"application/json; x=\xff", b"http://localhost"), 200);
    assert_eq!(act(b"application/json", b"http://localhost\xff"), 403);
    assert_eq!(act(b"application/json\xff", b"http://localhost"), 403);
    // Offers of a websocket that are ignored.
    let connection = server.connect("ann", &["a"]);
    let offers =
        b"host: localhost\r\nupgrade: \xff, websocket\r\nconnection: \xff\r\nconnection: upgrade\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        sec-websocket-protocol: \xff\r\nsec-websocket-extensions: \xff\r\n";
    let mut line = server.line();
    let request = format!("GET /ws?conn_id={connection} HTTP/1.1\r\n");
    line.write([request.as_bytes(), offers, b"\r\n"].concat());
    assert_eq!(line.answer().status, 101);
    // A signature that is cut or extended is invalid.
    let good = signature();
    for (signature, status) in [(good.as_bytes(), 200), (&[good.as_bytes(), b"\xff"].concat(), 401)]
    {
        let headers =
            [b"host: localhost\r\nx-odd: \xff\r\nx-channelstream-secret: ", signature, b"\r\n"];
        assert_eq!(ask(&server, "GET /info", &headers.concat(), "").status, status);
    }
}

#[test]
fn a_change_of_password_user_or_secret_ends_all_sign_ins() {
    let start = |cookie_secret: &str, user: &str, password: &str| {
        TestServer::with(|config| {
            config.cookie_secret = Some(Secret::new(cookie_secret));
            config.admin_user = user.to_owned();
            config.admin_secret = Secret::new(password);
        })
    };
    let cookie = sign_in(&start("cookies", "admin", "before"), "before");
    assert!(is_signed_in(&start("cookies", "admin", "before"), cookie.as_bytes()), "a restart");
    for (secret, user, password) in [
        ("cookies", "admin", "after"),
        ("cookies", "other", "before"),
        ("others", "admin", "before"),
        // The same letters, divided otherwise.
        ("cookiesa", "dmin", "before"),
        ("cookies", "adminbef", "ore"),
    ] {
        let server = start(secret, user, password);
        assert!(!is_signed_in(&server, cookie.as_bytes()), "{secret} {user} {password}");
    }
    // One of the three parts alone is not enough.
    let server = start("cookies", "admin", "before");
    for secret in ["cookies", "before", "cookiesadminbefore"] {
        let signers = [
            TimestampSigner::new(secret),
            TimestampSigner::builder(secret).salt("channelstream.sign-in").build(),
        ];
        for signer in signers {
            let forged = format!("channelstream_1={}", signer.sign("admin"));
            assert!(!is_signed_in(&server, forged.as_bytes()), "{forged}");
        }
    }
}

#[test]
fn two_servers_on_one_host_leave_each_others_sign_ins_alone() {
    let (one, other) = (TestServer::start(), TestServer::start());
    let cookies = [sign_in(&one, "admin_secret"), sign_in(&other, "admin_secret")];
    let names = cookies.each_ref().map(|cookie| cookie.split_once('=').unwrap().0);
    for (server, name) in [&one, &other].into_iter().zip(names) {
        assert_eq!(name, format!("channelstream_{}", server.address().port()));
    }
    // The browser keeps both, and sends both to both.
    let all = cookies.join("; ");
    assert!(is_signed_in(&one, all.as_bytes()) && is_signed_in(&other, all.as_bytes()));
    let left = sign_out(&one, &all);
    assert_eq!(left, [format!("{}=", names[0])], "nothing else is signed out of");
    // Below two prefixes of one port there are two names.
    let prefixed = |prefix: &str| {
        let headers = format!("host: localhost\r\nx-script-name: {prefix}\r\n");
        let form = "username=admin&password=admin_secret";
        let answer = ask(&one, "POST /admin/sign_in", headers.as_bytes(), form);
        self::cookies(&answer).pop().unwrap()
    };
    let name = |cookie: &str| cookie.split_once('=').unwrap().0.to_owned();
    assert_eq!(name(&prefixed("/a/b")), format!("{}_a_b", names[0]));
}

/// The cookies that a sign-out with these cookies empties.
fn sign_out(server: &TestServer, cookies_sent: &str) -> Vec<String> {
    let headers = format!("host: localhost\r\ncookie: {cookies_sent}\r\n");
    let answer = ask(server, "GET /admin/sign_out", headers.as_bytes(), "");
    assert_eq!(answer.status, 302, "{answer:?}");
    let emptied = answer.headers.iter().filter(|(name, _)| name == "set-cookie");
    assert!(emptied.clone().all(|(_, value)| value.contains("; Max-Age=0;")), "{answer:?}");
    cookies(&answer)
}

#[test]
fn the_old_name_of_the_cookie_is_read_and_signed_out_of_if_it_is_ours() {
    let server = TestServer::start();
    let cookie = sign_in(&server, "admin_secret");
    let (name, value) = cookie.split_once('=').unwrap();
    let old = format!("auth_tkt={value}");
    assert!(is_signed_in(&server, old.as_bytes()));
    // A cookie of that name by another program is not changed.
    let foreign = "auth_tkt=\"0123456789abcdef!userid_type:b64unicode\"";
    assert!(!is_signed_in(&server, foreign.as_bytes()));
    let both = format!("{foreign}; {cookie}");
    assert!(is_signed_in(&server, both.as_bytes()));
    let own = format!("{name}=");
    assert_eq!(sign_out(&server, &both), [&*own]);
    assert_eq!(sign_out(&server, foreign), [&*own]);
    // A sign-in under another name, as of another server behind the same address.
    let other = format!("channelstream_1={value}");
    let all = format!("{old}; {other}; {cookie}");
    assert_eq!(sign_out(&server, &all), [&*own, "auth_tkt=", "channelstream_1="]);
    assert_eq!(sign_out(&server, &other), [&*own, "channelstream_1="]);
}
