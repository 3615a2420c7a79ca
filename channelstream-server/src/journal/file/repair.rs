//! Repair: cuts a damaged journal before its first bad record, and drops what is behind it.

use std::cmp::Reverse;
use std::path::Path;

use super::disk::{Directory, Disk as _, Files as _};
use super::inspect::{Content, End, Journal, LookError};
use super::names::Name;
use super::recovery::{Damage, OpenError, failed};

/// Finds the damaged place for which a journal is not opened. What a newer snapshot covers does not matter.
pub(crate) fn first_damage(journal: &Journal) -> Result<Option<Damage>, LookError> {
    let mut covered = 0;
    for row in journal.rows() {
        let row = row?;
        match (row.name, row.content) {
            (Name::Snapshot(number), Content::Snapshot(Ok(()))) => covered = number,
            (Name::Segment(number), Content::Segment { end: End::Damaged(damage), .. })
                if number >= covered =>
            {
                return Ok(Some(*damage));
            }
            _ => {}
        }
    }
    Ok(None)
}

/// Cuts the journal of a directory at its damaged place: the segment ends there, and the segments behind
/// it are removed. Returns what was dropped; `None` if nothing is damaged. No server may have the journal
/// open.
pub(crate) fn cut(path: &Path) -> Result<Option<Damage>, LookError> {
    // What is no journal gets no lock either.
    Journal::look(path)?;
    let directory = Directory::open(path).map_err(OpenError::from)?;
    let Some(damage) = first_damage(&Journal::look(path)?)? else { return Ok(None) };
    let names = directory.names().map_err(failed(&directory, "list", ""))?;
    let segments = names.iter().filter_map(|name| match Name::read(name)? {
        Name::Segment(number) => Some(number),
        Name::Snapshot(_) => None,
    });
    let mut later: Vec<u64> = segments.filter(|number| *number > damage.segment).collect();
    // From the end to the front: if this is stopped, the rest is still damaged at the same place.
    later.sort_unstable_by_key(|number| Reverse(*number));
    for name in later.into_iter().map(|number| Name::Segment(number).to_string()) {
        directory.remove(&name).map_err(failed(&directory, "remove", &name))?;
    }
    let name = Name::Segment(damage.segment).to_string();
    let cut = directory.open(&name).and_then(|mut file| {
        file.cut(damage.bad.offset)?;
        file.sync()
    });
    cut.map_err(failed(&directory, "cut", &name))?;
    Ok(Some(damage))
}
