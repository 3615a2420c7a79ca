//! Signatures of every quality, made without the product's own signer (contract §3).

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use channelstream_signer::unix_now;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::{Digest as _, Sha1};

use crate::json::Json;

/// `value` signed as if `age` seconds ago; a negative age lies in the future.
pub(crate) fn sign(secret: &str, value: &str, age: i64) -> Result<String> {
    let time = unix_now().checked_add_signed(-age).context("age out of range")?;
    let bytes = time.to_be_bytes();
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    Ok(sign_untimed(secret, &format!("{value}.{}", URL_SAFE_NO_PAD.encode(&bytes[start..]))))
}

fn sign_untimed(secret: &str, text: &str) -> String {
    let key = Sha1::digest(format!("itsdangerous.Signersigner{secret}"));
    let mut mac = Hmac::<Sha1>::new_from_slice(&key).expect("a key may have any length");
    mac.update(text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

/// `value` with a signature whose digest is wrong.
pub(crate) fn bad(secret: &str, value: &str) -> Result<String> {
    let mut signature = sign(secret, value, 0)?;
    // in the middle of the digest: the last character holds padding bits
    let at = signature.len() - 10;
    let other = if signature[at..].starts_with('A') { "B" } else { "A" };
    signature.replace_range(at..=at, other);
    Ok(signature)
}

/// The header text for a step's `sign` setting; `None` sends no signature.
pub(crate) fn from_setting(
    setting: Option<&Json>,
    secret: &str,
    value: &str,
) -> Result<Option<String>> {
    let Some(setting) = setting else { return Ok(None) };
    Ok(Some(match setting {
        Json::Bool(false) => return Ok(None),
        Json::Bool(true) => sign(secret, value, 0)?,
        Json::Object(parts) => {
            let value = parts.get("value").map_or_else(|| value.to_owned(), Json::plain);
            let age = parts.get("age").map_or(Ok(0), |age| age.to_string().parse())?;
            sign(secret, &value, age)?
        }
        Json::Text(kind) => match kind.as_str() {
            "bad" => bad(secret, value)?,
            "expired" => sign(secret, value, 120)?,
            "future" => sign(secret, value, -3600)?,
            "wrong-secret" => sign(&format!("{secret}x"), value, 0)?,
            "untimed" => sign_untimed(secret, value),
            "garbage" => "garbage".into(),
            _ => bail!("unknown sign setting: {kind}"),
        },
        _ => bail!("unknown sign setting: {setting}"),
    }))
}
