//! Pages of a history, since a cursor (contract §14).

use std::sync::Arc;

use super::fading;
use super::reading::Stands;
use super::{Sequence, State};
use crate::protocol::{Cursor, Event, GapReason, HistoryPage, PastMessage, ReadHistory};

/// About how many bytes a page has. A single message may be larger.
const BYTES: usize = 1024 * 1024;

impl State {
    /// Returns a page of the history of a channel, or `None` if there is no such channel.
    pub fn page_of_history(&self, request: &ReadHistory) -> Option<HistoryPage> {
        let channel = self.channel(&request.channel)?;
        let (after, gap) = match request.since.map(|cursor| self.stands(cursor)) {
            None => (0, None),
            Some(Stands::Here(after)) => {
                // Not all levels note what is missing. Then nothing is known of what was before the oldest.
                let noted = self.level >= fading::SINCE;
                let lost = if noted {
                    channel.history.lost()
                } else {
                    channel.history.unknown_up_to(self.sequence)
                };
                (after, (lost > after).then_some(GapReason::Evicted))
            }
            Some(Stands::Behind(end)) => (end, Some(GapReason::Epoch)),
            Some(Stands::Nowhere) => (0, Some(GapReason::Epoch)),
        };
        let limit = usize::try_from(request.limit).unwrap_or(usize::MAX).max(1);
        let (mut messages, mut bytes) = (Vec::new(), 0);
        let mut left = channel.history.after(after).peekable();
        while messages.len() < limit
            && bytes < BYTES
            && let Some(one) = left.next()
        {
            let message = self.current(&one.message);
            bytes += Event::Message(Arc::clone(&message)).size();
            messages.push(PastMessage::new(message, self.net_cursor_at(one.sequence)));
        }
        let last = messages.last().map(|one| one.seq);
        let next = last.filter(|_| left.peek().is_some());
        let cursor = next.unwrap_or_else(|| self.net_cursor_at(self.sequence));
        Some(HistoryPage::new(messages, next, gap, cursor))
    }

    /// Returns the cursor of who has read messages as they are now.
    fn net_cursor_at(&self, sequence: Sequence) -> Cursor {
        Cursor { is_net: true, ..self.cursor_at(sequence) }
    }
}
