//! The ini reader beside Python's own `configparser`, over tricky files and random ones.

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

use channelstream_server::config::ini;
use channelstream_signer::file::without_mark;
use proptest::prelude::*;
use serde_json::Value as Json;

/// Answers one JSON text a line with how `configparser` reads it.
const PROGRAM: &str = r#"
import configparser, io, json, sys

def answer(text):
    parser = configparser.ConfigParser()
    try:
        raw = io.BytesIO(text.encode())
        parser.read_file(io.TextIOWrapper(raw, encoding="utf-8-sig"), "f")
    except configparser.ParsingError as error:
        if isinstance(error, configparser.MissingSectionHeaderError):
            return {"stopped": error.lineno}
        return {"wrong": [line for line, _ in error.errors]}
    except (configparser.DuplicateSectionError, configparser.DuplicateOptionError) as error:
        return {"stopped": error.lineno}
    sections = {}
    for section in parser.sections():
        sections[section] = {}
        for key in parser.options(section):
            try:
                sections[section][key] = parser.get(section, key)
            except configparser.InterpolationError:
                sections[section][key] = None
    return {"sections": sections}

for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
"#;

struct Python {
    _child: Child,
    asked: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// One interpreter for all tests; it ends with its standard input.
static PYTHON: LazyLock<Mutex<Python>> = LazyLock::new(|| {
    let name = env::var("CHANNELSTREAM_TEST_PYTHON").unwrap_or_else(|_| String::from("python3"));
    let mut child = Command::new(&name)
        .args(["-c", PROGRAM])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("{name} is needed (or another Python, 3.10 or newer, named by CHANNELSTREAM_TEST_PYTHON): {error}")
        });
    let asked = child.stdin.take().unwrap();
    let answers = BufReader::new(child.stdout.take().unwrap());
    Mutex::new(Python { _child: child, asked, answers })
});

fn python(text: &str) -> Json {
    let mut python = PYTHON.lock().unwrap_or_else(PoisonError::into_inner);
    writeln!(python.asked, "{}", Json::from(text)).unwrap();
    let mut line = String::new();
    python.answers.read_line(&mut line).unwrap();
    serde_json::from_str(&line).expect("python answers each line with JSON")
}

/// Panics if the two readers differ about the text.
fn compare(text: &str) {
    let theirs = python(text);
    let (ours, errors) = ini::parse(without_mark(text));
    let wrong: Vec<_> = errors.iter().map(|error| error.line).collect();
    if let Some(line) = theirs["stopped"].as_u64() {
        // We go on and may find more.
        assert!(wrong.iter().any(|one| *one as u64 == line), "{text:?}: {theirs} {errors:?}");
        return;
    }
    if let Some(lines) = theirs["wrong"].as_array() {
        let wrong: Vec<_> = wrong.into_iter().map(Json::from).collect();
        assert_eq!(lines, &wrong, "{text:?}: {errors:?}");
        return;
    }
    assert_eq!(errors, [], "{text:?}: {theirs}");
    let theirs: BTreeMap<String, BTreeMap<String, Option<String>>> =
        serde_json::from_value(theirs["sections"].clone()).unwrap();
    let sections = ours.sections().map(|section| {
        let keys = ours.keys(section).unwrap().into_iter();
        let values = keys.map(|(key, ..)| (key.into(), ours.get(section, key).unwrap().ok()));
        (section.into(), values.collect())
    });
    assert_eq!(sections.collect::<BTreeMap<_, _>>(), theirs, "{text:?}");
}

#[test]
fn tricky_files_are_read_as_python_reads_them() {
    for text in [
        "",
        "\n\n# nothing\n",
        "\u{feff}[a]\nx=1",
        "\u{feff}\u{feff}[a]\nx=1",
        "x = 1\n[a]\n",
        "  indented\n[a]",
        "[a]\nx = 1\ny: 2\nz=3:4\nw:5=6\n",
        "[a]\nx =\ny=\nz:\n  \n",
        "[a]\n= 1\n: 2\n",
        "[a]\nnothing\nx = 1\n    more\n nothing\n",
        "[a]\nx = 1\n[a]\ny = 2\n",
        "[a]\nx = 1\nX = 2\n",
        "[A]\nx=1\n[a]\nx=2\n",
        "[a]\nx=1 ; tail\ny=2 # tail\n;c\n#d\n  ;e\n",
        "[a]\nx = 1\n  # inside\n  2\n\n  ; more\n\n  3\n\n\ny = 4\n",
        "[a]\nx = 1\n\t2\n  3\n   y = 4\n z = 5\n",
        "  [a]\n  x = 1\n  y = 2\n    3\n z = 4\n",
        "[a]\n x = 1\ny = 2\n",
        "[a]\n  x = 1\n  [b]\n  y = 1\n",
        "[a]\nx = 1\n  [b]\ny = 2\n",
        "[a] trailing\nx=1\n[b]]\ny=1\n[[c]\nz=1\n[]\n",
        "[a]\n[]=1\n",
        "[ a ]\nx=1\n",
        "[DEFAULT]\nx = 1\n[a]\ny = %(x)s\n[DEFAULT]\nz = 3\n",
        "[DEFAULT]\nx = 1\n[DEFAULT]\nx = 3\n",
        "[default]\nx = 1\n[a]\n",
        "[DEFAULT]\nx = %(y)s\n[a]\ny = 2\n[b]\n",
        "[a]\nx = 50%%off %%%% %%(y)s\ny = %(X)s%(x)s\n",
        "[a]\nx = 5%\n",
        "[a]\nx = %\ny = %s\nz = %(x)d\nw = %(\nv = %()s\nu = %(x\nt=%%%\n",
        "[a]\nx = %(y)s\ny = %(x)s\nz = %(z)s\n",
        "[a]\nx = %(no\n thing)s\n",
        "[a]\nx0=1\nx1=%(x0)s\nx2=%(x1)s\nx3=%(x2)s\nx4=%(x3)s\nx5=%(x4)s\nx6=%(x5)s\nx7=%(x6)s\n\
         x8=%(x7)s\nx9=%(x8)s\nx10=%(x9)s\nx11=%(x10)s\nx12=%(x11)s\n",
        "[a]\r\nx = 1\r\n  2\r\n\r\ny = 3\rz = 4\r\r\n",
        "[a]\n\u{a0}x\u{a0}=\u{2003}1\u{85}\n\u{1c}y = 2\u{1f}\n",
        "[a]\nx\u{b}y = 1\u{c}2\n",
        "[a]\nÄÖ = 1\nİ = 2\nΣΑΣ = 3\n",
        "[a]\nx = \"quoted ' text\" \\n \\\n y\n",
        "[a]\nx = 1\n\u{0}\ny\u{0} = \u{0}\n",
        "[channelstream]\nallow_posting_from = 127.0.0.1,\n                     192.168.1.1\nlog_level =\n",
    ] {
        compare(text);
    }
}

/// Lines that mean something, with every kind of blank, and pieces that may spoil them.
fn line() -> impl Strategy<Value = String> {
    let blank = prop::sample::select(vec!["", "", "", " ", "  ", "\t", "    ", "\u{a0}", "\u{1d}"]);
    let name = prop::sample::select(vec!["a", "b", "B", "c.d", "e f", "", "%", "é", "["]);
    let mark = prop::sample::select(vec!["=", ":", " = ", " : ", "=:", " "]);
    let value = prop::collection::vec(
        prop::sample::select(vec![
            "1", "%", "%%", "%(a)s", "%(B)s", "%(c.d)s", "%(no)s", "%(", ")s", " ", "#", ";", "=",
            "]", "é", "\u{2028}",
        ]),
        0..4,
    );
    let header = prop::sample::select(vec!["[a]", "[b]", "[DEFAULT]", "[A] x", "[]", "[a]]"]);
    let key = (blank.clone(), name, mark, value.clone())
        .prop_map(|(blank, name, mark, value)| format!("{blank}{name}{mark}{}", value.concat()));
    let comment = (blank.clone(), prop::sample::select(vec!["#", ";"]), value.clone())
        .prop_map(|(blank, mark, value)| format!("{blank}{mark}{}", value.concat()));
    let header = (blank.clone(), header).prop_map(|(blank, header)| format!("{blank}{header}"));
    let text = (blank, value).prop_map(|(blank, value)| format!("{blank}{}", value.concat()));
    prop_oneof![6 => key, 1 => comment, 1 => header, 2 => text]
}

fn file() -> impl Strategy<Value = String> {
    let end = prop::sample::select(vec!["\n", "\n", "\r\n", "\r", "\n\n"]);
    (any::<bool>(), prop::collection::vec((line(), end), 0..12)).prop_map(|(headed, lines)| {
        let lines: String = lines.into_iter().map(|(line, end)| line + end).collect();
        if headed { format!("[s]\n{lines}") } else { lines }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn likely_files_are_read_as_python_reads_them(text in file()) {
        compare(&text);
    }

    #[test]
    fn any_text_is_read_as_python_reads_it(text in "(?s).{0,80}", headed in any::<bool>()) {
        compare(&if headed { format!("[s]\nk={text}") } else { text });
    }
}
