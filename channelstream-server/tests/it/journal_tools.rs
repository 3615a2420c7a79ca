//! `channelstream-server journal`: what a journal holds, the state of an earlier time, repair.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use channelstream_core::state::stored::LEVEL;
use channelstream_server::config::{Journal, JournalSync};
use channelstream_server::{Config, Server};
use serde_json::{Value, json};

use crate::app::App;
use crate::process::PROGRAM;

fn on(directory: &Path) -> Config {
    let journal = Journal::File { directory: directory.to_owned(), sync: JournalSync::Always };
    Config { journal, ..Config::default() }
}

/// A directory whose channel `room` has the messages 1 to 5.
fn journal() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let app = App::start(on(&folder.path().join("journal")));
    app.connect("ann", &["room"]);
    app.configure("room", &json!({"store_history": true}));
    for number in 1..=5 {
        app.publish("room", number);
    }
    app.stop();
    folder
}

fn tool(arguments: &[&str], directory: &Path) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("journal").args(arguments).arg(directory).output().unwrap()
}

/// What a command prints that succeeds.
#[track_caller]
fn printed(arguments: &[&str], directory: &Path) -> String {
    let output = tool(arguments, directory);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// What a command complains of that fails.
#[track_caller]
fn refused(arguments: &[&str], directory: &Path) -> String {
    let output = tool(arguments, directory);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

fn segment(directory: &Path) -> PathBuf {
    let mut files = fs::read_dir(directory).unwrap().map(|file| file.unwrap().path());
    let is_segment = |path: &PathBuf| path.to_string_lossy().contains("segment-");
    files.find(is_segment).unwrap()
}

/// The numbers of the messages in `room`, as a replay prints them.
fn messages(replayed: &str) -> Vec<u64> {
    let replayed: Value = serde_json::from_str(replayed).unwrap();
    let history = replayed["info"]["channels"]["room"]["history"].as_array().cloned();
    history.into_iter().flatten().map(|message| message["message"]["n"].as_u64().unwrap()).collect()
}

/// Damages the record of the second message.
fn damage(directory: &Path) {
    let path = segment(directory);
    let mut bytes = fs::read(&path).unwrap();
    let second = br#""n":2"#;
    let at = bytes.windows(second.len()).position(|window| window == second).unwrap();
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
}

#[test]
fn files_and_entries_are_shown_and_no_message_or_id_of_a_connection() {
    let folder = journal();
    let directory = folder.path().join("journal");
    let files = printed(&["show"], &directory);
    assert!(files.contains("snapshot-") && files.contains(" entries\n"), "{files}");
    assert!(files.ends_with(&format!("\nlevel {LEVEL}\n")), "{files}");
    let entries = printed(&["show", "--entries"], &directory);
    for (command, count) in [("begin", 1), ("rules", 1), ("connect", 1), ("publish", 5)] {
        let found = entries.lines().filter(|line| line.contains(&format!("  {command} "))).count();
        assert_eq!(found, count, "{command}: {entries}");
    }
    assert!(!entries.contains("ann") && !entries.contains("room"), "{entries}");
    let last = printed(&["show", "--entries", "--from", "7"], &directory);
    assert!(entries.ends_with(&last) && last.lines().count() == entries.lines().count() - 7);
}

#[test]
fn a_replay_is_the_state_of_an_earlier_time_also_while_a_server_runs() {
    let folder = journal();
    let directory = folder.path().join("journal");
    let app = App::start(on(&directory));
    assert_eq!(messages(&printed(&["replay"], &directory)), [1, 2, 3, 4, 5]);
    let entries = printed(&["show", "--entries"], &directory);
    let third = entries.lines().filter(|line| line.contains("publish")).nth(2).unwrap();
    let mut words = third.split_whitespace();
    let (number, time) = (words.next().unwrap(), words.next().unwrap());
    assert_eq!(messages(&printed(&["replay", "--before", number], &directory)), [1, 2]);
    assert_eq!(messages(&printed(&["replay", "--until", time], &directory)), [1, 2, 3]);
    let other = printed(&["replay", "--channel", "other"], &directory);
    assert_eq!(messages(&other), [0; 0]);
    let early = printed(&["replay", "--until", "2001-01-01T00:00:00Z"], &directory);
    assert_eq!(messages(&early), [0; 0]);
    app.publish("room", 6);
    assert_eq!(messages(&printed(&["replay"], &directory)), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_damaged_journal_is_not_opened_until_it_is_cut() {
    let folder = journal();
    let directory = folder.path().join("journal");
    assert_eq!(printed(&["repair"], &directory), "nothing is damaged\n");
    damage(&directory);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = Config { port: 0, ..on(&directory) };
    let error = runtime.block_on(Server::bind(config)).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("damaged at byte") && cause.contains("journal repair"), "{cause}");
    assert!(refused(&["repair"], &directory).contains("damaged at byte"));
    let shown = tool(&["show"], &directory);
    assert_eq!(shown.status.code(), Some(1));
    assert!(String::from_utf8(shown.stdout).unwrap().contains("damage"));
    assert!(printed(&["repair", "--drop"], &directory).contains("was cut at byte"));
    assert_eq!(printed(&["repair", "--drop"], &directory), "nothing is damaged\n");
    assert_eq!(messages(&printed(&["replay"], &directory)), [1]);
    let app = App::start(on(&directory));
    app.publish("room", 7);
    assert_eq!(messages(&printed(&["replay"], &directory)), [1, 7]);
}

#[test]
fn what_cannot_be_repaired_is_said_to_be_so() {
    let folder = journal();
    let directory = folder.path().join("journal");
    let path = segment(&directory);
    let mut bytes = fs::read(&path).unwrap();
    bytes[20] ^= 1;
    fs::write(&path, &bytes).unwrap();
    for arguments in [&["repair"][..], &["repair", "--drop"]] {
        let why = refused(arguments, &directory);
        assert!(why.contains("header") && why.contains("restored from a copy"), "{why}");
    }
    fs::remove_file(&path).unwrap();
    fs::write(directory.join("segment-00000000000000000009"), &bytes).unwrap();
    assert!(refused(&["repair"], &directory).contains("is missing"));
}

#[test]
fn a_snapshot_without_a_segment_is_no_beginning() {
    let folder = journal();
    let directory = folder.path().join("journal");
    let path = segment(&directory);
    fs::remove_file(&path).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    for arguments in [&["repair"][..], &["repair", "--drop"]] {
        let why = refused(arguments, &directory);
        assert!(why.contains(&format!("{name} is missing")), "{why}");
    }
    let mut command = Command::new(PROGRAM);
    command.args(["--port", "0", "--journal", "file", "--journal-dir"]).arg(&directory);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("{name} is missing")), "{said}");
}

#[test]
fn records_that_are_cut_out_are_damage() {
    let folder = journal();
    let directory = folder.path().join("journal");
    let path = segment(&directory);
    let bytes = fs::read(&path).unwrap();
    let find = |text: &[u8]| bytes.windows(text.len()).position(|window| window == text).unwrap();
    // From the middle of the second message to the middle of the third, which are equally long.
    let (second, third) = (find(br#""n":2"#), find(br#""n":3"#));
    fs::write(&path, [&bytes[..second], &bytes[third..]].concat()).unwrap();
    assert!(refused(&["repair"], &directory).contains("damaged at byte"));
}

#[test]
fn a_lock_that_was_removed_holds_still() {
    let folder = journal();
    let directory = folder.path().join("journal");
    let app = App::start(on(&directory));
    fs::remove_file(directory.join("lock")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(Server::bind(Config { port: 0, ..on(&directory) })).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("another process"), "{cause}");
    app.publish("room", 6);
}

#[test]
fn what_a_server_has_open_is_not_cut() {
    let folder = journal();
    let directory = folder.path().join("journal");
    let app = App::start(on(&directory));
    let why = refused(&["repair", "--drop"], &directory);
    assert!(why.contains("another process"), "{why}");
    app.publish("room", 6);
}

#[test]
fn what_is_no_journal_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["show"][..], &["replay"], &["repair"]] {
        assert!(refused(arguments, folder.path()).contains("no journal"));
        assert!(refused(arguments, &folder.path().join("nowhere")).contains("No such file"));
    }
}

#[test]
fn what_is_no_journal_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    for arguments in [&["show"][..], &["replay"], &["repair"], &["repair", "--drop"]] {
        let why = refused(arguments, folder.path());
        assert!(why.contains("there is no journal in"), "{why}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{arguments:?}");
        refused(arguments, &missing);
        assert!(!missing.exists(), "{arguments:?}");
    }
}

/// Starts a server on a directory. Returns why it does not start.
fn start_refused(directory: &Path) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = Config { port: 0, ..on(directory) };
    let error = runtime.block_on(Server::bind(config)).unwrap_err();
    let causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
    causes.map(|cause| cause.to_string()).collect::<Vec<_>>().join(": ")
}

#[cfg(unix)]
#[test]
fn only_regular_files_are_of_a_journal() {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    let make_pipe = |path: &Path| {
        let made = Command::new("mkfifo").arg(path).status().unwrap();
        assert!(made.success(), "{made}");
    };
    let make_link = |path: &Path| symlink("/dev/zero", path).unwrap();
    let make_socket = |path: &Path| drop(UnixListener::bind(path).unwrap());
    let make_folder = |path: &Path| fs::create_dir(path).unwrap();
    let makes: [&dyn Fn(&Path); 4] = [&make_pipe, &make_link, &make_socket, &make_folder];
    for name in ["segment-00000000000000000007", "snapshot-00000000000000000007"] {
        for make in makes {
            let folder = journal();
            let directory = folder.path().join("journal");
            make(&directory.join(name));
            let is_named = |why: String| {
                let is_named = why.contains(name) && why.contains("not a regular file");
                assert!(is_named, "{why}");
            };
            for arguments in [&["show"][..], &["repair"], &["repair", "--drop"]] {
                is_named(refused(arguments, &directory));
            }
            if name.starts_with("snapshot") {
                is_named(refused(&["replay"], &directory));
                is_named(start_refused(&directory));
            } else {
                // It follows what is missing before it.
                assert!(start_refused(&directory).contains("is missing"));
            }
        }
    }
}

#[cfg(unix)]
#[test]
fn a_lock_that_leads_elsewhere_is_not_followed() {
    let folder = journal();
    let directory = folder.path().join("journal");
    let (lock, other) = (directory.join("lock"), folder.path().join("other"));
    fs::remove_file(&lock).unwrap();
    fs::write(&other, "of another program").unwrap();
    std::os::unix::fs::symlink(&other, &lock).unwrap();
    damage(&directory);
    for why in [start_refused(&directory), refused(&["repair", "--drop"], &directory)] {
        assert!(why.contains("journal/lock") && why.contains("not a regular file"), "{why}");
    }
    assert_eq!(fs::read_to_string(&other).unwrap(), "of another program");
}
