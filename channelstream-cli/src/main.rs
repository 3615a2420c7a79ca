//! The command `channelstream`: parses its arguments, runs, and sets the exit code.

mod access;
mod address;
mod args;
mod environment;
mod failure;
mod interrupt;
mod mistyped;
mod output;
mod printer;
mod profile;
mod reader;
mod run;

use std::env;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;

use crate::args::Args;
use crate::failure::Failure;

fn main() -> ExitCode {
    let arguments: Vec<String> =
        env::args_os().skip(1).map(|text| text.to_string_lossy().into_owned()).collect();
    if let Some(file) = mistyped::meant_for_server(&arguments) {
        let file = file.unwrap_or("FILE");
        return end(&Failure::usage("this command is a client and has no --ini")
            .with_hint(format!("to start the server: channelstream-server --ini {file}")));
    }
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // A failure means that nobody reads the output.
            let _ = error.print();
            if let Some(hint) = mistyped::hint(&error, &arguments) {
                output::say(&format!("hint: {hint}"));
            }
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    if args.access.secret.is_some() {
        output::say(
            "warning: a secret on the command line is visible to other users of this machine",
        );
    }
    match run(&args) {
        Err(failure) if !failure.is_closed_output() => end(&failure),
        _ => ExitCode::SUCCESS,
    }
}

fn run(args: &Args) -> Result<(), Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(run::run(args))
}

fn end(failure: &Failure) -> ExitCode {
    for line in failure.lines() {
        output::say(&line);
    }
    ExitCode::from(failure.exit_code())
}
