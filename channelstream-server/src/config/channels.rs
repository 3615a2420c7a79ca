//! Sections with settings for new channels by name: `[channel orders-*]`.

use channelstream_core::state::{ChannelDefaults, Pattern};

use super::error::{Mistake, Origin, Value};
use super::read::Reader;
use super::table::{Kind, Setting};

/// The first word in the name of such a section.
const WORD: &str = "channel";

/// The most sections: each new channel is compared with all of them.
const MOST: usize = 1000;

/// The settings of a channel (contract §1), for sections such as `[channel orders-*]`.
pub(crate) const CHANNEL_SETTINGS: &[Setting] = &[
    Setting {
        key: "notify_presence",
        kind: Kind::Switch,
        default: "false",
        doc: "Send an event when a user joins or parts.",
    },
    Setting {
        key: "broadcast_presence_with_user_lists",
        kind: Kind::Switch,
        default: "false",
        doc: "Add the list of users to these events.",
    },
    Setting {
        key: "notify_state",
        kind: Kind::Switch,
        default: "false",
        doc: "Send an event when the public state of a user changes.",
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
        doc: "The number of messages in the history.",
    },
    Setting {
        key: "store_frames",
        kind: Kind::Switch,
        default: "true",
        doc: "Keep events for clients that reconnect.",
    },
    Setting {
        key: "frames_size",
        kind: Kind::Number(0, usize::MAX),
        default: "100",
        doc: "The number of these events; `stored_frames` if it is not given.",
    },
    Setting {
        key: "append_as_edit",
        kind: Kind::Switch,
        default: "false",
        doc: "Send growing messages to pages as edits instead of appends.",
    },
    Setting {
        key: "history_ttl",
        kind: Kind::Number(0, usize::MAX),
        default: "0",
        doc: "Seconds after which messages and stored events leave the channel; 0 for never.",
    },
];

/// One section as it was given.
#[derive(Clone, Debug)]
pub(crate) struct ChannelSection {
    /// The channels that it applies to.
    pub(crate) pattern: Pattern,
    /// Its values, known and unknown.
    pub(crate) values: Vec<Value>,
    /// The place where it begins.
    pub(crate) origin: Origin,
}

impl ChannelSection {
    /// Returns the name of the section as it is written.
    pub(crate) fn name(&self) -> String {
        format!("{WORD} {}", self.pattern.as_str())
    }
}

/// Returns the pattern in the name of a section, if it is a section for channels.
pub(crate) fn pattern(section: &str) -> Option<Pattern> {
    let rest = section.strip_prefix(WORD)?;
    let is_word = rest.is_empty() || rest.starts_with(char::is_whitespace);
    is_word.then(|| Pattern::new(rest.trim()))
}

/// Returns `true` if a section was probably meant for channels: `[Channel x]`, `[channels x]`.
pub(crate) fn is_near(section: &str) -> bool {
    let word = section.split([' ', '\t', ':', '.']).next().unwrap_or_default().to_lowercase();
    strsim::damerau_levenshtein(&word, WORD) <= 2
}

/// Parses the sections, in their order.
pub(super) fn read(sections: &[ChannelSection], read: &mut Reader<'_>) -> Vec<ChannelDefaults> {
    let mut all: Vec<ChannelDefaults> = Vec::new();
    for section in sections {
        let ChannelSection { pattern, values, origin } = section;
        let name = section.name();
        if pattern.as_str().is_empty() {
            let problem = "[channel] names no channels; write for example [channel orders-*]";
            read.mistakes.push(Mistake::at(origin.clone(), problem));
        }
        if let Some(earlier) = all.iter().find(|earlier| earlier.pattern.covers(pattern)) {
            let earlier = earlier.pattern.as_str();
            read.warnings.push(format!(
                "{origin}: [{name}] never applies: [{WORD} {earlier}] comes first and matches all \
                 of its channels"
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

/// Returns `true` if channels have a setting with this key.
pub(crate) fn is_setting(key: &str) -> bool {
    CHANNEL_SETTINGS.iter().any(|setting| setting.key == key)
}
