//! Metrics of the process as a whole: memory and processor time (Linux only), dropped log lines.

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
}
