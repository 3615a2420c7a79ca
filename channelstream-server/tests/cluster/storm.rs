//! The storm on servers and a Redis that die: followers with cursors, publishers and guests, while
//! something breaks; then quiet, and the verdict by the storm's model. All choices come from a seed.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use channelstream_signer::unix_now;
use serde_json::{Value, json};
use tokio::task::{LocalSet, spawn_blocking, spawn_local};

use crate::app::{Site as Place, eventually};
use crate::cluster::{Cluster, Outcome, figures, publish, standing};
use crate::dice::Dice;
use crate::follower::Follower;
use crate::guests;
use crate::model::{Key, Received, Record, Stream};
use crate::order::Order;
use crate::page;
use crate::publisher;
use crate::round::{Plan, Round, is_serial, settings};
use crate::wire::Site;

/// Everything is stored, so that a gap is told only for what was lost; who is away is soon forgotten.
const FLAGS: [&str; 9] = [
    "--stored-frames=1000000",
    "--stored-private-frames=1000000",
    "--stored-bytes=1000000000",
    "--outbox-frames=200",
    "--outbox-bytes=150000",
    "--heartbeat-interval=1",
    "--wake-connections-after=1",
    "--gc-conns-after=3",
    "--max-idempotency-bytes=1000000000",
];

/// How many faults are told.
const TOLD: usize = 20;

/// A storm that is to be.
pub(crate) struct Storm {
    what: &'static str,
    seed: u64,
    plan: Plan,
    guests: usize,
    /// When all servers and Redis have died, and with them what was answered shortly before. Nothing grows then,
    /// because a message that is lost does not grow.
    deaths: Arc<Mutex<Vec<Instant>>>,
    loses: bool,
}

impl Storm {
    /// One with any seed, or that of `CHANNELSTREAM_STORM_SEED`.
    pub(crate) fn new(what: &'static str) -> Self {
        let any = (unix_now() + u64::from(std::process::id())) % 1_000_000;
        let seed = std::env::var("CHANNELSTREAM_STORM_SEED");
        let seed =
            seed.map_or(any, |seed| seed.parse().expect("CHANNELSTREAM_STORM_SEED is a number"));
        let size = |few, many| crate::rounds(few, many);
        let plan = Plan {
            users: size(24, 90),
            followers: size(24, 90),
            channels: size(8, 24),
            publishers: size(6, 8),
            writers: size(2, 4),
            pace: size(60, 120),
            time: Duration::ZERO,
        };
        let (guests, deaths) = (size(8, 30), Arc::default());
        Self { what, seed, plan, guests, deaths, loses: false }
    }

    /// One in which everything may die at once.
    pub(crate) fn that_loses(what: &'static str) -> Self {
        let storm = Self::new(what);
        Self { plan: Plan { writers: 0, ..storm.plan }, loses: true, ..storm }
    }

    /// Where it is noted that everything has died.
    pub(crate) fn deaths(&self) -> Arc<Mutex<Vec<Instant>>> {
        Arc::clone(&self.deaths)
    }

    pub(crate) fn start(&self, url: &str) -> Cluster {
        Cluster::start_with(url, &FLAGS)
    }

    pub(crate) fn dice(&self) -> Dice {
        Dice::new(self.seed).part(7)
    }

    /// Lets something break, and judges what everybody was given meanwhile. What `breaking` returns lives on
    /// to the end.
    #[expect(clippy::print_stdout, reason = "the figures are asked for beside the verdict")]
    pub(crate) fn rages<T: Send + 'static>(
        &self,
        cluster: Cluster,
        breaking: impl FnOnce(&mut Cluster, &mut Dice) -> T + Send + 'static,
    ) -> (Cluster, T) {
        println!("{}: seed {}", self.what, self.seed);
        let begun = Instant::now();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (record, frames, (cluster, broken)) =
            LocalSet::new().block_on(&runtime, self.rage(cluster, breaking));
        let done: BTreeMap<_, _> = record.done.take().into_iter().collect();
        let faults = record.faults.take();
        println!(
            "{}: {frames} frames checked, {} faults, {:.0} s, seed {}, {done:?}",
            self.what,
            faults.len(),
            begun.elapsed().as_secs_f64(),
            self.seed
        );
        if !faults.is_empty() {
            let told = faults.iter().take(TOLD).map(String::as_str).collect::<Vec<_>>().join("\n");
            panic!(
                "{}, CHANNELSTREAM_STORM_SEED={}: {} faults\n{told}\n{}",
                self.what,
                self.seed,
                faults.len(),
                cluster.logs()
            );
        }
        (cluster, broken)
    }

    async fn rage<T: Send + 'static>(
        &self,
        mut cluster: Cluster,
        breaking: impl FnOnce(&mut Cluster, &mut Dice) -> T + Send + 'static,
    ) -> (Record, usize, (Cluster, T)) {
        let dice = Dice::new(self.seed);
        let site = Site {
            addresses: cluster.addresses(),
            dice: RefCell::new(dice.part(1 << 32)),
            breaks: true,
        };
        let Plan { followers, channels, publishers, writers, .. } = self.plan;
        let round = Rc::new(Round::new(site, self.plan.clone()));
        round.record.loses.set(self.loses);
        let mut configs: BTreeMap<_, _> =
            (0..channels).map(|channel| (format!("c{channel}"), settings(channel))).collect();
        configs.values_mut().for_each(|settings| settings["store_frames"] = json!(true));
        round.call("/channel_config", &json!(configs)).await;

        let mut members = BTreeMap::<String, Vec<String>>::new();
        let witness = |number: usize| {
            let dice = dice.part(200_000 + number as u64);
            Follower::witness(Rc::clone(&round), dice, number % channels)
        };
        let follower =
            |user: usize| Follower::new(Rc::clone(&round), dice.part(100_000 + user as u64), user);
        let mut following = Vec::new();
        let mut start = |follower: Follower| {
            let (name, channels) = follower.membership();
            for channel in channels {
                members.entry(channel).or_default().push(name.clone());
            }
            following.push(spawn_local(follower.run()));
        };
        (0..2 * channels).map(witness).for_each(&mut start);
        round.all_ready(2 * channels).await;
        (0..followers).map(follower).for_each(start);
        let mut others: Vec<_> = (0..publishers)
            .map(|number| {
                let dice = dice.part(number as u64);
                spawn_local(publisher::publish(Rc::clone(&round), dice, number))
            })
            .collect();
        others.extend((0..writers).map(|number| {
            let dice = dice.part(300_000 + number as u64);
            spawn_local(page::write(Rc::clone(&round), dice, number))
        }));
        others.extend((0..self.guests).map(|user| {
            let dice = dice.part(400_000 + user as u64);
            spawn_local(guests::come_and_go(Rc::clone(&round), dice, user))
        }));

        let mut choices = self.dice();
        let broken = spawn_blocking(move || {
            let broken = catch_unwind(AssertUnwindSafe(|| {
                let broken = breaking(&mut cluster, &mut choices);
                cluster.ready();
                goes_on(&cluster, 0, &mut choices, 500);
                broken
            }));
            (cluster, broken)
        });
        let broken = broken.await;
        round.stop();
        let (cluster, broken) = broken.unwrap();
        let broken = broken.unwrap_or_else(|panic| {
            tell(&format!("{}: seed {}\n{}", self.what, self.seed, cluster.logs()));
            resume_unwind(panic)
        });
        for other in others {
            other.await.unwrap();
        }
        round.all_ready(following.len()).await;
        publisher::mark_the_end(&round).await;
        round.has_marked();
        round.all_ready(following.len()).await;
        let agreed = spawn_blocking(move || {
            let faults = agree(&cluster, &members);
            (faults, cluster)
        });
        let (faults, cluster) = agreed.await.unwrap();
        faults.into_iter().for_each(|fault| round.record.fault(fault));
        round.end();
        for one in following {
            one.await.unwrap();
        }
        let frames = judge(&round, &self.deaths.lock().unwrap());
        let round = Rc::into_inner(round).expect("all who share it have ended");
        (round.record, frames, (cluster, broken))
    }
}

/// Tells what breaks, and when, by the time of the logs.
#[expect(clippy::print_stdout, reason = "it is a part of the story of a failure")]
pub(crate) fn tell(what: &str) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    let (seconds, millis) = (now.as_secs() % 86_400, now.subsec_millis());
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    println!("  {hour:02}:{minute:02}:{second:02}.{millis:03}Z {what}");
}

/// Lets the storm go on until a server answers, and for up to so many milliseconds more.
pub(crate) fn goes_on(cluster: &Cluster, index: usize, dice: &mut Dice, most: usize) {
    let address = cluster.servers[index].address;
    eventually("requests are answered", || publish(address, "aside", 1) == Outcome::Done);
    std::thread::sleep(dice.pause(most));
}

/// Whether all servers tell the same of who is where, and this is who listens.
fn agree(cluster: &Cluster, members: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let info = json!({"info": {"channels": members.keys().collect::<Vec<_>>(),
        "include_history": true, "include_connections": true, "include_users": true}});
    let ask = || -> Vec<Value> {
        let of = |server: &crate::process::Process| Place(server.address).call("/info", &info);
        cluster.servers.iter().map(of).collect()
    };
    let mut last = Vec::new();
    let is_so = catch_unwind(AssertUnwindSafe(|| {
        eventually("all servers know the same users", || {
            let answers = ask();
            last = answers.iter().flat_map(|answer| differs(answer, members)).collect();
            if answers.iter().any(|answer| *answer != answers[0]) {
                last.push("the servers answer /info differently".to_owned());
            }
            last.is_empty()
        });
    }));
    let mut faults = if is_so.is_ok() { Vec::new() } else { last };
    let all: Vec<_> = cluster.servers.iter().map(figures).collect();
    for (server, figures) in cluster.servers.iter().zip(&all) {
        let is_well = figures["digests_differed_total"] == 0
            && figures["journal_divergences_total"] == 0
            && figures["journal_epoch"] == all[0]["journal_epoch"]
            && standing(server) == "following";
        if !is_well {
            faults.push(format!("{} is not as the others: {figures}", server.address));
        }
    }
    faults
}

/// What a server tells of channels that is not so.
fn differs(answer: &Value, members: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let mut faults = Vec::new();
    for (channel, names) in members {
        let told = &answer["channels"][channel];
        let users = told["users"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let users: BTreeSet<_> = users.collect();
        let wanted: BTreeSet<_> = names.iter().map(String::as_str).collect();
        if users != wanted || told["total_connections"] != names.len() {
            let (more, less): (Vec<_>, Vec<_>) =
                (users.difference(&wanted).collect(), wanted.difference(&users).collect());
            let count = &told["total_connections"];
            faults.push(format!(
                "{channel}: {count} connections, not {}; {more:?} are there, {less:?} are not",
                names.len()
            ));
        }
    }
    faults
}

fn judge(round: &Round, deaths: &[Instant]) -> usize {
    let (record, plan) = (&round.record, &round.plan);
    let mut orders = HashMap::new();
    for stream in
        (0..plan.channels).map(Stream::Channel).chain((0..plan.users).map(Stream::Private))
    {
        let order = match stream {
            // What is lost has no place.
            _ if !is_serial(stream) || record.loses.get() => {
                let heard = heard(record, stream);
                let order = Order::of_heard(record, stream, &heard);
                judge_unheard(record, stream, (&order, &heard), deaths);
                order
            }
            _ => Order::of_posts(record, stream),
        };
        orders.insert(stream, order);
    }
    let mut frames = 0;
    for followed in record.followed.borrow().iter() {
        for stream in followed.streams() {
            frames += followed.check(record, stream, &orders[&stream]);
        }
        for (stream, reason) in followed.gaps() {
            // Everything is stored, and what Redis loses is brought back, if anybody has it. If not, what is lost
            // may be the memberships, too.
            if !record.loses.get() || !matches!(reason, "epoch" | "window") {
                let story = followed.story(stream, &orders[&stream]);
                record.fault(format!("a gap {reason:?} in {stream:?} is told: {story}"));
            }
        }
        if let Some(lacks) = followed.lacks(record) {
            record.fault(lacks);
        }
    }
    frames
}

/// All that somebody heard of a stream, in the order of the cursors. Each event of a moment has its own; one that
/// is read later may have the cursor of the end.
fn heard(record: &Record, stream: Stream) -> Vec<Received> {
    let mut heard = HashMap::<Key, Received>::new();
    let followed = record.followed.borrow();
    for one in followed.iter() {
        for received in one.kept(stream) {
            let Some(known) = heard.get_mut(&received.key) else {
                heard.insert(received.key, received.clone());
                continue;
            };
            let at = known.at.min(received.at);
            let is_live = !received.catchup && !known.catchup;
            if is_live && known.sequence != received.sequence {
                record.fault(format!("two places of one event: {known:?} and {received:?}"));
            }
            if (received.catchup, received.sequence) < (known.catchup, known.sequence) {
                *known = received.clone();
            }
            known.at = at;
        }
    }
    let mut heard: Vec<_> = heard.into_values().collect();
    heard.sort_by_key(|received| received.sequence);
    heard
}

/// What was posted is heard by somebody, or contained in what is, or was answered so shortly before everything died
/// that Redis had not brought it to disk.
fn judge_unheard(
    record: &Record,
    stream: Stream,
    (order, heard): (&Order, &[Received]),
    deaths: &[Instant],
) {
    /// `everysec`, and something for a busy machine. For two seconds after a death nothing can be answered.
    const UNWRITTEN: Duration = Duration::from_secs(4);
    const UNREAD: Duration = Duration::from_secs(1);
    let posted = record.posted.borrow();
    let is_deleted = |message| posted.contains_key(&(stream, Key::Delete(message)));
    for key in order.unheard(record, stream) {
        let target = posted.get(&(stream, key)).and_then(|posted| posted.target);
        let is_contained = match (key, target) {
            (Key::Message(message), _) => is_deleted(message),
            (Key::Edit(_), Some(message)) => {
                let of_it = |received: &&Received| received.key == Key::Message(message);
                is_deleted(message) || heard.iter().filter(of_it).any(|received| received.edited)
            }
            _ => false,
        };
        let when = posted[&(stream, key)].when.into_std();
        let is_of = |death: &Instant| {
            record.loses.get() && when < *death + UNREAD && *death < when + UNWRITTEN
        };
        if !is_contained && !deaths.iter().any(is_of) {
            record.fault(format!(
                "nobody ever heard {key:?} of {stream:?}: {:?}",
                posted[&(stream, key)]
            ));
        }
    }
}
