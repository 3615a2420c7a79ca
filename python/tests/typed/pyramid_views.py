"""Views of a user in Pyramid, which itself has no types, read by the type checkers alone."""
# pyright: standard

from __future__ import annotations

from typing import TYPE_CHECKING

from pyramid.config import Configurator

from channelstream_push import Message, Posted, Push

if TYPE_CHECKING:
    from pyramid.request import Request


def channels(request: Request) -> list[str]:
    return [f"of-{request.authenticated_userid}"]


def say(request: Request) -> dict[str, bool | None]:
    posted = by(request.push)
    return {"stored": posted[0].stored}


def by(push: Push) -> list[Posted]:
    return push.publish(Message("ann", {"text": "x"}, channel="news"))


def main() -> object:
    settings = {"channelstream.url": "http://127.0.0.1:8000", "channelstream.channels": channels}
    with Configurator(settings=settings) as config:
        config.include("channelstream_push.pyramid")
    return config.make_wsgi_app()
