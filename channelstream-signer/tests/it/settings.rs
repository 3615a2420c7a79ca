//! Several secrets, separators, and what `Debug` and errors give away.

use channelstream_signer::{
    InvalidSeparator, Separator, SignatureError, TimestampSigner, unix_now,
};

#[test]
fn the_newest_secret_signs_and_all_verify() {
    let rotating =
        TimestampSigner::builder("new").older_secret("old").older_secret("older").build();
    for secret in ["new", "old", "older"] {
        let text = TimestampSigner::new(secret).sign_at("/message", 7);
        assert_eq!(rotating.unsign(&text).unwrap().value, "/message", "{secret}");
    }
    let text = TimestampSigner::new("oldest").sign_at("/message", 7);
    assert_eq!(rotating.unsign(&text), Err(SignatureError::Mismatch));

    let text = rotating.sign_at("/message", 7);
    assert!(TimestampSigner::new("new").validate(&text));
    assert!(!TimestampSigner::new("old").validate(&text));
}

#[test]
fn separators_of_base64_characters_are_refused() {
    for separator in ["", "a", "-", "_", "=", "Z", "09", "sep"] {
        assert_eq!(
            Separator::new(separator).unwrap_err(),
            InvalidSeparator { separator: separator.to_owned() }
        );
    }
    for separator in [".", ":", " ", "a.", "-.-", "\u{fc}", "/", "+"] {
        let parsed = Separator::new(separator).unwrap();
        let signer = TimestampSigner::builder("secret").separator(parsed).build();
        let value = format!("{separator}x{separator}{separator}");
        let text = signer.sign_at(&value, 7);
        assert_eq!(signer.unsign(&text).unwrap().value, value);
    }
}

#[test]
fn signing_now_takes_the_clock() {
    let signer = TimestampSigner::new("secret");
    let before = unix_now();
    let text = signer.sign("/info");
    let timestamp = signer.unsign(&text).unwrap().timestamp;
    assert!((before..=unix_now()).contains(&timestamp), "{timestamp}");
    assert!(timestamp > 1_700_000_000, "{timestamp} is no present time");
}

#[test]
fn nothing_printed_has_a_secret_or_a_value() {
    let builder = TimestampSigner::builder("hidden-one").older_secret("hidden-two");
    let mut shown = format!("{builder:?} {builder:#?}");
    let signer = builder.build();
    shown += &format!("{signer:?} {signer:#?}");
    for text in ["hidden-value", "hidden-value.hidden", "hidden.hidden.hidden"] {
        let error = signer.unsign(text).unwrap_err();
        shown += &format!("{error} {error:?}");
    }
    let derived = ["hidden", "104, 105, 100", "68 69 64", "686964"];
    assert!(!derived.iter().any(|secret| shown.contains(secret)), "{shown}");
}
