//! What is asked of a Redis before it is used, and what its operator should know.

use channelstream_core::state::stored::UnknownLevel;
use thiserror::Error;

use super::command::field;

/// The oldest version that knows all commands.
const OLDEST: u32 = 7;

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

/// Checks what `INFO` tells. Returns warnings.
pub(super) fn check(
    info: &str,
    saves: Option<&str>,
    replicas: usize,
) -> Result<Vec<String>, Refusal> {
    let version = field(info, "redis_version").unwrap_or_default();
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    // What tells no version is something else that speaks the protocol, and shows what it can.
    if major.is_some_and(|major| major < OLDEST) {
        return Err(Refusal::Version { found: version.to_owned() });
    }
    let policy = field(info, "maxmemory_policy").unwrap_or_default();
    // What has no time to live is kept by the policies that are named after it.
    if policy.starts_with("allkeys") {
        return Err(Refusal::Evicts { found: policy.to_owned() });
    }
    let mut warnings = Vec::new();
    let appends = field(info, "aof_enabled").is_some_and(|enabled| enabled == "1");
    if !appends && saves == Some("") {
        warnings.push(
            "Redis keeps nothing on disk: what it holds is lost when Redis and all servers stop \
             (set appendonly yes)"
                .to_owned(),
        );
    }
    let connected = field(info, "connected_slaves").and_then(|count| count.parse::<usize>().ok());
    if connected.is_some_and(|connected| connected < replicas) {
        warnings.push(format!(
            "Redis has fewer replicas than redis_replicas = {replicas}: requests are answered that they \
             are in doubt"
        ));
    }
    Ok(warnings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(version: &str, policy: &str, appends: bool, replicas: usize) -> String {
        format!(
            "# Server\r\nredis_version:{version}\r\nmaxmemory_policy:{policy}\r\naof_enabled:{}\r\n\
             connected_slaves:{replicas}\r\n",
            u8::from(appends)
        )
    }

    #[test]
    fn what_would_lose_the_journal_is_refused() {
        let check = |version, policy| check(&info(version, policy, true, 0), None, 0);
        assert_eq!(check("7.0.15", "noeviction"), Ok(vec![]));
        assert_eq!(check("8.2", "volatile-lru"), Ok(vec![]));
        assert_eq!(check("", ""), Ok(vec![]));
        assert_eq!(check("6.2.14", "noeviction"), Err(Refusal::Version { found: "6.2.14".into() }));
        assert_eq!(
            check("7.2", "allkeys-lru"),
            Err(Refusal::Evicts { found: "allkeys-lru".into() })
        );
    }

    #[test]
    fn what_could_lose_it_is_warned_of() {
        let count = |appends, saves, replicas, wanted| {
            check(&info("7.2", "noeviction", appends, replicas), saves, wanted).unwrap().len()
        };
        assert_eq!(count(true, Some(""), 0, 0), 0);
        assert_eq!(count(false, Some("3600 1"), 0, 0), 0);
        assert_eq!(count(false, None, 0, 0), 0);
        assert_eq!(count(false, Some(""), 0, 0), 1);
        assert_eq!(count(false, Some(""), 1, 2), 2);
        assert_eq!(count(true, None, 2, 2), 0);
    }
}
