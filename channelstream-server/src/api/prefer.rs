//! What a request prefers (RFC 7240): strict handling, and an answer that reports the result.

use channelstream_core::protocol::{Connected, Posted};
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::http::answer::Answer;
use crate::http::problem::Problem;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// How a call of the backend API is handled and answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Preferences {
    /// `handling=strict` is true, `handling=lenient` false.
    handling: Option<bool>,
    /// `return=representation`.
    representation: bool,
    /// What counts without `handling`.
    strict_requests: bool,
}

impl Preferences {
    /// What the headers say; of a preference that is named twice the first counts.
    pub(crate) fn of(headers: &HeaderMap, strict_requests: bool) -> Self {
        let mut handling = None;
        let mut answer = None;
        for line in headers.get_all(PREFER) {
            let line = String::from_utf8_lossy(line.as_bytes());
            for preference in unquoted(&line, ',') {
                let token = preference.split(';').next().unwrap_or_default();
                let Some((name, value)) = token.split_once('=') else { continue };
                let (name, value) = (name.trim(), value.trim().trim_matches('"'));
                if name.eq_ignore_ascii_case("handling") {
                    handling.get_or_insert(value.to_ascii_lowercase());
                } else if name.eq_ignore_ascii_case("return") {
                    answer.get_or_insert(value.to_ascii_lowercase());
                }
            }
        }
        let handling = match handling.as_deref() {
            Some("strict") => Some(true),
            Some("lenient") => Some(false),
            _ => None,
        };
        Self {
            handling,
            representation: answer.as_deref() == Some("representation"),
            strict_requests,
        }
    }

    pub(crate) fn is_strict(&self) -> bool {
        self.handling.unwrap_or(self.strict_requests)
    }

    /// Everything that handling and answer depend on.
    pub(crate) fn as_bits(&self) -> [u8; 4] {
        let handling = [self.handling == Some(true), self.handling == Some(false)];
        [handling[0], handling[1], self.representation, self.strict_requests].map(u8::from)
    }

    /// The answer to messages: as the reference has it, without those that have no address; what was
    /// preferred comes on top. With an idempotency key it has the number of each message.
    pub(crate) fn posted(&self, mut posted: Vec<Posted>, has_key: bool) -> Answer {
        if !self.is_strict() {
            posted.retain(|posted| !posted.address.is_nowhere());
        }
        if !self.is_strict() && !self.representation && !has_key {
            let messages: Vec<_> = posted.iter().map(|posted| &posted.taken).collect();
            return Answer::json(&messages);
        }
        for Posted { receipt, .. } in &mut posted {
            if !self.representation {
                (receipt.recipients, receipt.stored) = (None, None);
            }
            if !self.representation && !has_key {
                receipt.seq = None;
            }
            if !self.is_strict() {
                receipt.problem = None;
            }
        }
        let answer = Answer::json(&posted);
        if self.representation { answer.with(APPLIED, REPRESENTATION) } else { answer }
    }

    /// The answer to `/connect`; what was preferred comes on top.
    ///
    /// # Errors
    /// Returns [`Problem::Stopped`] if the runtime shuts down meanwhile.
    pub(crate) async fn connected(&self, mut connected: Connected) -> Result<Answer, Problem> {
        if !self.representation {
            connected.cursor = None;
        }
        let answer = Answer::about(connected.channels_info.channels.len(), connected).await?;
        Ok(if self.representation { answer.with(APPLIED, REPRESENTATION) } else { answer })
    }

    /// Reports in an answer which handling was requested and applied.
    pub(crate) fn applied(&self, answer: Answer) -> Answer {
        match self.handling {
            Some(true) => answer.with(APPLIED, STRICT),
            Some(false) => answer.with(APPLIED, LENIENT),
            None => answer,
        }
    }
}

/// The pieces of a header between separators that stand in no quotes.
fn unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |character| {
        let is_separator = character == separator && !is_quoted;
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ => {}
        }
        is_separator
    })
}

const STRICT: HeaderValue = HeaderValue::from_static("handling=strict");
const LENIENT: HeaderValue = HeaderValue::from_static("handling=lenient");
const REPRESENTATION: HeaderValue = HeaderValue::from_static("return=representation");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferences_are_read_as_rfc_7240_writes_them() {
        let of = |lines: &[&'static str]| {
            let lines = lines.iter().map(|line| (PREFER, HeaderValue::from_static(line)));
            let mut headers = HeaderMap::new();
            lines.for_each(|(name, line)| {
                headers.append(name, line);
            });
            let Preferences { handling, representation, .. } = Preferences::of(&headers, false);
            (handling, representation)
        };
        assert_eq!(of(&[]), (None, false));
        assert_eq!(of(&["handling=strict"]), (Some(true), false));
        assert_eq!(of(&["Handling = \"Strict\"; x=1, return=representation"]), (Some(true), true));
        assert_eq!(of(&["respond-async", "return=representation;x"]), (None, true));
        assert_eq!(of(&["handling=lenient", "handling=strict"]), (Some(false), false));
        assert_eq!(of(&[r#"x="a, handling=strict""#, r#"y="\", handling=strict""#]), (None, false));
        assert_eq!(of(&[r#"x="a,b", handling=strict"#]), (Some(true), false));
        assert_eq!(of(&["return=minimal, return=representation"]), (None, false));
        assert_eq!(of(&["handling=odd, handlingstrict, =, ;,"]), (None, false));
    }
}
