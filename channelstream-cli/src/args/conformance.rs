//! The arguments of `conformance`.

use std::time::Duration;

use channelstream_client::parse_duration;

/// A transport to listen by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ListenTransport {
    /// A websocket
    Websocket,
    /// An event stream
    Sse,
    /// Long polls
    Poll,
}

impl ListenTransport {
    /// Returns its name, as it is typed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Websocket => "websocket",
            Self::Sse => "sse",
            Self::Poll => "poll",
        }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct ConformanceArgs {
    /// The command line that runs the client's adapter, for the shell; it is run once for each case
    #[arg(long, value_name = "CMD", required_unless_present = "list")]
    pub(crate) client: Option<String>,
    /// Play this case only, or those of a group such as `listen`; repeatable
    #[arg(long, value_name = "NAME")]
    pub(crate) case: Vec<String>,
    /// Let the client listen by this transport; repeatable
    #[arg(long, value_enum, default_value = "websocket")]
    pub(crate) transport: Vec<ListenTransport>,
    /// How long to wait for each thing that the client has to do
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    pub(crate) patience: Duration,
    /// How many cases to play at a time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) jobs: u8,
    /// List the cases, and play none
    #[arg(long)]
    pub(crate) list: bool,
    /// Print one JSON document
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) json: bool,
    /// Print nothing; the exit status is the result
    #[arg(long)]
    pub(crate) quiet: bool,
}
