//! What a Redis tells of itself, and whether a journal can be kept in it. The driver asks before it uses
//! one, and `doctor` asks for more.

use channelstream_core::state::stored::UnknownLevel;
use indexmap::IndexMap;
use thiserror::Error;

use super::super::finding::{Finding, Status};
use super::answer::field;

/// The oldest version that knows all commands.
const OLDEST: u32 = 7;

/// The least memory for the journal: the changes since a snapshot of a small state, and again as many.
const LEAST_MEMORY: u64 = 256 << 20;

/// The settings that are asked for.
pub(super) const SETTINGS: [&str; 4] =
    ["save", "appendfsync", "min-replicas-to-write", "maxmemory"];

/// What Redis tells.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The answer to `INFO`.
    pub(super) info: String,
    /// The settings; empty if Redis does not tell them.
    pub(super) settings: IndexMap<String, String>,
}

/// Why a Redis cannot hold the journal.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum Refusal {
    #[error("Redis {found} is too old: 7.0 or newer is needed, or Valkey 7.2 or newer")]
    Version { found: String },
    #[error(
        "Redis would throw the journal away when its memory is full: set maxmemory-policy to \
         noeviction, not {found}"
    )]
    Evicts { found: String },
    #[error("the journal in Redis has {0}")]
    Level(#[from] UnknownLevel),
}

impl Refusal {
    pub(super) fn finding(&self) -> Finding {
        let (name, text) = match self {
            Self::Version { .. } => ("version", self.to_string()),
            Self::Evicts { .. } => ("eviction", self.to_string()),
            Self::Level(_) => ("journal", self.to_string()),
        };
        let (detail, advice) = text.split_once(": ").unwrap_or((&text, ""));
        Finding::fault(name, detail, advice)
    }
}

impl Told {
    fn field(&self, name: &str) -> Option<&str> {
        field(&self.info, name)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.field(name)?.parse().ok()
    }

    fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }

    /// Checks that it knows all commands.
    pub(super) fn version(&self) -> Result<Finding, Refusal> {
        let version = self.field("redis_version").unwrap_or_default();
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        // What tells no version is something else that speaks the protocol, and shows what it can.
        match (major, self.field("valkey_version")) {
            (Some(major), _) if major < OLDEST => {
                Err(Refusal::Version { found: version.to_owned() })
            }
            (_, Some(valkey)) => Ok(Finding::good("version", format!("Valkey {valkey}"))),
            (Some(_), None) => Ok(Finding::good("version", format!("Redis {version}"))),
            (None, None) => {
                Ok(Finding::skipped("version", "it tells no version that is one of Redis"))
            }
        }
    }

    /// Checks that it throws nothing away.
    pub(super) fn eviction(&self) -> Result<Finding, Refusal> {
        let policy = self.field("maxmemory_policy").unwrap_or_default();
        // What has no time to live is kept by the policies that are named after it.
        match policy {
            "" => Ok(Finding::skipped("eviction", "it tells no maxmemory-policy")),
            policy if policy.starts_with("allkeys") => {
                Err(Refusal::Evicts { found: policy.to_owned() })
            }
            "noeviction" => Ok(Finding::good("eviction", "noeviction")),
            policy => Ok(Finding::good(
                "eviction",
                format!("{policy}: what has no time to live is kept, and so is the journal"),
            )),
        }
    }

    /// Checks that there is memory for the journal.
    pub(super) fn memory(&self) -> Finding {
        const NAME: &str = "memory";
        let used = self.number("used_memory").unwrap_or(0);
        match self.number("maxmemory") {
            None => Finding::skipped(NAME, "it tells no maxmemory"),
            Some(0) => Finding::good(NAME, format!("{} used, no maxmemory", megabytes(used))),
            Some(most) => {
                let detail = format!("{} used, maxmemory is {}", megabytes(used), megabytes(most));
                if used >= most / 10 * 9 {
                    let advice = "raise maxmemory: when it is reached, nothing is accepted";
                    Finding::fault(NAME, detail, advice)
                } else if most < LEAST_MEMORY {
                    let advice = format!(
                        "raise maxmemory to {} at least: the changes since a snapshot alone take \
                         64 MB and more",
                        megabytes(LEAST_MEMORY)
                    );
                    Finding::note(NAME, detail, advice)
                } else {
                    Finding::good(NAME, detail)
                }
            }
        }
    }

    /// Checks what is left of the journal when Redis starts anew.
    pub(super) fn persistence(&self) -> Finding {
        const NAME: &str = "persistence";
        if self.field("aof_enabled").is_some_and(|enabled| enabled == "1") {
            let failed = self.field("aof_last_write_status").is_some_and(|status| status == "err");
            if failed {
                let detail = "Redis could not write its appendonly file";
                return Finding::fault(NAME, detail, "make room on its disk, and see its log");
            }
            return match self.setting("appendfsync") {
                Some("no") => Finding::note(
                    NAME,
                    "appendonly yes, appendfsync no: a power cut of Redis and all servers loses what \
                     the system had not written",
                    "set appendfsync everysec, or always",
                ),
                Some("always") => Finding::good(NAME, "appendonly yes, appendfsync always"),
                Some(other) => Finding::good(
                    NAME,
                    format!(
                        "appendonly yes, appendfsync {other}: a power cut of Redis and all servers \
                         loses about a second"
                    ),
                ),
                None => Finding::good(NAME, "appendonly yes"),
            };
        }
        match self.setting("save") {
            Some("") => Finding::fault(
                NAME,
                "Redis keeps nothing on disk: what it holds is lost when Redis and all servers stop",
                "set appendonly yes",
            ),
            Some(saves) => Finding::note(
                NAME,
                format!(
                    "Redis keeps snapshots of its own alone (save {saves}): what came since the last \
                     is lost when Redis and all servers stop"
                ),
                "set appendonly yes",
            ),
            None => Finding::note(
                NAME,
                "appendonly no, and Redis does not tell whether it saves snapshots",
                "set appendonly yes, or what your provider calls persistence",
            ),
        }
    }

    /// Checks that there are as many replicas as have to confirm a request.
    pub(super) fn replicas(&self, wanted: usize) -> Finding {
        const NAME: &str = "replicas";
        let connected = self.number("connected_slaves");
        let needed = self.setting("min-replicas-to-write").and_then(|it| it.parse::<u64>().ok());
        let Some(connected) = connected else {
            return Finding::skipped(NAME, "it tells no number of replicas");
        };
        if connected < wanted as u64 {
            return Finding::fault(
                NAME,
                format!(
                    "Redis has fewer replicas ({connected}) than redis_replicas = {wanted}, so that \
                     requests are answered that they are in doubt"
                ),
                "add replicas, or lower redis_replicas",
            );
        }
        match needed {
            Some(needed) if connected < needed => Finding::fault(
                NAME,
                format!(
                    "Redis has fewer replicas ({connected}) than min-replicas-to-write = {needed}, so \
                     that it refuses all writes"
                ),
                "add replicas, or lower min-replicas-to-write",
            ),
            Some(0) if wanted > 0 => Finding::note(
                NAME,
                format!(
                    "{connected} connected, redis_replicas = {wanted}, min-replicas-to-write = 0: a \
                     master that is cut off from its replicas goes on to accept what they never get"
                ),
                "set min-replicas-to-write 1 and min-replicas-max-lag 10 in Redis",
            ),
            _ => Finding::good(NAME, format!("{connected} connected, redis_replicas = {wanted}")),
        }
    }

    /// Checks what decides whether the journal can be here. Returns what its operator should know.
    pub(super) fn check(&self, replicas: usize) -> Result<Vec<String>, Refusal> {
        self.version()?;
        self.eviction()?;
        let findings = [self.persistence(), self.replicas(replicas)];
        let faults = findings.iter().filter(|finding| finding.status == Status::Fault);
        Ok(faults.map(Finding::line).collect())
    }
}

/// Returns a size for people.
pub(crate) fn megabytes(bytes: u64) -> String {
    match bytes {
        0..10_000_000 => format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(version: &str, policy: &str, appends: bool, replicas: usize) -> Told {
        let info = format!(
            "# Server\r\nredis_version:{version}\r\nmaxmemory_policy:{policy}\r\naof_enabled:{}\r\n\
             connected_slaves:{replicas}\r\n",
            u8::from(appends)
        );
        Told { info, settings: IndexMap::new() }
    }

    fn with(mut told: Told, settings: &[(&str, &str)]) -> Told {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        told.settings = settings.iter().map(own).collect();
        told
    }

    #[test]
    fn what_would_lose_the_journal_is_refused() {
        let check = |version, policy| told(version, policy, true, 0).check(0);
        assert_eq!(check("7.0.15", "noeviction"), Ok(vec![]));
        assert_eq!(check("8.2", "volatile-lru"), Ok(vec![]));
        assert_eq!(check("", ""), Ok(vec![]));
        assert_eq!(check("6.2.14", "noeviction"), Err(Refusal::Version { found: "6.2.14".into() }));
        let refusal = Refusal::Evicts { found: "allkeys-lru".into() };
        assert_eq!(check("7.2", "allkeys-lru"), Err(refusal.clone()));
        let finding = refusal.finding();
        assert_eq!((finding.name, finding.status), ("eviction", Status::Fault));
        assert_eq!(finding.line(), refusal.to_string());
    }

    #[test]
    fn what_could_lose_it_is_warned_of() {
        let count = |appends, saves: Option<&str>, replicas, wanted| {
            let settings: Vec<_> = saves.map(|saves| ("save", saves)).into_iter().collect();
            let told = with(told("7.2", "noeviction", appends, replicas), &settings);
            told.check(wanted).unwrap().len()
        };
        assert_eq!(count(true, Some(""), 0, 0), 0);
        assert_eq!(count(false, Some("3600 1"), 0, 0), 0);
        assert_eq!(count(false, None, 0, 0), 0);
        assert_eq!(count(false, Some(""), 0, 0), 1);
        assert_eq!(count(false, Some(""), 1, 2), 2);
        assert_eq!(count(true, None, 2, 2), 0);
    }

    #[test]
    fn replicas_that_have_to_be_there_are_counted_against_those_that_are() {
        let status = |connected, least, wanted| {
            let told = told("7.2", "noeviction", true, connected);
            with(told, &[("min-replicas-to-write", least)]).replicas(wanted).status
        };
        assert_eq!(status(0, "0", 0), Status::Good);
        assert_eq!(status(1, "1", 1), Status::Good);
        assert_eq!(status(1, "0", 1), Status::Note);
        assert_eq!(status(1, "2", 0), Status::Fault, "Redis refuses all writes");
        assert_eq!(status(0, "0", 1), Status::Fault, "all is in doubt");
    }

    #[test]
    fn memory_that_runs_out_is_a_fault_before_it_has() {
        let status = |used: u64, most: u64| {
            let info = format!("used_memory:{used}\r\nmaxmemory:{most}\r\n");
            Told { info, settings: IndexMap::new() }.memory().status
        };
        assert_eq!(status(1 << 30, 0), Status::Good);
        assert_eq!(status(1 << 30, 4 << 30), Status::Good);
        assert_eq!(status(1 << 20, 64 << 20), Status::Note);
        assert_eq!(status(95 << 20, 100 << 20), Status::Fault);
        assert_eq!(Told::default().memory().status, Status::Skipped);
    }
}
