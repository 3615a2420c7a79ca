//! The files of pages as browsers ask for them, and what people see where nothing is served.

use channelstream_server::Config;
use channelstream_server::config::Tutorial;

use crate::app::{Answer, App, Request};

const CLIENT: &str = "/static/channelstream/index.js";

fn head(app: &App, path: &str, headers: &[(&str, &str)]) -> Answer {
    let request = Request::new("HEAD", path);
    app.send(&headers.iter().fold(request, |request, (name, value)| request.header(name, value)))
}

#[test]
fn the_client_is_one_compressed_file_that_browsers_keep() {
    let app = App::start(Config::default());
    let plain = app.get(CLIENT);
    assert_eq!(plain.header("cache-control"), Some("public, max-age=3600"));
    assert_eq!(plain.header("vary"), Some("Accept-Encoding"));
    assert_eq!(plain.header("content-encoding"), None);
    assert!(!plain.body.contains("from\"") && !plain.body.contains("from '"), "a second request");
    let length =
        |answer: &Answer| answer.header("content-length").unwrap().parse::<usize>().unwrap();
    for (accepted, coding, most) in [
        ("gzip, deflate, br, zstd", Some("br"), 7424),
        ("gzip, deflate", Some("gzip"), 8192),
        ("br;q=0.1, gzip;q=0.2", Some("gzip"), 8192),
        ("br;q=0, gzip;q=0", None, usize::MAX),
        ("identity", None, usize::MAX),
    ] {
        let answer = head(&app, CLIENT, &[("accept-encoding", accepted)]);
        assert_eq!(answer.header("content-encoding"), coding, "{accepted}");
        assert_eq!(answer.header("vary"), Some("Accept-Encoding"), "{accepted}");
        assert!(length(&answer) <= most, "{accepted}: {answer:?}");
        // What another coding has is something else.
        let same = answer.header("etag") == plain.header("etag");
        assert_eq!(same, coding.is_none(), "{accepted}: {answer:?}");
    }
}

#[test]
fn what_a_browser_has_is_not_sent_again() {
    let app = App::start(Config::default());
    for path in [CLIENT, "/static/channelstream/channelstream.global.js", "/static/admin/admin.js"]
    {
        let first = head(&app, path, &[("accept-encoding", "gzip")]);
        let tag = first.header("etag").unwrap();
        for known in [tag.to_owned(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
            let again = head(&app, path, &[("accept-encoding", "gzip"), ("if-none-match", &known)]);
            assert_eq!(again.status, 304, "{path}: {again:?}");
            assert_eq!(again.header("etag"), Some(tag));
            assert_eq!(again.header("cache-control"), first.header("cache-control"));
            assert_eq!(again.header("vary"), first.header("vary"));
        }
        let other = head(&app, path, &[("accept-encoding", "gzip"), ("if-none-match", "\"x\"")]);
        assert_eq!(other.status, 200, "{path}: {other:?}");
    }
    // A page and its scripts have to fit each other.
    assert_eq!(app.get("/static/admin/admin.js").header("cache-control"), Some("no-cache"));
    assert_eq!(app.get("/admin/sign_in").header("cache-control"), Some("no-store"));
}

#[test]
fn a_path_that_names_the_content_never_expires() {
    let app = App::start(Config::default());
    let plain = app.get(CLIENT);
    let location = plain.header("content-location").unwrap();
    assert!(location.starts_with(env!("CARGO_PKG_VERSION")), "{location}");
    let fixed = app.get(&format!("/static/channelstream/{location}"));
    assert_eq!((fixed.status, &fixed.body), (200, &plain.body));
    assert_eq!(fixed.header("cache-control"), Some("public, max-age=31536000, immutable"));
    assert_eq!(fixed.header("access-control-allow-origin"), Some("*"));
    // Pages that name the client of another version get this one, and ask again next time.
    let other = app.get("/static/channelstream/0.0.9-12345678/index.js");
    assert_eq!((other.status, other.header("location")), (302, Some("../index.js")));
    assert_eq!(other.header("cache-control"), Some("no-store"));
    assert_eq!(other.header("access-control-allow-origin"), Some("*"));
    for path in ["/static/channelstream/0.0.9/none.js", "/static/channelstream/x/index.js"] {
        assert_eq!(app.get(path).status, 404, "{path}");
    }
}

#[test]
fn people_get_a_page_with_a_way_back_where_nothing_is_served() {
    let app = App::start(Config { tutorial: Tutorial::Off, ..Config::default() });
    let shown = |path: &str| {
        app.send(
            &Request::new("GET", path)
                .header("accept", "text/html,application/xhtml+xml,*/*;q=0.8"),
        )
    };
    for (path, status, style, back) in [
        ("/nowhere", 404, "static/admin/style.css", "./"),
        ("/no/such/place", 404, "../../static/admin/style.css", "../.././"),
        ("/openapi.json", 403, "static/admin/style.css", "./"),
        ("/", 404, "static/admin/style.css", "admin"),
    ] {
        let page = shown(path);
        assert_eq!(page.status, status, "{path}: {page:?}");
        assert!(page.body.contains(&format!("href=\"{style}\"")), "{path}: {page:?}");
        assert!(page.body.contains("<nav aria-label=\"Pages\">"), "{path}: {page:?}");
        assert!(page.body.contains("What to do next"), "{path}: {page:?}");
        assert!(page.body.contains(&format!("<li><a href=\"{back}\">")), "{path}: {page:?}");
        let policy = app.get("/admin/sign_in").header("content-security-policy").map(str::to_owned);
        assert_eq!(page.header("content-security-policy"), policy.as_deref(), "{path}");
    }
    // Below a prefix that a proxy leaves in the path, the files are as far away as the prefix says.
    let page = app.send(
        &Request::new("GET", "/push/a/b")
            .header("accept", "text/html")
            .header("x-script-name", "/push"),
    );
    assert!(page.body.contains("href=\"../static/admin/style.css\""), "{page:?}");
    // Programs get what they got.
    let json = app.send(&Request::new("GET", "/nowhere").header("accept", "application/json"));
    assert_eq!(json.json()["code"], "404 Not Found");
    // Every refusal with 403 is a page for browsers, and JSON for all that do not name HTML.
    let refused =
        |accept| app.send(&Request::new("POST", "/tutorial/connect").header("accept", accept));
    let page = refused("text/html");
    assert_eq!((page.status, page.header("content-type")), (403, Some("text/html; charset=UTF-8")));
    assert!(page.body.contains("href=\"../admin/sign_in\""), "{page:?}");
    for accept in ["*/*", "application/json"] {
        assert_eq!(refused(accept).json()["code"], "403 Forbidden", "{accept}");
    }
}
