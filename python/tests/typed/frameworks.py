"""Applications of a user, read by the type checkers alone: Flask, FastAPI, Django, and tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from django.urls import include, path
from fastapi import Depends, FastAPI, Request
from flask import Flask, session
from typing_extensions import assert_type

from channelstream_push import AsyncPush, Connect, Message, Posted, Push
from channelstream_push import django as of_django
from channelstream_push import listening as events
from channelstream_push.fastapi import PushClient, connect_router, lifespan
from channelstream_push.flask import FlaskPush
from channelstream_push.web import browser_client, browser_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.http import HttpRequest

    from channelstream_push.testing import TestPush, TestServer

flask_app = Flask(__name__)


def flask_user() -> str | None:
    return session.get("user")


def channels(user: str) -> Sequence[str]:
    return [f"of-{user}"]


def connect(user: str) -> Connect:
    return Connect(user, channels=["news"])


extension = FlaskPush(flask_app, user=flask_user, channels=channels)
FlaskPush(user=flask_user, channels=connect, url_prefix="/live").init_app(flask_app)


@flask_app.post("/say")
def flask_say() -> dict[str, Any]:
    posted = extension.push.publish(Message("ann", {"text": "x"}, channel="news"))
    assert_type(posted, list[Posted])
    return {"stored": posted[0].stored}


def fastapi_user(request: Request) -> str | None:
    return request.headers.get("user")


app = FastAPI(lifespan=lifespan(lambda: AsyncPush("http://127.0.0.1:8000", "secret")))
app.include_router(connect_router(fastapi_user, channels), prefix="/push")


@app.post("/say")
async def fastapi_say(
    push: PushClient, user: Annotated[str | None, Depends(fastapi_user)]
) -> dict[str, Any]:
    assert_type(push, AsyncPush)
    posted = await push.publish(Message(user or "nobody", {"text": "x"}, channel="news"))
    return {"stored": posted[0].stored}


def django_channels(request: HttpRequest) -> Sequence[str]:
    return [f"of-{request.user.get_username()}"]


CHANNELSTREAM = {"URL": "http://127.0.0.1:8000", "SECRET": "secret", "CHANNELS": django_channels}
urlpatterns = [path("push/", include("channelstream_push.django.urls"))]


def django_save() -> None:
    sent = of_django.send(Message("shop", {"text": "Paid"}, channel="orders"), using="default")
    assert_type(sent, list[str])
    assert_type(of_django.push(), Push)


def page() -> str:
    assert_type(browser_options("https://push.example.org", "/push/connect"), dict[str, str])
    return browser_client("https://push.example.org")


def test_news(push: TestPush) -> None:
    ann = push.listener("ann", "news")
    assert_type(push.client, Push)
    push.client.publish(Message("editor", {"text": "Hello!"}, channel="news"))
    assert_type(ann.next(), events.Message)
    assert_type(ann.next(events.Presence), events.Presence)
    assert push.published("news")[0].user == "editor"
    push.advance(seconds=20)
    push.advance(20)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]


def test_server(push_server: TestServer) -> None:
    assert_type(push_server.url, str)
