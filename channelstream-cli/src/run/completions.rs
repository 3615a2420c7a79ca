//! `completions` and `man`: generated from the definitions of the command line.

use std::io::{Write as _, stdout};

use clap::CommandFactory as _;
use clap_mangen::Man;

use crate::args::{Args, CompletionsArgs, ManArgs};
use crate::failure::Failure;

const NAME: &str = "channelstream";
const SOURCE: &str = concat!("channelstream ", env!("CARGO_PKG_VERSION"));

pub(super) fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), NAME, &mut script);
    Ok(stdout().write_all(&script)?)
}

pub(super) fn man(args: &ManArgs) -> Result<(), Failure> {
    let mut whole = Args::command();
    whole.build();
    let command = match args.command.as_deref() {
        None => whole,
        Some(name) => {
            let unknown = || Failure::usage(format!("there is no command `{name}`"));
            let found = whole.find_subcommand(name).ok_or_else(unknown)?.clone();
            let title = format!("{NAME}-{}", found.get_name());
            found.display_name(title)
        }
    };
    let mut page = Vec::new();
    Man::new(command).source(SOURCE).render(&mut page)?;
    Ok(stdout().write_all(&page)?)
}
