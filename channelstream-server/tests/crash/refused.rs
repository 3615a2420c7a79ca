//! Directories that a server does not start on.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::journal::{Journal, refused};

#[test]
fn a_second_process_on_one_directory_is_refused() {
    let journal = Journal::new();
    let server = journal.start(&[]);
    let said = journal.refused();
    let expected = format!("another process (id {}) has this journal open", server.id());
    assert!(said.contains(&expected), "{said}");
    drop(server);
    journal.start(&[]);
}

#[test]
fn files_are_for_their_owner_alone() {
    let journal = Journal::new();
    let _server = journal.start(&[]);
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(journal.path()), 0o700);
    for file in journal.files("") {
        assert_eq!(mode(file.clone()), 0o600, "{}", file.display());
    }
    assert_eq!(journal.files("").len(), 3, "a lock, a snapshot and a segment");
}

#[test]
fn a_directory_that_cannot_be_used_is_refused() {
    let journal = Journal::new();
    let mut flags = journal.flags();
    let missing = journal.path().join("deeper");
    flags[3] = missing.display().to_string();
    let said = refused(&flags);
    let expected = format!("cannot use the directory {}", missing.display());
    assert!(said.contains(&expected) && said.contains("No such file"), "{said}");

    fs::write(journal.path(), "a file").unwrap();
    let said = journal.refused();
    let expected = format!("cannot use the directory {}", journal.path().display());
    assert!(said.contains(&expected), "{said}");
}

#[test]
fn a_directory_of_others_is_refused_and_left_alone() {
    let journal = Journal::new();
    fs::create_dir(journal.path()).unwrap();
    fs::write(journal.path().join("photo.jpg"), "not ours").unwrap();
    let said = journal.refused();
    assert!(said.contains("photo.jpg") && said.contains("a directory of its own"), "{said}");
    assert_eq!(journal.files("").len(), 1, "something was made");
}

#[test]
fn a_journal_of_a_newer_release_is_refused() {
    let journal = Journal::new();
    drop(journal.start(&[]));
    let segment = journal.segment();
    let mut bytes = fs::read(&segment).unwrap();
    bytes[8] = 77;
    fs::write(&segment, bytes).unwrap();
    let said = journal.refused();
    assert!(said.contains("a newer release wrote it: it has format 77"), "{said}");
}

#[test]
fn a_directory_that_others_can_write_to_is_warned_of() {
    let journal = Journal::new();
    let has_warned = |journal: &Journal| journal.start(&[]).log().contains("others may write into");
    assert!(!has_warned(&journal));
    fs::set_permissions(journal.path(), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(has_warned(&journal));
}
