"""A chat in Pyramid: rooms, presence, private messages, editing and deleting, typing notices, history.

    cargo run --release -p channelstream-server        # the push server, in another terminal
    python3 -m pip install pyramid waitress itsdangerous requests
    python3 channelstream-client/examples/chat/pyramid_chat.py

Open http://127.0.0.1:6543 in two browsers. CHANNELSTREAM_URL and CHANNELSTREAM_SECRET set another
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
    from itsdangerous import TimestampSigner
    from pyramid.config import Configurator
    from pyramid.events import NewResponse
    from pyramid.httpexceptions import HTTPException, exception_response
    from pyramid.response import Response
    from pyramid.session import SignedCookieSessionFactory
    from pyramid.view import exception_view_config, view_config
    from waitress import serve
except ModuleNotFoundError as error:
    sys.exit(f"{error.name} is missing: python3 -m pip install pyramid waitress itsdangerous requests")

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


def push(method, path, body):
    """Sends a signed request to the push server and returns its answer."""
    headers = {"x-channelstream-secret": signer.sign(path).decode()}
    answer = requests.request(method, URL + path, json=body, headers=headers, timeout=5)
    answer.raise_for_status()
    return answer.json()


def refuse(status, why):
    raise exception_response(status, detail=why)


class Chat:
    def __init__(self, request):
        self.request = request
        # Pages of other sites cannot send this content type without permission (CORS).
        is_json = request.content_type == "application/json"
        try:
            self.body = request.json_body if is_json else {}
        except ValueError:
            refuse(400, "this is no JSON")

    def user(self):
        """Returns the user of the session, whatever the request says."""
        return self.request.session.get("user") or refuse(401, "nobody is signed in")

    def wish(self, key, kind=str):
        """Returns a field of the request."""
        value = self.body.get(key) if isinstance(self.body, dict) else None
        return value if isinstance(value, kind) else refuse(422, f"{key} is missing")

    def text(self, key, longest):
        value = self.wish(key).strip()
        return value if 0 < len(value) <= longest else refuse(422, f"{key}: 1 to {longest} characters")

    def rooms(self, names):
        """Returns the rooms that the user may join, which are the same for all users here."""
        return names if names and all(name in ROOMS for name in names) else refuse(403, "no such room")

    def own(self):
        """Returns a message if the user of the request has sent it."""
        sender, *rest = sent.get(self.wish("uuid"), [None])
        return rest if sender == self.user() else refuse(403, "this is not yours")

    @view_config(route_name="page", request_method="GET")
    def page(self):
        return Response((PAGE / "chat.html").read_text().replace("{push}", URL))

    @view_config(route_name="session", request_method="GET", renderer="json")
    def who(self):
        return {"user": self.request.session.get("user"), "rooms": ROOMS}

    @view_config(route_name="session", request_method="POST", renderer="json")
    def sign_in(self):
        self.request.session["user"] = self.text("name", 30)  # a real application checks a password
        return self.who()

    @view_config(route_name="session", request_method="DELETE", renderer="json")
    def sign_out(self):
        self.request.session.invalidate()
        return self.who()

    @view_config(route_name="connect", request_method="POST", renderer="json")
    def connect(self):
        state = {"user_state": {"typing": None}, "state_public_keys": ["typing"]}
        whom = {"username": self.user(), "channels": self.rooms(self.wish("channels", list))}
        return push("POST", "/connect", {**whom, **state, **JOINING})

    @view_config(route_name="subscribe", request_method="POST", renderer="json")
    @view_config(route_name="unsubscribe", request_method="POST", renderer="json")
    def change_rooms(self):
        self.user()
        whom = {"conn_id": self.wish("conn_id"), "channels": self.rooms(self.wish("channels", list))}
        return push("POST", self.request.path, {**whom, **JOINING})

    @view_config(route_name="user_state", request_method="POST", renderer="json")
    def typing(self):
        room = self.wish("update_state", dict).get("typing")
        state = {"typing": room and self.rooms([room])[0]}
        return push("POST", "/user_state", {"user": self.user(), "user_state": state})

    @view_config(route_name="message", request_method="POST", renderer="json")
    def send(self):
        sender, message, key = self.user(), {"text": self.text("text", 2000)}, str(uuid.uuid4())
        if "to" in self.body:
            message["to"] = self.text("to", 30)
            address = {"pm_users": sorted({sender, message["to"]})}
        else:
            address = {"channel": self.rooms([self.wish("room")])[0]}
        sent[key] = [sender, address, message]
        return push("POST", "/message", [{"uuid": key, "user": sender, "message": message, **address}])

    @view_config(route_name="message", request_method="PATCH", renderer="json")
    def edit(self):
        address, message = self.own()
        changed = {**message, "text": self.text("text", 2000)}
        return push("PATCH", "/message", [{"uuid": self.wish("uuid"), "message": changed, **address}])

    @view_config(route_name="message", request_method="DELETE", renderer="json")
    def delete(self):
        address, _ = self.own()
        return push("DELETE", "/message", [{"uuid": self.wish("uuid"), **address}])


@exception_view_config(HTTPException, renderer="json")
def refused(error, request):
    request.response.status = error.status
    return {"error": error.detail}


@exception_view_config(requests.RequestException, renderer="json")
def failed(error, request):
    print(error, file=sys.stderr)
    request.response.status = 502
    return {"error": "the push server does not answer as it should"}


if __name__ == "__main__":
    try:
        # This also configures rooms that exist already, which channel_configs would not change.
        push("POST", "/channel_config", CONFIGS)
    except requests.HTTPError as error:
        sys.exit(f"{error}: is CHANNELSTREAM_SECRET the secret of the push server?")
    except requests.RequestException:
        sys.exit(f"no push server at {URL}; start one: cargo run --release -p channelstream-server")
    cookies = {"cookie_name": "pyramid_chat", "samesite": "Strict", "httponly": True}
    with Configurator(session_factory=SignedCookieSessionFactory(secrets.token_hex(), **cookies)) as config:
        config.add_route("page", "/")
        for name in ["session", "connect", "subscribe", "unsubscribe", "user_state", "message"]:
            config.add_route(name, f"/{name}")
        config.add_static_view("page", str(PAGE))
        config.scan()
        policy = {"content-security-policy": POLICY}
        config.add_subscriber(lambda event: event.response.headers.update(policy), NewResponse)
    port = int(os.environ.get("PORT", "6543"))
    print(f"http://127.0.0.1:{port}")
    serve(config.make_wsgi_app(), host="127.0.0.1", port=port)
