//! Sections that give new channels their settings by name: `[channel orders-*]`.

use channelstream_core::state::{ChannelDefaults, Pattern};

use super::error::{Mistake, Origin, Value};
use super::read::Reader;
use super::table::{Kind, Setting};

/// The first word of the names of such sections.
const WORD: &str = "channel";

/// How many there may be: each new channel is held against all of them.
const MOST: usize = 1000;

/// The settings of a channel (contract §1), for sections such as `[channel orders-*]`.
pub(crate) const CHANNEL_SETTINGS: &[Setting] = &[
    Setting {
        key: "notify_presence",
        kind: Kind::Switch,
        default: "false",
        doc: "Tell who joins and parts.",
    },
    Setting {
        key: "broadcast_presence_with_user_lists",
        kind: Kind::Switch,
        default: "false",
        doc: "Tell with it who is there.",
    },
    Setting {
        key: "notify_state",
        kind: Kind::Switch,
        default: "false",
        doc: "Tell of changes to the public state of users.",
    },
    Setting {
        key: "store_history",
        kind: Kind::Switch,
        default: "false",
        doc: "Keep messages in the history.",
    },
    Setting {
        key: "history_size",
        kind: Kind::Number(0, 1_000_000_000),
        default: "10",
        doc: "How many.",
    },
    Setting {
        key: "store_frames",
        kind: Kind::Switch,
        default: "true",
        doc: "Keep events for who is away.",
    },
];

/// One section as it was given.
#[derive(Clone, Debug)]
pub(crate) struct ChannelSection {
    /// For which channels.
    pub(crate) pattern: Pattern,
    /// What stands in it, known or not.
    pub(crate) values: Vec<Value>,
    /// Where it begins.
    pub(crate) origin: Origin,
}

impl ChannelSection {
    /// The section's name as it is written.
    pub(crate) fn name(&self) -> String {
        format!("{WORD} {}", self.pattern.as_str())
    }
}

/// The pattern in the name of a section, if it is one for channels.
pub(crate) fn pattern(section: &str) -> Option<Pattern> {
    let rest = section.strip_prefix(WORD)?;
    let is_word = rest.is_empty() || rest.starts_with(char::is_whitespace);
    is_word.then(|| Pattern::new(rest.trim()))
}

/// Whether a section of another name was probably meant to be one: `[Channel x]`, `[channels x]`.
pub(crate) fn is_near(section: &str) -> bool {
    let word = section.split([' ', '\t', ':', '.']).next().unwrap_or_default().to_lowercase();
    strsim::damerau_levenshtein(&word, WORD) <= 2
}

/// Reads the sections, the first one first.
pub(super) fn read(sections: &[ChannelSection], read: &mut Reader<'_>) -> Vec<ChannelDefaults> {
    let mut all: Vec<ChannelDefaults> = Vec::new();
    for section in sections {
        let ChannelSection { pattern, values, origin } = section;
        let name = section.name();
        if pattern.as_str().is_empty() {
            let problem = "[channel] names no channels, as [channel orders-*] does";
            read.mistakes.push(Mistake::at(origin.clone(), problem));
        }
        if let Some(earlier) = all.iter().find(|earlier| earlier.pattern.covers(pattern)) {
            let earlier = earlier.pattern.as_str();
            read.warnings.push(format!(
                "{origin}: [{name}] never counts: [{WORD} {earlier}] stands before it, and is for \
                 all of its channels"
            ));
        }
        let mut own = Reader::new(values, CHANNEL_SETTINGS.iter().collect());
        let settings = own.channel_config();
        read.mistakes.append(&mut own.mistakes);
        read.warnings.append(&mut own.warnings);
        all.push(ChannelDefaults { pattern: pattern.clone(), settings });
    }
    if all.len() > MOST {
        let origin = sections[MOST].origin.clone();
        let problem = format!("more than {MOST} sections [{WORD} ...]");
        read.mistakes.push(Mistake::at(origin, problem));
    }
    all
}

/// Whether a channel has a setting of this key.
pub(crate) fn is_setting(key: &str) -> bool {
    CHANNEL_SETTINGS.iter().any(|setting| setting.key == key)
}
