//! What the program says about itself elsewhere: the documentation's tables of settings and metrics.

use crate::config::reload::needs_restart;
use crate::config::table::GROUPS;
use crate::metrics::METRICS;

/// All settings as a Markdown table.
#[must_use]
pub fn settings_table() -> String {
    let mut table = String::from("| setting | default | meaning |\n| --- | --- | --- |\n");
    for group in GROUPS {
        table.push_str(&format!("| **{}** | | |\n", group.title));
        for setting in group.settings {
            let default = match setting.default {
                "" => String::from("empty"),
                text => format!("`{text}`"),
            };
            let doc = setting.doc.replace('|', "\\|");
            let restart = if needs_restart(setting.key) { " Needs a restart." } else { "" };
            table.push_str(&format!("| `{}` | {default} | {doc}{restart} |\n", setting.key));
        }
    }
    table
}

/// All metrics as a Markdown table.
#[must_use]
pub fn metrics_table() -> String {
    let mut table = String::from("| name | kind | unit | meaning |\n| --- | --- | --- | --- |\n");
    for metric in METRICS {
        let value = metric.label_value.map_or("…".to_owned(), |value| format!("\"{value}\""));
        let labels: Vec<_> = metric.labels.iter().map(|key| format!("{key}={value}")).collect();
        let label = match labels.is_empty() {
            true => String::new(),
            false => format!("{{{}}}", labels.join(",")),
        };
        let (name, kind, unit) = (metric.name, metric.kind.as_str(), metric.unit);
        table.push_str(&format!("| `{name}{label}` | {kind} | {unit} | {} |\n", metric.meaning));
    }
    table
}

/// Breaks a text between words into lines of at most `width` characters. A longer word gets a line of
/// its own.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.into()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::table::settings;

    #[test]
    fn the_table_of_settings_has_a_line_for_each_setting() {
        let table = settings_table();
        assert_eq!(table.lines().count(), 2 + GROUPS.len() + settings().count());
        assert!(table.contains("| `port` | `8000` | TCP port"));
        assert!(table.lines().all(|line| line.starts_with('|') && line.ends_with('|')));
    }

    #[test]
    fn the_table_of_metrics_has_a_line_for_each_metric() {
        let table = metrics_table();
        assert_eq!(table.lines().count(), 2 + METRICS.len());
        assert!(table.contains("| `listeners_ended_total{reason=\"slow\"}` | counter |"));
    }

    #[test]
    fn wrapping_keeps_every_word_within_the_width() {
        let text = settings().map(|setting| setting.doc).collect::<Vec<_>>().join(" ");
        let lines = wrap(&text, 40);
        assert!(lines.iter().all(|line| line.chars().count() <= 40));
        assert_eq!(lines.join(" "), text.split_whitespace().collect::<Vec<_>>().join(" "));
        assert_eq!(wrap("", 40), Vec::<String>::new());
    }
}
