//! Writes an ini file of all settings with their meanings, which parses back to the same values.

use super::docs::wrap;
use crate::config::channels::{CHANNEL_SETTINGS, ChannelSection};
use crate::config::error::{ConfigErrors, Mistake, Origin};
use crate::config::ini;
use crate::config::read::list;
use crate::config::source::{Effective, SECTION, Sources};
use crate::config::table::{GROUPS, Kind, Setting};

/// The settings as a commented ini file.
///
/// # Errors
///
/// Fails for a value that an ini file cannot represent: blanks at the ends of a line, or a further line
/// that would be a comment.
pub(crate) fn ini_file(sources: &Sources) -> Result<String, ConfigErrors> {
    let effective = sources.effective();
    let find = |key: &str| effective.iter().find(|one| one.setting.key == key);
    let mut file = format!(
        "# Settings of channelstream-server. An empty value selects the default, and a percent sign is\n\
         # written twice. Flags override this file; the environment is ignored beside it.\n\n\
         [{SECTION}]\n"
    );
    for group in GROUPS {
        file.push_str(&format!("\n# {}\n# {}\n", group.title, "-".repeat(group.title.len())));
        for setting in group.settings {
            file.push('\n');
            for line in wrap(setting.doc, 96) {
                file.push_str(&format!("# {line}\n"));
            }
            let text = |key: &str| find(key).and_then(|one| one.text.as_deref().ok()).unwrap_or("");
            if text(&format!("{}_file", setting.key)).is_empty() {
                file.push_str(&entry(setting, text(setting.key)));
            } else {
                file.push_str(&format!("# {} is in the file below\n", setting.key));
            }
        }
    }
    file.push_str(&channels_head());
    for section in &sources.channels {
        file.push_str(&format!("\n[{}]\n", section.name()));
        for one in section_effective(section) {
            file.push_str(&entry(one.setting, one.text.as_deref().unwrap_or_default()));
        }
    }
    check(&file, sources, &effective)?;
    Ok(file)
}

/// Explains the sections for channels, with an example in comments.
fn channels_head() -> String {
    let title = "Channels by name";
    let about = "A section such as the one below sets the settings of new channels whose name matches; \
        * stands for any characters. The first section that matches counts, and channel_configs of a \
        request take precedence. Existing channels are not changed. Flags and the environment cannot \
        set these.";
    let mut head = format!("\n# {title}\n# {}\n\n", "-".repeat(title.len()));
    for line in wrap(about, 96) {
        head.push_str(&format!("# {line}\n"));
    }
    head.push_str("#\n# [channel orders-*]\n");
    for setting in CHANNEL_SETTINGS {
        head.push_str(&format!("# {} = {}\n", setting.key, setting.default));
    }
    head
}

/// Returns the known settings that a section sets.
fn section_effective(section: &ChannelSection) -> impl Iterator<Item = Effective> {
    CHANNEL_SETTINGS
        .iter()
        .map(|setting| Effective::of(&section.values, setting))
        .filter(|one| one.origin != Origin::Default)
}

/// Formats `key = value`, with further lines indented.
fn entry(setting: &Setting, text: &str) -> String {
    let lines: Vec<_> = match setting.kind {
        Kind::Networks | Kind::Texts => {
            list(text).collect::<Vec<_>>().join(", ").lines().map(String::from).collect()
        }
        _ => text.lines().map(String::from).collect(),
    };
    let value = lines.join("\n    ").replace('%', "%%");
    format!("{} = {value}\n", setting.key).replace(" = \n", " =\n")
}

/// Parses the file back and compares the values.
fn check(file: &str, sources: &Sources, effective: &[Effective]) -> Result<(), ConfigErrors> {
    let (ini, _) = ini::parse(file);
    let mut mistakes = Vec::new();
    for section in &sources.channels {
        let name = section.name();
        let same = |one: Effective| match ini.get(&name, one.setting.key) {
            Some(Ok(read)) => one.text.is_ok_and(|text| text.trim() == read),
            _ => false,
        };
        if ini.line(&name) == 0 || !section_effective(section).all(same) {
            let problem = format!("[{}] cannot be written to an ini file", name.escape_debug());
            mistakes.push(Mistake::at(section.origin.clone(), problem));
        }
    }
    for one in effective {
        let text = one.text.as_deref().unwrap_or_default();
        let same = match (ini.get(SECTION, one.setting.key), one.setting.kind) {
            (None, _) => true,
            (Some(Err(_)), _) => false,
            (Some(Ok(read)), Kind::Networks | Kind::Texts) => list(&read).eq(list(text)),
            (Some(Ok(read)), _) => read == text,
        };
        if !same {
            let problem = "cannot be written to an ini file: it has blanks at the ends of a line, or a \
                           further line that would be a comment";
            mistakes.push(Mistake::in_setting(one.setting, Some(text), &one.origin, problem));
        }
    }
    ConfigErrors::from_mistakes(mistakes).map_or(Ok(()), Err)
}

/// Formats the sections for channels for the operator: a line for each section and each of its settings.
pub(crate) fn shown_channels(sources: &Sources) -> Vec<String> {
    let mut lines = Vec::new();
    for section in &sources.channels {
        lines.push(format!("[{}]  ({})", section.name(), section.origin));
        lines.extend(section_effective(section).map(|one| shown(&one)));
    }
    lines
}

/// Formats a setting for the operator: one line, secrets as `***`.
pub(crate) fn shown(effective: &Effective) -> String {
    let Effective { setting, text, origin } = effective;
    let text = match text {
        Ok(text) => text,
        Err(problem) => return format!("{} = ??? ({origin}: {problem})", setting.key),
    };
    let value = match setting.kind {
        _ if text.is_empty() => String::new(),
        kind if kind.is_secret() => "***".into(),
        Kind::Networks | Kind::Texts => list(text).collect::<Vec<_>>().join(", "),
        _ => text.trim().replace('\n', " "),
    };
    let line = match origin {
        Origin::Default => format!("{} = {value}", setting.key),
        origin => format!("{} = {value}  ({origin})", setting.key),
    };
    line.trim_end().replace(" =  (", " = (")
}
