//! The settings of the journal, each alone and together.

use super::*;

#[test]
fn a_journal_is_in_memory_unless_files_are_asked_for() {
    assert_eq!(config(&[]).journal, Journal::Memory);
    let file = |sync, given: &[(&str, &str)]| {
        let values = [&[("journal", "file"), ("journal_dir", "/var/lib/push")], given].concat();
        assert_eq!(
            config(&values).journal,
            Journal::File { directory: "/var/lib/push".into(), sync }
        );
    };
    file(JournalSync::Always, &[]);
    file(JournalSync::Always, &[("journal_sync", "Always")]);
    file(JournalSync::Never, &[("journal_sync", "never")]);
    file(JournalSync::Every(Duration::from_millis(500)), &[("journal_sync", "0.5")]);
    file(JournalSync::Every(Duration::from_secs(60)), &[("journal_sync", "1m")]);
}

#[test]
fn what_makes_no_sense_is_a_mistake() {
    assert_eq!(
        mistakes(&[("journal", "file")]),
        ["--journal: journal = \"file\": it needs journal_dir"]
    );
    assert_eq!(
        mistakes(&[("journal_dir", "/var/lib/push"), ("journal_sync", "never")]),
        [
            "--journal-dir: journal_dir = \"/var/lib/push\": it has no effect without journal = file",
            "--journal-sync: journal_sync = \"never\": it has no effect without journal = file",
        ]
    );
    // What a file of all settings says.
    assert_eq!(config(&[("journal_sync", "always")]).journal, Journal::Memory);
    assert_eq!(
        mistakes(&[("journal", "paper"), ("journal_dir", "/var/lib/push")]),
        ["--journal: journal = \"paper\": neither memory nor file nor redis"]
    );
    for (sync, problem) in [("0", "not a time from 1ms to 36525d"), ("often", "")] {
        let values = [("journal", "file"), ("journal_dir", "x"), ("journal_sync", sync)];
        let mistakes = mistakes(&values);
        let expected = format!("journal_sync = {sync:?}: neither always nor never, and {problem}");
        assert!(mistakes.len() == 1 && mistakes[0].contains(&expected), "{mistakes:?}");
    }
}

#[test]
fn a_journal_in_redis_needs_its_address_and_tells_it_to_nobody() {
    let redis = |given: &[(&str, &str)]| {
        let values =
            [&[("journal", "redis"), ("redis_url", "redis://:hidden@host")], given].concat();
        match config(&values).journal {
            Journal::Redis(journal) => journal,
            other => panic!("{other:?}"),
        }
    };
    let journal = redis(&[]);
    assert_eq!((&*journal.name, journal.replicas), ("channelstream", 0));
    assert_eq!(journal.timeout, Duration::from_secs(5));
    assert!(!format!("{journal:?}").contains("hidden"));
    let journal = redis(&[("redis_name", "push"), ("redis_replicas", "2"), ("redis_timeout", "1")]);
    assert_eq!((&*journal.name, journal.replicas), ("push", 2));
    assert_eq!(
        mistakes(&[("journal", "redis")]),
        ["--journal: journal = \"redis\": it needs redis_url"]
    );
    let wrong = mistakes(&[("redis_url", "redis://:hidden@host"), ("redis_name", "push")]);
    assert_eq!(wrong.len(), 2);
    assert!(
        wrong.iter().all(|one| one.contains("no effect") && !one.contains("hidden")),
        "{wrong:?}"
    );
    let values = [("journal", "redis"), ("redis_url", "redis://host"), ("redis_name", "a{b}")];
    assert!(mistakes(&values)[0].contains("braces"));
}

#[test]
fn a_certificate_for_redis_is_read_with_its_key_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, mode: u32| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("the text of {name}")).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        path.to_str().unwrap().to_owned()
    };
    let (certificate, key) = (write("cert", 0o644), write("key", 0o600));
    let redis = [("journal", "redis"), ("redis_url", "rediss://host")];
    let with = |given: &[(&'static str, &str)]| {
        let given: Vec<_> = redis.iter().chain(given).copied().collect();
        mistakes(&given)
    };
    let both = [("redis_tls_cert", &*certificate), ("redis_tls_key", &*key)];
    let given: Vec<_> = redis.iter().chain(&both).copied().collect();
    let Journal::Redis(journal) = config(&given).journal else { panic!() };
    let identity = journal.identity.unwrap();
    assert_eq!(identity.certificate, "the text of cert");
    assert_eq!(identity.key.expose(), "the text of key");
    assert!(!format!("{identity:?}").contains("text of key"));

    let alone = with(&[("redis_tls_cert", &certificate)]);
    assert!(alone.len() == 1 && alone[0].ends_with("it needs redis_tls_key"), "{alone:?}");
    let alone = with(&[("redis_tls_key", &key)]);
    assert!(alone.len() == 1 && alone[0].ends_with("it needs redis_tls_cert"), "{alone:?}");
    let missing = with(&[("redis_tls_cert", "/no/such"), ("redis_tls_key", &key)]);
    assert!(missing.len() == 1 && missing[0].contains("cannot be read"), "{missing:?}");
    let useless = mistakes(&both);
    assert!(useless.len() == 2 && useless[0].contains("no effect"), "{useless:?}");
}

#[test]
fn the_level_of_a_journal_that_lasts_can_be_held() {
    assert_eq!(config(&[]).cluster_level, ClusterLevel::Raise);
    let files = [("journal", "file"), ("journal_dir", "x"), ("cluster_level", "Hold")];
    assert_eq!(config(&files).cluster_level, ClusterLevel::Hold);
    let redis = [("journal", "redis"), ("redis_url", "redis://host"), ("cluster_level", "hold")];
    assert_eq!(config(&redis).cluster_level, ClusterLevel::Hold);
    assert_eq!(
        mistakes(&[("cluster_level", "hold")]),
        ["--cluster-level: cluster_level = \"hold\": it has no effect without journal = file or \
             redis"]
    );
    let wrong = mistakes(&[("cluster_level", "2")]);
    assert!(wrong.len() == 1 && wrong[0].contains("neither raise nor hold"), "{wrong:?}");
}
