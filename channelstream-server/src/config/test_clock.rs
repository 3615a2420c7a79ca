//! The test clock: where a server may have one.

use super::table::DEFAULT_SECRET;
use super::{Config, Journal, is_loopback, read};
use crate::socket::LocalAddr;

impl Config {
    /// Checks that a server with these settings may have a test clock, if it has one.
    pub(super) fn check_test_clock(&self, read: &mut read::Reader<'_>) {
        if !self.test_clock {
            return;
        }
        let found = read.find("test_clock");
        let others = if is_loopback(&self.host) { None } else { Some(self.host.clone()) };
        match self.against_test_clock(others) {
            Some(why) => read.refuse(&found, why),
            None => read.warnings.push(format!(
                "{}: test_clock is true: whoever reaches this server can let time pass",
                found.origin
            )),
        }
    }

    /// Checks the same for a server that listens on these addresses.
    ///
    /// # Errors
    /// Explains why it must not have a test clock.
    pub(crate) fn allows_test_clock(&self, local: &[LocalAddr]) -> Result<(), String> {
        let reached = local.iter().find(|local| !local.is_of_this_machine());
        match self.against_test_clock(reached.map(LocalAddr::to_string)).filter(|_| self.test_clock)
        {
            Some(why) => Err(format!("test_clock: {why}")),
            None => Ok(()),
        }
    }

    /// Returns what speaks against a test clock. `others` is an address that other machines can reach.
    fn against_test_clock(&self, others: Option<String>) -> Option<String> {
        let mut against = Vec::new();
        if let Some(address) = others {
            against.push(format!("other machines can reach {address}"));
        }
        // Who has set a secret has something to keep: this is no server of tests.
        if !matches!(&*self.secrets, [only] if only.matches(DEFAULT_SECRET)) {
            against.push("secret is not the well-known default".to_owned());
        }
        if !matches!(self.journal, Journal::Memory) {
            against.push("journal is not memory".to_owned());
        }
        let because = against.join(", and ");
        (!against.is_empty()).then(|| format!("it is for tests alone, but {because}"))
    }
}
