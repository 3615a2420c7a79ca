//! Files of the server's own: regular ones, which only their owner reads.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

/// Opens a regular file. Anything else is refused: a link leads elsewhere, and a pipe may let its reader wait
/// forever.
#[expect(clippy::disallowed_methods, reason = "nobody is served by threads that come here")]
pub(crate) fn open_regular(options: &OpenOptions, path: &Path) -> io::Result<File> {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "there are no such flags"))]
    let mut options = options.clone();
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags);
    }
    let is_other =
        || fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.file_type().is_file());
    match options.open(path) {
        Ok(file) if file.metadata()?.is_file() => Ok(file),
        Err(error) if !is_other() => Err(error),
        Ok(_) | Err(_) => Err(io::Error::other(NotRegular)),
    }
}

/// A file is a link, a directory, a pipe, a socket or a device.
#[derive(Debug, thiserror::Error)]
#[error("it is not a regular file")]
pub(crate) struct NotRegular;

/// Options for files that only their owner reads: they have the ids of connections, and messages.
pub(crate) fn private() -> OpenOptions {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "there are no such modes"))]
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Puts the names of the files of a directory on disk.
#[expect(clippy::disallowed_methods, reason = "nobody is served by threads that come here")]
pub(crate) fn sync_names(directory: &Path) -> io::Result<()> {
    // Elsewhere a directory cannot be opened, and renaming is enough.
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}
