//! Security advisories against the dependencies, checked by `cargo deny`.
//!
//! Without `cargo deny` or a network, the task reports on one line that nothing was checked, and
//! passes: a machine without a network can run everything else.

use anyhow::{Result, ensure};
use xshell::{Shell, cmd};

pub(crate) fn run(shell: &Shell) -> Result<()> {
    if cmd!(shell, "cargo deny --version").quiet().ignore_stdout().ignore_stderr().run().is_err() {
        not_checked("cargo-deny isn't installed (`cargo install --locked cargo-deny`)");
        return Ok(());
    }
    // The checks without a database come first, so that a mistake in deny.toml is not mistaken for
    // a missing network.
    cmd!(shell, "cargo deny check licenses sources").run()?;
    let fetch = cmd!(shell, "cargo deny fetch db").quiet().ignore_status().output()?;
    if !fetch.status.success() {
        let errors = String::from_utf8_lossy(&fetch.stderr);
        not_checked(&format!("the advisory database can't be fetched: {}", reason(&errors)));
        return Ok(());
    }
    let check = cmd!(shell, "cargo deny check advisories").ignore_status();
    let found = check.output()?;
    ensure!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr).trim_end());
    eprintln!("no advisory concerns a dependency");
    Ok(())
}

fn not_checked(why: &str) {
    eprintln!("advisories NOT CHECKED: {why}");
}

/// Returns the innermost cause of a failed fetch: its last line with words.
fn reason(errors: &str) -> &str {
    errors.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no reason given")
}

#[cfg(test)]
mod tests {
    use super::reason;

    #[test]
    fn the_reason_is_the_last_line_with_words() {
        assert_eq!(
            reason("error: failed to fetch\n\nCaused by:\n   no route to host\n\n"),
            "no route to host"
        );
        assert_eq!(reason("\n"), "no reason given");
    }
}
