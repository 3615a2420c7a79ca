//! The command line: what can be typed, nothing of what it does.

use std::path::PathBuf;
use std::time::Duration;

use channelstream_client::{Uuid, parse_duration};
use clap::{Arg, ArgAction, Parser, Subcommand};
use clap_complete::Shell;

const NOTES: &str = "\
The server itself is another program: channelstream-server.

Where the server is and the secret it was given come from the flags, else from a profile named by
--profile, else from the environment, else from the profile that CHANNELSTREAM_PROFILE or the
configuration file's `default` names:
  CHANNELSTREAM_URL          as --url
  CHANNELSTREAM_SECRET       the secret itself
  CHANNELSTREAM_SECRET_FILE  as --secret-file
  CHANNELSTREAM_CA_FILE      as --ca-file
  CHANNELSTREAM_PROFILE      as --profile, but after the variables above
Without any, the server is http://127.0.0.1:8000 and its secret `secret`, as the server's default.
HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY count, but a server on this machine is never asked
through a proxy.

Profiles stand in ~/.config/channelstream/config.toml ($XDG_CONFIG_HOME is heeded; the variable
CHANNELSTREAM_CONFIG names another file). Paths in it begin at its folder:
  default = \"live\"
  [profiles.live]
  url = \"https://push.example.com\"
  secret_file = \"live.secret\"

Results go to standard output, as a table or, with --json, as one JSON document: the server's
answer, with the fields of its HTTP interface, unless the command's help says otherwise. Fields are
only ever added. With --quiet nothing but an id that is needed further on is printed. Errors are one
line on standard error, and perhaps a hint. Colours are used on terminals only, and never if
NO_COLOR is set.

Exit status: 0 done, 1 refused or failed, 2 wrong usage; `doctor` has more of its own.";

const SIGN_NOTES: &str = "\
It is good for every endpoint, and for 60 seconds:

  curl -H \"x-channelstream-secret: $(channelstream sign)\" http://127.0.0.1:8000/info";

const PUBLISH_NOTES: &str = "\
Very many messages come from a file, or from standard input with `--file -`, one JSON object a
line. With a CHANNEL or --to-user, each line is what is said; else it is a whole message:

  {\"user\": \"ann\", \"channel\": \"news\", \"message\": {\"text\": \"Hello!\"}}

with `pm_users`, `exclude_users`, `no_history`, `uuid` and `timestamp` if wanted. Empty lines are
passed over. The account at the end, on standard error, also after an error or Ctrl-C, tells how
many lines are done: with `--skip` of this number it goes on. Ctrl-C lets the request under way
finish; a second one doesn't.

With --json, one message gives the list of messages with ids, as the server answers; a file gives
{\"complete\", \"lines\", \"messages\", \"dropped\", \"nowhere\", \"requests\", \"in_doubt\", \"seconds\"}:
whether all of it was sent; lines done, skipped ones included; messages taken; messages without an
address; messages to channels or users that do not exist; requests; messages that were perhaps taken
beyond `lines`; time. Without it, one message prints its id, and says on standard error if nobody
listened.";

const LISTEN_NOTES: &str = "\
It listens over a websocket, or long polls where none comes through, and comes back when the line
breaks. With --user it makes the connection itself, again if the server was restarted, and ends it
when it leaves; without, only the connection's id is needed, and no secret.

A line of text begins with the time, in UTC, and the last eight characters of the message's id, so
that it can be told which one an edit or a delete is of. That is the message's own time or that of
its edit; a delete has none, and is shown with that of its arrival.

With --json each line is an object with `event`: `opened` (`conn_id`, `transport`), `frame` (`frame`
as it was sent), `gap` (`reason`, `channel`), `interrupted` (`error`, `pause`), `ended` (`reason`).

It ends after --count, --for, Ctrl-C or another signal, when nobody reads its output any more, or
when the connection was disconnected, all with exit status 0; with 1 if --for was over before
--count, or the connection is unknown or heard by somebody else.";

const TOP_NOTES: &str = "\
Keys: arrows, Page Up and Down, Home and End choose a row; n, u, c, h and a sort by name, users,
connections, length of history and last activity, a second time the other way round, as r does;
/ filters by name; Enter shows a channel's settings, history and members, and Esc leads back; Tab
changes between channels and users; q or Ctrl-C ends.

Frames are events of all kinds: messages, edits, deletes, presence and states. Users are those who
are in channels.

The server is asked for all channels without their histories, which at 10,000 channels is 4 MB and
takes it 10 ms. If its answers take long, it is asked less often than --interval says: the pause is
at least ten times as long.

If the server doesn't answer any more, the last figures stay, and it is tried again.";

const BENCH_NOTES: &str = "\
It connects the user channelstream-bench as often as it listens to a channel of its own,
channelstream-bench-ID, publishes at the rate, and ends all these connections, also after a failure,
Ctrl-C or another signal, or when nobody reads its output any more. The server forgets the user and
the channel as any others that nobody is in.

All runs on one core here. Its own CPU time is told: when it takes much of the core, times are this
command's rather than the server's, and about half of what a message costs it is in the latency.
Messages that are late because the server is slow count from when they were due.

With --json: {\"listeners\", \"rate\", \"size\", \"wanted\", \"messages\", \"deliveries\", \"seconds\",
\"deliveries_per_second\", \"lost\", \"doubled\", \"reordered\", \"interruptions\", \"latency_ms\",
\"connect_ms\", \"own_cpu\", \"own_cpu_per_message_ms\"}: messages that were to be sent, and were;
deliveries to listeners; time from the first message to the last delivery; lines that broke;
{\"p50\", \"p90\", \"p99\", \"max\"} or null; part of a core, or null.

Exit status: 1 if anything was lost, doubled or reordered.";

const STATE_NOTES: &str = "\
A VALUE is null, true, false, a number or a text in quotes, as in JSON; anything else is a text as
it stands.";

const CHANNEL_NOTES: &str = "\
The settings are notify_presence, broadcast_presence_with_user_lists, notify_state, store_history,
store_frames (true or false) and history_size (a number). Those that are not named stay as they
are.";

const DOCTOR_NOTES: &str = "\
It looks at open files, address, proxy, certificate, reachability, version of HTTP, clock,
redirects, rights, secret, version, long poll, websocket, idle lines and, with --origin, whether
pages have access.

It connects a user `channelstream-doctor` for the tests of websocket and long poll, and disconnects
it again. Idle lines are watched until the server gives a sign of life, for --patience at most.

With --json: {\"faults\": N, \"checks\": [{\"name\", \"status\", \"detail\", \"advice\"}]}, where the status
is `good`, `note`, `fault` or `skipped`.

Exit status: 0 nothing is wrong, 1 it works but in parts, 2 wrong usage, 3 no channelstream server
was reached (nothing answered, or something else did), 4 it was reached but refuses us (address,
signature, clock, scheme, or a sign-in before it).";

/// Publish to a channelstream server, look into it, and sign requests for it
#[derive(Debug, Parser)]
#[command(
    name = "channelstream",
    version,
    disable_version_flag = true,
    arg = version_flag(),
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
    /// Trust servers by the certificates in this PEM file alone, not by those of the system
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) ca_file: Option<PathBuf>,
    /// Take all of them from this profile of the configuration file
    #[arg(long, value_name = "NAME", global = true)]
    pub(crate) profile: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a connection for a user, who can then listen with its id
    #[command(after_help = STATE_NOTES)]
    Connect(ConnectArgs),
    /// Have a connection join channels
    Subscribe(MembershipArgs),
    /// Have a connection leave channels
    Unsubscribe(MembershipArgs),
    /// Send a message and print its id, or send very many from a file
    #[command(after_help = PUBLISH_NOTES)]
    Publish(PublishArgs),
    /// Change a message that was sent before
    Edit(EditArgs),
    /// Remove a message that was sent before
    Delete(DeleteArgs),
    /// Set keys of a user's state, and which of them others may see
    #[command(after_help = STATE_NOTES)]
    UserState(UserStateArgs),
    /// Show a channel, or change its settings
    #[command(after_help = CHANNEL_NOTES)]
    Channel(ChannelArgs),
    /// Delete channels, with history and stored events; who is in them parts
    DeleteChannel(DeleteChannelArgs),
    /// Show a user: state, channels and connections
    User(UserArgs),
    /// End a connection
    Disconnect(DisconnectArgs),
    /// Show channels with their users and connections
    Info(InfoArgs),
    /// Print what a connection is sent, as it comes
    #[command(after_help = LISTEN_NOTES)]
    Listen(ListenArgs),
    /// Watch channels, users and rates on the terminal, as they change
    #[command(after_help = TOP_NOTES)]
    Top(TopArgs),
    /// Send messages to listeners of our own, and see whether each arrives, and how soon
    #[command(after_help = BENCH_NOTES)]
    Bench(BenchArgs),
    /// Print a signature for the header x-channelstream-secret
    #[command(after_help = SIGN_NOTES)]
    Sign(SignArgs),
    /// Check a signature, and show what was signed and when
    Unsign(UnsignArgs),
    /// Check whether everything between here and the server is in order
    #[command(after_help = DOCTOR_NOTES)]
    Doctor(DoctorArgs),
    /// Print a script by which a shell completes commands and flags
    Completions(CompletionsArgs),
    /// Print the manual page, of the whole or of one command
    Man(ManArgs),
}

/// How the result is printed.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct OutputArgs {
    /// Print one JSON document
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) json: bool,
    /// Print nothing: the exit status tells
    #[arg(long)]
    pub(crate) quiet: bool,
}

/// Who gets a message.
#[derive(Debug, clap::Args)]
pub(crate) struct AddressArgs {
    /// To this user only, wherever they are or in the channel; can be repeated
    #[arg(long, value_name = "USER")]
    pub(crate) to_user: Vec<String>,
    /// To everybody in the channel but this user; can be repeated
    #[arg(long, value_name = "USER")]
    pub(crate) except_user: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ConnectArgs {
    /// Whose connection
    pub(crate) user: String,
    /// The channels to join
    #[arg(value_name = "CHANNEL")]
    pub(crate) channels: Vec<String>,
    /// The connection's id; a random one if none is given
    #[arg(long, value_name = "UUID")]
    pub(crate) conn_id: Option<Uuid>,
    /// A key of the user's state; can be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment)]
    pub(crate) state: Vec<(String, String)>,
    /// The same, but only if the user is new; can be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment)]
    pub(crate) fresh_state: Vec<(String, String)>,
    /// A key that others may see, in place of those before; can be repeated
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
    /// Which connection
    pub(crate) conn_id: Uuid,
    /// The channels
    #[arg(value_name = "CHANNEL", required = true)]
    pub(crate) channels: Vec<String>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PublishArgs {
    /// To everybody in the channel (not needed with --to-user); a JSON object, or a text that is
    /// sent as {"text": "..."} (not with --file)
    #[arg(value_names = ["CHANNEL", "MESSAGE"], num_args = 0..=2, required_unless_present = "file")]
    pub(crate) what: Vec<String>,
    #[command(flatten)]
    pub(crate) address: AddressArgs,
    /// Who says it
    #[arg(long, value_name = "USER", default_value = "system")]
    pub(crate) user: String,
    /// Send the message as a text, whatever it looks like
    #[arg(long, conflicts_with = "file")]
    pub(crate) text: bool,
    /// Leave it out of the channel's history
    #[arg(long)]
    pub(crate) no_history: bool,
    /// Send messages from this file, one a line; - is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Pass over the first lines of the file
    #[arg(long, value_name = "LINES", default_value_t = 0, requires = "file")]
    pub(crate) skip: u64,
    /// Send no more than so many messages of the file a second
    #[arg(long, value_name = "N", requires = "file", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct EditArgs {
    /// Which message
    pub(crate) id: Uuid,
    /// The channel it was sent to (not needed with --to-user); what it says now: a JSON object, or
    /// a text that is sent as {"text": "..."}
    #[arg(value_names = ["CHANNEL", "MESSAGE"], num_args = 0..=2)]
    pub(crate) what: Vec<String>,
    /// Send the message as a text, whatever it looks like
    #[arg(long)]
    pub(crate) text: bool,
    #[command(flatten)]
    pub(crate) address: AddressArgs,
    /// Who says it now
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DeleteArgs {
    /// Which message
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
    /// Whose state
    pub(crate) user: String,
    /// What to set; other keys stay
    #[arg(value_name = "KEY=VALUE", value_parser = assignment)]
    pub(crate) state: Vec<(String, String)>,
    /// A key that others may see, in place of those before; can be repeated
    #[arg(long, value_name = "KEY")]
    pub(crate) public: Vec<String>,
    /// Others may see no key any more
    #[arg(long, conflicts_with = "public")]
    pub(crate) no_public: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ChannelArgs {
    /// Which channel
    pub(crate) channel: String,
    /// Change a setting; can be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment)]
    pub(crate) set: Vec<(String, String)>,
    /// Create the channel if it isn't there
    #[arg(long)]
    pub(crate) create: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DeleteChannelArgs {
    /// The channels; one that the server doesn't have is told, and no failure
    #[arg(value_name = "CHANNEL", required = true)]
    pub(crate) channels: Vec<String>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct UserArgs {
    /// Which user
    pub(crate) user: String,
    /// Print {"user", "state", "public_state", "channels", "connections"} as JSON
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) json: bool,
    /// Print nothing: the exit status tells
    #[arg(long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DisconnectArgs {
    /// Which connection
    pub(crate) conn_id: Uuid,
    /// Print {"conn_id", "disconnected"} as JSON
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) json: bool,
    /// Print nothing: the exit status tells
    #[arg(long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct InfoArgs {
    /// The channels; all if none is named
    #[arg(value_name = "CHANNEL")]
    pub(crate) channels: Vec<String>,
    /// Print the server's whole answer, with settings, histories and the state of users, as JSON
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) json: bool,
    /// Print nothing: the exit status tells whether all named channels are there
    #[arg(long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListenArgs {
    /// The connection to listen on
    #[arg(required_unless_present = "user", conflicts_with_all = ["user", "channel"])]
    pub(crate) conn_id: Option<Uuid>,
    /// Listen as this user, on a connection of our own
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// A channel that this connection joins; can be repeated
    #[arg(long, value_name = "CHANNEL", requires = "user")]
    pub(crate) channel: Vec<String>,
    /// End after so many frames
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// End after this time, such as 30s, 5m, 2h or 250ms
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) r#for: Option<Duration>,
    /// Print frames as they were sent, one a line
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,
    /// Print whatever happens as JSON, one object a line
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) json: bool,
    /// Print frames only, and nothing of what becomes of the line
    #[arg(long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TopArgs {
    /// How often the server is asked
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = interval)]
    pub(crate) interval: Duration,
}

#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {
    /// How many listen
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) listeners: u32,
    /// Messages a second
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rate: u32,
    /// Bytes of text in each message
    #[arg(long, value_name = "BYTES", default_value_t = 200, value_parser = clap::value_parser!(u32).range(..=100_000))]
    pub(crate) size: u32,
    /// How long messages are sent
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    pub(crate) r#for: Duration,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SignArgs {
    /// What to sign; the server doesn't mind what it is
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
    /// Refuse it if it was signed longer ago
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) max_age: Option<Duration>,
    /// Print {"value", "signed", "age"} as JSON, times in seconds
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) json: bool,
    /// Print nothing: the exit status tells
    #[arg(long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArgs {
    /// Check whether pages of this origin may use the server: scheme, host and port
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) origin: Option<String>,
    /// How long lines may be silent: more than the server's heartbeat_interval and
    /// wake_connections_after
    #[arg(long, value_name = "TIME", default_value = "8s", value_parser = parse_duration)]
    pub(crate) patience: Duration,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// For which shell
    pub(crate) shell: Shell,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// Of this command only
    pub(crate) command: Option<String>,
}

/// `KEY=VALUE`
fn assignment(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("it is not KEY=VALUE")?;
    if key.is_empty() {
        return Err("there is no key before the =".to_owned());
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// The same short flags as the server's, `-v` as in the reference.
fn version_flag() -> Arg {
    let flag = Arg::new("version").short('v').short_alias('V').long("version");
    flag.action(ArgAction::Version).help("Print the version")
}

/// A duration that leaves the server in peace.
fn interval(text: &str) -> Result<Duration, String> {
    let interval = parse_duration(text).map_err(|error| error.to_string())?;
    if interval < Duration::from_millis(100) {
        return Err("it is shorter than 100ms".to_owned());
    }
    Ok(interval)
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
