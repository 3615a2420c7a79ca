//! Normalisation: turns what one run saw into text that is the same for every run.

use std::collections::HashMap;
use std::sync::LazyLock;

use channelstream_signer::unix_now;
use regex_lite::Regex;

use crate::json::{Json, Object};

static UUID: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"));
static STAMP: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"^(\d{4})-(\d\d)-(\d\d)([T ])(\d\d):(\d\d):(\d\d)(?:\.(\d+))?(Z|[+-]\d\d:?\d\d)?$")
});
static UPTIME: LazyLock<Regex> = LazyLock::new(|| pattern(r"^(\d+ days?, )?\d+:\d\d:\d\d$"));

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is fixed")
}

pub(crate) struct Normaliser {
    prefix: String,
    base: String,
    host: String,
    /// What each identifier seen so far is called.
    uuids: HashMap<String, String>,
    /// How many of them have a number for a name.
    numbered: usize,
}

impl Normaliser {
    /// `prefix` is the run's own name prefix, `base` the server's address (`http://host:port`).
    pub(crate) fn new(prefix: &str, base: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            base: base.to_owned(),
            host: base.trim_start_matches("http://").to_owned(),
            uuids: HashMap::new(),
            numbered: 0,
        }
    }

    /// Gives an identifier that the scenario made the name it has there.
    pub(crate) fn known(&mut self, uuid: &str, name: &str) {
        self.uuids.entry(uuid.to_owned()).or_insert_with(|| format!("<uuid:{name}>"));
    }

    pub(crate) fn text(&mut self, text: &str) -> String {
        if let Some(family) = recent_stamp(text) {
            return family;
        }
        let text = text
            .replace(&self.prefix, "ns.")
            .replace(&self.base, "<base>")
            .replace(&self.host, "<host>");
        let mut named = String::new();
        let mut rest = 0;
        for found in UUID.find_iter(&text) {
            named.push_str(&text[rest..found.start()]);
            let numbered = &mut self.numbered;
            named.push_str(self.uuids.entry(found.as_str().to_owned()).or_insert_with(|| {
                *numbered += 1;
                format!("<uuid:{numbered}>")
            }));
            rest = found.end();
        }
        named + &text[rest..]
    }

    pub(crate) fn document(&mut self, value: &Json) -> Json {
        self.value(value, "")
    }

    fn value(&mut self, value: &Json, key: &str) -> Json {
        match value {
            Json::Object(object) => {
                // in a fixed order, so that the numbers do not hang on the order of fields
                let mut fields: Vec<_> = object.iter().collect();
                fields.sort_by_key(|(key, _)| (key.chars().count(), *key));
                let mut normal = Object::new();
                for (key, value) in fields {
                    normal.insert(self.text(key), self.value(value, key));
                }
                normal.into()
            }
            Json::List(list) => {
                let mut list: Vec<_> = list.iter().collect();
                if key == "users" && list.iter().all(|item| item.get("user").is_some()) {
                    list.sort_by_key(|item| item.get("user").map(Json::plain));
                }
                list.into_iter().map(|item| self.value(item, "")).collect::<Vec<_>>().into()
            }
            Json::Text(text) if key.ends_with("uptime") && UPTIME.is_match(text) => {
                "<duration>".into()
            }
            Json::Text(text) => self.text(text).into(),
            other => other.clone(),
        }
    }
}

/// The format family of a time within two days of now; other texts have none.
fn recent_stamp(text: &str) -> Option<String> {
    let parts = STAMP.captures(text)?;
    let number = |at: usize| parts[at].parse::<i64>().ok();
    let (hour, minute, second) = (number(5)?, number(6)?, number(7)?);
    let days = days_from_civil(number(1)?, number(2)?, number(3)?)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let when = ((days * 24 + hour) * 60 + minute) * 60 + second;
    if unix_now().cast_signed().abs_diff(when) > 2 * 86_400 {
        return None;
    }
    let mut family = match parts.get(9).map(|zone| zone.as_str()) {
        None => "naive".to_owned(),
        Some("Z") => "z".to_owned(),
        Some(_) => "offset".to_owned(),
    };
    if &parts[4] != "T" {
        family += "-space";
    }
    // microseconds, or none when they happen to be zero: one family
    let digits = parts.get(8).map_or(6, |fraction| fraction.len());
    if digits != 6 {
        family += &format!("-frac{digits}");
    }
    Some(format!("<timestamp:{family}>"))
}

/// Days since 1970 of a date of the Gregorian calendar, if there is such a date.
fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let month = usize::try_from(month).ok()?.checked_sub(1).filter(|month| *month < 12)?;
    let february = if leap(year) { 29 } else { 28 };
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    if day < 1 || day > lengths[month] {
        return None;
    }
    let years = (1970..year).map(|year| if leap(year) { 366 } else { 365 }).sum::<i64>();
    (year >= 1970).then(|| years + lengths[..month].iter().sum::<i64>() + day - 1)
}

/// The skeleton of a document: keys down to `depth`, then only kinds.
pub(crate) fn shape(value: &Json, depth: usize) -> Json {
    match value {
        Json::Object(_) if depth == 0 => "<object>".into(),
        Json::Object(object) => {
            object.iter().map(|(k, v)| (k.clone(), shape(v, depth - 1))).collect::<Object>().into()
        }
        Json::List(_) => "<list>".into(),
        Json::Text(_) => "<string>".into(),
        Json::Bool(_) => "<boolean>".into(),
        Json::Number(raw) if raw.get().contains(['.', 'e', 'E']) => "<float>".into(),
        Json::Number(_) => "<integer>".into(),
        Json::Null => "<null>".into(),
    }
}

/// Drops channels and users that other scenarios made on the same server.
pub(crate) fn only_prefix(document: Json, prefix: &str) -> Json {
    let Json::Object(mut object) = document else { return document };
    let Some(Json::Object(channels)) = object.get_mut("channels") else { return object.into() };
    channels.retain(|name, _| name.starts_with(prefix));
    if let Some(Json::List(users)) = object.get_mut("users") {
        users.retain(|u| u.get("user").is_some_and(|name| name.plain().starts_with(prefix)));
    }
    object.into()
}
