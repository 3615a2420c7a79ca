//! Parses ini files by the rules of Python's `ConfigParser`, as the reference does (contract §11).
//!
//! Sections keep their case, keys are lower-cased; `=` or `:` ends a key; comments are whole lines;
//! lines indented deeper than their key continue its value; keys of `[DEFAULT]` are visible in every
//! section; `%%` is a percent sign and `%(key)s` another value. Duplicates are errors.

use std::collections::BTreeMap;

/// Python's `MAX_INTERPOLATION_DEPTH`.
const MAX_DEPTH: usize = 10;

/// The section whose keys are visible in all others.
const DEFAULT_SECTION: &str = "DEFAULT";

/// A parsed file whose percent signs are not resolved yet.
#[derive(Debug, Default)]
pub struct Ini {
    sections: BTreeMap<String, Section>,
    /// The line on which each section begins.
    lines: BTreeMap<String, usize>,
    defaults: Section,
}

type Section = BTreeMap<String, Entry>;

#[derive(Debug)]
struct Entry {
    line: usize,
    text: String,
}

/// A mistake on one line. The text never contains a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct IniError {
    /// The line, counted from 1.
    pub line: usize,
    /// The mistake.
    pub problem: String,
}

impl Ini {
    /// Returns the names of the sections except `[DEFAULT]`, sorted.
    pub fn sections(&self) -> impl Iterator<Item = &str> {
        self.sections.keys().map(String::as_str)
    }

    /// Returns the line on which a section begins, counted from 1; 0 if there is no such section.
    #[must_use]
    pub fn line(&self, section: &str) -> usize {
        self.lines.get(section).copied().unwrap_or_default()
    }

    /// Returns the keys that are visible in a section, each with its line and whether it belongs to the
    /// section itself (else to `[DEFAULT]`). `None` if there is no such section.
    #[must_use]
    pub fn keys(&self, section: &str) -> Option<Vec<(&str, usize, bool)>> {
        let own = self.sections.get(section)?;
        let inherited = self.defaults.iter().filter(|(key, _)| !own.contains_key(*key));
        let keys = own.iter().map(|(key, entry)| (key.as_str(), entry.line, true));
        Some(keys.chain(inherited.map(|(key, entry)| (key.as_str(), entry.line, false))).collect())
    }

    /// Returns `true` if a value that is visible in the section refers to the key as `%(key)s`.
    #[must_use]
    pub fn is_referred_to(&self, section: &str, key: &str) -> bool {
        let own = self.sections.get(section).into_iter().flatten();
        let reference = format!("%({key})s");
        own.chain(&self.defaults).any(|(_, entry)| entry.text.to_lowercase().contains(&reference))
    }

    /// Returns the value of a key in a section, with percent signs resolved.
    ///
    /// # Errors
    ///
    /// Fails for a percent sign without a meaning, and for a reference to a key that does not exist or
    /// refers to itself. The line is that of the value that contains it.
    pub fn get(&self, section: &str, key: &str) -> Option<Result<String, IniError>> {
        let view = View { own: self.sections.get(section)?, defaults: &self.defaults, section };
        let entry = view.entry(key)?;
        let mut text = String::new();
        Some(view.resolve(key, entry, 1, &mut text).map(|()| text))
    }
}

/// A section as its values see it.
struct View<'a> {
    own: &'a Section,
    defaults: &'a Section,
    section: &'a str,
}

impl<'a> View<'a> {
    fn entry(&self, key: &str) -> Option<&'a Entry> {
        self.own.get(key).or_else(|| self.defaults.get(key))
    }

    fn resolve(
        &self,
        key: &str,
        entry: &Entry,
        depth: usize,
        into: &mut String,
    ) -> Result<(), IniError> {
        let error = |problem: String| Err(IniError { line: entry.line, problem });
        if depth > MAX_DEPTH {
            return error(format!("{key} refers to itself, or through more than {MAX_DEPTH} keys"));
        }
        let mut rest = entry.text.as_str();
        while let Some((before, after)) = rest.split_once('%') {
            into.push_str(before);
            if let Some(after) = after.strip_prefix('%') {
                into.push('%');
                rest = after;
                continue;
            }
            let Some((name, after)) = reference(after) else {
                return error(format!(
                    "{key} has a percent sign that means nothing; double the percent sign (%%) to \
                     mean one"
                ));
            };
            rest = after;
            let name = name.to_lowercase();
            let Some(other) = self.entry(&name) else {
                return error(format!(
                    "{key} refers to %({name})s, but neither [{}] nor [{DEFAULT_SECTION}] has \
                     {name}; double the percent sign (%%) if it is meant as it stands",
                    self.section
                ));
            };
            // Without a percent sign the value is literal, at any depth.
            if other.text.contains('%') {
                self.resolve(&name, other, depth + 1, into)?;
            } else {
                into.push_str(&other.text);
            }
        }
        into.push_str(rest);
        Ok(())
    }
}

/// Splits `(name)s rest` into name and rest.
fn reference(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.strip_prefix('(')?.split_once(')')?;
    let rest = rest.strip_prefix('s')?;
    (!name.is_empty()).then_some((name, rest))
}

/// Parses a whole file. Returns what could be parsed, and all mistakes.
#[must_use]
pub fn parse(text: &str) -> (Ini, Vec<IniError>) {
    let mut reader = Reader::default();
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    for (index, line) in text.split('\n').enumerate() {
        reader.line(index + 1, line);
    }
    reader.finish_value();
    (reader.ini, reader.errors)
}

#[derive(Default)]
struct Reader {
    ini: Ini,
    errors: Vec<IniError>,
    /// The current section; `None` before the first header.
    section: Option<String>,
    /// The first line of each (section, key).
    key_lines: BTreeMap<(String, String), usize>,
    /// The current value: its key and its lines so far.
    value: Option<(String, Entry)>,
    /// The indentation of the last header or key, in characters.
    indent: usize,
    headless: bool,
}

impl Reader {
    fn line(&mut self, number: usize, line: &str) {
        let trimmed = line.trim_matches(is_space);
        if trimmed.is_empty() {
            if let Some((_, entry)) = &mut self.value {
                entry.text.push('\n');
            }
            return;
        }
        if trimmed.starts_with(['#', ';']) {
            return;
        }
        let indent = line.chars().take_while(|c| is_space(*c)).count();
        if let Some((_, entry)) = &mut self.value
            && indent > self.indent
        {
            entry.text.push('\n');
            entry.text.push_str(trimmed);
            return;
        }
        self.indent = indent;
        if let Some(name) = header(trimmed) {
            self.finish_value();
            self.header(number, name);
        } else if self.section.is_some() {
            self.key(number, trimmed);
        } else if !self.headless {
            self.headless = true;
            self.error(number, "no [section] before the first setting".into());
        }
    }

    fn header(&mut self, number: usize, name: &str) {
        if name != DEFAULT_SECTION {
            let first = *self.ini.lines.entry(name.into()).or_insert(number);
            if first != number {
                self.error(number, format!("[{name}] stands twice, first on line {first}"));
            }
            self.ini.sections.entry(name.into()).or_default();
        }
        self.section = Some(name.into());
    }

    fn key(&mut self, number: usize, line: &str) {
        let Some((key, text)) = line.split_once(['=', ':']) else {
            return self.error(number, "neither a [section], a key = value nor a comment".into());
        };
        self.finish_value();
        let key = key.trim_end_matches(is_space).to_lowercase();
        if key.is_empty() {
            return self.error(number, "no key before the = or :".into());
        }
        let section = self.section.clone().unwrap_or_default();
        let first = *self.key_lines.entry((section, key.clone())).or_insert(number);
        if first != number {
            self.error(number, format!("{key} stands twice, first on line {first}"));
        }
        let text = text.trim_start_matches(is_space).into();
        self.value = Some((key, Entry { line: number, text }));
    }

    fn finish_value(&mut self) {
        let Some((key, mut entry)) = self.value.take() else { return };
        entry.text.truncate(entry.text.trim_end_matches(is_space).len());
        let section = match self.section.as_deref() {
            None | Some(DEFAULT_SECTION) => &mut self.ini.defaults,
            Some(name) => self.ini.sections.entry(name.into()).or_default(),
        };
        section.entry(key).or_insert(entry);
    }

    fn error(&mut self, line: usize, problem: String) {
        self.errors.push(IniError { line, problem });
    }
}

/// `[name]`, whatever follows the last bracket.
fn header(line: &str) -> Option<&str> {
    let (name, _) = line.strip_prefix('[')?.rsplit_once(']')?;
    (!name.is_empty()).then_some(name)
}

/// White space as Python defines it: Unicode's and four control characters.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

#[cfg(test)]
mod tests {

    use super::*;

    fn value(text: &str, key: &str) -> Result<String, IniError> {
        let (ini, errors) = parse(text);
        assert_eq!(errors, []);
        ini.get("channelstream", key).unwrap()
    }

    fn problems(text: &str) -> Vec<(usize, String)> {
        parse(text).1.into_iter().map(|error| (error.line, error.problem)).collect()
    }

    #[test]
    fn percent_signs_are_resolved() {
        let text = "[DEFAULT]\nbase = a%%b\n[channelstream]\n# 5% off\nsecret = 50%%off\n\
                    joined = %(BASE)s-%(secret)s\n";
        assert_eq!(value(text, "secret").unwrap(), "50%off");
        assert_eq!(value(text, "joined").unwrap(), "a%b-50%off");
    }

    #[test]
    fn bad_percent_signs_name_key_and_line_but_no_value() {
        for text in ["50%off", "off%", "%(base", "%()s", "%(base)d", "%s"] {
            let error =
                value(&format!("[channelstream]\n\nsecret = {text}"), "secret").unwrap_err();
            assert_eq!(error.line, 3);
            assert!(error.problem.starts_with("secret has a percent sign"), "{error}");
            assert!(error.problem.contains("double the percent sign"), "{error}");
            assert!(!error.problem.contains("off") && !error.problem.contains("base"), "{error}");
        }
        let error = value("[channelstream]\nsecret = x%(base)sX", "secret").unwrap_err();
        assert!(error.problem.contains("%(base)s") && !error.problem.contains('X'), "{error}");
        let error = value("[channelstream]\na = %(b)s\nb = %(a)s", "a").unwrap_err();
        assert!(error.problem.contains("refers to itself"), "{error}");
    }

    #[test]
    fn the_fault_is_named_where_it_stands() {
        let error = value("[DEFAULT]\nbase = 5%\n[channelstream]\nsecret = %(base)s", "secret");
        let error = error.unwrap_err();
        assert_eq!((error.line, error.problem.starts_with("base has")), (2, true), "{error}");
    }

    #[test]
    fn values_run_over_lines_that_are_indented_deeper() {
        let text = "[channelstream]\r\nallow_posting_from = 127.0.0.1,\r\n   # office\r\n\r\n   \
                    192.168.1.1 ; office\r\nport: 9000\r\n  Host : h\r\n\r\n";
        assert_eq!(
            value(text, "allow_posting_from").unwrap(),
            "127.0.0.1,\n\n192.168.1.1 ; office"
        );
        assert_eq!(value(text, "port").unwrap(), "9000\nHost : h");
    }

    #[test]
    fn keys_know_their_line_and_home() {
        let (ini, _) = parse("[DEFAULT]\nhere = /\nport = 1\n[channelstream]\nPort = 2\n[App]");
        assert_eq!(ini.sections().collect::<Vec<_>>(), ["App", "channelstream"]);
        let keys = ini.keys("channelstream").unwrap();
        assert_eq!(keys, [("port", 5, true), ("here", 2, false)]);
        assert_eq!(ini.keys("Channelstream"), None);
        assert!(ini.get("channelstream", "secret").is_none());
    }

    #[test]
    fn all_mistakes_of_a_file_are_found() {
        let text = "port = 1\n[channelstream]\nport = 1\nnothing\n= 2\nPORT = 3\n[channelstream]\n";
        assert_eq!(
            problems(text),
            [
                (1, "no [section] before the first setting".into()),
                (4, "neither a [section], a key = value nor a comment".into()),
                (5, "no key before the = or :".into()),
                (6, "port stands twice, first on line 3".into()),
                (7, "[channelstream] stands twice, first on line 2".into()),
            ]
        );
    }
}
