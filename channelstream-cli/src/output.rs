//! How results are printed: as an aligned table, or as JSON.

use std::env;
use std::ffi::OsStr;
use std::io::{self, IsTerminal as _, Write};

use serde::Serialize;
use unicode_width::UnicodeWidthStr as _;

/// To which side the cells of a column are moved.
#[derive(Clone, Copy)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Prints a heading and rows, with two blanks between columns.
pub(crate) fn table<const N: usize>(
    out: &mut impl Write,
    columns: [(&str, Align); N],
    cells: impl Iterator<Item = [String; N]>,
) -> io::Result<()> {
    let mut lines = vec![columns.map(|(title, _)| title.to_owned())];
    lines.extend(cells);
    rows(out, columns.map(|(_, align)| align), &lines)
}

/// Prints rows without a heading.
pub(crate) fn rows<const N: usize>(
    out: &mut impl Write,
    aligns: [Align; N],
    rows: &[[String; N]],
) -> io::Result<()> {
    let rows: Vec<_> = rows.iter().map(|row| row.each_ref().map(|cell| plain(cell))).collect();
    let widest = |column: usize| rows.iter().map(|row| row[column].width()).max();
    let widths: [usize; N] = std::array::from_fn(|column| widest(column).unwrap_or(0));
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, (width, align)) in row.iter().zip(widths.into_iter().zip(aligns)) {
            let blanks = " ".repeat(width - cell.width());
            line.push_str(&match align {
                Align::Left => format!("{cell}{blanks}  "),
                Align::Right => format!("{blanks}{cell}  "),
            });
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    out.write_all(text.as_bytes())
}

/// A number of things: `1 request`, `2 requests`.
pub(crate) fn counted(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

/// Prints one JSON document.
pub(crate) fn json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let mut text = plain_json(&serde_json::to_string_pretty(value)?, Form::Document);
    text.push('\n');
    out.write_all(text.as_bytes())
}

/// Prints one JSON document as one line, at once.
pub(crate) fn json_line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    raw_json_line(out, &serde_json::to_string(value)?)
}

/// Prints JSON as it came, as one line, at once.
pub(crate) fn raw_json_line(out: &mut impl Write, json: &str) -> io::Result<()> {
    let mut text = plain_json(json, Form::Line);
    text.push('\n');
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints to standard error, if somebody is there.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{}", plain(line));
}

/// The colours that are used.
#[derive(Clone, Copy)]
pub(crate) enum Colour {
    Green,
    Yellow,
    Red,
    Dim,
}

/// Whether what goes to standard output may be coloured.
pub(crate) fn is_coloured() -> bool {
    may_colour(io::stdout().is_terminal(), env::var_os("NO_COLOR").as_deref())
}

fn may_colour(terminal: bool, no_color: Option<&OsStr>) -> bool {
    terminal && no_color.is_none_or(OsStr::is_empty)
}

/// The text in this colour, if there are any.
pub(crate) fn painted(text: &str, colour: Colour, coloured: bool) -> String {
    let code = match colour {
        Colour::Green => 32,
        Colour::Yellow => 33,
        Colour::Red => 31,
        Colour::Dim => 2,
    };
    if coloured { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// A text without characters that could do anything to a terminal, or make it show something
/// else than is there: names of channels are whatever somebody chose.
pub(crate) fn plain(text: &str) -> String {
    escaped(text, |character, plain| plain.extend(character.escape_default()))
}

/// How JSON is laid out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Document,
    Line,
}

/// The same for JSON, which it stays: it says the same, by escapes of its own.
fn plain_json(json: &str, form: Form) -> String {
    escaped(json, |character, plain| match character {
        // In valid JSON they stand between values alone, as blanks.
        '\t' | '\r' | '\n' => plain.push(if form == Form::Line { ' ' } else { character }),
        _ => {
            for unit in character.encode_utf16(&mut [0; 2]) {
                plain.push_str(&format!("\\u{unit:04x}"));
            }
        }
    })
}

fn escaped(text: &str, escape: impl Fn(char, &mut String)) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if is_unseen(character) { escape(character, &mut plain) } else { plain.push(character) }
    }
    plain
}

/// Whether a character is not shown itself but changes how others are: control characters, those
/// of the category Cf ("format", Unicode 17), and what ends lines or paragraphs.
fn is_unseen(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
            | '\u{890}' | '\u{891}' | '\u{8e2}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0001}'
            | '\u{e0020}'..='\u{e007f}')
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_nothing_reaches_the_terminal() {
        let mut out = Vec::new();
        let cells = [["größe", "7"], ["a\x1b[2J\n", "1000"]].map(|row| row.map(str::to_owned));
        table(&mut out, [("NAME", Align::Left), ("N", Align::Right)], cells.into_iter()).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "NAME             N\n\
             größe            7\n\
             a\\u{1b}[2J\\n  1000\n"
        );
    }

    #[test]
    fn columns_are_aligned_as_terminals_show_them() {
        let mut out = Vec::new();
        // Two cells each: wide letters. None: an accent by itself.
        let cells = [["日本", "7"], ["e\u{301}", "8"], ["\u{202e}x", "9"]];
        let cells = cells.map(|row| row.map(str::to_owned));
        rows(&mut out, [Align::Left, Align::Right], &cells).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "日本       7\ne\u{301}          8\n\\u{202e}x  9\n"
        );
    }

    #[test]
    fn nothing_unseen_is_printed() {
        let unseen = "\0\t\u{7f}\u{9b}\u{ad}\u{61c}\u{200b}\u{200f}\u{2028}\u{2029}\u{202e}\u{2066}\u{feff}\u{e0041}";
        assert!(plain(unseen).is_ascii(), "{}", plain(unseen));
        let seen = "größe 日本 e\u{301} \u{1f600} \\ \u{a0}";
        assert_eq!(plain(seen), seen);

        let value = serde_json::json!({ unseen: [unseen, seen] });
        let mut out = Vec::new();
        json(&mut out, &value).unwrap();
        json_line(&mut out, &value).unwrap();
        let printed = String::from_utf8(out).unwrap();
        assert!(!printed.chars().any(|shown| shown != '\n' && is_unseen(shown)), "{printed}");
        assert!(
            printed.contains("\\udb40\\udc41") && printed.contains(seen.trim_end()),
            "{printed}"
        );
        for text in printed.split_inclusive("}\n") {
            assert_eq!(serde_json::from_str::<serde_json::Value>(text).unwrap(), value);
        }
    }

    #[test]
    fn json_that_comes_in_several_lines_is_printed_as_one() {
        let mut out = Vec::new();
        raw_json_line(&mut out, "{\"a\":\n\t\"\u{9b}\"}").unwrap();
        assert_eq!(out, b"{\"a\":  \"\\u009b\"}\n");
    }

    #[test]
    fn colours_are_for_terminals_and_those_who_want_them() {
        assert!(may_colour(true, None) && may_colour(true, Some(OsStr::new(""))));
        assert!(!may_colour(false, None) && !may_colour(true, Some(OsStr::new("1"))));
        assert_eq!(painted("x", Colour::Red, false), "x");
        assert_eq!(painted("x", Colour::Red, true), "\x1b[31mx\x1b[0m");
    }
}
