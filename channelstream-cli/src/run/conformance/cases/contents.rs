//! Cases of events, as a client passes them on.

use serde_json::{Value, json};

use crate::args::ListenTransport;
use crate::run::conformance::events::{
    CHANNEL, Event, append, cursor, delete, edit, gap, joined, message, open, private, uuid,
};
use crate::run::conformance::stage::Stage;
use crate::run::conformance::verdict::Played;

/// How many messages the case of the order sends, and how many at once.
const MANY: u32 = 300;
const AT_ONCE: usize = 50;

pub(super) fn order(stage: &mut Stage) -> Played {
    let mut line = stage.listen()?;
    let events: Vec<_> = (2..MANY + 2).map(message).collect();
    for some in events.chunks(AT_ONCE) {
        stage.deliver(&mut line, some)?;
    }
    stage.finish(line)
}

pub(super) fn events(stage: &mut Stage) -> Played {
    let mut line = stage.listen()?;
    stage.deliver(&mut line, &[private(2), message(3)])?;
    stage.send(&mut line, &[edit(4, 3, 30), delete(5, 3), joined(6, "ben")])?;
    stage.told(&json!({
        "event": "edited", "uuid": uuid(3), "channel": CHANNEL, "message": { "number": 30 },
        "cursor": cursor(4),
    }))?;
    stage.told(&json!({
        "event": "deleted", "uuid": uuid(3), "channel": CHANNEL, "cursor": cursor(5),
    }))?;
    stage.told(&json!({
        "event": "presence", "user": "ben", "channel": CHANNEL, "action": "joined",
        "cursor": cursor(6),
    }))?;
    stage.finish(line)
}

pub(super) fn unknown(stage: &mut Stage) -> Played {
    let mut line = stage.listen()?;
    let known = message(2).with("mood", json!({ "of": ["a", "later", "version"] }));
    stage.deliver(&mut line, &[known])?;
    let unknown = [
        Event::new(3, json!({ "type": "weather", "channel": CHANNEL, "message": { "sun": 1 } })),
        Event::new(4, json!({ "type": "weather", "uuid": 7, "channel": ["no", "text"] })),
        Event::new(5, json!({ "channel": CHANNEL })),
    ];
    stage.send(&mut line, &unknown)?;
    // The client is behind them, though it did not understand them.
    if line.transport == ListenTransport::Poll {
        stage.poll(&mut line)?;
    }
    let cursor = line.cursor.clone();
    line.cut();
    let mut line = stage.listener(&cursor)?;
    stage.deliver(&mut line, &[message(9).caught_up()])?;
    stage.finish(line)
}

pub(super) fn gaps(stage: &mut Stage) -> Played {
    let mut line = stage.listen()?;
    stage.deliver(&mut line, &[message(2)])?;
    stage.send(
        &mut line,
        &[
            gap(3, Some(CHANNEL), "evicted"),
            message(4).caught_up(),
            gap(5, None, "window"),
            gap(6, Some(CHANNEL), "epoch"),
            gap(7, Some(CHANNEL), "a reason of a later version"),
            message(8).caught_up(),
        ],
    )?;
    let told = |number, channel: Option<&str>| json!({ "event": "gap", "channel": channel, "cursor": cursor(number) });
    let with = |mut told: Value, reason: &str| {
        told["reason"] = reason.into();
        told
    };
    stage.told(&with(told(3, Some(CHANNEL)), "evicted"))?;
    stage.told(&message(4).caught_up().told())?;
    stage.told(&with(told(5, None), "window"))?;
    stage.told(&with(told(6, Some(CHANNEL)), "epoch"))?;
    // Whatever the client calls it.
    stage.told(&told(7, Some(CHANNEL)))?;
    stage.told(&message(8).caught_up().told())?;
    stage.finish(line)
}

pub(super) fn growing(stage: &mut Stage) -> Played {
    let mut line = stage.listen()?;
    stage.send(
        &mut line,
        &[
            open(2),
            append(3, 2, 0, "Hello"),
            append(4, 2, 1, " wörld"),
            append(5, 2, 2, "").with("append", json!({})).with("status", "done"),
        ],
    )?;
    let mut opened = open(2).told();
    opened["status"] = "open".into();
    opened["rev"] = 0.into();
    stage.told(&opened)?;
    for (place, text) in [(3, "Hello"), (4, " wörld")] {
        stage.told(&json!({
            "event": "appended", "uuid": uuid(2), "channel": CHANNEL, "append": { "text": text },
            "from": place - 3, "rev": place - 2, "cursor": cursor(place),
        }))?;
    }
    stage.told(&json!({
        "event": "appended", "uuid": uuid(2), "append": {}, "from": 2, "rev": 3, "status": "done",
    }))?;
    stage.finish(line)
}
