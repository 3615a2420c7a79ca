"""A room in Pyramid: users say something, and a bot's answer grows while it is made.

    cargo run --release -p channelstream-server        # the push server, in another terminal
    python3 -m pip install './python[pyramid]'
    python3 python/examples/pyramid_room.py

Open http://127.0.0.1:5000. CHANNELSTREAM_URL and CHANNELSTREAM_SECRET name another push server,
PORT another port. A project has the settings in its ini file. A real application asks for a
password.
"""

import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIServer, make_server

from pyramid.authentication import SessionAuthenticationHelper
from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPForbidden, HTTPUnprocessableEntity
from pyramid.request import Request
from pyramid.response import Response
from pyramid.scripting import prepare
from pyramid.session import SignedCookieSessionFactory

from channelstream_push import Cancelled, ChannelConfig, Message, Push
from channelstream_push.web import browser_client, browser_options

URL = os.environ.get("CHANNELSTREAM_URL", "http://127.0.0.1:8000")
PAGE = Path(__file__).with_name("page.html").read_text()
ROOM = "room"

SETTINGS = {
    "channelstream.url": URL,
    "channelstream.secret": os.environ.get("CHANNELSTREAM_SECRET", "secret"),
    "channelstream.channels": lambda _: [ROOM],
}


class SessionPolicy:
    """The user of the session, whatever the request says."""

    helper = SessionAuthenticationHelper()

    def identity(self, request: Request) -> str | None:
        """Return the user."""
        return self.authenticated_userid(request)

    def authenticated_userid(self, request: Request) -> str | None:
        """Return the name of the user."""
        found: str | None = self.helper.authenticated_userid(request)
        return found

    def permits(self, request: Request, _: object, __: str) -> bool:
        """Let users do everything."""
        return bool(request.authenticated_userid)


def model() -> Iterator[str]:
    """Stand in for a language model."""
    for word in ("Once ", "upon ", "a ", "time"):
        time.sleep(0.1)
        yield word


def user(request: Request) -> str:
    """Return the user of the request."""
    found: str | None = request.authenticated_userid
    if not found:
        raise HTTPForbidden
    return found


def page(_: Request) -> Response:
    """Show the room."""
    room = {"client": browser_client(URL), "options": browser_options(URL, "/push/connect")}
    return Response(PAGE.replace("ROOM", json.dumps(room).replace("<", "\\u003c")))


def sign_in(request: Request) -> Response:
    """Believe a name."""
    name = request.POST.get("name", "")[:100]
    if not name:
        raise HTTPUnprocessableEntity
    SessionPolicy.helper.remember(request, name)
    return Response()


def say(request: Request) -> Response:
    """Publish what the user says."""
    text = request.POST.get("text", "")[:1000]
    request.push.publish(Message(user(request), {"text": text}, channel=ROOM))
    return Response()


def ask(request: Request) -> Response:
    """Let the bot answer, until the user needs no more of it."""
    push: Push = request.push
    with suppress(Cancelled), push.stream(ROOM, user="bot", cancel_by=[user(request)]) as out:
        for part in model():
            out.write(part)
    return Response()


class Server(ThreadingMixIn, WSGIServer):
    """A server with a thread for each request."""

    daemon_threads = True


if __name__ == "__main__":
    with Configurator(settings=SETTINGS) as config:
        # The secret signs cookies until the next start.
        sessions = SignedCookieSessionFactory(secrets.token_hex(32), samesite="Strict")
        config.set_session_factory(sessions)
        config.set_security_policy(SessionPolicy())
        config.include("channelstream_push.pyramid")
        for path, view in {"": page, "sign-in": sign_in, "say": say, "ask": ask}.items():
            config.add_route(path or "page", f"/{path}", request_method="POST" if path else "GET")
            config.add_view(view, route_name=path or "page")
    app = config.make_wsgi_app()
    with prepare(registry=config.registry) as script:
        # It is there before somebody joins, so that it has a history.
        script["request"].push.channel_config({ROOM: ChannelConfig(store_history=True)})
    port = int(os.environ.get("PORT", "5000"))
    make_server("127.0.0.1", port, app, server_class=Server).serve_forever()
