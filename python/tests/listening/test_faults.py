"""Listeners behind a proxy that cuts, stalls, splits, or blocks websockets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from channelstream_push import AsyncPush
from channelstream_push.errors import CallError, ErrorKind
from channelstream_push.listening import AsyncListener, Interrupted, Opened, Transport, alisten
from channelstream_push.requests import Connect
from listening.peers import Visitor, peer
from listening.proxy import Mode, proxy
from listening.support import (
    connect,
    gaps,
    in_loop,
    is_number,
    is_opened,
    numbers,
    publish,
    until,
)
from stage import SECRET, server

if TYPE_CHECKING:
    from channelstream_push.listening import Event

both = pytest.mark.parametrize("transport", ["websocket", "event_stream"])

#: As long as ten heartbeats of the servers here.
SILENCE = 1.0
QUICK = {"heartbeat_interval": "100ms"}


@both
@pytest.mark.parametrize("size", [901, 2000, 3001])
@in_loop
async def test_nothing_is_lost_in_the_middle_of_a_frame(transport: Transport, size: int) -> None:
    with server(**QUICK) as one:
        async with proxy(one.port) as between:
            between.turn(cut_after=size)
            events = AsyncListener(
                between.address,
                conn_id=connect(one),
                transports=[transport],
                first_pause=0.005,
                longest_pause=0.01,
            )
            seen: list[Event] = []
            async with events:
                seen += await until(events, is_opened)
                for sent in range(0, 40, 4):
                    publish(one, *range(sent, sent + 4))
                    seen += await until(events, is_number(sent + 3))
            assert numbers(seen) == list(range(40))
            assert gaps(seen) == []
            assert between.opened > 3


@both
@in_loop
async def test_silence_is_death_and_heartbeats_are_life(transport: Transport) -> None:
    with server(**QUICK) as one:
        async with proxy(one.port) as between:
            events = AsyncListener(
                between.address,
                conn_id=connect(one),
                transports=[transport],
                silence=SILENCE,
                first_pause=0.01,
            )
            async with events:
                await until(events, is_opened)
                publish(one, 1)
                await until(events, is_number(1))
                # Outlasts SILENCE: heartbeats alone keep the listener connected.
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(anext(events), SILENCE * 1.5)
                assert between.opened == 1
                between.turn("stalling")
                [interrupted] = await until(events, lambda event: isinstance(event, Interrupted))
                assert isinstance(interrupted, Interrupted)
                assert isinstance(interrupted.error, CallError)
                assert interrupted.error.kind is ErrorKind.TIMEOUT
                assert str(interrupted.error).endswith("brought nothing for 1 s")
                publish(one, 2)
                between.turn("honest")
                # It was written to the dead TCP connection, and comes again.
                seen = await until(events, is_number(2))
                assert (numbers(seen), gaps(seen)) == ([2], [])


@pytest.mark.parametrize("mode", ["no_upgrade", "mute_sockets"])
@in_loop
async def test_where_no_websocket_gets_through_event_streams_do(mode: Mode) -> None:
    with server(**QUICK) as one:
        async with proxy(one.port) as between:
            between.turn(mode)
            async with AsyncPush(between.address, SECRET) as push:
                request = Connect("ann", channels=["news"])
                async with alisten(push, request, silence=SILENCE, first_pause=0.01) as events:
                    seen = await until(events, is_opened)
                    # A mute websocket takes them away. The cursor of the connection is before them.
                    publish(one, 1, 2)
                    seen += await until(events, is_number(2))
            opened = [event.transport for event in seen if isinstance(event, Opened)]
            assert opened[-1] == "event_stream"
            assert ("websocket" in opened) == (mode == "mute_sockets")
            assert (numbers(seen), gaps(seen)) == ([1, 2], [])


@both
@in_loop
async def test_everything_arrives_byte_by_byte(transport: Transport) -> None:
    with server() as one:
        async with proxy(one.port) as between:
            between.turn("splitting")
            async with AsyncListener(
                between.address, conn_id=connect(one), transports=[transport]
            ) as events:
                await until(events, is_opened)
                publish(one, *range(9))
                assert numbers(await until(events, is_number(8))) == list(range(9))
            assert between.opened == 1


@both
@in_loop
async def test_a_new_connection_goes_on_from_the_cursor_of_the_one_that_expired(
    transport: Transport,
) -> None:
    with server(gc_conns_after=1) as one:
        async with proxy(one.port) as between:
            made: list[str] = []

            async def make() -> str:
                # The proxy is before the listener only.
                made.append(await asyncio.to_thread(connect, one))
                return made[-1]

            # It comes back after `gc_conns_after`, and after the run that looks for such.
            events = AsyncListener(
                between.address, make, transports=[transport], first_pause=4, longest_pause=4
            )
            async with events:
                await until(events, is_opened)
                publish(one, 0)
                await until(events, is_number(0))
                between.turn(cut_after=0)
                publish(one, 1)
                await until(events, lambda event: isinstance(event, Interrupted))
                publish(one, 2)
                between.turn()
                seen = await until(events, is_number(2))
            assert (numbers(seen), gaps(seen)) == ([1, 2], [])
            assert len(made) == 2


@both
@in_loop
async def test_an_own_request_that_arrives_late_does_not_end_the_listener(
    transport: Transport,
) -> None:
    late: list[bytes] = []
    with server(**QUICK) as one:

        async def behave(visitor: Visitor) -> None:
            """Keep the first request, and pass the others on."""
            head = f"{visitor.head}".encode()
            if not late:
                late.append(head)
                await visitor.reader.read()
                return
            from_server, to_server = await asyncio.open_connection("127.0.0.1", one.port)
            to_server.write(head)
            try:
                while data := await from_server.read(4096):
                    visitor.send(data)
            finally:
                to_server.transport.abort()

        async with peer(behave) as (address, _):
            events = AsyncListener(
                address,
                conn_id=connect(one),
                transports=[transport],
                silence=SILENCE,
                first_pause=0.01,
            )
            async with events:
                await until(events, is_opened)
                publish(one, 1)
                await until(events, is_number(1))
                _, to_server = await asyncio.open_connection("127.0.0.1", one.port)
                to_server.write(late[0])
                [*_, interrupted] = await until(events, lambda e: isinstance(e, Interrupted))
                assert isinstance(interrupted, Interrupted)
                assert "arrived late" in str(interrupted.error)
                publish(one, 2)
                seen = await until(events, is_number(2))
                assert (numbers(seen), gaps(seen)) == ([2], [])
                to_server.transport.abort()
