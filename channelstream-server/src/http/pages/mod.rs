//! The pages for people and the files they load, embedded in the program.
//!
//! Pages name their files relative to their own address (`/`, `/admin`, `/admin/sign_in`,
//! `/api-explorer`), so they work below any prefix that a proxy puts in front. They hold no script
//! and no style of their own and ask nothing of other hosts, so `default-src 'self'` suits them.

use super::answer::SCRIPT;

/// The admin page, for `/admin`.
pub(crate) const ADMIN: &str = include_str!("admin/admin.html");

/// The API explorer, for `/api-explorer`.
pub(crate) const EXPLORER: &str = include_str!("explorer.html");

const TUTORIAL: &str = include_str!("tutorial.html");

const SIGN_IN: &str = include_str!("sign_in.html");

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
    SIGN_IN
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
    TUTORIAL.replace("{{simulation}}", state).replace("{{why}}", &escaped(why))
}

/// The file for a path as requested (`/static/admin/style.css`) with its content type; `None` where
/// there is none.
pub(crate) fn static_file(path: &str) -> Option<(&'static str, &'static [u8])> {
    const CSS: &str = "text/css; charset=UTF-8";
    Some(match path.strip_prefix("/static/admin/")? {
        "acting.js" => (SCRIPT, include_bytes!("admin/acting.js")),
        "admin.css" => (CSS, include_bytes!("admin/admin.css")),
        "admin.js" => (SCRIPT, include_bytes!("admin/admin.js")),
        "channel.js" => (SCRIPT, include_bytes!("admin/channel.js")),
        "channels.js" => (SCRIPT, include_bytes!("admin/channels.js")),
        "chart.js" => (SCRIPT, include_bytes!("admin/chart.js")),
        "element.js" => (SCRIPT, include_bytes!("admin/element.js")),
        "explorer.js" => (SCRIPT, include_bytes!("explorer.js")),
        "icon.svg" => ("image/svg+xml", include_bytes!("icon.svg")),
        "live.js" => (SCRIPT, include_bytes!("admin/live.js")),
        "overview.js" => (SCRIPT, include_bytes!("admin/overview.js")),
        "schema.js" => (SCRIPT, include_bytes!("schema.js")),
        "sign_in.js" => (SCRIPT, include_bytes!("sign_in.js")),
        "signer.js" => (SCRIPT, include_bytes!("signer.js")),
        "slow.js" => (SCRIPT, include_bytes!("admin/slow.js")),
        "snippets.js" => (SCRIPT, include_bytes!("snippets.js")),
        "socket.js" => (SCRIPT, include_bytes!("socket.js")),
        "style.css" => (CSS, include_bytes!("style.css")),
        "tutorial.css" => (CSS, include_bytes!("tutorial.css")),
        "tutorial.js" => (SCRIPT, include_bytes!("tutorial.js")),
        "users.js" => (SCRIPT, include_bytes!("admin/users.js")),
        "window_list.js" => (SCRIPT, include_bytes!("admin/window_list.js")),
        _ => return None,
    })
}

/// The browser client's file for a path as requested, with its content type. Its names are those of
/// the reference's, whose pages load `index.js`; the files are what `channelstream-js` builds.
pub(crate) fn client_file(path: &str) -> Option<(&'static str, &'static [u8])> {
    const MAP: &str = "application/json";
    Some(match path.strip_prefix("/static/channelstream/")? {
        "channelstream.global.js" => {
            (SCRIPT, include_bytes!("channelstream/channelstream.global.js"))
        }
        "channelstream.global.js.map" => {
            (MAP, include_bytes!("channelstream/channelstream.global.js.map"))
        }
        "channelstream.js" => (SCRIPT, include_bytes!("channelstream/channelstream.js")),
        "channelstream.js.map" => (MAP, include_bytes!("channelstream/channelstream.js.map")),
        "index.js" => (SCRIPT, include_bytes!("channelstream/index.js")),
        "signer.js" => (SCRIPT, include_bytes!("channelstream/signer.js")),
        _ => return None,
    })
}

/// A text for use between tags and in quoted attributes.
pub(super) fn escaped(text: &str) -> String {
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
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]
    #![allow(clippy::disallowed_methods, reason = "a test may wait")]

    use super::*;

    fn pages() -> [(&'static str, String); 4] {
        [
            ("admin", ADMIN.to_owned()),
            ("api-explorer", EXPLORER.to_owned()),
            ("admin/sign_in", sign_in_page("ann", Some("wrong"), None)),
            ("", tutorial_page(Err("why"))),
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
        let names = [
            "acting.js",
            "admin.css",
            "admin.js",
            "channel.js",
            "channels.js",
            "chart.js",
            "element.js",
            "explorer.js",
            "icon.svg",
            "live.js",
            "overview.js",
            "schema.js",
            "sign_in.js",
            "signer.js",
            "slow.js",
            "snippets.js",
            "socket.js",
            "style.css",
            "tutorial.css",
            "tutorial.js",
            "users.js",
            "window_list.js",
        ];
        let files = names.map(|name| {
            let (_, bytes) = static_file(&format!("/static/admin/{name}")).unwrap();
            (name, String::from_utf8(bytes.to_vec()).unwrap())
        });
        for (name, text) in files.into_iter().chain(pages()) {
            let text = text.replace("http://www.w3.org/2000/svg", "");
            for foreign in ["http://", "https://", "\"//", "'//", "url(", "@import"] {
                assert!(!text.contains(foreign), "{name} holds {foreign}");
            }
        }
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
                assert!(static_file(&format!("/{file}")).is_some(), "{path} names {file}");
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
        ] {
            assert!(static_file(path).is_none(), "{path}");
        }
    }

    #[test]
    fn the_whole_browser_client_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/pages/channelstream");
        let mut count = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let (content_type, bytes) =
                client_file(&format!("/static/channelstream/{name}")).unwrap();
            assert_eq!(std::fs::read(entry.path()).unwrap(), bytes, "{name}");
            assert_eq!(content_type == SCRIPT, name.ends_with(".js"), "{name}: {content_type}");
            count += 1;
        }
        assert!(count >= 4, "{count} files");
        for name in ["", "none.js", "sign_in.js"] {
            assert!(client_file(&format!("/static/channelstream/{name}")).is_none(), "{name}");
        }
        assert!(client_file("index.js").is_none());
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
