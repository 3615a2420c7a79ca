//! Properties: each event arrives once and in order, replicas agree, counts are consistent,
//! and nothing is left when everybody is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use channelstream_core::protocol::{Action, Change, Event, Growth, Message, Uuid};
use channelstream_core::state::stored::LEVEL;
use channelstream_core::state::{Closing, Command, Delivery, Envelope, Keep, Reply, Rules, State};
use proptest::prelude::ProptestConfig;
use proptest::{prop_assert, prop_assert_eq, proptest};

use crate::random::{CHANNELS, LABELS, Op, ops, ops_and_removals};
use crate::world::{
    Got, NODE, World, announcing, decoded, encoded, hours, json, rules, summary, user_of,
};

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn nothing_breaks_and_the_counts_agree(ops in ops_and_removals(80)) {
        let mut w = World::new();
        for op in ops {
            op.happen(&mut w);
            check_books(&mut w);
        }
        for label in LABELS {
            check_order(&w.take(label));
        }
        empty(&mut w);
        assert_eq!(without_counters(&w.state), without_counters(&State::new(rules()).at_level(LEVEL)));
    }

    #[test]
    fn replicas_and_restored_states_have_the_same_future(ops in ops_and_removals(60), every in 1..10usize) {
        let mut w = World::new();
        for op in &ops {
            op.happen(&mut w);
        }
        let mut here = State::new(rules()).at_level(LEVEL).for_node(NODE);
        let mut there = State::new(rules()).at_level(LEVEL).for_node(NODE);
        for (number, envelope) in w.log.iter().enumerate() {
            if number % every == 0 {
                let bytes = there.snapshot();
                there = State::restore(&bytes).unwrap().for_node(NODE);
                prop_assert_eq!(&there.snapshot(), &bytes);
            }
            let bytes = encoded(envelope);
            let stored = decoded(&bytes).unwrap();
            prop_assert_eq!(format!("{stored:?}"), format!("{envelope:?}"));
            prop_assert_eq!(encoded(&stored), bytes);
            prop_assert_eq!(outcome(&mut here, envelope), outcome(&mut there, &stored));
            prop_assert_eq!(here.next_deadline(), there.next_deadline());
        }
        prop_assert!(here.snapshot() == w.state.snapshot() && there.snapshot() == here.snapshot());
    }

    /// ann has one connection that comes and goes, and another one that always listens.
    #[test]
    fn catch_up_and_live_are_what_a_witness_saw(ops in ops(80)) {
        let day = hours(24_000);
        let mut w = World::with(Rules {
            connection_timeout: day,
            closing_grace: day,
            channel_timeout: day,
            channel_events: Keep { events: 10_000, bytes: usize::MAX },
            user_events: Keep { events: 10_000, bytes: usize::MAX },
            ..rules()
        });
        w.connect("ann/1", &CHANNELS);
        w.connect("ann/2", &CHANNELS);
        w.socket("ann/2");
        for mut op in ops {
            for settings in op.settings_mut() {
                (settings.store_frames, settings.frames_size) = (Some(true), None);
                settings.history_ttl = None;
            }
            match op.label() {
                Some("ann/1") if !op.is_listening() => continue,
                Some("ann/2") => continue,
                _ => op.happen(&mut w),
            }
        }
        w.end("ann/1", Closing::Otherwise);
        w.socket("ann/1");

        let (edited, deleted) = edited_and_deleted(&w.log);
        let by_number = |got: Vec<Got>| -> BTreeMap<_, _> {
            got.into_iter().map(|got| (got.sequence, got.event)).collect()
        };
        let came = w.take("ann/1");
        check_order(&came);
        let came = by_number(came);
        let seen = by_number(w.take("ann/2"));
        let expires = |event: &&Event| matches!(event, Event::Message(it) if it.expires_at.is_some());
        let expiring: BTreeSet<_> = seen.values().filter(expires).filter_map(message_key).collect();
        for (number, event) in &came {
            if has_grown(event) {
                continue;
            }
            let Some(witnessed) = seen.get(number) else { panic!("nobody else got {event:?}") };
            let is_as_it_was = message_key(event).is_none_or(|key| !edited.contains(&key));
            if is_as_it_was {
                prop_assert_eq!(event.encode(true), witnessed.encode(true));
            }
        }
        for (number, event) in &seen {
            let gone = message_key(event).is_some_and(|key| deleted.contains(&key))
                || key_of_change(event).is_some_and(|key| expiring.contains(&key));
            // Instead of the growth of a message, the message comes whole.
            let is_append = match event {
                Event::Append(_) => true,
                Event::Edit(edit) => edit.growth.is_some(),
                _ => false,
            };
            prop_assert!(came.contains_key(number) || gone || is_append, "lost: {:?}", event);
        }
    }

    /// zoe listens everywhere.
    #[test]
    fn joined_and_parted_alternate_and_list_the_present_users(ops in ops(120)) {
        let mut w = World::new();
        for channel in CHANNELS {
            w.configure(channel, announcing());
        }
        w.join("zoe", &CHANNELS);
        for mut op in ops {
            for settings in op.settings_mut() {
                settings.notify_presence = Some(true);
            }
            op.happen(&mut w);
        }
        w.tick();
        let mut present = BTreeMap::new();
        for got in w.take("zoe") {
            if let Event::Presence(presence) = got.event {
                let place = (presence.channel.to_string(), presence.user.to_string());
                let joined = presence.action == Action::Joined;
                let before = present.insert(place, joined).unwrap_or(false);
                prop_assert!(before != joined, "twice {:?}", presence);
            }
        }
        let seen: BTreeSet<_> =
            present.into_iter().filter(|(_, here)| *here).map(|(place, _)| place).collect();
        let mut listed = BTreeSet::new();
        for (channel, view) in &w.info().channels {
            for user in view.users.iter().filter(|user| &***user != "zoe") {
                listed.insert((channel.to_string(), user.to_string()));
            }
        }
        prop_assert_eq!(seen, listed);
    }

    #[test]
    fn messages_reach_exactly_the_addressed_users(ops in ops(60)) {
        let mut w = World::new();
        for op in ops {
            let messages = match &op {
                // What opens may be refused.
                Op::Publish(messages) if messages.iter().all(|one| one.opening.is_none()) => messages,
                _ => {
                    op.happen(&mut w);
                    continue;
                }
            };
            for label in LABELS {
                if w.listens(label) {
                    w.flow(label, usize::MAX);
                }
                w.take(label);
            }
            w.tick();
            let places = memberships(&mut w);
            let before = w.state.admin_stats().total_messages;
            op.happen(&mut w);
            let mut want: BTreeMap<&str, Vec<Uuid>> = BTreeMap::new();
            let mut addressed = 0;
            for message in messages {
                for (label, channels) in &places {
                    let user = user_of(label);
                    let address = &message.address;
                    let named = address.pm_users.iter().filter(|name| *name == user).count();
                    let times = match &address.channel {
                        None => named,
                        Some(channel) => usize::from(
                            channels.contains(channel)
                                && (named > 0 || address.pm_users.is_empty())
                                && !address.exclude_users.iter().any(|name| name == user),
                        ),
                    };
                    addressed += times as u64;
                    if w.listens(label) {
                        let id = message.uuid.unwrap_or_default();
                        want.entry(label).or_default().extend(vec![id; times]);
                    }
                }
            }
            let after = w.state.admin_stats().total_messages;
            prop_assert_eq!(after - before, addressed);
            for (label, want) in want {
                w.flow(label, usize::MAX);
                let got = w.take(label);
                let messages = got.iter().filter_map(|got| match &got.event {
                    Event::Message(message) => Some(message.uuid),
                    _ => None,
                });
                // Random ids cannot be compared.
                let got: Vec<_> =
                    messages.map(|id| if id.as_u128() < 8 { id } else { Uuid::nil() }).collect();
                prop_assert_eq!(got, want, "for {}", label);
            }
        }
    }

    #[test]
    fn what_is_stored_stays_within_bounds(ops in ops(120)) {
        let keep = |events| Keep { events, bytes: usize::MAX };
        let rules = Rules { channel_events: keep(5), user_events: keep(3), ..rules() };
        let mut w = World::with(rules);
        for op in ops {
            op.happen(&mut w);
            if let Op::Publish(messages) = &op {
                let info = w.info();
                for message in messages.iter().filter(|message| !message.no_history) {
                    let channel = message.address.channel.as_deref().unwrap_or_default();
                    let Some(view) = info.channels.get(channel) else { continue };
                    let may_grow = |growth: Growth| growth.is_open();
                    let open = |one: &&Arc<Message>| one.growth.is_some_and(may_grow);
                    let kept = view.history.len() - view.history.iter().filter(open).count();
                    prop_assert!(
                        !view.settings.store_history || kept as u64 <= view.settings.history_size
                    );
                }
            }
        }
        for entry in &w.listeners {
            let mut counts = BTreeMap::new();
            for got in entry.got.iter().filter(|got| got.catchup && !has_grown(&got.event)) {
                *counts.entry(place(&got.event)).or_insert(0) += 1;
            }
            for (place, count) in counts {
                let most = if place.is_some() { 5 } else { 3 };
                prop_assert!(count <= most, "{} of {:?} for {}", count, place, entry.label);
            }
        }
    }
}

/// Applies a command. Returns the outcome as text, with the reply also as JSON: `Debug` hides ids.
fn outcome(state: &mut State, envelope: &Envelope) -> String {
    let mut outcome = state.apply(envelope.clone());
    for delivery in &mut outcome.deliveries {
        if let Delivery::Event { to, .. } = delivery {
            // A restored state has them in another order, which nobody sees.
            to.sort_unstable();
        }
    }
    let reply = outcome.reply.as_ref().map(json);
    format!("{outcome:?} {reply:?}")
}

/// The channel of an event; none for private ones.
fn place(event: &Event) -> Option<String> {
    match event {
        Event::Message(message) => message.address.channel.clone(),
        Event::Edit(edit) => edit.address.channel.clone(),
        Event::Delete(delete) => delete.address.channel.clone(),
        Event::Append(append) => append.channel.clone(),
        Event::Presence(presence) => Some(presence.channel.to_string()),
        Event::UserStateChange(change) => Some(change.channel.to_string()),
        Event::Gap(gap) => gap.channel.as_ref().map(ToString::to_string),
        Event::Cursor => None,
    }
}

/// Returns `true` for a message that was opened to grow, and for an edit of one.
fn has_grown(event: &Event) -> bool {
    match event {
        Event::Message(message) => message.growth.is_some(),
        Event::Edit(edit) => edit.growth.is_some(),
        _ => false,
    }
}

type MessageKey = (Option<String>, Uuid);

fn message_key(event: &Event) -> Option<MessageKey> {
    match event {
        Event::Message(message) => Some((message.address.channel.clone(), message.uuid)),
        _ => None,
    }
}

fn edited_and_deleted(log: &[Envelope]) -> (BTreeSet<MessageKey>, BTreeSet<MessageKey>) {
    let (mut edited, mut deleted) = (BTreeSet::new(), BTreeSet::new());
    for envelope in log {
        match &envelope.command {
            Command::Change(changes) => {
                edited.extend(changes.iter().filter_map(|change| match change {
                    Change::Edit(edit) => Some((edit.address.channel.clone(), edit.uuid)),
                    Change::Append(_) => None,
                }));
            }
            Command::Delete(deletes) => {
                let keys = deletes.iter().map(|del| (del.address.channel.clone(), del.uuid));
                deleted.extend(keys);
            }
            _ => {}
        }
    }
    (edited, deleted)
}

/// The message that an event is, or edits.
fn key_of_change(event: &Event) -> Option<MessageKey> {
    match event {
        Event::Edit(edit) => Some((edit.address.channel.clone(), edit.uuid)),
        _ => message_key(event),
    }
}

/// Asserts that numbers only rise within each channel, and among private events.
#[track_caller]
fn check_order(got: &[Got]) {
    let mut last = BTreeMap::new();
    // A message that has grown comes behind the others.
    for got in got.iter().filter(|got| !(got.catchup && has_grown(&got.event))) {
        let before = last.insert(place(&got.event), got.sequence);
        assert!(
            before.is_none_or(|before| before < got.sequence),
            "not in order: {}",
            summary(got)
        );
    }
}

/// The channels of each connection, according to a copy of the state.
fn memberships(w: &mut World) -> BTreeMap<&'static str, BTreeSet<String>> {
    let mut copy = State::restore(&w.state.snapshot()).unwrap().for_node(NODE);
    let mut all = BTreeMap::new();
    for label in LABELS.into_iter().filter(|label| w.knows(label)).collect::<Vec<_>>() {
        let ask = channelstream_core::protocol::Unsubscribe::new(w.id(label), ["nowhere"]);
        let stamp = w.log.last().unwrap().stamp;
        let outcome = copy.apply(Envelope {
            node: NODE,
            number: 0,
            stamp,
            command: Command::Unsubscribe(ask),
            repeat: None,
        });
        let Ok(Reply::Unsubscribed(answer)) = outcome.reply else { panic!("{outcome:?}") };
        all.insert(label, answer.channels.iter().map(ToString::to_string).collect());
    }
    all
}

/// Asserts that everything that is counted or listed twice agrees.
fn check_books(w: &mut World) {
    let stats = w.state.admin_stats();
    let connections: Vec<_> = stats.users.iter().flat_map(|user| &user.connections).collect();
    assert_eq!(stats.total_connections, connections.len());
    assert!(connections.iter().all(|id| w.state.knows_connection((**id).into())));
    assert_eq!(stats.unique_user_count, stats.users.len());
    assert!(stats.users.iter().all(|user| w.state.knows_user(&user.user)));
    assert!(stats.unique_user_count <= stats.remembered_user_count);
    assert_eq!(stats.total_channels, stats.channels.len());
    let info = w.info();
    let mut in_channels = BTreeSet::new();
    let places = memberships(w);
    for (name, view) in &info.channels {
        assert_eq!(name, &view.name);
        assert_eq!(view.total_users, view.users.len());
        assert!(view.users.is_sorted(), "{:?}", view.users);
        let there = places.iter().filter(|(_, channels)| channels.contains(&**name));
        let users: BTreeSet<_> = there.clone().map(|(label, _)| user_of(label)).collect();
        assert_eq!(view.total_connections, there.count());
        assert!(view.users.iter().map(|user| &**user).eq(users), "{:?}", view.users);
        in_channels.extend(view.users.iter().cloned());
    }
    let seen: BTreeSet<_> = info.users.iter().map(|view| view.user.clone()).collect();
    assert_eq!(seen, in_channels);
    assert_eq!(seen.len(), info.users.len(), "each once");
    for entry in &w.listeners {
        assert!(entry.end.is_some() || w.state.knows_connection(entry.connection));
    }
}

/// Everybody goes, and all deadlines pass.
fn empty(w: &mut World) {
    for label in LABELS {
        w.end(label, Closing::ByPeer);
    }
    let mut wakes = 0;
    while let Some(when) = w.state.next_deadline() {
        w.now = when;
        w.tick();
        wakes += 1;
        assert!(wakes < 1000, "time goes on and nothing ends");
    }
    assert!(w.listeners.iter().all(|entry| entry.end.is_some()));
    let stats = w.state.admin_stats();
    assert_eq!((stats.remembered_user_count, stats.total_connections), (0, 0));
    assert_eq!(stats.total_channels, 0);
}

/// All of a state that a snapshot keeps, without counters, as text.
pub(crate) fn without_counters(state: &State) -> String {
    let kept = State::restore(&state.snapshot()).unwrap();
    let text = format!("{kept:#?}");
    let mut fields: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut field = "";
    for line in text.lines() {
        let begun = line.strip_prefix("    ").filter(|rest| rest.starts_with(char::is_alphabetic));
        field = begun.and_then(|rest| Some(rest.split_once(':')?.0)).unwrap_or(field);
        fields.entry(field).or_default().push(line);
    }
    let counters = [
        "faded",
        "now",
        "own_time",
        "order",
        "nodes",
        "digest",
        "sequence",
        "channels_created",
        "messages_delivered",
        "messages_posted",
    ];
    for counter in counters {
        assert!(fields.remove(counter).is_some(), "{counter}");
    }
    format!("{fields:?}")
}
