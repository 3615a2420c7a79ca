//! What the shards of a hub receive, and what they report.

use channelstream_core::protocol::{Cursor, DateTime, Event, UserStateChange};
use channelstream_core::state::{EndReason, Sequence};
use futures_util::FutureExt as _;
use tokio::sync::Notify;
use uuid::Uuid;

use super::*;

const BOUNDS: Bounds = Bounds { frames: 10, bytes: 10_000 };

/// Returns a hub whose writers run.
fn hub(shards: usize) -> (Hub, Vec<ShardTasks>) {
    let (hub, tasks) = with_place_for(100, shards);
    tasks.iter().for_each(|tasks| drop(tokio::spawn(tasks.write())));
    (hub, tasks)
}

fn with_place_for(listeners: usize, shards: usize) -> (Hub, Vec<ShardTasks>) {
    let (asking, _) = crate::listener::asking();
    Hub::new(vec![Handle::current(); shards], BOUNDS, listeners, &asking, &Arc::default())
}

/// Returns the cursor of an event.
fn at(sequence: Sequence) -> Cursor {
    Cursor { sequence, ..Cursor::default() }
}

/// Returns a connection whose listeners are in this shard.
fn connection(hub: &Hub, shard: usize) -> ConnectionId {
    let at_home = |id: &ConnectionId| Arc::ptr_eq(hub.home(*id), &hub.shards[shard]);
    (0..).map(ConnectionId::from_u128).find(at_home).unwrap()
}

fn listener(hub: &Hub, shard: usize) -> Arc<Outbox> {
    hub.open(connection(hub, shard), Sink::Pull(Notify::new()), Encoding::Json, None)
}

fn frame(sequence: Sequence, to: &[&Arc<Outbox>]) -> Delivery {
    let change = UserStateChange {
        uuid: Uuid::nil(),
        user: "ann".into(),
        channel: "news".into(),
        timestamp: DateTime::parse("2026-01-01T00:00:00Z").unwrap(),
        state: Arc::default(),
        changed: Arc::default(),
    };
    let to = to.iter().map(|outbox| outbox.id).collect();
    Delivery::Event {
        to,
        event: Event::UserStateChange(Arc::new(change)),
        sequence,
        catchup: false,
    }
}

#[tokio::test]
async fn an_event_reaches_the_listeners_of_every_shard() {
    let (hub, mut tasks) = hub(3);
    let listeners = [0, 1, 2, 2].map(|shard| listener(&hub, shard));
    hub.deliver(vec![frame(1, &listeners.each_ref())], at(1), None).await;
    assert!(!listeners[0].is_empty(), "the first is served at once");
    assert!(listeners[1].is_empty(), "the others when their thread comes to it");
    let receivers: Vec<_> =
        tasks.drain(..).filter_map(ShardTasks::receive).map(tokio::spawn).collect();
    assert_eq!(receivers.len(), 2);
    for listener in &listeners[1..] {
        listener.changed().await;
        assert!(!listener.is_empty());
    }
}

#[tokio::test]
async fn what_was_sent_is_reported_after_all_that_was_delivered() {
    let (hub, mut tasks) = hub(2);
    let (here, there) = (listener(&hub, 0), listener(&hub, 1));
    hub.deliver(vec![frame(1, &[&here, &there]), frame(2, &[&here])], at(3), None).await;
    let sent = hub.sent(&here).await;
    assert_eq!((sent.up_to, sent.but), (3, vec![1, 2]));

    let mut sent = Box::pin(hub.sent(&there));
    assert!((&mut sent).now_or_never().is_none(), "its event is still on the way");
    // What comes later is neither sent nor counted.
    hub.deliver(vec![frame(4, &[&there])], at(4), None).await;
    tokio::spawn(tasks.pop().unwrap().receive().unwrap());
    let sent = sent.await;
    assert_eq!((sent.up_to, sent.but), (3, vec![1]));
}

#[tokio::test]
async fn a_listener_is_removed_after_what_is_on_its_way_to_it() {
    let (hub, mut tasks) = hub(2);
    let older = listener(&hub, 1);
    let newer = listener(&hub, 1);
    let reason = EndReason::Superseded { by: newer.id };
    let end = Delivery::End { listener: older.id, reason };
    hub.deliver(vec![frame(1, &[&older]), end], at(1), None).await;
    hub.remove(older.id).await;
    tokio::spawn(tasks.pop().unwrap().receive().unwrap());
    newer.changed().await;
    assert!(!newer.is_empty(), "it takes over what the older one was not sent");
}

#[tokio::test]
async fn at_the_end_of_a_thread_its_listeners_can_still_be_closed() {
    let (hub, tasks) = hub(2);
    let there = listener(&hub, 1);
    hub.deliver(vec![frame(1, &[&there])], at(1), None).await;
    drop(tasks);
    assert_eq!(hub.sent(&there).await.up_to, 1);
}

#[tokio::test]
async fn no_more_listeners_than_allowed_over_all_shards() {
    let (hub, _tasks) = with_place_for(3, 4);
    let mut permits: Vec<_> = (0..3).map(|_| hub.reserve().unwrap()).collect();
    assert!(hub.reserve().is_none());
    assert_eq!(hub.count(), 3, "a listener that is refused is not counted");
    permits.pop();
    assert_eq!(hub.count(), 2, "nor is one that is gone");
    assert!(hub.reserve().is_some());
    let (unlimited, _tasks) = with_place_for(usize::MAX, 1);
    assert!(unlimited.reserve().is_some());
    assert_eq!(unlimited.count(), 0);
}

#[tokio::test]
async fn some_listeners_are_ended_over_all_shards() {
    let (hub, _tasks) = hub(4);
    let listeners = [0, 1, 2].map(|shard| listener(&hub, shard));
    hub.remove(listeners[2].id).await;
    hub.end_some(Ending::Shutdown, 1);
    assert_eq!(listeners.iter().filter(|one| one.ending().is_some()).count(), 1);
    hub.end_some(Ending::Shutdown, 5);
    assert!(listeners[..2].iter().all(|one| one.ending().is_some()));
}

#[tokio::test]
async fn a_run_is_encoded_once_for_each_encoding() {
    let (hub, _tasks) = hub(1);
    let open = |encoding| hub.open(connection(&hub, 0), Sink::Pull(Notify::new()), encoding, None);
    let listeners = [Encoding::Json, Encoding::WebSocket, Encoding::Json].map(open);
    hub.deliver(vec![frame(1, &listeners.each_ref())], at(1), None).await;
    let [one, socket, other] = listeners.map(|outbox| outbox.take().remove(0));
    assert_eq!(one.as_ptr(), other.as_ptr(), "the bytes are shared");
    assert_eq!(Encoding::WebSocket.transcode(&socket, Encoding::Json), one);
}

#[tokio::test]
async fn what_the_older_listener_was_sent_is_known_after_the_takeover() {
    let (hub, mut tasks) = hub(2);
    let older = listener(&hub, 1);
    let newer = listener(&hub, 1);
    let reason = EndReason::Superseded { by: newer.id };
    let end = Delivery::End { listener: older.id, reason };
    // One at a time: events that are delivered at once have their place together.
    for number in 1..13 {
        hub.deliver(vec![frame(number, &[&older])], at(number), None).await;
    }
    hub.deliver(vec![end], at(12), None).await;
    tokio::spawn(tasks.pop().unwrap().receive().unwrap());
    let sent = hub.sent_before(&newer).await.unwrap();
    assert!(sent.up_to < 12, "the older one had no place for all: {sent:?}");
    assert!(hub.sent_before(&older).await.is_none());
    hub.resume(&newer).await;
    assert!(hub.sent_before(&newer).await.is_none());
}

#[tokio::test]
async fn a_look_names_who_was_not_sent_everything_behind_all_that_was_delivered() {
    let (hub, mut tasks) = with_place_for(100, 2);
    tasks.drain(..).filter_map(ShardTasks::receive).for_each(|receive| drop(tokio::spawn(receive)));
    let (here, there) = (listener(&hub, 0), listener(&hub, 1));
    assert_eq!(hub.look(7).await.reports().await, Some((7, vec![])));
    hub.deliver(vec![frame(8, &[&here, &there]), frame(9, &[&there])], at(9), None).await;
    let mut named = vec![(here.id, 7), (there.id, 7)];
    assert_eq!(hub.look(9).await.reports().await, Some((9, named.clone())));
    here.take();
    named.remove(0);
    assert_eq!(hub.look(9).await.reports().await, Some((9, named)));
    there.take();
    assert_eq!(hub.look(9).await.reports().await, Some((9, vec![])));
    // What it was not sent when it ended was not sent.
    hub.sent(&here).await;
    hub.deliver(vec![frame(10, &[&here])], at(10), None).await;
    assert_eq!(hub.look(10).await.reports().await, Some((10, vec![(here.id, 9)])));
}

#[tokio::test]
async fn too_many_to_name_lower_what_all_were_sent() {
    let (hub, _tasks) = with_place_for(1000, 1);
    let all: Vec<_> = (0..NAMED as u64 + 10).map(|_| listener(&hub, 0)).collect();
    let deliveries = (1..).zip(&all).map(|(number, outbox)| frame(number, &[outbox]));
    hub.deliver(deliveries.collect(), at(1000), None).await;
    let (sent, named) = hub.look(1000).await.reports().await.unwrap();
    // Those with the lowest numbers are named; all others were sent as much as the next.
    assert_eq!((sent, named.len()), (NAMED as u64, NAMED));
    assert!(named.iter().map(|(_, sent)| *sent).eq(0..NAMED as u64));
}

#[tokio::test]
async fn a_listener_that_waits_for_an_older_one_elsewhere_was_sent_nothing() {
    let (hub, _tasks) = hub(1);
    let takes_over = |outbox: &Outbox, is_done| {
        let listener = outbox.id;
        vec![Delivery::TakesOver { listener, is_done }]
    };
    let (one, other) = (listener(&hub, 0), listener(&hub, 0));
    hub.deliver(takes_over(&one, false), at(7), None).await;
    assert_eq!(hub.sent(&one).await, Sent::default());
    // What follows is for nobody any more.
    let mut rest = takes_over(&one, true);
    rest.push(frame(7, &[&one]));
    hub.deliver(rest, at(7), None).await;
    assert_eq!(hub.sent(&one).await, Sent::default());

    hub.deliver(takes_over(&other, false), at(7), None).await;
    hub.deliver(takes_over(&other, true), at(7), None).await;
    assert_eq!(hub.sent(&other).await, Sent { up_to: 7, but: Vec::new() });
}

#[tokio::test]
async fn who_is_taken_over_elsewhere_is_sent_nothing_more() {
    let (hub, _tasks) = hub(1);
    let older = listener(&hub, 0);
    let end = Delivery::End { listener: older.id, reason: EndReason::SupersededElsewhere };
    hub.deliver(vec![frame(8, &[&older]), end], at(8), None).await;
    assert_eq!(older.ending(), Some(Ending::Superseded));
    assert_eq!(older.take(), Vec::<bytes::Bytes>::new());
    assert_eq!(hub.sent(&older).await, Sent { up_to: 8, but: vec![8] });
}
