//! Warnings about entries of `allow_cors` that do not mean what they seem to, with the fix.

use super::read::Reader;

/// An entry matches where its text occurs in `Origin`, such as `https://example.com:8443`.
pub(super) fn check(allow_cors: &[String], read: &mut Reader<'_>) {
    let origin = read.find("allow_cors").origin;
    let warnings = allow_cors.iter().filter_map(|entry| {
        let (problem, instead) = fault(entry)?;
        Some(format!("{origin}: allow_cors has {entry}, {problem}; {instead}"))
    });
    let warnings: Vec<_> = warnings.collect();
    read.warnings.extend(warnings);
}

/// Returns what is wrong with an entry, and what to write instead.
fn fault(entry: &str) -> Option<(&'static str, String)> {
    if entry.contains('*') {
        let instead = if entry == "*" {
            "leave allow_cors empty to let all pages in".to_owned()
        } else {
            "write each origin in full, as in https://shop.example.com".to_owned()
        };
        return Some(("which no origin contains, so that it lets no page in", instead));
    }
    let (scheme, rest) = entry.split_once("://").unwrap_or(("https", entry));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let whole = format!("{}://{}", scheme.to_ascii_lowercase(), host.to_ascii_lowercase());
    if entry == "null" || entry == whole {
        return None;
    }
    if host.len() < rest.len() {
        let problem = "but an origin ends with its host or port, so that it lets no page in";
        return Some((problem, format!("write {whole}")));
    }
    if entry.bytes().any(|byte| byte.is_ascii_uppercase()) {
        let problem = "but browsers write origins in small letters, so that it lets no page in";
        return Some((problem, format!("write {whole}")));
    }
    let problem = "which also lets in pages of every other origin in whose name it occurs";
    Some((problem, format!("write {whole}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_write_is_told() {
        let told = |entry| fault(entry).map(|(problem, instead)| format!("{problem}; {instead}"));
        for good in ["https://example.com", "http://127.0.0.1:8443", "https://[::1]:1", "null"] {
            assert_eq!(told(good), None, "{good}");
        }
        for (entry, wanted) in [
            ("*", "leave allow_cors empty"),
            ("https://*.example.com", "write each origin in full"),
            ("https://example.com/", "no page in; write https://example.com"),
            ("https://example.com:8443/shop?a", "no page in; write https://example.com:8443"),
            (
                "example.com",
                "every other origin in whose name it occurs; write https://example.com",
            ),
            ("example.com/", "write https://example.com"),
            (
                "HTTPS://Example.com",
                "small letters, so that it lets no page in; write https://example.com",
            ),
        ] {
            let told = told(entry).unwrap_or_default();
            assert!(told.contains(wanted), "{entry}: {told}");
        }
    }
}
