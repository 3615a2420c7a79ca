//! The pages for people and the files they load, embedded in the program.
//!
//! Pages name their files relative to their own address (`/`, `/admin`, `/admin/sign_in`,
//! `/api-explorer`), so they work below any prefix that a proxy puts in front. They hold no script
//! and no style of their own and ask nothing of other hosts, so `default-src 'self'` suits them.

mod files;
pub(crate) mod tutorial;

use std::sync::LazyLock;

pub(crate) use files::static_file;

/// The admin page, for `/admin`.
pub(crate) static ADMIN: LazyLock<String> =
    LazyLock::new(|| with_bar(include_str!("../../web/admin/admin.html"), "", Some("admin")));

/// The API explorer, for `/api-explorer`.
pub(crate) static EXPLORER: LazyLock<String> =
    LazyLock::new(|| with_bar(include_str!("../../web/explorer.html"), "", Some("api-explorer")));

/// The pages that every page leads to: where they lie, and their names.
const PLACES: [(&str, &str); 3] =
    [("./", "Tutorial"), ("admin", "Admin"), ("api-explorer", "API explorer")];

/// The way out, for the pages that are behind the sign-in.
const SIGN_OUT: (&str, &str) = ("admin/sign_out", "Sign out");

/// A page with the bar that all pages have at their top. `root` leads from the page to where `/` is;
/// `current` is the place of the page itself, if it is one.
fn with_bar(page: &str, root: &str, current: Option<&str>) -> String {
    let is_signed_in = current.is_some_and(|current| current != "./");
    let places = PLACES.into_iter().chain(is_signed_in.then_some(SIGN_OUT));
    let links: String = places
        .map(|(place, name)| {
            let mark = if current == Some(place) { " aria-current=\"page\"" } else { "" };
            format!("      <a href=\"{root}{place}\"{mark}>{name}</a>\n")
        })
        .collect();
    page.replace("{{bar}}", include_str!("../../web/bar.html").trim_end())
        .replace("{{links}}", &links)
}

/// Steps up to the root that an error page takes: a path of slashes alone must not make it long.
const MOST_STEPS: usize = 32;

/// What a browser gets where a request is not served. `path` is what was asked for, below the
/// prefix of a proxy: from it follows where the page's files are.
pub(crate) fn error_page(path: &str, title: &str, message: &str) -> String {
    let steps = path.matches('/').count().saturating_sub(1);
    let root = "../".repeat(steps.min(MOST_STEPS));
    // The start page itself may be what is not served.
    let (back, link) =
        if path == "/" { ("admin", "Go to the admin page") } else { ("./", "Go to the tutorial") };
    with_bar(include_str!("../../web/error.html"), &root, None)
        .replace("{{root}}", &root)
        .replace("{{title}}", title)
        .replace("{{back}}", &format!("{root}{back}"))
        .replace("{{link}}", link)
        .replace("{{message}}", &escaped(message))
}

/// The sign-in page, for `/admin/sign_in`, with the name that was typed (empty at first) and, after
/// a refusal, what was wrong. Both may hold any text: they are escaped here. `next` names the page
/// to go to, if it is not `/admin`.
pub(crate) fn sign_in_page(name: &str, error: Option<&str>, next: Option<&'static str>) -> String {
    let error = error.map_or_else(String::new, |error| {
        format!(r#"<p id="error" class="error" role="alert">{}</p>"#, escaped(error))
    });
    let (focus_name, focus_password) =
        if name.is_empty() { (" autofocus", "") } else { ("", " autofocus") };
    // The name comes last: braces in it are then no longer looked at.
    with_bar(include_str!("../../web/sign_in.html"), "../", None)
        .replace("{{focus_name}}", focus_name)
        .replace("{{focus_password}}", focus_password)
        .replace("{{next}}", &next.map(|next| format!("?next={next}")).unwrap_or_default())
        .replace("{{error}}", &error)
        .replace("{{name}}", &escaped(name))
}

/// The tutorial, for `/`: to be played with, or the reason why it cannot be.
pub(crate) fn tutorial_page(standing: Result<(), &'static str>) -> String {
    let (state, why) = match standing {
        Ok(()) => ("on", ""),
        Err(why) => ("off", why),
    };
    let page = with_bar(include_str!("../../web/tutorial.html"), "", Some("./"));
    page.replace("{{simulation}}", state).replace("{{why}}", &escaped(why))
}

/// A text for use between tags and in quoted attributes.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
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
    #![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]
    #![allow(clippy::disallowed_methods, reason = "a test may wait")]

    use super::*;

    fn pages() -> [(&'static str, String); 5] {
        [
            ("admin", ADMIN.clone()),
            ("api-explorer", EXPLORER.clone()),
            ("admin/sign_in", sign_in_page("ann", Some("wrong"), None)),
            ("", tutorial_page(Err("why"))),
            ("no/such", error_page("/no/such", "Not Found", "nothing <here>")),
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
            let page = error_page(path, "Not Found", "<b>");
            assert!(page.contains(&format!("href=\"{root}static/admin/style.css\"")), "{path}");
            assert!(page.contains("&lt;b&gt;") && !page.contains("<b>"), "{page}");
        }
        assert!(error_page(&"/".repeat(10_000), "Not Found", "").len() < 4096);
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
