"""Calls of an event loop that are canceled: neither connections nor cancellations are lost."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from httpcore._async.http11 import AsyncHTTP11Connection

from channelstream_push import AsyncPush, Message, RetryPolicy, deadline, transport
from channelstream_push.call import Answer, Failure
from channelstream_push.room import Room
from gate import Visit, gate, passing
from stage import PATIENCE, SECRET, Server, until


async def canceled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_call_that_is_canceled_while_its_answer_is_closed_gives_its_connection_back(
    running: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = AsyncHTTP11Connection._response_closed
    closing = asyncio.Event()

    async def slowly(connection: AsyncHTTP11Connection) -> None:
        closing.set()
        await asyncio.sleep(0)
        await closed(connection)

    async def main() -> None:
        async with AsyncPush(
            running.address, SECRET, max_connections=1, retries=RetryPolicy.never()
        ) as push:
            for _ in range(3):
                closing.clear()
                call = asyncio.create_task(push.info(channels=[]))
                await closing.wait()
                await canceled(call)
            assert (await push.info(channels=[])).channels == {}

    monkeypatch.setattr(AsyncHTTP11Connection, "_response_closed", slowly)
    asyncio.run(main())


def test_what_waits_for_a_connection_is_not_sent_when_it_is_canceled(running: Server) -> None:
    release = threading.Event()

    def held(visit: Visit) -> None:
        assert release.wait(PATIENCE)
        passing(visit)

    async def main(address: str) -> None:
        async with AsyncPush(address, SECRET, max_connections=1, timeout=PATIENCE) as push:
            first = asyncio.create_task(push.info(channels=[]))
            await asyncio.to_thread(until, lambda: bool(path.visits), "the first request")
            waiting = [
                asyncio.create_task(push.publish(Message("ann", {}, channel="x")))
                for _ in range(20)
            ]
            await asyncio.sleep(0)
            for call in waiting:
                await canceled(call)
            release.set()
            await first
            await push.info(channels=[])

    with gate(running.address) as path:
        path.plan.append(held)
        asyncio.run(main(path.address))
        starts = [visit.request.split(b" ", 2)[1] for visit in path.visits]
    assert starts == [b"/info", b"/info"]


def test_closing_waits_for_a_request_whose_caller_was_canceled(running: Server, name: str) -> None:
    release = threading.Event()

    def held(visit: Visit) -> None:
        assert release.wait(PATIENCE)
        passing(visit)

    async def main(address: str) -> None:
        push = AsyncPush(address, SECRET, timeout=PATIENCE)
        call = asyncio.create_task(push.connect(name))
        await asyncio.to_thread(until, lambda: bool(path.visits), "the request")
        await canceled(call)
        (exchange,) = push._looped._left
        closing = asyncio.create_task(push.close())
        await asyncio.sleep(0)
        release.set()
        await closing
        # It was not cut off: its answer was read.
        assert isinstance(exchange.result(), Answer)
        assert not push._looped._left

    with gate(running.address) as path:
        path.plan.append(held)
        asyncio.run(main(path.address))


def test_no_cancellation_is_lost_when_the_answer_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(turns: int) -> None:
        answered = asyncio.Event()

        async def exchange(*_: object) -> Answer:
            await answered.wait()
            return Answer(200, {}, b'{"channels": {}, "users": []}')

        monkeypatch.setattr(transport, "_exchange", exchange)
        async with AsyncPush("http://push.invalid", SECRET) as push:
            call = asyncio.create_task(push.info(channels=[]))
            for _ in range(10):
                await asyncio.sleep(0)
            answered.set()
            for _ in range(turns):
                await asyncio.sleep(0)
            if call.cancel():
                with pytest.raises(asyncio.CancelledError):
                    await call
            else:
                assert call.result().channels == {}

    for turns in range(8):
        asyncio.run(main(turns))


def test_a_place_that_is_given_to_who_is_canceled_goes_to_the_next() -> None:
    async def main() -> None:
        room = Room(1)
        assert await room.entered(PATIENCE)
        assert not await room.entered(0.01)
        first, second = (asyncio.create_task(room.entered(PATIENCE)) for _ in range(2))
        await asyncio.sleep(0)
        room.leave()
        await canceled(first)
        assert await second
        assert not await room.entered(0.01)
        room.leave()
        assert await room.entered(0.01)

    asyncio.run(main())


def test_a_request_of_a_caller_that_left_is_late_nevertheless(running: Server) -> None:
    release = threading.Event()

    def held(visit: Visit) -> None:
        assert release.wait(PATIENCE)
        passing(visit)

    async def main(address: str) -> None:
        push = AsyncPush(address, SECRET, max_connections=1, timeout=1.0)
        call = asyncio.create_task(push.info(channels=[]))
        await asyncio.to_thread(until, lambda: bool(path.visits), "the request")
        await canceled(call)
        (exchange,) = push._looped._left
        await asyncio.wait([exchange])
        assert isinstance(exchange.result(), Failure)
        release.set()
        await push.close()

    with gate(running.address) as path:
        path.plan.append(held)
        asyncio.run(main(path.address))


def test_what_is_about_to_be_sent_is_not_sent_when_it_is_canceled(
    running: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = deadline._AsyncBackend.connect_tcp
    connecting, release = asyncio.Event(), asyncio.Event()

    async def slowly(*args: Any, **options: Any) -> Any:
        connecting.set()
        await release.wait()
        return await connect(*args, **options)

    async def main(address: str) -> None:
        async with AsyncPush(address, SECRET) as push:
            call = asyncio.create_task(push.publish(Message("ann", {}, channel="x")))
            await connecting.wait()
            await canceled(call)
            (exchange,) = push._looped._left
            release.set()
            await asyncio.wait([exchange])
            assert isinstance(exchange.result(), Failure)

    monkeypatch.setattr(deadline._AsyncBackend, "connect_tcp", slowly)
    with gate(running.address) as path:
        asyncio.run(main(path.address))
    assert path.visits == []
