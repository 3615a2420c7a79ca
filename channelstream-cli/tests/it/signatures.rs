//! `sign` and `unsign`.

use channelstream_signer::{TimestampSigner, unix_now};

use crate::program::{failed, printed, run};

#[test]
fn what_is_signed_can_be_unsigned() {
    let text = printed(run(&["sign", "/a.b"]));
    let shown = printed(run(&["unsign", text.trim_end()]));
    let mut lines = shown.lines();
    assert_eq!(lines.next(), Some("value   /a.b"));
    assert!(lines.next().unwrap().starts_with("signed  20"), "{shown}");
    assert!(lines.next().unwrap().starts_with("age     "), "{shown}");
}

#[test]
fn an_old_text_is_shown_unless_an_age_is_demanded() {
    let old = TimestampSigner::new("secret").sign_at("/connect", 1_700_000_000);
    assert!(printed(run(&["unsign", &old])).contains("signed  2023-11-14T22:13:20Z\n"));
    let ended = run(&["unsign", &old, "--max-age", "60"]);
    assert!(failed(&ended, 1).0.ends_with("seconds old, at most 60 allowed"), "{}", ended.err);
    let later = TimestampSigner::new("secret").sign_at("/connect", unix_now() + 3600);
    assert!(printed(run(&["unsign", &later, "--max-age", "0"])).contains("age     -"));
}

#[test]
fn what_is_not_genuine_is_refused() {
    let other = TimestampSigner::new("another").sign("/connect");
    let ended = run(&["unsign", &other]);
    let (what, hint) = failed(&ended, 1);
    assert_eq!(what, "signature does not match the text");
    assert!(hint.unwrap().contains("another secret"), "{}", ended.err);
    assert!(!ended.err.contains(&other));
    failed(&run(&["unsign", "nothing"]), 1);
}

#[test]
fn signatures_for_scripts() {
    let json = printed(run(&["sign", "/a", "--json"]));
    let signed: serde_json::Value = serde_json::from_str(&json).unwrap();
    let text = signed["signed"].as_str().unwrap();
    assert_eq!(printed(run(&["unsign", text, "--quiet"])), "");
    let json = printed(run(&["unsign", text, "--json"]));
    let shown: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(shown["value"], "/a");
    assert!(unix_now().abs_diff(shown["signed"].as_u64().unwrap()) < 60, "{shown}");
    let far = TimestampSigner::new("secret").sign_at("/a", u64::MAX);
    let json = printed(run(&["unsign", &far, "--json"]));
    assert!(json.contains(&format!("\"age\": {}", i64::MIN)), "{json}");
    failed(&run(&["unsign", "nothing", "--quiet"]), 1);
}
