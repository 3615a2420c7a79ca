//! Settings from all sources, checked as a whole.

#![allow(clippy::disallowed_methods, reason = "a test may wait")]

mod channels;
mod exposure;
mod journal;
mod test_clock;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::source::{Sources, from_json, gather};
use super::*;
use crate::program::template;

fn flag(key: &str, text: &str) -> Value {
    Value::new(key, text, Origin::Flag(format!("--{}", key.replace('_', "-"))))
}

fn config(values: &[(&str, &str)]) -> Config {
    let values: Vec<_> = values.iter().map(|(key, text)| flag(key, text)).collect();
    Config::from_sources(&values).config.unwrap()
}

fn mistakes(values: &[(&str, &str)]) -> Vec<String> {
    let values: Vec<_> = values.iter().map(|(key, text)| flag(key, text)).collect();
    error_lines(&Config::from_sources(&values))
}

fn error_lines(checked: &Checked) -> Vec<String> {
    let errors = checked.config.as_ref().unwrap_err();
    errors.mistakes().iter().map(Mistake::to_string).collect()
}

#[test]
fn an_alias_is_another_name_in_every_source() {
    assert_eq!(config(&[("max_tcp_connections", "7")]).max_connections, 7);
    let variable = ("CHANNELSTREAM_MAX_TCP_CONNECTIONS", "8");
    let (_folder, path) = file("[channelstream]\nmax_tcp_connections = 9\n");
    assert_eq!(from_environment(&[variable]).check().config.unwrap().max_connections, 8);
    let by_file = from_file(&path).check();
    assert!(by_file.warnings.iter().all(|warning| !warning.contains("unknown")));
    assert_eq!(by_file.config.unwrap().max_connections, 9);
    let json = from_json(r#"{"max_tcp_connections_per_address": 3}"#).unwrap();
    assert_eq!(json.check().config.unwrap().max_connections_per_address, 3);
    // A flag takes precedence over a file, whichever name each uses.
    let flags = [("max_connections".to_owned(), "4".to_owned())];
    let both = gather(flags, Some(&path), []).check();
    assert_eq!(both.config.unwrap().max_connections, 4);

    // A name that is empty is not given.
    for (key, alias) in [("5", ""), ("", "5")] {
        let both =
            [("CHANNELSTREAM_MAX_CONNECTIONS", key), ("CHANNELSTREAM_MAX_TCP_CONNECTIONS", alias)];
        assert_eq!(from_environment(&both).check().config.unwrap().max_connections, 5);
        let text =
            format!("[channelstream]\nmax_tcp_connections = {alias}\nmax_connections = {key}\n");
        let (_folder, path) = file(&text);
        assert_eq!(from_file(&path).check().config.unwrap().max_connections, 5);
    }

    let (_folder, path) = file("[channelstream]\nmax_connections = 1\nmax_tcp_connections = 1\n");
    let path_text = path.display().to_string();
    let errors = error_lines(&from_file(&path).check());
    let expected = format!(
        "{path_text}:3: max_tcp_connections: another name of max_connections, which is set as well \
         ({path_text}:2): set one of them"
    );
    assert_eq!(errors, [expected]);
}

fn vars(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, text)| (name.into(), text.into())).collect()
}

fn from_environment(pairs: &[(&str, &str)]) -> Sources {
    gather([], None, vars(pairs))
}

/// A file in a folder of its own, which is kept as long as the file is needed.
fn file(text: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("push.ini");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

fn from_file(path: &Path) -> Sources {
    gather([], Some(path), vars(&[]))
}

fn warned(checked: &Checked, parts: &[&str]) -> bool {
    checked.warnings.iter().any(|warning| parts.iter().all(|part| warning.contains(part)))
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let config = Config::default();
    assert_eq!((config.host.as_str(), config.port), ("127.0.0.1", 8000));
    assert_eq!(config.secrets, [Secret::new("secret")]);
    assert_eq!((config.admin_user.as_str(), &config.cookie_secret), ("admin", &None));
    assert!(config.validate_requests && !config.enforce_https);
    assert_eq!(config.gc_channels_after, Duration::from_secs(72 * 3600));
    assert_eq!((config.max_body_size, config.max_json_depth), (1 << 20, 64));
    assert_eq!(config.default_secrets(), ["secret", "admin_secret"]);
}

#[test]
fn every_setting_of_the_table_is_read() {
    // Each text is wrong for its kind; only kinds that take any text pass.
    for setting in table::settings() {
        let text = match setting.kind {
            table::Kind::Text => "two\nlines",
            table::Kind::Secret if ["cookie_secret", "redis_url"].contains(&setting.key) => "a\nb",
            table::Kind::Secrets if setting.key == "webhook_secret" => "whsec_no such thing!",
            table::Kind::Secret | table::Kind::Secrets => " ",
            table::Kind::Texts | table::Kind::SecretFile => continue,
            _ => "no such thing!",
        };
        let lines = error_lines(&Config::from_sources(&[flag(setting.key, text)]));
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with(&setting.flag()), "{lines:?}");
    }
}

#[test]
fn all_mistakes_are_reported_at_once_without_secrets() {
    let lines = mistakes(&[
        ("webhook_url", "http://me:confidential@127.0.0.1/"),
        ("port", "http"),
        ("secret", ""),
        ("admin_secret", "one\ntwo"),
        ("gc_conns_after", "0"),
        ("allow_posting_from", "10.0.0.1, localhost"),
        ("prot", "1"),
        ("log_level", "INOF"),
    ]);
    assert_eq!(
        lines,
        [
            "--prot: unknown setting prot; did you mean port?",
            "--port: port = \"http\": not a port, 0 to 65535",
            "--secret: secret = ***: empty",
            "--admin-secret: admin_secret = ***: more than one line",
            "--allow-posting-from: allow_posting_from = \"10.0.0.1, localhost\": \"localhost\" is \
             neither an address nor a network (10.1.2.3, 10.0.0.0/8, fd00::/8)",
            "--log-level: log_level = \"INOF\": no level (DEBUG, INFO, WARNING, ERROR, CRITICAL) and \
             no tracing directive; did you mean INFO?",
            "--gc-conns-after: gc_conns_after = \"0\": not a time from 1ms to 36525d",
            "--webhook-url: webhook_url = ***: it has a user name or password; webhooks are signed",
        ]
    );
}

#[test]
fn numbers_and_times_stay_within_bounds() {
    for (key, text) in [
        ("port", "65536"),
        ("port", "-1"),
        ("port", "80.5"),
        ("gc_conns_after", "inf"),
        ("gc_conns_after", "NaN"),
        ("gc_conns_after", "-5"),
        ("gc_conns_after", "1e300"),
        ("gc_conns_after", "5x"),
        ("gc_conns_after", "0.5ms"),
        ("gc_conns_after", "40000d"),
        ("max_head_size", "8191"),
        ("max_connections", "0"),
        ("max_connections", "99999999999999999999999"),
        ("max_json_depth", "128"),
    ] {
        assert_eq!(mistakes(&[(key, text)]).len(), 1, "{key} = {text}");
    }
    let config = config(&[("gc_conns_after", " 0.25 "), ("port", "0"), ("max_head_size", "8192")]);
    assert_eq!(config.gc_conns_after, Duration::from_millis(250));
    assert_eq!((config.port, config.max_head_size), (0, 8192));
}

#[test]
fn booleans_are_those_of_the_reference() {
    for text in ["t", "True", "y", "YES", " on ", "1"] {
        assert!(config(&[("enforce_https", text)]).enforce_https, "{text}");
    }
    for text in ["f", "false", "No", "off", "0"] {
        assert!(!config(&[("validate_requests", text)]).validate_requests, "{text}");
    }
    assert!(config(&[("validate_requests", "")]).validate_requests);
    // There they are false; here nobody has to find that out.
    for text in ["maybe", "2", "ja", "enabled", "true false"] {
        assert_eq!(
            mistakes(&[("enforce_https", text)]),
            [format!("--enforce-https: enforce_https = {text:?}: neither true nor false")]
        );
    }
}

#[test]
fn times_have_units() {
    for (text, millis) in [
        ("500ms", 500),
        ("5s", 5000),
        ("1m", 60_000),
        ("2h", 7_200_000),
        ("1d", 86_400_000),
        ("7", 7000),
    ] {
        let time = config(&[("gc_users_after", text)]).gc_users_after;
        assert_eq!(time, Duration::from_millis(millis), "{text}");
    }
}

#[test]
fn files_of_secrets_are_text_in_utf_8() {
    let of = |bytes: &[u8]| {
        let (_folder, path) = file(bytes);
        from_environment(&[("CHANNELSTREAM_SECRET_FILE", path.to_str().unwrap())]).check()
    };
    let secrets = of(b"\xef\xbb\xbfnew\r\n\r\nold\r\n").config.unwrap().secrets;
    assert_eq!(secrets, ["new", "old"].map(Secret::new));
    for (bytes, because) in [
        (&b"\xff\xfen\0e\0w\0"[..], "it is UTF-16 by its byte order mark; save it as UTF-8"),
        (b"n\0w", "line 1 has the character U+0000"),
        (b"\n", "it is empty"),
        (b"new\n\xff", "line 2 is not UTF-8"),
    ] {
        let lines = error_lines(&of(bytes));
        assert!(lines[0].contains("secret: cannot be read: "), "{lines:?}");
        assert!(lines.len() == 1 && lines[0].contains(because), "{lines:?}");
    }
    // A variable that was filled from such a file.
    for key in ["CHANNELSTREAM_SECRET", "CHANNELSTREAM_ADMIN_SECRET"] {
        let config = from_environment(&[(key, "\u{feff}new")]).check().config.unwrap();
        let secret = if key.contains("ADMIN") { &config.admin_secret } else { &config.secrets[0] };
        assert_eq!(*secret, Secret::new("new"));
    }
}

#[test]
fn ini_files_and_json_may_begin_with_a_mark() {
    let (_folder, path) = file("\u{feff}[channelstream]\nport = 9002\n");
    assert_eq!(from_file(&path).check().config.unwrap().port, 9002);
    let (_folder, path) = file(b"\xff\xfe[\0c\0");
    let lines = error_lines(&from_file(&path).check());
    assert!(lines[0].contains("push.ini: cannot be read (--ini): it is UTF-16"), "{lines:?}");
    let (folder, _path) = file("");
    let lines = error_lines(&from_file(folder.path()).check());
    assert!(lines[0].ends_with("cannot be read (--ini): it is a directory"), "{lines:?}");
    let sources = from_json("\u{feff}{\"port\": 9003}").unwrap();
    assert_eq!(sources.check().config.unwrap().port, 9003);
}

#[test]
fn fresh_secrets_stand_in_for_those_that_nobody_set() {
    let given = || from_environment(&[("CHANNELSTREAM_ADMIN_SECRET", "mine")]);
    let fresh = given().with_fresh_secrets().check().config.unwrap();
    let again = given().with_fresh_secrets().check().config.unwrap();
    assert_eq!(fresh.admin_secret, Secret::new("mine"));
    assert_eq!(fresh.secrets[0].expose().len(), 64);
    assert!(fresh.secrets != again.secrets && fresh.cookie_secret != again.cookie_secret);
    assert!(fresh.default_secrets().is_empty());
    assert_ne!(fresh.secrets.first(), fresh.cookie_secret.as_ref());
}

#[test]
fn lists_go_over_commas_and_lines() {
    let config = config(&[("allow_cors", "example.com,\n   example.org\n\n,a b")]);
    assert_eq!(config.allow_cors, ["example.com", "example.org", "a b"]);
}

#[test]
fn hosts_are_names_or_addresses() {
    for (text, host) in [("[::1]", "::1"), (" localhost ", "localhost"), ("127.0.0.2", "127.0.0.2")]
    {
        assert_eq!(config(&[("host", text)]).host, host);
    }
    for text in ["127.0.0.1:8000", "http://localhost", "a b", "[localhost]", "::1]"] {
        assert_eq!(mistakes(&[("host", text)]).len(), 1, "{text}");
    }
}

#[test]
fn flags_come_before_file_and_file_shuts_out_the_environment() {
    let (_folder, path) = file("[channelstream]\nport = 9002\nhost = ::1\n");
    let environment =
        vars(&[("CHANNELSTREAM_PORT", "9003"), ("CHANNELSTREAM_GC_USERS_AFTER", "7")]);
    let alone = gather([], None, environment.clone()).check().config.unwrap();
    assert_eq!((alone.port, alone.gc_users_after.as_secs()), (9003, 7));

    let checked = gather([], Some(&path), environment.clone()).check();
    assert!(warned(&checked, &["push.ini", "CHANNELSTREAM_GC_USERS_AFTER, CHANNELSTREAM_PORT"]));
    let beside = checked.config.unwrap();
    assert_eq!((beside.port, beside.gc_users_after.as_secs()), (9002, 86_400));

    let flags = [(String::from("port"), String::from("9001"))];
    let all = gather(flags.clone(), Some(&path), environment.clone()).check().config.unwrap();
    assert_eq!((all.port, all.host.as_str()), (9001, "::1"));
    assert_eq!(gather(flags, None, environment).check().config.unwrap().port, 9001);
}

#[test]
fn the_environment_may_name_the_file() {
    let (_folder, path) = file("[channelstream]\nport = 9002\n");
    let path = path.to_str().unwrap();
    let config = from_environment(&[("CHANNELSTREAM_INI", path)]).check().config.unwrap();
    assert_eq!(config.port, 9002);
    let config = from_environment(&[("CHANNELSTREAM_INI", ""), ("CHANNELSTREAM_PORT", "9003")]);
    assert_eq!(config.check().config.unwrap().port, 9003);
    let lines = error_lines(&from_environment(&[("CHANNELSTREAM_INI", "/nowhere/x.ini")]).check());
    assert_eq!(lines.len(), 1);
    assert!(
        lines[0].starts_with("/nowhere/x.ini: cannot be read (CHANNELSTREAM_INI): "),
        "{lines:?}"
    );
}

#[test]
fn unknown_names_are_warned_of_with_the_nearest() {
    let (_folder, path) = file(
        "[DEFAULT]\nroot = /srv\n[channelstream]\ndemo = 50%\nsignature_checker = a.B\nbase = x\n\
         gc_conn_after = 9\nsecret = %(base)s\n[app:main]\nport = one\n",
    );
    let checked = from_file(&path).check();
    assert!(warned(&checked, &["push.ini:4: unknown setting demo, ignored"]));
    assert!(warned(&checked, &[":5:", "signature_checker"]));
    assert!(warned(&checked, &[":7:", "gc_conn_after", "did you mean gc_conns_after?"]));
    assert!(!warned(&checked, &["root"]) && !warned(&checked, &["setting base"]));
    assert_eq!(checked.config.unwrap().secrets, [Secret::new("x")]);

    let checked = from_environment(&[
        ("CHANNELSTREAM_PROT", "1"),
        ("CHANNELSTREAM_URL", "x"),
        ("CHANNELSTREAM_SERVICE", "y"),
        ("OTHER", "z"),
    ])
    .check();
    assert!(warned(&checked, &["CHANNELSTREAM_PROT", "did you mean CHANNELSTREAM_PORT?"]));
    assert!(warned(&checked, &["unknown, ignored: CHANNELSTREAM_SERVICE, CHANNELSTREAM_URL"]));
    assert!(!warned(&checked, &["OTHER"]));
}

#[test]
fn a_file_for_another_program_is_refused() {
    let (_folder, path) = file("[App:Main]\ndir = %(here)s/data\n[server]\nport = 1\n");
    let lines = error_lines(&from_file(&path).check());
    assert_eq!(lines.len(), 1);
    assert!(
        lines[0].ends_with(
            "push.ini: no [channelstream] section; sections found: [App:Main], [server]"
        ),
        "{lines:?}"
    );
    let (_folder, path) = file(b"[channelstream]\nsecret = \xff\n");
    assert!(error_lines(&from_file(&path).check())[0].ends_with("push.ini:2: not UTF-8"));
}

#[test]
fn percent_signs_in_a_file_are_doubled_and_in_the_environment_not() {
    let (_folder, path) = file("[channelstream]\n\nadmin_secret = 50%off\nport = x\n");
    let lines = error_lines(&from_file(&path).check());
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("push.ini:3: admin_secret: ")
        && line.contains("double the percent sign")
        && !line.contains("off")));
    let config =
        from_environment(&[("CHANNELSTREAM_ADMIN_SECRET", "50%off")]).check().config.unwrap();
    assert_eq!(config.admin_secret, Secret::new("50%off"));
}

#[test]
fn blanks_around_a_secret_are_warned_of_and_count_either_way() {
    let checked = from_environment(&[("CHANNELSTREAM_SECRET", "abc\n")]).check();
    assert!(warned(&checked, &["CHANNELSTREAM_SECRET", "white space"]));
    assert_eq!(checked.config.unwrap().secrets, [Secret::new("abc"), Secret::new("abc\n")]);
    let checked = from_environment(&[("CHANNELSTREAM_ADMIN_SECRET", " abc")]).check();
    assert!(warned(&checked, &["CHANNELSTREAM_ADMIN_SECRET", "white space"]));
    assert_eq!(checked.config.unwrap().admin_secret, Secret::new("abc"));
}

#[test]
fn several_secrets_stand_on_several_lines() {
    let (_folder, path) =
        file("[channelstream]\nsecret = new, with a comma\n    old\n    port = 1\n");
    let checked = from_file(&path).check();
    assert!(warned(&checked, &[":2:", "looks like the setting port"]));
    let secrets = checked.config.unwrap().secrets;
    assert_eq!(secrets, ["new, with a comma", "old", "port = 1"].map(Secret::new));
}

#[test]
fn secrets_come_from_files_which_no_line_break_spoils() {
    let (_folder, path) = file("from file\r\n");
    let path = path.to_str().unwrap();
    let checked = from_environment(&[("CHANNELSTREAM_COOKIE_SECRET_FILE", path)]).check();
    assert!(!warned(&checked, &["white space"]));
    assert_eq!(checked.config.unwrap().cookie_secret, Some(Secret::new("from file")));
    let both = [("CHANNELSTREAM_SECRET_FILE", path), ("CHANNELSTREAM_SECRET", "x")];
    let lines = error_lines(&from_environment(&both).check());
    assert!(lines[0].contains("secret: set twice, here and by CHANNELSTREAM_SECRET"), "{lines:?}");
    let flags = [(String::from("secret"), String::from("flag"))];
    let checked = gather(flags, None, vars(&both[..1])).check();
    assert!(warned(&checked, &["--secret:", "list of processes", "--secret-file"]));
    assert_eq!(checked.config.unwrap().secrets, [Secret::new("flag")]);
}

#[test]
fn a_port_from_kubernetes_is_explained() {
    let lines =
        error_lines(&from_environment(&[("CHANNELSTREAM_PORT", "tcp://10.0.0.1:8000")]).check());
    assert!(lines[0].contains("enableServiceLinks"), "{lines:?}");
}

#[test]
fn written_files_read_back_as_they_were() {
    let document = r##"{"secret": ["50%off", "=old:%(x)s"], "admin_secret": "#[a];b\\n\"q\"",
        "port": 9001, "allow_posting_from": ["127.0.0.1", "10.0.0.0/8"], "validate_requests": false,
        "host": "127.0.0.1", "log_level": null, "gc_conns_after": 2.5}"##;
    let sources = from_json(document).unwrap();
    let wanted = sources.check().config.unwrap();
    assert_eq!(wanted.secrets, ["50%off", "=old:%(x)s"].map(Secret::new));
    assert!(!wanted.validate_requests);
    let (_folder, path) = file(template::ini_file(&sources).unwrap());
    assert_eq!(from_file(&path).check().config.unwrap(), wanted);

    let (_folder, path) = file(template::ini_file(&Sources::default()).unwrap());
    let checked = from_file(&path).check();
    assert_eq!(checked.config.unwrap(), Config::default());
    assert_eq!(checked.warnings.len(), 1, "{:?}", checked.warnings);
}

#[test]
fn what_no_file_can_hold_is_not_written() {
    for secret in ["a\n#b", "a\n;b", " a", "a\n", "a \nb"] {
        let sources = gather([("secret".into(), secret.into())], None, []);
        let errors = template::ini_file(&sources).unwrap_err().to_string();
        assert!(
            errors.starts_with("--secret: secret = ***: cannot be written to an ini file"),
            "{errors}"
        );
    }
}

#[test]
fn json_that_is_no_object_of_settings_is_refused() {
    for document in ["", "[]", "{", "{\"port\": {}}", "{\"port\": [null]}"] {
        assert!(from_json(document).is_err(), "{document}");
    }
}

#[test]
fn shown_settings_hide_secrets_and_name_their_origin() {
    let sources = from_environment(&[
        ("CHANNELSTREAM_SECRET", "hidden"),
        ("CHANNELSTREAM_ALLOW_CORS", "a,\n b"),
    ]);
    let lines: Vec<_> = sources.effective().iter().map(template::shown).collect();
    for line in [
        "secret = ***  (CHANNELSTREAM_SECRET)",
        "allow_cors = a, b  (CHANNELSTREAM_ALLOW_CORS)",
        "port = 8000",
        "admin_secret = ***",
        "cookie_secret =",
    ] {
        assert!(lines.iter().any(|shown| shown == line), "{line}: {lines:?}");
    }
    assert!(!lines.concat().contains("hidden"));
    assert!(!format!("{sources:?}").contains("hidden"));
}
