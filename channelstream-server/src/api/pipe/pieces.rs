//! What a pipe has sent and is not appended yet: text, or lines with an append each.

use channelstream_core::protocol::{self, AppendRequest, FieldErrors, IndexMap, Piece};

use crate::app::App;
use crate::http::body::{BodyError, BodyLimit};
use crate::http::problem::Problem;

/// How the body of a pipe is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// All of it is text for one key.
    Text,
    /// Each line is an append.
    Lines,
}

pub(super) struct Pieces {
    format: Format,
    /// The key of the text.
    key: String,
    /// The number of the next item, if the producer counts.
    step: Option<u64>,
    /// Text that waits.
    text: String,
    /// Appends that wait.
    waiting: Vec<IndexMap<String, Vec<Piece>>>,
    /// The bytes in `waiting`.
    size: usize,
    /// The beginning of a character or line whose rest has not arrived.
    partial: Vec<u8>,
    /// How many bytes of the body have been taken.
    at: usize,
}

impl Pieces {
    pub(super) fn new(format: Format, key: String, step: Option<u64>) -> Self {
        Self {
            format,
            key,
            step,
            text: String::new(),
            waiting: Vec::new(),
            size: 0,
            partial: Vec::new(),
            at: 0,
        }
    }

    /// Returns an error if the key is no key.
    pub(super) fn check(&self) -> Result<(), FieldErrors> {
        let pointer = serde_json::json!({ &self.key: "" }).to_string();
        let read = protocol::parse(pointer.as_bytes(), protocol::Bounds::default())
            .ok()
            .and_then(|body| protocol::read_pieces(&body).ok());
        read.map(drop).ok_or_else(|| FieldErrors::from_texts("key", ["Not a valid JSON Pointer."]))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty() && self.waiting.is_empty()
    }

    /// Returns the number of bytes that wait to be appended.
    pub(super) fn size(&self) -> usize {
        self.text.len() + self.size
    }

    /// Takes a part of the body.
    pub(super) fn take(&mut self, app: &App, bytes: &[u8]) -> Result<(), Problem> {
        match self.format {
            Format::Text => self.take_text(bytes),
            Format::Lines => self.take_lines(app, bytes),
        }
    }

    /// Takes the end of the body.
    pub(super) fn end(&mut self, app: &App) -> Result<(), Problem> {
        match self.format {
            Format::Text if self.partial.is_empty() => Ok(()),
            Format::Text => Err(self.not_utf8(0)),
            Format::Lines => {
                let line = std::mem::take(&mut self.partial);
                self.take_line(app, &line)
            }
        }
    }

    fn not_utf8(&self, behind: usize) -> Problem {
        let text = format!("Not UTF-8 at byte {}.", self.at + behind);
        FieldErrors::from_texts("body", [text.as_str()]).into()
    }

    fn take_text(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        let joined;
        let mut rest = if self.partial.is_empty() {
            bytes
        } else {
            self.partial.extend_from_slice(bytes);
            joined = std::mem::take(&mut self.partial);
            &joined[..]
        };
        match std::str::from_utf8(rest) {
            Ok(text) => {
                self.text.push_str(text);
                self.at += rest.len();
                Ok(())
            }
            Err(error) => {
                let valid = error.valid_up_to();
                self.text.push_str(&String::from_utf8_lossy(&rest[..valid]));
                self.at += valid;
                rest = &rest[valid..];
                if error.error_len().is_some() {
                    return Err(self.not_utf8(0));
                }
                self.partial = rest.to_vec();
                Ok(())
            }
        }
    }

    fn take_lines(&mut self, app: &App, bytes: &[u8]) -> Result<(), Problem> {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, behind) = rest.split_at(end);
            rest = &behind[1..];
            if self.partial.is_empty() {
                self.take_line(app, line)?;
            } else {
                let mut whole = std::mem::take(&mut self.partial);
                whole.extend_from_slice(line);
                self.take_line(app, &whole)?;
            }
        }
        self.partial.extend_from_slice(rest);
        Self::check_length(app, &self.partial)
    }

    fn check_length(app: &App, line: &[u8]) -> Result<(), Problem> {
        let bytes = app.settings().config.max_body_size;
        if line.len() <= bytes {
            return Ok(());
        }
        Err(BodyError::TooLarge(BodyLimit { bytes, name: "max_body_size, for a line" }).into())
    }

    fn take_line(&mut self, app: &App, line: &[u8]) -> Result<(), Problem> {
        Self::check_length(app, line)?;
        // An empty line shows that the producer is there.
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        let read = protocol::read_pieces(&app.json(line)?);
        let pieces = read.map_err(|rejected| rejected.errors)?;
        self.size += line.len();
        // A producer that counts has a number for each line.
        let is_joined =
            self.step.is_none() && self.waiting.last().is_some_and(|last| fits(last, &pieces));
        if !is_joined {
            self.waiting.push(IndexMap::new());
        }
        if let Some(last) = self.waiting.last_mut() {
            for (key, piece) in pieces {
                last.entry(key).or_default().push(piece);
            }
        }
        Ok(())
    }

    /// Takes out what waits, as items like `item`.
    pub(super) fn items(&mut self, item: &AppendRequest) -> Vec<AppendRequest> {
        self.size = 0;
        let join = |(key, pieces): (_, Vec<_>)| Some((key, Piece::join(&pieces)?));
        let lines = std::mem::take(&mut self.waiting).into_iter();
        let mut appends: Vec<protocol::Pieces> =
            lines.map(|append| append.into_iter().filter_map(join).collect()).collect();
        if !self.text.is_empty() {
            let text = std::mem::take(&mut self.text);
            appends.push([(self.key.clone(), Piece::text(&text))].into_iter().collect());
        }
        appends
            .into_iter()
            .map(|append| self.counted(AppendRequest { append, ..item.clone() }))
            .collect()
    }

    /// Returns `true` if the producer counts.
    pub(super) fn are_counted(&self) -> bool {
        self.step.is_some()
    }

    /// Numbers an item, if the producer counts.
    pub(super) fn counted(&mut self, item: AppendRequest) -> AppendRequest {
        let step = self.step;
        self.step = step.map(|step| step.saturating_add(1));
        AppendRequest { step, ..item }
    }
}

/// Returns `true` if `more` can be joined to what waits: no key has a text in one and a list in the other.
fn fits(waiting: &IndexMap<String, Vec<Piece>>, more: &protocol::Pieces) -> bool {
    let first = |key| waiting.get(key).and_then(|pieces| pieces.first());
    more.iter().all(|(key, piece)| first(key).is_none_or(|first| first.is_like(piece)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> Pieces {
        Pieces::new(Format::Text, "text".to_owned(), None)
    }

    fn waiting(pieces: &mut Pieces) -> String {
        let item = AppendRequest::new(protocol::Uuid::nil(), None);
        let items = pieces.items(&item);
        items.iter().map(|item| serde_json::to_string(&item.append).unwrap()).collect()
    }

    #[test]
    fn characters_are_put_together() {
        let whole = "aé\u{1f600}\"\n";
        for cut in 1..whole.len() {
            let mut pieces = text();
            pieces.take_text(&whole.as_bytes()[..cut]).unwrap();
            pieces.take_text(&whole.as_bytes()[cut..]).unwrap();
            assert_eq!(waiting(&mut pieces), "{\"text\":\"aé\u{1f600}\\\"\\n\"}", "{cut}");
        }
        let mut pieces = text();
        for byte in whole.as_bytes() {
            pieces.take_text(std::slice::from_ref(byte)).unwrap();
        }
        assert_eq!(pieces.size(), whole.len());
    }

    #[test]
    fn what_is_valid_before_a_wrong_byte_counts() {
        let mut pieces = text();
        let Err(Problem::FieldErrors(errors)) = pieces.take_text(b"ab\xffcd") else { panic!() };
        let errors = serde_json::to_string(&errors).unwrap();
        assert_eq!(errors, r#"{"body":["Not UTF-8 at byte 2."]}"#);
        assert_eq!(waiting(&mut pieces), r#"{"text":"ab"}"#);
    }

    #[test]
    fn keys_are_checked() {
        for (key, is_good) in [("text", true), ("/a/0/b", true), ("/a~2", false)] {
            let pieces = Pieces::new(Format::Text, key.to_owned(), None);
            assert_eq!(pieces.check().is_ok(), is_good, "{key}");
        }
    }
}
