//! Publishers: messages to channels and users, edits and deletes, each known by its number.

use std::io;
use std::rc::Rc;

use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use crate::dice::Dice;
use crate::model::{Key, Posted, Stream};
use crate::round::{Round, is_serial, is_wide};
use crate::wire::{Answer, Line, Site};

/// One message, edit or delete to be asked for.
struct Item {
    body: Value,
    streams: Vec<Stream>,
    key: Key,
    number: u64,
    target: Option<u128>,
    to: Address,
}

#[derive(Clone)]
struct Address {
    channel: Option<usize>,
    only: Vec<usize>,
    never: Vec<usize>,
}

impl Address {
    fn streams(&self) -> Vec<Stream> {
        match self.channel {
            Some(channel) => vec![Stream::Channel(channel)],
            None => self.only.iter().map(|user| Stream::Private(*user)).collect(),
        }
    }

    fn put_into(&self, body: &mut Value) {
        let mut only: Vec<String> = self.only.iter().map(|user| format!("u{user}")).collect();
        if let Some(channel) = self.channel {
            body["channel"] = json!(format!("c{channel}"));
            if !only.is_empty() {
                only.push(format!("w{channel}"));
            }
        }
        body["pm_users"] = json!(only);
        let never = self.never.iter().map(|user| format!("u{user}"));
        body["exclude_users"] = never.collect();
    }
}

/// A message of this publisher that may yet be edited and deleted.
struct Kept {
    uuid: u128,
    to: Address,
    edited: bool,
}

/// Publishes until the round stops. What is serial is shared out among the publishers: private
/// frames go to each one's own users, large messages to its own channels.
pub(crate) async fn publish(round: Rc<Round>, mut dice: Dice, number: usize) {
    let own = |count: usize| (0..count).filter(|it| it % round.plan.publishers == number);
    let users: Vec<usize> = own(round.plan.users).collect();
    let wide: Vec<usize> = own(round.plan.channels).filter(|channel| is_wide(*channel)).collect();
    let mut line = None;
    let mut kept: Vec<Kept> = Vec::new();
    while !round.stopped() {
        let count = if dice.one_in(4) { 1 + dice.below(20) } else { 1 + dice.below(3) };
        let (method, items) = match dice.below(10) {
            0..2 if !kept.is_empty() => ("PATCH", edits(&round, &mut dice, &mut kept)),
            2 if !kept.is_empty() => ("DELETE", vec![delete(&mut dice, &mut kept)]),
            _ => {
                let to = address(&round, &mut dice, &users, &wide);
                // Many large ones at once would be more than an outbox holds.
                let count = if to.channel.is_some_and(is_wide) { count.min(8) } else { count };
                let items = (0..count).map(|_| message(&round, &mut dice, &to, &mut kept));
                ("POST", items.collect())
            }
        };
        post(&round, &mut line, method, items).await;
        tokio::time::sleep(dice.pause(round.plan.pace)).await;
    }
}

/// Tells each channel and each user that no more comes.
pub(crate) async fn mark_the_end(round: &Rc<Round>) {
    let mut line = None;
    let channel = |channel| Address { channel: Some(channel), only: vec![], never: vec![] };
    let user = |user| Address { channel: None, only: vec![user], never: vec![] };
    let all: Vec<Address> =
        (0..round.plan.channels).map(channel).chain((0..round.plan.users).map(user)).collect();
    for some in all.chunks(50) {
        let items = some.iter().map(|to| {
            let number = round.mark();
            let uuid = Uuid::from_u128(number.into());
            let body = json!({"user": "p", "uuid": uuid, "message": {"n": number}});
            item(body, number, Key::Message(number.into()), None, to)
        });
        post(round, &mut line, "POST", items.collect()).await;
    }
}

fn address(round: &Round, dice: &mut Dice, users: &[usize], wide: &[usize]) -> Address {
    let mut some = |most: usize| {
        let mut some: Vec<usize> = (0..=dice.below(most)).map(|_| *dice.of(users)).collect();
        some.sort_unstable();
        some.dedup();
        some
    };
    let (only, never) = (some(4), some(3));
    if dice.one_in(6) {
        return Address { channel: None, only, never: vec![] };
    }
    let channel = match wide {
        [_, ..] if dice.one_in(2) => *dice.of(wide),
        _ => dice.below(round.plan.channels / 8) * 8 + dice.below(6),
    };
    let everybody = Vec::new();
    let (only, never) = match dice.below(6) {
        0 => (only, everybody),
        1 => (everybody, never),
        2 => (only, never),
        _ => (everybody.clone(), everybody),
    };
    Address { channel: Some(channel), only, never }
}

fn item(body: Value, number: u64, key: Key, target: Option<u128>, to: &Address) -> Item {
    let mut body = body;
    to.put_into(&mut body);
    Item { body, streams: to.streams(), key, number, target, to: to.clone() }
}

fn message(round: &Round, dice: &mut Dice, to: &Address, kept: &mut Vec<Kept>) -> Item {
    let number = round.number();
    let uuid = u128::from(number);
    let most = if to.channel.is_some_and(is_wide) { 12_000 } else { 40 };
    let text = json!({"n": number, "pad": "x".repeat(dice.below(most))});
    let body = json!({
        "user": "p", "uuid": Uuid::from_u128(uuid), "message": text, "no_history": dice.one_in(4),
    });
    if kept.len() == 40 {
        kept.remove(0);
    }
    kept.push(Kept { uuid, to: to.clone(), edited: false });
    item(body, number, Key::Message(uuid), None, to)
}

fn edits(round: &Round, dice: &mut Dice, kept: &mut [Kept]) -> Vec<Item> {
    let chosen = dice.below(kept.len());
    if std::mem::replace(&mut kept[chosen].edited, true) {
        return Vec::new();
    }
    let Kept { uuid, to, .. } = &kept[chosen];
    let number = round.number();
    let body = json!({"uuid": Uuid::from_u128(*uuid), "message": {"n": number}});
    vec![item(body, number, Key::Edit(number), Some(*uuid), to)]
}

fn delete(dice: &mut Dice, kept: &mut Vec<Kept>) -> Item {
    let chosen = dice.below(kept.len());
    let Kept { uuid, to, .. } = kept.swap_remove(chosen);
    let body = json!({"uuid": Uuid::from_u128(uuid)});
    item(body, 0, Key::Delete(uuid), Some(uuid), &to)
}

/// Sends a request: on the line there is, or on one after the other if they break.
async fn request(
    site: &Site,
    line: &mut Option<Line>,
    method: &str,
    body: &str,
) -> io::Result<Answer> {
    if site.breaks {
        return site.insist(method, "/message", body).await;
    }
    let line = match line {
        Some(line) if !site.moves() => line,
        line => line.insert(Line::open(site.any()).await?),
    };
    line.request(method, "/message", body).await
}

async fn post(round: &Round, line: &mut Option<Line>, method: &'static str, items: Vec<Item>) {
    let record = &round.record;
    if items.is_empty() {
        return;
    }
    let body: Value = items.iter().map(|item| item.body.clone()).collect();
    let asked = record.tick();
    let answer = request(&round.site, line, method, &body.to_string()).await;
    let (answered, when) = (record.tick(), Instant::now());
    match answer {
        Ok((200, body)) => {
            let told: Vec<Value> = serde_json::from_slice(&body).unwrap_or_default();
            if told.is_empty() && method != "POST" && record.loses.get() {
                // The message was lost.
                return;
            }
            if told.len() != items.len() {
                record.fault(format!("{method} of {} was answered {told:?}", items.len()));
            }
        }
        other => record.fault(format!("{method} /message was answered {other:?}")),
    }
    record.count(method);
    for Item { streams, key, number, target, to, .. } in items {
        for stream in streams {
            let (only, never) = (to.only.clone(), to.never.clone());
            let posted = Posted { number, target, only, never, asked, answered, when };
            record.posted.borrow_mut().insert((stream, key), posted);
            if is_serial(stream) {
                record.serial.borrow_mut().entry(stream).or_default().push(key);
            }
        }
    }
}
