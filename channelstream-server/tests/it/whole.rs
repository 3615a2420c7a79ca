//! Requests that are signed as a whole, for tests.

use channelstream_signer::request::{Content, Nonce, RequestSigner, Target};
use channelstream_signer::unix_now;

/// The header that has the signature.
pub(crate) const HEADER: &str = "x-channelstream-signature";

/// A request to be signed as a whole.
#[derive(Clone, Debug)]
pub(crate) struct Whole<'a> {
    pub(crate) secret: &'a str,
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) key: &'a str,
    /// `None` if it is not signed.
    pub(crate) body: Option<&'a [u8]>,
    pub(crate) time: u64,
}

impl<'a> Whole<'a> {
    /// A request that is signed with the default secret, a second from now: what was signed in the very
    /// second in which a server started may be a replay.
    pub(crate) fn new(method: &'a str, path: &'a str, body: &'a str) -> Self {
        let body = Some(body.as_bytes());
        Self { secret: "secret", method, path, key: "", body, time: unix_now() + 1 }
    }

    /// The value of the header, with another nonce each time.
    pub(crate) fn sign(&self) -> String {
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        let target =
            Target { method: self.method, path: self.path, idempotency_key: self.key.as_bytes() };
        let content = self.body.map_or(Content::Unsigned, Content::of);
        let signer = RequestSigner::new(self.secret);
        signer.sign_at(&target, content, self.time, Nonce::new(&nonce).unwrap()).unwrap()
    }
}
