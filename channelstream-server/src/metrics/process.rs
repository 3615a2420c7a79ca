//! Metrics of the process as a whole: memory, processor time and open files (Linux only), dropped log
//! lines.

use std::time::Duration;

use super::Counter;

/// Log lines that were dropped. The log belongs to the process, not to one server in it.
pub(crate) static LOG_LINES_DROPPED: Counter = Counter::new();

/// Returns the resident memory in bytes.
pub(crate) fn memory() -> Option<u64> {
    resident(&proc_file("status")?)
}

/// Returns the processor time of all threads since the start.
pub(crate) fn cpu_time() -> Option<Duration> {
    time_in(&proc_file("stat")?)
}

/// Counts the open file descriptors. This takes some ten milliseconds if there are very many, so it is for
/// a thread that serves nobody.
#[expect(clippy::disallowed_methods, reason = "the caller has a thread for it")]
pub(crate) fn open_files() -> Option<u64> {
    let files = std::fs::read_dir("/proc/self/fd").ok()?;
    // One of them is that of the directory.
    Some((files.count() as u64).saturating_sub(1))
}

/// Returns how many file descriptors the process may have, if there is a limit.
#[cfg(unix)]
pub(crate) fn max_files() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

#[cfg(not(unix))]
pub(crate) fn max_files() -> Option<u64> {
    None
}

/// Reads a file of `/proc/self`. The kernel generates it on the fly, so that no disk is involved.
#[expect(clippy::disallowed_methods, reason = "it does not block")]
fn proc_file(file: &str) -> Option<String> {
    std::fs::read_to_string(format!("/proc/self/{file}")).ok()
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// User and system time follow the program's name, which may contain any character. They are in
/// hundredths of a second on every machine.
fn time_in(stat: &str) -> Option<Duration> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(Duration::from_millis((next()? + next()?) * 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_linux_reports() {
        assert_eq!(resident("VmPeak:\t 9 kB\nVmRSS:\t    1234 kB\n"), Some(1_263_616));
        assert_eq!(resident("Threads: 1\n"), None);
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 250 150 0 0 20 0 1 0 5 6 7\n";
        assert_eq!(time_in(stat), Some(Duration::from_secs(4)));
        assert_eq!(time_in("7 (a) S 1"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_has_files_open_and_a_limit_of_them() {
        let open = open_files().unwrap();
        assert!(open > 0 && max_files().is_none_or(|most| open <= most), "{open}");
    }
}
