//! The files of the oracle: scenarios, transcripts, deviations.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::compare::{self, Rule};
use crate::json::Object;
use crate::server::Settings;

/// What to do, and with what kind of server.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    #[expect(dead_code, reason = "each scenario must say what it is about; it is for readers")]
    about: String,
    /// What each step means is read when it is carried out.
    pub(crate) steps: Vec<Object>,
    server: Option<Kind>,
    env: Option<BTreeMap<String, String>>,
    ini: Option<String>,
    /// It sends what a proxy sends.
    #[serde(default)]
    plays_proxy: bool,
    #[serde(default = "default_secret")]
    pub(crate) secret: String,
    /// Roughly how long it takes.
    #[serde(default)]
    pub(crate) seconds: u32,
    /// The differences that are accepted, by the scenario itself or as deviations.
    #[serde(default, rename = "allow")]
    pub(crate) rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Fresh,
}

impl Scenario {
    /// The settings of the server that it needs for itself; `None` if it can share one.
    pub(crate) fn own_server(&self) -> Option<Settings> {
        let alone = matches!(self.server, Some(Kind::Fresh));
        let plays_proxy = self.plays_proxy;
        (alone || plays_proxy || self.env.is_some() || self.ini.is_some()).then(|| Settings {
            env: self.env.clone().unwrap_or_default(),
            ini: self.ini.clone(),
            plays_proxy,
        })
    }

    /// The step that a recorded one belongs to.
    pub(crate) fn step(&self, recorded: &Object) -> Option<&Object> {
        let number = recorded.get("step")?.plain().parse::<usize>().ok()?;
        self.steps.get(number.checked_sub(1)?)
    }
}

/// All scenarios, the slowest first; deviations are left out of account with `reference` set.
pub(crate) fn load(reference: bool) -> Result<Vec<Scenario>> {
    let mut scenarios = Vec::new();
    for entry in fs::read_dir(folder().join("scenarios")).context("no scenarios")? {
        scenarios.push(read::<Scenario>(&entry?.path())?);
    }
    if !reference {
        for rule in read::<Vec<Rule>>(&folder().join("deviations.json"))? {
            let pattern = rule.scenario.clone().context("a deviation names its scenarios")?;
            let concerned = |scenario: &Scenario| compare::matches(&pattern, &scenario.name);
            if rule.replaced {
                scenarios.retain(|scenario| !concerned(scenario));
                continue;
            }
            for scenario in scenarios.iter_mut().filter(|scenario| concerned(scenario)) {
                scenario.rules.push(rule.clone());
            }
        }
    }
    scenarios.sort_by(|a, b| b.seconds.cmp(&a.seconds).then_with(|| a.name.cmp(&b.name)));
    Ok(scenarios)
}

/// The recorded steps of a scenario.
pub(crate) fn transcript(name: &str) -> Result<Vec<Object>> {
    #[derive(Deserialize)]
    struct Transcript {
        steps: Vec<Object>,
    }
    Ok(read::<Transcript>(&folder().join(format!("transcripts/{name}.json")))?.steps)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle")
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("cannot take {}", path.display()))
}

fn default_secret() -> String {
    "secret".into()
}
