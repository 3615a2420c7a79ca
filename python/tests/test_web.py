"""What the frameworks share: who is connected where, whose page asks, and what a refusal tells."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

import pytest

from channelstream_push import (
    CallError,
    ChannelConfig,
    Connect,
    ErrorKind,
    Message,
    Push,
    RetryPolicy,
    SettingsError,
)
from channelstream_push.web import connecting, impatient, is_foreign, known_origins, refusal

ID = "00000000-0000-0000-0000-000000000001"


@pytest.mark.parametrize(
    ("user", "allowed", "connected"),
    [
        ("ann", ["a", "b"], ("ann", ["a", "b"])),
        ("ann", {"a"}, ("ann", ["a"])),
        ("ann", (name for name in "ab"), ("ann", ["a", "b"])),
        (5, [], ("5", [])),
        (UUID(ID), [], (ID, [])),
        ("ann", Connect("ben", channels={"a"}), ("ben", ["a"])),  # type: ignore[arg-type]
        ("ann", Connect(5, channels=["a"]), ("5", ["a"])),  # type: ignore[arg-type]
    ],
)
def test_users_and_channels_are_texts(user: Any, allowed: Any, connected: Any) -> None:
    found = connecting(user, allowed).connect
    assert (found.username, list(found.channels)) == connected


def test_a_page_receives_the_answer_as_the_server_has_written_it(push: Push, name: str) -> None:
    push.channel_config({name: ChannelConfig(store_history=True)})
    push.publish(Message("ben", {"text": "Hello!"}, channel=name))
    channel = push.call(connecting("ann", [name]))["channels_info"]["channels"][name]
    assert channel["long_name"] is None
    [message] = channel["history"]
    assert (message["type"], message["edited"], message["catchup"]) == ("message", None, False)
    # Without an offset, as the server has it everywhere.
    assert re.fullmatch(r"[-0-9]{10}T[:.0-9]+", message["timestamp"])


@pytest.mark.parametrize(
    ("user", "allowed", "problem"),
    [
        ("ann", "room", "the channels of a user are an iterable of names"),
        ("ann", b"room", "the channels of a user"),
        ("ann", None, "the channels of a user"),
        ("ann", [1], "the channels of a user"),
        ("ann", Connect("ann", channels="room"), "the channels of a user"),
        (True, [], "the user is a text or a number, not a value of the type bool"),
        ({"name": "ann"}, [], "the user is a text or a number, not a value of the type dict"),
    ],
)
def test_what_is_neither_a_user_nor_channels_is_told(user: Any, allowed: Any, problem: str) -> None:
    with pytest.raises(TypeError, match=problem):
        connecting(user, allowed)


@pytest.mark.parametrize(
    ("host", "origin", "site", "foreign"),
    [
        # No browser, or one that tells nothing.
        ("example.org", None, None, False),
        ("example.org", "https://example.org", None, False),
        ("example.org:443", "https://EXAMPLE.org", None, False),
        ("example.org:8000", "http://example.org:8000", None, False),
        ("[::1]:8000", "http://[::1]:8000", None, False),
        ("example.org", "https://evil.example", None, True),
        ("example.org", "https://example.org.evil.example", None, True),
        ("example.org:8000", "http://example.org:9000", None, True),
        ("example.org", "null", None, True),
        ("example.org", "http://[", None, True),
        ("", "null", None, True),
        # Those that tell it. Behind a proxy the host may be another.
        ("10.0.0.1:8000", "https://example.org", "same-origin", False),
        ("example.org", None, "none", False),
        ("example.org", None, "cross-site", True),
        ("example.org", "https://example.org", "cross-site", True),
        ("example.org", "https://evil.example", "cross-site", True),
        ("example.org", "https://www.example.org", "same-site", True),
        # One that the application knows.
        ("example.org", "https://app.example", None, False),
        ("example.org", "https://app.example", "cross-site", False),
    ],
)
def test_a_page_of_another_site_is_recognized(
    host: str, origin: str | None, site: str | None, foreign: bool
) -> None:
    given = {"host": host, "origin": origin, "sec-fetch-site": site}
    headers = {name: text for name, text in given.items() if text is not None}
    assert is_foreign(headers, known_origins(["https://App.example/"])) is foreign


def test_origins_are_not_one_text() -> None:
    with pytest.raises(SettingsError, match="and not one text"):
        known_origins("https://app.example")


def test_a_call_with_its_repeats_is_no_longer_than_the_timeout() -> None:
    patient = RetryPolicy(total=240)
    assert impatient({}) == {"timeout": 6.0, "retries": RetryPolicy(total=6.0)}
    assert impatient({"timeout": 2, "retries": None})["retries"].total == 2
    assert impatient({"retries": patient}) == {"timeout": 6.0, "retries": patient}
    for wrong in ("5", None, -1, float("inf")):
        assert impatient({"timeout": wrong}) == {"timeout": wrong}


@pytest.mark.parametrize(
    ("status", "kind", "told"),
    [
        (403, ErrorKind.REFUSED, 403),
        # The page gives up after a status below 500.
        (422, ErrorKind.REFUSED, 422),
        (401, ErrorKind.REFUSED, 503),
        (503, ErrorKind.UNAVAILABLE, 503),
        (None, ErrorKind.CONNECT, 503),
    ],
)
def test_a_page_tries_again_where_that_may_help(
    status: int | None, kind: ErrorKind, told: int
) -> None:
    found, body, headers = refusal(CallError("hidden", kind, status=status))
    assert found == told
    assert "hidden" not in str(body)
    assert headers["Cache-Control"] == "no-store"
