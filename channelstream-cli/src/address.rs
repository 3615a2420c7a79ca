//! The server's address as it is typed: what has no scheme is taken as http.

/// An address for the client, which checks it.
pub(crate) struct Address {
    pub(crate) url: String,
    /// What was added to what was typed.
    pub(crate) note: Option<&'static str>,
}

const NO_SCHEME: &str = "the server's address has no scheme, and is taken as http://";

impl Address {
    pub(crate) fn read(text: String) -> Self {
        if has_scheme(&text) {
            return Self { url: text, note: None };
        }
        Self { url: format!("http://{text}"), note: Some(NO_SCHEME) }
    }
}

/// A name before a colon is one only if a scheme is called so: `localhost:8000` has none.
fn has_scheme(text: &str) -> bool {
    let name = text.split(':').next().unwrap_or_default().trim_start();
    let known = ["http", "https", "ws", "wss"].iter().any(|known| name.eq_ignore_ascii_case(known));
    text.trim().is_empty() || text.contains("://") || text.contains(':') && known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_is_what_is_meant_where_no_scheme_is() {
        for text in ["127.0.0.1:8000", "localhost", "[::1]:8000/push", "http", "host:80/http:x"] {
            let Address { url, note } = Address::read(text.to_owned());
            assert_eq!((url, note), (format!("http://{text}"), Some(NO_SCHEME)));
        }
        for text in ["http://host", "HTTPS://host", "http:/host", "ws:/host/x", "ftp://host", ""] {
            let Address { url, note } = Address::read(text.to_owned());
            assert_eq!((url.as_str(), note), (text, None));
        }
    }
}
