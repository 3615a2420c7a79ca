"""Growing messages that nobody goes on with: the server knows, however their publisher has left."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import warnings
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from channelstream_push import (
    AppendRefused,
    AsyncPush,
    CallError,
    ChannelConfig,
    Push,
    PushError,
    RetryPolicy,
)
from gate import Gate, Visit, gate, passing
from stage import PATIENCE, SECRET, Server, until

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from both import Client


@pytest.fixture
def channel(running: Server, name: str) -> str:
    with Push(running.address, SECRET) as push:
        push.channel_config({name: ChannelConfig(store_history=True, history_size=100)})
    return name


@pytest.fixture
def path(running: Server) -> Iterator[Gate]:
    with gate(running.address) as stage:
        yield stage


class Held:
    """An act of the gate that lets a request through when it is told to."""

    def __init__(self) -> None:
        self.has_come, self._release = threading.Event(), threading.Event()

    def __call__(self, visit: Visit) -> None:
        self.has_come.set()
        assert self._release.wait(PATIENCE)
        passing(visit)

    async def comes(self) -> None:
        await asyncio.to_thread(until, self.has_come.is_set, "the request that is held")

    def go(self) -> None:
        self._release.set()


def ends(server: Server, channel: str) -> list[tuple[str | None, Any]]:
    with Push(server.address, SECRET) as push:
        messages = push.history(channel).messages
        return [(one.status, (one.message or {}).get("text")) for one in messages]


def run_to_the_end(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a program that does not close its client, whose sockets the collector finds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        asyncio.run(main())
        gc.collect()


def ended(server: Server, channel: str, status: str) -> None:
    def has_ended() -> bool:
        # A publisher that has left may be about to open it.
        messages = ends(server, channel)
        return bool(messages) and messages[0][0] == status

    until(has_ended, f"a message that is {status}")


def test_an_append_that_is_refused_ends_it_as_failed(
    push: Client, running: Server, channel: str
) -> None:
    with pytest.raises(AppendRefused, match="type of n differs"):
        with push.stream(channel, user="bot", message={"n": 1}, interval=3600) as out:
            out.write("one ")
            out.flush()
            # The first of the two is taken, with the step before the one that ends it.
            out.write("two")
            out.write("x", "n")
    assert ends(running, channel) == [("failed", "one two")]


def test_a_request_that_is_refused_ends_it_as_failed(
    push: Client, running: Server, channel: str
) -> None:
    with pytest.raises(CallError) as caught, push.stream(channel, user="bot") as out:
        out.write("one")
        out.flush()
        out.write("x" * 2_000_000)
    assert caught.value.status == 413
    assert ends(running, channel) == [("failed", "one")]


def test_a_canceled_scope_of_anyio_ends_it_as_failed(running: Server, channel: str) -> None:
    async def main() -> list[tuple[str | None, Any]]:
        async with AsyncPush(running.address, SECRET) as push:
            with anyio.CancelScope() as scope:
                async with push.stream(channel, user="bot") as out:
                    await out.write("half")
                    await out.flush()
                    scope.cancel()
                    await anyio.sleep(3600)
            # It is known behind the block.
            return await asyncio.to_thread(ends, running, channel)

    assert asyncio.run(main()) == [("failed", "half")]


@pytest.mark.parametrize("cancellations", [1, 2])
def test_an_opening_that_is_canceled_leaves_nothing_open(
    running: Server, channel: str, path: Gate, cancellations: int
) -> None:
    held = Held()
    path.plan.append(held)

    async def main() -> None:
        async with AsyncPush(path.address, SECRET) as push:

            async def publish() -> None:
                async with push.stream(channel, user="bot"):
                    raise AssertionError

            task = asyncio.create_task(publish())
            await held.comes()
            for _ in range(cancellations):
                task.cancel()
                await asyncio.wait([task], timeout=0.01)
            held.go()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.to_thread(ended, running, channel, "failed")

    asyncio.run(main())
    assert ends(running, channel) == [("failed", "")]


@pytest.mark.parametrize("cancellations", [1, 2])
def test_a_publisher_that_is_canceled_while_it_finishes_has_finished(
    running: Server, channel: str, path: Gate, cancellations: int
) -> None:
    held = Held()

    async def main() -> None:
        async with AsyncPush(path.address, SECRET) as push:
            finishing = asyncio.Event()

            async def publish() -> None:
                async with push.stream(channel, user="bot") as out:
                    path.plan.append(held)
                    await out.write("all")
                    await held.comes()
                    finishing.set()

            task = asyncio.create_task(publish())
            await finishing.wait()
            for _ in range(cancellations):
                task.cancel()
                await asyncio.wait([task], timeout=0.01)
            held.go()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.to_thread(ended, running, channel, "done")

    asyncio.run(main())
    assert ends(running, channel) == [("done", "all")]


@pytest.mark.parametrize("is_sending", [False, True])
def test_the_end_of_the_event_loop_ends_it_as_failed(
    running: Server, channel: str, path: Gate, is_sending: bool
) -> None:
    held = Held()
    tasks = []

    async def main() -> None:
        push = AsyncPush(path.address, SECRET, retries=RetryPolicy.never())
        written = asyncio.Event()

        async def publish() -> None:
            async with push.stream(channel, user="bot") as out:
                await out.write("one")
                await out.flush()
                if is_sending:
                    path.plan.append(held)
                    await out.write(" two")
                written.set()
                await asyncio.sleep(3600)

        tasks.append(asyncio.create_task(publish()))
        await written.wait()
        if is_sending:
            await held.comes()
            # The answer comes to nobody: the request itself is canceled, too.
            asyncio.get_running_loop().call_soon(held.go)

    run_to_the_end(main)
    assert ends(running, channel) == [("failed", "one two" if is_sending else "one")]


def test_the_end_of_the_event_loop_ends_what_a_generator_has_left_open(
    running: Server, channel: str
) -> None:
    async def main() -> None:
        push = AsyncPush(running.address, SECRET)

        async def answer() -> Any:
            async with push.stream(channel, user="bot") as out:
                await out.write("one")
                await out.flush()
                yield out

        kept.append(answer())
        await anext(kept[0])

    kept: list[Any] = []
    run_to_the_end(main)
    assert ends(running, channel) == [("failed", "one")]


def test_closing_a_client_of_an_event_loop_ends_its_messages_as_failed(
    running: Server, channel: str
) -> None:
    async def main() -> None:
        push = AsyncPush(running.address, SECRET)
        with pytest.raises(PushError, match="the client is closed"):
            async with push.stream(channel, user="bot") as out:
                await out.write("one")
                await push.close()
                assert ends(running, channel) == [("failed", "one")]
                await out.write("two")

    asyncio.run(main())


def test_a_message_that_cannot_be_ended_is_logged(
    channel: str,
    path: Gate,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("channelstream_push.growing.looped.LEAVING", 0.1)
    held = Held()

    async def main() -> str:
        async with AsyncPush(path.address, SECRET) as push:
            with anyio.CancelScope() as scope:
                async with push.stream(channel, user="bot") as out:
                    path.plan.append(held)
                    scope.cancel()
                    await anyio.sleep(3600)
            held.go()
            return out.uuid

    uuid = asyncio.run(main())
    assert f"{uuid} was not ended as failed: the server does not answer in time" in caplog.text
    assert "never retrieved" not in caplog.text


def test_a_canceled_opening_that_may_have_opened_it_is_logged(
    channel: str,
    path: Gate,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("channelstream_push.growing.looped.LEAVING", 0.1)
    held = Held()
    path.plan.append(held)

    async def main() -> None:
        async with AsyncPush(path.address, SECRET) as push:

            async def publish() -> None:
                async with push.stream(channel, user="bot"):
                    raise AssertionError

            task = asyncio.create_task(publish())
            await held.comes()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            held.go()

    asyncio.run(main())
    assert "a message may be open: its opening was canceled" in caplog.text
