"""Streams that bring bytes but nothing of use, and listeners in scopes that anyio cancels."""

from __future__ import annotations

import asyncio
import threading
import uuid
from typing import TYPE_CHECKING

import anyio
import pytest

from channelstream_push import CallError, ErrorKind
from channelstream_push.listening import AsyncListener, Event, Interrupted, Listener
from gate import dripping, gate
from listening.peers import STREAM
from listening.support import connect, in_loop, is_opened, until
from stage import PATIENCE, Server

if TYPE_CHECKING:
    from gate import Act

DRIPS = [
    dripping(STREAM, b"x"),
    dripping(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"),
    dripping(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
]
#: The gate drips every 20 ms.
SILENCE = 0.5


def is_late(event: Event) -> bool:
    if not isinstance(event, Interrupted):
        return False
    assert isinstance(event.error, CallError)
    return event.error.kind is ErrorKind.TIMEOUT


@pytest.mark.parametrize("drip", DRIPS, ids=["body", "header", "hints"])
@in_loop
async def test_what_drips_is_silent(drip: Act) -> None:
    with gate() as path:
        path.plan.append(drip)
        async with AsyncListener(
            path.address, conn_id=uuid.uuid4(), silence=SILENCE, transports=["event_stream"]
        ) as events:
            await until(events, is_late)


@pytest.mark.parametrize("drip", DRIPS, ids=["body", "header", "hints"])
def test_what_drips_is_silent_in_a_thread(drip: Act) -> None:
    found = threading.Event()

    def listen(address: str) -> None:
        with Listener(address, conn_id=uuid.uuid4(), silence=SILENCE) as events:
            if any(is_late(event) for event in events):
                found.set()

    with gate() as path:
        path.plan.append(drip)
        threading.Thread(target=listen, args=(path.address,), daemon=True).start()
        assert found.wait(PATIENCE)


@in_loop
async def test_a_canceled_scope_of_anyio_closes_the_listener(running: Server) -> None:
    events = AsyncListener(running.address, conn_id=connect(running), transports=["event_stream"])
    with anyio.CancelScope() as scope:
        async with events:
            await until(events, is_opened)
            channel = events._channel
            assert channel is not None
            asyncio.get_running_loop().call_soon(scope.cancel)
            await until(events, lambda _: False)
    assert events._channel is None
    assert channel._transport._pool.connections == []  # type: ignore[union-attr]
