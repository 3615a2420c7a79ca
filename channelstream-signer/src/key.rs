//! Keys: how they are derived from secrets, and how they sign and verify.

use std::iter;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{EagerHash, Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};

/// The hash function, used both to derive the key and inside the HMAC
/// (`digest_method` in itsdangerous).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Digest {
    /// SHA-1, the default of itsdangerous and the only one on Channelstream's wire (contract §3).
    #[default]
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// How the HMAC key comes from secret and salt (`key_derivation` in itsdangerous).
///
/// None of them makes a short password strong: use long random secrets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum KeyDerivation {
    /// Digest of salt, the word `signer` and secret: `django-concat`, the default (contract §3).
    #[default]
    DjangoConcat,
    /// Digest of salt and secret: `concat`.
    Concat,
    /// HMAC of the salt, keyed with the secret: `hmac`.
    Hmac,
    /// The secret itself; the salt is not used: `none`.
    None,
}

/// What keys are derived from, but for the digest.
pub(crate) struct Source<'a> {
    pub(crate) newest: &'a [u8],
    pub(crate) older: &'a [Vec<u8>],
    pub(crate) salt: &'a [u8],
    pub(crate) derivation: KeyDerivation,
}

/// The keys of one signer. Each is an HMAC that has taken in its key already, so that signing and
/// verifying start with a copy instead of a derivation.
#[derive(Clone)]
pub(crate) enum Keys {
    Sha1(Box<KeyRing<Sha1>>),
    Sha256(Box<KeyRing<Sha256>>),
    Sha384(Box<KeyRing<Sha384>>),
    Sha512(Box<KeyRing<Sha512>>),
}

#[derive(Clone)]
pub(crate) struct KeyRing<D: EagerHash> {
    newest: Hmac<D>,
    older: Vec<Hmac<D>>,
}

impl Keys {
    pub(crate) fn derive(digest: Digest, source: &Source<'_>) -> Self {
        match digest {
            Digest::Sha1 => Self::Sha1(Box::new(KeyRing::derive(source))),
            Digest::Sha256 => Self::Sha256(Box::new(KeyRing::derive(source))),
            Digest::Sha384 => Self::Sha384(Box::new(KeyRing::derive(source))),
            Digest::Sha512 => Self::Sha512(Box::new(KeyRing::derive(source))),
        }
    }

    /// Signs `text` with the newest key, and appends the separator and the signature in base64.
    pub(crate) fn append_signature(&self, separator: &str, text: &mut String) {
        match self {
            Self::Sha1(ring) => ring.append_signature(separator, text),
            Self::Sha256(ring) => ring.append_signature(separator, text),
            Self::Sha384(ring) => ring.append_signature(separator, text),
            Self::Sha512(ring) => ring.append_signature(separator, text),
        }
    }

    /// Whether any key gives this signature, compared in constant time.
    pub(crate) fn verify(&self, signed: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Sha1(ring) => ring.verify(signed, signature),
            Self::Sha256(ring) => ring.verify(signed, signature),
            Self::Sha384(ring) => ring.verify(signed, signature),
            Self::Sha512(ring) => ring.verify(signed, signature),
        }
    }

    pub(crate) fn digest(&self) -> Digest {
        match self {
            Self::Sha1(_) => Digest::Sha1,
            Self::Sha256(_) => Digest::Sha256,
            Self::Sha384(_) => Digest::Sha384,
            Self::Sha512(_) => Digest::Sha512,
        }
    }
}

impl<D: EagerHash + hmac::digest::Digest> KeyRing<D> {
    fn derive(source: &Source<'_>) -> Self {
        let derive = |secret| derive_key(secret, source.salt, source.derivation);
        Self {
            newest: derive(source.newest),
            older: source.older.iter().map(|secret| derive(secret)).collect(),
        }
    }

    fn append_signature(&self, separator: &str, text: &mut String) {
        let signature = self.newest.clone().chain_update(&*text).finalize().into_bytes();
        text.push_str(separator);
        URL_SAFE_NO_PAD.encode_string(signature, text);
    }

    fn verify(&self, signed: &[u8], signature: &[u8]) -> bool {
        iter::once(&self.newest)
            .chain(&self.older)
            .any(|key| key.clone().chain_update(signed).verify_slice(signature).is_ok())
    }
}

fn derive_key<D: EagerHash + hmac::digest::Digest>(
    secret: &[u8],
    salt: &[u8],
    derivation: KeyDerivation,
) -> Hmac<D> {
    match derivation {
        KeyDerivation::DjangoConcat => keyed(
            &D::new().chain_update(salt).chain_update("signer").chain_update(secret).finalize(),
        ),
        KeyDerivation::Concat => {
            keyed(&D::new().chain_update(salt).chain_update(secret).finalize())
        }
        KeyDerivation::Hmac => {
            keyed(&keyed::<D>(secret).chain_update(salt).finalize().into_bytes())
        }
        KeyDerivation::None => keyed(secret),
    }
}

fn keyed<D: EagerHash>(key: &[u8]) -> Hmac<D> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}
