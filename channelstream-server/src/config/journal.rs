//! The settings of the journal.

use std::path::PathBuf;
use std::time::Duration;

use super::read::Reader;
use super::table::{Kind, Setting};

pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        key: "journal",
        kind: Kind::Journal,
        default: "memory",
        doc: "Where the server keeps its state. memory: it ends with the process. file: in the files of \
              `journal_dir`, so that a restart goes on where the server stopped.",
    },
    Setting {
        key: "journal_dir",
        kind: Kind::Directory,
        default: "",
        doc: "Directory of the journal, which one server has for itself; made if its parent exists. It \
              holds ids of connections and messages, and needs a few times the size of the state.",
    },
    Setting {
        key: "journal_sync",
        kind: Kind::JournalSync,
        default: "always",
        doc: "When what was written is brought to disk. always: before a request is answered, so that a \
              power cut loses nothing that was answered. A number of seconds: at least that often. never: \
              when the operating system does it. Only a power cut or a crash of the operating system \
              makes a difference, not the end of the process.",
    },
];

/// Where the server keeps its state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Journal {
    /// In memory. It ends with the process.
    #[default]
    Memory,
    /// In files, from which the next process goes on.
    File {
        /// The directory, which one server has for itself.
        directory: PathBuf,
        /// When what was written is brought to disk.
        sync: JournalSync,
    },
}

/// When the files of a journal are brought to disk. Only a power cut or a crash of the operating system
/// makes a difference.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum JournalSync {
    /// Before a request is answered.
    #[default]
    Always,
    /// At least this often.
    Every(Duration),
    /// When the operating system does it, and when a file is full.
    Never,
}

impl Reader<'_> {
    /// Returns the journal that the settings together name.
    pub(super) fn journal(&mut self) -> Journal {
        let is_file = self.word("journal", &[("memory", false), ("file", true)]);
        let directory = self.text("journal_dir");
        let sync = self.journal_sync("journal_sync");
        if is_file {
            if directory.is_empty() {
                let found = self.find("journal");
                self.refuse(&found, "it needs journal_dir");
            }
            return Journal::File { directory: directory.into(), sync };
        }
        for key in ["journal_dir", "journal_sync"] {
            let found = self.find(key);
            let is_given = found.text.is_ok_and(|text| text.trim() != found.setting.default);
            if is_given && self.is_right("journal") && self.is_right(key) {
                self.refuse(&found, "it has no effect without journal = file");
            }
        }
        Journal::Memory
    }
}
