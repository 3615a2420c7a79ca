//! Requests as the Python scripts write them, and what this crate answers to them.

use channelstream_signer::{
    Digest, KeyDerivation, Separator, SignatureError, TimestampSigner, Unsigned,
};
use serde_json::{Value, json};

/// Answers a request as `itsdangerous_peer.py` does, whose head explains the form.
pub(crate) fn answer(request: &Value) -> Value {
    let signer = make_signer(&request["signer"]);
    if let Value::Object(asked) = &request["sign"] {
        let text = signer.sign_at(text(&asked["value"]), asked["timestamp"].as_u64().unwrap());
        return json!({"text": text});
    }
    let asked = &request["unsign"];
    let signed = text(&asked["text"]);
    let unsigned = match asked["max_age"].as_u64() {
        Some(max_age) => signer.unsign_within(signed, max_age, asked["now"].as_u64().unwrap()),
        None => signer.unsign(signed),
    };
    match unsigned {
        Ok(Unsigned { value, timestamp }) => json!({"value": value, "timestamp": timestamp}),
        Err(SignatureError::Expired { .. }) => json!({"refused": "SignatureExpired"}),
        Err(_) => json!({"refused": "BadTimeSignature"}),
    }
}

/// The answer of itsdangerous with its two names for a bad signature made one: which of them it
/// raises depends on whether it could still find a timestamp in the bad text.
pub(crate) fn normalized(mut answer: Value) -> Value {
    if answer["refused"] == "BadSignature" {
        answer["refused"] = "BadTimeSignature".into();
    }
    answer
}

fn make_signer(settings: &Value) -> TimestampSigner {
    let secrets: Vec<_> = match &settings["secrets"] {
        Value::Array(secrets) => secrets.iter().map(|secret| bytes(text(secret))).collect(),
        _ => vec![b"secret".to_vec()],
    };
    let mut builder = TimestampSigner::builder(&secrets[0]);
    for secret in &secrets[1..] {
        builder = builder.older_secret(secret);
    }
    if let Some(salt) = settings["salt"].as_str() {
        builder = builder.salt(bytes(salt));
    }
    if let Some(separator) = settings["separator"].as_str() {
        builder = builder.separator(Separator::new(separator).unwrap());
    }
    if let Some(derivation) = settings["derivation"].as_str() {
        builder = builder.key_derivation(match derivation {
            "django-concat" => KeyDerivation::DjangoConcat,
            "concat" => KeyDerivation::Concat,
            "hmac" => KeyDerivation::Hmac,
            "none" => KeyDerivation::None,
            other => panic!("no key derivation {other}"),
        });
    }
    if let Some(digest) = settings["digest"].as_str() {
        builder = builder.digest(match digest {
            "sha1" => Digest::Sha1,
            "sha256" => Digest::Sha256,
            "sha384" => Digest::Sha384,
            "sha512" => Digest::Sha512,
            other => panic!("no digest {other}"),
        });
    }
    builder.build()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Bytes that are written with one character each.
fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(u32::from(character)).unwrap()).collect()
}
