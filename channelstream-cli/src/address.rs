//! `Address`: the server's address as typed; the scheme defaults to http.

/// An address for the client, which validates it.
pub(crate) struct Address {
    pub(crate) url: String,
    /// A note about what was added to the typed address.
    pub(crate) note: Option<&'static str>,
}

const NO_SCHEME: &str = "the server's address has no scheme; http:// is assumed";

impl Address {
    pub(crate) fn parse(text: String) -> Self {
        if has_scheme(&text) {
            return Self { url: text, note: None };
        }
        Self { url: format!("http://{text}"), note: Some(NO_SCHEME) }
    }
}

/// Returns `true` if the text begins with a scheme. A name before a colon counts only if it is a
/// known scheme: `localhost:8000` has none.
fn has_scheme(text: &str) -> bool {
    let name = text.split(':').next().unwrap_or_default().trim_start();
    let known = ["http", "https", "ws", "wss"].iter().any(|known| name.eq_ignore_ascii_case(known));
    text.trim().is_empty() || text.contains("://") || text.contains(':') && known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_defaults_to_http() {
        for text in ["127.0.0.1:8000", "localhost", "[::1]:8000/push", "http", "host:80/http:x"] {
            let Address { url, note } = Address::parse(text.to_owned());
            assert_eq!((url, note), (format!("http://{text}"), Some(NO_SCHEME)));
        }
        for text in ["http://host", "HTTPS://host", "http:/host", "ws:/host/x", "ftp://host", ""] {
            let Address { url, note } = Address::parse(text.to_owned());
            assert_eq!((url.as_str(), note), (text, None));
        }
    }
}
