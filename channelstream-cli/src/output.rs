//! How results are printed: as an aligned table, or as JSON.

use std::env;
use std::ffi::OsStr;
use std::io::{self, IsTerminal as _, Write};

use serde::Serialize;

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
    let widest = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; N] = std::array::from_fn(|column| widest(column).unwrap_or(0));
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, (width, align)) in row.iter().zip(widths.into_iter().zip(aligns)) {
            line.push_str(&match align {
                Align::Left => format!("{cell:<width$}  "),
                Align::Right => format!("{cell:>width$}  "),
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
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    out.write_all(text.as_bytes())
}

/// Prints one JSON document as one line, at once.
pub(crate) fn json_line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_string(value)?;
    text.push('\n');
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints to standard error, if somebody is there.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
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

/// A text without control characters, which could do anything to a terminal: names of channels
/// are whatever somebody chose.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            plain.extend(character.escape_default());
        } else {
            plain.push(character);
        }
    }
    plain
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
    fn colours_are_for_terminals_and_those_who_want_them() {
        assert!(may_colour(true, None) && may_colour(true, Some(OsStr::new(""))));
        assert!(!may_colour(false, None) && !may_colour(true, Some(OsStr::new("1"))));
        assert_eq!(painted("x", Colour::Red, false), "x");
        assert_eq!(painted("x", Colour::Red, true), "\x1b[31mx\x1b[0m");
    }
}
