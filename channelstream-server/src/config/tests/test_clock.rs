//! Where a server may have a test clock.

use super::*;
use crate::socket::LocalAddr;

#[test]
fn all_that_speaks_against_a_test_clock_is_told_at_once() {
    assert!(!config(&[]).test_clock);
    for host in ["127.0.0.1", "::1", "localhost", "unix:/run/tests.sock"] {
        assert!(config(&[("test_clock", "true"), ("host", host)]).test_clock, "{host}");
    }
    let checked = Config::from_sources(&[flag("test_clock", "true")]);
    assert!(warned(&checked, &["test_clock is true", "can let time pass"]));
    let lines = mistakes(&[
        ("test_clock", "true"),
        ("host", "10.1.2.3"),
        ("allow_default_secrets", "true"),
        ("secret", "secret\nmine"),
        ("journal", "file"),
        ("journal_dir", "/nowhere"),
    ]);
    assert_eq!(lines.len(), 1, "{lines:?}");
    for part in [
        "--test-clock",
        "it is for tests alone, but other machines can reach 10.1.2.3",
        ", and secret is not the well-known default, and journal is not memory",
    ] {
        assert!(lines[0].contains(part), "{lines:?}");
    }
    for found in mistakes(&[("test_clock", "true"), ("secret", "mine-is-mine")]) {
        assert!(!found.contains("mine-is"), "{found}");
    }
}

#[test]
fn it_is_refused_on_whatever_address_a_name_leads_to() {
    let named =
        config(&[("host", "localhost"), ("test_clock", "true"), ("allow_default_secrets", "true")]);
    let local = |text: &str| LocalAddr::Tcp(text.parse().unwrap());
    assert_eq!(named.check_addresses(&[local("127.0.0.1:1")]), Ok(()));
    let refusal = named.check_addresses(&[local("127.0.0.1:1"), local("192.0.2.1:1")]).unwrap_err();
    assert!(refusal.contains("other machines can reach 192.0.2.1:1"), "{refusal}");
}
