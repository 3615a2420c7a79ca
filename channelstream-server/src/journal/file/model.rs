//! A disk in memory for tests: it tears, loses what was not synced, fills, fails and rots.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::dice::Dice;
use super::disk::{Disk, Files, Writable};

/// What a power cut keeps or loses as a whole.
const SECTOR: usize = 64;

#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    inner: Arc<Mutex<Inner>>,
    syncs: Arc<Syncs>,
}

/// Syncs that are held.
#[derive(Debug, Default)]
struct Syncs {
    are_held: Mutex<bool>,
    released: Condvar,
    /// One of them waits.
    one_waits: AtomicBool,
}

/// The longest time for which a test holds a sync.
const LONGEST: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Inner {
    files: BTreeMap<String, File>,
    /// Files that were removed: their names may come back.
    removed: BTreeMap<String, File>,
    /// How many bytes there is space for.
    space: u64,
    /// After so many operations power is cut: no operation succeeds any more.
    left: u64,
    syncs_fail: bool,
    is_quick: bool,
    /// How long the next write waits.
    wait: Duration,
    dice: Dice,
}

#[derive(Clone, Debug, Default)]
struct File {
    /// As processes see it.
    content: Vec<u8>,
    /// As it is certainly on disk.
    synced: Vec<u8>,
}

impl Default for Inner {
    fn default() -> Self {
        let (files, removed) = Default::default();
        Self {
            files,
            removed,
            space: u64::MAX,
            left: u64::MAX,
            syncs_fail: false,
            is_quick: true,
            wait: Duration::ZERO,
            dice: Dice::new(0),
        }
    }
}

impl Model {
    pub(super) fn new(dice: Dice) -> Self {
        Self::of(Inner { dice, ..Inner::default() })
    }

    fn of(inner: Inner) -> Self {
        Self { inner: Arc::new(Mutex::new(inner)), syncs: Arc::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Cuts power after so many operations, in the middle of one.
    pub(super) fn fail_after(&self, operations: u64) {
        self.inner().left = operations;
    }

    pub(super) fn has_power(&self) -> bool {
        self.inner().left > 0
    }

    /// Leaves so much space.
    pub(super) fn leave_space(&self, bytes: u64) {
        let mut inner = self.inner();
        inner.space = inner.used() + bytes;
    }

    pub(super) fn has_all_space(&self) {
        self.inner().space = u64::MAX;
    }

    pub(super) fn let_syncs_fail(&self) {
        self.inner().syncs_fail = true;
    }

    pub(super) fn set_quick(&self, is_quick: bool) {
        self.inner().is_quick = is_quick;
    }

    /// Lets the next write wait for so long.
    pub(super) fn wait_before_the_next_write(&self, time: Duration) {
        self.inner().wait = time;
    }

    /// Lets each sync wait until they are released.
    pub(super) fn hold_syncs(&self) {
        *self.syncs.are_held.lock().unwrap() = true;
    }

    /// Returns `true` if a sync waits.
    pub(super) fn is_held(&self) -> bool {
        self.syncs.one_waits.load(Ordering::Relaxed)
    }

    pub(super) fn release_syncs(&self) {
        *self.syncs.are_held.lock().unwrap() = false;
        self.syncs.released.notify_all();
    }

    /// Returns the disk as the next process finds it: `with_power`, all that was written is there.
    pub(super) fn next(&self, with_power: bool) -> Self {
        let mut inner = self.inner();
        let (mut files, removed) = (inner.files.clone(), inner.removed.clone());
        let dice = &mut inner.dice;
        if !with_power {
            for (name, file) in removed {
                if dice.coin() {
                    files.entry(name).or_insert(file);
                }
            }
            files.values_mut().for_each(|file| file.lose(dice));
        }
        for file in files.values_mut() {
            // What is found is on disk, or will be brought there before anything builds on it.
            file.synced.clone_from(&file.content);
        }
        let dice = dice.part();
        Self::of(Inner { files, dice, ..Inner::default() })
    }

    /// The names of the files with their contents.
    pub(super) fn contents(&self) -> Vec<(String, Vec<u8>)> {
        let inner = self.inner();
        inner.files.iter().map(|(name, file)| (name.clone(), file.content.clone())).collect()
    }

    /// Replaces the content of a file.
    pub(super) fn put(&self, name: &str, content: Vec<u8>) {
        let file = File { synced: content.clone(), content };
        self.inner().files.insert(name.to_owned(), file);
    }
}

impl Syncs {
    #[expect(clippy::disallowed_methods, reason = "a disk blocks the thread that waits for it")]
    fn wait(&self) {
        let held = self.are_held.lock().unwrap();
        self.one_waits.store(*held, Ordering::Relaxed);
        let waited = self.released.wait_timeout_while(held, LONGEST, |held| *held);
        assert!(!waited.unwrap().1.timed_out(), "nobody releases the syncs");
        self.one_waits.store(false, Ordering::Relaxed);
    }
}

impl File {
    /// Loses what a power cut loses: any of the sectors that were not synced, and any part of the end.
    fn lose(&mut self, dice: &mut Dice) {
        let same =
            self.content.iter().zip(&self.synced).take_while(|(new, old)| new == old).count();
        let longest = self.content.len().max(self.synced.len());
        let shortest = self.content.len().min(self.synced.len());
        let length = shortest + dice.place(longest - shortest + 1);
        let (keeps, mut is_kept) = (dice.within(0..3), true);
        let mut found = Vec::with_capacity(length);
        for at in 0..length {
            // All of a sector is there or not; what was synced is not written again.
            let is_first = at == same || at % SECTOR == 0;
            if is_first && at >= same {
                is_kept = keeps == 2 || keeps == 1 && dice.coin();
            }
            let from = if at < same || is_kept { &self.content } else { &self.synced };
            found.push(from.get(at).copied().unwrap_or_default());
        }
        self.content = found;
    }
}

impl Inner {
    fn used(&self) -> u64 {
        self.files.values().map(|file| file.content.len() as u64).sum()
    }

    /// Counts an operation. Returns `None` if there is no power, and `false` if it goes off during this.
    fn operate(&mut self) -> Option<bool> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        Some(self.left > 0)
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.used() + bytes as u64 <= self.space
    }
}

fn off() -> io::Error {
    io::Error::other("there is no power")
}

fn full() -> io::Error {
    io::ErrorKind::StorageFull.into()
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Files for Model {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.inner().files.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let inner = self.inner();
        Ok(inner.files.get(name).ok_or_else(missing)?.content.clone())
    }

    fn show(&self, name: &str) -> String {
        name.to_owned()
    }
}

impl Disk for Model {
    fn create(&self, name: &str, content: &[u8]) -> io::Result<Box<dyn Writable>> {
        let mut inner = self.inner();
        let stays_on = inner.operate().ok_or_else(off)?;
        if !inner.has_room(content.len()) {
            return Err(full());
        }
        let file = File { content: content.to_vec(), synced: content.to_vec() };
        if stays_on || inner.dice.coin() {
            inner.files.insert(name.to_owned(), file);
        } else if inner.dice.coin() {
            inner.files.insert(format!("{name}{}", super::disk::UNFINISHED), file);
        }
        let open = Open { disk: self.clone(), name: name.to_owned() };
        if stays_on { Ok(Box::new(open)) } else { Err(off()) }
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Writable>> {
        Ok(Box::new(Open { disk: self.clone(), name: name.to_owned() }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.inner();
        let stays_on = inner.operate().ok_or_else(off)?;
        let file = inner.files.remove(name).ok_or_else(missing)?;
        inner.removed.insert(name.to_owned(), file);
        if stays_on { Ok(()) } else { Err(off()) }
    }

    fn is_quick(&self) -> bool {
        self.inner().is_quick
    }
}

#[derive(Debug)]
struct Open {
    disk: Model,
    name: String,
}

impl Writable for Open {
    #[expect(clippy::disallowed_methods, reason = "a disk blocks the thread that waits for it")]
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        std::thread::sleep(std::mem::take(&mut self.disk.inner().wait));
        let mut inner = self.disk.inner();
        let stays_on = inner.operate().ok_or_else(off)?;
        let has_room = inner.has_room(bytes.len());
        let written = match stays_on && has_room {
            true => bytes.len(),
            false => inner.dice.place(bytes.len() + 1),
        };
        let file = inner.files.get_mut(&self.name).ok_or_else(missing)?;
        file.content.extend_from_slice(&bytes[..written]);
        match (stays_on, has_room) {
            (false, _) => Err(off()),
            (true, false) => Err(full()),
            (true, true) => Ok(()),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.syncs.wait();
        let mut inner = self.disk.inner();
        let stays_on = inner.operate().ok_or_else(off)?;
        if inner.syncs_fail {
            return Err(io::Error::other("the disk does not answer"));
        }
        let happens = stays_on || inner.dice.coin();
        let file = inner.files.get_mut(&self.name).ok_or_else(missing)?;
        if happens {
            file.synced.clone_from(&file.content);
        }
        if stays_on { Ok(()) } else { Err(off()) }
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        let mut inner = self.disk.inner();
        let stays_on = inner.operate().ok_or_else(off)?;
        let file = inner.files.get_mut(&self.name).ok_or_else(missing)?;
        file.content.truncate(usize::try_from(length).unwrap());
        if stays_on { Ok(()) } else { Err(off()) }
    }
}
