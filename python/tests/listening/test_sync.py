"""The listener of programs without an event loop."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

import pytest

from channelstream_push import Push, SettingsError
from channelstream_push.listening import (
    Ended,
    Event,
    Interrupted,
    Listener,
    Messages,
    Opened,
    listen,
)
from channelstream_push.requests import Connect
from listening.support import connect, gaps, number, numbers, publish
from stage import SECRET, server

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def up_to(events: Listener, wanted: Callable[[Event], bool]) -> list[Event]:
    """Return the events up to the first one that is wanted."""
    seen: list[Event] = []
    for event in events:
        seen.append(event)
        if wanted(event):
            return seen
    raise AssertionError(f"the listener ended: {seen}")


def is_opened(event: Event) -> bool:
    return isinstance(event, Opened)


def test_a_killed_server_with_a_journal_loses_nothing(tmp_path: Path) -> None:
    with (
        server(journal="file", journal_dir=tmp_path / "journal") as one,
        Push(one.address, SECRET) as push,
        listen(push, Connect("robot", channels=["news"]), first_pause=0.01) as events,
    ):
        seen = up_to(events, is_opened)
        publish(one, 0, 1)
        seen += up_to(events, lambda event: number(event) == 1)
        one.kill()
        restarting = threading.Thread(target=one.start)
        restarting.start()
        seen += up_to(events, is_opened)
        restarting.join()
        publish(one, 2, 3)
        seen += up_to(events, lambda event: number(event) == 3)
        cursor = events.cursor
        publish(one, 4)
        later = listen(push, Connect("robot", channels=["news"]), since=cursor)
        with later:
            seen += up_to(later, lambda event: number(event) == 4)
        assert numbers(seen) == [0, 1, 2, 3, 4]
        assert gaps(seen) == []
        assert any(isinstance(event, Interrupted) for event in seen)


def test_a_stream_grows() -> None:
    with (
        server() as one,
        Push(one.address, SECRET) as push,
        listen(push, Connect("robot", channels=["news"])) as events,
    ):
        up_to(events, is_opened)
        with push.stream("news", user="bot") as out:
            for part in ("Once ", "upon ", "a ", "time"):
                out.write(part)
        messages = Messages()
        for event in events:
            message = messages.take(event)
            if message is not None and message.status == "done":
                assert message.message == {"text": "Once upon a time"}
                break


def test_ends_are_told() -> None:
    with server() as one, Push(one.address, SECRET) as push:
        conn_id = connect(one)
        first = listen(push, conn_id)
        with first, listen(push, conn_id) as second:
            up_to(first, is_opened)
            up_to(second, is_opened)
            assert [event.reason for event in first if isinstance(event, Ended)] == ["superseded"]
            assert next(first, None) is None
            push.disconnect(conn_id)
            ends = [event for event in second if isinstance(event, Ended)]
            assert ends == [Ended("unknown_connection")]


def test_a_connection_may_come_from_anywhere() -> None:
    with server() as one:
        calls = 0

        def make() -> str:
            nonlocal calls
            calls += 1
            if calls == 1:
                raise LookupError("not yet")
            return connect(one)

        with Listener(one.address, make, first_pause=0.001) as events:
            [interrupted, opened] = up_to(events, is_opened)
            assert isinstance(interrupted, Interrupted)
            assert isinstance(interrupted.error, LookupError)
            assert isinstance(opened, Opened)


class Enough(Exception):  # noqa: N818
    """What a program raises when it has a signal."""


def test_a_signal_interrupts_the_wait() -> None:
    def stop(_: int, __: object) -> None:
        raise Enough

    with server() as one, Listener(one.address, conn_id=connect(one)) as events:
        up_to(events, is_opened)
        before = signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        try:
            with pytest.raises(Enough):
                next(events)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        # The listener is as good as before.
        publish(one, 1)
        assert numbers(up_to(events, lambda event: number(event) == 1)) == [1]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "a connection, or a function"),
        ({"conn_id": "marked"}, "no UUID"),
        ({"conn_id": 7}, "no connection"),
        ({"conn_id": "0" * 32, "silence": 0}, "silence"),
        ({"conn_id": "0" * 32, "silence": float("nan")}, "silence"),
        ({"conn_id": "0" * 32, "first_pause": 2, "longest_pause": 1}, "pause"),
        ({"conn_id": "0" * 32, "first_pause": float("nan")}, "pause"),
        ({"conn_id": "0" * 32, "longest_pause": float("inf")}, "pause"),
    ],
)
def test_settings_that_are_not_valid_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(SettingsError, match=said) as raised:
        Listener("http://127.0.0.1:1", **settings)  # type: ignore[arg-type]
    assert "marked" not in str(raised.value)
