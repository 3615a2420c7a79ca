//! Stored forms: how large they are, and what they cost. Prints the bytes and times of the entry of a
//! message of 200 bytes, and of the snapshot of 100,000 connections.

use std::hint::black_box;
use std::time::Duration;

use channelstream_core::protocol::{Connect, InfoOptions, NewMessage, Timestamp};
use channelstream_core::state::stored::{LEVEL, Levels, decode, encode};
use channelstream_core::state::{
    Command, ConnectionId, Envelope, Moment, NodeId, Rules, Stamp, State,
};
use criterion::measurement::{Measurement as _, WallTime};

const CONNECTIONS: u64 = 100_000;
/// Connections are spread over so many channels.
const CHANNELS: u64 = 1000;

/// Bits as random ones are: nearly all numbers are long.
const SPREAD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;

fn envelope(number: u64, command: Command) -> Envelope {
    let now = Timestamp::from_micros(1_704_067_200_123_456);
    // No time passes, so that no connection ends.
    let moment = Moment::default().after(Duration::from_secs(86_400));
    let seed = SPREAD.wrapping_mul(number.into());
    let node = NodeId::new(0x9e37_79b9_7f4a_7c15);
    Envelope { node, number, stamp: Stamp { now, moment, seed }, command, repeat: None }
}

fn connect(number: u64) -> Command {
    let channel = format!("channel{}", number % CHANNELS);
    let mut request = Connect::new(format!("user{number}")).channels([channel]);
    request.info =
        InfoOptions { include_users: false, include_history: false, ..InfoOptions::default() };
    let connection = ConnectionId::from_u128(SPREAD.wrapping_mul(u128::from(number) + 1));
    Command::Connect { connection, request: Box::new(request) }
}

/// The mean time of a call.
fn time<T>(calls: u32, mut call: impl FnMut() -> T) -> Duration {
    let begin = WallTime.start();
    for _ in 0..calls {
        black_box(call());
    }
    WallTime.end(begin) / calls
}

#[expect(clippy::print_stdout, reason = "it is what a benchmark is for")]
fn main() {
    const ENTRIES: u32 = 1_000_000;
    let payload = serde_json::json!({"text": "x".repeat(200 - r#"{"text":""}"#.len())});
    let message = NewMessage::to_channel("user0", "room", payload).expect("it is an object");
    let publish = envelope(1_000_000, Command::Publish(vec![message]));
    let mut bytes = Vec::new();
    let writing = time(ENTRIES, || {
        bytes.clear();
        encode(black_box(&publish), LEVEL, &mut bytes);
    });
    let reading =
        time(ENTRIES, || decode(black_box(&bytes), Levels::KNOWN).expect("it was written"));
    println!(
        "entry of 200 bytes      {:>10} bytes   {writing:.0?} to write, {reading:.0?} to read",
        bytes.len()
    );

    let mut state = State::new(Rules::default());
    (0..CONNECTIONS).for_each(|number| drop(state.apply(envelope(number, connect(number)))));
    assert_eq!(state.counts().connections as u64, CONNECTIONS);
    let snapshot = state.snapshot();
    let writing = time(5, || state.snapshot());
    let reading = time(5, || State::restore(black_box(&snapshot)));
    println!(
        "100,000 connections     {:>10} bytes   {writing:.0?} to write, {reading:.0?} to read",
        snapshot.len()
    );
}
