//! Days of virtual time in which users connect, publish and leave. In the end nothing is left.

use channelstream_core::protocol::{Address, ChannelSettings, NewMessage, SetUserState, Uuid};
use channelstream_core::state::stored::LEVEL;
use channelstream_core::state::{Closing, Command, ListenerKind, State};

use crate::properties::without_counters;
use crate::world::{World, announcing, hours, new_text, rules, secs, to, to_users, user_state};

/// Pseudo-random numbers, the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn one_of<'a>(&mut self, names: &'a [String]) -> &'a str {
        &names[usize::try_from(self.below(names.len() as u64)).unwrap()]
    }
}

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}{number}")).collect()
}

#[test]
fn eighty_hours_leave_nothing_behind() {
    let mut dice = Dice(7);
    let mut w = World::new();
    let (users, channels) = (names("user", 40), names("channel", 12));
    let begun = w.now;
    let (mut absent, mut most_users) = (0, 0);
    while w.now.since(begun) < hours(80) {
        visit(&mut w, &mut dice, &users, &channels);
        talk(&mut w, &mut dice, &users, &channels);
        w.advance(secs(dice.below(40)));
        if dice.below(400) == 0 {
            w.advance(hours(2));
        }
        w.log.clear();
        absent += usize::from(!w.knows(dice.one_of(&users)));
        if dice.below(50) == 0 {
            most_users = most_users.max(w.state.admin_stats().unique_user_count);
        }
    }
    let events: usize = users.iter().map(|user| w.take(user).len()).sum();
    assert!(most_users > 10, "at most {most_users} users at once");
    assert!(events > 10_000 && absent > 1000, "{events} events, {absent} times absent");
    assert!(w.info().channels.values().all(|view| view.history.len() < 30));
    assert!(w.info().channels.values().any(|view| view.history.len() > 1));

    for user in &users {
        w.close(user);
    }
    w.advance(secs(301));
    assert_eq!(w.state.admin_stats().total_connections, 0);
    w.advance(hours(24));
    assert_eq!(w.state.admin_stats().remembered_user_count, 0);
    assert!(!w.info().channels.is_empty(), "channels stay longer");
    w.advance(hours(49));
    assert_eq!(w.state.next_deadline(), None);
    assert_eq!(without_counters(&w.state), without_counters(&State::new(rules()).at_level(LEVEL)));
}

/// A user connects, leaves, or changes the kind of listener.
fn visit(w: &mut World, dice: &mut Dice, users: &[String], channels: &[String]) {
    let user = dice.one_of(users);
    match dice.below(12) {
        0..3 => {
            let wanted: Vec<_> = (0..dice.below(4)).map(|_| dice.one_of(channels)).collect();
            w.connect(user, &wanted);
            let kind = [ListenerKind::Socket, ListenerKind::Poll];
            let _ = w.open(user, kind[usize::from(dice.below(3) == 0)]);
        }
        3 => w.close(user),
        4 => w.end(user, Closing::Otherwise),
        5 => w.answer(user),
        6 => w.stall(user),
        7 => w.flow(user, 3),
        8 => drop(w.open(user, ListenerKind::Socket)),
        9 => drop(w.disconnect(user)),
        10 if w.knows(user) => drop(w.subscribe(user, &[dice.one_of(channels)])),
        11 if w.knows(user) => drop(w.unsubscribe(user, &[dice.one_of(channels)])),
        _ => {}
    }
}

/// A user publishes, edits or deletes a message, or sets state.
fn talk(w: &mut World, dice: &mut Dice, users: &[String], channels: &[String]) {
    let (user, channel) = (dice.one_of(users), dice.one_of(channels));
    let id = u128::from(dice.below(500));
    match dice.below(8) {
        0..4 => {
            w.post(NewMessage { uuid: Some(Uuid::from_u128(id)), ..to(channel, "hello") });
        }
        4 => drop(w.post(to_users(&[user], "psst"))),
        5 => drop(w.edit(new_text(id, Address::channel(channel), "changed"))),
        6 => drop(w.delete(id, Address::channel(channel))),
        _ if dice.below(4) == 0 => {
            let settings = ChannelSettings {
                store_history: dice.below(2) == 0,
                notify_state: dice.below(2) == 0,
                history_size: dice.below(30),
                ..announcing()
            };
            w.configure(channel, settings);
        }
        _ => {
            let state = user_state(&format!(r#"{{"mood": {}}}"#, dice.below(9)));
            let request = SetUserState {
                state_public_keys: Some(vec!["mood".to_owned()]),
                ..SetUserState::new(user, state)
            };
            drop(w.apply(Command::SetUserState(request)));
        }
    }
}
