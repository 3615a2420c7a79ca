//! The command line of the program, generated from the table of settings.

use std::ffi::OsString;
use std::path::PathBuf;

use super::docs::wrap;
use super::{doctor, health, journal, manual};
use crate::config::boolean;
use crate::config::table::{self, GROUPS, Kind, Setting};
use clap::builder::NonEmptyStringValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use http::Uri;

/// The command that was given.
pub(crate) enum Action {
    /// Run the server.
    Run(Given),
    /// Write an ini file with all settings.
    ConfigDefault {
        /// A JSON object of settings, instead of the environment.
        json: Option<String>,
        /// The file to write, instead of standard output.
        output: Option<PathBuf>,
        /// Whether an existing file may be replaced.
        force: bool,
        /// Whether secrets that are not given are generated.
        fresh_secrets: bool,
    },
    /// Report everything that is wrong with the settings.
    ConfigCheck(Given),
    /// Print every effective setting.
    ConfigShow(Given),
    /// Check settings, clock and journal.
    Doctor {
        given: Given,
        /// Whether the findings are printed as JSON.
        json: bool,
    },
    /// Look at a journal in files, or repair it.
    Journal(journal::Action),
    /// Print completions or a manual page.
    Manual(manual::Action),
    /// Ask a running server whether it is alive.
    Health {
        /// What to ask, instead of the server of these settings.
        url: Option<Uri>,
        given: Given,
    },
}

/// The settings on the command line.
pub(crate) struct Given {
    /// The key and text of each flag.
    pub(crate) flags: Vec<(String, String)>,
    /// The ini file.
    pub(crate) ini: Option<PathBuf>,
}

/// Parses the command line. For help, version and wrong usage, it prints a text and exits with status 0
/// or 2.
pub(crate) fn parse() -> Action {
    let matches = command().get_matches_from(with_joined_switches(std::env::args_os()));
    let matches = match matches.subcommand() {
        Some((CONFIG, matches)) => matches,
        Some(("health", matches)) => {
            let url = matches.get_one("url").cloned();
            return Action::Health { url, given: given(matches) };
        }
        Some((doctor::NAME, matches)) => {
            return Action::Doctor { given: given(matches), json: matches.get_flag("json") };
        }
        Some((manual::COMPLETIONS, matches)) => {
            return Action::Manual(manual::completions(matches));
        }
        Some((manual::MAN, matches)) => return Action::Manual(manual::man(matches)),
        Some((_, matches)) => return Action::Journal(journal::action(matches)),
        None => return Action::Run(given(&matches)),
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

/// Joins each switch with its value: `--enforce-https true` becomes `--enforce-https=true`. Since a
/// switch needs no value, the next argument may also be a flag, a command, or the file of `config check`.
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
Each setting can be given
  on the command line       --gc-conns-after 20
  in an ini file            gc_conns_after = 20        in the section [channelstream]
  in the environment        CHANNELSTREAM_GC_CONNS_AFTER=20
Flags take precedence. With a file (--ini or CHANNELSTREAM_INI) the environment is ignored.
An empty value selects the default; an empty secret is refused. A TIME is a number of seconds or has
a unit: 500ms, 5s, 1m, 2h, 1d. A switch without a value is true.

Exit status: 0 after SIGTERM, SIGINT or SIGQUIT, 128 plus its number after a second one, 1 if the
server could not start or failed, 2 for wrong usage.";

/// The definitions of the command line.
pub(super) fn command() -> Command {
    let version = Arg::new("version")
        .short('v')
        .short_alias('V')
        .long("version")
        .action(ArgAction::Version)
        .help("Print the version");
    let default = Command::new("default")
        .about("Print an ini file with all settings: the defaults, overridden by the environment or JSON")
        .arg(
            Arg::new("json")
                .short('j')
                .long("json")
                .value_name("JSON")
                .help("A JSON object of settings, instead of the environment"),
        )
        .arg(
            Arg::new("output")
                .short('o')
                .long("output")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Write a new file that only its owner can read, instead of standard output"),
        )
        .arg(
            Arg::new("force")
                .long("force")
                .action(ArgAction::SetTrue)
                .requires("output")
                .help("Replace the file if it exists"),
        )
        .arg(
            Arg::new("fresh_secrets")
                .long("fresh-secrets")
                .action(ArgAction::SetTrue)
                .help("Generate random secrets instead of the well-known defaults"),
        );
    let file = Arg::new("file")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .conflicts_with("ini")
        .help("The ini file, as with --ini");
    let check = Command::new("check")
        .about(
            "Report everything that is wrong with the settings; exit status 1 if anything is wrong",
        )
        .arg(file);
    let show = Command::new("show").about("Print every effective setting and where it comes from");
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
        .subcommands([
            config,
            with_settings(doctor::command()),
            with_settings(health::command()),
            journal::command(),
        ])
        .subcommands(manual::commands())
}

/// Adds `--ini` and a flag for each setting.
fn with_settings(command: Command) -> Command {
    let ini = Arg::new("ini")
        .short('i')
        .long("ini")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("Read the settings from the [channelstream] section of this file");
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
