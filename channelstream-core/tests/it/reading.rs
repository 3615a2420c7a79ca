//! Reading requests: no input breaks the readers, and accepted requests survive a round trip
//! (contract §4).

use std::io::Write as _;
use std::process::{Command, Stdio};

use channelstream_core::protocol::{
    Body, Bounds, Configure, Connect, DateTime, Disconnect, FieldErrors, Info, Rejected,
    SetUserState, Subscribe, Unsubscribe, parse, parse_uuid, read_changes, read_deletes,
    read_messages,
};
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof};
use proptest::sample::select;
use proptest::{prop_assert, prop_assert_eq, proptest};
use serde::Serialize;

use crate::world::json;

/// Reads a body. Returns the request as the client would write it, or the errors.
type Read = fn(&Body<'_>) -> Result<String, FieldErrors>;

fn written<T: Serialize>(read: Result<T, Rejected>) -> Result<String, FieldErrors> {
    read.map(|request| json(&request)).map_err(|rejected| rejected.errors)
}

const READERS: [Read; 10] = [
    |body| written(Connect::read(body)),
    |body| written(Subscribe::read(body)),
    |body| written(Unsubscribe::read(&body.clone().conn_id(Some(UUID)))),
    |body| written(SetUserState::read(body)),
    |body| written(Configure::read(body)),
    |body| written(Info::read(body)),
    |body| written(Disconnect::read(body)),
    |body| written(read_messages(body)),
    |body| written(read_changes(body)),
    |body| written(read_deletes(body)),
];

const UUID: &str = "01234567-89ab-cdef-0123-456789abcdef";

/// A body that must be JSON.
#[track_caller]
fn bounded(json: &str) -> Body<'_> {
    parse(json.as_bytes(), Bounds { depth: 100, elements: 100_000 }).unwrap()
}

/// Runs every reader on one body. None panics, errors are not empty, and an accepted request
/// survives a round trip.
#[track_caller]
fn read_all(body: &Body<'_>) {
    for (number, read) in READERS.iter().enumerate() {
        match read(body) {
            Ok(request) => {
                let again = read(&bounded(&request));
                assert_eq!(again.as_ref(), Ok(&request), "reader {number} on {body:?}");
            }
            Err(errors) => {
                assert!(!errors.is_empty(), "reader {number} on {body:?}");
                assert!(json(&errors).starts_with('{'));
            }
        }
    }
}

/// Values of interest, and objects of known fields, nested: JSON that `parse` takes.
fn any_json() -> impl Strategy<Value = String> {
    nested(leaf())
}

/// The same with texts in it that no `String` can hold.
fn wild_json() -> impl Strategy<Value = String> {
    nested(prop_oneof![9 => leaf(), 1 => Just(r#""\ud83d""#.to_owned())])
}

fn nested(leaf: impl Strategy<Value = String> + 'static) -> impl Strategy<Value = String> {
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(|items| list(&items)),
            vec((select(&FIELDS[..]), inner), 0..8).prop_map(|fields| object(&fields)),
        ]
    })
}

fn leaf() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => select(&LEAVES[..]).prop_map(str::to_owned),
        1 => any::<String>().prop_map(|text| json(&text)),
        1 => any::<f64>().prop_map(|number| json(&number)),
        1 => any::<i64>().prop_map(|number| json(&number)),
        1 => Just(json(&"x".repeat(513))),
    ]
}

fn list(items: &[String]) -> String {
    format!("[{}]", items.join(","))
}

fn object<K: AsRef<str>>(fields: &[(K, String)]) -> String {
    let fields: Vec<_> =
        fields.iter().map(|(key, value)| format!("{}: {value}", json(&key.as_ref()))).collect();
    format!("{{{}}}", fields.join(","))
}

const FIELDS: [&str; 32] = [
    "username",
    "conn_id",
    "channels",
    "fresh_user_state",
    "user_state",
    "state_public_keys",
    "channel_configs",
    "info",
    "user",
    "message",
    "channel",
    "pm_users",
    "exclude_users",
    "no_history",
    "uuid",
    "timestamp",
    "edited",
    "include_history",
    "include_history_length",
    "include_users",
    "include_connections",
    "exclude_channels",
    "return_public_state",
    "notify_presence",
    "notify_state",
    "broadcast_presence_with_user_lists",
    "store_history",
    "history_size",
    "store_frames",
    "unknown",
    "",
    "é\"\\\u{0}",
];

const LEAVES: [&str; 26] = [
    "null",
    "true",
    "false",
    "0",
    "1",
    "1.0",
    "-1",
    "3.7",
    "-0.0",
    "1e999",
    "-1e-999",
    "123456789012345678901234567890",
    "18446744073709551616",
    r#""""#,
    r#"" ""#,
    r#""t""#,
    r#""FALSE""#,
    r#"" 7 ""#,
    r#""-8""#,
    r#""room""#,
    r#""é\ud83d\ude00\u0000""#,
    r#""01234567-89ab-cdef-0123-456789abcdef""#,
    r#""{0123456789ABCDEF0123456789abcdef}""#,
    r#""2024-5-6 7:8""#,
    r#""2024-05-06T07:08:09.123456789Z""#,
    r#""2024-02-30T00:00""#,
];

/// Every accepted form of every kind of value.
fn boolean() -> impl Strategy<Value = String> {
    let forms = ["true", "false", "1", "0", "1.0", "0.0", r#""t""#, r#""False""#, r#""1""#];
    select(forms.to_vec()).prop_map(str::to_owned)
}

fn size() -> impl Strategy<Value = String> {
    let forms = ["0", "3", "3.7", "true", r#"" 7 ""#, r#""+8""#, "1e300", "18446744073709551615"];
    select(forms.to_vec()).prop_map(str::to_owned)
}

fn text(most: usize) -> impl Strategy<Value = String> {
    prop_oneof![
        4 => vec(any::<char>(), 1..8),
        1 => Just(vec!['é'; most]),
    ]
    .prop_map(|chars| json(&chars.into_iter().collect::<String>()))
}

fn texts(most: usize, least: usize) -> impl Strategy<Value = String> {
    vec(text(most), least..4).prop_map(|items| list(&items))
}

fn uuid() -> impl Strategy<Value = String> {
    (any::<u128>(), 0..5usize).prop_map(|(bits, form)| {
        let plain = format!("{bits:032x}");
        json(&match form {
            0 => plain,
            1 => plain.to_uppercase(),
            2 => format!("{{{plain}}}"),
            3 => format!("urn:uuid:{plain}"),
            _ => format!("{}-{}--{}", &plain[..1], &plain[1..9], &plain[9..]),
        })
    })
}

fn time() -> impl Strategy<Value = String> {
    let zones = ["", "Z", "+00:00", "-00", "+0230", "-23:59"];
    let fractions = ["", ":5", ":06", ":07.5", ":08.123456789012", ":09.000000"];
    (
        1..10_000u16,
        1..13u8,
        1..29u8,
        0..24u8,
        0..60u8,
        select(fractions.to_vec()),
        select(zones.to_vec()),
    )
        .prop_map(|(year, month, day, hour, minute, rest, zone)| {
            json(&format!("{year:04}-{month}-{day:02}T{hour:02}:{minute}{rest}{zone}"))
        })
}

fn payload() -> impl Strategy<Value = String> {
    any_json().prop_map(|value| object(&[("anything", value)]))
}

fn state() -> impl Strategy<Value = String> {
    vec((any::<String>(), leaf()), 0..4).prop_map(|fields| object(&fields))
}

/// An object with any choice of the fields, in any order.
fn some_of(
    fields: Vec<(&'static str, proptest::strategy::BoxedStrategy<String>)>,
) -> impl Strategy<Value = Vec<(String, String)>> {
    let all: Vec<_> = fields
        .into_iter()
        .map(|(key, value)| (Just(key.to_owned()), value, any::<bool>()))
        .collect();
    all.prop_map(|fields| {
        fields.into_iter().filter(|field| field.2).map(|(key, value, _)| (key, value)).collect()
    })
    .prop_shuffle()
}

fn settings() -> impl Strategy<Value = String> {
    some_of(vec![
        ("notify_presence", boolean().boxed()),
        ("broadcast_presence_with_user_lists", boolean().boxed()),
        ("notify_state", boolean().boxed()),
        ("store_history", boolean().boxed()),
        ("history_size", size().boxed()),
        ("store_frames", boolean().boxed()),
        ("unknown", any_json().boxed()),
    ])
    .prop_map(|fields| object(&fields))
}

fn configs() -> impl Strategy<Value = String> {
    vec((any::<String>(), settings()), 0..3).prop_map(|fields| object(&fields))
}

fn info() -> impl Strategy<Value = String> {
    some_of(vec![
        ("include_history", boolean().boxed()),
        ("include_history_length", boolean().boxed()),
        ("include_users", boolean().boxed()),
        ("include_connections", boolean().boxed()),
        ("exclude_channels", texts(9, 0).boxed()),
        ("return_public_state", boolean().boxed()),
        ("channels", texts(9, 0).boxed()),
    ])
    .prop_map(|fields| object(&fields))
}

fn with<S: Strategy<Value = Vec<(String, String)>>>(
    key: &'static str,
    value: impl Strategy<Value = String>,
    rest: S,
) -> impl Strategy<Value = String> {
    (value, rest).prop_map(move |(value, mut fields)| {
        fields.push((key.to_owned(), value));
        object(&fields)
    })
}

fn connect() -> impl Strategy<Value = String> {
    let rest = some_of(vec![
        ("conn_id", uuid().boxed()),
        ("channels", texts(256, 0).boxed()),
        ("fresh_user_state", state().boxed()),
        ("user_state", state().boxed()),
        ("state_public_keys", texts(256, 0).boxed()),
        ("channel_configs", configs().boxed()),
        ("info", info().boxed()),
    ]);
    with("username", text(512), rest)
}

fn item(key: &'static str, value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let rest = some_of(vec![
        ("message", payload().boxed()),
        ("channel", prop_oneof![text(256), Just("null".to_owned())].boxed()),
        ("pm_users", texts(512, 0).boxed()),
        ("exclude_users", texts(512, 0).boxed()),
        ("no_history", boolean().boxed()),
        ("timestamp", time().boxed()),
        ("edited", time().boxed()),
    ]);
    with(key, value, rest)
}

/// Asserts that a reader accepts a body, and that the request survives a round trip.
fn accepted(reader: usize, body: &str) {
    let request = READERS[reader](&bounded(body));
    let request = request.unwrap_or_else(|errors| panic!("{body}: {errors:?}"));
    let again = READERS[reader](&bounded(&request));
    assert_eq!(again, Ok(request), "{body}");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn no_json_breaks_the_readers(body in wild_json()) {
        for bounds in [Bounds::default(), Bounds { depth: 1000, elements: 1_000_000 }] {
            if let Ok(body) = parse(body.as_bytes(), bounds) {
                read_all(&body);
            }
        }
    }

    #[test]
    fn no_bytes_break_the_parser(
        body in wild_json(),
        garbage in vec(any::<u8>(), 0..9),
        at in any::<proptest::sample::Index>(),
        over in 0..9usize,
        bounds in (0..6usize, 0..20usize),
    ) {
        let mut bytes = body.into_bytes();
        let from = at.index(bytes.len());
        let to = (from + over).min(bytes.len());
        bytes.splice(from..to, garbage);
        let bounds = Bounds { depth: bounds.0, elements: bounds.1 };
        for bounds in [Bounds::default(), bounds] {
            match parse(&bytes, bounds) {
                Ok(body) => read_all(&body),
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
    }

    #[test]
    fn all_json_is_accepted_as_a_body(bytes in vec(any::<u8>(), 0..20), body in wild_json()) {
        for bytes in [bytes, body.into_bytes()] {
            if serde_json::from_slice::<serde_json::Value>(&bytes).is_ok() {
                let bounds = Bounds { depth: 200, elements: 1000 };
                prop_assert!(parse(&bytes, bounds).is_ok());
            }
        }
    }

    #[test]
    fn every_form_of_a_connect_is_accepted(body in connect()) {
        accepted(0, &body);
    }

    #[test]
    fn every_form_of_the_other_requests_is_accepted(
        id in uuid(),
        user in text(512),
        channels in texts(256, 1),
        configs in configs(),
        info in info(),
        state in state(),
        keys in prop_oneof![texts(256, 0), Just("null".to_owned())],
    ) {
        let field = |key: &str, value: &String| (key.to_owned(), value.clone());
        let subscribe = object(&[
            field("conn_id", &id),
            field("channels", &channels),
            field("channel_configs", &configs),
            field("info", &info),
        ]);
        accepted(1, &subscribe);
        prop_assert!(Unsubscribe::read(&bounded(&subscribe)).is_ok());
        accepted(3, &object(&[
            field("user", &user),
            field("user_state", &state),
            field("state_public_keys", &keys),
        ]));
        accepted(4, &configs);
        accepted(5, &object(&[field("info", &info)]));
        accepted(6, &object(&[field("conn_id", &id)]));
    }

    #[test]
    fn every_form_of_messages_edits_and_deletes_is_accepted(
        messages in vec(item("user", text(512)), 0..4),
        others in vec(item("uuid", uuid()), 0..4),
    ) {
        accepted(7, &list(&messages));
        accepted(8, &list(&others));
        accepted(9, &list(&others));
    }

    #[test]
    fn times_read_as_they_are_written(text in time(), other in any::<String>()) {
        let text: String = serde_json::from_str(&text).unwrap();
        let time = DateTime::parse(&text).unwrap();
        prop_assert_eq!(DateTime::parse(&time.to_string()), Some(time));
        prop_assert_eq!(DateTime::parse(&time.in_event().to_string()), Some(time));
        let _ = DateTime::parse(&other);
        let _ = parse_uuid(&other);
    }
}

/// This server accepts the same ids as one in Python.
#[test]
fn ids_read_as_python_reads_them() {
    const PIECES: [&str; 12] = ["urn:", "uuid:", "{", "}", "-", "u", "rn:", ":", "0", "aF", "", ""];
    let mut random = 7u64;
    let mut dice = |sides: usize| {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).unwrap() % sides
    };
    let texts: Vec<String> = (0..5000)
        .map(|_| {
            let digits = "0123456789abcdefABCDEF0123456789";
            let mut text = digits[..32 - usize::from(dice(4) == 0)].to_owned();
            for _ in 0..dice(5) {
                let place = [0, text.len(), dice(text.len() + 1)][dice(3)];
                text.insert_str(place, PIECES[dice(PIECES.len())]);
            }
            text
        })
        .collect();
    let program = "import sys, uuid\nfor line in sys.stdin:\n try: print(uuid.UUID(line[:-1]))\n \
                   except ValueError: print('-')";
    let python = std::env::var_os("CHANNELSTREAM_TEST_PYTHON").unwrap_or("python3".into());
    let mut command = Command::new(python);
    let mut child = command
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test needs Python");
    let mut stdin = child.stdin.take().unwrap();
    let lines = texts.join("\n") + "\n";
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let theirs = String::from_utf8(output.stdout).unwrap();
    let ours =
        texts.iter().map(|text| parse_uuid(text).map_or("-".to_owned(), |id| id.to_string()));
    let mut taken = 0;
    for ((ours, theirs), text) in ours.zip(theirs.lines()).zip(&texts) {
        assert_eq!(ours, theirs, "{text}");
        taken += usize::from(theirs != "-");
    }
    assert_eq!(theirs.lines().count(), texts.len());
    assert!(taken > 500 && taken < 4500, "{taken} of {}", texts.len());
}
