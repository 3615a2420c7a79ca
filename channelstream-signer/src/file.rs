//! Files that people write: read within bounds, as text without a byte order mark; secrets in them.
//!
//! Server and command read their secrets, settings and profiles through here, so that a file means the
//! same to both.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use thiserror::Error;

/// Far more than any list of secrets needs; keeps a wrong path from filling the memory.
pub const MAX_SECRETS: u64 = 64 * 1024;

/// How long a pipe may take: somebody may be typing a passphrase at its other end, or nobody may be
/// there at all.
const PATIENCE: Duration = Duration::from_secs(30);

/// A byte order mark as a character.
const MARK: char = '\u{feff}';

/// How texts in other encodings than UTF-8 begin; the longer ones first.
const FOREIGN_MARKS: [(&[u8], &str); 4] = [
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
];

/// Why a file cannot be used. It never holds what is in the file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FileError {
    /// The system refused.
    #[error(transparent)]
    System(#[from] io::Error),
    /// A directory stands there.
    #[error("it is a directory")]
    Directory,
    /// It goes on behind the bound.
    #[error("it is larger than {0} bytes")]
    TooLarge(u64),
    /// A pipe or device that did not end in time.
    #[error("it is no ordinary file, and did not end within {} seconds", PATIENCE.as_secs())]
    Endless,
    /// The byte order mark of another encoding stands at its beginning.
    #[error("it is {0} by its byte order mark; save it as UTF-8")]
    Encoding(&'static str),
    /// A line, counted from 1, is not UTF-8.
    #[error("line {0} is not UTF-8")]
    NotUtf8(usize),
    /// There is nothing but white space in it.
    #[error("it is empty")]
    Empty,
    /// A line, counted from 1, has a character that no secret has.
    #[error("line {line} has the character U+{:04X}, which cannot be seen", u32::from(*character))]
    Invisible {
        /// The line.
        line: usize,
        /// The control character or byte order mark.
        character: char,
    },
}

/// The bytes of a file of at most `limit` bytes.
fn read_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let kind = fs::metadata(path)?;
    if kind.is_dir() {
        return Err(FileError::Directory);
    }
    let bytes = if kind.is_file() {
        read_up_to(path, limit + 1)?
    } else {
        read_in_time(path, limit + 1, PATIENCE)?
    };
    if bytes.len() as u64 > limit { Err(FileError::TooLarge(limit)) } else { Ok(bytes) }
}

/// Opening a pipe alone can take forever. A thread that hangs in it ends with the program.
fn read_in_time(path: &Path, limit: u64, patience: Duration) -> Result<Vec<u8>, FileError> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let path = PathBuf::from(path);
    thread::spawn(move || sender.send(read_up_to(&path, limit)));
    Ok(receiver.recv_timeout(patience).map_err(|_| FileError::Endless)??)
}

fn read_up_to(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of a file of at most `limit` bytes, as [`text`] has it.
///
/// # Errors
/// If it cannot be read, is a directory or larger; pipes and devices also if they don't end in time;
/// and those of [`text`].
pub fn read_text(path: &Path, limit: u64) -> Result<String, FileError> {
    text(read_bytes(path, limit)?)
}

/// These bytes as a text, without the byte order mark that some editors put before it.
///
/// # Errors
/// If they are not UTF-8.
pub fn text(bytes: Vec<u8>) -> Result<String, FileError> {
    if let Some((_, name)) = FOREIGN_MARKS.iter().find(|(mark, _)| bytes.starts_with(mark)) {
        return Err(FileError::Encoding(name));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        FileError::NotUtf8(1 + valid.iter().filter(|byte| **byte == b'\n').count())
    })?;
    Ok(without_mark(&text).to_owned())
}

/// A text without the byte order mark that may stand before it.
#[must_use]
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix(MARK).unwrap_or(text)
}

/// Whether everybody on this machine can read an ordinary file; false where the system has no such
/// permissions, or no such file.
#[must_use]
pub fn is_open_to_all(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::metadata(path)
            .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o004 != 0)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        false
    }
}

/// The text of a file that holds secrets, for [`secrets`]. Line breaks around it don't count.
///
/// # Errors
/// Those of [`read_text`] with the bound [`MAX_SECRETS`]; and if it is empty or has control
/// characters, which a wrong file or encoding brings in and nobody sees.
pub fn read_secrets(path: &Path) -> Result<String, FileError> {
    let text = read_text(path, MAX_SECRETS)?;
    for (index, line) in text.lines().enumerate() {
        let invisible = |character: &char| character.is_control() || *character == MARK;
        if let Some(character) = line.trim().chars().find(invisible) {
            return Err(FileError::Invisible { line: index + 1, character });
        }
    }
    let text = text.trim_matches(['\n', '\r']);
    if text.trim().is_empty() { Err(FileError::Empty) } else { Ok(text.to_owned()) }
}

/// The secrets in a text, one a line, the newest first; blanks around them and empty lines don't
/// count. A single one with white space around it counts with and without: the reference takes the
/// whole text of a variable, line break included, so whoever signs may do so.
#[must_use]
pub fn secrets(text: &str) -> Vec<&str> {
    let text = without_mark(text);
    let lines = text.lines().map(str::trim);
    let mut secrets: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
    if secrets.len() == 1 && text.trim() != text {
        secrets.push(text);
    }
    secrets
}

#[cfg(all(test, unix))]
mod tests {

    use std::process::Command;

    use super::*;

    #[test]
    fn a_pipe_that_nobody_writes_to_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let error = read_in_time(&fifo, MAX_SECRETS, Duration::from_millis(50)).unwrap_err();
        assert!(matches!(error, FileError::Endless), "{error:?}");
    }
}
