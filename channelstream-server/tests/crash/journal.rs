//! The files of a journal, and servers that are started on them.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::app::Site;
use crate::process::{PROGRAM, Process, quiet};

/// A folder with a journal in it.
pub(crate) struct Journal(TempDir);

impl Journal {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("journal")
    }

    /// Returns the flags of a server with this journal.
    pub(crate) fn flags(&self) -> Vec<String> {
        let directory = self.path().display().to_string();
        ["--journal", "file", "--journal-dir", &directory].map(String::from).to_vec()
    }

    /// Starts a server on it.
    pub(crate) fn start(&self, flags: &[&str]) -> Process {
        let own = self.flags();
        let own = own.iter().map(String::as_str);
        Process::start(&own.chain(flags.iter().copied()).collect::<Vec<_>>())
    }

    /// Starts a server on it that has to refuse to start. Returns what it said.
    pub(crate) fn refused(&self) -> String {
        refused(&self.flags())
    }

    /// Returns a copy, as it would be found after a crash.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self::new();
        fs::create_dir(copy.path()).unwrap();
        for entry in fs::read_dir(self.path()).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        copy
    }

    /// Returns the path of the only segment.
    pub(crate) fn segment(&self) -> PathBuf {
        self.files("segment-").into_iter().next().unwrap()
    }

    /// Returns the paths of the files whose names begin so.
    pub(crate) fn files(&self, begin: &str) -> Vec<PathBuf> {
        let files = fs::read_dir(self.path()).unwrap().map(|entry| entry.unwrap().path());
        let is_one = |path: &PathBuf| name(path).starts_with(begin);
        files.filter(is_one).collect()
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// Starts a server with these flags that has to refuse to start. Returns what it said.
pub(crate) fn refused(flags: &[String]) -> String {
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let program = std::env::var_os("CHANNELSTREAM_TEST_SERVER").unwrap_or_else(|| PROGRAM.into());
    let Output { status, stderr, .. } = quiet(&mut Command::new(program), &flags).output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

/// Makes a channel keep all its messages.
pub(crate) fn keep_all(site: Site, channel: &str) {
    let all = json!({"store_history": true, "history_size": 100_000,
        "store_frames": true, "frames_size": 100_000});
    site.configure(channel, &all);
}

/// Returns the numbers of the messages that a channel shows, oldest first.
pub(crate) fn kept(site: Site, channel: &str) -> Vec<u64> {
    let info = json!({"info": {"channels": [channel], "include_history": true}});
    let answer = site.call("/info", &info);
    let history = answer["channels"][channel]["history"].as_array();
    history.into_iter().flatten().map(|message| message["message"]["n"].as_u64().unwrap()).collect()
}

/// A signed request, sent to a server that may end at any time. Returns the status, if there is an answer.
pub(crate) fn attempt(address: SocketAddr, path: &str, body: &Value) -> Option<u16> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(crate::app::PATIENCE)).ok()?;
    let request = crate::app::Request::call(path, body).header("connection", "close");
    stream.write_all(&request.bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8(answer).ok()?;
    // The head came with the answer as a whole, or not at all.
    answer.contains("\r\n\r\n").then_some(())?;
    answer.split(' ').nth(1)?.parse().ok()
}
