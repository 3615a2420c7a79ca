//! The command line: what can be typed, nothing of what it does.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

const NOTES: &str = "\
The server itself is another program: channelstream-server.

Where the server is and the secret it was given come from the flags, else from the environment:
  CHANNELSTREAM_URL          as --url
  CHANNELSTREAM_SECRET       the secret itself
  CHANNELSTREAM_SECRET_FILE  as --secret-file
Without any, the server is http://127.0.0.1:8000 and its secret `secret`, as the server's default.

Exit status: 0 done, 1 refused or failed, 2 wrong usage.";

const SIGN_NOTES: &str = "\
It is good for every endpoint, and for 60 seconds:

  curl -H \"x-channelstream-secret: $(channelstream sign)\" http://127.0.0.1:8000/info";

/// Publish to a channelstream server, look into it, and sign requests for it
#[derive(Debug, Parser)]
#[command(
    name = "channelstream",
    version,
    arg_required_else_help = true,
    subcommand_required = true,
    after_help = NOTES
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which server, and how it knows that we may.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct AccessArgs {
    /// Where the server is, with its path prefix if it has one
    #[arg(long, value_name = "URL", global = true)]
    pub(crate) url: Option<String>,
    /// A file with the secret in it
    #[arg(long, value_name = "FILE", global = true, conflicts_with = "secret")]
    pub(crate) secret_file: Option<PathBuf>,
    /// The secret; others on this machine can see it here, so better use a file
    #[arg(long, value_name = "SECRET", global = true)]
    pub(crate) secret: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show channels with their users and connections
    Info(InfoArgs),
    /// Send a message and print its id
    Publish(PublishArgs),
    /// Print a signature for the header x-channelstream-secret
    #[command(after_help = SIGN_NOTES)]
    Sign(SignArgs),
    /// Check a signature, and show what was signed and when
    Unsign(UnsignArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct InfoArgs {
    /// The channels; all if none is named
    #[arg(value_name = "CHANNEL")]
    pub(crate) channels: Vec<String>,
    /// Print the server's whole answer, with settings, histories and the state of users, as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
#[command(allow_missing_positional = true)]
pub(crate) struct PublishArgs {
    /// To everybody in this channel
    #[arg(value_name = "CHANNEL", required_unless_present = "to_user")]
    pub(crate) channel: Option<String>,
    /// A JSON object, or a text that is sent as {"text": "..."}
    pub(crate) message: String,
    /// To this user only, wherever they are or in the channel; can be repeated
    #[arg(long, value_name = "USER")]
    pub(crate) to_user: Vec<String>,
    /// Who says it
    #[arg(long, value_name = "USER", default_value = "system")]
    pub(crate) user: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SignArgs {
    /// What to sign; the server doesn't mind what it is
    #[arg(default_value = "/")]
    pub(crate) value: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct UnsignArgs {
    /// The signed text
    pub(crate) text: String,
    /// Refuse it if it was signed longer ago
    #[arg(long, value_name = "SECONDS")]
    pub(crate) max_age: Option<u64>,
}

/// Whether the program is called as the one program of Channelstream 0.7.1, which was the server:
/// with `-i` or `--ini` before anything else. Gives the file, if one follows.
pub(crate) fn meant_for_server(arguments: &[String]) -> Option<Option<&str>> {
    let first = arguments.first()?;
    if first == "--ini" || first == "-i" {
        return Some(arguments.get(1).map(String::as_str));
    }
    first.strip_prefix("--ini=").or_else(|| first.strip_prefix("-i")).map(Some)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definitions_agree_with_each_other() {
        Args::command().debug_assert();
    }
}
