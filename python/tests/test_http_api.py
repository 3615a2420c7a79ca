"""The programs in Python of docs/http-api.md, which need no client, against the real server."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from channelstream_push import CallError, ChannelConfig, Push
from documents import blocks, run
from stage import Server, server, until

if TYPE_CHECKING:
    from collections.abc import Iterator

CALLS, SIGNER, SIGNED, STREAM = blocks("docs/http-api.md", "python")


@pytest.fixture
def default() -> Iterator[Server]:
    with server(secret="secret") as stage:
        with Push(stage.address, "secret", sign_bodies=True) as push:
            # In its first second it refuses what is signed as a whole.
            until(lambda: is_accepted(push), "a signature over a whole request")
        yield stage


def is_accepted(push: Push) -> bool:
    with contextlib.suppress(CallError):
        return push.info(channels=[]) is not None
    return False


def test_they_publish_with_both_signatures_and_stream(default: Server) -> None:
    stored = ChannelConfig(store_history=True)
    with Push(default.address, "secret") as push:
        push.channel_config({"news": stored, "chat:42": stored})
        assert "a page may listen with " in run(CALLS, default.address)
        assert texts(push, "news") == ["Hello!"]
        # The last one makes a request, and goes on from those before.
        sending = "urllib.request.urlopen(request).close()\n"
        run(f"{CALLS}{SIGNER}{SIGNED}{sending}", default.address)
        assert texts(push, "news") == ["Hello!"] * 3
        assert run(STREAM, default.address) == "200 done\n"
        assert texts(push, "chat:42") == ["Once upon a time "]


def texts(push: Push, channel: str) -> list[str]:
    return [(one.message or {})["text"] for one in push.history(channel).messages]
