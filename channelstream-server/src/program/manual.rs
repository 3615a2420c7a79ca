//! `completions` and `man`: generated from the definitions of the command line.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;
use clap_mangen::Man;

pub(super) const COMPLETIONS: &str = "completions";
pub(super) const MAN: &str = "man";

const SOURCE: &str = concat!("channelstream ", env!("CARGO_PKG_VERSION"));
/// Programs of the administrator.
const SECTION: &str = "8";

/// What is to be printed.
pub(crate) enum Action {
    Completions(Shell),
    /// The page of the program, or of one command.
    Man(Option<String>),
}

pub(super) fn commands() -> [Command; 2] {
    let shell = Arg::new("shell").value_parser(value_parser!(Shell)).required(true);
    let command = Arg::new("command").value_name("COMMAND").help("Only this command");
    [
        Command::new(COMPLETIONS)
            .about("Print a script that completes commands and flags in a shell")
            .arg(shell.help("The shell")),
        Command::new(MAN)
            .about("Print the manual page of the program or of one command")
            .arg(command),
    ]
}

pub(super) fn completions(matches: &ArgMatches) -> Action {
    Action::Completions(*matches.get_one("shell").expect("clap demands it"))
}

pub(super) fn man(matches: &ArgMatches) -> Action {
    Action::Man(matches.get_one("command").cloned())
}

/// Prints it. `whole` is the command line of the program.
pub(super) fn run(action: &Action, mut whole: Command) -> anyhow::Result<ExitCode> {
    let name = whole.get_name().to_owned();
    let mut text = Vec::new();
    match action {
        Action::Completions(shell) => {
            clap_complete::generate(*shell, &mut whole, name, &mut text);
        }
        Action::Man(command) => {
            whole.build();
            if let Some(wanted) = command {
                let found = whole.find_subcommand(wanted);
                let found = found.with_context(|| format!("there is no command `{wanted}`"))?;
                let title = format!("{name}-{}", found.get_name());
                whole = found.clone().display_name(title);
            }
            Man::new(whole).section(SECTION).source(SOURCE).render(&mut text)?;
        }
    }
    super::print(&String::from_utf8(text).context("what is printed is not UTF-8")?)?;
    Ok(ExitCode::SUCCESS)
}
