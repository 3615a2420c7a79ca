//! Who can reach the server with which secrets.

use super::*;
use crate::socket::LocalAddr;

#[test]
fn default_secrets_are_refused_where_others_reach_them() {
    for host in ["0.0.0.0", "::", "10.1.2.3", "push.example.com"] {
        let refusal = mistakes(&[("host", host)]).concat();
        for part in [
            "secret and admin_secret are the well-known defaults",
            "--secret-file FILE, or secret = ... in [channelstream], or CHANNELSTREAM_SECRET=...",
            "--admin-secret-file FILE, or admin_secret = ",
            "CHANNELSTREAM_ADMIN_SECRET=",
            "--allow-default-secrets",
        ] {
            assert!(refusal.contains(part), "{host}: {refusal}");
        }
        let refusal = mistakes(&[("host", host), ("secret", "x")]).concat();
        assert!(
            refusal.contains(": other machines can reach it, but admin_secret is the"),
            "{refusal}"
        );
        assert!(!refusal.contains("CHANNELSTREAM_SECRET"), "{refusal}");
        // An old default that still counts beside a new secret is as bad.
        let rotated = mistakes(&[("host", host), ("secret", "x\nsecret"), ("admin_secret", "y")]);
        assert_eq!(rotated.len(), 1);
        config(&[("host", host), ("secret", "x"), ("admin_secret", "y")]);
        config(&[("host", host), ("allow_default_secrets", "true")]);
    }
    for host in ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "::ffff:127.0.0.1", "LocalHost"] {
        config(&[("host", host)]);
    }
}

#[test]
fn default_secrets_are_announced() {
    let checked = Config::from_sources(&[flag("secret_file", "x")]);
    assert!(warned(&checked, &["well-known default", "secret, admin_secret"]));
    let checked = Config::from_sources(&[flag("secret", "x"), flag("admin_secret", "y")]);
    assert!(!warned(&checked, &["well-known"]));
}

#[test]
fn a_secret_that_could_not_be_had_is_not_taken_for_the_default() {
    let sources = from_environment(&[
        ("CHANNELSTREAM_HOST", "0.0.0.0"),
        ("CHANNELSTREAM_SECRET_FILE", "/nowhere/secret"),
        ("CHANNELSTREAM_ADMIN_SECRET", "y"),
    ]);
    let lines = error_lines(&sources.check());
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].starts_with("/nowhere/secret (CHANNELSTREAM_SECRET_FILE): secret: cannot be read")
    );
}

#[test]
fn whoever_lets_others_post_but_set_no_host_is_told() {
    let checked = from_environment(&[("CHANNELSTREAM_ALLOW_POSTING_FROM", "0.0.0.0")]).check();
    assert!(warned(
        &checked,
        &["--host 0.0.0.0", "CHANNELSTREAM_HOST=0.0.0.0", "CHANNELSTREAM_SECRET="]
    ));
    assert!(checked.config.is_ok());
    for other in
        [("CHANNELSTREAM_HOST", "127.0.0.1"), ("CHANNELSTREAM_TRUSTED_PROXIES", "127.0.0.1")]
    {
        let posting = ("CHANNELSTREAM_ALLOW_POSTING_FROM", "10.0.0.1");
        let checked = from_environment(&[posting, other]).check();
        assert!(!warned(&checked, &["allow_posting_from"]), "{:?}", checked.warnings);
    }
}

#[test]
fn the_start_line_tells_address_rights_and_pages() {
    let public = config(&[("secret", "x"), ("allow_posting_from", "10.0.0.0/8, ::1")]);
    assert_eq!(
        public.start_line(&[local("[::]:8000")]),
        "listening on http://[::]:8000 (all addresses); signed requests are accepted from 10.0.0.0/8, ::1; \
         admin pages at http://[::1]:8000/admin; tutorial at http://[::1]:8000/; \
         WELL-KNOWN DEFAULT: admin_secret"
    );
    let own = config(&[("secret", "x"), ("admin_secret", "y"), ("tutorial", "off")]);
    let line = own.start_line(&[local("127.0.0.1:9000")]);
    assert!(!line.contains("DEFAULT") && line.ends_with("http://127.0.0.1:9000/admin"), "{line}");
    let both = [local("[::1]:9000"), local("127.0.0.1:9000")];
    let line = own.start_line(&both);
    assert!(
        line.starts_with("listening on http://[::1]:9000 and http://127.0.0.1:9000; "),
        "{line}"
    );
}

#[test]
fn default_secrets_are_refused_on_whatever_address_a_name_leads_to() {
    let loopback = [local("[::1]:1"), local("127.0.0.1:1")];
    let public = [local("127.0.0.1:1"), local("192.0.2.1:1")];
    let named = config(&[("host", "localhost")]);
    assert_eq!(named.check_addresses(&loopback), Ok(()));
    let refusal = named.check_addresses(&public).unwrap_err();
    assert!(refusal.starts_with("localhost is 192.0.2.1:1: other machines"), "{refusal}");
    let allowed = config(&[("host", "localhost"), ("allow_default_secrets", "true")]);
    assert_eq!(allowed.check_addresses(&public), Ok(()));
    let own = config(&[("secret", "x"), ("admin_secret", "y"), ("host", "0.0.0.0")]);
    assert_eq!(own.check_addresses(&public), Ok(()));
}

#[cfg(unix)]
#[test]
fn secrets_that_others_can_find_out_are_warned_of_once() {
    use std::os::unix::fs::PermissionsExt as _;

    let good = "0123456789abcdef";
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str, mode: u32| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let warnings = |ini: &str, flags: &[(&str, &str)]| {
        let flags: Vec<_> =
            flags.iter().map(|(key, text)| ((*key).into(), (*text).into())).collect();
        let checked = gather(flags, Some(Path::new(ini)), vars(&[])).check();
        let told = |warning: &String| warning.contains("chmod") || warning.contains("characters");
        checked.warnings.into_iter().filter(told).collect::<Vec<_>>()
    };
    let open = |path: &str| {
        format!("{path}: every user of this machine can read the secrets in it: chmod 600 {path}")
    };

    let bare = write("bare.ini", "[channelstream]\nport = 1\nsecret = secret\n", 0o644);
    assert_eq!(warnings(&bare, &[]), [""; 0], "no secret is in it but the one that all know");
    let text = format!("[channelstream]\nsecret = {good}\nadmin_secret = {good}\n");
    let ini = write("open.ini", &text, 0o644);
    assert_eq!(warnings(&ini, &[]), [open(&ini)], "once for both");
    let ini = write("closed.ini", &text, 0o640);
    assert_eq!(warnings(&ini, &[]), [""; 0]);

    for key in ["secret", "admin_secret", "cookie_secret"] {
        let file = write(key, good, 0o604);
        assert_eq!(warnings(&bare, &[(&format!("{key}_file"), &file)]), [open(&file)]);
        let file = write(key, "0123456789abcde\n", 0o600);
        let told = warnings(&bare, &[(&format!("{key}_file"), &file)]);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains(&format!("{key} has fewer than 16 characters")), "{told:?}");
        assert!(!told[0].contains("0123"), "{told:?}");
    }
    let url = warnings(&bare, &[("journal", "redis"), ("redis_url", "redis://h")]);
    assert_eq!(url, [""; 0], "an address is no secret, whatever its length");
    let several = write("several", &format!("{good}\nold\nolder\n"), 0o600);
    assert_eq!(warnings(&bare, &[("secret_file", &several)]).len(), 1, "once for all");
    let short = write("short.ini", "[channelstream]\nsecret = old\n", 0o600);
    assert_eq!(warnings(&short, &[("secret", good)]), [""; 0], "that one does not count");
}

/// An address of TCP.
fn local(address: &str) -> LocalAddr {
    LocalAddr::Tcp(address.parse().unwrap())
}

#[cfg(unix)]
#[test]
fn a_unix_socket_is_reached_from_this_machine_only() {
    // The default secrets are no mistake there.
    let own = config(&[("host", "unix:/run/server.sock")]);
    let local = [LocalAddr::Unix("/run/server.sock".into())];
    assert!(own.check_addresses(&local).is_ok());
    let line = own.start_line(&local);
    assert!(line.starts_with("listening on unix:/run/server.sock; signed requests"), "{line}");
    assert!(!line.contains("http://"), "{line}");
    for wrong in ["unix:", "unix:relative", &format!("unix:/{}", "x".repeat(108))] {
        assert_eq!(mistakes(&[("host", wrong)]).len(), 1, "{wrong}");
    }
}
