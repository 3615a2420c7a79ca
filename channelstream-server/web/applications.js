// The last step of the tutorial: the part of an application that connects its users, by framework, and
// the application's page. FastAPI, Express and axum are whole programs, the others views.

export const FRAMEWORKS = {
  flask: 'Flask', fastapi: 'FastAPI', pyramid: 'Pyramid', django: 'Django', express: 'Express', axum: 'axum', warp: 'warp',
};

/** The signature in JavaScript, for programs that import `createHash` and `createHmac`. */
export const NODE_SIGN = `const SECRET = 'secret';

function sign(text) {
    const seconds = Buffer.alloc(4);
    seconds.writeUInt32BE(Math.floor(Date.now() / 1000));
    const signed = \`\${text}.\${seconds.toString('base64url')}\`;
    const key = createHash('sha1').update(\`itsdangerous.Signersigner\${SECRET}\`).digest();
    return \`\${signed}.\${createHmac('sha1', key).update(signed).digest('base64url')}\`;
}`;

/** Each takes the address of the push server and returns the program's text. */
export const APPLICATIONS = {
  flask: (origin) => `# pip install flask itsdangerous requests
import requests
from flask import Flask, abort, session
from itsdangerous import TimestampSigner

app = Flask(__name__)
app.secret_key = "of the session, not of the push server"
signer = TimestampSigner("secret")


@app.post("/push/connect")
def push_connect():
    if "user" not in session:
        abort(403)
    answer = requests.post(
        "${origin}/connect",
        json={"username": session["user"], "channels": ["news"]},
        headers={"x-channelstream-secret": signer.sign("connect").decode()},
        timeout=5,
    )
    answer.raise_for_status()
    return answer.json()`,
  fastapi: (origin) => `# pip install fastapi uvicorn httpx itsdangerous
# Save as app.py beside page.html, run "python app.py", open 127.0.0.1:8080/sign_in/ann
import os

import httpx
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, RedirectResponse
from itsdangerous import TimestampSigner
from starlette.middleware.sessions import SessionMiddleware

app = FastAPI()
app.add_middleware(SessionMiddleware, secret_key="not that of the push server")
signer = TimestampSigner("secret")


@app.get("/")
async def page():
    return FileResponse("page.html")


@app.get("/sign_in/{user}")  # a real one checks a password
async def sign_in(user: str, request: Request):
    request.session["user"] = user
    return RedirectResponse("/")


@app.post("/push/connect")
async def push_connect(request: Request):
    if "user" not in request.session:
        raise HTTPException(403)
    async with httpx.AsyncClient(timeout=5) as client:
        answer = await client.post(
            "${origin}/connect",
            json={"username": request.session["user"], "channels": ["news"]},
            headers={"x-channelstream-secret": signer.sign("connect").decode()},
        )
    answer.raise_for_status()
    return answer.json()


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", 8080)))`,
  pyramid: (origin) => `# pip install pyramid itsdangerous requests
import requests
from itsdangerous import TimestampSigner
from pyramid.httpexceptions import HTTPForbidden
from pyramid.view import view_config

signer = TimestampSigner("secret")


@view_config(route_name="push_connect", request_method="POST", renderer="json")
def push_connect(request):
    user = request.authenticated_userid
    if user is None:
        raise HTTPForbidden()
    answer = requests.post(
        "${origin}/connect",
        json={"username": user, "channels": ["news"]},
        headers={"x-channelstream-secret": signer.sign("connect").decode()},
        timeout=5,
    )
    answer.raise_for_status()
    return answer.json()`,
  django: (origin) => `# pip install django itsdangerous requests
import requests
from django.http import HttpResponseForbidden, JsonResponse
from django.views.decorators.http import require_POST
from itsdangerous import TimestampSigner

signer = TimestampSigner("secret")


@require_POST  # the page sends the header X-CSRFToken, see below
def push_connect(request):
    if not request.user.is_authenticated:
        return HttpResponseForbidden()
    answer = requests.post(
        "${origin}/connect",
        json={"username": request.user.get_username(), "channels": ["news"]},
        headers={"x-channelstream-secret": signer.sign("connect").decode()},
        timeout=5,
    )
    answer.raise_for_status()
    return JsonResponse(answer.json())`,
  express: (origin) => `// npm install express express-session
// Save as app.mjs beside page.html, run "node app.mjs", open 127.0.0.1:8080/sign_in/ann
import { createHash, createHmac } from 'node:crypto';
import express from 'express';
import session from 'express-session';

${NODE_SIGN}

const app = express();
app.use(session({
    secret: 'not that of the push server',
    cookie: { sameSite: 'lax' },
    resave: false,
    saveUninitialized: false,
}));

app.get('/', (request, response) => response.sendFile('page.html', { root: '.' }));

// A real one checks a password.
app.get('/sign_in/:user', (request, response) => {
    request.session.user = request.params.user;
    response.redirect('/');
});

app.post('/push/connect', async (request, response) => {
    const { user } = request.session;
    if (!user) return response.sendStatus(403);
    const answer = await fetch('${origin}/connect', {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-channelstream-secret': sign('connect') },
        body: JSON.stringify({ username: user, channels: ['news'] }),
        signal: AbortSignal.timeout(5_000),
    });
    if (!answer.ok) throw new Error(\`\${answer.status} \${await answer.text()}\`);
    response.json(await answer.json());
});

app.listen(process.env.PORT ?? 8080, '127.0.0.1');`,
  axum: (origin) => `// cargo add axum channelstream-client
// cargo add tokio --features macros,net,rt-multi-thread
// Save as src/main.rs beside src/page.html, "cargo run", open 127.0.0.1:8080/sign_in/ann
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect};
use axum::routing::{get, post};
use axum::{Json, Router};
use channelstream_client::{Client, Connect, Connected, Uuid};

#[derive(Clone)]
struct App {
    client: Client,
    /// The users by their session. A real one keeps them in a database, and lets them expire.
    sessions: Arc<Mutex<HashMap<String, String>>>,
}

impl App {
    fn user(&self, headers: &HeaderMap) -> Option<String> {
        let cookies = headers.get(header::COOKIE)?.to_str().ok()?;
        let session = cookies.split("; ").find_map(|cookie| cookie.strip_prefix("session="))?;
        self.sessions.lock().unwrap().get(session).cloned()
    }
}

/// A real one checks a password.
async fn sign_in(State(app): State<App>, Path(user): Path<String>) -> impl IntoResponse {
    let session = Uuid::new_v4().to_string();
    let cookie = format!("session={session}; Path=/; HttpOnly; SameSite=Lax");
    app.sessions.lock().unwrap().insert(session, user);
    ([(header::SET_COOKIE, cookie)], Redirect::to("/"))
}

async fn push_connect(
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Json<Connected>, StatusCode> {
    let user = app.user(&headers).ok_or(StatusCode::FORBIDDEN)?;
    let connect = Connect::new(user).channels(["news"]);
    app.client.connect(connect).await.map(Json).map_err(|_| StatusCode::BAD_GATEWAY)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = App { client: Client::new("${origin}", "secret")?, sessions: Arc::default() };
    let router = Router::new()
        .route("/", get(async || Html(include_str!("page.html"))))
        .route("/sign_in/{user}", get(sign_in))
        .route("/push/connect", post(push_connect))
        .with_state(app);
    let port: u16 = std::env::var("PORT").unwrap_or_else(|_| "8080".to_owned()).parse()?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    axum::serve(listener, router).await?;
    Ok(())
}`,
  warp: (origin) => `// A whole program with sign-in: the example warp_app of channelstream-client.
use channelstream_client::{Client, Connect};
use warp::{Filter, Reply};

let client = Client::new("${origin}", "secret")?;
let connect = warp::post()
    .and(warp::path!("push" / "connect"))
    .and(signed_in()) // your filter: the user of the session
    .then(move |user: String| {
        let client = client.clone();
        async move {
            match client.connect(Connect::new(user).channels(["news"])).await {
                Ok(connected) => warp::reply::json(&connected).into_response(),
                Err(_) => warp::http::StatusCode::BAD_GATEWAY.into_response(),
            }
        }
    });`,
};

/** The page of the application, for all frameworks. */
export const PAGE = (origin) => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>News</title>
<ul id="news"></ul>
<script type="module">
import { ChannelStreamConnection } from '${origin}/static/channelstream/index.js';

const server = '${origin}';
const connection = new ChannelStreamConnection({
    connectUrl: '/push/connect',
    websocketUrl: \`\${server.replace('http', 'ws')}/ws\`,
    longPollUrl: \`\${server}/listen\`,
    disconnectUrl: \`\${server}/disconnect\`,
});
// For frameworks that want a token against forged requests, as Django does:
connection.addMutator('connect', (request) => {
    const token = document.cookie.match(/csrftoken=([^;]*)/)?.[1];
    if (token) request.headers.push({ name: 'X-CSRFToken', value: token });
});
connection.connect();
for await (const event of connection) {
    if (event.type !== 'message') continue;
    const item = document.createElement('li');
    item.textContent = \`\${event.user}: \${JSON.stringify(event.message)}\`;
    document.querySelector('#news').append(item);
}
</script>`;
