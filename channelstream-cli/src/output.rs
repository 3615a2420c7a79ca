//! Output for people and programs: aligned tables, JSON, and texts that are safe for a terminal.

use std::io::{self, Write};

use anstream::{AutoStream, ColorChoice};
use serde::Serialize;
use unicode_width::UnicodeWidthStr as _;

/// The alignment of a column.
#[derive(Clone, Copy)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Prints a heading and rows, with two spaces between columns.
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

/// Returns a count with its noun: `1 request`, `2 requests`.
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

/// Prints one JSON document as one line, and flushes.
pub(crate) fn json_line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    raw_json_line(out, &serde_json::to_string(value)?)
}

/// Prints JSON text unchanged, as one line, and flushes.
pub(crate) fn raw_json_line(out: &mut impl Write, json: &str) -> io::Result<()> {
    let mut text = plain_json(json, Form::Line);
    text.push('\n');
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints a line to standard error; failures are ignored.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{}", plain(line));
}

/// Returns `true` if standard output may be colored, by `NO_COLOR`, `CLICOLOR`, `CLICOLOR_FORCE`
/// and the kind of output.
pub(crate) fn is_colored() -> bool {
    AutoStream::choice(&io::stdout()) != ColorChoice::Never
}

/// Escapes characters that could control a terminal or make it show something else than the text:
/// names of channels and users are chosen by strangers.
pub(crate) fn plain(text: &str) -> String {
    escaped(text, |character, plain| plain.extend(character.escape_default()))
}

/// The layout of JSON.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Document,
    Line,
}

/// Escapes the same characters in JSON by JSON's own escapes, which keeps its meaning.
fn plain_json(json: &str, form: Form) -> String {
    escaped(json, |character, plain| match character {
        // Valid JSON has these only as white space between values.
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
        if is_invisible(character) { escape(character, &mut plain) } else { plain.push(character) }
    }
    plain
}

/// Returns `true` if a character is invisible itself but may change how others are shown: control
/// characters, the category Cf ("format", Unicode 17), and line and paragraph separators.
fn is_invisible(character: char) -> bool {
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
        // Wide letters take two cells each, a combining accent none.
        let cells = [["日本", "7"], ["e\u{301}", "8"], ["\u{202e}x", "9"]];
        let cells = cells.map(|row| row.map(str::to_owned));
        rows(&mut out, [Align::Left, Align::Right], &cells).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "日本       7\ne\u{301}          8\n\\u{202e}x  9\n"
        );
    }

    #[test]
    fn nothing_invisible_is_printed() {
        let invisible = "\0\t\u{7f}\u{9b}\u{ad}\u{61c}\u{200b}\u{200f}\u{2028}\u{2029}\u{202e}\u{2066}\u{feff}\u{e0041}";
        assert!(plain(invisible).is_ascii(), "{}", plain(invisible));
        let visible = "größe 日本 e\u{301} \u{1f600} \\ \u{a0}";
        assert_eq!(plain(visible), visible);

        let value = serde_json::json!({ invisible: [invisible, visible] });
        let mut out = Vec::new();
        json(&mut out, &value).unwrap();
        json_line(&mut out, &value).unwrap();
        let printed = String::from_utf8(out).unwrap();
        assert!(!printed.chars().any(|shown| shown != '\n' && is_invisible(shown)), "{printed}");
        assert!(
            printed.contains("\\udb40\\udc41") && printed.contains(visible.trim_end()),
            "{printed}"
        );
        for text in printed.split_inclusive("}\n") {
            assert_eq!(serde_json::from_str::<serde_json::Value>(text).unwrap(), value);
        }
    }

    #[test]
    fn json_of_several_lines_is_printed_as_one() {
        let mut out = Vec::new();
        raw_json_line(&mut out, "{\"a\":\n\t\"\u{9b}\"}").unwrap();
        assert_eq!(out, b"{\"a\":  \"\\u009b\"}\n");
    }
}
