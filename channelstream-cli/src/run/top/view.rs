//! The content of the screen of `top`, and what keys do to it; knows neither terminal nor server.

use std::sync::Arc;

use channelstream_client::ChannelView;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::super::channels::fields;
use super::sample::{Moment, Rates, Sample};
use super::table::{CHANNELS, Table, USERS};
use crate::output::plain;
use unicode_width::UnicodeWidthStr as _;

/// The width of a line with names of members, unless a single name is longer.
const MEMBERS_LINE: usize = 72;

/// The result of a request to the server.
pub(super) enum News {
    Sample(Sample),
    /// The channel of this name, if it exists.
    Channel(Arc<str>, Option<Box<ChannelView>>),
    /// Why the request failed.
    Trouble(String),
}

/// Everything that the screen shows.
pub(super) struct View {
    pub(super) url: String,
    /// The newest stats.
    pub(super) moment: Moment,
    pub(super) rates: Rates,
    pub(super) tab: Tab,
    channels: Table,
    users: Table,
    /// Whether the filter is being edited.
    pub(super) is_typing: bool,
    pub(super) details: Option<Details>,
    /// Why there are no newer stats.
    pub(super) trouble: Option<String>,
}

/// Which table is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tab {
    Channels,
    Users,
}

/// The details of one channel.
pub(super) struct Details {
    pub(super) name: Arc<str>,
    /// Its lines, once the server has answered.
    lines: Vec<DetailLine>,
    first: usize,
    height: usize,
}

/// A line of the details.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DetailLine {
    Heading(String),
    Text(String),
}

/// What to do after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    GoOn,
    End,
}

impl View {
    pub(super) fn new(url: String, first: Sample) -> Self {
        let mut view = Self {
            url,
            moment: first.moment.clone(),
            rates: Rates::default(),
            tab: Tab::Channels,
            channels: Table::new(CHANNELS),
            users: Table::new(USERS),
            is_typing: false,
            details: None,
            trouble: None,
        };
        view.take(News::Sample(first));
        view
    }

    /// Shows an answer of the server.
    pub(super) fn take(&mut self, news: News) {
        match news {
            News::Sample(sample) => {
                self.rates = Rates::between(&self.moment, &sample.moment);
                self.moment = sample.moment;
                self.channels.fill(sample.channels);
                self.users.fill(sample.users);
                self.trouble = None;
            }
            News::Channel(name, channel) => {
                if let Some(details) = self.details.as_mut().filter(|shown| shown.name == name) {
                    details.fill(channel.as_deref());
                }
            }
            News::Trouble(text) => {
                self.rates = Rates::default();
                self.trouble = Some(text);
            }
        }
    }

    pub(super) fn table(&self) -> &Table {
        match self.tab {
            Tab::Channels => &self.channels,
            Tab::Users => &self.users,
        }
    }

    pub(super) fn table_mut(&mut self) -> &mut Table {
        match self.tab {
            Tab::Channels => &mut self.channels,
            Tab::Users => &mut self.users,
        }
    }

    /// Returns the number of channels and of users.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.channels.counts().1, self.users.counts().1)
    }

    /// Handles a key.
    pub(super) fn press(&mut self, key: KeyEvent) -> After {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if key.code == KeyCode::Char('c') { After::End } else { After::GoOn };
        }
        if self.is_typing {
            self.type_filter(key.code);
        } else if let Some(details) = &mut self.details {
            match key.code {
                KeyCode::Char('q') => return After::End,
                KeyCode::Esc | KeyCode::Backspace | KeyCode::Left => self.details = None,
                code => details.scroll(code),
            }
        } else {
            return self.press_in_table(key.code);
        }
        After::GoOn
    }

    fn press_in_table(&mut self, code: KeyCode) -> After {
        let tab = self.tab;
        let table = self.table_mut();
        match code {
            KeyCode::Char('q') => return After::End,
            KeyCode::Char('/') => self.is_typing = true,
            KeyCode::Esc => table.set_filter(String::new()),
            KeyCode::Char('r') => table.reverse(),
            KeyCode::Char('j') | KeyCode::Down => table.step(1),
            KeyCode::Char('k') | KeyCode::Up => table.step(-1),
            KeyCode::PageDown => table.page(1),
            KeyCode::PageUp => table.page(-1),
            KeyCode::Home => table.choose(0),
            KeyCode::End => table.choose(usize::MAX),
            KeyCode::Char(key) => {
                table.sort(key);
            }
            KeyCode::Tab | KeyCode::BackTab => {
                self.tab = if tab == Tab::Channels { Tab::Users } else { Tab::Channels };
            }
            KeyCode::Enter if tab == Tab::Channels => {
                self.details = table.chosen().map(Details::new);
            }
            _ => {}
        }
        After::GoOn
    }

    fn type_filter(&mut self, code: KeyCode) {
        let table = self.table_mut();
        let mut filter = table.filter().to_owned();
        match code {
            KeyCode::Char(character) => filter.push(character),
            KeyCode::Backspace if filter.pop().is_some() => {}
            KeyCode::Esc | KeyCode::Backspace => {
                filter.clear();
                self.is_typing = false;
            }
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Up => table.step(-1),
            KeyCode::Down => table.step(1),
            _ => return,
        }
        if filter != self.table().filter() {
            self.table_mut().set_filter(filter);
        }
    }
}

impl Details {
    fn new(name: Arc<str>) -> Self {
        let lines = vec![DetailLine::Text("asking the server…".to_owned())];
        Self { name, lines, first: 0, height: 1 }
    }

    fn fill(&mut self, channel: Option<&ChannelView>) {
        self.lines = match channel {
            Some(channel) => detail_lines(channel),
            None => vec![DetailLine::Text("The server has no such channel any more.".to_owned())],
        };
    }

    fn scroll(&mut self, code: KeyCode) {
        self.first = match code {
            KeyCode::Char('j') | KeyCode::Down => self.first.saturating_add(1),
            KeyCode::Char('k') | KeyCode::Up => self.first.saturating_sub(1),
            KeyCode::PageDown => self.first.saturating_add(self.height),
            KeyCode::PageUp => self.first.saturating_sub(self.height),
            KeyCode::Home => 0,
            KeyCode::End => usize::MAX,
            _ => return,
        };
        self.first = self.first.min(self.lines.len().saturating_sub(self.height));
    }

    /// Returns the lines that fit a screen of this height.
    pub(super) fn on_screen(&mut self, height: usize) -> impl Iterator<Item = &DetailLine> {
        self.height = height;
        self.first = self.first.min(self.lines.len().saturating_sub(height));
        self.lines.iter().skip(self.first).take(height)
    }
}

/// Lists settings, history with the newest first, and members.
fn detail_lines(channel: &ChannelView) -> Vec<DetailLine> {
    let text = |text: String| DetailLine::Text(plain(&text));
    let heading = |text: String| [DetailLine::Text(String::new()), DetailLine::Heading(text)];
    let mut lines = vec![
        text(format!("last active  {}", channel.last_active.in_utc())),
        text(format!("connections  {}", channel.total_connections)),
    ];
    lines.extend(heading("SETTINGS".to_owned()));
    let settings = fields(channel.settings).unwrap_or_default();
    lines.extend(settings.iter().map(|(key, value)| text(format!("{key:<34}  {value}"))));
    lines.extend(heading(format!("HISTORY ({})", channel.history.len())));
    lines.extend(channel.history.iter().rev().map(|message| {
        let said = message.payload.as_deref().map_or("", |raw| raw.get());
        text(format!("{} {}: {said}", message.timestamp.in_utc(), message.user))
    }));
    lines.extend(heading(format!("MEMBERS ({})", channel.users.len())));
    let mut line = String::new();
    for (place, name) in channel.users.iter().enumerate() {
        let name = plain(name);
        if !line.is_empty() && line.width() + name.width() > MEMBERS_LINE {
            lines.push(text(std::mem::take(&mut line)));
        }
        line.push_str(&name);
        if place + 1 < channel.users.len() {
            line.push_str(", ");
        }
    }
    lines.push(text(line));
    lines
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use channelstream_client::json;

    use super::super::sample::{Row, Totals};
    use super::*;

    fn row(name: &str) -> Row {
        Row { name: name.into(), numbers: [1, 2, 3, 4], note: String::new() }
    }

    fn view(channels: &[&str]) -> View {
        let moment = Moment { totals: Totals::default(), at: Instant::now(), took: Duration::ZERO };
        let rows = |names: &[&str]| names.iter().map(|name| row(name)).collect();
        let sample = Sample { moment, channels: rows(channels), users: rows(&["ann"]) };
        View::new("http://host".to_owned(), sample)
    }

    fn press(view: &mut View, keys: &[KeyCode]) -> After {
        keys.iter().map(|key| view.press((*key).into())).last().unwrap()
    }

    fn typed(text: &str) -> Vec<KeyCode> {
        text.chars().map(KeyCode::Char).collect()
    }

    fn channel(users: usize) -> ChannelView {
        let users: Vec<_> = (0..users).map(|number| format!("user-{number}")).collect();
        serde_json::from_value(json!({
            "uuid": channelstream_client::Uuid::nil(), "name": "news", "long_name": null,
            "settings": fields(channelstream_client::ChannelSettings::default()).unwrap(),
            "history": [], "last_active": "2024-05-06T07:08:09", "total_connections": users.len(),
            "total_users": users.len(), "users": users,
        }))
        .unwrap()
    }

    #[test]
    fn a_filter_is_typed_kept_and_cleared() {
        let mut view = view(&["news", "queue", "chat"]);
        // In the filter, q is a letter and does not quit.
        assert_eq!(press(&mut view, &typed("/q")), After::GoOn);
        assert_eq!(view.table().counts(), (1, 3));
        press(&mut view, &[KeyCode::Enter]);
        assert!(!view.is_typing && view.table().filter() == "q");
        press(&mut view, &typed("/ux"));
        assert_eq!(view.table().counts(), (0, 3));
        press(&mut view, &[KeyCode::Enter, KeyCode::Enter]);
        assert!(view.details.is_none(), "nothing is chosen");
        press(&mut view, &[KeyCode::Esc]);
        assert_eq!(view.table().counts(), (3, 3));
        press(&mut view, &typed("/x"));
        press(&mut view, &[KeyCode::Backspace, KeyCode::Backspace]);
        assert!(!view.is_typing, "a backspace too many leaves the filter");
    }

    #[test]
    fn details_are_of_the_chosen_channel_until_one_goes_back() {
        let mut view = view(&["chat", "news"]);
        press(&mut view, &[KeyCode::Down, KeyCode::Enter]);
        assert_eq!(&*view.details.as_ref().unwrap().name, "news");
        view.take(News::Channel("chat".into(), None));
        view.take(News::Channel("news".into(), Some(Box::new(channel(1000)))));
        let details = view.details.as_mut().unwrap();
        let first: Vec<_> = details.on_screen(4).collect();
        assert_eq!(first[1], &DetailLine::Text("connections  1000".to_owned()));
        press(&mut view, &[KeyCode::End]);
        let details = view.details.as_mut().unwrap();
        let Some(DetailLine::Text(last)) = details.on_screen(4).last() else { panic!("no text") };
        assert!(last.ends_with("user-999"), "{last}");
        view.take(News::Channel("news".into(), None));
        let details = view.details.as_mut().unwrap();
        assert_eq!(details.on_screen(4).count(), 1, "it has gone");
        press(&mut view, &[KeyCode::Esc]);
        assert!(view.details.is_none());
        assert_eq!(press(&mut view, &typed("q")), After::End);
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        press(&mut view, &typed("/"));
        assert_eq!(view.press(control_c), After::End, "also while a filter is typed");
    }

    #[test]
    fn times_are_shown_in_utc() {
        let mut channel = serde_json::to_value(channel(0)).unwrap();
        channel["history"] = json!([{
            "uuid": channelstream_client::Uuid::nil(), "user": "ann", "no_history": false,
            "message": {}, "timestamp": "2024-05-06T07:08:00+02:00", "edited": null,
        }]);
        let lines = detail_lines(&serde_json::from_value(channel).unwrap());
        assert_eq!(lines[0], DetailLine::Text("last active  2024-05-06T07:08:09Z".to_owned()));
        assert!(lines.contains(&DetailLine::Text("2024-05-06T05:08:00Z ann: {}".to_owned())));
    }

    #[test]
    fn stats_stay_while_there_is_trouble() {
        let mut view = view(&["news"]);
        view.take(News::Trouble("gone".to_owned()));
        assert_eq!((view.counts(), view.trouble.as_deref()), ((1, 1), Some("gone")));
        let moment = view.moment.clone();
        view.take(News::Sample(Sample { moment, channels: Vec::new(), users: Vec::new() }));
        assert_eq!((view.counts(), view.trouble), ((0, 0), None));
    }

    #[test]
    fn users_have_a_table_of_their_own() {
        let mut view = view(&["news"]);
        press(&mut view, &[KeyCode::Tab]);
        assert_eq!(view.table().chosen().as_deref(), Some("ann"));
        press(&mut view, &[KeyCode::Enter]);
        assert!(view.details.is_none());
        press(&mut view, &[KeyCode::Tab]);
        assert_eq!(view.table().chosen().as_deref(), Some("news"));
    }
}
