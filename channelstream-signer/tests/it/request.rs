//! Signatures over requests: against vectors of a second implementation, tampering, properties.

use channelstream_signer::TimestampSigner;
use channelstream_signer::request::{Content, Nonce, RequestError, RequestSigner, Target};
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use proptest::sample::Index;
use serde_json::Value;

use crate::live::{README, python};

pub(crate) const VECTORS: &str = include_str!("../vectors/request-v1.json");

const NONCE: &str = "0123456789abcdef";

fn vectors(kind: &str) -> Value {
    serde_json::from_str::<Value>(VECTORS).unwrap()[kind].take()
}

fn content(vector: &Value) -> Content {
    vector["body"].as_str().map_or(Content::Unsigned, |body| Content::of(body.as_bytes()))
}

fn target(vector: &Value) -> Target<'_> {
    let text = |key: &str| vector[key].as_str().unwrap();
    Target {
        method: text("method"),
        path: text("path"),
        idempotency_key: text("idempotency_key").as_bytes(),
    }
}

#[test]
fn we_sign_as_recorded() {
    let vectors = vectors("signed");
    let vectors = vectors.as_array().unwrap();
    assert!(vectors.len() >= 15, "only {} vectors", vectors.len());
    for vector in vectors {
        let text = |key: &str| vector[key].as_str().unwrap();
        let (signer, target) = (RequestSigner::new(text("secret")), target(vector));
        let (time, nonce) = (vector["time"].as_u64().unwrap(), Nonce::new(text("nonce")).unwrap());
        let header = signer.sign_at(&target, content(vector), time, nonce).unwrap();
        assert_eq!(header, text("header"), "{vector:#}");
        let verified = signer.verify(header.as_bytes(), &target).unwrap();
        assert_eq!((verified.content, verified.time), (content(vector), time), "{vector:#}");
        assert!(header.ends_with(&hex(&verified.signature)), "{vector:#}");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn recorded_headers_are_refused_as_they_should_be() {
    let signed = vectors("signed");
    let signer = RequestSigner::new("secret");
    for (kind, expected) in
        [("malformed", RequestError::Malformed), ("mismatched", RequestError::Mismatch)]
    {
        let headers = vectors(kind);
        for (why, header) in headers.as_object().unwrap() {
            let header = header.as_str().unwrap().as_bytes();
            assert_eq!(signer.verify(header, &target(&signed[0])), Err(expected), "{why}");
        }
    }
    assert_eq!(
        signer.verify(b"v1 t=1,n=\xff", &target(&signed[0])),
        Err(RequestError::Malformed),
        "not UTF-8"
    );
}

#[test]
fn a_signature_is_for_one_method_path_and_key() {
    let signer = RequestSigner::new("secret");
    let signed = Target { method: "POST", path: "/message", idempotency_key: b"" };
    let nonce = Nonce::new(NONCE).unwrap();
    let header = signer.sign_at(&signed, Content::of(b"[]"), 1, nonce).unwrap();
    assert!(signer.verify(header.as_bytes(), &signed).is_ok());
    for other in [
        Target { method: "DELETE", ..signed },
        Target { method: "post", ..signed },
        Target { path: "/connect", ..signed },
        Target { path: "/message/", ..signed },
        Target { path: "/message?", ..signed },
        Target { path: "/message?a=b", ..signed },
        Target { path: "/%6dessage", ..signed },
        Target { path: "//message", ..signed },
        Target { path: "/Message", ..signed },
        Target { path: "", ..signed },
        Target { idempotency_key: b"k", ..signed },
    ] {
        let refused = signer.verify(header.as_bytes(), &other);
        assert_eq!(refused, Err(RequestError::Mismatch), "{other:?}");
    }
}

/// What one field takes from its neighbor would be the same text without the separator.
#[test]
fn a_line_break_is_never_signed() {
    let signer = RequestSigner::new("secret");
    let nonce = Nonce::new(NONCE).unwrap();
    for target in [
        Target { method: "POST\n/message", path: "", idempotency_key: b"" },
        Target { method: "POST", path: "/message\nkey", idempotency_key: b"" },
        Target { method: "POST", path: "/message", idempotency_key: b"k\n" },
    ] {
        let signed = signer.sign_at(&target, Content::of(b""), 1, nonce);
        assert_eq!(signed, Err(RequestError::LineBreak), "{target:?}");
        let good = vectors("signed")[0]["header"].as_str().unwrap().to_owned();
        let verified = signer.verify(good.as_bytes(), &target);
        assert_eq!(verified, Err(RequestError::LineBreak), "{target:?}");
    }
    let target = Target { method: "POST", path: "/message", idempotency_key: b"" };
    let signed = signer.sign_at(&target, Content::of(b""), 1_000_000_000_000, nonce);
    assert_eq!(signed, Err(RequestError::Malformed), "a time that no header may have");
}

#[test]
fn the_time_may_differ_in_both_directions() {
    let signer = RequestSigner::new("secret");
    let target = Target { method: "POST", path: "/message", idempotency_key: b"" };
    let header = signer.sign_at(&target, Content::of(b""), 1000, Nonce::new(NONCE).unwrap());
    let verified = signer.verify(header.unwrap().as_bytes(), &target).unwrap();
    for now in [940, 1000, 1060] {
        assert_eq!(verified.check_time(60, now), Ok(()), "{now}");
    }
    assert_eq!(verified.check_time(60, 1061), Err(RequestError::Expired { age: 61, window: 60 }));
    assert_eq!(verified.check_time(60, 939), Err(RequestError::Early { ahead: 61, window: 60 }));
    assert!(verified.check_time(60, 0).is_err() && verified.check_time(60, u64::MAX).is_err());
}

#[test]
fn several_secrets_verify_and_the_newest_signs() {
    let both = RequestSigner::with_secrets(["new", "ancient"]).unwrap();
    let target = Target { method: "POST", path: "/message", idempotency_key: b"" };
    let sign = |signer: &RequestSigner| {
        signer.sign_at(&target, Content::of(b""), 1, Nonce::new(NONCE).unwrap()).unwrap()
    };
    let secret =
        |header: &str| both.verify(header.as_bytes(), &target).map(|verified| verified.secret);
    assert_eq!(sign(&both), sign(&RequestSigner::new("new")));
    assert_eq!(secret(&sign(&RequestSigner::new("new"))), Ok(0));
    assert_eq!(secret(&sign(&RequestSigner::new("ancient"))), Ok(1));
    assert_eq!(secret(&sign(&RequestSigner::new("other"))), Err(RequestError::Mismatch));
    assert!(RequestSigner::with_secrets([""; 0]).is_none());
    assert!(!format!("{both:?}").contains("ancient"), "{both:?}");
}

/// One secret, two schemes: neither takes what the other made.
#[test]
fn the_schemes_cannot_be_confused() {
    let target = Target { method: "POST", path: "/message", idempotency_key: b"" };
    let (old, new) = (TimestampSigner::new("secret"), RequestSigner::new("secret"));
    let header = new.sign_at(&target, Content::of(b""), 1, Nonce::new(NONCE).unwrap()).unwrap();
    assert!(old.unsign(&header).is_err());
    assert!(new.verify(old.sign("/message").as_bytes(), &target).is_err());
    let text = vectors("signed")[0]["text"].as_str().unwrap().to_owned();
    assert!(new.verify(old.sign(&text).as_bytes(), &target).is_err());
}

/// The program in the README, as it stands there, makes the headers of the vectors.
#[test]
fn the_readme_signs_as_recorded_in_python() {
    let block = README
        .split("```python\n")
        .find(|block| block.contains("def sign_request"))
        .and_then(|block| block.split_once("```"))
        .expect("the README has a signer in Python")
        .0;
    let check = format!(
        "{block}
import json, sys, types
for vector in json.load(sys.stdin)['signed']:
    if vector['body'] is not None:
        time = types.SimpleNamespace(time=lambda: vector['time'] + 0.9)
        secrets = types.SimpleNamespace(token_hex=lambda count: vector['nonce'])
        print(sign_request(vector['secret'], vector['method'], vector['path'],
                           vector['body'].encode(), vector['idempotency_key']))
"
    );
    let vectors = vectors("signed");
    let signed = vectors.as_array().unwrap().iter().filter(|vector| vector["body"].is_string());
    let expected: Vec<_> = signed.map(|vector| vector["header"].as_str().unwrap()).collect();
    assert_eq!(python(&check, VECTORS).lines().collect::<Vec<_>>(), expected);
}

/// The vectors are what the recording program writes.
#[test]
fn python_still_records_the_vectors() {
    let recorded = python(include_str!("../python/record_request_vectors.py"), "");
    assert_eq!(recorded, VECTORS);
}

proptest! {
    #[test]
    fn what_is_signed_is_verified_and_nothing_else(
        secret in any::<Vec<u8>>(), method in "[A-Z]{1,8}", path in "/[!-~]{0,40}",
        key in "[ -~]{0,40}", body in any::<Vec<u8>>(), time in 0..1_000_000_000_000_u64,
        nonce in "[A-Za-z0-9_-]{16,64}", index in any::<Index>(), other in any::<u8>(),
    ) {
        let signer = RequestSigner::new(&secret);
        let target = Target { method: &method, path: &path, idempotency_key: key.as_bytes() };
        let content = Content::of(&body);
        let header = signer.sign_at(&target, content, time, Nonce::new(&nonce).unwrap()).unwrap();
        let verified = signer.verify(header.as_bytes(), &target).unwrap();
        prop_assert_eq!((verified.content, verified.time), (content, time));
        let mut changed = header.clone().into_bytes();
        let at = index.index(changed.len());
        changed[at] = other;
        let is_same = changed == header.as_bytes();
        prop_assert_eq!(signer.verify(&changed, &target).is_ok(), is_same);
    }

    #[test]
    fn foreign_headers_are_refused_without_a_panic(
        header in any::<Vec<u8>>(), shaped in "v1 t=[0-9]{0,14},n=[a-z]{0,70},h=[0-9a-f-]{0,66},s=[0-9a-f]{0,66}",
    ) {
        let target = Target { method: "POST", path: "/message", idempotency_key: b"" };
        let signer = RequestSigner::new("secret");
        prop_assert!(signer.verify(&header, &target).is_err());
        prop_assert!(signer.verify(shaped.as_bytes(), &target).is_err());
    }
}
