//! `channelstream-server doctor`: settings, clock, and a journal in files. A journal in Redis is examined by
//! the tests of `cluster`.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use channelstream_server::Config;
use channelstream_server::config::{Journal, JournalSync};
use serde_json::Value;

use crate::app::App;
use crate::process::{PROGRAM, Process, quiet};

fn doctor(flags: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("doctor");
    quiet(&mut command, flags)
        .env("CHANNELSTREAM_SECRET", "a secret of the application")
        .env("CHANNELSTREAM_ADMIN_SECRET", "a secret of the operators")
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8([&output.stdout[..], &output.stderr].concat()).unwrap()
}

/// The findings of one name about a directory, each as status, detail and advice.
fn findings(directory: &Path) -> Vec<(String, String, String)> {
    let directory = directory.to_str().unwrap();
    // A disk that is busy is no fault of what is tested.
    let sync = ["--journal-sync", "never"];
    let own = ["--journal", "file", "--journal-dir", directory, "--json"];
    let output = doctor(&[&own[..], &sync].concat());
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output)));
    assert_eq!(report["faults"] == 0, output.status.success(), "{report}");
    let word = |check: &Value, name: &str| check[name].as_str().unwrap_or_default().to_owned();
    let checks = report["checks"].as_array().unwrap().iter();
    checks
        .map(|check| {
            (
                format!("{} {}", word(check, "status"), word(check, "name")),
                word(check, "detail"),
                word(check, "advice"),
            )
        })
        .collect()
}

/// Checks that there is a finding, with these words in detail and advice.
#[track_caller]
fn has(directory: &Path, finding: &str, words: &[&str]) {
    let findings = findings(directory);
    let is_it = |(name, detail, advice): &(String, String, String)| {
        name == finding && words.iter().all(|word| format!("{detail} {advice}").contains(word))
    };
    assert!(findings.iter().any(is_it), "no {finding} with {words:?} in {findings:#?}");
}

fn start(directory: &Path) -> App {
    let journal = Journal::File { directory: directory.to_owned(), sync: JournalSync::Always };
    App::start(Config { journal, ..Config::default() })
}

#[test]
fn a_journal_in_memory_has_nothing_to_check() {
    let output = doctor(&[]);
    assert!(output.status.success(), "{}", text(&output));
    let lines = text(&output);
    let starts: Vec<_> = lines.lines().map(|line| line[..25].trim_end().to_owned()).collect();
    assert_eq!(starts, ["good     settings", "good     clock", "good     journal"], "{lines}");
    // Wrong settings are told as at the start of the server.
    let output = doctor(&["--journal", "file"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("it needs journal_dir"), "{}", text(&output));
    assert_eq!(doctor(&["--no-such-flag"]).status.code(), Some(2));
}

#[test]
fn a_journal_in_files_is_examined_also_while_a_server_has_it_open() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("journal");
    has(&directory, "good directory", &["will be made"]);
    assert!(!directory.exists(), "nothing is changed");
    has(&folder.path().join("no/such"), "fault directory", &["neither", "make it"]);
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    has(&file, "fault directory", &["not a directory", "journal_dir"]);

    let app = start(&directory);
    app.connect("ann", &["room"]);
    let id = std::process::id().to_string();
    // The server is in this process, whose name is another.
    has(&directory, "note lock", &[&format!("process {id} "), "has it open"]);
    app.stop();
    has(&directory, "good lock", &["no server"]);
    has(&directory, "good writing", &["brought to disk"]);
    has(&directory, "good files", &["all are whole", "the newest snapshot, snapshot-", " old"]);
    has(&directory, "good free space", &["MB free"]);
    let names = || fs::read_dir(&directory).unwrap().count();
    let before = names();
    has(&directory, "good directory", &["for its owner alone"]);
    assert_eq!(names(), before, "nothing is left behind");
}

#[cfg(target_os = "linux")]
#[test]
fn a_server_that_runs_is_told_from_another_process() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("journal");
    let server =
        Process::start(&["--journal", "file", "--journal-dir", directory.to_str().unwrap()]);
    let id = format!("process {} (channelstream-s)", server.id());
    has(&directory, "good lock", &[&id, "a second server would be refused"]);
    has(&directory, "good files", &["all are whole"]);
}

#[test]
fn what_is_wrong_with_a_directory_is_told_with_what_to_change() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("journal");
    let app = start(&directory);
    app.connect("ann", &["room"]);
    app.stop();
    let of_kind = |kind: &str| {
        let mut files = fs::read_dir(&directory).unwrap().map(|file| file.unwrap().path());
        files.find(|path| path.to_string_lossy().contains(kind)).unwrap()
    };
    fs::write(directory.join("notes.txt"), "").unwrap();
    has(&directory, "fault files", &["notes.txt", "a directory of its own"]);
    fs::remove_file(directory.join("notes.txt")).unwrap();
    let folder_inside = directory.join("segment-00000000000000009999");
    fs::create_dir(&folder_inside).unwrap();
    has(&directory, "fault files", &["9999", "not a regular file", "regular files alone"]);
    fs::remove_dir(folder_inside).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        has(&directory, "note directory", &["others may look", "chmod 700"]);
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
        has(&directory, "note directory", &["others may write", "chmod 700"]);
        let (lock, kept) = (directory.join("lock"), folder.path().join("kept"));
        fs::rename(&lock, &kept).unwrap();
        std::os::unix::fs::symlink(&kept, &lock).unwrap();
        has(&directory, "fault directory", &["lock: it is not a regular file"]);
        fs::rename(&kept, &lock).unwrap();
    }
    let segment = of_kind("segment-");
    let whole = fs::read(&segment).unwrap();
    fs::write(&segment, &whole[..10]).unwrap();
    has(&directory, "fault files", &["segment-", "restore a copy"]);
    fs::write(&segment, whole).unwrap();
    fs::remove_file(of_kind("snapshot-")).unwrap();
    has(&directory, "fault files", &["no snapshot to begin with", "restore a copy"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_in_memory_is_no_place_for_a_journal() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    has(&folder.path().join("journal"), "fault file system", &["tmpfs", "use a disk"]);
}

#[cfg(target_os = "linux")]
#[test]
fn what_keeps_no_files_is_told_as_that_and_not_as_a_lack_of_rights() {
    for directory in ["/proc", "/proc/journal"] {
        has(Path::new(directory), "fault file system", &["procfs", "keeps no files", "on a disk"]);
        let findings = findings(Path::new(directory));
        assert!(findings.iter().all(|(_, _, advice)| !advice.contains("chmod")), "{findings:?}");
    }
}
