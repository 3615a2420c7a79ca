//! The server in another program: its handle, a listener from outside, and the example.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use channelstream_server::protocol::{
    Address, Configure, Connect, Delete, DeleteChannels, DisconnectUser, Edit, InfoOptions,
    NewMessage, SetUserState, Subscribe, Unsubscribe, Uuid,
};
use channelstream_server::{Config, HandleError, Refusal, Server, ServerError};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::app::{Request, Site};

#[path = "../../examples/embedded.rs"]
#[expect(dead_code, reason = "its main function is for people")]
mod example;

/// The example on free ports: the application, the push server, and what ends both.
struct Example {
    app: Site,
    push: Site,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), ServerError>>>,
}

impl Example {
    fn start() -> Self {
        let (ready, addresses) = mpsc::channel::<(SocketAddr, SocketAddr)>();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let app = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let push = TcpListener::bind("127.0.0.1:0").await.unwrap();
                ready.send((app.local_addr().unwrap(), push.local_addr().unwrap())).unwrap();
                example::run(app, push, Config::default(), async { drop(stopped.await) }).await
            })
        });
        let (app, push) = addresses.recv().unwrap();
        Self { app: Site(app), push: Site(push), stop: Some(stop), thread: Some(thread) }
    }

    fn stop(mut self) {
        self.stop = None;
        self.thread.take().unwrap().join().unwrap().unwrap();
    }
}

#[test]
fn the_example_publishes_to_those_who_listen() {
    let example = Example::start();
    let post = |path: &str, body| example.app.send(&Request::new("POST", path).json(&body));
    let connection = post("/join/ann", json!({})).ok()["conn_id"].as_str().unwrap().to_owned();
    let mut socket = example.push.socket(&connection);
    crate::app::eventually("the socket gets it", || {
        post("/say/bob", json!({"text": "hello"})).ok()["recipients"] == 1
    });
    let event = socket.event();
    assert_eq!((&event["user"], &event["message"]), (&json!("bob"), &json!({"text": "hello"})));
    let refused = post("/say/bob", json!("no object"));
    assert_eq!(refused.status, 400);
    assert!(
        refused.json()["error"].as_str().unwrap().contains("payload is not a JSON object"),
        "{refused:?}"
    );
    drop(socket);
    example.stop();
}

/// Runs `life` beside a server, with its handle.
fn beside_a_server<F: Future<Output = ()>>(
    config: Config,
    life: impl FnOnce(channelstream_server::Handle) -> F,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server::from_listener(listener, config).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let handle = server.handle();
        let running = tokio::spawn(server.run(async { drop(stopped.await) }));
        tokio::time::timeout(Duration::from_secs(20), life(handle.clone())).await.unwrap();
        drop(stop);
        running.await.unwrap().unwrap();
        let gone = handle.info(&InfoOptions::default()).await.unwrap_err();
        assert!(matches!(gone, HandleError::Stopped), "{gone}");
    });
}

#[test]
fn the_handle_can_do_what_the_backend_api_can() {
    beside_a_server(Config::default(), async |handle| {
        let room = || Address::channel("room");
        let channels = [("room".to_owned(), None)].into_iter().collect();
        let configured = handle.configure(&Configure { channels }).await.unwrap();
        assert!(configured.channels.contains_key("room"));
        let ann = handle.connect(&Connect::new("ann").channels(["lobby"])).await.unwrap();
        let joined = handle.subscribe(&Subscribe::new(ann.conn_id, ["room"])).await.unwrap();
        assert_eq!(joined.subscribed_to.len(), 1);
        let mood = [("mood".to_owned(), "good".into())].into_iter().collect();
        let state = SetUserState::new("ann", mood);
        let state = handle.set_user_state(&state).await.unwrap();
        assert_eq!(state.changed_state.len(), 1);
        let message = NewMessage::to_channel("ann", "room", json!({"text": "one"})).unwrap();
        let posted = handle.publish([message.clone(), message]).await.unwrap();
        assert_eq!(posted.len(), 2);
        let edit = Edit::new(posted[0].uuid, room()).payload(json!({"text": "two"})).unwrap();
        assert!(handle.edit(edit).await.unwrap()[0].edited.is_some());
        let deleted = handle.delete(Delete::new(posted[1].uuid, room())).await.unwrap();
        assert_eq!(deleted[0].uuid, posted[1].uuid);
        let info = handle.info(&InfoOptions::default().channels(["room"])).await.unwrap();
        assert_eq!((info.channels.len(), info.channels["room"].total_users), (1, 1));
        let left = handle.unsubscribe(&Unsubscribe::new(ann.conn_id, ["room"])).await.unwrap();
        assert_eq!(left.unsubscribed_from.len(), 1);
        let names = vec!["room".to_owned(), "nowhere".to_owned()];
        let removed = handle.delete_channels(&DeleteChannels { channels: names }).await.unwrap();
        assert_eq!((removed.deleted.len(), removed.unknown.len()), (1, 1));
        assert!(handle.disconnect(ann.conn_id).await.unwrap());
        assert!(!handle.disconnect(Uuid::from_u128(7)).await.unwrap());
        let done =
            handle.disconnect_user(&DisconnectUser::new("ann").refuse_for(60)).await.unwrap();
        assert_eq!(done.refused_for, 60);
        assert!(handle.connect(&Connect::new("ann")).await.is_err());
    });
}

#[test]
fn the_handle_checks_requests_as_http_does() {
    let config = Config { max_json_elements: 20, ..Config::default() };
    beside_a_server(config, async |handle| {
        let error = handle.connect(&Connect::new("")).await.unwrap_err();
        assert!(matches!(error, HandleError::Invalid(_)), "{error}");
        assert!(error.to_string().contains("Length must be between 1 and 512."), "{error}");
        let error = NewMessage::to_channel("ann", "room", json!(["no object"])).unwrap_err();
        let error = HandleError::from(error);
        assert_eq!(error.to_string(), "the payload is not a JSON object");
        let many: Vec<u32> = (0..100).collect();
        let message = NewMessage::to_channel("ann", "room", json!({"many": many})).unwrap();
        let error = handle.publish(message).await.unwrap_err();
        assert!(matches!(error, HandleError::TooComplex(_)), "{error}");
        let nobody = Subscribe::new(Uuid::from_u128(7), ["room"]);
        let error = handle.subscribe(&nobody).await.unwrap_err();
        assert!(matches!(error, HandleError::Refused(Refusal::UnknownConnection)), "{error}");
    });
}

#[test]
fn the_cause_of_a_failure_is_its_source() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = Server::bind(Config { port, ..Config::default() }).await.unwrap_err();
        assert_eq!(error.to_string(), format!("cannot listen on 127.0.0.1:{port}"));
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(cause, "another program listens there already");
    });
}
