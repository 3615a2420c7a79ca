"""A room in Django: users say something, and a bot's answer grows while it is made.

    cargo run --release -p channelstream-server        # the push server, in another terminal
    python3 -m pip install './python[django]'
    python3 python/examples/django_room.py

Open http://127.0.0.1:5000. CHANNELSTREAM_URL and CHANNELSTREAM_SECRET name another push server,
PORT another port. All of the project is in this file, with a database that ends with it. A real
application asks for a password.
"""

import json
import os
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import django
from django.conf import settings
from django.core.management import call_command

URL = os.environ.get("CHANNELSTREAM_URL", "http://127.0.0.1:8000")
PAGE = Path(__file__).with_name("page.html").read_text()
ROOM = "room"
FOLDER = tempfile.TemporaryDirectory()

settings.configure(
    SECRET_KEY=secrets.token_hex(32),
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    SESSION_COOKIE_SAMESITE="Strict",
    DATABASES={
        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{FOLDER.name}/room.sqlite3"}
    },
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "channelstream_push.django",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    CHANNELSTREAM={
        "URL": URL,
        "SECRET": os.environ.get("CHANNELSTREAM_SECRET", "secret"),
        "CHANNELS": lambda _: [ROOM],
    },
)
django.setup()

from django.contrib.auth import login  # noqa: E402 - the settings come first
from django.contrib.auth.models import User  # noqa: E402
from django.db import transaction  # noqa: E402
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden  # noqa: E402
from django.urls import include, path  # noqa: E402
from django.utils import timezone  # noqa: E402
from django.views.decorators.csrf import ensure_csrf_cookie  # noqa: E402
from django.views.decorators.http import require_POST  # noqa: E402

from channelstream_push import Cancelled, ChannelConfig, Message  # noqa: E402
from channelstream_push.django import push, send  # noqa: E402
from channelstream_push.web import browser_client, browser_options  # noqa: E402


def model() -> Iterator[str]:
    """Stand in for a language model."""
    for word in ("Once ", "upon ", "a ", "time"):
        time.sleep(0.1)
        yield word


@ensure_csrf_cookie
def page(_: HttpRequest) -> HttpResponse:
    """Show the room. A project with templates has the tag `{% channelstream %}` for the options."""
    room = {"client": browser_client(URL), "options": browser_options(URL, "/push/connect")}
    return HttpResponse(PAGE.replace("ROOM", json.dumps(room).replace("<", "\\u003c")))


@require_POST
def sign_in(request: HttpRequest) -> HttpResponse:
    """Believe a name."""
    user, _ = User.objects.get_or_create(username=request.POST["name"][:100])
    login(request, user)
    return HttpResponse()


@require_POST
def say(request: HttpRequest) -> HttpResponse:
    """Remember when the user has spoken, and publish what it said when that is committed."""
    if not request.user.is_authenticated:
        return HttpResponseForbidden()
    with transaction.atomic():
        User.objects.filter(pk=request.user.pk).update(last_login=timezone.now())
        text = request.POST["text"][:1000]
        send(Message(request.user.get_username(), {"text": text}, channel=ROOM))
    return HttpResponse()


@require_POST
def ask(request: HttpRequest) -> HttpResponse:
    """Let the bot answer, until the user needs no more of it."""
    if not request.user.is_authenticated:
        return HttpResponseForbidden()
    users = [request.user.get_username()]
    with suppress(Cancelled), push().stream(ROOM, user="bot", cancel_by=users) as out:
        for part in model():
            out.write(part)
    return HttpResponse()


urlpatterns = [
    path("", page),
    path("sign-in", sign_in),
    path("say", say),
    path("ask", ask),
    path("push/", include("channelstream_push.django.urls")),
]

if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    # It is there before somebody joins, so that it has a history.
    push().channel_config({ROOM: ChannelConfig(store_history=True)})
    call_command("runserver", os.environ.get("PORT", "5000"), "--noreload")
