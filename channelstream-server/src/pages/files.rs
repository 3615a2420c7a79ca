//! The files that pages load: what they are, how long browsers may keep them, and in which coding
//! they travel.
//!
//! Applications' pages, which are of other origins, load the browser client. Its plain path is good
//! for [`CLIENT_AGE`]. The same files lie below a path that names their content, which browsers may
//! keep for a year: `/static/channelstream/0.1.0-1a2b3c4d/index.js`, as `Content-Location` tells
//! who asks for the plain path. Files of the server's own pages are asked for each time, and not sent
//! again if they are the same.

use std::fmt::Write as _;
use std::sync::LazyLock;

use http::header::{self, HeaderMap, HeaderValue};
use http::{HeaderName, StatusCode};
use sha1::{Digest as _, Sha1};

use crate::http::answer::{Answer, SCRIPT};
use crate::http::problem::Problem;

/// Where the client's files lie: below this folder here, and below the same path.
const CLIENT: &str = "channelstream/";

/// How long a page may use the client without asking: an upgrade of the server reaches pages so much
/// later, and both versions work with it.
const CLIENT_AGE: &str = "public, max-age=3600";

/// What never changes under its path.
const FOREVER: &str = "public, max-age=31536000, immutable";

/// What has to fit the page that loads it.
const ASK_ALWAYS: &str = "no-cache";

/// One embedded file.
#[derive(Debug)]
struct File {
    /// Below `web/`.
    path: &'static str,
    plain: &'static [u8],
    /// The same compressed, if it is worth it: by brotli and by gzip.
    compressed: Option<[&'static [u8]; 2]>,
}

macro_rules! file {
    ($path:literal) => {
        File { path: $path, plain: include_bytes!(concat!("../../web/", $path)), compressed: None }
    };
    ($path:literal, compressed) => {
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

/// All of them. The names of the client's are those of the reference's, whose pages load
/// `index.js`; `channelstream-js` builds them.
static FILES: [File; 29] = [
    file!("admin/acting.js"),
    file!("admin/admin.css"),
    file!("admin/admin.js"),
    file!("admin/channel.js"),
    file!("admin/channels.js"),
    file!("admin/chart.js"),
    file!("admin/element.js"),
    file!("admin/live.js"),
    file!("admin/overview.js"),
    file!("admin/slow.js"),
    file!("admin/users.js"),
    file!("admin/window_list.js"),
    file!("channelstream/channelstream.global.js", compressed),
    file!("channelstream/channelstream.global.js.map"),
    file!("channelstream/channelstream.js"),
    file!("channelstream/index.js", compressed),
    file!("channelstream/index.js.map"),
    file!("channelstream/signer.js"),
    file!("explorer.js"),
    file!("icon.svg"),
    file!("json_text.js"),
    file!("schema.js"),
    file!("sign_in.js"),
    file!("signer.js"),
    file!("snippets.js"),
    file!("socket.js"),
    file!("style.css"),
    file!("tutorial.css"),
    file!("tutorial.js"),
];

/// The files with what tells their content from another, in the order of [`FILES`].
static TAGS: LazyLock<Vec<String>> =
    LazyLock::new(|| FILES.iter().map(|file| digest([file.plain])).collect());

/// The client's version and what tells its files from others of that version.
static CLIENT_VERSION: LazyLock<String> = LazyLock::new(|| {
    let digest = digest(FILES.iter().filter(|file| file.is_of_client()).map(|file| file.plain));
    format!("{}-{}", env!("CARGO_PKG_VERSION"), &digest[..8])
});

/// Tells contents apart; keeps no secrets.
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

/// The file for a path as requested, such as `/static/admin/style.css`, as the headers want it.
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
        // A page that names the client of another server version gets this one's.
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

/// Where a file of that name stands in the table, among the client's or the others.
fn find(name: &str, is_of_client: bool) -> Option<usize> {
    FILES.iter().position(|file| file.is_of_client() == is_of_client && file.name() == name)
}

/// A file in the coding that is wanted; nothing but its tag if the browser has it.
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

/// Whether the browser has what this tag stands for.
fn is_known(tag: &str, asked: &HeaderMap) -> bool {
    items(asked, &header::IF_NONE_MATCH)
        .any(|item| item == "*" || item.trim_start_matches("W/") == tag)
}

/// Of brotli and gzip what `Accept-Encoding` likes best; none if it likes neither, or better what is
/// not compressed.
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
    #![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]
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
        let table: Vec<_> = FILES.iter().map(|file| format!("{folder}{}", file.path)).collect();
        assert_eq!(found, table);
        for (file, path) in FILES.iter().zip(found) {
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
