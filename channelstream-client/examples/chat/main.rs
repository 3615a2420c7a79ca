//! A chat: rooms, presence, private messages, editing and deleting, typing notices, history.
//!
//! Start a server (`cargo run --release -p channelstream-server`), then
//! `cargo run -p channelstream-client --example chat`, and open http://127.0.0.1:8080 in two
//! browsers. `CHANNELSTREAM_URL` and `CHANNELSTREAM_SECRET` set another server, `PORT` another port.
//! The application authenticates users and checks every request of the page. The page receives only
//! the connection's id, with which it listens.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::{BTreeSet, HashMap};
use std::env;
use std::error::Error;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use channelstream_client::{
    Address, ChannelConfig, Client, Configure, Connect, Delete, Edit, InfoOptions, NewMessage,
    Scalar, SetUserState, StatusCode, Subscribe, Unsubscribe, Uuid, json,
};
use serde::Deserialize;
use serde_json::Value;
use warp::http::Method;
use warp::path::FullPath;
use warp::reply::Response;
use warp::{Filter, Reply};

const ROOMS: [&str; 3] = ["lobby", "garden", "library"];

struct App {
    client: Client,
    /// The users by session cookie. A real application has a database.
    sessions: Mutex<HashMap<Uuid, String>>,
    /// The sent messages by id. A real application has a database.
    sent: Mutex<HashMap<Uuid, Sent>>,
}

#[derive(Clone)]
struct Sent {
    user: String,
    address: Address,
    message: Value,
}

/// The fields of all requests of the page.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Wish {
    name: String,
    channels: Vec<String>,
    conn_id: Uuid,
    room: String,
    to: Option<String>,
    text: String,
    uuid: Uuid,
    update_state: State,
}

#[derive(Default, Deserialize)]
struct State {
    typing: Option<String>,
}

/// The status and the reason of a refused request.
struct Refusal(StatusCode, &'static str);

type Granted = Result<Value, Refusal>;

impl From<channelstream_client::Error> for Refusal {
    fn from(error: channelstream_client::Error) -> Self {
        println!("{error}");
        Self(StatusCode::BAD_GATEWAY, "the push server does not answer as it should")
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    println!("{error}");
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let setting = |name, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let push = setting("CHANNELSTREAM_URL", "http://127.0.0.1:8000");
    let client = Client::new(&push, setting("CHANNELSTREAM_SECRET", "secret"))?;
    let port: u16 = setting("PORT", "8080").parse()?;
    // This also configures rooms that exist already, which `channel_configs` would not change.
    if let Err(error) = client.configure(Configure::new(settings())).await {
        let hint = if error.status().is_some() {
            "is CHANNELSTREAM_SECRET the secret of the push server?"
        } else {
            "start one: cargo run --release -p channelstream-server"
        };
        return Err(format!("{error}; {hint}").into());
    }

    let push = push.trim_end_matches('/');
    let policy = format!("default-src 'self' {push} {}", push.replacen("http", "ws", 1));
    let page = include_str!("page/chat.html").replace("{push}", push);
    let page = warp::path::end().map(move || warp::reply::html(page.clone()));
    let page = page.with(warp::reply::with::header("content-security-policy", &policy));
    let file = |content_type: &'static str, text: &'static str| {
        warp::any().map(move || warp::reply::with_header(text, "content-type", content_type))
    };
    let style =
        warp::path!("page" / "chat.css").and(file("text/css", include_str!("page/chat.css")));
    let script =
        warp::path!("page" / "chat.js").and(file("text/javascript", include_str!("page/chat.js")));
    let app = Arc::new(App { client, sessions: Mutex::default(), sent: Mutex::default() });
    let app = warp::any().map(move || Arc::clone(&app));
    let session = app.and(warp::cookie::optional("rust_chat"));
    let who = warp::path!("session")
        .and(session.clone())
        .map(|app: Arc<App>, session| warp::reply::json(&app.who(session)));
    // Pages of other sites cannot send this content type without permission (CORS).
    let wish = warp::header::exact("content-type", "application/json")
        .and(warp::body::content_length_limit(16 * 1024))
        .and(warp::body::json::<Wish>());
    let sign_in = warp::post()
        .and(warp::path!("session"))
        .and(session.clone())
        .and(wish)
        .map(|app: Arc<App>, _, wish| app.sign_in(&wish));
    let other = warp::method().and(warp::path::full()).and(session).and(wish).then(
        async |method: Method, path: FullPath, app: Arc<App>, session, wish| {
            reply(app.grant(method.as_str(), path.as_str(), session, wish).await)
        },
    );
    println!("http://127.0.0.1:{port}");
    let get = warp::get().and(page.or(style).or(script).or(who));
    warp::serve(get.or(sign_in).or(other)).run(([127, 0, 0, 1], port)).await;
    Ok(())
}

impl App {
    fn who(&self, session: Option<Uuid>) -> Value {
        let user = session.and_then(|session| locked(&self.sessions).get(&session).cloned());
        json!({"user": user, "rooms": ROOMS})
    }

    fn sign_in(&self, wish: &Wish) -> Response {
        let user = match text(&wish.name, 30) {
            Ok(user) => user, // a real application checks a password
            Err(refusal) => return reply(Err(refusal)),
        };
        let session = Uuid::new_v4();
        locked(&self.sessions).insert(session, user);
        let cookie = format!("rust_chat={session}; HttpOnly; SameSite=Strict; Path=/");
        warp::reply::with_header(reply(Ok(self.who(Some(session)))), "set-cookie", cookie)
            .into_response()
    }

    async fn grant(&self, method: &str, path: &str, session: Option<Uuid>, wish: Wish) -> Granted {
        // The user is that of the session, whatever the request says.
        let user = session.and_then(|session| locked(&self.sessions).get(&session).cloned());
        let user = user.ok_or(Refusal(StatusCode::UNAUTHORIZED, "nobody is signed in"))?;
        let client = &self.client;
        match (method, path) {
            ("DELETE", "/session") => {
                locked(&self.sessions).retain(|id, _| Some(*id) != session);
                Ok(self.who(None))
            }
            ("POST", "/connect") => {
                let connect = Connect {
                    channel_configs: settings().collect(),
                    user_state: [("typing".to_owned(), Scalar::null())].into(),
                    state_public_keys: vec!["typing".to_owned()],
                    info: public(),
                    ..Connect::new(user).channels(rooms(&wish.channels)?)
                };
                Ok(json!(client.connect(connect).await?))
            }
            ("POST", "/subscribe") => {
                let subscribe = Subscribe {
                    channel_configs: settings().collect(),
                    info: public(),
                    ..Subscribe::new(wish.conn_id, rooms(&wish.channels)?)
                };
                Ok(json!(client.subscribe(subscribe).await?))
            }
            ("POST", "/unsubscribe") => {
                let rooms = rooms(&wish.channels)?;
                let unsubscribe =
                    Unsubscribe { info: public(), ..Unsubscribe::new(wish.conn_id, rooms) };
                Ok(json!(client.unsubscribe(unsubscribe).await?))
            }
            ("POST", "/user_state") => {
                let room = wish.update_state.typing.map(|room| rooms(&[room])).transpose()?;
                let typing = room.map_or(Scalar::null(), |room| Scalar::from(room[0].as_str()));
                let state = [("typing".to_owned(), typing)].into();
                Ok(json!(client.set_user_state(SetUserState::new(user, state)).await?))
            }
            ("POST", "/message") => self.send(user, wish).await,
            ("PATCH", "/message") => {
                let Sent { address, mut message, .. } = self.own(&user, wish.uuid)?;
                message["text"] = text(&wish.text, 2000)?.into();
                Ok(json!(
                    client
                        .edit(
                            Edit::new(wish.uuid, address)
                                .payload(message)
                                .map_err(channelstream_client::Error::from)?
                        )
                        .await?
                ))
            }
            ("DELETE", "/message") => {
                let Sent { address, .. } = self.own(&user, wish.uuid)?;
                Ok(json!(client.delete(Delete::new(wish.uuid, address)).await?))
            }
            _ => Err(Refusal(StatusCode::NOT_FOUND, "there is nothing here")),
        }
    }

    async fn send(&self, user: String, wish: Wish) -> Granted {
        let mut message = json!({"text": text(&wish.text, 2000)?});
        let address = match wish.to {
            None => Address::channel(rooms(&[wish.room])?.remove(0)),
            Some(to) => {
                let to = text(&to, 30)?;
                message["to"] = to.clone().into();
                Address::users(BTreeSet::from([user.clone(), to]))
            }
        };
        let sent = Sent { user: user.clone(), address: address.clone(), message: message.clone() };
        let uuid = Uuid::new_v4();
        locked(&self.sent).insert(uuid, sent);
        let message = NewMessage::new(user, address).payload(message);
        let message = message.map_err(channelstream_client::Error::from)?.id(uuid);
        Ok(json!(self.client.publish(message).await?))
    }

    /// Returns a message if this user has sent it.
    fn own(&self, user: &str, uuid: Uuid) -> Result<Sent, Refusal> {
        let sent = locked(&self.sent).get(&uuid).cloned();
        let own = sent.filter(|sent| sent.user == user);
        own.ok_or(Refusal(StatusCode::FORBIDDEN, "this is not yours"))
    }
}

fn locked<T>(memory: &Mutex<T>) -> MutexGuard<'_, T> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

fn text(given: &str, longest: usize) -> Result<String, Refusal> {
    let text = given.trim();
    let fits = (1..=longest).contains(&text.chars().count());
    let refusal = Refusal(StatusCode::UNPROCESSABLE_ENTITY, "a text is empty or too long");
    fits.then(|| text.to_owned()).ok_or(refusal)
}

/// Returns the rooms that the user may join, which are the same for all users here.
fn rooms(names: &[String]) -> Result<Vec<String>, Refusal> {
    let good = !names.is_empty() && names.iter().all(|name| ROOMS.contains(&name.as_str()));
    good.then(|| names.to_vec()).ok_or(Refusal(StatusCode::FORBIDDEN, "no such room"))
}

/// Returns the settings of the rooms. They are sent at the start, and with each connection, since a
/// restarted push server has no rooms.
fn settings() -> impl Iterator<Item = (String, ChannelConfig)> {
    let settings = ChannelConfig {
        notify_presence: Some(true),
        broadcast_presence_with_user_lists: Some(true),
        notify_state: Some(true),
        store_history: Some(true),
        history_size: Some(50),
        ..ChannelConfig::default()
    };
    ROOMS.into_iter().map(move |room| (room.to_owned(), settings))
}

/// Returns the options of room information, without the private state of users.
fn public() -> InfoOptions {
    InfoOptions { return_public_state: true, ..InfoOptions::default() }
}

fn reply(granted: Granted) -> Response {
    let (status, body) = match granted {
        Ok(body) => (StatusCode::OK, body),
        Err(Refusal(status, why)) => (status, json!({"error": why})),
    };
    warp::reply::with_status(warp::reply::json(&body), status).into_response()
}
