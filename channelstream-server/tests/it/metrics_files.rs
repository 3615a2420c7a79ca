//! The dashboard and the alerts in `deploy/`, and the runbook: they name what a server really tells.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use channelstream_server::Config;
use channelstream_server::config::{Journal, JournalSync};
use regex_lite::Regex;
use serde_json::{Value, json};
use tempfile::{NamedTempFile, TempDir};

use crate::app::{App, Site, eventually};
use crate::process::Process;
use crate::redis::{Disk, Redis};
use crate::scrape::Scrape;
use crate::tls::identity;

const ALERTS: &str = include_str!("../../../deploy/alerts.yaml");
const DASHBOARD: &str = include_str!("../../../deploy/grafana.json");
const OPERATIONS: &str = include_str!("../../../docs/operations.md");
const RUNBOOK: &str =
    "https://github.com/channelstream/channelstream/blob/main/docs/operations.md#";

/// Labels that Prometheus adds.
const OF_PROMETHEUS: [&str; 2] = ["instance", "job"];

/// What servers tell: each name with its labels, and each label with its values.
type Told = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// What servers with each kind of journal tell.
fn told() -> Told {
    let folder = TempDir::new().unwrap();
    let directory = folder.path().join("journal");
    let journal = Journal::File { directory, sync: JournalSync::Never };
    let files = App::start(Config { journal, ..Config::default() });
    files.publish("room", 1);
    let redis = Redis::start(Disk::None, &[]);
    let url = format!("redis://127.0.0.1:{}", redis.port);
    let shared = Process::start(&["--journal", "redis", "--redis-url", &url]);
    let shared = shared_when_ready(&shared);
    let metrics_addr = Some("127.0.0.1:0".parse().unwrap());
    let secure = Config { tls: Some(identity()), metrics_addr, ..Config::default() };
    let secure = App::start(secure);
    let mut told = Told::new();
    let sites = [files.site, Site(shared), secure.metrics.unwrap()];
    for scrape in sites.map(Scrape::of) {
        for (name, labels, _) in scrape.all() {
            let its = told.entry(name.to_owned()).or_default();
            for (key, value) in labels {
                its.entry(key).or_default().insert(value);
            }
        }
    }
    told
}

fn shared_when_ready(process: &Process) -> std::net::SocketAddr {
    let site = Site(process.address);
    eventually("it follows Redis", || site.get("/readyz").status == 200);
    process.address
}

/// The labels of all metrics that an expression names, once everything in it is one that is told.
fn check(expression: &str, told: &Told) -> BTreeSet<String> {
    let mut labels: BTreeSet<String> = OF_PROMETHEUS.map(str::to_owned).into();
    let selector = Regex::new(r"(channelstream_[a-z_]+|\bup\b)(?:\{([^}]*)\})?").unwrap();
    let matcher = Regex::new(r#"([a-z_]+)(=~|!~|!=|=)"([^"]*)""#).unwrap();
    let mut count = 0;
    for found in selector.captures_iter(expression) {
        count += 1;
        let name = &found[1];
        let none = BTreeMap::new();
        let its = match name {
            "up" => &none,
            name => told.get(name).unwrap_or_else(|| panic!("{name} is not told: {expression}")),
        };
        labels.extend(its.keys().cloned());
        for found in matcher.captures_iter(found.get(2).map_or("", |labels| labels.as_str())) {
            let (key, values) = (&found[1], &found[3]);
            if OF_PROMETHEUS.contains(&key) {
                continue;
            }
            let known = its.get(key).unwrap_or_else(|| panic!("{name} has no {key}: {expression}"));
            // Statuses are told once they were answered.
            let values = values.split('|').filter(|_| key != "status");
            for value in values {
                assert!(known.contains(value), "{name} has no {key} {value}: {expression}");
            }
        }
    }
    assert!(count > 0, "{expression} names nothing");
    let grouping = Regex::new(r"\bby \(([^)]*)\)").unwrap();
    for found in grouping.captures_iter(expression) {
        for label in found[1].split(", ") {
            assert!(labels.contains(label), "nothing has {label}: {expression}");
        }
    }
    labels
}

/// The labels that a text for people names.
fn named(text: &str) -> Vec<String> {
    let label = Regex::new(r"\{\{ ?(?:\$labels\.)?([a-z_]+) ?\}\}").unwrap();
    label.captures_iter(text).map(|found| found[1].to_owned()).collect()
}

/// The lines of the alerts with a key, without it.
fn lines(key: &str) -> Vec<&'static str> {
    ALERTS.lines().filter_map(|line| line.trim().strip_prefix(key)).collect()
}

/// All values under a key, wherever it is.
fn under<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get(key).map(|_| value));
            map.values().for_each(|value| under(value, key, found));
        }
        Value::Array(list) => list.iter().for_each(|value| under(value, key, found)),
        _ => {}
    }
}

#[test]
fn dashboard_and_alerts_name_what_servers_tell() {
    let told = told();
    let (expressions, summaries) = (lines("expr: "), lines("summary: "));
    assert!(expressions.len() > 15 && expressions.len() == summaries.len());
    for (expression, summary) in expressions.into_iter().zip(summaries) {
        let labels = check(expression, &told);
        for label in named(summary) {
            assert!(labels.contains(&label), "no {label} for {summary}: {expression}");
        }
    }
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut targets = Vec::new();
    under(&dashboard, "expr", &mut targets);
    assert!(targets.len() > 40, "{}", targets.len());
    for target in targets {
        let expression = target["expr"].as_str().unwrap();
        let labels = check(expression, &told);
        for label in named(target["legendFormat"].as_str().unwrap_or_default()) {
            assert!(labels.contains(&label), "no {label} for the legend of {expression}");
        }
    }
    let mut ids: Vec<_> =
        dashboard["panels"].as_array().unwrap().iter().map(|p| &p["id"]).collect();
    ids.dedup();
    assert_eq!(ids.len(), dashboard["panels"].as_array().unwrap().len());
}

#[test]
fn each_alert_has_a_chapter_in_the_runbook_and_none_is_left_over() {
    let chapters: BTreeSet<_> = OPERATIONS
        .lines()
        .filter_map(|line| line.strip_prefix("### Channelstream"))
        .map(|name| format!("Channelstream{name}"))
        .collect();
    let alerts: BTreeSet<_> = lines("- alert: ").into_iter().map(str::to_owned).collect();
    assert_eq!(alerts, chapters);
    let runbooks = lines("runbook: ");
    let expected = lines("- alert: ").into_iter().map(|name| name.to_lowercase());
    let expected: Vec<_> = expected.map(|anchor| format!("{RUNBOOK}{anchor}")).collect();
    assert_eq!(runbooks, expected);
}

/// The expressions of the dashboard, with numbers in the place of Grafana's variables.
fn shown() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut targets = Vec::new();
    under(&dashboard, "expr", &mut targets);
    let expressions = targets.iter().map(|target| target["expr"].as_str().unwrap());
    expressions.map(|one| one.replace("$__rate_interval", "1m").replace("$__range", "1h")).collect()
}

#[test]
fn promtool_takes_the_alerts_and_the_expressions_of_the_dashboard() {
    let alerts = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/alerts.yaml");
    let rules: Vec<_> = shown()
        .iter()
        .enumerate()
        .map(|(number, shown)| json!({"record": format!("panel:{number}"), "expr": shown}))
        .collect();
    // JSON is YAML.
    let groups = json!({"groups": [{"name": "dashboard", "rules": rules}]});
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), groups.to_string()).unwrap();
    for file in [Path::new(alerts), file.path()] {
        let output = Command::new("promtool").args(["check", "rules"]).arg(file).output();
        let output = output.expect("the Debian package `prometheus` has promtool");
        assert!(output.status.success(), "{output:?}");
    }
}
