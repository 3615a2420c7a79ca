//! The largest valid request of each endpoint, and what a server does with it: read it, apply it,
//! write the answer. Used by the tests and by the benchmark `largest`.

use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::time::Duration;

use channelstream_core::protocol::{
    Bounds, ChannelsInfo, Configure, Connect, Info, InfoOptions, NewMessage, SetUserState,
    Subscribe, Timestamp, Unsubscribe, Uuid, parse, read_changes, read_deletes, read_messages,
};
use channelstream_core::state::{
    Appends, CatchUp, Command, ConnectionId, Envelope, ListenerId, ListenerKind, Moment, NodeId,
    Reply, Rules, Stamp, State,
};

/// A state after earlier requests, and its clock.
pub(crate) struct Server {
    state: State,
    now: Moment,
}

impl Server {
    fn new() -> Self {
        let rules = Rules {
            longest_step: Duration::MAX,
            max_growing_size: usize::MAX,
            max_growing_items: usize::MAX,
            max_open_messages: usize::MAX,
            ..Rules::default()
        };
        Self { state: State::new(rules).for_node(NodeId::new(1)), now: Moment::default() }
    }

    fn apply(&mut self, command: Command) -> Reply {
        let stamp = Stamp { now: Timestamp::default(), moment: self.now, seed: 7 };
        self.state
            .apply(Envelope { node: NodeId::new(1), number: 0, stamp, command, repeat: None })
            .reply
            .expect("it is lawful")
    }

    fn connect(&mut self, number: usize, user: &str, channels: Vec<String>) {
        let connection = id(number);
        let mut request = Box::new(Connect::new(user).channels(channels));
        request.info.include_users = false;
        self.apply(Command::Connect { connection, request });
    }

    fn configure(&mut self, channels: usize) {
        let body = format!("{{{}}}", list(channels, |n| format!("\"c{n}\":null")));
        self.carry_out("/channel_config", &body);
    }

    /// Carries out a request with this body.
    fn carry_out(&mut self, path: &str, body: &str) -> Spent {
        let begun = on_processor();
        let asked = read(path, body);
        let is_read = on_processor();
        let answer = match asked {
            Asked::Command(command) => Answer::Reply(self.apply(*command)),
            Asked::Info(options) => Answer::Info(self.state.info(&options)),
        };
        let applied = on_processor();
        drop(black_box(write(&answer)));
        drop(answer);
        let end = on_processor();
        let (read, apply, write) = (is_read - begun, applied - is_read, end - applied);
        Spent { read, apply, write }
    }
}

/// The seconds of each step of a request. Between steps, a server serves other requests.
#[derive(Debug)]
pub(crate) struct Spent {
    pub(crate) read: f64,
    pub(crate) apply: f64,
    pub(crate) write: f64,
}

impl Spent {
    pub(crate) fn total(&self) -> f64 {
        self.read + self.apply + self.write
    }
}

/// The processor time of this thread in seconds. It does not depend on what else the machine does.
/// Its resolution is some milliseconds.
fn on_processor() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux has this file");
    let first = text.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok());
    first.expect("nanoseconds come first") / 1e9
}

enum Asked {
    Command(Box<Command>),
    Info(InfoOptions),
}

enum Answer {
    Reply(Reply),
    Info(ChannelsInfo),
}

fn read(path: &str, body: &str) -> Asked {
    const LAWFUL: &str = "it is lawful";
    let body = parse(body.as_bytes(), Bounds::default()).expect(LAWFUL);
    Asked::Command(Box::new(match path {
        "/connect" => {
            let request = Connect::read(&body).expect(LAWFUL);
            let connection = request.conn_id.unwrap_or_default().into();
            Command::Connect { connection, request: Box::new(request) }
        }
        "/subscribe" => Command::Subscribe(Subscribe::read(&body).expect(LAWFUL)),
        "/unsubscribe" => Command::Unsubscribe(Unsubscribe::read(&body).expect(LAWFUL)),
        "/user_state" => Command::SetUserState(SetUserState::read(&body).expect(LAWFUL)),
        "/channel_config" => Command::Configure(Configure::read(&body).expect(LAWFUL)),
        "/message" => Command::Publish(read_messages(&body).expect(LAWFUL)),
        "PATCH /message" => Command::Change(read_changes(&body).expect(LAWFUL)),
        "DELETE /message" => Command::Delete(read_deletes(&body).expect(LAWFUL)),
        "/info" => return Asked::Info(Info::read(&body).expect(LAWFUL).info),
        other => panic!("no path {other}"),
    }))
}

fn write(answer: &Answer) -> Vec<u8> {
    match answer {
        Answer::Info(body) => serde_json::to_vec(body),
        Answer::Reply(Reply::Connected(body)) => serde_json::to_vec(body),
        Answer::Reply(Reply::Subscribed(body)) => serde_json::to_vec(body),
        Answer::Reply(Reply::Unsubscribed(body)) => serde_json::to_vec(body),
        Answer::Reply(Reply::UserStateSet(body)) => serde_json::to_vec(body),
        Answer::Reply(Reply::Configured(body)) => serde_json::to_vec(body),
        Answer::Reply(Reply::Published(body)) => serde_json::to_vec(body),
        Answer::Reply(Reply::Changed(body)) => serde_json::to_vec(body),
        Answer::Reply(Reply::Deleted(body)) => serde_json::to_vec(body),
        Answer::Reply(_) => Ok(Vec::new()),
    }
    .expect("answers are JSON")
}

/// Creates a state for a number of items.
pub(crate) type Before = fn(usize) -> Server;

/// A request, and the state that it is applied to.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    path: &'static str,
    /// Creates a workload of a number of items.
    body: fn(usize) -> String,
    before: Before,
}

fn id(number: usize) -> ConnectionId {
    ConnectionId::from_u128(number as u128)
}

fn uuid(number: usize) -> Uuid {
    id(number).into()
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("c{number}")).collect()
}

fn list(count: usize, item: impl Fn(usize) -> String) -> String {
    let mut text = String::new();
    for number in 0..count {
        let comma = if number == 0 { "" } else { "," };
        write!(text, "{comma}{}", item(number)).expect("a string takes anything");
    }
    text
}

/// The names of channels in reverse, so that no request is sorted already.
fn backwards(count: usize) -> String {
    list(count, |number| format!("\"c{}\"", count - 1 - number))
}

/// 80,000 channels take less than 1 MiB of JSON. Other items
/// are longer, so there are fewer.
const CHANGES: usize = 5;
const MESSAGES: usize = 3;

fn message_id(number: usize) -> String {
    format!("{:032x}", number + 1)
}

fn with_channels(count: usize) -> Server {
    let mut server = Server::new();
    server.configure(count);
    server
}

/// One user is in all channels.
fn with_member(count: usize) -> Server {
    let mut server = Server::new();
    server.connect(1, "ann", names(count));
    server
}

/// Many users are in one channel.
fn with_members(count: usize) -> Server {
    let mut server = Server::new();
    for number in 0..count {
        server.connect(number + 1, &format!("u{number}"), vec!["c0".to_owned()]);
    }
    server
}

/// One channel keeps many messages.
fn with_history(count: usize) -> Server {
    let mut server = Server::new();
    server.carry_out("/channel_config", r#"{"c0":{"store_history":true,"history_size":1000000}}"#);
    let message = |number| NewMessage {
        uuid: Some(Uuid::from_u128(number as u128 + 1)),
        ..NewMessage::new("ann", channelstream_core::protocol::Address::channel("c0"))
    };
    server.apply(Command::Publish((0..count).map(message).collect()));
    server
}

/// One channel has many open messages, the first of which has many items.
fn with_growing(count: usize) -> Server {
    let mut server = with_history(0);
    let items = list(count, |_| "[]".to_owned());
    let message = |number| {
        let items = if number == 0 { &*items } else { "" };
        let id = message_id(number);
        format!(
            r#"{{"user":"a","channel":"c0","uuid":"{id}","status":"open","message":{{"l":[{items}]}}}}"#
        )
    };
    for number in 0..count / CHANGES {
        server.carry_out("/message", &format!("[{}]", message(number)));
    }
    server
}

const NO_INFO: &str = r#""info":{"include_users":false,"include_history":false}"#;

pub(crate) const WORKLOADS: &[Workload] = &[
    Workload {
        name: "connect to new channels",
        path: "/connect",
        body: |n| format!(r#"{{"username":"bob","channels":[{}]}}"#, backwards(n)),
        before: |_| Server::new(),
    },
    Workload {
        name: "connect to one channel over and over",
        path: "/connect",
        body: |n| format!(r#"{{"username":"bob","channels":[{}]}}"#, list(n, |_| "\"c0\"".into())),
        before: |n| with_members(n / 10),
    },
    Workload {
        name: "connect with public keys",
        path: "/connect",
        body: |n| {
            let state = list(n / 2, |number| format!("\"k{number}\":1"));
            let keys = list(n / 2, |number| format!("\"k{number}\""));
            let keys = format!(r#""user_state":{{{state}}},"state_public_keys":[{keys}]"#);
            format!(r#"{{"username":"bob",{keys}}}"#)
        },
        before: |_| Server::new(),
    },
    Workload {
        name: "subscribe",
        path: "/subscribe",
        body: |n| format!(r#"{{"conn_id":"{}","channels":[{}]}}"#, uuid(1), backwards(n)),
        before: |n| {
            let mut server = with_channels(n);
            server.connect(1, "ann", Vec::new());
            server
        },
    },
    Workload {
        name: "unsubscribe",
        path: "/unsubscribe",
        body: |n| format!(r#"{{"conn_id":"{}","channels":[{}],{NO_INFO}}}"#, uuid(1), backwards(n)),
        before: with_member,
    },
    Workload {
        name: "set public state",
        path: "/user_state",
        body: |n| {
            let state = list(n / 2, |number| format!("\"k{number}\":2"));
            format!(r#"{{"user":"ann","user_state":{{{state}}}}}"#)
        },
        before: |n| {
            let mut server = Server::new();
            let keys = list(n / 2, |number| format!("\"k{number}\""));
            let body =
                format!(r#"{{"username":"ann","channels":["c0"],"state_public_keys":[{keys}]}}"#);
            server.carry_out("/connect", &body);
            server.carry_out("/channel_config", r#"{"c0":{"notify_state":true}}"#);
            server
        },
    },
    Workload {
        name: "configure",
        path: "/channel_config",
        body: |n| format!("{{{}}}", list(n * 3 / 4, |number| format!("\"c{number}\":null"))),
        before: |_| Server::new(),
    },
    Workload {
        name: "publish messages",
        path: "/message",
        body: |n| {
            format!("[{}]", list(n / MESSAGES, |_| r#"{"user":"ann","channel":"c0"}"#.to_owned()))
        },
        before: with_history,
    },
    Workload {
        name: "publish to users",
        path: "/message",
        body: |n| {
            let users = list(n, |number| format!("\"u{number}\""));
            format!(r#"[{{"user":"ann","pm_users":[{users}],"message":{{}}}}]"#)
        },
        before: with_members,
    },
    Workload {
        name: "publish to a user over and over",
        path: "/message",
        body: |n| {
            let users = list(n, |_| "\"u0\"".to_owned());
            format!(r#"[{{"user":"ann","pm_users":[{users}],"message":{{}}}}]"#)
        },
        before: |_| with_members(1),
    },
    Workload {
        name: "publish to all but some",
        path: "/message",
        body: |n| {
            let users = list(n, |number| format!("\"u{}\"", n - number));
            format!(r#"[{{"user":"ann","channel":"c0","exclude_users":[{users}]}}]"#)
        },
        before: with_members,
    },
    Workload {
        name: "edit",
        path: "PATCH /message",
        body: |n| {
            let edit =
                |number| format!(r#"{{"uuid":"{}","channel":"c0"}}"#, message_id(n - number));
            format!("[{}]", list(n / CHANGES, edit))
        },
        before: |n| with_history(n + 1),
    },
    Workload {
        name: "open messages",
        path: "/message",
        body: |n| {
            let open = r#"{"user":"ann","channel":"c0","status":"open"}"#;
            format!("[{}]", list(n / CHANGES, |_| open.to_owned()))
        },
        before: |_| with_history(0),
    },
    Workload {
        name: "append to many messages",
        path: "PATCH /message",
        body: |n| {
            let append = |number| {
                let id = message_id(n / CHANGES - 1 - number);
                format!(r#"{{"uuid":"{id}","append":{{"t":"x"}},"status":"done"}}"#)
            };
            format!("[{}]", list(n / CHANGES, append))
        },
        before: with_growing,
    },
    Workload {
        name: "append to a message over and over",
        path: "PATCH /message",
        body: |n| {
            let append = format!(r#"{{"uuid":"{}","append":{{"t":"x","l":[1]}}}}"#, message_id(0));
            format!("[{}]", list(n / CHANGES, |_| append.clone()))
        },
        before: with_growing,
    },
    Workload {
        name: "append many items",
        path: "PATCH /message",
        body: |n| {
            let (id, items) = (message_id(0), list(n, |_| "0".to_owned()));
            format!(r#"[{{"uuid":"{id}","append":{{"l":[{items}]}}}}]"#)
        },
        before: with_growing,
    },
    Workload {
        name: "append to many items",
        path: "PATCH /message",
        body: |n| {
            let (id, items) = (message_id(0), list(n / 2, |item| format!(r#""/l/{item}/0":"x""#)));
            format!(r#"[{{"uuid":"{id}","append":{{{items}}}}}]"#)
        },
        before: with_growing,
    },
    Workload {
        name: "append and be refused",
        path: "PATCH /message",
        body: |n| {
            let (id, keys) = (message_id(0), list(n / 2, |key| format!(r#""k{key}":"x""#)));
            format!(r#"[{{"uuid":"{id}","append":{{{keys},"/no/place":"x"}}}}]"#)
        },
        before: with_growing,
    },
    Workload {
        name: "append to unknown messages",
        path: "PATCH /message",
        body: |n| {
            let append = |number| {
                let id = message_id(n + number);
                format!(r#"{{"uuid":"{id}","channel":"c0","append":{{}}}}"#)
            };
            format!("[{}]", list(n / CHANGES, append))
        },
        before: with_history,
    },
    Workload {
        name: "delete",
        path: "DELETE /message",
        body: |n| {
            let delete =
                |number| format!(r#"{{"uuid":"{}","channel":"c0"}}"#, message_id(n - number));
            format!("[{}]", list(n / CHANGES, delete))
        },
        before: |n| with_history(n + 1),
    },
    Workload {
        name: "info without some channels",
        path: "/info",
        body: |n| format!(r#"{{"info":{{"exclude_channels":[{}]}}}}"#, backwards(n)),
        before: with_channels,
    },
    Workload {
        name: "info of named channels",
        path: "/info",
        body: |n| format!(r#"{{"info":{{"channels":[{}],"include_users":false}}}}"#, backwards(n)),
        before: with_channels,
    },
    Workload {
        name: "info of one channel over and over",
        path: "/info",
        body: |n| format!(r#"{{"info":{{"channels":[{}]}}}}"#, list(n, |_| "\"c0\"".into())),
        before: |n| with_members(n / 10),
    },
    Workload {
        name: "info of all",
        path: "/info",
        body: |_| r#"{"info":{}}"#.to_owned(),
        before: with_member,
    },
];

/// The shorter of two times, for a number of items.
pub(crate) fn least(workload: &Workload, count: usize) -> Spent {
    let body = (workload.body)(count);
    assert!(body.len() < 1 << 20, "{} bytes are not lawful", body.len());
    let once = || (workload.before)(count).carry_out(workload.path, &body);
    let (one, other) = (once(), once());
    if one.total() < other.total() { one } else { other }
}

/// The seconds that it takes to end everything that is due, and the number of steps.
pub(crate) fn expired(before: Before, count: usize) -> (f64, usize) {
    let mut server = before(count);
    server.now = server.now.after(Duration::from_secs(400));
    let begun = on_processor();
    let mut steps = 0;
    while server.state.counts().connections > 0 {
        server.apply(Command::Tick);
        steps += 1;
    }
    (on_processor() - begun, steps)
}

/// States in which very much ends at once.
pub(crate) const ENDINGS: &[(&str, Before)] = &[
    ("a connection in many channels ends", with_member),
    ("many users of one channel end", with_members),
    ("many connections of one user end", |count| {
        let mut server = Server::new();
        for number in 0..count {
            server.connect(number + 1, "ann", vec!["c0".to_owned()]);
            let (connection, listener) = (id(number + 1), ListenerId::new(number as u64));
            let (kind, appends) = (ListenerKind::Poll, Appends::AsEvents);
            let catch_up = CatchUp::Deliver;
            server.apply(Command::Open { connection, listener, kind, catch_up, appends });
            server.apply(Command::Disconnect(connection));
        }
        server
    }),
];
