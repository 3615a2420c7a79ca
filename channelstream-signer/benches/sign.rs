//! What it costs to sign a text, and to check one.

use std::hint::black_box;

use channelstream_signer::TimestampSigner;
use criterion::Criterion;

const NOW: u64 = 1_700_000_000;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let signer = TimestampSigner::new("secret");
    criterion.bench_function("sign", |bencher| {
        bencher.iter(|| signer.sign_at(black_box("/message"), NOW));
    });
    let text = signer.sign_at("/message", NOW);
    criterion.bench_function("check", |bencher| {
        bencher.iter(|| signer.unsign_within(black_box(&text), 60, NOW).is_ok());
    });
    // The newest secret is tried first.
    let rotated = TimestampSigner::builder("newer").older_secret("secret").build();
    assert!(rotated.unsign_within(&text, 60, NOW).is_ok(), "the older secret counts");
    criterion.bench_function("check against the older of two secrets", |bencher| {
        bencher.iter(|| rotated.unsign_within(black_box(&text), 60, NOW).is_ok());
    });
    criterion.final_summary();
}
