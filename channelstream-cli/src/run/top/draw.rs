//! Draws the view of `top`: stats above, a table or a channel's details, keys below.

use std::time::{Duration, Instant};

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Row as Cells, Table as Grid};

use super::sample::Row;
use super::table::{Form, Table};
use super::view::{DetailLine, Details, Tab, View};
use crate::output::plain;

/// The narrowest column of names; columns of numbers are dropped before it gets narrower.
const NAME: u16 = 11;
const GAP: &str = "   ";

/// The styles. Without colors, important text still stands out.
#[derive(Clone, Copy)]
pub(super) struct Styles {
    trouble: Style,
    heading: Style,
    chosen: Style,
    dim: Style,
}

impl Styles {
    pub(super) fn new(colored: bool) -> Self {
        let bold = Style::new().add_modifier(Modifier::BOLD);
        Self {
            trouble: if colored { bold.fg(Color::Red) } else { bold },
            heading: if colored { bold.fg(Color::Cyan) } else { bold },
            chosen: Style::new().add_modifier(Modifier::REVERSED),
            dim: Style::new().add_modifier(Modifier::DIM),
        }
    }
}

/// Draws everything as of `now`.
pub(super) fn draw(frame: &mut Frame<'_>, view: &mut View, styles: Styles, now: Instant) {
    let parts = [Constraint::Length(3), Constraint::Min(0), Constraint::Length(1)];
    let [head, body, foot] = Layout::vertical(parts).areas(frame.area());
    frame.render_widget(ratatui::text::Text::from(stats(view, styles, now)), head);
    match &mut view.details {
        Some(details) => draw_details(frame, details, styles, body),
        None => draw_table(frame, view, styles, body),
    }
    frame.render_widget(keys(view, styles), foot);
}

fn stats(view: &View, styles: Styles, now: Instant) -> Vec<Line<'static>> {
    let totals = &view.moment.totals;
    let mut first = format!("channelstream {}{GAP}{}", totals.version, view.url);
    if let Some(uptime) = totals.uptime {
        first += &format!("{GAP}up {}", days_and_hours(uptime));
    }
    let (channels, users) = view.counts();
    let mut counts = format!("channels {}{GAP}users {}", grouped(channels), grouped(users));
    for (name, count) in
        [("listeners", totals.listeners), ("TCP connections", totals.tcp_connections)]
    {
        counts +=
            &count.map_or_else(String::new, |count| format!("{GAP}{name} {}", grouped(count)));
    }
    if let Some(memory) = totals.memory {
        counts += &format!("{GAP}memory {} MiB", grouped(memory >> 20));
    }
    let last = match &view.trouble {
        Some(text) => {
            let age = now.saturating_duration_since(view.moment.at).as_secs();
            let text = format!("stats of {age} s ago: {}", plain(text));
            Line::styled(text, styles.trouble)
        }
        None => Line::from(rates(view)),
    };
    let first = Line::styled(plain(&first), styles.dim);
    vec![first, Line::from(counts), last]
}

/// The rates of the server's counters.
fn rates(view: &View) -> String {
    let (totals, rates) = (&view.moment.totals, &view.rates);
    let all = [
        ("messages", totals.messages, rates.messages),
        ("deliveries", totals.deliveries, rates.deliveries),
        ("events", totals.events, rates.events),
    ];
    let counted = all.into_iter().filter(|(_, total, _)| total.is_some());
    let texts = counted.map(|(name, _, rate)| {
        let rate = rate.map_or_else(|| "–".to_owned(), |rate| format!("{rate:.1}"));
        format!("{name} {rate}/s{GAP}")
    });
    let took = view.moment.took.as_millis();
    format!("{}answers in {took} ms", texts.collect::<String>())
}

fn draw_table(frame: &mut Frame<'_>, view: &mut View, styles: Styles, area: Rect) {
    let is_users = view.tab == Tab::Users;
    let table = view.table_mut();
    let mut left = area.width.saturating_sub(NAME);
    let columns = table.columns.iter().zip(0..).take_while(|(column, _)| {
        // Includes the mark of the order, and a gap before it.
        let width = width(column.title) + 1;
        let fits = left >= width;
        left = left.saturating_sub(width);
        fits
    });
    let columns: Vec<(_, usize)> = columns.collect();
    let mut widths = vec![Constraint::Min(NAME)];
    widths.extend(columns.iter().map(|(column, _)| Constraint::Length(width(column.title))));
    let name = if is_users { "USER" } else { "CHANNEL" };
    let mut titles = vec![Cell::from(format!("{name}{}", mark(table, None)))];
    titles.extend(columns.iter().map(|(column, place)| {
        let title = format!("{}{}", mark(table, Some(*place)), column.title);
        Cell::from(Line::from(title).right_aligned())
    }));
    if is_users {
        widths.push(Constraint::Fill(2));
        titles.push(Cell::from("STATE"));
    }
    let titles = Cells::new(titles).style(styles.heading);
    let height = usize::from(area.height.saturating_sub(1));
    let rows = table.on_screen(height).map(|(row, is_chosen)| {
        let mut cells = vec![Cell::from(plain(&row.name))];
        cells.extend(columns.iter().map(|(column, place)| number(row, *place, column.form)));
        if is_users {
            cells.push(Cell::from(plain(&row.note)));
        }
        Cells::new(cells).style(if is_chosen { styles.chosen } else { Style::new() })
    });
    let grid = Grid::new(rows.collect::<Vec<_>>(), widths).header(titles);
    frame.render_widget(grid, area);
}

/// Returns the width of a column with this title, with room for the mark of the order and numbers.
fn width(title: &str) -> u16 {
    u16::try_from(title.len() + 1).unwrap_or(u16::MAX).max(8)
}

fn number(row: &Row, place: usize, form: Form) -> Cell<'static> {
    let number = row.numbers[place];
    let text = match form {
        Form::Count => grouped(number),
        Form::Ago => ago(number),
    };
    Cell::from(Line::from(text).right_aligned())
}

/// The title of a column, with a mark if the table is sorted by it.
fn mark(table: &Table, column: Option<usize>) -> &'static str {
    match table.sorted() {
        (sorted, _) if sorted != column => "",
        (_, true) => "▼",
        (_, false) => "▲",
    }
}

fn draw_details(frame: &mut Frame<'_>, details: &mut Details, styles: Styles, area: Rect) {
    let title = Line::styled(format!("CHANNEL {}", plain(&details.name)), styles.heading);
    let mut lines = vec![title];
    let shown = details.on_screen(usize::from(area.height.saturating_sub(1)));
    lines.extend(shown.map(|line| match line {
        DetailLine::Heading(text) => Line::styled(text.as_str(), styles.heading),
        DetailLine::Text(text) => Line::raw(text.as_str()),
    }));
    frame.render_widget(ratatui::text::Text::from(lines), area);
}

/// The keys that work now.
fn keys(view: &View, styles: Styles) -> Line<'static> {
    let table = view.table();
    let (shown, all) = table.counts();
    let filter = format!("/{}", plain(table.filter()));
    let found = format!("{} of {}", grouped(shown), grouped(all));
    if view.is_typing {
        let filter = Span::styled(format!("{filter}▏"), styles.heading);
        return Line::from(vec![filter, Span::raw(format!(" {found}{GAP}Enter keep  Esc clear"))]);
    }
    if view.details.is_some() {
        return Line::styled("q end  Esc back  ↑↓ PgUp PgDn scroll", styles.dim);
    }
    let sort: String = table.columns.iter().map(|column| format!(" {}", column.key)).collect();
    let (details, other) = match view.tab {
        Tab::Channels => ("Enter details  ", "Tab users  "),
        Tab::Users => ("", "Tab channels  "),
    };
    let text = if table.filter().is_empty() {
        format!("q end  / filter  {details}{other}sort: n{sort}  r reverse")
    } else {
        format!("q end  {filter} ({found})  Esc clear  {details}sort: n{sort}")
    };
    Line::styled(text, styles.dim)
}

/// Formats a number with a comma between each three digits.
fn grouped(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().unwrap_or(u64::MAX).to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn ago(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn days_and_hours(time: Duration) -> String {
    let seconds = time.as_secs();
    let clock = format!("{}:{:02}:{:02}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    match seconds / 86_400 {
        0 => clock,
        days => format!("{days} d {clock}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::KeyCode;

    use super::super::sample::{Moment, Sample, Totals};
    use super::super::view::News;
    use super::*;

    fn sample(channels: u64) -> Sample {
        let totals = Totals {
            version: "1.2.3".to_owned(),
            uptime: Some(Duration::from_secs(90_061)),
            listeners: Some(1234),
            events: Some(0),
            memory: Some(58 << 20),
            ..Totals::default()
        };
        let moment = Moment { totals, at: Instant::now(), took: Duration::from_millis(34) };
        let channel = |number: u64| Row {
            name: Arc::from(format!("channel-{number:05}")),
            numbers: [number, 2 * number, 10, 60 * number],
            note: String::new(),
        };
        let user =
            Row { name: "ann".into(), numbers: [7, 0, 0, 0], note: "mood=\"\u{1b}\"".into() };
        Sample { moment, channels: (0..channels).map(channel).collect(), users: vec![user] }
    }

    fn view(channels: u64) -> View {
        View::new("http://127.0.0.1:8000".to_owned(), sample(channels))
    }

    /// The lines of a screen of this size.
    fn screen(view: &mut View, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let (styles, now) = (Styles::new(false), Instant::now());
        terminal.draw(|frame| draw(frame, view, styles, now)).unwrap();
        let buffer = terminal.backend().buffer();
        let cells = buffer.content().chunks(usize::from(width).max(1));
        let text = |line: &[ratatui::buffer::Cell]| -> String {
            line.iter().map(ratatui::buffer::Cell::symbol).collect()
        };
        cells.map(|line| text(line).trim_end().to_owned()).collect()
    }

    #[test]
    fn a_small_terminal_shows_it_all() {
        let lines = screen(&mut view(10_000), 80, 24);
        assert_eq!(lines[0], "channelstream 1.2.3   http://127.0.0.1:8000   up 1 d 1:01:01");
        assert_eq!(lines[1], "channels 10,000   users 1   listeners 1,234   memory 58 MiB");
        assert_eq!(lines[2], "events –/s   answers in 34 ms");
        assert_eq!(
            lines[3],
            "CHANNEL                                    ▼USERS  CONNECTIONS  HISTORY   ACTIVE"
        );
        assert!(lines[4].starts_with("channel-09999 ") && lines[4].ends_with(" 6 d"), "{lines:?}");
        assert!(lines[22].starts_with("channel-09981 ") && lines[22].contains(" 19,962 "));
        assert_eq!(
            lines[23],
            "q end  / filter  Enter details  Tab users  sort: n u c h a  r reverse"
        );
    }

    #[test]
    fn a_large_terminal_shows_more_rows() {
        let mut view = view(100);
        let lines = screen(&mut view, 120, 40);
        assert!(lines[38].starts_with("channel-00065 "), "{lines:?}");
        view.press(KeyCode::End.into());
        let lines = screen(&mut view, 120, 40);
        assert!(lines[38].starts_with("channel-00000 "), "{lines:?}");
        for key in ['n', 'n'] {
            view.press(KeyCode::Char(key).into());
        }
        assert!(screen(&mut view, 120, 40)[3].starts_with("CHANNEL▼"));
        view.press(KeyCode::Tab.into());
        let lines = screen(&mut view, 120, 40);
        assert!(lines[3].starts_with("USER ") && lines[3].contains("▼CHANNELS STATE"), "{lines:?}");
        assert!(lines[4].contains("7 mood=\"\\u{1b}\""), "{lines:?}");
    }

    #[test]
    fn tiny_terminals_show_what_fits() {
        let mut view = view(100);
        let lines = screen(&mut view, 20, 5);
        assert_eq!((&*lines[3], &*lines[4]), ("CHANNEL       ▼USERS", "q end  / filter  Ent"));
        for (width, height) in [(20, 5), (1, 1), (0, 0), (200, 2), (3, 50), (13, 6)] {
            screen(&mut view, width, height);
            view.press(KeyCode::Enter.into());
            screen(&mut view, width, height);
            view.press(KeyCode::PageDown.into());
            view.press(KeyCode::Esc.into());
            view.press(KeyCode::PageDown.into());
        }
    }

    #[test]
    fn trouble_is_shown_above_the_last_stats() {
        let mut view = view(3);
        view.take(News::Trouble("cannot reach\nhttp://host".to_owned()));
        let lines = screen(&mut view, 80, 24);
        assert_eq!(lines[2], "stats of 0 s ago: cannot reach\\nhttp://host");
        assert!(lines[4].starts_with("channel-00002"), "{lines:?}");
    }

    #[test]
    fn keys_are_explained_where_they_work() {
        let mut view = view(30);
        for key in ['/', '2', '9'] {
            view.press(KeyCode::Char(key).into());
        }
        let foot = |view: &mut View| screen(view, 80, 24).pop().unwrap();
        assert_eq!(foot(&mut view), "/29▏ 1 of 30   Enter keep  Esc clear");
        view.press(KeyCode::Enter.into());
        assert!(foot(&mut view).starts_with("q end  /29 (1 of 30)  Esc clear  Enter details"));
        view.press(KeyCode::Enter.into());
        assert_eq!(foot(&mut view), "q end  Esc back  ↑↓ PgUp PgDn scroll");
        assert_eq!(screen(&mut view, 80, 24)[3], "CHANNEL channel-00029");
    }

    #[test]
    fn colors_are_left_out_if_they_are_not_wanted() {
        let styles = Styles::new(false);
        for style in [styles.trouble, styles.heading, styles.chosen, styles.dim] {
            assert_eq!((style.fg, style.bg), (None, None));
        }
        assert_eq!(Styles::new(true).trouble.fg, Some(Color::Red));
    }

    #[test]
    fn numbers_are_easy_to_read() {
        for (number, text) in
            [(0_u64, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")]
        {
            assert_eq!(grouped(number), text);
        }
        let texts = [0, 59, 60, 7199, 86_400 * 3].map(ago);
        assert_eq!(texts, ["0 s", "59 s", "1 min", "1 h", "3 d"]);
    }
}
