//! What holds for any value, secret, time and text.

use channelstream_signer::{Digest, KeyDerivation, Separator, TimestampSigner, Unsigned};
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};
use proptest::sample::select;

fn signers() -> impl Strategy<Value = TimestampSigner> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..200);
    let separators = vec![".", ":", "..", ".a", "-.-", " ", "\u{fc}"];
    let digests = vec![Digest::Sha1, Digest::Sha256, Digest::Sha384, Digest::Sha512];
    let derivations = vec![
        KeyDerivation::DjangoConcat,
        KeyDerivation::Concat,
        KeyDerivation::Hmac,
        KeyDerivation::None,
    ];
    (bytes(), bytes(), select(separators), select(digests), select(derivations)).prop_map(
        |(secret, salt, separator, digest, derivation)| {
            TimestampSigner::builder(secret)
                .salt(salt)
                .separator(Separator::new(separator).unwrap())
                .digest(digest)
                .key_derivation(derivation)
                .build()
        },
    )
}

proptest! {
    #[test]
    fn what_is_signed_is_read_again(
        signer in signers(), value in any::<String>(), timestamp in any::<u64>(),
    ) {
        let text = signer.sign_at(&value, timestamp);
        prop_assert_eq!(signer.unsign(&text), Ok(Unsigned { value: &value, timestamp }));
    }

    #[test]
    fn separators_in_the_value_do_no_harm(
        signer in signers(), value in "[.:a \u{fc}-]{0,12}", timestamp in any::<u64>(),
    ) {
        let text = signer.sign_at(&value, timestamp);
        prop_assert_eq!(signer.unsign(&text), Ok(Unsigned { value: &value, timestamp }));
    }

    #[test]
    fn foreign_texts_are_refused_without_a_panic(
        signer in signers(), text in any::<String>(), max_age in any::<u64>(), now in any::<u64>(),
    ) {
        prop_assert!(signer.unsign_within(&text, max_age, now).is_err());
    }

    #[test]
    fn texts_of_the_right_shape_are_refused_without_a_panic(
        text in "(/[a-z]{0,8}\\.)?[A-Za-z0-9+/_-]{0,14}={0,2}\\.[A-Za-z0-9+/_-]{0,90}={0,3}",
    ) {
        prop_assert!(TimestampSigner::new("secret").unsign(&text).is_err());
    }

    #[test]
    fn any_writing_of_the_signature_will_do(timestamp in any::<u64>(), padding in 0..4_usize) {
        let signer = TimestampSigner::new("secret");
        let text = signer.sign_at("channelstream", timestamp);
        let (signed, signature) = text.rsplit_once('.').unwrap();
        let standard = signature.replace('-', "+").replace('_', "/");
        // The reference's JavaScript signer replaces only the first of each (contract §3).
        let mixed = standard.replacen('+', "-", 1).replacen('/', "_", 1);
        for written in [standard, mixed] {
            let text = format!("{signed}.{written}{}", "=".repeat(padding));
            prop_assert_eq!(signer.unsign(&text).map(|unsigned| unsigned.timestamp), Ok(timestamp));
        }
    }
}
