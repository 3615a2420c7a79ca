//! The limit of open files: raised at the start, with a warning if the settings need more.

use crate::config::Config;

/// Raises the limit of open files as far as this process may. Returns a warning if that is not enough for
/// the settings.
#[cfg(unix)]
pub(crate) fn raise_limit(config: &Config) -> Option<String> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let needed = needed(config);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let is_more = |limit: &Option<u64>| current.is_some_and(|now| limit.is_none_or(|it| it > now));
    // Some systems report a maximum that they do not grant.
    let granted = [maximum, Some(needed)]
        .into_iter()
        .filter(is_more)
        .find(|&limit| setrlimit(Resource::Nofile, Rlimit { current: limit, maximum }).is_ok());
    if let Some(limit) = granted {
        let text = |limit: Option<u64>| limit.map_or("none".to_owned(), |limit| limit.to_string());
        tracing::debug!(from = text(current), to = text(limit), "limit of open files raised");
    }
    let limit = granted.unwrap_or(current)?;
    (limit < needed).then(|| {
        format!(
            "this process may open {limit} files, but max_connections = {} needs {needed}: raise the \
             limit (LimitNOFILE= in systemd, --ulimit nofile= in docker, ulimit -Hn in a shell) or lower \
             max_connections",
            config.max_connections,
        )
    })
}

#[cfg(not(unix))]
pub(crate) fn raise_limit(_: &Config) -> Option<String> {
    None
}

/// Returns the number of files that the settings need: one for each TCP connection, a few for each
/// thread to poll and listen with, and those of the process.
#[cfg(unix)]
fn needed(config: &Config) -> u64 {
    (config.max_connections + 16 * config.threads + 32) as u64
}
