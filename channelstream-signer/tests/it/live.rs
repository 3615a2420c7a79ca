//! A Python interpreter with itsdangerous, asked at the moment of the test.

use std::env;
use std::io::Write;
use std::process::{Command, Stdio};

use channelstream_signer::{TimestampSigner, unix_now};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::exchange::{answer, normalized};
use crate::vectors;

const PEER: &str = include_str!("../python/itsdangerous_peer.py");
pub(crate) const README: &str = include_str!("../../README.md");

/// Runs a program with this input; what it prints. The interpreter is the one that
/// `CHANNELSTREAM_TEST_PYTHON` names, else `python3`.
pub(crate) fn python(program: &str, input: &str) -> String {
    let python =
        env::var_os("CHANNELSTREAM_TEST_PYTHON").unwrap_or_else(|| "python3".to_owned().into());
    let shown = python.display();
    let advice = "this test needs Python 3 with itsdangerous: `cargo xtask test` installs it, or \
                  run `pip install itsdangerous` and name the interpreter in \
                  CHANNELSTREAM_TEST_PYTHON";
    let mut peer = Command::new(&python)
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run {shown}: {error}\n{advice}"));
    // The peer reads all before it writes. If it ended early, its own complaint says more than the
    // broken pipe does.
    let written = peer.stdin.take().unwrap().write_all(input.as_bytes());
    let output = peer.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{shown} failed: {complaint}\n{advice}");
    written.unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Lets Python answer the requests.
fn python_answers(requests: &[Value]) -> Vec<Value> {
    let answers: Vec<Value> =
        serde_json::from_str(&python(PEER, &json!(requests).to_string())).unwrap();
    assert_eq!(answers.len(), requests.len());
    answers
}

/// Both sides answer each request, and alike.
fn assert_agreement(requests: &[Value]) {
    for (request, theirs) in requests.iter().zip(python_answers(requests)) {
        // A version before 2.0 has no lists of secrets.
        if !theirs.is_null() {
            assert_eq!(answer(request), normalized(theirs), "{request:#}");
        }
    }
}

#[test]
fn python_still_answers_as_recorded() {
    let requests: Vec<_> =
        vectors::recorded().into_iter().filter(|vector| vector.get("ours").is_none()).collect();
    assert_agreement(&requests);
}

#[test]
fn python_reads_ours_and_we_read_theirs_now() {
    let value = "/connect";
    let ours = TimestampSigner::new("secret").sign(value);
    let now = unix_now();
    let requests = [
        json!({"signer": {}, "unsign": {"text": ours, "max_age": 60, "now": now}}),
        json!({"signer": {}, "sign": {"value": value, "timestamp": now}}),
    ];
    let answers = python_answers(&requests);
    assert_eq!(answers[0]["value"], value, "{}", answers[0]);

    let theirs = answers[1]["text"].as_str().unwrap();
    let unsigned = TimestampSigner::new("secret").unsign_within(theirs, 60, now).unwrap();
    assert_eq!((unsigned.value, unsigned.timestamp), (value, now));
}

/// What the README shows of Python, as it stands there; its Rust is compiled and run as a doctest.
#[test]
fn the_readme_is_right_about_python() {
    let blocks: Vec<_> = README
        .split("```python\n")
        .skip(1)
        .map(|rest| rest.split_once("```").expect("blocks end").0)
        .collect();
    let [signs, checks, _] = blocks[..] else { panic!("the README has three programs in Python") };
    let signer = TimestampSigner::new("a long random secret");

    let theirs = python(&format!("{signs}\nprint(text, end='')"), "");
    assert_eq!(signer.unsign_within(&theirs, 60, unix_now()).unwrap().value, "/connect");

    let judge = format!(
        "header = input()\nvalue = 'refused'\n{checks}\n\
         print(value if isinstance(value, str) else value.decode(), end='')"
    );
    let good = signer.sign("/connect");
    assert_eq!(python(&judge, &good), "/connect");
    let old = signer.sign_at("/connect", unix_now() - 100);
    for bad in [old.as_str(), "/connect", &TimestampSigner::new("another").sign("/connect")] {
        assert_eq!(python(&judge, bad), "refused", "{bad}");
    }
}

/// Values, times, secrets and settings at random, in both directions, and the same texts with one
/// character changed.
#[test]
fn python_agrees_on_random_exchanges() {
    let latin_1 = "[\u{0}-\u{ff}]{0,80}";
    let separators = [".", ":", "--.", "..", ".a.", "%", "\u{fc}"];
    let exchanges = (
        (proptest::collection::vec(latin_1, 1..4), latin_1),
        (
            proptest::sample::select(separators.to_vec()),
            proptest::sample::select(vec!["django-concat", "concat", "hmac", "none"]),
            proptest::sample::select(vec!["sha1", "sha256", "sha384", "sha512"]),
        ),
        ("([.:%a-]|\\PC){0,20}", 1..=u64::MAX),
        proptest::prelude::any::<proptest::sample::Index>(),
        "[A-Za-z0-9_=.:%-]",
    );
    let mut runner = TestRunner::default();
    let mut requests = Vec::new();
    for _ in 0..200 {
        let ((secrets, salt), (separator, derivation, digest), (value, timestamp), index, other) =
            exchanges.new_tree(&mut runner).unwrap().current();
        let signer = json!({
            "secrets": secrets, "salt": salt, "separator": separator,
            "derivation": derivation, "digest": digest,
        });
        let sign = json!({
            "signer": signer, "sign": {"value": value, "timestamp": timestamp},
        });
        let text = answer(&sign)["text"].as_str().unwrap().to_owned();
        let mut changed: Vec<char> = text.chars().collect();
        let at = index.index(changed.len());
        changed[at] = other.chars().next().unwrap();
        let changed = String::from_iter(changed);
        requests.push(sign);
        for text in [text, changed] {
            requests.push(json!({
                "signer": signer, "unsign": {"text": text, "max_age": null, "now": 0},
            }));
        }
    }
    assert_agreement(&requests);
}
