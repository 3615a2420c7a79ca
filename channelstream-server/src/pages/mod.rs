//! The pages for people, embedded in the program.
//!
//! All pages have one frame: head, navigation and left edge. A page names its files relative to its
//! own address (`/`, `/admin`, `/admin/sign_in`, `/api-explorer`), so it works below any prefix that
//! a proxy puts in front. Pages hold no inline script or style and request nothing from other hosts,
//! so `default-src 'self'` suits them.

mod files;
mod html;
pub(crate) mod tutorial;

use std::sync::LazyLock;

use http::StatusCode;

pub(crate) use files::static_file;
use html::{Value, fill};

/// The admin page, for `/admin`.
pub(crate) static ADMIN: LazyLock<String> = LazyLock::new(|| {
    let frame = Frame {
        title: "Admin",
        place: Some("admin"),
        files: &["admin.css", "admin.js"],
        ..Frame::default()
    };
    frame.around(include_str!("../../web/admin/admin.html"))
});

/// The API explorer, for `/api-explorer`.
pub(crate) static EXPLORER: LazyLock<String> = LazyLock::new(|| {
    let frame = Frame {
        title: "API explorer",
        place: Some("api-explorer"),
        files: &["explorer.js", "socket.js"],
        ..Frame::default()
    };
    frame.around(include_str!("../../web/explorer.html"))
});

/// The pages that every page links to, in this order: their paths and names.
const PLACES: [(&str, &str); 3] =
    [("./", "Tutorial"), ("admin", "Admin"), ("api-explorer", "API explorer")];

/// The last link of the pages that only admins see.
const SIGN_OUT: (&str, &str) = ("admin/sign_out", "Sign out");

/// What differs between the frames of two pages.
#[derive(Default)]
struct Frame<'a> {
    title: &'a str,
    /// The way from the page to the directory of `/`.
    root: &'a str,
    /// The path of the page itself, if it is one of [`PLACES`].
    place: Option<&'static str>,
    /// Style sheets and scripts beside those of all pages.
    files: &'static [&'static str],
}

impl Frame<'_> {
    /// The whole page, around its own part.
    fn around(&self, main: &str) -> String {
        let root = self.root;
        let is_signed_in = self.place.is_some_and(|place| place != "./");
        let places = PLACES.into_iter().chain(is_signed_in.then_some(SIGN_OUT));
        let links: String = places
            .map(|(place, name)| {
                let mark = if self.place == Some(place) { " aria-current=\"page\"" } else { "" };
                format!("      <a href=\"{root}{place}\"{mark}>{name}</a>\n")
            })
            .collect();
        let files: String = self
            .files
            .iter()
            .map(|file| {
                let path = format!("{root}static/admin/{file}");
                if file.ends_with(".js") {
                    format!("  <script type=\"module\" src=\"{path}\"></script>\n")
                } else {
                    format!("  <link rel=\"stylesheet\" href=\"{path}\">\n")
                }
            })
            .collect();
        let values = [
            ("title", Value::Text(self.title)),
            ("root", Value::Html(root)),
            ("files", Value::Html(&files)),
            ("links", Value::Html(&links)),
            ("main", Value::Html(main)),
        ];
        fill(include_str!("../../web/frame.html"), &values)
    }
}

/// The most steps up that an error page takes to the root: a path of slashes alone must not make the
/// page long.
const MOST_STEPS: usize = 32;

/// The page that a browser gets for a request that is not served. `path` is the requested path below
/// the prefix of a proxy: the relative addresses of the page's files follow from it.
pub(crate) fn error_page(path: &str, status: StatusCode, message: &str) -> String {
    let steps = path.matches('/').count().saturating_sub(1);
    let root = "../".repeat(steps.min(MOST_STEPS));
    let title = status.canonical_reason().unwrap_or("Error");
    // The tutorial itself may be the page that is not served.
    let tutorial = if path == "/" { "" } else { include_str!("../../web/error/tutorial.html") };
    let advice = match status {
        StatusCode::UNAUTHORIZED => include_str!("../../web/error/401.html"),
        StatusCode::FORBIDDEN => include_str!("../../web/error/403.html"),
        StatusCode::NOT_ACCEPTABLE => include_str!("../../web/error/406.html"),
        _ => include_str!("../../web/error/404.html"),
    };
    let root_value = ("root", Value::Html(&root));
    let advice = fill(&[advice, tutorial].concat(), &[root_value]);
    let values = [
        ("code", Value::Text(status.as_str())),
        ("title", Value::Text(title)),
        ("message", Value::Text(message)),
        ("advice", Value::Html(&advice)),
    ];
    let main = fill(include_str!("../../web/error/error.html"), &values);
    Frame { title, root: &root, ..Frame::default() }.around(&main)
}

/// The sign-in page, for `/admin/sign_in`, with the name that was typed (empty at first) and, after
/// a refusal, the reason. `next` names the page to go to, if it is not `/admin`.
pub(crate) fn sign_in_page(name: &str, error: Option<&str>, next: Option<&'static str>) -> String {
    let error = error.map_or_else(String::new, |error| {
        let line = r#"<p id="error" class="error" role="alert">{{error}}</p>"#;
        fill(line, &[("error", Value::Text(error))])
    });
    let (focus_name, focus_password) =
        if name.is_empty() { (" autofocus", "") } else { ("", " autofocus") };
    let next = next.map(|next| format!("?next={next}")).unwrap_or_default();
    let values = [
        ("error", Value::Html(&error)),
        ("name", Value::Text(name)),
        ("next", Value::Text(&next)),
        ("focus_name", Value::Html(focus_name)),
        ("focus_password", Value::Html(focus_password)),
    ];
    let main = fill(include_str!("../../web/sign_in.html"), &values);
    let frame = Frame { title: "Sign in", root: "../", files: &["sign_in.js"], ..Frame::default() };
    frame.around(&main)
}

/// The tutorial, for `/`: it simulates a backend, or names the reason why it does not.
pub(crate) fn tutorial_page(standing: Result<(), &'static str>) -> String {
    let (simulation, why) = match standing {
        Ok(()) => ("on", ""),
        Err(why) => ("off", why),
    };
    let values = [("simulation", Value::Text(simulation)), ("why", Value::Text(why))];
    let main = fill(include_str!("../../web/tutorial.html"), &values);
    let frame = Frame {
        title: "Tutorial",
        place: Some("./"),
        files: &["tutorial.css", "tutorial.js"],
        ..Frame::default()
    };
    frame.around(&main)
}

#[cfg(test)]
fn assert_names_no_host(name: &str, text: &str) {
    let text = text.replace("http://www.w3.org/2000/svg", "");
    for foreign in ["http://", "https://", "\"//", "'//", "url(", "@import"] {
        assert!(!text.contains(foreign), "{name} holds {foreign}");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test may wait")]

    use super::*;

    fn pages() -> [(&'static str, String); 5] {
        [
            ("admin", ADMIN.clone()),
            ("api-explorer", EXPLORER.clone()),
            ("admin/sign_in", sign_in_page("ann", Some("wrong"), None)),
            ("", tutorial_page(Err("why"))),
            ("no/such", error_page("/no/such", StatusCode::NOT_FOUND, "nothing <here>")),
        ]
    }

    /// The text inside each tag of a page, e.g. `input id="name"`.
    fn tags(page: &str) -> impl Iterator<Item = &str> {
        page.split('<').skip(1).filter_map(|rest| rest.split_once('>')).map(|(tag, _)| tag)
    }

    /// The values of an attribute in a page.
    fn values<'page>(page: &'page str, attribute: &str) -> Vec<&'page str> {
        let opening = format!(" {attribute}=\"");
        page.split(&*opening).skip(1).filter_map(|rest| rest.split('"').next()).collect()
    }

    fn is_file(path: &str) -> bool {
        static_file(path, &http::HeaderMap::new()).is_ok()
    }

    #[test]
    fn pages_hold_no_script_and_no_style() {
        for (path, page) in pages() {
            assert!(!page.contains("<style"), "{path} has a style element");
            assert!(!page.contains("javascript:"), "{path} has a script as address");
            for script in page.split("<script").skip(1) {
                let (tag, rest) = script.split_once('>').unwrap();
                let inline = !tag.contains(" src=") || !rest.starts_with("</script>");
                assert!(!inline, "{path} has a script inline: {script}");
            }
            for attribute in tags(&page).flat_map(str::split_whitespace) {
                let name = attribute.split('=').next().unwrap_or_default();
                assert_ne!(name, "style", "{path} has a style attribute");
                let handler = name.starts_with("on") && attribute.contains('=');
                assert!(!handler, "{path} has a handler: {attribute}");
            }
        }
    }

    #[test]
    fn nothing_names_another_host() {
        for (path, page) in pages() {
            assert_names_no_host(path, &page);
        }
    }

    /// The places that a page leads to, each with its name, as seen from `/`.
    #[test]
    fn all_pages_lead_to_the_same_places_in_the_same_order() {
        for (path, page) in pages() {
            assert!(!page.contains("{{"), "{path} keeps a gap: {page}");
            let (_, rest) = page.split_once("<nav aria-label=\"Pages\">").unwrap();
            let (nav, _) = rest.split_once("</nav>").unwrap();
            let root = if path.contains('/') { "../" } else { "" };
            let places: Vec<_> = values(nav, "href")
                .into_iter()
                .map(|place| place.strip_prefix(root).unwrap())
                .collect();
            assert_eq!(places[..3], ["./", "admin", "api-explorer"], "{path}");
            let current =
                PLACES.iter().position(|(place, _)| place.trim_start_matches("./") == path);
            let marks = nav.matches("aria-current").count();
            assert_eq!(marks, usize::from(current.is_some()), "{path}");
        }
    }

    #[test]
    fn error_pages_find_their_files_from_any_path() {
        for (path, root) in [("/", ""), ("/nowhere", ""), ("/a/b", "../"), ("/a/b/c/", "../../../")]
        {
            let page = error_page(path, StatusCode::NOT_FOUND, "<b>");
            assert!(page.contains(&format!("href=\"{root}static/admin/style.css\"")), "{path}");
            assert!(page.contains("&lt;b&gt;") && !page.contains("<b>"), "{page}");
        }
        let longest = error_page(&"/".repeat(10_000), StatusCode::NOT_FOUND, "");
        assert!(longest.len() < 4096, "{}", longest.len());
    }

    #[test]
    fn every_file_that_a_page_names_exists() {
        for (path, page) in pages() {
            let below = if path.contains('/') { "../" } else { "" };
            let files: Vec<_> = [values(&page, "href"), values(&page, "src")]
                .concat()
                .into_iter()
                .filter(|address| address.contains("static/"))
                .collect();
            assert!(files.len() >= 2, "{path} names {files:?}");
            for file in files {
                let file = file.strip_prefix(below).unwrap();
                assert!(is_file(&format!("/{file}")), "{path} names {file}");
            }
        }
    }

    #[test]
    fn every_label_has_its_control() {
        for (path, page) in pages() {
            for control in values(&page, "for") {
                assert!(page.contains(&format!("id=\"{control}\"")), "{path} labels {control}");
            }
        }
    }

    #[test]
    fn only_files_are_found() {
        for path in [
            "/static",
            "/static/",
            "/static/admin",
            "/static/admin/",
            "/static/admin/mod.rs",
            "admin.js",
            "/static/admin/index.js",
            "/static/channelstream/",
            "/static/channelstream/none.js",
            "/static/channelstream/sign_in.js",
            "/static/channelstream/9/none.js",
            "/static/channelstream/x/index.js",
        ] {
            assert!(!is_file(path), "{path}");
        }
    }

    #[test]
    fn sign_in_escapes_name_and_error() {
        let name = r#"<b>"&'{{error}}"#;
        let page = sign_in_page(name, Some("<i>{{focus_name}}"), None);
        assert!(page.contains(r#"value="&lt;b&gt;&quot;&amp;&#39;{{error}}""#), "{page}");
        assert!(page.contains(">&lt;i&gt;{{focus_name}}</p>"), "{page}");
        assert!(!page.contains("<b>") && !page.contains("<i>"), "{page}");
    }

    #[test]
    fn sign_in_begins_with_what_is_missing() {
        let first = sign_in_page("", None, None);
        assert!(!first.contains("{{") && !first.contains("role=\"alert\""), "{first}");
        let focused =
            |page: &str| tags(page).find(|tag| tag.ends_with(" autofocus")).map(str::to_owned);
        assert!(focused(&first).is_some_and(|tag| tag.contains("name=\"username\"")));
        let again = sign_in_page("ann", Some("wrong"), None);
        assert!(focused(&again).is_some_and(|tag| tag.contains("name=\"password\"")));
    }
}
