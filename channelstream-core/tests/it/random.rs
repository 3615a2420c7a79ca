//! Random sequences of all commands and failures, and how to carry them out in a world.

use std::time::Duration;

use channelstream_core::protocol::{
    Address, AppendRequest, Change, ChannelConfig, Connect, Delete, DisconnectUser, Edit,
    NewMessage, Opening, SetUserState, Status, Subscribe, Unsubscribe, Uuid,
};
use channelstream_core::state::{Closing, Command, ListenerKind, Refusal};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::{select, subsequence};

use crate::world::{World, millis, new_text, payload, secs, user_of, user_state};

/// Two connections of each of three users.
pub(crate) const LABELS: [&str; 6] = ["ann/1", "ann/2", "ben/1", "ben/2", "cat/1", "cat/2"];
pub(crate) const CHANNELS: [&str; 3] = ["a", "b", "c"];
const USERS: [&str; 4] = ["ann", "ben", "cat", "nobody"];

/// One thing that happens.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Connect {
        label: &'static str,
        request: Box<Connect>,
    },
    /// A user connects with the id of somebody else's connection.
    Intrude {
        label: &'static str,
    },
    Subscribe {
        label: &'static str,
        channels: Vec<&'static str>,
    },
    Unsubscribe {
        label: &'static str,
        channels: Vec<&'static str>,
    },
    Configure {
        channel: &'static str,
        settings: ChannelConfig,
    },
    SetState(SetUserState),
    Publish(Vec<NewMessage>),
    Edit(Edit),
    Append(AppendRequest),
    Cancel {
        label: &'static str,
        id: u128,
    },
    Delete(u128, Address),
    /// A command with a key. There are few keys, so that many are repeats or reuse a key.
    Repeated {
        key: &'static str,
        command: Command,
    },
    Disconnect {
        label: &'static str,
    },
    DisconnectUser(DisconnectUser),
    Listen {
        label: &'static str,
        kind: ListenerKind,
    },
    /// The peer goes away. Events in the outbox are not sent.
    Close {
        label: &'static str,
    },
    /// The server ends the listener before all events are sent.
    Cut {
        label: &'static str,
    },
    /// The listener receives all events and ends, as a poll does.
    Answer {
        label: &'static str,
    },
    Stall {
        label: &'static str,
    },
    Flow {
        label: &'static str,
        events: usize,
    },
    /// Time passes; the state is woken when it wants to be.
    Advance(Duration),
    /// Time passes; the next command comes late.
    Jump(Duration),
}

impl Op {
    /// The connection of the step, if it has one.
    pub(crate) fn label(&self) -> Option<&'static str> {
        match self {
            Self::Connect { label, .. }
            | Self::Intrude { label }
            | Self::Subscribe { label, .. }
            | Self::Unsubscribe { label, .. }
            | Self::Disconnect { label }
            | Self::Cancel { label, .. }
            | Self::Listen { label, .. }
            | Self::Close { label }
            | Self::Cut { label }
            | Self::Answer { label }
            | Self::Stall { label }
            | Self::Flow { label, .. } => Some(label),
            _ => None,
        }
    }

    /// Returns `true` if the step is about listening only.
    pub(crate) fn is_listening(&self) -> bool {
        use Op::{Answer, Close, Cut, Flow, Listen, Stall};
        matches!(
            self,
            Listen { .. } | Close { .. } | Cut { .. } | Answer { .. } | Stall { .. } | Flow { .. }
        )
    }

    /// The settings that the step gives to channels.
    pub(crate) fn settings_mut(&mut self) -> Vec<&mut ChannelConfig> {
        match self {
            Self::Connect { request, .. } => request.channel_configs.values_mut().collect(),
            Self::Configure { settings, .. } => vec![settings],
            _ => Vec::new(),
        }
    }

    pub(crate) fn happen(&self, w: &mut World) {
        match self.clone() {
            Self::Connect { label, request } => match w.try_connect(label, *request) {
                Ok(_) | Err(Refusal::UserRefused { .. }) => {}
                Err(refusal) => panic!("{refusal}"),
            },
            Self::Intrude { label } => {
                let known = w.knows(label);
                let outcome = w.try_connect(label, Connect::new("mallory"));
                if let Ok(connected) = outcome {
                    // The id was free or its connection had ended.
                    assert_eq!(&*connected.username, "mallory");
                    w.disconnect(label);
                    w.advance(secs(1));
                } else {
                    assert!(known);
                }
            }
            Self::Subscribe { label, channels } => {
                let request = Subscribe::new(w.id(label), channels);
                refused_at_most(w.try_subscribe(request), &Refusal::UnknownConnection);
            }
            Self::Unsubscribe { label, channels } => {
                let request = Unsubscribe::new(w.id(label), channels);
                refused_at_most(w.try_unsubscribe(request), &Refusal::UnknownConnection);
            }
            Self::Configure { channel, settings } => {
                w.configure(channel, settings);
            }
            Self::SetState(request) => {
                refused_at_most(w.try_set_state(request), &Refusal::UnknownUser);
            }
            Self::Publish(messages) => {
                let opens = messages.iter().any(|message| message.opening.is_some());
                match w.apply(Command::Publish(messages)) {
                    Err(Refusal::CannotOpen { .. }) => assert!(opens),
                    outcome => assert!(outcome.is_ok()),
                }
            }
            Self::Edit(edit) => {
                w.edit(edit);
            }
            Self::Append(request) => {
                w.append(request);
            }
            Self::Cancel { label, id } => match w.cancel(label, id) {
                Ok(_) | Err(Refusal::UnknownConnection | Refusal::CannotCancel) => {}
                Err(refusal) => panic!("{refusal}"),
            },
            Self::Delete(id, address) => {
                w.delete(id, address);
            }
            Self::Repeated { key, command } => {
                // Another kind of command is another request.
                let fingerprint = match command {
                    Command::Publish(_) => 1,
                    Command::Change(_) => 2,
                    _ => 3,
                };
                if let Err(refusal) = w.apply_once(key, fingerprint, command) {
                    assert!(matches!(
                        refusal,
                        Refusal::KeyReused | Refusal::UnknownUser | Refusal::CannotOpen { .. }
                    ));
                }
            }
            Self::Disconnect { label } => {
                w.disconnect(label);
            }
            Self::DisconnectUser(request) => {
                w.disconnect_user(request);
            }
            Self::Listen { label, kind } => {
                refused_at_most(w.open(label, kind), &Refusal::UnknownConnection);
            }
            Self::Close { label } => w.close(label),
            Self::Cut { label } => w.end(label, Closing::Otherwise),
            Self::Answer { label } => w.answer(label),
            Self::Stall { label } => w.stall(label),
            Self::Flow { label, events } => w.flow(label, events),
            Self::Advance(duration) => w.advance(duration),
            Self::Jump(duration) => w.jump(duration),
        }
    }
}

fn refused_at_most<T>(outcome: Result<T, Refusal>, so: &Refusal) {
    if let Err(refusal) = outcome {
        assert_eq!(&refusal, so);
    }
}

pub(crate) fn ops(most: usize) -> impl Strategy<Value = Vec<Op>> {
    vec(op(), 1..most)
}

/// Steps among which users are disconnected and refused for a while.
pub(crate) fn ops_and_removals(most: usize) -> impl Strategy<Value = Vec<Op>> {
    vec(op_or_removal(), 1..most)
}

pub(crate) fn op_or_removal() -> impl Strategy<Value = Op> {
    let removal = (
        select(&LABELS[..]),
        select(&[None, Some("spam")][..]),
        select(&[None, Some(0), Some(1), Some(9)][..]),
    )
        .prop_map(|(label, reason, refuse_for)| {
            let reason = reason.map(str::to_owned);
            let user = user_of(label).to_owned();
            Op::DisconnectUser(DisconnectUser { user, reason, refuse_for })
        });
    prop_oneof![40 => op(), 1 => removal]
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    let label = || select(&LABELS[..]);
    prop_oneof![
        6 => (label(), channels(0), vec((select(&CHANNELS[..]), settings()), 0..2), states(),
              subsequence(&["x", "y"][..], 0..=2))
            .prop_map(|(label, channels, configs, state, keys)| Op::Connect {
                label,
                request: Box::new(Connect {
                    fresh_user_state: user_state(r#"{"x": "fresh"}"#),
                    user_state: user_state(state),
                    state_public_keys: keys.into_iter().map(str::to_owned).collect(),
                    channel_configs: configs
                        .into_iter()
                        .map(|(channel, settings)| (channel.to_owned(), settings))
                        .collect(),
                    ..Connect::new(user_of(label)).channels(channels)
                }),
            }),
        1 => label().prop_map(|label| Op::Intrude { label }),
        3 => (label(), channels(1))
            .prop_map(|(label, channels)| Op::Subscribe { label, channels }),
        3 => (label(), channels(1))
            .prop_map(|(label, channels)| Op::Unsubscribe { label, channels }),
        2 => (select(&CHANNELS[..]), settings())
            .prop_map(|(channel, settings)| Op::Configure { channel, settings }),
        2 => (select(&USERS[..]), states()).prop_map(|(user, state)| {
            Op::SetState(SetUserState::new(user, user_state(state)))
        }),
        8 => vec(message(), 1..4).prop_map(Op::Publish),
        2 => (ids(), address()).prop_map(|(id, address)| {
            Op::Edit(new_text(id, address, "edited"))
        }),
        2 => (ids(), address()).prop_map(|(id, address)| Op::Delete(id, address)),
        4 => keyed(),
        6 => appends().prop_map(Op::Append),
        1 => (label(), ids()).prop_map(|(label, id)| Op::Cancel { label, id }),
        1 => label().prop_map(|label| Op::Disconnect { label }),
        6 => (label(), select(&[ListenerKind::Socket, ListenerKind::Poll][..]))
            .prop_map(|(label, kind)| Op::Listen { label, kind }),
        2 => label().prop_map(|label| Op::Close { label }),
        2 => label().prop_map(|label| Op::Cut { label }),
        4 => label().prop_map(|label| Op::Answer { label }),
        3 => label().prop_map(|label| Op::Stall { label }),
        3 => (label(), 0..4usize).prop_map(|(label, events)| Op::Flow { label, events }),
        5 => duration().prop_map(Op::Advance),
        1 => duration().prop_map(Op::Jump),
    ]
}

/// A command with a key.
pub(crate) fn keyed() -> impl Strategy<Value = Op> {
    let command = prop_oneof![
        4 => vec(message(), 1..4).prop_map(Command::Publish),
        1 => (ids(), address())
            .prop_map(|(id, address)| Command::Change(vec![Change::Edit(new_text(id, address, "edited"))])),
        1 => (ids(), address()).prop_map(|(id, address)| {
            Command::Delete(vec![Delete::new(Uuid::from_u128(id), address)])
        }),
        1 => (select(&USERS[..]), states()).prop_map(|(user, state)| {
            Command::SetUserState(SetUserState::new(user, user_state(state)))
        }),
    ];
    (select(&["k", "l", "m"][..]), command).prop_map(|(key, command)| Op::Repeated { key, command })
}

fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        2 => Just(Duration::ZERO),
        4 => (1..1000u64).prop_map(millis),
        3 => (1..20u64).prop_map(secs),
        1 => (20..400u64).prop_map(secs),
        1 => (20..100u64).prop_map(crate::world::hours),
    ]
}

fn channels(least: usize) -> impl Strategy<Value = Vec<&'static str>> {
    vec(select(&CHANNELS[..]), least..4)
}

fn ids() -> impl Strategy<Value = u128> {
    1..8u128
}

fn states() -> impl Strategy<Value = &'static str> {
    select(&["{}", r#"{"x": 1}"#, r#"{"x": 2, "y": 1}"#, r#"{"y": null, "z": true}"#][..])
}

fn settings() -> impl Strategy<Value = ChannelConfig> {
    let size = || option::of(0..5u64);
    let ttl = option::weighted(0.3, select(&[0, 1, 5, 300][..]));
    let all = (any::<[Option<bool>; 6]>(), size(), size(), ttl);
    all.prop_map(|(flags, history_size, frames_size, history_ttl)| ChannelConfig {
        notify_presence: flags[0],
        broadcast_presence_with_user_lists: flags[1],
        notify_state: flags[2],
        store_history: flags[3],
        store_frames: flags[4],
        append_as_edit: flags[5],
        history_size,
        frames_size,
        history_ttl,
    })
}

fn address() -> impl Strategy<Value = Address> {
    let users = || prop_oneof![2 => Just(Vec::new()), 1 => vec(select(&USERS[..]), 1..4)];
    let channel = prop_oneof![
        4 => select(&CHANNELS[..]).prop_map(Some),
        2 => Just(None),
        1 => Just(Some("nowhere")),
    ];
    (channel, users(), users()).prop_map(|(channel, pm_users, exclude_users)| {
        let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        Address {
            channel: channel.map(str::to_owned),
            pm_users: owned(pm_users),
            exclude_users: owned(exclude_users),
        }
    })
}

fn appends() -> impl Strategy<Value = AppendRequest> {
    let ends = || select(&[Status::Done, Status::Failed][..]);
    let keys = || select(&["text", "new", "/text", "/a/b"][..]);
    (ids(), option::of(keys()), option::weighted(0.2, ends()), option::of(1..4u64)).prop_map(
        |(id, key, status, step)| {
            let request = AppendRequest::new(Uuid::from_u128(id), None);
            let request = match key {
                Some(key) => request.text(key, "more"),
                None => request,
            };
            AppendRequest { status, step, ..request }
        },
    )
}

fn message() -> impl Strategy<Value = NewMessage> {
    let opening = option::weighted(0.2, select(&["ann", "ben"][..]));
    let expires = option::weighted(0.2, select(&[1, 2, 10, 400][..]));
    (option::weighted(0.6, ids()), address(), any::<bool>(), opening, expires).prop_map(
        |(id, address, no_history, opening, expires)| NewMessage {
            uuid: id.map(Uuid::from_u128),
            payload: Some(payload("said")),
            no_history,
            expires: expires.filter(|_| opening.is_none()),
            opening: opening.map(|user| Box::new(Opening::new([user]))),
            ..NewMessage::new("bot", address)
        },
    )
}
