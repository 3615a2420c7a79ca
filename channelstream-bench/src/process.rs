//! `Process`: a server as a child process on a free port, with its CPU time and memory.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

/// The text before the scheme and the address in a server's first log line. A semicolon ends the address.
pub(crate) const START: &str = "listening on ";

/// A running server or yardstick, which is ended when dropped.
pub(crate) struct Process {
    child: Child,
    /// The address on which the process listens.
    pub(crate) address: SocketAddr,
}

impl Process {
    /// Starts the process and waits for the log line with its address. Later output is forwarded to
    /// standard error.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("starting {command:?}"))?;
        let stderr = child.stderr.take().context("the child has no standard error")?;
        let mut process = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let mut lines = BufReader::new(stderr).lines();
        let mut output = String::new();
        process.address = loop {
            let Some(line) = lines.next() else { bail!("{command:?} did not start:\n{output}") };
            let line = line?;
            if let Some((_, rest)) = line.split_once(START) {
                let text = rest.split(';').next().unwrap_or(rest);
                let text = text.split_once("://").map_or(text, |(_, address)| address);
                break text.parse().with_context(|| format!("{text:?} is not an address"))?;
            }
            output += &line;
            output.push('\n');
        };
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                eprintln!("{line}");
            }
        });
        Ok(process)
    }

    /// Ends the process by the signal of an operator, and waits until it is gone.
    pub(crate) fn stop(&mut self) -> Result<()> {
        self.terminate()?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the process ended with {status}");
        Ok(())
    }

    fn terminate(&self) -> Result<()> {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-TERM", &id]).status().context("running kill")?;
        ensure!(status.success(), "kill did not reach process {id}");
        Ok(())
    }

    /// Returns the CPU time of all threads so far, in user space and in the kernel.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let mut nanoseconds = 0;
        for task in fs::read_dir(self.file("task")).context("the process has ended")? {
            // A thread may end after the listing.
            let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
            let first = text.split(' ').next().and_then(|number| number.parse::<u64>().ok());
            nanoseconds += first.with_context(|| format!("unexpected schedstat: {text:?}"))?;
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// Returns the memory in bytes, with a proportional part of shared pages (PSS) and without buffers
    /// in the kernel.
    pub(crate) fn memory(&self) -> Result<u64> {
        let text =
            fs::read_to_string(self.file("smaps_rollup")).context("the process has ended")?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        let number = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        Ok(1024 * number.with_context(|| format!("no Pss in smaps_rollup: {text:?}"))?)
    }

    fn file(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.child.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        /// The time to end in order, as a program has to that writes what it counted.
        const END: Duration = Duration::from_secs(10);
        let begun = Instant::now();
        let mut runs = self.terminate().is_ok();
        while runs && begun.elapsed() < END {
            thread::sleep(Duration::from_millis(10));
            runs = matches!(self.child.try_wait(), Ok(None));
        }
        // An error means that the process has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
