//! The adapter by which `channelstream conformance` tests this client.
//!
//! Build it, and let the command drive it:
//! `cargo build -p channelstream-client --features listen --example conformance`, then
//! `channelstream conformance --client target/debug/examples/conformance`. It reads orders from
//! standard input and writes what the client reports to standard output, as docs/client-spec.md says.

use std::error::Error;
use std::io::{self, BufRead as _, Write as _};
use std::thread;
use std::time::Duration;

use channelstream_client::{
    Client, End, Event, EventKind, EventStream, Gap, NewMessage, StreamEvent, Uuid, Value, json,
};
use tokio::sync::mpsc;

type Failed = Box<dyn Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failed> {
    let mut orders = orders();
    let mut events: Option<EventStream> = None;
    let mut client: Option<Client> = None;
    loop {
        tokio::select! {
            order = orders.recv() => {
                let Some(order) = order else { return Ok(()) };
                match order["do"].as_str() {
                    Some("listen") => events = Some(listen(&order)?),
                    Some(name @ ("publish" | "grow")) => {
                        let client = match &client {
                            Some(client) => client,
                            None => client.insert(Client::new(text(&order, "url")?, text(&order, "secret")?)?),
                        };
                        if name == "grow" {
                            grow(client, &order).await?;
                        } else {
                            publish(client, &order).await?;
                        }
                    }
                    // Dropping the stream closes its TCP connection.
                    Some("stop") => return Ok(()),
                    _ => return Err(format!("an unknown order: {order}").into()),
                }
            }
            event = next(&mut events) => match event {
                Some(event) => tell_of(event, events.as_ref().and_then(EventStream::cursor))?,
                None => events = None,
            },
        }
    }
}

/// The orders, which a thread reads. The channel ends with standard input.
fn orders() -> mpsc::Receiver<Value> {
    let (sender, orders) = mpsc::channel(16);
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            let order = line.parse().unwrap_or(Value::Null);
            if sender.blocking_send(order).is_err() {
                return;
            }
        }
    });
    orders
}

async fn next(events: &mut Option<EventStream>) -> Option<StreamEvent> {
    match events {
        Some(events) => events.next().await,
        None => std::future::pending().await,
    }
}

fn text<'a>(order: &'a Value, key: &str) -> Result<&'a str, Failed> {
    order[key].as_str().ok_or_else(|| format!("the order has no {key}").into())
}

fn seconds(order: &Value, key: &str) -> Duration {
    order[key].as_f64().map_or(Duration::from_secs(1), Duration::from_secs_f64)
}

fn listen(order: &Value) -> Result<EventStream, Failed> {
    let conn_id: Uuid = text(order, "conn_id")?.parse()?;
    let mut builder = EventStream::builder(text(order, "url")?, conn_id)
        .silence(seconds(order, "silence"))
        .first_pause(seconds(order, "first_pause"))
        .longest_pause(seconds(order, "longest_pause"));
    builder = match order["transports"].as_array().map(|list| list.iter().map(Value::as_str)) {
        Some(mut list) if list.clone().count() == 1 => match list.next().flatten() {
            Some("websocket") => builder.only_websocket(),
            Some("poll") => builder.only_long_poll(),
            other => return Err(format!("this client does not listen by {other:?}").into()),
        },
        _ => builder,
    };
    if let Some(cursor) = order["cursor"].as_str() {
        builder = builder.since(cursor);
    }
    if let Some(address) = order["connect_url"].as_str() {
        let (http, address) = (reqwest::Client::new(), address.to_owned());
        builder = builder.renewed_by(move || {
            let asking = http.post(&address).send();
            async move {
                let answer: Value = asking.await?.error_for_status()?.json().await?;
                Ok::<Uuid, Failed>(text(&answer, "conn_id")?.parse()?)
            }
        });
    }
    Ok(builder.build()?)
}

fn message(order: &Value) -> Result<NewMessage, Failed> {
    let message = &order["message"];
    let (user, channel) = (text(message, "user")?, text(message, "channel")?);
    Ok(NewMessage::to_channel(user, channel, message["message"].clone())?)
}

async fn grow(client: &Client, order: &Value) -> Result<(), Failed> {
    let grown = async {
        let mut out = client.stream(message(order)?).await?;
        for piece in order["pieces"].as_array().into_iter().flatten() {
            out.append(piece.as_str().unwrap_or_default()).await?;
        }
        out.finish().await?;
        Ok::<(), Failed>(())
    };
    tell(&match grown.await {
        Ok(()) => json!({ "event": "published", "id": order["id"] }),
        Err(error) => json!({
            "event": "failed", "id": order["id"], "in_doubt": true, "error": error.to_string(),
        }),
    })
}

async fn publish(client: &Client, order: &Value) -> Result<(), Failed> {
    let message = message(order)?;
    tell(&match client.publish(message).await {
        Ok(sent) => json!({ "event": "published", "id": order["id"], "uuid": sent[0].uuid }),
        Err(error) => json!({
            "event": "failed", "id": order["id"], "in_doubt": error.is_in_doubt(),
            "error": format!("{error:#}"),
        }),
    })
}

fn tell_of(event: StreamEvent, cursor: Option<&str>) -> Result<(), Failed> {
    let mut told = match event {
        StreamEvent::Opened { .. } => json!({ "event": "open" }),
        StreamEvent::Event(event) => told_of(&event)?,
        StreamEvent::Gap(Gap::Lost { channel, reason, .. }) => {
            json!({ "event": "gap", "channel": channel, "reason": reason })
        }
        StreamEvent::Gap(Gap::LostOtherwise { channel, .. }) => {
            json!({ "event": "gap", "channel": channel, "reason": "unknown" })
        }
        // What it assumes of servers that tell no cursors.
        StreamEvent::Gap(_) => json!({ "event": "gap", "channel": null, "reason": "unknown" }),
        StreamEvent::Interrupted { error, .. } => {
            json!({ "event": "interrupted", "error": error.to_string() })
        }
        StreamEvent::Ended(end) => json!({ "event": "ended", "reason": match end {
            End::UnknownConnection => "unknown_connection",
            End::Disconnected => "disconnected",
            End::Superseded => "superseded",
            _ => "unknown",
        } }),
        _ => json!({ "event": "unknown" }),
    };
    told["cursor"] = cursor.into();
    tell(&told)
}

fn told_of(event: &Event) -> Result<Value, Failed> {
    let mut told = json!({
        "uuid": event.uuid, "channel": event.channel, "catchup": event.catchup,
    });
    let mut tell = |name: &str, fields: Value| {
        told["event"] = name.into();
        for (key, value) in fields.as_object().into_iter().flatten() {
            told[key] = value.clone();
        }
    };
    match &event.kind {
        EventKind::Message { user, growth, .. } => {
            let payload: Value = event.payload()?;
            tell("message", json!({ "user": user, "message": payload }));
            if let Some(growth) = growth {
                tell("message", json!({ "status": growth.status, "rev": growth.rev }));
            }
        }
        EventKind::Edit { .. } => tell("edited", json!({ "message": event.payload::<Value>()? })),
        EventKind::Delete => tell("deleted", Value::Null),
        EventKind::Append { append, from, rev, status, .. } => tell(
            "appended",
            json!({ "append": append, "from": from, "rev": rev, "status": status }),
        ),
        EventKind::Presence { user, action, .. } => {
            tell("presence", json!({ "user": user, "action": action }));
        }
        _ => tell("unknown", Value::Null),
    }
    Ok(told)
}

fn tell(told: &Value) -> Result<(), Failed> {
    let mut out = io::stdout().lock();
    writeln!(out, "{told}")?;
    Ok(out.flush()?)
}
