//! The levels that a program knows, and what it says of others.

use std::fmt::{self, Display, Formatter};

use thiserror::Error;

use super::{LEVEL, OLDEST};

/// The levels that a program knows. Those of this one are [`Levels::KNOWN`]; tests let nodes know others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels {
    /// The oldest.
    pub oldest: u32,
    /// The newest.
    pub newest: u32,
}

impl Levels {
    /// The levels that this program knows.
    pub const KNOWN: Self = Self { oldest: OLDEST, newest: LEVEL };

    /// Checks that a level is known.
    ///
    /// # Errors
    /// Returns an error that says what to do if it is not.
    pub fn check(self, found: u32) -> Result<(), UnknownLevel> {
        let is_known = (self.oldest..=self.newest).contains(&found);
        if is_known { Ok(()) } else { Err(UnknownLevel { found, known: self }) }
    }
}

impl Default for Levels {
    fn default() -> Self {
        Self::KNOWN
    }
}

/// A level that a program does not know.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub struct UnknownLevel {
    /// The level found.
    pub found: u32,
    /// The levels that the program knows.
    pub known: Levels,
}

impl Display for UnknownLevel {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { found, known: Levels { oldest, newest } } = self;
        write!(f, "level {found}, but this program knows {oldest} to {newest}: ")?;
        f.write_str(if found > newest {
            "start the release that raised the journal to it, or a newer one"
        } else {
            "start the release before this one first, which raises the journal"
        })
    }
}
