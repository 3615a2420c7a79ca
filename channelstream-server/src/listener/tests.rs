//! A listener from the reservation of its place to its removal.

use channelstream_core::state::stored::Levels;
use channelstream_core::state::{Appends, Refusal, Rules, State};
use futures_util::FutureExt as _;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::yield_now;
use uuid::Uuid;

use super::*;
use crate::config::{Config, Journal};
use crate::journal;
use crate::webhooks;
use hub::Hub;
use outbox::{Bounds, Ending};

/// Starts a node with place for one listener.
fn start() -> Node {
    let bounds = Bounds { frames: 10, bytes: 1000 };
    let (asking, asked) = crate::listener::asking();
    let (limits, metrics) = (Arc::default(), Arc::default());
    let (hub, _tasks) = Hub::new(vec![Handle::current()], bounds, 1, &asking, &metrics);
    let state = State::new(Rules::default());
    let opened = journal::open(&Journal::Memory, Levels::KNOWN, || state).unwrap();
    let (rules, hub) = (Rules::default(), Arc::new(hub));
    let (webhooks, _) = webhooks::new(&Config::default(), Arc::clone(&limits), None).unwrap();
    let (node, state_loop) =
        node::new(opened, (rules, false), hub, asked, limits, metrics, webhooks);
    tokio::spawn(state_loop.run());
    node
}

/// Creates the only listener, on a connection that the state does not know.
fn listener(node: &Node) -> Listener {
    let permit = node.hub().reserve().unwrap();
    Listener::new(node, permit, Uuid::nil().into(), Sink::Pull(Notify::new()), Encoding::Json, None)
}

async fn removed(node: &Node) {
    while node.hub().count() > 0 {
        yield_now().await;
    }
}

#[tokio::test]
async fn a_listener_keeps_its_place_until_the_state_knows_of_its_end() {
    let node = start();
    let mut listener = listener(&node);
    let opened = listener.open(ListenerKind::Poll, Appends::AsEvents).await;
    assert!(matches!(opened, Err(node::Error::Refused(Refusal::UnknownConnection))));
    assert!(node.hub().reserve().is_none());
    let outbox = Arc::clone(listener.outbox());
    listener.close(Closing::ByPeer);
    assert!(node.hub().reserve().is_none(), "the state has not heard of it yet");
    removed(&node).await;
    assert_eq!(outbox.ending(), Some(Ending::Ended), "nothing is sent any more");
    let _other = node.hub().reserve().unwrap();
    drop(listener);
    yield_now().await;
    assert_eq!(node.hub().count(), 1, "a listener is closed once");
}

#[tokio::test]
async fn a_listener_that_is_dropped_is_closed_even_while_it_opens() {
    let node = start();
    drop(listener(&node));
    removed(&node).await;
    let mut listener = listener(&node);
    assert!(listener.open(ListenerKind::Poll, Appends::AsEvents).now_or_never().is_none());
    assert!(listener.is_opening);
    drop(listener);
    removed(&node).await;
}
