//! One round of a storm: witnesses, publishers and clients; then quiet, and the verdict.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};

use crate::client::Client;
use crate::dice::Dice;
use crate::follower::Follower;
use crate::model::{Record, Stream};
use crate::order::{Order, WITNESS};
use crate::publisher;
use crate::round::{Plan, Round, is_serial, is_wide, settings};
use crate::verdict;
use crate::wire::{Incoming, Site, Socket};

/// What came of a round.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) frames: usize,
    pub(crate) done: HashMap<&'static str, usize>,
    pub(crate) faults: Vec<String>,
}

/// Hears everything in a channel, as long as the round lasts.
async fn witness(round: Rc<Round>, channel: usize) {
    let body = json!({"username": format!("w{channel}"), "channels": [format!("c{channel}")]});
    let told = round.call("/connect", &body).await;
    let id = told["conn_id"].as_str().unwrap();
    let mut socket = Socket::open(round.site.any(), id, false).await.unwrap();
    socket.ping().await.unwrap();
    while !round.is_over() {
        match socket.next(Instant::now() + Duration::from_millis(50)).await {
            None => {}
            Some(Incoming::Pong) => round.one_is_ready(),
            Some(Incoming::Text(text)) => match round.record.read(WITNESS, &text) {
                Ok(received) => {
                    let witnesses = &mut round.record.witnesses.borrow_mut();
                    witnesses.entry(channel).or_default().extend(received);
                }
                Err(error) => round.record.fault(error),
            },
            other => {
                return round.record.fault(format!("the witness of {channel}: {other:?}"));
            }
        }
    }
    socket.cut();
}

/// Lets a round happen and judges it.
pub(crate) async fn run(site: Site, plan: Plan, dice: Dice) -> Outcome {
    let Plan { users: clients, followers, channels, publishers, time, .. } = plan;
    let round = Rc::new(Round::new(site, plan));
    let configs = (0..channels).map(|channel| (format!("c{channel}"), settings(channel)));
    round.call("/channel_config", &Value::Object(configs.collect())).await;
    let witness = |channel| spawn_local(witness(Rc::clone(&round), channel));
    let witnesses: Vec<_> =
        (0..channels).filter(|channel| !is_wide(*channel)).map(witness).collect();
    round.all_ready(witnesses.len()).await;

    let client = |user| {
        let dice = dice.part(1000 + user as u64);
        spawn_local(Client::new(Rc::clone(&round), dice, user).run())
    };
    let clients: Vec<_> = (0..clients).map(client).collect();
    let follower = |user: usize| {
        let dice = dice.part(100_000 + user as u64);
        spawn_local(Follower::new(Rc::clone(&round), dice, user).run())
    };
    let followers: Vec<_> = (clients.len()..clients.len() + followers).map(follower).collect();
    let publisher = |number: usize| {
        let dice = dice.part(number as u64);
        spawn_local(publisher::publish(Rc::clone(&round), dice, number))
    };
    let publishers: Vec<_> = (0..publishers).map(publisher).collect();
    sleep(time).await;
    round.stop();
    for publisher in publishers {
        publisher.await.unwrap();
    }
    round.all_ready(clients.len() + followers.len()).await;
    publisher::mark_the_end(&round).await;
    round.has_marked();
    let mut sockets = Vec::new();
    for client in clients {
        sockets.extend(client.await.unwrap());
    }
    for follower in followers {
        follower.await.unwrap();
    }
    round.end();
    for witness in witnesses {
        witness.await.unwrap();
    }
    // Half of them leave at once, half without a word.
    for (number, mut socket) in sockets.into_iter().enumerate() {
        if number % 2 == 0 {
            let _ = socket.close().await;
        } else {
            socket.cut();
        }
    }
    judge(&round.record, channels)
}

fn judge(record: &Record, channels: usize) -> Outcome {
    let mut orders = HashMap::new();
    let mut frames = 0;
    for channel in 0..channels {
        let stream = Stream::Channel(channel);
        if is_serial(stream) {
            orders.insert(stream, Order::of_posts(record, stream));
            continue;
        }
        let heard = record.witnesses.borrow_mut().remove(&channel).unwrap_or_default();
        frames += heard.len();
        judge_state_changes(record, channel, &heard);
        let order = Order::of_heard(record, stream, &heard);
        for key in order.unheard(record, stream) {
            record.fault(format!("the witness of channel {channel} never heard {key:?}"));
        }
        orders.insert(stream, order);
    }
    for followed in record.followed.borrow().iter() {
        for stream in followed.streams() {
            frames += followed.check(record, stream, &orders[&stream]);
        }
    }
    for life in record.lives.borrow().iter() {
        let own = Stream::Private(life.user);
        orders.entry(own).or_insert_with(|| Order::of_posts(record, own));
        for stream in (0..channels).map(Stream::Channel).chain([own]) {
            frames += verdict::check(record, life, stream, &orders[&stream]);
        }
    }
    Outcome { frames, done: record.done.take(), faults: record.faults.take() }
}

/// Each change of a state is sent once in each channel that its user was in.
fn judge_state_changes(record: &Record, channel: usize, heard: &[crate::model::Received]) {
    let changes = heard
        .iter()
        .filter(|heard| matches!(heard.key, crate::model::Key::StateChange(_)))
        .map(|heard| heard.number);
    let mut told = BTreeSet::new();
    for number in changes {
        if !told.insert(number) {
            record.fault(format!("change {number} of a state is sent twice in {channel}"));
        }
    }
    for (number, channels) in record.state_changes.borrow().iter() {
        if channels.contains(&channel) && !told.contains(number) {
            record.fault(format!("change {number} of a state is not sent in {channel}"));
        }
    }
}
