"""Servers that die, shut down and come back under a listener."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING

import pytest

from channelstream_push import AsyncPush, Push, RetryPolicy
from channelstream_push.listening import AsyncListener, Gap, Interrupted, Opened, Transport, alisten
from channelstream_push.requests import Connect, Message
from listening.proxy import proxy
from listening.support import (
    connect,
    gaps,
    in_loop,
    is_gap,
    is_number,
    is_opened,
    number,
    numbers,
    publish,
    until,
)
from stage import SECRET, Server, server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from channelstream_push.listening import Event

both = pytest.mark.parametrize("transport", ["websocket", "event_stream"])


class Publisher:
    """Publishes one number after another, each once, however often the server dies."""

    def __init__(self, address: str) -> None:
        policy = RetryPolicy(repeats=10_000, first_pause=0.005, longest_pause=0.05, total=60)
        self._push = Push(address, SECRET, retries=policy)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.published = 0
        self.error: Exception | None = None

    def _run(self) -> None:
        try:
            while not self._stop.wait(0.001):
                payload = {"number": self.published}
                self._push.publish(Message("editor", payload, channel="news"))
                self.published += 1
        except Exception as error:  # noqa: BLE001 - shown by the test
            self.error = error
        finally:
            self._push.close()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        assert self.error is None


@contextlib.contextmanager
def publishing(address: str) -> Iterator[Publisher]:
    one = Publisher(address)
    one.start()
    try:
        yield one
    finally:
        one.stop()


def has_come(wanted: int) -> Callable[[Event], bool]:
    return lambda event: (number(event) or 0) >= wanted


@both
@in_loop
async def test_a_killed_server_with_a_journal_loses_nothing_and_repeats_nothing(
    transport: Transport, tmp_path: Path
) -> None:
    journal = {"journal": "file", "journal_dir": tmp_path / "journal", "stored_frames": 100_000}
    with server(**journal) as one:
        async with AsyncPush(one.address, SECRET) as push:
            events = alisten(
                push,
                Connect("robot", channels=["news"]),
                transports=[transport],
                first_pause=0.01,
                longest_pause=0.05,
            )
            async with events:
                seen = await until(events, is_opened)
                with publishing(one.address) as publisher:
                    for _ in range(4):
                        wanted = publisher.published + 20
                        seen += await until(events, has_come(wanted))
                        await asyncio.to_thread(one.kill)
                        await asyncio.to_thread(one.start)
                    wanted = publisher.published + 20
                    seen += await until(events, has_come(wanted))
                    await asyncio.to_thread(publisher.stop)
                if publisher.published - 1 > max(numbers(seen)):
                    seen += await until(events, is_number(publisher.published - 1))
        assert numbers(seen) == list(range(publisher.published))
        assert gaps(seen) == []
        assert sum(isinstance(event, Interrupted) for event in seen) >= 4
        # The connection outlived it all.
        assert len({event.conn_id for event in seen if isinstance(event, Opened)}) == 1


@both
@in_loop
async def test_a_server_that_has_lost_all_is_a_gap_and_gets_a_new_connection(
    transport: Transport,
) -> None:
    with server() as one:
        made = []

        async def make() -> str:
            made.append(await asyncio.to_thread(connect, one))
            return made[-1]

        events = AsyncListener(
            one.address, make, transports=[transport], first_pause=0.01, longest_pause=0.05
        )
        async with events:
            await until(events, is_opened)
            publish(one, 1)
            await until(events, is_number(1))
            cursor = events.cursor
            await asyncio.to_thread(one.kill)
            await asyncio.to_thread(one.start)
            seen = await until(events, is_gap)
            assert seen[-1] == Gap("epoch", "news")
            publish(one, 2)
            seen += await until(events, is_number(2))
            assert numbers(seen) == [2]
            # The one without a channel is of private messages.
            assert gaps(seen) == [Gap("epoch", "news"), Gap("epoch")]
            assert len(made) == 2
            assert events.cursor != cursor


@both
@in_loop
async def test_a_server_that_drains_is_left_at_once_for_the_next(transport: Transport) -> None:
    with server() as first, server() as second:
        async with proxy(first.port) as between:
            current: Server = first

            async def make() -> str:
                return await asyncio.to_thread(connect, current)

            # A pause of this length would be noticed.
            events = AsyncListener(
                between.address, make, transports=[transport], first_pause=600, longest_pause=600
            )
            async with events:
                await until(events, is_opened)
                publish(first, 1)
                await until(events, is_number(1))
                current = second
                between.to = second.port
                stopping = asyncio.create_task(asyncio.to_thread(first.stop))
                seen = await until(events, is_gap)
                publish(second, 2)
                seen += await until(events, is_number(2))
                [interrupted] = [event for event in seen if isinstance(event, Interrupted)]
                assert interrupted.pause == 0.0
                assert str(interrupted.error).endswith(": the server is shutting down")
                assert numbers(seen) == [2]
                await stopping


@both
@in_loop
async def test_a_failing_program_is_asked_again(transport: Transport) -> None:
    with server() as one:
        calls = 0

        async def make() -> str:
            nonlocal calls
            calls += 1
            if calls == 1:
                raise RuntimeError("not yet")
            if calls == 2:
                return "no uuid"
            return connect(one)

        events = AsyncListener(one.address, make, transports=[transport], first_pause=0.001)
        async with events:
            seen = await until(events, is_opened)
            texts = [str(event.error) for event in seen if isinstance(event, Interrupted)]
            assert texts == ["not yet", "the id of the connection is no UUID"]
            publish(one, 7)
            await until(events, is_number(7))
