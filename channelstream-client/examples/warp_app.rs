//! A web application with sign-in: pages that are told at once what happens for their user.
//!
//! Start a server (`cargo run --release -p channelstream-server`), then
//! `cargo run -p channelstream-client --example warp_app`, and open http://127.0.0.1:8080 in two
//! browsers: sign in as `ann` or `bob`, with the password `tell me`, and send one another notes.
//! The server's address and secret may stand in `CHANNELSTREAM_URL` and `CHANNELSTREAM_SECRET`.
//!
//! What matters: the application decides who somebody is, and makes their connection. The page
//! gets nothing but the connection's id, and the browser never sees the secret.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::HashMap;
use std::env;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use channelstream_client::{Client, Connect, Error, NewMessage, Uuid, json};
use serde::Deserialize;
use warp::http::StatusCode;
use warp::{Filter, Reply};

/// A real application asks its database, which has hashes.
const USERS: [&str; 2] = ["ann", "bob"];
const PASSWORD: &str = "tell me";

struct App {
    client: Client,
    /// Where browsers find the push server.
    push_url: String,
    /// Who is signed in, by the session's cookie. A real application lets them expire.
    sessions: Mutex<HashMap<Uuid, &'static str>>,
}

/// Who asks, if they are signed in.
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

    /// The form, or for somebody signed in the page that listens.
    async fn page(&self, user: Option<&'static str>) -> Box<dyn Reply> {
        let Some(user) = user else { return Box::new(warp::reply::html(SIGN_IN)) };
        // A connection for each page that is opened; in no channel, since what is sent to the
        // user comes anyway.
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

    /// Tells another user at once, on all pages they have open.
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

/// To the first page.
fn home() -> impl Reply {
    let reply = warp::reply::with_status(warp::reply(), StatusCode::SEE_OTHER);
    warp::reply::with_header(reply, "location", "/")
}

const SIGN_IN: &str = r#"<!doctype html><title>Sign in</title>
<form method="post" action="/sign_in">
<input name="user" placeholder="ann or bob"><input name="password" type="password">
<button>Sign in</button></form>"#;

/// Frames come as lists; what is in them is text, never HTML. A line that ends is the sign to ask
/// for a new connection, here by loading the page again.
const PAGE: &str = r#"<!doctype html><title>Notes</title>
<p>You are {user}.</p><ul id="notes"></ul>
<form id="note"><input name="to" placeholder="to"><input name="text"><button>Send</button></form>
<script>
const line = new WebSocket("{url}");
line.onmessage = (event) => {
  for (const frame of JSON.parse(event.data)) {
    if (frame.type !== "message") continue;
    const item = document.createElement("li");
    item.textContent = `${frame.user}: ${frame.message.text}`;
    document.getElementById("notes").append(item);
  }
};
line.onclose = () => setTimeout(() => location.reload(), 1000 + 2000 * Math.random());
document.getElementById("note").onsubmit = async (event) => {
  event.preventDefault();
  const form = new URLSearchParams(new FormData(event.target));
  await fetch("/note", {method: "POST", body: form});
};
</script>"#;
