//! How results are printed: as an aligned table, or as JSON.

use std::io::{self, Write};

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

/// Prints one JSON document.
pub(crate) fn json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    out.write_all(text.as_bytes())
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
}
