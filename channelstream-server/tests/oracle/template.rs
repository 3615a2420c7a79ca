//! Placeholders in scenario texts (`{name}`, `{name|filter}`) and the two generators of lists and long texts.

use std::collections::HashMap;
use std::sync::LazyLock;

use anyhow::{Context, Result, bail};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use regex_lite::Regex;

use crate::json::{Json, Object};

pub(crate) type Names = HashMap<String, String>;

static PLACEHOLDER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\{([a-z_][a-z0-9_]*)(?:\|([a-z]+))?\}").expect("the pattern is fixed")
});

const QUOTED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b'~');

/// `text` with its placeholders filled; unknown names stay as they are.
pub(crate) fn fill_text(text: &str, names: &Names) -> Result<String> {
    let mut filled = String::new();
    let mut rest = 0;
    for found in PLACEHOLDER.captures_iter(text) {
        let whole = found.get(0).context("a match has a range")?;
        let Some(value) = names.get(&found[1]) else { continue };
        filled.push_str(&text[rest..whole.start()]);
        filled.push_str(&match found.get(2).map(|filter| filter.as_str()) {
            None => value.clone(),
            Some("upper") => value.to_uppercase(),
            Some("nohyphen") => value.replace('-', ""),
            Some("braces") => format!("{{{value}}}"),
            Some("urn") => format!("urn:uuid:{value}"),
            Some(other) => bail!("unknown filter {other} in {text}"),
        });
        rest = whole.end();
    }
    filled.push_str(&text[rest..]);
    Ok(filled)
}

/// `value` with the placeholders of all its texts and keys filled and its generators run.
///
/// `{"$repeat": 12, "item": …}` in a list becomes twelve items with `{i}` counting from `001`;
/// `{"$pad": text, "to": 513, "with": "x"}` becomes a text of that many characters.
pub(crate) fn fill(value: &Json, names: &Names) -> Result<Json> {
    Ok(match value {
        Json::Text(text) => fill_text(text, names)?.into(),
        Json::List(list) => {
            let mut items = Vec::new();
            for item in list {
                let Some(times) = item.get("$repeat") else {
                    items.push(fill(item, names)?);
                    continue;
                };
                let pattern = item.get("item").context("$repeat without an item")?;
                for i in 1..=number(times)? {
                    let mut names = names.clone();
                    names.insert("i".into(), format!("{i:03}"));
                    items.push(fill(pattern, &names)?);
                }
            }
            items.into()
        }
        Json::Object(object) => {
            if let Some(start) = object.get("$pad") {
                let start = fill_text(&start.plain(), names)?;
                let length = number(object.get("to").context("$pad without a length")?)?;
                let with = object.get("with").map_or_else(|| "x".into(), Json::plain);
                let missing = length.saturating_sub(start.chars().count());
                return Ok((start + &with.repeat(missing)).into());
            }
            let mut filled = Object::new();
            for (key, value) in object {
                filled.insert(fill_text(key, names)?, fill(value, names)?);
            }
            filled.into()
        }
        other => other.clone(),
    })
}

fn number(value: &Json) -> Result<usize> {
    value.to_string().parse().with_context(|| format!("not a count: {value}"))
}

/// The fields of an object as a form or query text, as browsers write it.
pub(crate) fn urlencode(fields: &Json) -> Result<String> {
    let Json::Object(fields) = fields else { bail!("not a set of fields: {fields}") };
    let encoded = |text: &str| utf8_percent_encode(text, QUOTED).to_string().replace("%20", "+");
    let pairs = fields.iter().map(|(k, v)| format!("{}={}", encoded(k), encoded(&v.plain())));
    Ok(pairs.collect::<Vec<_>>().join("&"))
}
