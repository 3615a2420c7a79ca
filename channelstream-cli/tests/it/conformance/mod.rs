//! The conformance kit: our client, a small one, the same one with faults, and the real server.

mod faults;
mod same;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::program::{end, failed, printed, program, run};

const SPEC: &str = include_str!("../../../../docs/client-spec.md");

/// Enough for a machine that does much besides.
const PATIENCE: &str = "60s";

/// Returns the command line of the small client, with a fault.
fn small_client(fault: &str) -> String {
    let python = std::env::var("CHANNELSTREAM_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/conformance/client.py");
    format!("exec '{python}' '{script}' '{fault}'")
}

/// Returns the verdicts of a run, and its exit status.
fn verdicts(arguments: &[&str]) -> (Value, i32) {
    let ended = end(&mut program(&[&["conformance", "--json"], arguments].concat()));
    let report = serde_json::from_str(&ended.out);
    (report.unwrap_or_else(|error| panic!("{error}: {}{}", ended.out, ended.err)), ended.code)
}

/// Returns the list of all cases.
fn listed() -> Value {
    serde_json::from_str(&printed(run(&["conformance", "--list", "--json"]))).unwrap()
}

/// Builds the adapter of our client, unless it is built, and returns its path.
fn adapter() -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--workspace", "--locked", "--quiet", "--example", "conformance"]);
    cargo.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).stdin(Stdio::null());
    let built = end(&mut cargo);
    assert_eq!(built.code, 0, "{}", built.err);
    let program = Path::new(env!("CARGO_BIN_EXE_channelstream"));
    program.with_file_name("examples").join("conformance")
}

#[test]
fn our_client_conforms() {
    let client = format!("exec '{}'", adapter().display());
    let transports = ["--transport", "websocket", "--transport", "poll", "--jobs", "8"];
    let arguments = [&["--client", &client, "--patience", PATIENCE][..], &transports].concat();
    let (report, code) = verdicts(&arguments);
    assert_eq!(
        (code, &report["failed"], &report["warned"]),
        (0, &0.into(), &0.into()),
        "{report:#}"
    );
}

#[test]
fn a_small_client_conforms_in_every_case() {
    let client = small_client("none");
    let arguments = ["--client", &client, "--transport", "sse", "--patience", PATIENCE];
    let (report, code) = verdicts(&arguments);
    assert_eq!(
        (code, &report["failed"], &report["warned"]),
        (0, &0.into(), &0.into()),
        "{report:#}"
    );
    let listed = listed();
    let names = |list: &Value| -> Vec<String> {
        let cases = list.as_array().unwrap().iter();
        cases.map(|case| case["case"].as_str().unwrap().to_owned()).collect()
    };
    let (played, listed) = (names(&report["cases"]), names(&listed));
    // Only websockets have pings.
    let missing: Vec<_> = listed.iter().filter(|name| !played.contains(name)).collect();
    assert_eq!(missing, ["listen.ping"]);
}

#[test]
fn each_rule_names_its_cases_and_each_case_is_of_its_level() {
    let mut rules: Vec<(&str, &str)> = Vec::new();
    for item in SPEC.split("\n* **").skip(1) {
        let (rule, text) = item.split_once("** ").unwrap();
        rules.push((rule, text.split("\n\n").next().unwrap()));
    }
    let listed = listed();
    for case in listed.as_array().unwrap() {
        let of = |key: &str| case[key].as_str().unwrap().to_owned();
        let (name, level) = (of("case"), of("level").to_uppercase());
        let (_, text) = rules.iter().find(|(rule, _)| *rule == of("rule")).unwrap();
        assert!(text.contains(&level) && text.contains(&format!("`{name}`")), "{name}: {text}");
        let named = |name: &str| SPEC.matches(&format!("`{name}`")).count();
        assert_eq!(named(&name), 1, "{name}");
    }
    // Nor are there names of no case.
    let named: usize = rules
        .iter()
        .map(|(_, text)| text.matches("`listen.").count() + text.matches("`publish.").count())
        .sum();
    assert_eq!(named, listed.as_array().unwrap().len());
}

#[test]
fn people_read_lines_and_a_sum() {
    let client = small_client("passes over gaps");
    let cases = ["--case", "listen.gap", "--case", "listen.open", "--transport", "sse"];
    let arguments = [&["conformance", "--client", &client, "--patience", PATIENCE][..], &cases];
    let ended = run(&arguments.concat());
    assert_eq!(ended.code, 1, "{}", ended.out);
    let lines: Vec<_> = ended.out.lines().collect();
    assert!(lines.contains(&"passed  L1   listen.open                 sse"), "{}", ended.out);
    assert!(lines.contains(&"FAILED  L6   listen.gap                  sse"), "{}", ended.out);
    assert_eq!(lines.last(), Some(&"1 passed, 0 warned, 1 failed"));
    assert_eq!(ended.err, "channelstream: the client departs from the specification in 1 case\n");
}

#[test]
fn what_is_not_there_is_wrong_usage() {
    let play = |case: &str| run(&["conformance", "--client", "true", "--case", case]);
    let ended = play("listen.nothing");
    let (what, hint) = failed(&ended, 2);
    assert_eq!(what, "there is no case listen.nothing");
    assert_eq!(hint, Some("--list prints the cases"));
    let ended =
        run(&["conformance", "--client", "true", "--case", "listen.ping", "--transport", "poll"]);
    assert_eq!(failed(&ended, 2).0, "none of these cases is played over this transport");
    assert_eq!(run(&["conformance"]).code, 2);
    assert_eq!(play("listen.ope").code, 2, "a group ends at a dot");
}

#[cfg(unix)]
#[test]
fn clients_end_with_the_command() {
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("client");
    let client = format!("echo $$ > '{}'; {}", file.display(), small_client("does not stop"));
    let arguments =
        ["conformance", "--client", &client, "--case", "listen.open", "--transport", "sse"];
    let mut command = program(&[&arguments[..], &["--patience", "120s"]].concat());
    let mut kit = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    let eventually = |what: &str, is_so: &dyn Fn() -> bool| {
        while !is_so() {
            assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
            sleep(Duration::from_millis(20));
        }
    };
    let id = || std::fs::read_to_string(&file).unwrap_or_default();
    eventually("the client starts", &|| id().ends_with('\n'));
    let kill = |arguments: &[&str]| {
        Command::new("kill").args(arguments).stderr(Stdio::null()).status().unwrap().success()
    };
    let client = id().trim().to_owned();
    assert!(kill(&["-0", &client]));
    assert!(kill(&["-INT", &kit.id().to_string()]));
    eventually("the client ends", &|| !kill(&["-0", &client]));
    assert_eq!(kit.wait().unwrap().code(), Some(1));
}
