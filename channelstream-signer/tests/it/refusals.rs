//! What is refused, and which step says so.

use channelstream_signer::{SignatureError, TimestampSigner, Unsigned};

const NOW: u64 = 1_700_000_000;

#[test]
fn each_step_has_its_error() {
    let signer = TimestampSigner::new("secret");
    let good = signer.sign_at("/connect", NOW);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let cases = [
        ("", SignatureError::Malformed),
        ("no separator", SignatureError::Malformed),
        (&format!("{signed}.{signature} "), SignatureError::Malformed),
        (&format!("{signed}.*{signature}"), SignatureError::Malformed),
        (&format!("{signed}.{}", "A".repeat(1000)), SignatureError::Malformed),
        (&format!("{signed}."), SignatureError::Mismatch),
        (&format!("{signed}.{}", &signature[..26]), SignatureError::Mismatch),
        (&format!("{signed}.{signature}A"), SignatureError::Mismatch),
        (&format!(" {signed}.{signature}"), SignatureError::Mismatch),
        (&format!("{signed}=.{signature}"), SignatureError::Mismatch),
        // Signed by itsdangerous, which signs any text.
        ("/connect.wwCq1PpUTtQMRWhVIEKoYQGmG_A", SignatureError::NoTimestamp),
        (".ktC3i6rQQhnMIAVBwIhjBfKEmFE", SignatureError::NoTimestamp),
        ("/connect..ljbJRfSagOxTtHxbBuuXa_5excw", SignatureError::BadTimestamp),
        ("/connect.A.0X8yVRjcOQevcZD7KDqMOdw5x0c", SignatureError::BadTimestamp),
        ("/connect.AAAAAAAAAAAA.iVH0Y9I-hIm7iA7g3tnqlHYf16I", SignatureError::BadTimestamp),
        ("/connect.____________.wzSDI8NpLUJ4-wSNkGLFhnQaFOg", SignatureError::BadTimestamp),
    ];
    for (text, error) in cases {
        assert_eq!(signer.unsign(text), Err(error), "{text:?}");
        assert!(!signer.validate(text), "{text:?}");
    }
    assert!(signer.validate(&good));
}

#[test]
fn no_changed_character_goes_unnoticed() {
    let signer = TimestampSigner::new("secret");
    let good = signer.sign_at("/connect", NOW);
    // The last character has two bits that are not part of the signature.
    for (at, old) in good.char_indices().take(good.len() - 1) {
        for new in ('!'..='~').filter(|&new| new != old) {
            let mut changed = good.clone();
            changed.replace_range(at..=at, new.encode_utf8(&mut [0; 4]));
            // "-" and "+", "_" and "/" are the same six bits.
            let same_bits =
                at > good.rfind('.').unwrap() && matches!((old, new), ('-', '+') | ('_', '/'));
            assert_eq!(signer.validate(&changed), same_bits, "{changed}");
        }
    }
}

#[test]
fn other_secrets_salts_and_digests_do_not_match() {
    let signer = TimestampSigner::new("secret");
    let text = signer.sign_at("/connect", NOW);
    let builder = || TimestampSigner::builder("secret");
    for other in [
        TimestampSigner::new("Secret"),
        TimestampSigner::new(""),
        builder().salt("other").build(),
        builder().digest(channelstream_signer::Digest::Sha256).build(),
        builder().key_derivation(channelstream_signer::KeyDerivation::Concat).build(),
    ] {
        assert_eq!(other.unsign(&text), Err(SignatureError::Mismatch), "{other:?}");
    }
}

#[test]
fn age_is_counted_without_overflow() {
    let unsigned = |timestamp| Unsigned { value: "", timestamp };
    let expired = |age, max_age| Err(SignatureError::Expired { age, max_age });
    for (timestamp, max_age, now, result) in [
        (NOW, 60, NOW + 60, Ok(())),
        (NOW, 60, NOW + 61, expired(61, 60)),
        (NOW, 0, NOW, Ok(())),
        (NOW, 0, NOW + 1, expired(1, 0)),
        (NOW + 2, 60, NOW, Ok(())),
        (u64::MAX >> 1, 60, NOW, Ok(())),
        (u64::MAX, 0, 0, Ok(())),
        (0, u64::MAX, u64::MAX, Ok(())),
        (0, u64::MAX - 1, u64::MAX, expired(u64::MAX, u64::MAX - 1)),
    ] {
        assert_eq!(unsigned(timestamp).check_age(max_age, now), result, "{timestamp} at {now}");
    }
}

#[test]
fn an_expired_text_is_refused_only_with_an_age_limit() {
    let signer = TimestampSigner::new("secret");
    let text = signer.sign_at("/connect", NOW);
    assert_eq!(
        signer.unsign_within(&text, 60, NOW + 61),
        Err(SignatureError::Expired { age: 61, max_age: 60 })
    );
    assert_eq!(signer.unsign(&text), Ok(Unsigned { value: "/connect", timestamp: NOW }));
    // A text that is both bad and old is bad: its time can't be trusted.
    assert_eq!(
        signer.unsign_within(&format!("x{text}"), 60, NOW + 61),
        Err(SignatureError::Mismatch)
    );
}
