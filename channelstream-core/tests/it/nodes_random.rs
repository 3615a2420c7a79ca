//! Properties of several nodes: all have the same state, and clients that go from node to node miss
//! nothing, whatever dies. `CHANNELSTREAM_CASES=30000` makes them a search of minutes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use channelstream_core::protocol::{Cursor, Epoch};
use channelstream_core::state::{
    Alive, Appends, Closing, Command, Keep, ListenerId, ListenerKind, Rules, Sequence, Since,
};
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof};
use proptest::proptest;
use proptest::sample::select;

use crate::random::{CHANNELS, LABELS, Op, op};
use crate::world::{World, hours, rules, secs, summary};

fn cases(cases: u32) -> ProptestConfig {
    let cases = std::env::var("CHANNELSTREAM_CASES").map_or(cases, |cases| cases.parse().unwrap());
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// One thing that happens on one of three nodes.
#[derive(Clone, Debug)]
enum Any {
    Op(Op),
    /// A listener that is told of appends by edits.
    ForEdits {
        label: &'static str,
    },
    Tell,
    Leave,
    Begin {
        alone: bool,
    },
}

fn anything() -> impl Strategy<Value = Any> {
    prop_oneof![
        30 => op().prop_map(Any::Op),
        3 => select(&LABELS[..]).prop_map(|label| Any::ForEdits { label }),
        5 => Just(Any::Tell),
        1 => Just(Any::Leave),
        1 => any::<bool>().prop_map(|alone| Any::Begin { alone }),
    ]
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn all_nodes_have_the_same_state(turns in vec((0..3usize, anything()), 1..80)) {
        let mut w = World::of_nodes(3, rules());
        for (number, (node, turn)) in (1..).zip(turns) {
            w.at = node;
            match turn {
                Any::Op(op) => op.happen(&mut w),
                Any::ForEdits { label } => {
                    drop(w.open_as(label, ListenerKind::Socket, Appends::AsEdits, None));
                }
                Any::Tell => w.tell(node),
                Any::Leave => w.apply_at(node, Command::Leave),
                Any::Begin { alone } => {
                    let epoch = Epoch::new(number << 20);
                    w.apply_at(node, Command::Begin { epoch, alone });
                }
            }
            if number % 8 == 0 {
                w.check_nodes();
            }
        }
        w.check_nodes();
    }
}

/// One thing that happens to the clients or the nodes.
#[derive(Clone, Copy, Debug)]
enum Turn {
    Say {
        channel: &'static str,
        count: u64,
    },
    Join,
    Part,
    /// The client without a cursor opens.
    Open {
        kind: ListenerKind,
    },
    Close {
        how: Closing,
    },
    Stall,
    Flow {
        events: usize,
    },
    /// The client with a cursor has received so much, and comes back.
    Return {
        received: usize,
    },
    Break {
        received: usize,
    },
    ReadOn,
    FallBehind,
    /// A node looks at its listeners.
    Look,
    /// It tells what it saw first of what it has not told yet.
    Tell,
    /// Servers close later what they have to.
    Hold,
    Release,
    Kill,
    Leave,
    Supersede,
    Pass {
        tenths: u64,
        without: bool,
    },
}

fn turns() -> impl Strategy<Value = Vec<(usize, Turn)>> {
    let received = || 0..5usize;
    let how = any::<bool>()
        .prop_map(|by_peer| if by_peer { Closing::ByPeer } else { Closing::Otherwise });
    let kind =
        any::<bool>().prop_map(|poll| if poll { ListenerKind::Poll } else { ListenerKind::Socket });
    let turn = prop_oneof![
        12 => (select(&CHANNELS[..]), 1..3u64)
            .prop_map(|(channel, count)| Turn::Say { channel, count }),
        1 => Just(Turn::Join),
        1 => Just(Turn::Part),
        6 => kind.prop_map(|kind| Turn::Open { kind }),
        3 => how.prop_map(|how| Turn::Close { how }),
        2 => Just(Turn::Stall),
        4 => (0..4usize).prop_map(|events| Turn::Flow { events }),
        5 => received().prop_map(|received| Turn::Return { received }),
        2 => received().prop_map(|received| Turn::Break { received }),
        5 => Just(Turn::ReadOn),
        1 => Just(Turn::FallBehind),
        6 => Just(Turn::Look),
        6 => Just(Turn::Tell),
        2 => Just(Turn::Hold),
        3 => Just(Turn::Release),
        2 => Just(Turn::Kill),
        1 => Just(Turn::Leave),
        2 => Just(Turn::Supersede),
        4 => (1..30u64, Just(false)).prop_map(|(tenths, without)| Turn::Pass { tenths, without }),
        1 => (100..130u64, Just(true)).prop_map(|(tenths, without)| Turn::Pass { tenths, without }),
    ];
    vec((0..3usize, turn), 1..100)
}

/// The nodes, the client without a cursor (ben), the one with cursors (ann), and the witness (eve), who
/// listens on the first node all the time.
struct Storm {
    w: World,
    /// The nodes that live; the first never dies.
    nodes: Vec<usize>,
    looks: BTreeMap<usize, VecDeque<Alive>>,
    /// What ben was sent for sure, as the nodes know: it must not come again.
    sure: BTreeSet<Sequence>,
    /// What ben has got, and how much of each listener was looked at.
    got: BTreeSet<Sequence>,
    taken: BTreeMap<usize, usize>,
    cursor: Cursor,
    followed: Vec<Sequence>,
    posted: u64,
}

impl Storm {
    fn begin() -> Self {
        let day = hours(24_000);
        let all = Keep { events: 100_000, bytes: usize::MAX };
        let mut w = World::of_nodes(
            3,
            Rules {
                connection_timeout: day,
                closing_grace: day,
                channel_timeout: day,
                channel_events: all,
                user_events: all,
                portion: Keep { events: 3, bytes: usize::MAX },
                ..Rules::default()
            },
        );
        for channel in CHANNELS {
            w.configure(channel, crate::world::announcing());
        }
        for label in ["ann", "ben", "eve"] {
            w.connect(label, &CHANNELS);
        }
        w.socket("eve");
        w.on(1).follow("ann", Since::Record);
        w.catch_up("ann");
        let cursor = w.take("ann").pop().expect("it is told where it stands").cursor;
        // From here on all three hear the same.
        w.on(0).socket("ben");
        w.end("ben", Closing::Otherwise);
        w.take("eve");
        let last = w.listeners.len() - 1;
        let taken = BTreeMap::from([(last, w.listeners[last].got.len())]);
        Self {
            w,
            nodes: vec![0, 1, 2],
            looks: BTreeMap::new(),
            sure: BTreeSet::new(),
            got: BTreeSet::new(),
            taken,
            cursor,
            followed: Vec::new(),
            posted: 0,
        }
    }

    /// Checks what ben got since the last time.
    fn look_at_ben(&mut self) {
        for (number, entry) in self.w.listeners.iter().enumerate() {
            if entry.label != "ben" {
                continue;
            }
            let taken = self.taken.entry(number).or_default();
            for got in &entry.got[*taken..] {
                let again = !self.got.insert(got.sequence);
                let what = summary(got);
                assert!(!again || got.catchup, "again, and not as catch-up: {what}");
                assert!(
                    !again || !self.sure.contains(&got.sequence),
                    "again, though it was told to be sent: {what}, number {}",
                    got.sequence
                );
            }
            *taken = entry.got.len();
        }
    }

    /// Notes what ben's open listener was sent, as its node tells in this report.
    fn is_sure(&mut self, node: usize, alive: &Alive) {
        self.look_at_ben();
        for (id, entry) in (0..).zip(&self.w.listeners) {
            if entry.label != "ben" || entry.node != node || entry.end.is_some() {
                continue;
            }
            if entry.caught_up > alive.position {
                continue;
            }
            let listener = ListenerId::new(id);
            let but = alive.but.iter().find(|(one, _)| *one == listener);
            let sent = but.map_or(alive.sent, |(_, sent)| *sent);
            let got = entry.got.iter().map(|got| got.sequence);
            self.sure.extend(got.filter(|sequence| *sequence <= sent));
        }
    }

    /// Ann receives some of what was sent since the last time; the rest is lost on the way.
    fn receive(&mut self, most: usize) {
        let sent = self.w.take("ann");
        for got in sent.iter().take(most) {
            self.cursor = got.cursor;
            if !matches!(got.event, channelstream_core::protocol::Event::Cursor) {
                self.followed.push(got.sequence);
            }
        }
    }

    fn end_ben(&mut self, how: Closing) {
        self.look_at_ben();
        if let Some((_, entry)) = self.w.current("ben") {
            let got: Vec<_> = entry.got.iter().map(|got| got.sequence).collect();
            self.w.end("ben", how);
            if !self.w.holds_closes {
                self.sure.extend(got);
            }
        }
    }

    /// A node ends without a word, and another one joins in its place.
    fn lose(&mut self, place: usize) {
        let node = self.nodes.remove(place);
        self.look_at_ben();
        self.w.kill(node);
        self.looks.remove(&node);
        let new = self.w.join_node();
        self.nodes.push(new);
    }

    fn take_turn(&mut self, place: usize, turn: Turn) {
        let place = place % self.nodes.len();
        let node = self.nodes[place];
        self.w.at = node;
        match turn {
            Turn::Say { channel, count } => {
                for _ in 0..count {
                    self.posted += 1;
                    self.w.say(channel, &self.posted.to_string());
                }
            }
            Turn::Join => {
                self.w.connect("cat", &["a"]);
            }
            Turn::Part => {
                self.w.disconnect("cat");
            }
            Turn::Open { kind } => drop(self.w.open("ben", kind)),
            Turn::Close { how } => self.end_ben(how),
            Turn::Stall => self.w.stall("ben"),
            Turn::Flow { events } => self.w.flow("ben", events),
            Turn::Return { received } => {
                self.receive(received);
                self.w.follow("ann", Since::Cursor(self.cursor));
            }
            Turn::Break { received } => {
                self.receive(received);
                self.w.end("ann", Closing::Otherwise);
                self.w.take("ann");
            }
            Turn::ReadOn => drop(self.w.read_on("ann")),
            Turn::FallBehind => {
                if !self.w.is_behind("ann") {
                    self.receive(usize::MAX);
                    self.w.fall_behind("ann");
                }
            }
            Turn::Look => {
                let alive = self.w.look(node);
                self.looks.entry(node).or_default().push_back(alive);
            }
            Turn::Tell => {
                let look = self.looks.get_mut(&node).and_then(VecDeque::pop_front);
                let alive = look.unwrap_or_else(|| self.w.look(node));
                self.is_sure(node, &alive);
                self.w.say_alive(node, alive);
            }
            Turn::Hold => self.w.holds_closes = true,
            Turn::Release => {
                self.w.holds_closes = false;
                self.w.release_closes();
            }
            Turn::Kill if place > 0 && self.w.dead.len() < 5 => self.lose(place),
            Turn::Leave if place > 0 && self.w.dead.len() < 5 => {
                self.lose(place);
                self.w.apply_at(node, Command::Leave);
            }
            Turn::Kill | Turn::Leave => {}
            Turn::Supersede => {
                if let Some((_, entry)) = self.w.current("ben") {
                    self.w.at = entry.node;
                    drop(self.w.open("ben", ListenerKind::Socket));
                }
            }
            Turn::Pass { tenths, without } => {
                let mut nodes = self.nodes.clone();
                if without && place > 0 {
                    nodes.remove(place);
                }
                self.w.pass(tenths * 100, &nodes);
            }
        }
        self.look_at_ben();
    }

    /// Lets both come back, and checks that they have all that the witness has.
    fn end(mut self) {
        self.w.holds_closes = false;
        self.w.release_closes();
        let nodes = self.nodes.clone();
        self.w.pass(12_000, &nodes);
        self.receive(usize::MAX);
        self.end_ben(Closing::Otherwise);
        self.w.at = nodes[2];
        self.w.socket("ben");
        self.w.follow("ann", Since::Cursor(self.cursor));
        self.w.catch_up("ann");
        for channel in CHANNELS {
            self.w.say(channel, "the end");
        }
        self.w.flow("ben", usize::MAX);
        self.look_at_ben();
        self.receive(usize::MAX);
        let seen: Vec<Sequence> = self.w.take("eve").iter().map(|got| got.sequence).collect();
        assert_eq!(self.got, seen.iter().copied().collect(), "ben, and the witness");
        assert_eq!(self.followed, seen, "ann, and the witness");
        self.w.check_nodes();
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn who_goes_from_node_to_node_misses_nothing_whatever_dies(turns in turns()) {
        let mut storm = Storm::begin();
        for (place, turn) in turns {
            storm.take_turn(place, turn);
        }
        storm.end();
    }
}

#[test]
fn a_long_outage_between_the_turns_changes_nothing() {
    let mut storm = Storm::begin();
    storm.take_turn(1, Turn::Open { kind: ListenerKind::Socket });
    storm.take_turn(0, Turn::Say { channel: "a", count: 2 });
    storm.w.jump(secs(86_400));
    storm.take_turn(1, Turn::Tell);
    storm.take_turn(0, Turn::Say { channel: "b", count: 2 });
    storm.end();
}
