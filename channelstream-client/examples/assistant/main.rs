//! An assistant: its answers grow word by word, and survive the death of the process.
//!
//! Start a server (`cargo run --release -p channelstream-server`), then
//! `cargo run -p channelstream-client --example assistant`, and open http://127.0.0.1:8080 in two tabs.
//! `CHANNELSTREAM_URL` and `CHANNELSTREAM_SECRET` set another server, `PORT` another port. README.md beside
//! this file says what to try.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::env;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::{get, post};
use axum::{Json, Router};
use channelstream_client::{
    ChannelConfig, Client, Connect, Connected, Error as PushError, InfoOptions, Message,
    MessageStream, NewMessage, Status, StreamError, Uuid, Value, json, serde_json,
};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

// A real application has a sign-in, and a channel for each chat.
const USER: &str = "ann";
const CHANNEL: &str = "assistant";
/// The time without a word after which another process goes on with an answer.
const SILENCE: Duration = Duration::from_secs(2);

/// The payload of an answer.
#[derive(Deserialize, Serialize)]
struct Answer {
    text: String,
    question: String,
}

#[derive(Deserialize)]
struct Question {
    text: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let setting = |name, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let url = setting("CHANNELSTREAM_URL", "http://127.0.0.1:8000");
    let client = Client::new(&url, setting("CHANNELSTREAM_SECRET", "secret"))?;
    let page = include_str!("page.html").replace("{push}", url.trim_end_matches('/'));
    let router = Router::new()
        .route("/", get(async move || Html(page.clone())))
        .route("/connect", post(connect))
        .route("/ask", post(ask))
        .with_state(client.clone());
    let port = setting("PORT", "8080").parse()?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("http://{}", listener.local_addr()?);
    tokio::spawn(watch(client));
    axum::serve(listener, router).await?;
    Ok(())
}

/// Returns the words of a model that goes on with a text that it has begun.
fn model(answer: &Answer) -> impl Iterator<Item = String> + use<> {
    let question = &answer.question;
    let text = format!("You asked: {question} - well, I am no model, but I can count for you:");
    let words = text.split_whitespace().map(str::to_owned);
    let words = words.chain((1..=30).map(|n| n.to_string())).chain(["done.".to_owned()]);
    let rest: Vec<_> = words.skip(answer.text.split_whitespace().count()).collect();
    rest.into_iter().map(|word| word + " ")
}

/// Appends word after word. The server takes each once, whatever happens to the network.
async fn generate(mut stream: MessageStream, answer: Answer) -> Result<(), StreamError> {
    for word in model(&answer) {
        sleep(Duration::from_millis(150)).await;
        stream.append(&word).await?;
    }
    stream.finish().await.map(drop)
}

fn start(stream: MessageStream, answer: Answer) {
    tokio::spawn(async move {
        // Such as that the reader has canceled it.
        if let Err(error) = generate(stream, answer).await {
            println!("{error}");
        }
    });
}

/// Goes on with an answer whose process has died, unless another process is quicker.
async fn take_over(client: &Client, uuid: Uuid) -> Result<(), Box<dyn Error>> {
    let stream = client.resume(uuid, CHANNEL.to_owned()).await?;
    // Nobody else appends any more: this is how far it is.
    let message = history(client).await?.into_iter().find(|message| message.uuid == uuid);
    if let Some(payload) = message.as_ref().and_then(|message| message.payload.as_ref()) {
        start(stream, serde_json::from_str(payload.get())?);
    }
    Ok(())
}

async fn history(client: &Client) -> Result<Vec<Arc<Message>>, PushError> {
    let info = client.info(InfoOptions::default().channels([CHANNEL])).await?;
    Ok(info.channels.get(CHANNEL).map(|channel| channel.history.clone()).unwrap_or_default())
}

/// Looks for answers that have stalled.
async fn watch(client: Client) {
    loop {
        sleep(Duration::from_secs(1)).await;
        for message in history(&client).await.unwrap_or_default() {
            if message.growth.is_some_and(|growth| growth.status == Status::Stalled)
                && let Err(error) = take_over(&client, message.uuid).await
            {
                println!("{error}");
            }
        }
    }
}

/// Creates a connection for the page. Its answer has the history, with answers that still grow.
async fn connect(State(client): State<Client>) -> Result<Json<Connected>, StatusCode> {
    let settings = ChannelConfig {
        store_history: Some(true),
        history_size: Some(50),
        ..ChannelConfig::default()
    };
    let request = Connect {
        channel_configs: [(CHANNEL.to_owned(), settings)].into(),
        ..Connect::new(USER).channels([CHANNEL])
    };
    client.connect(request).await.map(Json).map_err(failed)
}

async fn ask(
    State(client): State<Client>,
    Json(Question { text }): Json<Question>,
) -> Result<Json<Value>, StatusCode> {
    if text.is_empty() || text.chars().count() > 200 {
        return Err(StatusCode::UNPROCESSABLE_ENTITY);
    }
    let asked = NewMessage::to_channel(USER, CHANNEL, json!({ "text": text })).map_err(failed)?;
    client.publish(asked).await.map_err(failed)?;
    let answer = Answer { text: String::new(), question: text };
    let message = NewMessage::to_channel("assistant", CHANNEL, &answer).map_err(failed)?;
    let stream = client.stream(message).cancel_by([USER]).append_timeout(SILENCE);
    let stream = stream.await.map_err(failed)?;
    let uuid = stream.uuid();
    start(stream, answer);
    Ok(Json(json!({ "uuid": uuid })))
}

/// The push server is a gateway of this application: its errors are for the log.
fn failed(error: impl Error) -> StatusCode {
    println!("{error}");
    StatusCode::BAD_GATEWAY
}
