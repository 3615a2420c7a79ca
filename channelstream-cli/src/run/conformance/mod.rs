//! `conformance`: plays a server for a client of another program, and judges what it does.

mod cases;
mod client;
mod door;
mod events;
mod frames;
mod line;
mod stage;
mod verdict;

use std::collections::{HashSet, VecDeque};
use std::io::{Write as _, stdout};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use serde::Serialize;
use tokio::task::JoinSet;

use self::cases::{ALL, Case, Level};
use self::stage::Stage;
use self::verdict::{Deviation, Status, Verdict};
use crate::args::{ConformanceArgs, ListenTransport};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::{self, Align};

/// A case, and the transport over which it is played.
type Task = (&'static Case, Option<ListenTransport>);

pub(super) async fn judge(args: &ConformanceArgs) -> Result<(), Failure> {
    if args.list {
        return list(args.json);
    }
    let Some(client) = args.client.clone() else {
        return Err(Failure::usage("--client names no command"));
    };
    let tasks = chosen(args)?;
    let mut interrupt = Interrupt::new()?;
    let running = Arc::new(Running::default());
    let outcome = tokio::select! {
        outcome = play_all(args, client, tasks, &running) => outcome,
        () = interrupt.received() => Err(anyhow::anyhow!("interrupted").into()),
    };
    running.end();
    report(args, &outcome?)
}

/// Returns what was asked for, in the order of the table.
fn chosen(args: &ConformanceArgs) -> Result<Vec<Task>, Failure> {
    for name in &args.case {
        if !ALL.iter().any(|case| case.is_called(name)) {
            let failure = Failure::usage(format!("there is no case {name}"));
            return Err(failure.with_hint("--list prints the cases"));
        }
    }
    let is_chosen =
        |case: &&Case| args.case.is_empty() || args.case.iter().any(|name| case.is_called(name));
    let mut tasks = Vec::new();
    for case in ALL.iter().filter(is_chosen) {
        if case.is_publishers() {
            tasks.push((case, None));
        }
        let transports = args.transport.iter().filter(|transport| case.is_on(**transport));
        tasks.extend(transports.map(|transport| (case, Some(*transport))));
    }
    if tasks.is_empty() {
        return Err(Failure::usage("none of these cases is played over this transport"));
    }
    Ok(tasks)
}

/// Plays all, several at a time, and prints each verdict for people as it comes.
async fn play_all(
    args: &ConformanceArgs,
    client: String,
    tasks: Vec<Task>,
    running: &Arc<Running>,
) -> Result<Vec<Verdict>, Failure> {
    let mut waiting: VecDeque<_> = tasks.into_iter().enumerate().collect();
    let mut playing = JoinSet::new();
    let mut verdicts = Vec::new();
    loop {
        while playing.len() < usize::from(args.jobs)
            && let Some((place, task)) = waiting.pop_front()
        {
            let (client, patience, running) = (client.clone(), args.patience, Arc::clone(running));
            playing.spawn_blocking(move || (place, play(&client, task, patience, &running)));
        }
        let Some(played) = playing.join_next().await else { break };
        let (place, verdict) = played.map_err(anyhow::Error::from)?;
        if !args.json && !args.quiet {
            print(&verdict)?;
        }
        verdicts.push((place, verdict));
    }
    verdicts.sort_by_key(|(place, _)| *place);
    Ok(verdicts.into_iter().map(|(_, verdict)| verdict).collect())
}

/// Plays a case with a client of its own.
fn play(client: &str, (case, transport): Task, patience: Duration, running: &Running) -> Verdict {
    let begun = Instant::now();
    let over = transport.unwrap_or(ListenTransport::Websocket);
    let (deviation, stderr) = match Stage::start(client, over, patience) {
        Ok(mut stage) => {
            running.begins(stage.client());
            let played = (case.play)(&mut stage);
            running.ends(stage.client());
            (played.err(), stage.end())
        }
        Err(error) => (Some(Deviation::new("the client starts", error)), String::new()),
    };
    let status = match (&deviation, case.level) {
        (None, _) => Status::Passed,
        (Some(_), Level::Should) => Status::Warned,
        (Some(_), Level::Must) => Status::Failed,
    };
    let stderr = Some(stderr).filter(|text| !text.is_empty() && deviation.is_some());
    let (expected, came) = deviation.map(|deviation| (deviation.expected, deviation.came)).unzip();
    Verdict {
        case: case.name,
        transport: transport.map(ListenTransport::name),
        rule: case.rule,
        status,
        expected,
        came,
        stderr,
        seconds: (begun.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
    }
}

fn print(verdict: &Verdict) -> Result<(), Failure> {
    let (word, style) = match verdict.status {
        Status::Passed => ("passed", AnsiColor::Green.on_default()),
        Status::Warned => ("warned", AnsiColor::Yellow.on_default()),
        Status::Failed => ("FAILED", AnsiColor::Red.on_default()),
    };
    let (rule, case) = (verdict.rule, verdict.case);
    let transport = verdict.transport.unwrap_or_default();
    let dimmed = Style::new().dimmed();
    let mut out = anstream::stdout();
    writeln!(out, "{style}{word}{style:#}  {rule:<3}  {case:<26}  {dimmed}{transport}{dimmed:#}")?;
    let texts =
        [("expected", &verdict.expected), ("came", &verdict.came), ("its stderr", &verdict.stderr)];
    for (name, text) in texts {
        for line in text.iter().flat_map(|text| text.lines()) {
            writeln!(out, "        {name}: {}", output::plain(line))?;
        }
    }
    Ok(out.flush()?)
}

fn report(args: &ConformanceArgs, verdicts: &[Verdict]) -> Result<(), Failure> {
    let count = |status| verdicts.iter().filter(|verdict| verdict.status == status).count();
    let [passed, warned, failed] = [Status::Passed, Status::Warned, Status::Failed].map(count);
    if args.json {
        #[derive(Serialize)]
        struct Report<'a> {
            passed: usize,
            warned: usize,
            failed: usize,
            cases: &'a [Verdict],
        }
        output::json(&mut stdout(), &Report { passed, warned, failed, cases: verdicts })?;
    } else if !args.quiet {
        writeln!(stdout(), "{passed} passed, {warned} warned, {failed} failed")?;
    }
    match failed {
        0 => Ok(()),
        1 => Err(anyhow::anyhow!("the client departs from the specification in 1 case").into()),
        _ => {
            let text = format!("the client departs from the specification in {failed} cases");
            Err(anyhow::Error::msg(text).into())
        }
    }
}

fn list(is_json: bool) -> Result<(), Failure> {
    let level = |case: &Case| if case.level == Level::Must { "must" } else { "should" };
    if is_json {
        #[derive(Serialize)]
        struct Listed {
            case: &'static str,
            rule: &'static str,
            level: &'static str,
            about: &'static str,
        }
        let cases = ALL.iter().map(|case| Listed {
            case: case.name,
            rule: case.rule,
            level: level(case),
            about: case.about,
        });
        return Ok(output::json(&mut stdout(), &cases.collect::<Vec<_>>())?);
    }
    let columns = ["case", "rule", "level", "about"].map(|title| (title, Align::Left));
    let cells =
        ALL.iter().map(|case| [case.name, case.rule, level(case), case.about].map(str::to_owned));
    Ok(output::table(&mut stdout(), columns, cells)?)
}

/// The clients that run, so that none of them outlives the command.
#[derive(Default)]
struct Running(Mutex<(HashSet<u32>, bool)>);

impl Running {
    fn begins(&self, client: u32) {
        let mut running = self.lock();
        if running.1 {
            client::kill_group(client);
        }
        running.0.insert(client);
    }

    fn ends(&self, client: u32) {
        self.lock().0.remove(&client);
    }

    /// Kills all clients, and those that are about to begin.
    fn end(&self) {
        let mut running = self.lock();
        running.1 = true;
        running.0.drain().for_each(client::kill_group);
    }

    fn lock(&self) -> MutexGuard<'_, (HashSet<u32>, bool)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
