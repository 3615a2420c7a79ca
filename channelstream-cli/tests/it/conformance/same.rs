//! The scripts of the kit say what the real server says.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use channelstream_client::{
    Address, AppendRequest, ChannelSettings, Client, Connect, Delete, Edit, NewMessage, Opening,
    Status, Timestamp, Value, json,
};

use crate::server::{SECRET, Server};

#[allow(dead_code, reason = "the scripts use more of it")]
#[path = "../../../src/run/conformance/events.rs"]
mod events;

/// An event stream of the server.
struct Stream(BufReader<TcpStream>);

impl Stream {
    fn open(server: &Server, conn_id: &str, since: &str) -> Self {
        let mut tcp = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        write!(tcp, "GET /sse?conn_id={conn_id}&since={since} HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .unwrap();
        Self(BufReader::new(tcp))
    }

    /// Returns the text of the next event, which stands in one block without blank lines.
    fn block(&mut self) -> String {
        let mut block = String::new();
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            match line.split_once(": ").map(|(name, _)| name) {
                Some("id" | "event" | "data") => block.push_str(&line),
                _ if !block.is_empty() && line == "\n" => return block + "\n",
                // Heads, sizes of chunks, heartbeats and `retry`.
                _ => {}
            }
        }
    }
}

/// The names and types of all fields, which are what a client reads by; null is any type.
fn shape(event: &Value) -> BTreeMap<String, u8> {
    let kind = |value: &Value| match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) => 4,
        Value::Object(_) => 5,
    };
    event.as_object().unwrap().iter().map(|(key, value)| (key.clone(), kind(value))).collect()
}

/// Compares an event of the server with one of the scripts: its block, and its fields.
#[track_caller]
fn is_alike(block: &str, scripted: &events::Event) {
    let lines = |block: &str| -> Vec<String> { block.lines().map(str::to_owned).collect() };
    let (real, script) = (lines(block), lines(&scripted.block()));
    assert_eq!(real.len(), script.len(), "{block}{}", scripted.block());
    assert_eq!(real[1], script[1]);
    let data = |lines: &[String]| -> Value {
        serde_json::from_str(lines[2].strip_prefix("data: ").unwrap()).unwrap()
    };
    assert_eq!(shape(&data(&real)), shape(&data(&script)), "{block}{}", scripted.block());
    let cursor = |lines: &[String]| {
        let cursor = lines[0].strip_prefix("id: ").unwrap();
        let (epoch, place) = cursor.split_once('-').unwrap();
        assert!(u64::from_str_radix(epoch, 16).is_ok() && place.as_bytes()[0].is_ascii_digit());
    };
    cursor(&real);
    cursor(&script);
}

#[tokio::test]
async fn the_scripts_say_what_the_server_says() {
    let server = Server::start();
    let client = Client::new(&server.url, SECRET).unwrap();
    let settings = ChannelSettings {
        notify_presence: true,
        store_history: true,
        ..ChannelSettings::default()
    };
    let ann = Connect {
        channel_configs: [("news".to_owned(), settings.into())].into(),
        ..Connect::new("ann").channels(["news"])
    };
    let conn_id = client.connect(ann).await.unwrap().conn_id.to_string();
    let mut stream = Stream::open(&server, &conn_id, "");
    is_alike(&stream.block(), &events::begins(1));

    let message = NewMessage::to_channel("editor", "news", json!({ "number": 2 })).unwrap();
    let uuid = client.publish(message).await.unwrap()[0].uuid;
    is_alike(&stream.block(), &events::message(2));
    let private = NewMessage::to_users("editor", ["ann"], json!({ "number": 3 })).unwrap();
    client.publish(private).await.unwrap();
    is_alike(&stream.block(), &events::private(3));
    let edit = Edit::new(uuid, Address::channel("news")).payload(json!({ "number": 30 })).unwrap();
    let timestamp = Some(Timestamp::default().into());
    client.edit(Edit { user: Some("editor".to_owned()), timestamp, ..edit }).await.unwrap();
    is_alike(&stream.block(), &events::edit(4, 2, 30));
    client.delete(Delete::new(uuid, Address::channel("news"))).await.unwrap();
    is_alike(&stream.block(), &events::delete(5, 2));
    client.connect(Connect::new("ben").channels(["news"])).await.unwrap();
    is_alike(&stream.block(), &events::joined(6, "ben"));

    let growing = NewMessage::to_channel("bot", "news", json!({ "text": "" })).unwrap();
    let growing = growing.open(Opening::new(["ann"]));
    let uuid = client.publish(growing).await.unwrap()[0].uuid;
    is_alike(&stream.block(), &events::open(7));
    let item = || AppendRequest::new(uuid, Some("news".to_owned()));
    client.append(item().text("text", "Hello")).await.unwrap();
    is_alike(&stream.block(), &events::append(8, 7, 0, "Hello"));
    client.append(item().status(Status::Done)).await.unwrap();
    let done = events::append(9, 7, 1, "").with("append", json!({})).with("status", "done");
    is_alike(&stream.block(), &done);
    drop(stream);

    // A cursor of another server: what is missing is told first, of each channel and of private events.
    let mut stream = Stream::open(&server, &conn_id, "00000001-1");
    let mut gaps = [stream.block(), stream.block()];
    gaps.sort_by_key(|gap| gap.contains("\"channel\""));
    is_alike(&gaps[0], &events::gap(1, None, "epoch"));
    is_alike(&gaps[1], &events::gap(2, Some("news"), "epoch"));
    is_alike(&stream.block(), &events::private(3).caught_up());
}
