//! An axum application with a room: its page listens, and each POST of a line reaches all open pages.
//!
//! Start a server (`cargo run --release -p channelstream-server`), then run
//! `cargo run -p channelstream-client --example axum_app`, and open http://127.0.0.1:8080 in two
//! browsers. `CHANNELSTREAM_URL` and `CHANNELSTREAM_SECRET` set the server's address and secret.
//!
//! The application chooses the user; a real one has a sign-in, as the example `warp_app`. A page
//! receives only the id of its connection, and the browser never sees the secret.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::env;
use std::error::Error;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::{get, post};
use axum::{Json, Router};
use channelstream_client::{Client, Connect, Connected, Error as PushError, NewMessage};
use serde::{Deserialize, Serialize};

const ROOM: &str = "room";

/// What a page sends, and what all pages receive.
#[derive(Deserialize, Serialize)]
struct Line {
    text: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let setting = |name, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let push_url = setting("CHANNELSTREAM_URL", "http://127.0.0.1:8000");
    let client = Client::new(&push_url, setting("CHANNELSTREAM_SECRET", "secret"))?;
    let page = PAGE.replace("{push}", &push_url.replacen("http", "ws", 1));
    let router = Router::new()
        .route("/", get(async move || Html(page.clone())))
        .route("/connect/{user}", post(connect))
        .route("/lines/{user}", post(say))
        .with_state(client);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 8080)).await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, router).await?;
    Ok(())
}

/// Creates a connection for a page of the user, which listens with the `conn_id` of the answer.
async fn connect(
    State(client): State<Client>,
    Path(user): Path<String>,
) -> Result<Json<Connected>, StatusCode> {
    client.connect(Connect::new(user).channels([ROOM])).await.map(Json).map_err(failed)
}

/// Publishes a line to everybody in the room.
async fn say(
    State(client): State<Client>,
    Path(user): Path<String>,
    Json(line): Json<Line>,
) -> Result<StatusCode, StatusCode> {
    let message = NewMessage::to_channel(user, ROOM, line).map_err(|error| failed(error.into()))?;
    client.publish(message).await.map_err(failed)?;
    Ok(StatusCode::NO_CONTENT)
}

/// The push server is a gateway of this application: its errors are for the log.
#[expect(clippy::needless_pass_by_value, reason = "so that it can be given to `map_err`")]
fn failed(error: PushError) -> StatusCode {
    println!("{error:#}");
    StatusCode::BAD_GATEWAY
}

/// The page. Events arrive as lists, and their content is text, never HTML.
const PAGE: &str = r#"<!doctype html><title>Room</title>
<ul id="lines"></ul><form id="form"><input name="text" autocomplete="off"><button>Say</button></form>
<script>
const user = `guest-${Math.random().toString(36).slice(2, 6)}`;
const send = (path, body) =>
  fetch(path, {method: "POST", headers: {"content-type": "application/json"}, body: JSON.stringify(body)});
async function listen() {
  const {conn_id} = await (await send(`/connect/${user}`)).json();
  const socket = new WebSocket(`{push}/ws?conn_id=${conn_id}`);
  socket.onmessage = ({data}) => {
    for (const event of JSON.parse(data)) {
      if (event.type !== "message") continue;
      const item = document.createElement("li");
      item.textContent = `${event.user}: ${event.message.text}`;
      document.getElementById("lines").append(item);
    }
  };
  socket.onclose = () => setTimeout(listen, 1000 + 2000 * Math.random());
}
listen();
document.getElementById("form").onsubmit = async (event) => {
  event.preventDefault();
  await send(`/lines/${user}`, {text: new FormData(event.target).get("text")});
  event.target.reset();
};
</script>"#;
