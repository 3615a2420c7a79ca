//! Signatures of webhooks: the example of the specification, made and checked by its rules.

use channelstream_signer::webhook::{TOLERANCE, WebhookError, WebhookSigner, check_time};

/// The example that the libraries of Standard Webhooks test themselves against.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const TIME: u64 = 1_614_265_330;
const BODY: &[u8] = br#"{"test": 2432232314}"#;
const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

/// The base64 of 24 bytes of zero.
const OTHER: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn signer() -> WebhookSigner {
    WebhookSigner::new([SECRET]).unwrap()
}

#[test]
fn the_example_of_the_specification() {
    assert_eq!(signer().sign(ID, TIME, BODY), SIGNATURE);
    assert_eq!(signer().verify(ID, TIME, BODY, SIGNATURE), Ok(()));
}

#[test]
fn each_part_is_signed() {
    let check = |id, time, body: &[u8]| signer().verify(id, time, body, SIGNATURE);
    assert_eq!(check("msg_other", TIME, BODY), Err(WebhookError::Mismatch));
    assert_eq!(check(ID, TIME + 1, BODY), Err(WebhookError::Mismatch));
    assert_eq!(check(ID, TIME, br#"{"test":2432232314}"#), Err(WebhookError::Mismatch));
    let other = WebhookSigner::new([OTHER]).unwrap();
    assert_eq!(other.verify(ID, TIME, BODY, SIGNATURE), Err(WebhookError::Mismatch));
}

#[test]
fn one_signature_of_several_is_enough() {
    let both = WebhookSigner::new([OTHER, SECRET]).unwrap();
    let header = both.sign(ID, TIME, BODY);
    assert_eq!(header.split(' ').count(), 2);
    assert!(header.ends_with(SIGNATURE));
    for one in [SECRET, OTHER] {
        let receiver = WebhookSigner::new([one]).unwrap();
        assert_eq!(receiver.verify(ID, TIME, BODY, &header), Ok(()));
    }
    // Signatures of other versions are of others.
    let mixed = format!("v1a,AAAA v2,x  {SIGNATURE}");
    assert_eq!(signer().verify(ID, TIME, BODY, &mixed), Ok(()));
}

#[test]
fn what_is_no_signature_is_refused() {
    let bare = SIGNATURE.strip_prefix("v1,").unwrap();
    let cut = &SIGNATURE[..SIGNATURE.len() - 5];
    for header in ["", " ", "v1,", "v1", bare, cut, "v1,!!!!", "v1a,g0hM9SsE"] {
        let refused = signer().verify(ID, TIME, BODY, header);
        assert_eq!(refused, Err(WebhookError::Mismatch), "{header}");
    }
}

#[test]
fn secrets_have_the_form_of_the_specification() {
    let short = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let long = format!("whsec_{}", "A".repeat(88));
    let plain = SECRET.strip_prefix("whsec_").unwrap();
    for secret in ["", "secret", "whsec_", plain, short, &long, "whsec_not base64"] {
        let refused = WebhookSigner::new([SECRET, secret]).unwrap_err();
        assert_eq!(refused, WebhookError::Secret, "{secret}");
        assert!(secret.len() < 7 || !refused.to_string().contains(secret), "{secret}");
    }
    assert_eq!(WebhookSigner::new([""; 0]).unwrap_err(), WebhookError::NoSecret);
    assert!(!format!("{:?}", signer()).contains("MfKQ9"));
}

#[test]
fn times_may_be_a_little_off_either_way() {
    for now in [TIME, TIME - TOLERANCE, TIME + TOLERANCE] {
        assert_eq!(check_time(TIME, now, TOLERANCE), Ok(()));
    }
    for now in [0, TIME - 301, TIME + 301, u64::MAX] {
        let distance = TIME.abs_diff(now);
        let late = WebhookError::Time { distance, tolerance: TOLERANCE };
        assert_eq!(check_time(TIME, now, TOLERANCE), Err(late));
    }
}
