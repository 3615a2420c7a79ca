//! The oracle: replays recorded exchanges with the reference against the server that was built.

#![allow(clippy::disallowed_methods, reason = "a test may wait")]

mod compare;
mod http;
mod json;
#[path = "../it/nginx.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "shared with tests that need more of it")]
mod nginx;
mod normal;
#[path = "../cluster/proxy.rs"]
#[allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]
mod proxy;
mod record;
#[path = "../cluster/redis.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "shared with tests that need more of it")]
mod redis;
mod run;
mod scenario;
mod server;
mod signature;
mod site;
mod socket;
mod steps;
mod template;

use std::env;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use libtest_mimic::{Arguments, Failed, Trial};

use crate::scenario::Scenario;
use crate::server::Settings;
use crate::site::Site;

/// Scenarios mostly wait, so many go side by side whatever the number of cores.
const SIDE_BY_SIDE: usize = 16;

/// How sites under test are started, and the one that scenarios share.
struct Bench {
    command: Option<String>,
    /// The server is the reference: its failures are demanded, and only one can run at a time.
    reference: bool,
    /// How many servers a site has.
    nodes: usize,
    shared: Mutex<Option<Site>>,
}

impl Bench {
    fn shared_host(&self) -> Result<String> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(site) = &*shared {
            return Ok(site.host.clone());
        }
        Ok(shared.insert(self.start(&Settings::default())?).host.clone())
    }

    fn stop_shared(&self) {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn start(&self, settings: &Settings) -> Result<Site> {
        Site::start(self.command.as_deref(), self.nodes, settings)
    }

    /// How the server's answers differ from the transcript; `None` if they agree.
    fn difference(&self, scenario: &Scenario) -> Result<Option<String>> {
        let wanted = scenario::transcript(&scenario.name)?;
        let seen = match scenario.own_server() {
            None => run::run(scenario, &self.shared_host()?)?,
            Some(settings) => {
                let site = self.start(&settings)?;
                run::run(scenario, &site.host)?
            }
        };
        Ok(compare::difference(scenario, &wanted, &seen, self.reference))
    }
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::from_args();
    let command = env::var("CHANNELSTREAM_ORACLE_SERVER").ok();
    let reference = env::var_os("CHANNELSTREAM_ORACLE_REFERENCE").is_some_and(|value| value == "1");
    let sites = match env::var("CHANNELSTREAM_ORACLE_NODES") {
        Ok(nodes) => vec![nodes.parse().context("CHANNELSTREAM_ORACLE_NODES is no number")?],
        Err(_) if reference => vec![1],
        Err(_) => vec![1, 3],
    };
    let mut failed = false;
    for nodes in sites {
        let (command, shared) = (command.clone(), Mutex::new(None));
        let bench = Arc::new(Bench { command, reference, nodes, shared });
        let scenarios = scenario::load(reference)?;
        let rounds = if reference {
            let (own, shared) =
                scenarios.into_iter().partition(|scenario| scenario.own_server().is_some());
            vec![(shared, SIDE_BY_SIDE), (own, 1)]
        } else {
            vec![(scenarios, SIDE_BY_SIDE)]
        };
        for (scenarios, threads) in rounds {
            let mut arguments = arguments.clone();
            arguments.test_threads.get_or_insert(threads);
            let trials = scenarios.into_iter().map(|scenario| trial(scenario, &bench)).collect();
            failed |= libtest_mimic::run(&arguments, trials).has_failed();
            bench.stop_shared();
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn trial(scenario: Scenario, bench: &Arc<Bench>) -> Trial {
    let bench = Arc::clone(bench);
    let kind = if bench.nodes == 1 { String::new() } else { format!("{} servers", bench.nodes) };
    let name = scenario.name.clone();
    let trial = Trial::test(name, move || match bench.difference(&scenario) {
        Ok(None) => Ok(()),
        Ok(Some(text)) => Err(Failed::from(text)),
        Err(error) => Err(Failed::from(format!("{error:#}"))),
    });
    trial.with_kind(kind)
}
