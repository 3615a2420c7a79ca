//! `doctor` for a journal in files: whether its directory can be used, what is in it, and the room around it.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::super::finding::Finding;
use super::disk::{self, Files as _, Kept, Looked, Seen};
use super::inspect::{Journal, LookError};
use super::log::SEGMENT;
use super::names::{Listing, Name};
use super::recovery::OpenError;
use super::{repair, snapshot};
use crate::config::JournalSync;

/// The room that a journal with a small state takes: two snapshots, and the segments since the older one.
const LEAST_ROOM: u64 = 300_000_000;

/// How many times the size of a snapshot a journal takes at most.
const SNAPSHOTS: u64 = 8;

/// Bringing to disk takes less than this on a disk that is fit for it.
const SLOW: Duration = Duration::from_millis(20);

const WRITING: &str = "writing";

/// Examines the directory of a journal. Nothing in it is changed; a server may have it open.
pub(crate) fn examine(directory: &Path, sync: JournalSync) -> Vec<Finding> {
    const NAME: &str = "directory";
    let shown = directory.display();
    let seen = match disk::look_at(directory) {
        Ok(Some(seen)) => seen,
        Ok(None) => return to_be_made(directory),
        Err(error) => {
            let advice = "name a directory in journal_dir that the user of the server owns";
            return vec![Finding::fault(NAME, format!("cannot use {shown}: {error}"), advice)];
        }
    };
    if let Some(nowhere) = nowhere(directory) {
        return vec![nowhere];
    }
    let mut findings = vec![owner(directory, &seen)];
    findings.push(lock(&seen));
    findings.push(writable(directory, sync));
    findings.push(file_system(directory));
    findings.extend(content(directory));
    findings
}

/// Checks the place of a directory that the server makes.
fn to_be_made(directory: &Path) -> Vec<Finding> {
    const NAME: &str = "directory";
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    if let Some(nowhere) = nowhere(parent) {
        return vec![nowhere];
    }
    let mut findings = vec![match disk::look_at(parent) {
        Ok(Some(_)) => match disk::try_write(parent) {
            Ok(_) => Finding::good(NAME, format!("{} will be made", directory.display())),
            Err(error) => Finding::fault(
                NAME,
                format!("{} cannot be made in {}: {error}", directory.display(), parent.display()),
                "make it, and let the user of the server own it",
            ),
        },
        Ok(None) | Err(_) => Finding::fault(
            NAME,
            format!("neither {} nor the directory above it is there", directory.display()),
            "make it, and let the user of the server own it",
        ),
    }];
    if findings[0].advice.is_none() {
        findings.push(file_system(parent));
        findings.push(room(parent, 0, 0));
    }
    findings
}

/// Returns a fault if nothing can be kept in a directory, whoever owns it.
fn nowhere(directory: &Path) -> Option<Finding> {
    let finding = file_system(directory);
    matches!(disk::kept(directory), Kept::Nowhere(_)).then_some(finding)
}

fn owner(directory: &Path, seen: &Seen) -> Finding {
    const NAME: &str = "directory";
    let shown = directory.display();
    if !seen.is_own {
        let detail = format!("{shown} belongs to another user than the one who asks");
        return Finding::note(NAME, detail, "run doctor as the user of the server");
    }
    if seen.is_writable {
        return Finding::note(NAME, disk::of_others(directory), format!("chmod 700 {shown}"));
    }
    if seen.is_open {
        let detail = format!(
            "others may look into {shown}, whose files hold messages and ids of connections"
        );
        return Finding::note(NAME, detail, format!("chmod 700 {shown}"));
    }
    Finding::good(NAME, format!("{shown} is there, for its owner alone"))
}

fn lock(seen: &Seen) -> Finding {
    const NAME: &str = "lock";
    let Some(holder) = &seen.holder else {
        return Finding::good(NAME, "no server has it open");
    };
    let program = holder.program.as_deref().unwrap_or("of which no name can be told");
    let detail = match &holder.id {
        Some(id) => format!("process {id} ({program}) has it open"),
        None => "another process has it open".to_owned(),
    };
    // The name of a process has 15 characters at most.
    if holder.program.as_deref().is_some_and(|name| "channelstream-server".starts_with(name)) {
        return Finding::good(NAME, format!("{detail}: a second server would be refused"));
    }
    let advice = "a server that starts now is refused: is that process one that should run?";
    Finding::note(NAME, detail, advice)
}

fn writable(directory: &Path, sync: JournalSync) -> Finding {
    let error = match disk::try_write(directory) {
        Ok(time) => return written(time, sync),
        Err(error) => error,
    };
    let advice = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room on the disk",
        io::ErrorKind::ReadOnlyFilesystem => "mount it for writing",
        _ => "let the user of the server own the directory, and run doctor as that user",
    };
    Finding::fault(WRITING, format!("cannot write into {}: {error}", directory.display()), advice)
}

/// Judges how long bringing to disk took.
fn written(time: Duration, sync: JournalSync) -> Finding {
    let detail = format!("4 KB were brought to disk in {:.1} ms", time.as_secs_f64() * 1000.0);
    if time < SLOW || sync != JournalSync::Always {
        return Finding::good(WRITING, detail);
    }
    let advice = "use a faster disk, or journal_sync = 1: with always, each request waits for this";
    Finding::note(WRITING, detail, advice)
}

fn file_system(directory: &Path) -> Finding {
    const NAME: &str = "file system";
    match disk::kept(directory) {
        Kept::Here => Finding::good(NAME, "it is on this machine"),
        Kept::Elsewhere(name) => Finding::fault(
            NAME,
            format!("{name} keeps it on another machine: its locks and syncs may not hold"),
            "use a disk of this machine, or journal = redis",
        ),
        Kept::Perhaps(name) => Finding::note(
            NAME,
            format!("{name} may keep it on another machine"),
            "make sure that it is a disk of this machine, whose locks and syncs hold",
        ),
        Kept::Memory(name) => Finding::fault(
            NAME,
            format!("{name} keeps it in memory, which a restart of the machine empties"),
            "use a disk",
        ),
        Kept::Container => Finding::note(
            NAME,
            "it is in the layer of a container, which goes with the container",
            "mount a volume at journal_dir",
        ),
        Kept::Nowhere(name) => Finding::fault(
            NAME,
            format!(
                "{} is of {name}, which shows the system and keeps no files",
                directory.display()
            ),
            "name a directory on a disk in journal_dir",
        ),
        Kept::Unknown => Finding::skipped(NAME, "the system does not tell what it is"),
    }
}

/// Checks the free space against what the journal may still grow by.
fn room(directory: &Path, size: u64, snapshot: u64) -> Finding {
    const NAME: &str = "free space";
    let megabytes = super::super::redis::megabytes;
    let Some(free) = disk::free(directory) else {
        return Finding::skipped(NAME, "the system does not tell it");
    };
    let most = LEAST_ROOM.max(snapshot.saturating_mul(SNAPSHOTS));
    let needed = most.saturating_sub(size);
    let detail = format!(
        "{} free; the journal has {}, its newest snapshot {}",
        megabytes(free),
        megabytes(size),
        megabytes(snapshot)
    );
    // The next segment, and the next snapshot beside those that there are.
    if free < SEGMENT + snapshot {
        let advice = "make room: the next snapshot and the next segment do not fit";
        Finding::fault(NAME, detail, advice)
    } else if free < needed {
        Finding::note(NAME, detail, format!("make room: it grows to {} or so", megabytes(most)))
    } else {
        Finding::good(NAME, detail)
    }
}

/// Checks the files, and the room for more.
fn content(directory: &Path) -> Vec<Finding> {
    const NAME: &str = "files";
    let files = Looked(directory.to_owned());
    let failed = |error: &io::Error| {
        let detail = format!("cannot read {}: {error}", directory.display());
        vec![Finding::fault(NAME, detail, "run doctor as the user of the server")]
    };
    let names = match files.names() {
        Ok(names) => names,
        Err(error) => return failed(&error),
    };
    let mut size = 0;
    for name in &names {
        match files.size_and_age(name) {
            Ok((bytes, _)) => size += bytes,
            // A server removes files meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return failed(&error),
        }
    }
    let listing = Listing::new(names);
    if !listing.foreign.is_empty() {
        let detail =
            format!("it has files that are not of a journal: {}", listing.foreign.join(", "));
        return vec![Finding::fault(NAME, detail, "let journal_dir name a directory of its own")];
    }
    let newest = listing.snapshots.last().map(|number| Name::Snapshot(*number).to_string());
    let newest = newest.and_then(|name| Some((files.size_and_age(&name).ok()?, name)));
    let Some(((snapshot_size, age), name)) = newest else {
        let mut findings = vec![room(directory, size, 0)];
        findings.push(match listing.segments.is_empty() {
            true => Finding::good(NAME, "there is no journal yet: the first start begins it"),
            false => Finding::fault(
                NAME,
                "there are segments, and no snapshot to begin with",
                "restore a copy of the whole directory",
            ),
        });
        return findings;
    };
    let age =
        age.map_or_else(|| "of a time to come".to_owned(), |age| format!("{} old", rough(age)));
    vec![
        room(directory, size, snapshot_size),
        whole(directory, &files, &listing, &format!("the newest snapshot, {name}, is {age}")),
    ]
}

/// Checks that what a start reads is whole.
fn whole(directory: &Path, files: &Looked, listing: &Listing, snapshot_line: &str) -> Finding {
    const NAME: &str = "files";
    let examined = || -> Result<Option<Finding>, LookError> {
        let journal = Journal::look(directory)?;
        if let Some(damage) = repair::first_damage(&journal)? {
            let advice = "copy the directory, look for the cause, then `journal repair --drop`";
            return Ok(Some(Finding::fault(NAME, damage.to_string(), advice)));
        }
        if let Some(why) = journal.beyond_repair()? {
            return Ok(Some(Finding::fault(NAME, why, "restore a copy of the whole directory")));
        }
        Ok(None)
    };
    match examined() {
        Ok(Some(fault)) => return fault,
        Ok(None) => {}
        // A server may have removed what was listed.
        Err(error) if is_gone(&error) => return Finding::skipped(NAME, chain(&error)),
        Err(error) => {
            let advice =
                "see what that is: a journal has regular files alone, which its owner reads";
            return Finding::fault(NAME, chain(&error), advice);
        }
    }
    let newest = listing.snapshots.last().copied().unwrap_or_default();
    let read = files.read(&Name::Snapshot(newest).to_string());
    match read.as_deref().map(|bytes| snapshot::read(newest, bytes).map(|_| ())) {
        Ok(Err(why)) => Finding::note(
            NAME,
            format!("{snapshot_line}, and cannot be used: {why}. A start uses the one before"),
            "look at the disk: what was written has changed",
        ),
        Ok(Ok(())) | Err(_) => Finding::good(NAME, format!("all are whole; {snapshot_line}")),
    }
}

fn is_gone(error: &LookError) -> bool {
    match error {
        LookError::Open(OpenError::Disk { source, .. }) => source.kind() == io::ErrorKind::NotFound,
        LookError::Nothing(_) => true,
        _ => false,
    }
}

/// Returns an error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Returns a time in its largest unit.
fn rough(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "min")];
    let found = units.into_iter().find(|(length, _)| seconds >= *length);
    found.map_or_else(
        || format!("{seconds} s"),
        |(length, unit)| format!("{} {unit}", seconds / length),
    )
}

#[cfg(test)]
mod tests {
    use super::super::super::finding::Status;
    use super::*;

    #[cfg(unix)]
    #[test]
    fn room_is_needed_for_the_next_snapshot_and_segment() {
        let folder = tempfile::tempdir().unwrap();
        let free = disk::free(folder.path()).unwrap();
        let status = |size, snapshot| room(folder.path(), size, snapshot).status;
        // Others write to the same disk meanwhile.
        assert_eq!(status(0, free * 2), Status::Fault);
        assert_eq!(status(0, free / 4), Status::Note);
        assert_eq!(status(free / 2, 1), Status::Good);
    }

    #[test]
    fn a_slow_disk_matters_where_requests_wait_for_it() {
        let status = |milliseconds, sync| written(Duration::from_millis(milliseconds), sync).status;
        assert_eq!(status(1, JournalSync::Always), Status::Good);
        assert_eq!(status(30, JournalSync::Always), Status::Note);
        assert_eq!(status(30, JournalSync::Never), Status::Good);
    }

    #[test]
    fn an_age_is_told_in_its_largest_unit() {
        let told = |seconds| rough(Duration::from_secs(seconds));
        assert_eq!(
            [told(5), told(119), told(7_200), told(200_000)],
            ["5 s", "1 min", "2 h", "2 d"]
        );
    }
}
