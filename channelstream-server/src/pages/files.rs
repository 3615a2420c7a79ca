//! The files that pages load: their types, their age in browser caches, their content coding.
//!
//! Pages of applications, which have other origins, load the browser client. Browsers may keep its
//! plain path for [`CLIENT_AGE`]. The same files lie below a path that names their content, which
//! browsers may keep for a year: `/static/channelstream/0.1.0-1a2b3c4d/index.js`. The answer to the
//! plain path names it in `Content-Location`. Browsers ask for the files of the server's own pages
//! each time, and receive them only if they have changed.

use std::fmt::Write as _;
use std::sync::LazyLock;

use http::header::{self, HeaderMap, HeaderValue};
use http::{HeaderName, StatusCode};
use sha1::{Digest as _, Sha1};

use crate::http::answer::{Answer, SCRIPT};
use crate::http::problem::Problem;

/// The client's files lie below this folder, and are served below the same path.
const CLIENT: &str = "channelstream/";

/// How long browsers use the client without asking. An upgrade of the server reaches pages that much
/// later; both versions of the client work with it.
const CLIENT_AGE: &str = "public, max-age=3600";

/// For files that never change under their path.
const FOREVER: &str = "public, max-age=31536000, immutable";

/// For files that must fit the page that loads them.
const ASK_ALWAYS: &str = "no-cache";

/// One embedded file.
#[derive(Debug)]
struct File {
    /// Below `web/`.
    path: &'static str,
    plain: &'static [u8],
    /// The content compressed by brotli and by gzip, if that is worth it.
    compressed: Option<[&'static [u8]; 2]>,
}

/// A row of the table below. `compressed` marks files with a `.br` and a `.gz` beside them.
macro_rules! file {
    ($path:literal) => {
        File { path: $path, plain: include_bytes!(concat!("../../web/", $path)), compressed: None }
    };
    ($path:literal compressed) => {
        File {
            path: $path,
            plain: include_bytes!(concat!("../../web/", $path)),
            compressed: Some([
                include_bytes!(concat!("../../web/", $path, ".br")),
                include_bytes!(concat!("../../web/", $path, ".gz")),
            ]),
        }
    };
}

macro_rules! files {
    ($($path:literal $($compressed:ident)?,)*) => { &[$(file!($path $($compressed)?)),*] };
}

/// All embedded files. The client's have the names of the reference's, whose pages load `index.js`;
/// `channelstream-js` builds them.
static FILES: &[File] = files![
    "admin/actions.js",
    "admin/admin.css",
    "admin/admin.js",
    "admin/channel.js",
    "admin/channels.js",
    "admin/chart.js",
    "admin/feed.js",
    "admin/journal.js",
    "admin/overview.js",
    "admin/slow.js",
    "admin/users.js",
    "admin/webhooks.js",
    "admin/window_list.js",
    "applications.js",
    "channelstream/channelstream.global.js" compressed,
    "channelstream/channelstream.global.js.map",
    "channelstream/channelstream.js",
    "channelstream/index.js" compressed,
    "channelstream/index.js.map",
    "channelstream/messages.js" compressed,
    "channelstream/messages.js.map",
    "channelstream/shared.js" compressed,
    "channelstream/shared.js.map",
    "channelstream/signer.js",
    "code.js",
    "element.js",
    "explorer.js",
    "icon.svg",
    "json_text.js",
    "schema.js",
    "sign_in.js",
    "signer.js",
    "snippets.js",
    "socket.js",
    "style.css",
    "tutorial.css",
    "tutorial.js",
];

/// A digest of each file, in the order of [`FILES`].
static TAGS: LazyLock<Vec<String>> =
    LazyLock::new(|| FILES.iter().map(|file| digest([file.plain])).collect());

/// The client's version, and a digest of its files.
static CLIENT_VERSION: LazyLock<String> = LazyLock::new(|| {
    let digest = digest(FILES.iter().filter(|file| file.is_of_client()).map(|file| file.plain));
    format!("{}-{}", env!("CARGO_PKG_VERSION"), &digest[..8])
});

/// Distinguishes contents. It protects no secrets.
fn digest(pieces: impl IntoIterator<Item = &'static [u8]>) -> String {
    let mut sha1 = Sha1::new();
    for piece in pieces {
        sha1.update(piece);
    }
    sha1.finalize().iter().take(8).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl File {
    fn is_of_client(&self) -> bool {
        self.path.starts_with(CLIENT)
    }

    fn name(&self) -> &'static str {
        self.path.rsplit('/').next().unwrap_or(self.path)
    }

    fn content_type(&self) -> &'static str {
        match self.path.rsplit('.').next() {
            Some("js") => SCRIPT,
            Some("css") => "text/css; charset=UTF-8",
            Some("svg") => "image/svg+xml",
            _ => "application/json",
        }
    }
}

/// Returns the file of a path, such as `/static/admin/style.css`, as the request headers want it.
///
/// # Errors
/// If there is no such file.
pub(crate) fn static_file(path: &str, asked: &HeaderMap) -> Result<Answer, Problem> {
    let missing = || Problem::NotFound("there is no such file".into());
    let path = path.strip_prefix("/static/").ok_or_else(missing)?;
    if let Some(name) = path.strip_prefix("admin/") {
        let index = find(name, false).ok_or_else(missing)?;
        return Ok(answer(index, asked)
            .with(header::CACHE_CONTROL, fixed(ASK_ALWAYS))
            .same_origin());
    }
    let path = path.strip_prefix(CLIENT).ok_or_else(missing)?;
    let (version, name) = match path.split_once('/') {
        Some((version, name)) => (Some(version), name),
        None => (None, path),
    };
    let index = find(name, true).ok_or_else(missing)?;
    let cacheable = |age| answer(index, asked).with(header::CACHE_CONTROL, fixed(age));
    match version {
        Some(version) if version == *CLIENT_VERSION => Ok(cacheable(FOREVER)),
        // A page that names the client of another server version gets that of this version.
        Some(version) if version.starts_with(|first: char| first.is_ascii_digit()) => {
            let location = HeaderValue::from_str(&format!("../{name}")).map_err(|_| missing())?;
            Ok(Answer::new(SCRIPT, "")
                .with_status(StatusCode::FOUND)
                .with(header::LOCATION, location))
        }
        Some(_) => Err(missing()),
        None => {
            let location = format!("{}/{name}", *CLIENT_VERSION);
            let location = HeaderValue::from_str(&location).map_err(|_| missing())?;
            Ok(cacheable(CLIENT_AGE).with(header::CONTENT_LOCATION, location))
        }
    }
}

/// The index of a file in the table, among the client's files or the others.
fn find(name: &str, is_of_client: bool) -> Option<usize> {
    FILES.iter().position(|file| file.is_of_client() == is_of_client && file.name() == name)
}

/// Answers with a file in the wanted coding, or with its tag alone if the browser has the file.
fn answer(index: usize, asked: &HeaderMap) -> Answer {
    let (file, tag) = (&FILES[index], &TAGS[index]);
    let (coding, bytes) = match file.compressed {
        Some([brotli, gzip]) => match wanted_coding(asked) {
            Some("br") => (Some("br"), brotli),
            Some(coding) => (Some(coding), gzip),
            None => (None, file.plain),
        },
        None => (None, file.plain),
    };
    let tag = coding.map_or_else(|| format!("\"{tag}\""), |coding| format!("\"{tag}-{coding}\""));
    let is_known = is_known(&tag, asked);
    let mut answer = Answer::new(file.content_type(), if is_known { b"" } else { bytes });
    if is_known {
        answer = answer.with_status(StatusCode::NOT_MODIFIED);
    } else if let Some(coding) = coding {
        answer = answer.with(header::CONTENT_ENCODING, fixed(coding));
    }
    if file.compressed.is_some() {
        answer = answer.with(header::VARY, fixed("Accept-Encoding"));
    }
    match HeaderValue::from_str(&tag) {
        Ok(tag) => answer.with(header::ETAG, tag),
        Err(_) => answer,
    }
}

fn fixed(text: &'static str) -> HeaderValue {
    HeaderValue::from_static(text)
}

/// The items of a header that are text.
fn items<'a>(asked: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    crate::http::header::items(asked, name, b',').filter_map(|item| str::from_utf8(item).ok())
}

/// Whether the browser has the content of this tag.
fn is_known(tag: &str, asked: &HeaderMap) -> bool {
    items(asked, &header::IF_NONE_MATCH)
        .any(|item| item == "*" || item.trim_start_matches("W/") == tag)
}

/// Returns the coding that `Accept-Encoding` prefers: brotli, gzip, or none.
fn wanted_coding(asked: &HeaderMap) -> Option<&'static str> {
    let liking = |coding: &str| {
        let mut any = None;
        for item in items(asked, &header::ACCEPT_ENCODING) {
            let mut parts = item.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let weight = parts
                .find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
                .map_or(1.0, |weight| weight.trim().parse().unwrap_or(0.0_f32));
            if name.eq_ignore_ascii_case(coding) {
                return Some(weight);
            }
            if name == "*" {
                any = Some(weight);
            }
        }
        any
    };
    let plain = liking("identity").unwrap_or(0.0);
    let mut best = (None, f32::MIN_POSITIVE.max(plain));
    for coding in ["gzip", "br"] {
        let liking = liking(coding).unwrap_or(0.0);
        if liking >= best.1 {
            best = (Some(coding), liking);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test may wait")]

    use super::*;

    #[test]
    fn every_file_of_the_folder_is_in_the_table() {
        fn collect(folder: &std::path::Path, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.extension().and_then(|ending| ending.to_str()) {
                    _ if path.is_dir() => collect(&path, found),
                    Some("rs" | "html" | "br" | "gz") => {}
                    _ => found.push(path.to_str().unwrap().to_owned()),
                }
            }
        }
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/web/");
        let mut found = Vec::new();
        collect(std::path::Path::new(folder), &mut found);
        found.sort();
        let mut table: Vec<_> = FILES.iter().map(|file| format!("{folder}{}", file.path)).collect();
        table.sort();
        assert_eq!(found, table);
        for file in FILES {
            let path = format!("{folder}{}", file.path);
            assert_eq!(std::fs::read(path).unwrap(), file.plain, "{}", file.path);
            let twin = FILES.iter().filter(|other| {
                other.is_of_client() == file.is_of_client() && other.name() == file.name()
            });
            assert_eq!(twin.count(), 1, "{}", file.path);
        }
    }

    #[test]
    fn nothing_names_another_host() {
        for file in FILES.iter().filter(|file| !file.is_of_client()) {
            crate::pages::assert_names_no_host(file.path, str::from_utf8(file.plain).unwrap());
        }
    }

    #[test]
    fn the_coding_that_is_liked_best() {
        let wanted = |lines: &[&'static str]| {
            let mut asked = HeaderMap::new();
            for line in lines {
                asked.append(header::ACCEPT_ENCODING, HeaderValue::from_static(line));
            }
            wanted_coding(&asked)
        };
        assert_eq!(wanted(&[]), None);
        assert_eq!(wanted(&[""]), None);
        assert_eq!(wanted(&["identity"]), None);
        assert_eq!(wanted(&["gzip, deflate, br, zstd"]), Some("br"));
        assert_eq!(wanted(&["GZIP;q=1.0", "br;q=0.9"]), Some("gzip"));
        assert_eq!(wanted(&["br;q=0, gzip;q=0.1"]), Some("gzip"));
        assert_eq!(wanted(&["br;q=0,gzip;q=0"]), None);
        assert_eq!(wanted(&["*"]), Some("br"));
        assert_eq!(wanted(&["*;q=0.5, br;q=0"]), Some("gzip"));
        assert_eq!(wanted(&["*;q=0"]), None);
        assert_eq!(wanted(&["identity, gzip;q=0.5"]), None);
        assert_eq!(wanted(&["gzip;q=nonsense"]), None);
        assert_eq!(wanted(&["x-gzip, deflate"]), None);
    }
}
