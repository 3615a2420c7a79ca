//! The command line: arguments and help, without any behavior.

mod conformance;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use channelstream_client::{Cursor, Uuid, parse_duration};
use clap::{Arg, ArgAction, Parser, Subcommand};
use clap_complete::Shell;

pub(crate) use conformance::{ConformanceArgs, ListenTransport};
use values::{append_timeout, assignment, interval};

/// Publish to a channelstream server, inspect it, and sign requests for it
#[derive(Debug, Parser)]
#[command(
    name = "channelstream",
    version,
    disable_version_flag = true,
    arg = version_flag(),
    arg_required_else_help = true,
    subcommand_required = true,
    after_help = include_str!("../help/channelstream.txt").trim_ascii_end()
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The server and the credentials for it.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct AccessArgs {
    /// The server's address, with its path prefix if it has one
    #[arg(long, value_name = "URL", global = true)]
    pub(crate) url: Option<String>,
    /// A file that contains the secret
    #[arg(long, value_name = "FILE", global = true, conflicts_with = "secret")]
    pub(crate) secret_file: Option<PathBuf>,
    /// The secret; visible to other users of this machine, so prefer a file
    #[arg(long, value_name = "SECRET", global = true)]
    pub(crate) secret: Option<String>,
    /// Trust only the certificates in this PEM file, not those of the system
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) ca_file: Option<PathBuf>,
    /// Sign whole requests, so that no signature counts for another one, or twice
    #[arg(long, global = true)]
    pub(crate) sign_bodies: bool,
    /// Take all of the above from this profile of the configuration file
    #[arg(long, value_name = "NAME", global = true)]
    pub(crate) profile: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a connection for a user, who can then listen with its id
    #[command(after_help = include_str!("../help/state.txt").trim_ascii_end())]
    Connect(ConnectArgs),
    /// Add a connection to channels
    Subscribe(MembershipArgs),
    /// Remove a connection from channels
    Unsubscribe(MembershipArgs),
    /// Send a message and print its id, or send many from a file
    #[command(after_help = include_str!("../help/publish.txt").trim_ascii_end())]
    Publish(PublishArgs),
    /// Send a message that grows by what arrives on standard input
    #[command(after_help = include_str!("../help/stream.txt").trim_ascii_end())]
    Stream(StreamArgs),
    /// Cancel a message that grows, as a user who may
    Cancel(CancelArgs),
    /// Edit a message that was sent before
    Edit(EditArgs),
    /// Delete a message that was sent before
    Delete(DeleteArgs),
    /// Set keys of a user's state, and which of them are public
    #[command(after_help = include_str!("../help/state.txt").trim_ascii_end())]
    UserState(UserStateArgs),
    /// Show a channel, or change its settings
    #[command(after_help = include_str!("../help/channel.txt").trim_ascii_end())]
    Channel(ChannelArgs),
    /// Delete channels with their history and stored events; all members leave
    DeleteChannel(DeleteChannelArgs),
    /// Show a user: state, channels and connections
    User(UserArgs),
    /// End a connection
    Disconnect(DisconnectArgs),
    /// End all connections of a user, and refuse new ones for a while
    DisconnectUser(DisconnectUserArgs),
    /// Let the server read its settings again
    Reload(ReloadArgs),
    /// Show channels with their users and connections
    Info(InfoArgs),
    /// Print the messages of a channel's history, oldest first, a page at a time
    History(HistoryArgs),
    /// List channels, or users, by name, a page at a time
    List(ListArgs),
    /// Print the events of a connection as they arrive
    #[command(after_help = include_str!("../help/listen.txt").trim_ascii_end())]
    Listen(ListenArgs),
    /// Watch channels, users and rates live on the terminal
    #[command(after_help = include_str!("../help/top.txt").trim_ascii_end())]
    Top(TopArgs),
    /// Send messages to test listeners, and measure delivery and latency
    #[command(after_help = include_str!("../help/bench.txt").trim_ascii_end())]
    Bench(BenchArgs),
    /// Print a signature for the header x-channelstream-secret
    #[command(after_help = include_str!("../help/sign.txt").trim_ascii_end())]
    Sign(SignArgs),
    /// Verify a signature, and show what was signed and when
    Unsign(UnsignArgs),
    /// Test the receiver of webhooks
    #[command(after_help = include_str!("../help/webhooks.txt").trim_ascii_end())]
    Webhooks {
        #[command(subcommand)]
        command: WebhooksCommand,
    },
    /// Diagnose the server and everything between here and it
    #[command(after_help = include_str!("../help/doctor.txt").trim_ascii_end())]
    Doctor(DoctorArgs),
    /// Test a client of this server in any language: its adapter is driven through faults of a server
    #[command(after_help = include_str!("../help/conformance.txt").trim_ascii_end())]
    Conformance(ConformanceArgs),
    /// Print a shell completion script
    Completions(CompletionsArgs),
    /// Print the manual page of the program or of one command
    Man(ManArgs),
}

/// The output format.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct OutputArgs {
    /// Print one JSON document
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) json: bool,
    /// Print nothing; the exit status is the result
    #[arg(long)]
    pub(crate) quiet: bool,
}

/// The recipients of a message.
#[derive(Debug, clap::Args)]
pub(crate) struct AddressArgs {
    /// Send to this user only, in the channel or, without one, anywhere; repeatable
    #[arg(long, value_name = "USER")]
    pub(crate) to_user: Vec<String>,
    /// Send to everybody in the channel except this user; repeatable
    #[arg(long, value_name = "USER")]
    pub(crate) except_user: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ConnectArgs {
    /// The user of the connection
    pub(crate) user: String,
    /// The channels to join
    #[arg(value_name = "CHANNEL")]
    pub(crate) channels: Vec<String>,
    /// The connection's id; random by default
    #[arg(long, value_name = "UUID")]
    pub(crate) conn_id: Option<Uuid>,
    /// Set a key of the user's state; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment)]
    pub(crate) state: Vec<(String, String)>,
    /// Set a key of the user's state if the user is new; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment)]
    pub(crate) fresh_state: Vec<(String, String)>,
    /// A public key of the state; replaces the previous ones; repeatable
    #[arg(long, value_name = "KEY")]
    pub(crate) public: Vec<String>,
    /// Print one JSON document
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) json: bool,
    /// Print only the connection's id
    #[arg(long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct MembershipArgs {
    /// The connection's id
    pub(crate) conn_id: Uuid,
    /// The channels
    #[arg(value_name = "CHANNEL", required = true)]
    pub(crate) channels: Vec<String>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PublishArgs {
    /// The channel (not needed with --to-user), and the message (not with --file): a JSON object,
    /// or a text that is sent as {"text": "..."}
    #[arg(value_names = ["CHANNEL", "MESSAGE"], num_args = 0..=2, required_unless_present = "file")]
    pub(crate) what: Vec<String>,
    #[command(flatten)]
    pub(crate) address: AddressArgs,
    /// The sender
    #[arg(long, value_name = "USER", default_value = "system")]
    pub(crate) user: String,
    /// Send the message as a text, even if it looks like JSON
    #[arg(long, conflicts_with = "file")]
    pub(crate) text: bool,
    /// Leave it out of the channel's history
    #[arg(long)]
    pub(crate) no_history: bool,
    /// Store it for this time only, such as 10m or 2h; 1s to ten years
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) expires: Option<Duration>,
    /// Send messages from this file, one per line; - is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Skip the first lines of the file
    #[arg(long, value_name = "LINES", default_value_t = 0, requires = "file")]
    pub(crate) skip: u64,
    /// Send at most this many messages of the file per second
    #[arg(long, value_name = "N", requires = "file", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct StreamArgs {
    /// The channel (not needed with --to-user)
    #[arg(required_unless_present = "to_user")]
    pub(crate) channel: Option<String>,
    #[command(flatten)]
    pub(crate) address: AddressArgs,
    /// The sender
    #[arg(long, value_name = "USER", default_value = "system")]
    pub(crate) user: String,
    /// The message's id; if the message is there already, go on with it
    #[arg(long, value_name = "UUID")]
    pub(crate) uuid: Option<Uuid>,
    /// A user who may cancel it; repeatable
    #[arg(long, value_name = "USER")]
    pub(crate) cancel_by: Vec<String>,
    /// The key of the message that grows
    #[arg(long, value_name = "KEY", default_value = "text")]
    pub(crate) key: String,
    /// The message to begin with, a JSON object
    #[arg(long, value_name = "JSON")]
    pub(crate) message: Option<String>,
    /// The silence after which it is shown as stalled, 1s to 1h; the server's setting by default
    #[arg(long, value_name = "TIME", value_parser = append_timeout)]
    pub(crate) append_timeout: Option<Duration>,
    /// Leave it out of the channel's history
    #[arg(long)]
    pub(crate) no_history: bool,
    /// Print what happens as JSON, one object per line
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) json: bool,
    /// Print nothing; the exit status is the result
    #[arg(long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CancelArgs {
    /// The id of a connection of the user
    pub(crate) conn_id: Uuid,
    /// The message's id
    pub(crate) id: Uuid,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct EditArgs {
    /// The message's id
    pub(crate) id: Uuid,
    /// The channel it was sent to (not needed with --to-user), and the new message: a JSON object,
    /// or a text that is sent as {"text": "..."}
    #[arg(value_names = ["CHANNEL", "MESSAGE"], num_args = 0..=2)]
    pub(crate) what: Vec<String>,
    /// Send the message as a text, even if it looks like JSON
    #[arg(long)]
    pub(crate) text: bool,
    #[command(flatten)]
    pub(crate) address: AddressArgs,
    /// The new sender
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DeleteArgs {
    /// The message's id
    pub(crate) id: Uuid,
    /// The channel it was sent to
    #[arg(value_name = "CHANNEL", required_unless_present = "to_user")]
    pub(crate) channel: Option<String>,
    #[command(flatten)]
    pub(crate) address: AddressArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct UserStateArgs {
    /// The user
    pub(crate) user: String,
    /// The keys to set; others keep their values
    #[arg(value_name = "KEY=VALUE", value_parser = assignment)]
    pub(crate) state: Vec<(String, String)>,
    /// A public key of the state; replaces the previous ones; repeatable
    #[arg(long, value_name = "KEY")]
    pub(crate) public: Vec<String>,
    /// Make no key public
    #[arg(long, conflicts_with = "public")]
    pub(crate) no_public: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ChannelArgs {
    /// The channel
    pub(crate) channel: String,
    /// Change a setting; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment)]
    pub(crate) set: Vec<(String, String)>,
    /// Create the channel if it does not exist
    #[arg(long)]
    pub(crate) create: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DeleteChannelArgs {
    /// The channels; an unknown one is reported, but is not an error
    #[arg(value_name = "CHANNEL", required = true)]
    pub(crate) channels: Vec<String>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct UserArgs {
    /// The user
    pub(crate) user: String,
    /// Print {"user", "state", "public_state", "channels", "connections"} as JSON
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) json: bool,
    /// Print nothing; the exit status is the result
    #[arg(long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DisconnectArgs {
    /// The connection's id
    pub(crate) conn_id: Uuid,
    /// Print {"conn_id", "disconnected"} as JSON
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) json: bool,
    /// Print nothing; the exit status is the result
    #[arg(long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DisconnectUserArgs {
    /// The user, who need not be connected
    pub(crate) user: String,
    /// Why, for the user: at most 123 characters
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Refuse the user for this time, such as 10m or 2h; 0s lets it in again
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) refuse_for: Option<Duration>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// What `list` lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Listed {
    /// All channels
    Channels,
    /// All users that the server remembers
    Users,
}

#[derive(Debug, clap::Args)]
pub(crate) struct HistoryArgs {
    /// The channel
    pub(crate) channel: String,
    /// Only messages after this place: a cursor that a page or an event told
    #[arg(long, value_name = "CURSOR")]
    pub(crate) since: Option<Cursor>,
    /// The most messages, 1 to 1000
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    pub(crate) limit: u64,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// What to list
    pub(crate) what: Listed,
    /// Only names that begin with this
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) prefix: String,
    /// Only names behind this one, which is `next` of the page before
    #[arg(long, value_name = "NAME")]
    pub(crate) after: Option<String>,
    /// The most entries, 1 to 1000
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    pub(crate) limit: u64,
    /// Users with a connection only
    #[arg(long)]
    pub(crate) connected: bool,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReloadArgs {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct InfoArgs {
    /// The channels; all by default
    #[arg(value_name = "CHANNEL")]
    pub(crate) channels: Vec<String>,
    /// Print the server's complete answer, with settings, histories and the state of users, as JSON
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) json: bool,
    /// Print nothing; the exit status is 0 if all named channels exist
    #[arg(long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListenArgs {
    /// The connection to listen on
    #[arg(required_unless_present = "user", conflicts_with_all = ["user", "channel"])]
    pub(crate) conn_id: Option<Uuid>,
    /// Create a connection for this user and listen on it
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// A channel that the created connection joins; repeatable
    #[arg(long, value_name = "CHANNEL", requires = "user")]
    pub(crate) channel: Vec<String>,
    /// Begin after this cursor, the `seq` of an event
    #[arg(long, value_name = "CURSOR")]
    pub(crate) since: Option<String>,
    /// End after this many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// End after this time, for example 30s, 5m, 2h or 250ms
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) r#for: Option<Duration>,
    /// Print events as they were sent, one per line
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,
    /// Print everything that happens as JSON, one object per line
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) json: bool,
    /// Print events only, and nothing about the connection
    #[arg(long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TopArgs {
    /// The time between refreshes
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = interval)]
    pub(crate) interval: Duration,
}

#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {
    /// The number of listeners
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) listeners: u32,
    /// Messages per second
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rate: u32,
    /// Bytes of text per message
    #[arg(long, value_name = "BYTES", default_value_t = 200, value_parser = clap::value_parser!(u32).range(..=100_000))]
    pub(crate) size: u32,
    /// How long to send messages
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    pub(crate) r#for: Duration,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SignArgs {
    /// The value to sign; the server accepts any
    #[arg(default_value = "/")]
    pub(crate) value: String,
    /// Print {"signed"} as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct UnsignArgs {
    /// The signed text
    pub(crate) text: String,
    /// Refuse a signature that is older than this
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) max_age: Option<Duration>,
    /// Print {"value", "signed", "age"} as JSON, times in seconds
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) json: bool,
    /// Print nothing; the exit status is the result
    #[arg(long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WebhooksCommand {
    /// Send a signed webhook of the type test, and show the answer
    Test(WebhookTestArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct WebhookTestArgs {
    /// The receiver
    #[arg(value_name = "RECEIVER")]
    pub(crate) url: String,
    /// How long the receiver may take
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArgs {
    /// Check whether pages of this origin may use the server: scheme, host and port
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) origin: Option<String>,
    /// How long connections may be silent: longer than the server's heartbeat_interval and
    /// wake_connections_after
    #[arg(long, value_name = "TIME", default_value = "8s", value_parser = parse_duration)]
    pub(crate) patience: Duration,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: Shell,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// Only this command
    pub(crate) command: Option<String>,
}

/// Returns the version flag, with the server's short forms; `-v` is that of Channelstream 0.7.1.
fn version_flag() -> Arg {
    let flag = Arg::new("version").short('v').short_alias('V').long("version");
    flag.action(ArgAction::Version).help("Print the version")
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
