//! The disk: every operation of the journal on files. Nothing else of the journal opens one.

use std::fmt::Debug;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// What the name of a file ends with until all of it is on disk.
pub(super) const UNFINISHED: &str = ".new";

const LOCK: &str = "lock";

/// A directory of files that are read. Its calls block.
pub(crate) trait Files: Debug {
    /// Returns the names of all files.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Returns all that is in a file.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;

    /// Returns where a file is, for people.
    fn show(&self, name: &str) -> String;
}

/// A directory of files that are also written. Its calls block.
pub(crate) trait Disk: Files + Send + Sync {
    /// Makes a file with this content, and opens it for appending. When this returns, the file and its
    /// name are on disk. If it fails, or power is cut before, there is no file of this name.
    fn create(&self, name: &str, content: &[u8]) -> io::Result<Box<dyn Writable>>;

    /// Opens a file for appending.
    fn open(&self, name: &str) -> io::Result<Box<dyn Writable>>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// A file that is open for appending.
pub(crate) trait Writable: Debug + Send {
    /// Writes at the end. If this fails, any part of the bytes may be there.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Waits until all of the file is on disk.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the file to a length.
    fn cut(&mut self, length: u64) -> io::Result<()>;
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DirectoryError {
    #[error("cannot use the directory {}", .0.display())]
    Directory(PathBuf, #[source] io::Error),
    #[error("another process{} has this journal open: {}", holder(.id.as_deref()), .directory.display())]
    Locked { directory: PathBuf, id: Option<String> },
}

fn holder(id: Option<&str>) -> String {
    id.map(|id| format!(" (id {id})")).unwrap_or_default()
}

/// Locks a directory itself, a lock that nobody can remove. Returns `None` where directories cannot be
/// locked: the file is locked there alone.
#[expect(clippy::disallowed_methods, reason = "nobody is served by threads that come here")]
fn lock_directory(path: &Path) -> Result<Option<File>, TryLockError> {
    if !cfg!(unix) {
        return Ok(None);
    }
    let directory = File::open(path).map_err(TryLockError::Error)?;
    match directory.try_lock() {
        Ok(()) => Ok(Some(directory)),
        Err(TryLockError::WouldBlock) => Err(TryLockError::WouldBlock),
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// A directory of this machine, locked as long as this lives.
#[derive(Debug)]
pub(crate) struct Directory {
    files: Looked,
    /// The lock file and the directory, both locked.
    _locks: (File, Option<File>),
}

#[expect(clippy::disallowed_methods, reason = "nobody is served by threads that come here")]
impl Directory {
    /// Opens a directory for this process alone. One that does not exist is made, for its owner alone.
    pub(crate) fn open(path: &Path) -> Result<Self, DirectoryError> {
        let failed = |error| DirectoryError::Directory(path.to_owned(), error);
        match private_directory().create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.and_then(|()| sync_names(&path.join(".."))).map_err(failed)?,
        }
        let mut options = private();
        options.read(true).write(true).create(true).truncate(false);
        let mut lock = options.open(path.join(LOCK)).map_err(failed)?;
        let directory = match lock.try_lock().and_then(|()| lock_directory(path)) {
            Ok(directory) => directory,
            Err(TryLockError::Error(error)) => return Err(failed(error)),
            Err(TryLockError::WouldBlock) => {
                let mut id = String::new();
                // Who holds it is told if it can be read.
                let _ = lock.read_to_string(&mut id);
                let id = Some(id.trim().to_owned()).filter(|id| id.parse::<u32>().is_ok());
                return Err(DirectoryError::Locked { directory: path.to_owned(), id });
            }
        };
        let id = format!("{}\n", std::process::id());
        lock.set_len(0).and_then(|()| lock.write_all(id.as_bytes())).map_err(failed)?;
        Ok(Self { files: Looked(path.to_owned()), _locks: (lock, directory) })
    }

    fn create_aside(&self, aside: &Path, name: &str, content: &[u8]) -> io::Result<File> {
        let mut options = private();
        options.write(true).create(true).truncate(false);
        let mut file = options.open(aside)?;
        // One of a process that was killed.
        file.set_len(0)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(aside, self.files.0.join(name))?;
        // The name is there, so that this is no lack of space that ends.
        sync_names(&self.files.0).map_err(io::Error::other)?;
        Ok(file)
    }
}

/// A directory of this machine that is only looked at, perhaps while a server has it open.
#[derive(Debug)]
pub(crate) struct Looked(pub(crate) PathBuf);

#[expect(clippy::disallowed_methods, reason = "nobody is served by threads that come here")]
impl Files for Looked {
    fn names(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.0)?.map(|entry| {
            let name = entry?.file_name();
            Ok(name.to_string_lossy().into_owned())
        });
        let is_ours = |name: &io::Result<String>| !matches!(name, Ok(name) if name == LOCK);
        names.filter(is_ours).collect()
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.0.join(name))
    }

    fn show(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Files for Directory {
    fn names(&self) -> io::Result<Vec<String>> {
        self.files.names()
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.files.read(name)
    }

    fn show(&self, name: &str) -> String {
        self.files.show(name)
    }
}

#[expect(clippy::disallowed_methods, reason = "nobody is served by threads that come here")]
impl Disk for Directory {
    fn create(&self, name: &str, content: &[u8]) -> io::Result<Box<dyn Writable>> {
        let aside = self.files.0.join(format!("{name}{UNFINISHED}"));
        let created = self.create_aside(&aside, name, content);
        if created.is_err() {
            // It takes space that is needed. The next start removes it if this does not.
            let _ = fs::remove_file(aside);
        }
        Ok(Box::new(End(created?)))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Writable>> {
        let mut file = OpenOptions::new().write(true).open(self.files.0.join(name))?;
        file.seek(SeekFrom::End(0))?;
        Ok(Box::new(End(file)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.files.0.join(name))
    }
}

/// A file whose cursor is at its end: not every system lets one cut a file that it opened for appending.
#[derive(Debug)]
struct End(File);

impl Writable for End {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)?;
        self.0.seek(SeekFrom::Start(length)).map(drop)
    }
}

/// Puts the names of the files of a directory on disk.
#[expect(clippy::disallowed_methods, reason = "nobody is served by threads that come here")]
fn sync_names(directory: &Path) -> io::Result<()> {
    // Elsewhere a directory cannot be opened, and renaming is enough.
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}

/// Options for files that only their owner reads: the journal has the ids of connections, and messages.
fn private() -> OpenOptions {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "there are no such modes"))]
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn private_directory() -> DirBuilder {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "there are no such modes"))]
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}
