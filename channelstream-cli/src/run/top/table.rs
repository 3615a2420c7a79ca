//! A table of very many rows: filter, order, and the chosen row.

use std::cmp::Ordering;
use std::sync::Arc;

use super::sample::Row;

/// A column of numbers beside the names.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) title: &'static str,
    /// The key that sorts by it.
    pub(super) key: char,
    /// Whether the largest numbers come first by default.
    descending: bool,
    pub(super) form: Form,
}

/// How a number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Count,
    /// A time ago, in seconds.
    Ago,
}

const fn count(title: &'static str, key: char) -> Column {
    Column { title, key, descending: true, form: Form::Count }
}

pub(super) const CHANNELS: &[Column] = &[
    count("USERS", 'u'),
    count("CONNECTIONS", 'c'),
    count("HISTORY", 'h'),
    Column { title: "ACTIVE", key: 'a', descending: false, form: Form::Ago },
];

pub(super) const USERS: &[Column] = &[count("CHANNELS", 'c')];

/// Rows, of which those that match the filter are shown, sorted.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) columns: &'static [Column],
    rows: Vec<Row>,
    /// The indexes of the rows that are shown.
    order: Vec<usize>,
    filter: String,
    /// The column; `None` sorts by name.
    sorted: Option<usize>,
    descending: bool,
    /// The name of the chosen row, and its place in `order`.
    chosen: Option<Arc<str>>,
    place: usize,
    /// The first row on the screen, and the number of rows that fit.
    first: usize,
    height: usize,
}

impl Table {
    /// An empty table, sorted by its first column.
    pub(super) fn new(columns: &'static [Column]) -> Self {
        Self {
            columns,
            rows: Vec::new(),
            order: Vec::new(),
            filter: String::new(),
            sorted: Some(0),
            descending: true,
            chosen: None,
            place: 0,
            first: 0,
            height: 1,
        }
    }

    /// Replaces the rows; the chosen row stays chosen if it still exists.
    pub(super) fn fill(&mut self, rows: Vec<Row>) {
        self.rows = rows;
        self.arrange();
    }

    pub(super) fn filter(&self) -> &str {
        &self.filter
    }

    /// Shows only rows whose name contains this text, in any case.
    pub(super) fn set_filter(&mut self, filter: String) {
        self.filter = filter;
        self.arrange();
    }

    /// Returns the column of the order (`None` for names), and whether the largest come first.
    pub(super) fn sorted(&self) -> (Option<usize>, bool) {
        (self.sorted, self.descending)
    }

    /// Sorts by the column of this key, or by names for `n`; reverses the order if it is sorted so
    /// already. Returns `true` if there is such a column.
    pub(super) fn sort(&mut self, key: char) -> bool {
        let column = self.columns.iter().position(|column| column.key == key);
        if column.is_none() && key != 'n' {
            return false;
        }
        if column == self.sorted {
            self.descending = !self.descending;
        } else {
            self.sorted = column;
            self.descending = column.is_some_and(|column| self.columns[column].descending);
        }
        self.arrange();
        true
    }

    /// Reverses the order.
    pub(super) fn reverse(&mut self) {
        self.descending = !self.descending;
        self.arrange();
    }

    /// Returns the number of rows that are shown, and of all rows.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.order.len(), self.rows.len())
    }

    /// Returns the name of the chosen row.
    pub(super) fn chosen(&self) -> Option<Arc<str>> {
        self.order.get(self.place).map(|row| Arc::clone(&self.rows[*row].name))
    }

    /// Moves the choice down by this many rows, or up.
    pub(super) fn step(&mut self, rows: isize) {
        self.choose(self.place.saturating_add_signed(rows));
    }

    /// Moves the choice down by a screen, or up.
    pub(super) fn page(&mut self, pages: isize) {
        self.step(pages.saturating_mul(isize::try_from(self.height).unwrap_or(1)));
    }

    /// Chooses the row at this place; `usize::MAX` chooses the last one.
    pub(super) fn choose(&mut self, place: usize) {
        self.place = place.min(self.order.len().saturating_sub(1));
        self.chosen = self.chosen();
    }

    /// Returns the rows that fit a screen of this height, and which of them is chosen.
    pub(super) fn on_screen(&mut self, height: usize) -> impl Iterator<Item = (&Row, bool)> {
        self.height = height.max(1);
        let last = self.order.len().saturating_sub(self.height);
        let first = self.first.max((self.place + 1).saturating_sub(self.height));
        self.first = first.min(self.place).min(last);
        let rows = self.order.iter().enumerate().skip(self.first).take(height);
        rows.map(|(place, row)| (&self.rows[*row], place == self.place))
    }

    fn arrange(&mut self) {
        let filter = self.filter.to_lowercase();
        let fits = |row: &Row| filter.is_empty() || row.name.to_lowercase().contains(&filter);
        self.order.clear();
        self.order.extend((0..self.rows.len()).filter(|row| fits(&self.rows[*row])));
        let (sorted, descending) = (self.sorted, self.descending);
        let compare = |one: &Row, other: &Row| {
            let by_column = sorted.map_or_else(
                || one.name.cmp(&other.name),
                |column| one.numbers[column].cmp(&other.numbers[column]),
            );
            let by_column = if descending { by_column.reverse() } else { by_column };
            by_column.then_with(|| one.name.cmp(&other.name))
        };
        let rows = &self.rows;
        self.order
            .sort_unstable_by(|one, other| -> Ordering { compare(&rows[*one], &rows[*other]) });
        let is_chosen = |row: &usize| Some(&rows[*row].name) == self.chosen.as_ref();
        match self.order.iter().position(is_chosen) {
            Some(place) => self.place = place,
            None => self.choose(self.place),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[(&str, u64, u64)]) -> Table {
        let mut table = Table::new(CHANNELS);
        table.fill(rows.iter().map(|(name, users, active)| row(name, *users, *active)).collect());
        table
    }

    fn row(name: &str, users: u64, active: u64) -> Row {
        Row { name: name.into(), numbers: [users, 0, 0, active], note: String::new() }
    }

    fn shown(table: &mut Table, height: usize) -> Vec<String> {
        let rows = table.on_screen(height);
        rows.map(|(row, chosen)| format!("{}{}", if chosen { ">" } else { "" }, row.name)).collect()
    }

    #[test]
    fn rows_are_sorted_by_each_column_and_the_other_way_round() {
        let mut table = table(&[("b", 2, 30), ("a", 2, 7), ("c", 5, 60)]);
        assert_eq!(shown(&mut table, 9), [">c", "a", "b"], "most users first, then by name");
        for (key, order) in [('a', "abc"), ('a', "cba"), ('n', "abc"), ('n', "cba"), ('u', "cab")] {
            assert!(table.sort(key));
            let names: String = table.on_screen(9).map(|(row, _)| &*row.name).collect();
            assert_eq!(names, order, "{key}");
        }
        table.reverse();
        assert_eq!(shown(&mut table, 9), ["a", "b", ">c"], "the chosen one stays chosen");
        assert!(!table.sort('x'));
    }

    #[test]
    fn the_chosen_row_is_always_on_the_screen() {
        let names: Vec<_> = (0..100).map(|number| format!("{number:02}")).collect();
        let rows: Vec<_> = names.iter().map(|name| (&**name, 0, 0)).collect();
        let mut table = table(&rows);
        assert_eq!(shown(&mut table, 3), [">00", "01", "02"]);
        table.step(3);
        assert_eq!(shown(&mut table, 3), ["01", "02", ">03"]);
        table.step(-1);
        assert_eq!(shown(&mut table, 3), ["01", ">02", "03"]);
        table.page(1);
        assert_eq!(shown(&mut table, 3), ["03", "04", ">05"]);
        table.choose(usize::MAX);
        assert_eq!(shown(&mut table, 3), ["97", "98", ">99"]);
        table.step(isize::MAX);
        assert_eq!(shown(&mut table, 5), ["95", "96", "97", "98", ">99"], "a larger screen");
        assert_eq!(shown(&mut table, 0), [""; 0]);
        table.step(isize::MIN);
        assert_eq!(shown(&mut table, 1), [">00"]);
    }

    #[test]
    fn a_filter_leaves_what_fits_it() {
        let mut table = table(&[("News", 1, 0), ("chat", 2, 0), ("old news", 3, 0)]);
        table.set_filter("NEWS".to_owned());
        assert_eq!(shown(&mut table, 9), [">old news", "News"]);
        assert_eq!(table.counts(), (2, 3));
        table.set_filter("none".to_owned());
        assert_eq!((table.chosen(), shown(&mut table, 9).len()), (None, 0));
        table.step(1);
        table.set_filter(String::new());
        assert_eq!(shown(&mut table, 9).len(), 3);
    }

    #[test]
    fn other_rows_leave_the_choice_where_it_can_be() {
        let mut table = table(&[("a", 3, 0), ("b", 2, 0), ("c", 1, 0)]);
        table.step(1);
        table.fill(vec![row("b", 9, 0), row("c", 1, 0)]);
        assert_eq!(shown(&mut table, 9), [">b", "c"]);
        table.fill(vec![row("c", 1, 0)]);
        assert_eq!(&*table.chosen().unwrap(), "c");
    }
}
