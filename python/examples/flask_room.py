"""A room in Flask: users say something, and a bot's answer grows while it is made.

    cargo run --release -p channelstream-server        # the push server, in another terminal
    python3 -m pip install './python[flask]'
    python3 python/examples/flask_room.py

Open http://127.0.0.1:5000. CHANNELSTREAM_URL and CHANNELSTREAM_SECRET name another push server,
PORT another port. A real application asks for a password.
"""

import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from flask import Flask, abort, request, session

from channelstream_push import Cancelled, ChannelConfig, Message
from channelstream_push.flask import FlaskPush
from channelstream_push.web import browser_client, browser_options

URL = os.environ.get("CHANNELSTREAM_URL", "http://127.0.0.1:8000")
PAGE = Path(__file__).with_name("page.html").read_text()
ROOM = "room"

app = Flask(__name__)
app.secret_key = secrets.token_bytes(32)  # signs cookies until the next start
app.config.update(
    CHANNELSTREAM_URL=URL,
    CHANNELSTREAM_SECRET=os.environ.get("CHANNELSTREAM_SECRET", "secret"),
    SESSION_COOKIE_SAMESITE="Strict",
)
extension = FlaskPush(app, user=lambda: session.get("user"), channels=lambda _: [ROOM])


def user() -> str:
    """Return the user of the session, whatever the request says."""
    found: str | None = session.get("user")
    return found or abort(403)


def model() -> Iterator[str]:
    """Stand in for a language model."""
    for word in ("Once ", "upon ", "a ", "time"):
        time.sleep(0.1)
        yield word


@app.get("/")
def page() -> str:
    """Show the room."""
    room = {"client": browser_client(URL), "options": browser_options(URL, "/push/connect")}
    return PAGE.replace("ROOM", json.dumps(room).replace("<", "\\u003c"))


@app.post("/sign-in")
def sign_in() -> str:
    """Believe a name."""
    session["user"] = request.form["name"][:100] or abort(422)
    return ""


@app.post("/say")
def say() -> str:
    """Publish what the user says."""
    text = request.form["text"][:1000]
    extension.push.publish(Message(user(), {"text": text}, channel=ROOM))
    return ""


@app.post("/ask")
def ask() -> str:
    """Let the bot answer, until the user needs no more of it."""
    with suppress(Cancelled), extension.push.stream(ROOM, user="bot", cancel_by=[user()]) as out:
        for part in model():
            out.write(part)
    return ""


if __name__ == "__main__":
    with app.app_context():
        # It is there before somebody joins, so that it has a history.
        extension.push.channel_config({ROOM: ChannelConfig(store_history=True)})
    app.run(port=int(os.environ.get("PORT", "5000")), threaded=True)
