//! The disk: every operation of the journal on files. Nothing else of the journal opens one.

use std::fmt::Debug;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::files::{NotRegular, open_regular, private, sync_names};

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

    /// Returns `true` if what is appended goes to the memory of this machine first, and seldom waits.
    fn is_quick(&self) -> bool;
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
    #[error("cannot use {}", .0.display())]
    Lock(PathBuf, #[source] io::Error),
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
        let lock = path.join(LOCK);
        let mut lock = open_regular(&options, &lock).map_err(|error| {
            let is_other = error.get_ref().is_some_and(|error| error.is::<NotRegular>());
            if is_other { DirectoryError::Lock(lock, error) } else { failed(error) }
        })?;
        let directory = match lock.try_lock().and_then(|()| lock_directory(path)) {
            Ok(directory) => directory,
            Err(TryLockError::Error(error)) => return Err(failed(error)),
            Err(TryLockError::WouldBlock) => {
                let id = id_in(&mut lock);
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
        let mut file = open_regular(&options, aside)?;
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
impl Looked {
    /// Returns the size of a file, and how long ago it was written by the clock of this machine.
    pub(super) fn size_and_age(&self, name: &str) -> io::Result<(u64, Option<Duration>)> {
        let metadata = fs::symlink_metadata(self.0.join(name))?;
        // A file of the future has no age.
        Ok((metadata.len(), metadata.modified()?.elapsed().ok()))
    }
}

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
        let mut options = OpenOptions::new();
        let mut file = open_regular(options.read(true), &self.0.join(name))?;
        let size = file.metadata()?.len();
        let mut bytes = Vec::with_capacity(usize::try_from(size).map_err(io::Error::other)?);
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
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
        let mut options = OpenOptions::new();
        let mut file = open_regular(options.write(true), &self.files.0.join(name))?;
        file.seek(SeekFrom::End(0))?;
        Ok(Box::new(End(file)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.files.0.join(name))
    }

    fn is_quick(&self) -> bool {
        matches!(kept(&self.files.0), Kept::Here | Kept::Memory(_) | Kept::Container)
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

/// What is known of a directory before a journal is opened in it.
#[derive(Debug)]
pub(super) struct Seen {
    /// Others than its owner may read it.
    pub(super) is_open: bool,
    /// Others than its owner may put files into it and remove them.
    pub(super) is_writable: bool,
    /// It belongs to the user of this process.
    pub(super) is_own: bool,
    /// Who has a journal open in it.
    pub(super) holder: Option<Holder>,
}

/// A process that has a journal open, as far as it can be told.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) id: Option<String>,
    pub(super) program: Option<String>,
}

/// Looks at a directory. Returns `None` if there is none.
#[expect(clippy::disallowed_methods, reason = "nobody is served by threads that come here")]
pub(super) fn look_at(path: &Path) -> io::Result<Option<Seen>> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if !metadata.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    #[cfg(unix)]
    let (is_open, is_own) = {
        use std::os::unix::fs::MetadataExt as _;
        let own = rustix::process::geteuid().as_raw();
        (metadata.mode() & 0o077 != 0, metadata.uid() == own)
    };
    #[cfg(not(unix))]
    let (is_open, is_own) = (false, true);
    let is_writable = others_write(path);
    Ok(Some(Seen { is_open, is_writable, is_own, holder: holder_of(path)? }))
}

/// Returns `true` if others than its owner may put files into a directory, and remove them.
#[cfg(unix)]
#[expect(clippy::disallowed_methods, reason = "nobody is served by threads that come here")]
pub(super) fn others_write(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o022 != 0)
}

#[cfg(not(unix))]
pub(super) fn others_write(_: &Path) -> bool {
    false
}

/// Says what that means.
pub(super) fn of_others(path: &Path) -> String {
    format!("others may write into {}, and so change or remove the journal", path.display())
}

/// Finds who has the journal of a directory open. It holds a lock itself for a moment: one that several may
/// hold, and a server that starts in this very moment says that it is refused.
#[expect(clippy::disallowed_methods, reason = "nobody is served by threads that come here")]
fn holder_of(path: &Path) -> io::Result<Option<Holder>> {
    let mut lock = match open_regular(OpenOptions::new().read(true), &path.join(LOCK)) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io::Error::new(error.kind(), format!("{LOCK}: {error}"))),
    };
    match lock.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
        Err(TryLockError::WouldBlock) => {
            let id = id_in(&mut lock);
            let program = id.as_ref().and_then(|id| {
                let name = fs::read_to_string(format!("/proc/{id}/comm")).ok()?;
                Some(name.trim().to_owned())
            });
            Ok(Some(Holder { id, program }))
        }
    }
}

/// Reads which process has a lock, if it can be read.
fn id_in(lock: &mut File) -> Option<String> {
    let mut id = String::new();
    let _ = lock.read_to_string(&mut id);
    Some(id.trim().to_owned()).filter(|id| id.parse::<u32>().is_ok())
}

/// Writes a small file and brings it to disk. Returns how long the latter took. The file is gone then; its
/// name is one that a journal passes over.
#[expect(clippy::disallowed_methods, reason = "nobody is served by threads that come here")]
pub(super) fn try_write(directory: &Path) -> io::Result<Duration> {
    let path = directory.join(format!(".doctor-{}", std::process::id()));
    let mut options = private();
    options.write(true).create_new(true);
    let mut file = options.open(&path)?;
    let begun = Instant::now();
    let written = file.write_all(&[0; 4096]).and_then(|()| file.sync_data());
    let time = begun.elapsed();
    fs::remove_file(&path)?;
    written.map(|()| time)
}

/// Returns how many bytes are free for this process on the disk of a directory, if the system tells.
#[cfg(unix)]
pub(super) fn free(directory: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(directory).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(not(unix))]
pub(super) fn free(_: &Path) -> Option<u64> {
    None
}

/// Where the files of a directory are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Here,
    /// On another machine, by this file system.
    Elsewhere(&'static str),
    /// Perhaps on another machine.
    Perhaps(&'static str),
    /// In memory.
    Memory(&'static str),
    /// In the layer of a container, which goes with it.
    Container,
    /// Nowhere: this file system shows what the kernel knows.
    Nowhere(&'static str),
    Unknown,
}

/// Returns where the files of a directory are kept, if it can be told.
#[cfg(target_os = "linux")]
pub(super) fn kept(directory: &Path) -> Kept {
    let Ok(found) = rustix::fs::statfs(directory) else { return Kept::Unknown };
    // The numbers of statfs(2), which have 32 bits.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "they have 32 bits"
    )]
    let number = found.f_type as u32;
    match number {
        0x6969 => Kept::Elsewhere("NFS"),
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => Kept::Elsewhere("SMB"),
        0x5346_414f => Kept::Elsewhere("AFS"),
        0x0102_1997 => Kept::Perhaps("9p"),
        0x6573_5546 => Kept::Perhaps("FUSE"),
        0x00c3_6400 => Kept::Elsewhere("Ceph"),
        0x0bd0_0bd0 => Kept::Elsewhere("Lustre"),
        0x0102_1994 => Kept::Memory("tmpfs"),
        0x8584_58f6 => Kept::Memory("ramfs"),
        0x794c_7630 => Kept::Container,
        0x9fa0 => Kept::Nowhere("procfs"),
        0x6265_6572 => Kept::Nowhere("sysfs"),
        0x0027_e0eb | 0x6367_7270 => Kept::Nowhere("cgroup"),
        0x1cd1 => Kept::Nowhere("devpts"),
        0x6462_6720 | 0x7472_6163 => Kept::Nowhere("debugfs"),
        _ => Kept::Here,
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn kept(_: &Path) -> Kept {
    Kept::Unknown
}

fn private_directory() -> DirBuilder {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "there are no such modes"))]
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}
