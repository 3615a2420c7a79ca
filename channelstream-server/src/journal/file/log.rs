//! The log: the segment that is written to, and the one after it.

use std::io;
use std::sync::Arc;

use thiserror::Error;

use super::disk::{Disk, Writable};
use super::names::Name;
use super::segment::{Builder, HEADER, Header};

/// The size from which on a segment is followed by another one.
pub(super) const SEGMENT: u64 = 64 << 20;

/// How much space has to be there before writing is tried again.
static ROOM: [u8; 1 << 20] = [0; 1 << 20];

/// Why nothing was written.
#[derive(Debug, Error)]
pub(crate) enum Fault {
    /// There is no space. All is as it was before.
    #[error("there is no space to write {file}")]
    NoSpace { file: String, source: io::Error },
    /// The disk fails. What is on it is unknown.
    #[error("cannot {what} {file}")]
    Failed { what: &'static str, file: String, source: io::Error },
}

/// The end of the journal, where records are written.
#[derive(Debug)]
pub(super) struct Log {
    disk: Arc<dyn Disk>,
    file: Box<dyn Writable>,
    header: Header,
    /// The size from which on a segment is followed by another one.
    most: u64,
    /// The end of the last whole record.
    length: u64,
    /// How much of the segment is on disk.
    synced: u64,
    /// The number of the next entry.
    number: u64,
    /// Returns the salt of another segment.
    salt: fn() -> u64,
}

impl Log {
    /// Makes the segment that begins with the entry `number`.
    pub(super) fn create(
        disk: Arc<dyn Disk>,
        number: u64,
        most: u64,
        salt: fn() -> u64,
    ) -> Result<Self, Fault> {
        let (header, file) = create(&*disk, number, salt)?;
        let length = HEADER as u64;
        Ok(Self { disk, file, header, most, length, synced: length, number, salt })
    }

    /// Opens a segment whose records end at `length`, cuts what is behind it, and brings the rest to disk.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        header: Header,
        (length, number): (u64, u64),
        most: u64,
        salt: fn() -> u64,
    ) -> Result<Self, Fault> {
        let name = Name::Segment(header.number).to_string();
        let failed = |what| {
            let file = disk.show(&name);
            move |source| Fault::Failed { what, file, source }
        };
        let mut file = disk.open(&name).map_err(failed("open"))?;
        file.cut(length).map_err(failed("cut"))?;
        file.sync().map_err(failed("sync"))?;
        Ok(Self { disk, file, header, most, length, synced: length, number, salt })
    }

    /// Returns the size from which on a segment is followed by another one.
    pub(super) fn most(&self) -> u64 {
        self.most
    }

    /// Returns the number of the next entry.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Returns `true` if something was written that may not be on disk yet.
    pub(super) fn is_behind(&self) -> bool {
        self.synced < self.length
    }

    /// Returns `true` if there is no record in this segment yet.
    pub(super) fn is_empty(&self) -> bool {
        self.number == self.header.number
    }

    /// Returns `true` if the next record begins another segment.
    pub(super) fn is_full(&self) -> bool {
        self.length >= self.most
    }

    /// Writes a record, in another segment if this one is full. Returns its size. If this fails, nothing
    /// of it is there.
    pub(super) fn write(&mut self, record: &mut Builder) -> Result<u64, Fault> {
        if self.is_full() {
            self.rotate()?;
        }
        let count = record.count();
        let bytes = record.finish(self.header, self.number, self.synced);
        self.append(bytes)?;
        let size = bytes.len() as u64;
        self.length += size;
        self.number += count;
        Ok(size)
    }

    /// Writes at the end, all or nothing.
    fn append(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.file.append(bytes).map_err(|source| match self.file.cut(self.length) {
            Ok(()) => fault(source, "write", self.show()),
            Err(source) => self.failed("cut")(source),
        })
    }

    /// Waits until all that was written is on disk.
    pub(super) fn sync(&mut self) -> Result<(), Fault> {
        if self.is_behind() {
            self.file.sync().map_err(self.failed("sync"))?;
            self.synced = self.length;
        }
        Ok(())
    }

    /// Goes on in another segment. There is none before this one is on disk as a whole.
    pub(super) fn rotate(&mut self) -> Result<(), Fault> {
        self.sync()?;
        (self.header, self.file) = create(&*self.disk, self.number, self.salt)?;
        self.length = HEADER as u64;
        self.synced = self.length;
        Ok(())
    }

    /// Finds out whether there is space again.
    pub(super) fn try_space(&mut self) -> Result<(), Fault> {
        if self.is_full() {
            self.rotate()?;
        }
        // A record never begins with zeros, so that they are torn if they stay.
        self.append(&ROOM)?;
        self.file.cut(self.length).map_err(self.failed("cut"))
    }

    fn show(&self) -> String {
        self.disk.show(&Name::Segment(self.header.number).to_string())
    }

    fn failed(&self, what: &'static str) -> impl FnOnce(io::Error) -> Fault + use<> {
        let file = self.show();
        move |source| Fault::Failed { what, file, source }
    }
}

fn create(
    disk: &dyn Disk,
    number: u64,
    salt: fn() -> u64,
) -> Result<(Header, Box<dyn Writable>), Fault> {
    let header = Header { number, salt: salt() };
    let name = Name::Segment(number).to_string();
    let created = disk.create(&name, &header.to_bytes());
    Ok((header, created.map_err(|source| fault(source, "create", disk.show(&name)))?))
}

/// Tells a disk that is full from one that fails. Without a free descriptor there is no room either: a
/// file that cannot be opened has not changed.
fn fault(source: io::Error, what: &'static str, file: String) -> Fault {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    /// `ENFILE` and `EMFILE`, for which there is no kind.
    const TOO_MANY_FILES: [i32; 2] = [23, 24];
    let too_many =
        cfg!(unix) && source.raw_os_error().is_some_and(|code| TOO_MANY_FILES.contains(&code));
    match source.kind() {
        StorageFull | QuotaExceeded | FileTooLarge => Fault::NoSpace { file, source },
        _ if too_many => Fault::NoSpace { file, source },
        _ => Fault::Failed { what, file, source },
    }
}
