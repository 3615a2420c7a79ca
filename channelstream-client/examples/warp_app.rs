//! A web application with sign-in, whose pages receive notes to their user at once.
//!
//! Start a server (`cargo run --release -p channelstream-server`), then run
//! `cargo run -p channelstream-client --example warp_app`, and open http://127.0.0.1:8080 in two
//! browsers. Sign in as `ann` and `bob` with the password `tell me`, and send notes to each other.
//! `CHANNELSTREAM_URL` and `CHANNELSTREAM_SECRET` set the server's address and secret.
//!
//! The application authenticates its users and creates their connections. A page receives only the
//! connection's id, and the browser never sees the secret.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::HashMap;
use std::env;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use channelstream_client::{Client, Connect, Error, NewMessage, Uuid, json};
use serde::Deserialize;
use warp::http::StatusCode;
use warp::{Filter, Reply};

/// The users. A real application has a database with password hashes.
const USERS: [&str; 2] = ["ann", "bob"];
const PASSWORD: &str = "tell me";

struct App {
    client: Client,
    /// The address of the push server for browsers.
    push_url: String,
    /// The signed-in users by session cookie. Sessions of a real application expire.
    sessions: Mutex<HashMap<Uuid, &'static str>>,
}

/// The application, and the user of the request if signed in.
type Session = (Arc<App>, Option<&'static str>);

#[derive(Deserialize)]
struct SignIn {
    user: String,
    password: String,
}

#[derive(Deserialize)]
struct Note {
    to: String,
    text: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let setting = |name, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let push_url = setting("CHANNELSTREAM_URL", "http://127.0.0.1:8000");
    let client = Client::new(&push_url, setting("CHANNELSTREAM_SECRET", "secret"))?;
    let app = Arc::new(App { client, push_url, sessions: Mutex::default() });

    let with_app = warp::any().map(move || Arc::clone(&app));
    let session = warp::cookie::optional("session").and(with_app.clone()).map(
        |session: Option<Uuid>, app: Arc<App>| -> Session {
            let user = session.and_then(|session| app.sessions().get(&session).copied());
            (app, user)
        },
    );
    let page = warp::get()
        .and(warp::path::end())
        .and(session.clone())
        .then(async |(app, user): Session| app.page(user).await);
    let sign_in = warp::post()
        .and(warp::path!("sign_in"))
        .and(with_app)
        .and(warp::body::content_length_limit(4096))
        .and(warp::body::form())
        .map(|app: Arc<App>, given: SignIn| app.sign_in(&given));
    let note = warp::post()
        .and(warp::path!("note"))
        .and(session)
        .and(warp::body::content_length_limit(4096))
        .and(warp::body::form())
        .then(async |(app, user): Session, note: Note| app.note(user, note).await);
    println!("http://127.0.0.1:8080");
    warp::serve(page.or(sign_in).or(note)).run(([127, 0, 0, 1], 8080)).await;
    Ok(())
}

impl App {
    fn sessions(&self) -> MutexGuard<'_, HashMap<Uuid, &'static str>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the sign-in form, or for a signed-in user the page that listens.
    async fn page(&self, user: Option<&'static str>) -> Box<dyn Reply> {
        let Some(user) = user else { return Box::new(warp::reply::html(SIGN_IN)) };
        // Each opened page has its own connection. It is in no channel, since it receives messages
        // to the user anyway.
        match self.client.connect(Connect::new(user)).await {
            Ok(connected) => {
                let websocket = self.push_url.replacen("http", "ws", 1);
                let url = format!("{websocket}/ws?conn_id={}", connected.conn_id);
                let html = warp::reply::html(PAGE.replace("{user}", user).replace("{url}", &url));
                Box::new(warp::reply::with_header(html, "cache-control", "no-store"))
            }
            Err(error) => failed(&error),
        }
    }

    fn sign_in(&self, given: &SignIn) -> Box<dyn Reply> {
        let user = USERS.into_iter().find(|user| *user == given.user);
        let Some(user) = user.filter(|_| given.password == PASSWORD) else {
            let form = warp::reply::html(SIGN_IN);
            return Box::new(warp::reply::with_status(form, StatusCode::FORBIDDEN));
        };
        let session = Uuid::new_v4();
        self.sessions().insert(session, user);
        let cookie = format!("session={session}; HttpOnly; SameSite=Strict; Path=/");
        Box::new(warp::reply::with_header(home(), "set-cookie", cookie))
    }

    /// Sends a note to all open pages of another user.
    async fn note(&self, user: Option<&'static str>, note: Note) -> Box<dyn Reply> {
        let Some(user) = user else { return Box::new(home()) };
        let message = NewMessage::to_users(user, [note.to], json!({"text": note.text}));
        let sent = match message {
            Ok(message) => self.client.publish(message).await,
            Err(error) => Err(error.into()),
        };
        match sent {
            Ok(_) => Box::new(StatusCode::NO_CONTENT),
            Err(error) => failed(&error),
        }
    }
}

fn failed(error: &Error) -> Box<dyn Reply> {
    println!("{error}");
    Box::new(warp::reply::with_status("not now, sorry", StatusCode::BAD_GATEWAY))
}

/// Redirects to the first page.
fn home() -> impl Reply {
    let reply = warp::reply::with_status(warp::reply(), StatusCode::SEE_OTHER);
    warp::reply::with_header(reply, "location", "/")
}

const SIGN_IN: &str = r#"<!doctype html><title>Sign in</title>
<form method="post" action="/sign_in">
<input name="user" placeholder="ann or bob"><input name="password" type="password">
<button>Sign in</button></form>"#;

/// The page that listens. Events arrive as lists, and their content is text, never HTML. When the
/// websocket closes, the page is loaded again, which creates a new connection.
const PAGE: &str = r#"<!doctype html><title>Notes</title>
<p>You are {user}.</p><ul id="notes"></ul>
<form id="note"><input name="to" placeholder="to"><input name="text"><button>Send</button></form>
<script>
const socket = new WebSocket("{url}");
socket.onmessage = ({data}) => {
  for (const event of JSON.parse(data)) {
    if (event.type !== "message") continue;
    const item = document.createElement("li");
    item.textContent = `${event.user}: ${event.message.text}`;
    document.getElementById("notes").append(item);
  }
};
socket.onclose = () => setTimeout(() => location.reload(), 1000 + 2000 * Math.random());
document.getElementById("note").onsubmit = async (event) => {
  event.preventDefault();
  const form = new URLSearchParams(new FormData(event.target));
  await fetch("/note", {method: "POST", body: form});
};
</script>"#;
