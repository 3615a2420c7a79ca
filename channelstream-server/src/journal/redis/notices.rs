//! What the protocol has noticed, in the log and in figures.

use channelstream_core::state::Position;

use super::command::id;
use super::figures::{Figures, count};
use super::protocol::message::{Damage, Notice};

/// Logs and counts what was noticed. What ends the lines is told with what else is wrong.
pub(super) fn note(notice: Notice, figures: &Figures) {
    match notice {
        Notice::Diverged { at, common } => {
            count(&figures.divergences, 1);
            tracing::error!(
                at = %id(at), common = %id(common),
                "the other servers went on another way: what this one applied behind the common \
                 position is appended again, and its state is loaded anew"
            );
        }
        Notice::Damaged(damage) => {
            let what = match damage {
                Damage::Behind => "entries are gone".to_owned(),
                Damage::Anew => "another one was begun in its place".to_owned(),
                Damage::Older => "an older one was put in its place".to_owned(),
                Damage::Foreign => "it has entries of no epoch".to_owned(),
                Damage::Stuck { after } => {
                    format!("no entry can be read behind {}", id(after))
                }
            };
            count(&figures.damages, 1);
            tracing::error!(
                "the journal in Redis was changed by somebody else, {what}: the server that has come furthest \
                 begins it anew"
            );
        }
        Notice::Hole { after } => tracing::warn!(
            after = %id(after),
            "entries of the journal are missing here: the state is loaded anew"
        ),
        Notice::Begins { after, put_back, rebuilt } => {
            count(&figures.recoveries, 1);
            count(&figures.put_back, put_back);
            if is_first(after) {
                tracing::info!("a new journal begins in Redis, which held none");
                return;
            }
            tracing::warn!(
                after = %id(after), put_back, rebuilt,
                "Redis is another one, was started anew or lacks entries: this server has begun an epoch of the \
                 journal"
            );
        }
        Notice::Repeats { count: repeats } => {
            count(&figures.repeated, repeats);
            tracing::warn!(entries = repeats, "entries that Redis lost are appended again");
        }
        Notice::Stalled(_) | Notice::WentBack | Notice::Headless => {}
    }
}

/// Returns `true` if nothing was before, here or on another server that lives.
fn is_first(after: Position) -> bool {
    after == Position::default()
}

#[cfg(test)]
mod tests {
    use channelstream_core::protocol::Epoch;

    use super::*;

    #[test]
    fn a_journal_is_new_if_nothing_was_before() {
        assert!(is_first(Position::default()));
        assert!(!is_first(Position { epoch: Epoch::new(7), number: 0 }));
        assert!(!is_first(Position { number: 1, ..Position::default() }));
    }
}
