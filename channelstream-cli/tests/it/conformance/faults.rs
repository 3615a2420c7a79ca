//! Clients with one fault each fail its case, and for that reason.

use std::sync::Mutex;
use std::thread;

use serde_json::Value;

use super::{small_client, verdicts};

/// A case without a fault's subject, which passes all the same.
const CONTROL: &str = "listen.events";

/// What fails in the patience of a case fails late.
const PATIENCE: &str = "20s";

/// A fault, its case, and what of the verdict says why: what was expected, and what came.
const FAULTS: &[(&str, &str, &str, &str)] = &[
    ("keeps an unknown connection", "listen.unknown-connection", "unknown_connection", "GET /sse"),
    ("keeps an unknown connection", "listen.renewal", "another connection", "GET /sse"),
    ("takes over in turn", "listen.superseded", "superseded", "GET /sse"),
    ("forgets the cursor of an ended connection", "listen.renewal", "-2", "since="),
    ("does not pause", "listen.backoff", "pauses that grow", "ms"),
    ("does not ask for cursors", "listen.cut", "since=65a4c7d5e03f1-3", "since="),
    ("begins anew", "listen.cut", "since=65a4c7d5e03f1-3", "since="),
    ("does not pause", "listen.drain-circle", "pauses that grow", "ms"),
    ("does not pause", "listen.renewal-circle", "pauses that grow", "ms"),
    ("is patient with silence", "listen.mute", "a request to listen", "no request"),
    ("is patient with silence", "listen.silence", "a request to listen", "no request"),
    ("keeps a cursor that was refused", "listen.cursor-refused", "since=", "since=65a4c7d5e03f1-2"),
    ("passes over Retry-After", "listen.retry-after", "a pause of 2s", "s"),
    ("passes over Retry-After", "publish.busy", "a pause of 1s", "s"),
    ("gives up a busy server", "listen.backoff", "a request to listen", "refused"),
    ("ends at foreign answers", "listen.foreign", "a request to listen", "refused"),
    ("passes over the cursors of unknown events", "listen.unknown", "f1-5", "f1-2"),
    ("ends at unknown events", "listen.unknown", "a request to listen", "status: 3"),
    ("passes over gaps", "listen.gap", "\"gap\"", "\"number\":4"),
    ("delivers half an event", "listen.cut-in-event", "f1-2", "f1-3"),
    ("ends at a drain", "listen.drain", "a request to listen", "disconnected"),
    ("decodes pieces", "listen.text", "na\u{ef}ve", "\u{fffd}"),
    ("splits lines at other characters", "listen.text", "na\u{ef}ve", "GET /sse"),
    ("takes endless events", "listen.endless", "gives up", "it took them"),
    ("ends at malformed events", "listen.malformed", "\"number\":3", "status: 3"),
    ("makes a key for each request", "publish.busy", "Idempotency-Key", "-"),
    ("never gives up", "publish.gives-up", "50 requests", "it goes on"),
    ("believes any 200", "publish.answer", "failed", "published"),
    ("repeats what is refused", "publish.refused", "failed", "POST /message"),
    ("repeats without keys", "publish.no-keys", "failed", "POST /message"),
    ("is too early", "publish.long-wait", "failed", "POST /message"),
    ("says that nothing was done", "publish.no-keys", "\"in_doubt\":true", "\"in_doubt\":false"),
    ("follows redirects", "publish.redirect", "failed", "POST /elsewhere"),
    ("counts no steps", "publish.growing", "a step in each item", "Hello"),
    ("appends again", "publish.growing-in-doubt", "done", "HelloHello"),
    ("signs with another secret", "publish.signed", "a valid signature", "does not match"),
];

/// Faults that nothing passes with.
const EVERYWHERE: &[(&str, &str, &str, &str)] = &[
    ("tells twice", "listen.open", "\"number\":3", "\"number\":2"),
    ("prints nonsense", "listen.open", "one JSON object a line", "listening"),
    ("floods", "listen.open", "\"number\":3", "\"number\":2"),
    ("floods", "listen.cut-in-event", "no more events", "1000 events"),
    ("shows a secret", "listen.open", "no secret", "GET /sse"),
    ("does not read", "listen.open", "open", "no such line"),
    ("dies", "listen.open", "a request to listen", "status: 3"),
    ("does not stop", "listen.open", "ends with exit status 0", "it goes on"),
];

/// How many run at a time.
const AT_ONCE: usize = 12;

#[test]
fn each_fault_fails_its_case_and_for_its_reason() {
    let all = FAULTS.iter().map(|fault| (fault, true));
    let all = all.chain(EVERYWHERE.iter().map(|fault| (fault, false)));
    let waiting = Mutex::new(all);
    let wrong = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().unwrap().next();
                    let Some((fault, is_alone)) = next else { return };
                    wrong.lock().unwrap().extend(problem(*fault, is_alone));
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Returns what is wrong with the verdicts about a fault.
fn problem(
    (fault, case, expected, came): (&str, &str, &str, &str),
    is_alone: bool,
) -> Option<String> {
    let client = small_client(fault);
    let mut arguments = vec!["--client", &client, "--transport", "sse", "--patience", PATIENCE];
    arguments.extend(["--case", case]);
    if is_alone {
        arguments.extend(["--case", CONTROL]);
    }
    let (report, _) = verdicts(&arguments);
    let of = |name: &str| {
        let cases = report["cases"].as_array().unwrap().iter();
        cases.clone().find(|verdict| verdict["case"] == name).cloned().unwrap_or(Value::Null)
    };
    let verdict = of(case);
    let has =
        |key: &str, text: &str| verdict[key].as_str().is_some_and(|found| found.contains(text));
    let is_control_right = !is_alone || of(CONTROL)["status"] == "passed";
    let is_right = verdict["status"] != "passed" && has("expected", expected) && has("came", came);
    (!is_right || !is_control_right).then(|| format!("{fault}: {report:#}"))
}
