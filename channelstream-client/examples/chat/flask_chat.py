"""A chat in Flask: rooms, presence, private messages, editing and deleting, typing notices, history.

    cargo run --release -p channelstream-server        # the push server, in another terminal
    python3 -m pip install flask itsdangerous requests
    python3 channelstream-client/examples/chat/flask_chat.py

Open http://127.0.0.1:5000 in two browsers. CHANNELSTREAM_URL and CHANNELSTREAM_SECRET set another
push server, PORT another port. The application authenticates users and checks every request of the
page. The page receives only the connection's id, with which it listens.
"""

import os
import secrets
import sys
import uuid
from pathlib import Path

try:
    import requests
    from flask import Flask, abort, request, session
    from itsdangerous import TimestampSigner
    from werkzeug.exceptions import HTTPException
except ModuleNotFoundError as error:
    sys.exit(f"{error.name} is missing: python3 -m pip install flask itsdangerous requests")

URL = os.environ.get("CHANNELSTREAM_URL", "http://127.0.0.1:8000").rstrip("/")
POLICY = f"default-src 'self' {URL} {URL.replace('http', 'ws', 1)}"
PAGE = Path(__file__).with_name("page")
ROOMS = ["lobby", "garden", "library"]
SETTINGS = {
    "notify_presence": True,
    "broadcast_presence_with_user_lists": True,
    "notify_state": True,
    "store_history": True,
    "history_size": 50,
}
CONFIGS = dict.fromkeys(ROOMS, SETTINGS)
# A restarted server has no rooms, and private state must not be sent to other users.
JOINING = {"channel_configs": CONFIGS, "info": {"return_public_state": True}}
signer = TimestampSigner(os.environ.get("CHANNELSTREAM_SECRET", "secret"))
sent = {}  # sender, address and payload by id; a real application has a database

app = Flask(__name__, static_folder=PAGE, static_url_path="/page")
app.secret_key = secrets.token_bytes(32)  # signs cookies until the next start
app.config.update(SESSION_COOKIE_NAME="flask_chat", SESSION_COOKIE_SAMESITE="Strict")


def push(method, path, body):
    """Sends a signed request to the push server and returns its answer."""
    headers = {"x-channelstream-secret": signer.sign(path).decode()}
    answer = requests.request(method, URL + path, json=body, headers=headers, timeout=5)
    answer.raise_for_status()
    return answer.json()


def user():
    """Returns the user of the session, whatever the request says."""
    return session.get("user") or abort(401, "nobody is signed in")


def wish(key, kind=str):
    """Returns a field of the request."""
    body = request.get_json()
    value = body.get(key) if isinstance(body, dict) else None
    return value if isinstance(value, kind) else abort(422, f"{key} is missing")


def text(key, longest):
    value = wish(key).strip()
    return value if 0 < len(value) <= longest else abort(422, f"{key}: 1 to {longest} characters")


def rooms(names):
    """Returns the rooms that the user may join, which are the same for all users here."""
    return names if names and all(name in ROOMS for name in names) else abort(403, "no such room")


def own():
    """Returns a message if the user of the request has sent it."""
    sender, *rest = sent.get(wish("uuid"), [None])
    return rest if sender == user() else abort(403, "this is not yours")


@app.get("/")
def page():
    return (PAGE / "chat.html").read_text().replace("{push}", URL)


@app.get("/session")
def who():
    return {"user": session.get("user"), "rooms": ROOMS}


@app.post("/session")
def sign_in():
    session["user"] = text("name", 30)  # a real application checks a password
    return who()


@app.delete("/session")
def sign_out():
    session.clear()
    return who()


@app.post("/connect")
def connect():
    state = {"user_state": {"typing": None}, "state_public_keys": ["typing"]}
    whom = {"username": user(), "channels": rooms(wish("channels", list))}
    return push("POST", "/connect", {**whom, **state, **JOINING})


@app.post("/subscribe")
@app.post("/unsubscribe")
def change_rooms():
    user()
    whom = {"conn_id": wish("conn_id"), "channels": rooms(wish("channels", list))}
    return push("POST", request.path, {**whom, **JOINING})


@app.post("/user_state")
def typing():
    room = wish("update_state", dict).get("typing")
    state = {"typing": room and rooms([room])[0]}
    return push("POST", "/user_state", {"user": user(), "user_state": state})


@app.post("/message")
def send():
    sender, message, key = user(), {"text": text("text", 2000)}, str(uuid.uuid4())
    if "to" in request.get_json():
        message["to"] = text("to", 30)
        address = {"pm_users": sorted({sender, message["to"]})}
    else:
        address = {"channel": rooms([wish("room")])[0]}
    sent[key] = [sender, address, message]
    return push("POST", "/message", [{"uuid": key, "user": sender, "message": message, **address}])


@app.patch("/message")
def edit():
    address, message = own()
    changed = {**message, "text": text("text", 2000)}
    return push("PATCH", "/message", [{"uuid": wish("uuid"), "message": changed, **address}])


@app.delete("/message")
def delete():
    address, _ = own()
    return push("DELETE", "/message", [{"uuid": wish("uuid"), **address}])


@app.after_request
def policy(response):
    response.headers["content-security-policy"] = POLICY
    return response


@app.errorhandler(HTTPException)
def refused(error):
    return {"error": error.description}, error.code


@app.errorhandler(requests.RequestException)
def failed(error):
    app.logger.warning("%s", error)
    return {"error": "the push server does not answer as it should"}, 502


if __name__ == "__main__":
    try:
        # This also configures rooms that exist already, which channel_configs would not change.
        push("POST", "/channel_config", CONFIGS)
    except requests.HTTPError as error:
        sys.exit(f"{error}: is CHANNELSTREAM_SECRET the secret of the push server?")
    except requests.RequestException:
        sys.exit(f"no push server at {URL}; start one: cargo run --release -p channelstream-server")
    app.run(port=int(os.environ.get("PORT", "5000")))
