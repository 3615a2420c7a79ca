//! The settings of growing messages.

use super::table::{Kind, Setting};

/// More than any message needs; sums stay far from overflow.
const MANY: usize = 1_000_000_000;

pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        key: "append_timeout",
        kind: Kind::Seconds,
        default: "30",
        doc: "Seconds without an append after which an open message is stalled, unless it was opened \
              with another time.",
    },
    Setting {
        key: "stalled_timeout",
        kind: Kind::Seconds,
        default: "3600",
        doc: "Seconds after which a message that stays stalled has failed. Until then its publisher, or \
              another one, can go on.",
    },
    Setting {
        key: "append_interval",
        kind: Kind::Seconds,
        default: "0.04",
        doc: "Seconds during which what a pipe sends is gathered to one append.",
    },
    Setting {
        key: "pipe_timeout",
        kind: Kind::Seconds,
        default: "600",
        doc: "Seconds after which a pipe that sends nothing is ended with 408. Its message stays as it \
              is.",
    },
    Setting {
        key: "max_growing_size",
        kind: Kind::Bytes(2, MANY),
        default: "1048576",
        doc: "Bytes of the payload of a growing message; what exceeds them is not appended.",
    },
    Setting {
        key: "max_growing_items",
        kind: Kind::Number(1, MANY),
        default: "4096",
        doc: "Items of a list in a growing message to which items are appended.",
    },
    Setting {
        key: "max_open_messages",
        kind: Kind::Number(1, MANY),
        default: "100",
        doc: "Open messages of one channel, or private ones of one user; 422 above.",
    },
];
