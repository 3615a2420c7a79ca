//! The oracle: replays recorded exchanges with the reference against the server that was built.

#![allow(clippy::disallowed_methods, reason = "a test may wait")]

mod compare;
mod http;
mod json;
mod normal;
mod record;
mod run;
mod scenario;
mod server;
mod signature;
mod socket;
mod steps;
mod template;

use std::env;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};

use crate::scenario::Scenario;
use crate::server::{Server, Settings};

/// Scenarios mostly wait, so many go side by side whatever the number of cores.
const SIDE_BY_SIDE: usize = 16;

/// How the servers under test are started, and the one that scenarios share.
struct Bench {
    command: Option<String>,
    /// The server is the reference: its failures are demanded, and only one can run at a time.
    reference: bool,
    shared: Mutex<Option<Server>>,
}

impl Bench {
    fn shared_host(&self) -> Result<String> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = &*shared {
            return Ok(server.host.clone());
        }
        let server = Server::start(self.command.as_deref(), &Settings::default())?;
        Ok(shared.insert(server).host.clone())
    }

    fn stop_shared(&self) {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// How the server's answers differ from the transcript; `None` if they agree.
    fn difference(&self, scenario: &Scenario) -> Result<Option<String>> {
        let wanted = scenario::transcript(&scenario.name)?;
        let seen = match scenario.own_server() {
            None => run::run(scenario, &self.shared_host()?)?,
            Some(settings) => {
                let server = Server::start(self.command.as_deref(), &settings)?;
                run::run(scenario, &server.host)?
            }
        };
        Ok(compare::difference(scenario, &wanted, &seen, self.reference))
    }
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::from_args();
    let bench = Arc::new(Bench {
        command: env::var("CHANNELSTREAM_ORACLE_SERVER").ok(),
        reference: env::var_os("CHANNELSTREAM_ORACLE_REFERENCE").is_some_and(|value| value == "1"),
        shared: Mutex::new(None),
    });
    let scenarios = scenario::load(bench.reference)?;
    let rounds = if bench.reference {
        let (own, shared) =
            scenarios.into_iter().partition(|scenario| scenario.own_server().is_some());
        vec![(shared, SIDE_BY_SIDE), (own, 1)]
    } else {
        vec![(scenarios, SIDE_BY_SIDE)]
    };
    let mut failed = false;
    for (scenarios, threads) in rounds {
        let mut arguments = arguments.clone();
        arguments.test_threads.get_or_insert(threads);
        let trials = scenarios.into_iter().map(|scenario| trial(scenario, &bench)).collect();
        failed |= libtest_mimic::run(&arguments, trials).has_failed();
        bench.stop_shared();
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn trial(scenario: Scenario, bench: &Arc<Bench>) -> Trial {
    let bench = Arc::clone(bench);
    Trial::test(scenario.name.clone(), move || match bench.difference(&scenario) {
        Ok(None) => Ok(()),
        Ok(Some(text)) => Err(Failed::from(text)),
        Err(error) => Err(Failed::from(format!("{error:#}"))),
    })
}
