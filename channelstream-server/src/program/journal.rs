//! `channelstream-server journal`: looks at a journal in files, also of an earlier time, and repairs it.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use channelstream_core::protocol::{ChannelsInfo, DateTime, InfoOptions};
use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, value_parser};
use serde::Serialize;

use super::{complain, print};
use crate::journal::file::inspect::{Content, End, EntryRow, Journal, Until};
use crate::journal::file::repair;

/// The command that was given.
pub(crate) enum Action {
    /// Print what each file has, or each entry.
    Show { directory: PathBuf, entries: bool, from: u64 },
    /// Print the state of an earlier time.
    Replay { directory: PathBuf, until: Until, channels: Option<Vec<String>> },
    /// Report a damaged place, or cut the journal there.
    Repair { directory: PathBuf, drop: bool },
}

pub(super) fn command() -> Command {
    let directory = || {
        Arg::new("directory")
            .value_name("DIRECTORY")
            .required(true)
            .value_parser(value_parser!(PathBuf))
            .help("The directory of the journal, as journal_dir names it")
    };
    let show = Command::new("show")
        .about("Print what each file of a journal has, or each entry; a server may have it open")
        .arg(directory())
        .arg(
            Arg::new("entries")
                .long("entries")
                .action(ArgAction::SetTrue)
                .help("Print a line for each entry: number, time, node, command, bytes"),
        )
        .arg(
            Arg::new("from")
                .long("from")
                .value_name("NUMBER")
                .default_value("0")
                .value_parser(value_parser!(u64))
                .requires("entries")
                .help("Begin with this entry"),
        );
    let replay = Command::new("replay")
        .about("Print the channels, histories and users of an earlier time as JSON")
        .long_about(
            "Print the channels, histories and users of an earlier time as JSON, in the form of the \
             answer to /info. Nothing is changed; a server may have the journal open. It goes back as \
             far as the older of the two snapshots that are kept.",
        )
        .arg(directory())
        .arg(
            Arg::new("until")
                .long("until")
                .value_name("TIME")
                .value_parser(|text: &str| {
                    DateTime::parse(text).ok_or("it is no time like 2026-11-29T12:30:00Z")
                })
                .help("Apply the entries up to this time, in UTC unless it has an offset"),
        )
        .arg(
            Arg::new("before")
                .long("before")
                .value_name("NUMBER")
                .value_parser(value_parser!(u64))
                .help("Apply the entries before this one"),
        )
        .group(ArgGroup::new("end").args(["until", "before"]))
        .arg(
            Arg::new("channel")
                .long("channel")
                .value_name("NAME")
                .action(ArgAction::Append)
                .help("Print this channel only; may be given several times"),
        );
    let repair = Command::new("repair")
        .about("Report where a journal is damaged; with --drop, cut it there")
        .arg(directory())
        .arg(Arg::new("drop").long("drop").action(ArgAction::SetTrue).help(
            "Drop the damaged record and all behind it. Copy the directory before: this cannot be undone",
        ));
    Command::new("journal")
        .about("Look at a journal in files, or repair it")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([show, replay, repair])
}

/// Returns the command that was given.
pub(super) fn action(matches: &ArgMatches) -> Action {
    let Some((name, matches)) = matches.subcommand() else {
        unreachable!("clap demands one of the commands")
    };
    let directory = || {
        let directory = matches.get_one::<PathBuf>("directory");
        directory.cloned().expect("clap demands it")
    };
    match name {
        "show" => Action::Show {
            directory: directory(),
            entries: matches.get_flag("entries"),
            from: matches.get_one("from").copied().unwrap_or_default(),
        },
        "replay" => {
            let until = matches.get_one::<DateTime>("until");
            let until = until.map(|until| Until::Time(until.instant()));
            let before = matches.get_one::<u64>("before").map(|number| Until::Entry(*number));
            let channels = matches.get_many("channel").map(|names| names.cloned().collect());
            let until = until.or(before).unwrap_or(Until::End);
            Action::Replay { directory: directory(), until, channels }
        }
        _ => Action::Repair { directory: directory(), drop: matches.get_flag("drop") },
    }
}

pub(super) fn run(action: &Action) -> anyhow::Result<ExitCode> {
    match action {
        Action::Show { directory, entries: false, .. } => files(&Journal::look(directory)?),
        Action::Show { directory, from, .. } => entries(&Journal::look(directory)?, *from),
        Action::Replay { directory, until, channels } => {
            replay(&Journal::look(directory)?, *until, channels.clone())
        }
        Action::Repair { directory, drop } => {
            let dropped = if *drop { repair::cut(directory)? } else { None };
            if let Some(damage) = dropped {
                let (file, offset, bytes) = (&damage.file, damage.bad.offset, damage.bytes);
                print(&format!("{file} was cut at byte {offset}; {bytes} bytes are gone\n"))?;
                return Ok(ExitCode::SUCCESS);
            }
            let journal = Journal::look(directory)?;
            if let Some(damage) = repair::first_damage(&journal)? {
                complain(&damage.to_string());
            } else if let Some(why) = journal.beyond_repair()? {
                complain(&format!("{why}: this cannot be repaired, only restored from a copy"));
            } else {
                print("nothing is damaged\n")?;
                return Ok(ExitCode::SUCCESS);
            }
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Prints a line for each file. The status is 1 if one is damaged.
fn files(journal: &Journal) -> anyhow::Result<ExitCode> {
    let (mut text, mut is_whole) = (String::new(), true);
    for row in journal.rows() {
        let row = row?;
        let content = match row.content {
            Content::Snapshot(Ok(())) => "whole".to_owned(),
            Content::Snapshot(Err(why)) | Content::Segment { end: End::Unreadable(why), .. } => {
                is_whole = false;
                why.to_string()
            }
            Content::Segment { entries, end: End::Whole } => format!("{entries} entries"),
            Content::Segment { entries, end: End::Torn(bytes) } => {
                format!("{entries} entries, then {bytes} bytes of a record that is not whole")
            }
            Content::Segment { entries, end: End::Damaged(damage) } => {
                is_whole = false;
                format!("{entries} entries, then damage: {damage}")
            }
        };
        let (name, bytes) = (row.name.to_string(), row.bytes);
        writeln!(text, "{name:<30} {bytes:>12} bytes  {content}")?;
    }
    match journal.replay(Until::End) {
        Ok((state, _)) => writeln!(text, "level {}", state.level())?,
        Err(why) => writeln!(text, "the level is not known: {:#}", anyhow::Error::from(why))?,
    }
    print(&text)?;
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn entries(journal: &Journal, from: u64) -> anyhow::Result<ExitCode> {
    let mut printed = Ok(());
    journal.entries(from, |EntryRow { number, bytes, envelope }| {
        let time = DateTime::from(envelope.stamp.now);
        let (node, command) = (envelope.node, envelope.command.name());
        printed =
            print(&format!("{number:>12}  {time}Z  {node}  {command:<15} {bytes:>8} bytes\n"));
        printed.is_ok()
    })?;
    printed?;
    Ok(ExitCode::SUCCESS)
}

/// What a replay prints.
#[derive(Serialize)]
struct Shown {
    /// The level in force.
    level: u32,
    /// How many entries were applied, since the journal began.
    entries: u64,
    /// The time of the last of them.
    time: String,
    connections: usize,
    users: usize,
    info: ChannelsInfo,
}

fn replay(
    journal: &Journal,
    until: Until,
    channels: Option<Vec<String>>,
) -> anyhow::Result<ExitCode> {
    let (state, next) = journal.replay(until)?;
    let counts = state.counts();
    let shown = Shown {
        level: state.level(),
        entries: next,
        time: format!("{}Z", DateTime::from(state.time())),
        connections: counts.connections,
        users: counts.users,
        info: state.info(&InfoOptions { channels, ..InfoOptions::default() }),
    };
    let text = serde_json::to_string_pretty(&shown).context("the state has no form in JSON")?;
    print(&(text + "\n"))?;
    Ok(ExitCode::SUCCESS)
}
