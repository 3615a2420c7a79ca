//! The file of webhooks that wait, beside the files of a journal: what was queued survives a restart.
//!
//! ```text
//! header: magic (8)
//! record: length (4), crc (4), JSON
//! ```
//!
//! A record is a webhook, or the ids of those that are over. Integers are little-endian; `length` counts the
//! JSON, which the crc covers. The file is only appended to, and written anew when most of it is over. Its
//! calls block, so that they belong on the thread of the webhooks.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::event::Webhook;
use crate::files::{open_regular, private, sync_names};

const MAGIC: &[u8; 8] = b"chwebhk1";

/// The size from which on the file is written anew, if most of it is over.
const LARGE: u64 = 1024 * 1024;

/// The size of a file that is read at most.
const MOST: u64 = 1024 * 1024 * 1024;

/// How long to wait after a failure, before the file is written anew.
const RETRY: Duration = Duration::from_secs(5);

/// What a record has.
#[derive(Debug, Serialize, Deserialize)]
enum Record<'a> {
    Queued(std::borrow::Cow<'a, Webhook>),
    Over(Vec<String>),
}

/// The open file.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    /// Whether each write is brought to disk.
    syncs: bool,
    /// The file and its length; `None` before the first webhook, and after a failure until it has been written
    /// anew.
    file: Option<(File, u64)>,
    /// When that is tried.
    retry: Option<Instant>,
}

#[expect(clippy::disallowed_methods, reason = "the thread of the webhooks serves nobody")]
impl Store {
    /// Opens the file, which may not exist yet. Returns what waits in it, in its order.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or written, or is none of webhooks.
    pub(super) fn open(path: &Path, syncs: bool) -> io::Result<(Self, Vec<Webhook>)> {
        let mut store = Self { path: path.to_owned(), syncs, file: None, retry: None };
        let bytes = match read_file(path) {
            Ok(bytes) => bytes,
            // It is made with the first webhook.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((store, Vec::new()));
            }
            Err(error) => return Err(error),
        };
        if !bytes.is_empty() && !bytes.starts_with(MAGIC) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no file of webhooks"));
        }
        let (waiting, rest) = read(bytes.get(MAGIC.len()..).unwrap_or_default());
        if rest > 0 {
            tracing::warn!(
                bytes = rest,
                "a record of the file of webhooks is cut off or damaged: it and what is behind it are dropped"
            );
        }
        let all: Vec<_> = waiting.iter().collect();
        store.rewrite(&all)?;
        Ok((store, waiting))
    }

    /// Adds webhooks. `all` returns everything that waits then, these included.
    pub(super) fn queued<'a>(
        &mut self,
        webhooks: &[Arc<Webhook>],
        all: impl FnOnce() -> Vec<&'a Webhook>,
    ) {
        let mut bytes = Vec::new();
        for webhook in webhooks {
            push(&mut bytes, &Record::Queued(std::borrow::Cow::Borrowed(webhook)));
        }
        self.write(&bytes, self.syncs, all);
    }

    /// Notes that webhooks are over. `all` returns everything that still waits.
    pub(super) fn over<'a>(
        &mut self,
        webhooks: &[Arc<Webhook>],
        all: impl FnOnce() -> Vec<&'a Webhook>,
    ) {
        let ids = webhooks.iter().map(|webhook| webhook.id.clone()).collect();
        let mut bytes = Vec::new();
        push(&mut bytes, &Record::Over(ids));
        // A webhook that is sent once more does no harm.
        self.write(&bytes, false, all);
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.file = None;
        self.retry = None;
        self.write(&[], false, Vec::new);
    }

    /// Appends, or writes the file anew if it is large or was broken.
    fn write<'a>(&mut self, bytes: &[u8], syncs: bool, all: impl FnOnce() -> Vec<&'a Webhook>) {
        let outcome = match &mut self.file {
            Some((file, length)) => {
                *length += bytes.len() as u64;
                let is_large = *length > LARGE;
                let written = file.write_all(bytes);
                let written = written.and_then(|()| if syncs { file.sync_data() } else { Ok(()) });
                match written {
                    Ok(()) if is_large => self.rewrite_if_worth(&all()),
                    other => other,
                }
            }
            None if self.retry.is_some_and(|when| when > Instant::now()) => return,
            None => self.rewrite(&all()),
        };
        match outcome {
            Ok(()) if self.retry.take().is_some() => {
                tracing::info!("the file of webhooks can be written again");
            }
            Ok(()) => {}
            Err(error) => {
                if self.retry.is_none() {
                    tracing::error!(
                        %error,
                        path = %self.path.display(),
                        "the file of webhooks cannot be written: what waits would not survive the end of \
                         the server"
                    );
                }
                self.file = None;
                self.retry = Some(Instant::now() + RETRY);
            }
        }
    }

    fn rewrite_if_worth(&mut self, all: &[&Webhook]) -> io::Result<()> {
        let size: usize = all.iter().map(|webhook| webhook.body.len() + 200).sum();
        match &self.file {
            Some((_, length)) if *length < 4 * size as u64 => Ok(()),
            _ => self.rewrite(all),
        }
    }

    /// Writes a file with these webhooks, and puts it in the place of the one before.
    fn rewrite(&mut self, all: &[&Webhook]) -> io::Result<()> {
        let mut bytes = MAGIC.to_vec();
        for webhook in all {
            push(&mut bytes, &Record::Queued(std::borrow::Cow::Borrowed(webhook)));
        }
        let aside = self.path.with_extension("new");
        let mut file = open_regular(private().write(true).create(true).truncate(false), &aside)?;
        // One of a process that was killed.
        let emptied = file.set_len(0);
        let written = emptied.and_then(|()| file.write_all(&bytes)).and_then(|()| file.sync_all());
        let placed = written.and_then(|()| fs::rename(&aside, &self.path));
        if let Err(error) = placed {
            // It takes space that is needed.
            let _ = fs::remove_file(&aside);
            return Err(error);
        }
        if let Some(directory) = self.path.parent() {
            sync_names(directory)?;
        }
        file.seek(SeekFrom::End(0))?;
        self.file = Some((file, bytes.len() as u64));
        Ok(())
    }
}

/// Reads a file that may be one of webhooks.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = open_regular(OpenOptions::new().read(true), path)?;
    if file.metadata()?.len() > MOST {
        let text = format!("it is larger than {MOST} bytes, which no file of webhooks is");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Appends a record.
fn push(bytes: &mut Vec<u8>, record: &Record<'_>) {
    let json = serde_json::to_vec(record).expect("webhooks are texts");
    let length = u32::try_from(json.len()).expect("webhooks have a few thousand bytes");
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&json).to_le_bytes());
    bytes.extend_from_slice(&json);
}

/// Reads records up to the first one that is not whole. Returns what waits, and how many bytes are left.
fn read(mut bytes: &[u8]) -> (Vec<Webhook>, usize) {
    let mut waiting: IndexMap<String, Webhook> = IndexMap::new();
    let mut over = HashSet::new();
    while let Some((record, rest)) = split(bytes) {
        match record {
            Record::Queued(webhook) => {
                waiting.insert(webhook.id.clone(), webhook.into_owned());
            }
            Record::Over(ids) => over.extend(ids),
        }
        bytes = rest;
    }
    waiting.retain(|id, _| !over.contains(id));
    (waiting.into_values().collect(), bytes.len())
}

fn split(bytes: &[u8]) -> Option<(Record<'static>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (crc, rest) = rest.split_first_chunk()?;
    let (json, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    if crc32fast::hash(json) != u32::from_le_bytes(*crc) {
        return None;
    }
    Some((serde_json::from_slice(json).ok()?, rest))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may wait")]
mod tests {
    use super::*;

    fn webhook(number: usize) -> Arc<Webhook> {
        Arc::new(Webhook { id: format!("msg_{number}"), ..Webhook::test() })
    }

    fn refs(all: &[Arc<Webhook>]) -> Vec<&Webhook> {
        all.iter().map(|webhook| &**webhook).collect()
    }

    fn ids(waiting: &[Webhook]) -> Vec<&str> {
        waiting.iter().map(|webhook| &*webhook.id).collect()
    }

    #[test]
    fn what_waits_is_there_when_the_file_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("webhooks");
        let (mut store, waiting) = Store::open(&path, true).unwrap();
        assert!(waiting.is_empty());
        let all: Vec<_> = (0..4).map(webhook).collect();
        assert!(!path.exists());
        store.queued(&all[..3], || refs(&all[..3]));
        store.queued(&all[3..], || panic!("it is small"));
        store.over(&all[1..2], || panic!("it is small"));
        let (mut store, waiting) = Store::open(&path, true).unwrap();
        assert_eq!(ids(&waiting), ["msg_0", "msg_2", "msg_3"]);
        assert_eq!(waiting[0], *all[0]);
        store.clear();
        assert!(Store::open(&path, true).unwrap().1.is_empty());
    }

    #[test]
    fn a_torn_end_costs_the_last_record_and_what_is_behind_it_is_written_well() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("webhooks");
        let (mut store, _) = Store::open(&path, false).unwrap();
        let both = [webhook(0), webhook(1)];
        store.queued(&both, || refs(&both));
        let whole = fs::read(&path).unwrap();
        for cut in [1, 7, 50] {
            fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            let (mut store, waiting) = Store::open(&path, false).unwrap();
            assert_eq!(ids(&waiting), ["msg_0"], "{cut}");
            store.queued(&[webhook(2)], Vec::new);
            let (_, waiting) = Store::open(&path, false).unwrap();
            assert_eq!(ids(&waiting), ["msg_0", "msg_2"], "{cut}");
        }
        let mut damaged = whole;
        let place = damaged.len() - 20;
        damaged[place] ^= 1;
        fs::write(&path, &damaged).unwrap();
        assert_eq!(ids(&Store::open(&path, false).unwrap().1), ["msg_0"]);
    }

    #[test]
    fn a_file_of_somebody_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("webhooks");
        fs::write(&path, "my notes on webhooks").unwrap();
        assert!(Store::open(&path, false).unwrap_err().to_string().contains("no file of webhooks"));
        assert_eq!(fs::read(&path).unwrap(), b"my notes on webhooks");
    }

    #[test]
    #[cfg(unix)]
    fn what_would_never_end_is_no_file_of_webhooks() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |name: &str| {
            let path = folder.path().join(name);
            Store::open(&path, false).unwrap_err().to_string()
        };
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        assert_eq!(refused("pipe"), "it is not a regular file");
        let sparse = File::create(folder.path().join("sparse")).unwrap();
        sparse.set_len(MOST + 1).unwrap();
        assert!(refused("sparse").contains("larger"));
    }

    #[test]
    fn the_file_stays_small_however_much_goes_through() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("webhooks");
        let (mut store, _) = Store::open(&path, false).unwrap();
        let kept = webhook(0);
        store.queued(std::slice::from_ref(&kept), || vec![&*kept]);
        for number in 1..10_000 {
            let one = [webhook(number)];
            store.queued(&one, || vec![&*kept, &*one[0]]);
            store.over(&one, || vec![&*kept]);
        }
        assert!(fs::metadata(&path).unwrap().len() < 2 * LARGE);
        assert_eq!(ids(&Store::open(&path, false).unwrap().1), ["msg_0"]);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_written_anew_when_it_can() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a").join("webhooks");
        fs::create_dir(folder.path().join("a")).unwrap();
        let (mut store, _) = Store::open(&path, false).unwrap();
        fs::remove_dir_all(folder.path().join("a")).unwrap();
        store.clear();
        assert!(store.file.is_none() && store.retry.is_some());
        // Too early: nothing is tried.
        fs::create_dir(folder.path().join("a")).unwrap();
        let one = [webhook(1)];
        store.queued(&one, || panic!("it is too early"));
        store.retry = Some(Instant::now());
        store.queued(&one, || vec![&*one[0]]);
        assert!(store.retry.is_none());
        assert_eq!(ids(&Store::open(&path, false).unwrap().1), ["msg_1"]);
    }
}
