//! The command line of the program, made from the table of settings.

use std::ffi::OsString;
use std::path::PathBuf;

use super::docs::wrap;
use crate::config::boolean;
use crate::config::table::{self, GROUPS, Kind, Setting};
use clap::builder::NonEmptyStringValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

/// What the user asks for.
pub(crate) enum Action {
    /// Run the server.
    Run(Given),
    /// Write an ini file of all settings.
    ConfigDefault {
        /// A JSON object to take settings from, instead of the environment.
        json: Option<String>,
        /// Where to write, instead of standard output.
        output: Option<PathBuf>,
        /// Whether a file that is there may be replaced.
        force: bool,
        /// Whether secrets that nobody gave are drawn at random.
        fresh_secrets: bool,
    },
    /// Say what is wrong with the settings.
    ConfigCheck(Given),
    /// Print every setting as it is in force.
    ConfigShow(Given),
}

/// The settings on the command line.
pub(crate) struct Given {
    /// Key and text of each setting that is given.
    pub(crate) flags: Vec<(String, String)>,
    /// The ini file.
    pub(crate) ini: Option<PathBuf>,
}

/// Reads the command line. Prints help, version or what is wrong with the usage, and then ends the
/// process with 0 or 2.
pub(crate) fn parse() -> Action {
    let matches = command().get_matches_from(with_joined_switches(std::env::args_os()));
    let Some((CONFIG, matches)) = matches.subcommand() else {
        return Action::Run(given(&matches));
    };
    match matches.subcommand() {
        Some(("default", matches)) => Action::ConfigDefault {
            json: matches.get_one("json").cloned(),
            output: matches.get_one("output").cloned(),
            force: matches.get_flag("force"),
            fresh_secrets: matches.get_flag("fresh_secrets"),
        },
        Some(("check", matches)) => Action::ConfigCheck(given(matches)),
        Some((_, matches)) => Action::ConfigShow(given(matches)),
        None => unreachable!("clap demands one of the commands"),
    }
}

/// The arguments with each switch and the value behind it in one: `--enforce-https true` becomes
/// `--enforce-https=true`. A switch needs no value, so that what comes behind it may be something else:
/// a flag, a command, or the file of `config check`.
fn with_joined_switches(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut joined: Vec<OsString> = Vec::new();
    let mut after_switch = false;
    let mut names_file = false;
    for argument in arguments {
        let text = argument.to_string_lossy();
        let is_value = after_switch
            && !text.starts_with('-')
            && (boolean(&text).is_some() || !names_file && text != CONFIG);
        names_file |= text == "check";
        after_switch =
            table::settings().any(|setting| setting.kind == Kind::Switch && setting.flag() == text);
        match joined.last_mut() {
            Some(switch) if is_value => {
                switch.push("=");
                switch.push(argument);
            }
            _ => joined.push(argument),
        }
    }
    joined
}

fn given(matches: &ArgMatches) -> Given {
    let texts = table::settings().filter_map(|setting| {
        let text = matches.get_one::<String>(setting.key)?;
        Some((setting.key.into(), text.clone()))
    });
    let file = matches.try_get_one::<PathBuf>("file").ok().flatten();
    let ini = file.or_else(|| matches.get_one("ini")).cloned();
    Given { flags: texts.collect(), ini }
}

/// The command for settings.
const CONFIG: &str = "config";

const ABOUT: &str = "Real-time push server: channels, presence, state and history over websockets \
                     and long polls";

const SOURCES: &str = "\
Each setting can stand
  on the command line       --gc-conns-after 20
  in an ini file            gc_conns_after = 20        in the section [channelstream]
  in the environment        CHANNELSTREAM_GC_CONNS_AFTER=20
Flags come first. With a file (--ini, or CHANNELSTREAM_INI) the environment does not count.
An empty value is the default; an empty secret is refused. A TIME is a number of seconds, or has a
unit: 500ms, 5s, 1m, 2h, 1d. A switch alone is true, and takes true or false.

Exit status: 0 after SIGTERM, SIGINT or SIGQUIT, 128 and its number after a second one, 1 if the
server could not start or failed, 2 for wrong usage.";

fn command() -> Command {
    let version = Arg::new("version")
        .short('v')
        .short_alias('V')
        .long("version")
        .action(ArgAction::Version)
        .help("Print the version");
    let default = Command::new("default")
        .about("Print an ini file of all settings, from the environment or JSON over the defaults")
        .arg(
            Arg::new("json")
                .short('j')
                .long("json")
                .value_name("JSON")
                .help("A JSON object of settings to take instead of the environment"),
        )
        .arg(
            Arg::new("output")
                .short('o')
                .long("output")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Write to this new file instead, for its owner's eyes alone"),
        )
        .arg(
            Arg::new("force")
                .long("force")
                .action(ArgAction::SetTrue)
                .requires("output")
                .help("Replace the file if it is there"),
        )
        .arg(
            Arg::new("fresh_secrets")
                .long("fresh-secrets")
                .action(ArgAction::SetTrue)
                .help("Write random secrets in place of the well-known defaults"),
        );
    let file = Arg::new("file")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .conflicts_with("ini")
        .help("The ini file, as with --ini");
    let check = Command::new("check")
        .about("Report everything that is wrong with the settings; exit status 1 if anything is")
        .arg(file);
    let show =
        Command::new("show").about("Print every setting as it is in force and where it comes from");
    let config = Command::new(CONFIG)
        .about("Write, check or show settings")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([default, with_settings(check), with_settings(show)]);
    with_settings(Command::new("channelstream-server"))
        .about(ABOUT)
        .after_help(SOURCES)
        .version(env!("CARGO_PKG_VERSION"))
        .disable_version_flag(true)
        .arg(version)
        .args_conflicts_with_subcommands(true)
        .subcommand(config)
}

/// Adds `--ini` and a flag for each setting.
fn with_settings(command: Command) -> Command {
    let ini = Arg::new("ini")
        .short('i')
        .long("ini")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("Take the settings from the [channelstream] section of this file");
    let flags = GROUPS.iter().flat_map(|group| {
        group.settings.iter().map(|setting| flag(setting).help_heading(group.title))
    });
    command.next_line_help(true).arg(ini).args(flags)
}

fn flag(setting: &Setting) -> Arg {
    let mut doc = wrap(setting.doc, 86).join("\n");
    if !setting.default.is_empty() {
        doc.push_str(&format!("\n[default: {}]", setting.default));
    }
    let name = setting.flag();
    let arg = Arg::new(setting.key)
        .long(name.trim_start_matches('-').to_owned())
        .value_name(setting.kind.value_name())
        .aliases(setting.alias().map(|alias| alias.replace('_', "-")))
        .help(doc);
    match setting.kind {
        Kind::Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        Kind::SecretFile => arg.value_parser(NonEmptyStringValueParser::new()),
        _ => arg,
    }
}
