//! nginx before a server of these tests, with TLS or without.

#[path = "../../../channelstream-server/tests/it/nginx.rs"]
mod plain;

use std::ops::Deref;

use crate::authority::Issued;
use crate::server::Server;
pub(crate) use plain::{example, example_with};

/// A running nginx, which ends when it is dropped.
pub(crate) struct Nginx(plain::Nginx);

impl Nginx {
    /// Starts nginx with this text in the context `http`.
    pub(crate) fn start(text: &str, server: &Server, tls: Option<&Issued>) -> Self {
        let listen = tls.map_or_else(String::new, |Issued { certificate, key }| {
            let (certificate, key) = (certificate.display(), key.display());
            format!(" ssl;\nssl_certificate {certificate};\nssl_certificate_key {key}")
        });
        Self(plain::Nginx::before(&server.url, text, &listen))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Deref for Nginx {
    type Target = plain::Nginx;

    fn deref(&self) -> &plain::Nginx {
        &self.0
    }
}
