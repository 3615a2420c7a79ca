"""Listeners on the real server: their events, their cursors and their ends."""

from __future__ import annotations

import asyncio
import logging
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from channelstream_push.listening import (
    Append,
    AsyncListener,
    Delete,
    Edit,
    Ended,
    Gap,
    Interrupted,
    Message,
    Messages,
    Opened,
    Presence,
    Transport,
    UserStateChange,
)
from listening.proxy import proxy
from listening.support import (
    call,
    connect,
    eventually,
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
from stage import SECRET, server

if TYPE_CHECKING:
    from pathlib import Path

    from channelstream_push.listening import Event

both = pytest.mark.parametrize("transport", ["websocket", "event_stream"])


def is_content(event: Event) -> bool:
    return not isinstance(event, Opened | Interrupted | Gap | Ended)


async def content(events: AsyncListener) -> Event:
    return (await until(events, is_content))[-1]


@both
@in_loop
async def test_every_kind_of_event_arrives(transport: Transport) -> None:
    settings = {"life": {"notify_presence": True, "notify_state": True}}
    with server() as one:
        conn_id = connect(one, channels=("life",), channel_configs=settings)
        async with AsyncListener(one.address, conn_id=conn_id, transports=[transport]) as events:
            [opened] = await until(events, is_opened)
            assert isinstance(opened, Opened)
            assert (str(opened.conn_id), opened.transport) == (conn_id, transport)
            public = {"user_state": {"mood": "good"}, "state_public_keys": ["mood"]}
            connect(one, "bob", ("life",), **public)
            joined = await content(events)
            assert isinstance(joined, Presence)
            assert (joined.user, joined.action, joined.state) == ("bob", "joined", {"mood": "good"})
            call(one, "/user_state", {"user": "bob", "user_state": {"mood": "better"}})
            changed = await content(events)
            assert isinstance(changed, UserStateChange)
            assert [(one.key, one.value) for one in changed.changed] == [("mood", "better")]
            [message] = call(
                one, "/message", [{"user": "bob", "channel": "life", "message": {"text": "hello"}}]
            )
            posted = await content(events)
            assert isinstance(posted, Message)
            assert (str(posted.uuid), posted.message) == (message["uuid"], {"text": "hello"})
            call(one, "/message", [{"user": "bob", "pm_users": ["ann"], "message": {"n": 7}}])
            private = await content(events)
            assert isinstance(private, Message)
            assert (private.channel, private.message) == (None, {"n": 7})
            place = {"uuid": message["uuid"], "channel": "life"}
            call(one, "/message", [{**place, "message": {"text": "hi"}}], "PATCH")
            edit = await content(events)
            assert isinstance(edit, Edit)
            assert (edit.message, edit.user) == ({"text": "hi"}, None)
            assert edit.edited is not None
            call(one, "/message", [place], "DELETE")
            assert isinstance(await content(events), Delete)
            call(one, "/disconnect", {"conn_id": conn_id})
            [*_, end] = await until(events, lambda event: isinstance(event, Ended))
            # To an event stream, a connection that has ended looks like one that never existed.
            is_socket = transport == "websocket"
            assert end == Ended("disconnected" if is_socket else "unknown_connection")
            assert [event async for event in events] == []


@both
@in_loop
async def test_an_unknown_connection_is_an_end(transport: Transport) -> None:
    with server() as one:
        conn_id = "00000000-0000-0000-0000-000000000001"
        events = AsyncListener(one.address, conn_id=conn_id, transports=[transport])
        assert [event async for event in events if not is_opened(event)] == [
            Ended("unknown_connection")
        ]


@both
@in_loop
async def test_who_comes_later_takes_over(transport: Transport) -> None:
    with server() as one:
        conn_id = connect(one)
        async with (
            AsyncListener(one.address, conn_id=conn_id, transports=[transport]) as first,
            AsyncListener(one.address, conn_id=conn_id, transports=[transport]) as second,
        ):
            await until(first, is_opened)
            await until(second, is_opened)
            [*_, end] = [event async for event in first]
            assert isinstance(end, Ended)
            assert end.reason == "superseded"
            publish(one, 1)
            await until(second, is_number(1))


@in_loop
async def test_a_user_that_is_disconnected_learns_why() -> None:
    with server() as one:
        events = AsyncListener(one.address, conn_id=connect(one), transports=["websocket"])
        async with events:
            await until(events, is_opened)
            call(one, "/disconnect_user", {"user": "ann", "reason": "not today"})
            assert [event async for event in events] == [Ended("disconnected", "not today")]


@both
@in_loop
async def test_what_is_no_longer_stored_is_a_gap_in_its_place(transport: Transport) -> None:
    with server() as one:
        conn_id = connect(one)
        publish(one, *range(130))
        async with AsyncListener(one.address, conn_id=conn_id, transports=[transport]) as events:
            seen = await until(events, is_number(129))
        seen = [event for event in seen if not is_opened(event)]
        assert seen[0] == Gap("evicted", "news")
        assert numbers(seen[1:]) == list(range(30, 130))
        assert len(seen) == 101


@in_loop
async def test_a_stored_cursor_goes_on_with_a_new_connection_and_another_transport() -> None:
    with server() as one:

        def listen(since: str | None, transport: Transport) -> AsyncListener:
            async def make() -> str:
                return connect(one, "robot")

            return AsyncListener(one.address, make, since=since, transports=[transport])

        async with listen(None, "websocket") as events:
            await until(events, is_opened)
            publish(one, 0, 1, 2)
            assert numbers(await until(events, is_number(2))) == [0, 1, 2]
            cursor = events.cursor
        publish(one, 3, 4)
        async with listen(cursor, "event_stream") as events:
            assert events.cursor == cursor
            seen = await until(events, is_number(4))
            assert (numbers(seen), gaps(seen)) == ([3, 4], [])
            later = events.cursor
        publish(one, 5, 6, 7)
        async with listen(later, "websocket") as events:
            assert numbers(await until(events, is_number(5))) == [5]
            # The cursor is that of what was returned, not of what has arrived besides.
            between = events.cursor
        async with listen(between, "event_stream") as events:
            seen = await until(events, is_number(7))
            assert (numbers(seen), gaps(seen)) == ([6, 7], [])


@both
@pytest.mark.parametrize("cursor", ["no cursor", "0000abcd-7"])
@in_loop
async def test_a_cursor_that_the_server_cannot_use_is_a_gap(
    transport: Transport, cursor: str
) -> None:
    with server() as one:
        events = AsyncListener(
            one.address, conn_id=connect(one), since=cursor, transports=[transport]
        )
        async with events:
            [*_, gap] = await until(events, is_gap)
            assert isinstance(gap, Gap)
            assert gap.reason == "epoch"
            publish(one, 1)
            await until(events, is_number(1))
            assert events.cursor not in (cursor, None)


@both
@in_loop
async def test_text_grows_over_broken_connections(transport: Transport) -> None:
    parts = [f"part {number}, " for number in range(60)]
    with server() as one:
        async with proxy(one.port) as between:
            between.turn(cut_after=1500)
            events = AsyncListener(
                between.address,
                conn_id=connect(one),
                transports=[transport],
                first_pause=0.01,
                longest_pause=0.02,
            )
            messages = Messages()
            appends = 0
            async with events:
                await until(events, is_opened)
                item = {"user": "bot", "channel": "news", "status": "open", "message": {"text": ""}}
                [opened] = call(one, "/message", [item])

                async def publish_parts() -> None:
                    for step, part in enumerate(parts, 1):
                        body = {"uuid": opened["uuid"], "append": {"text": part}, "step": step}
                        await asyncio.to_thread(call, one, "/message", [body], "PATCH")
                    body = {"uuid": opened["uuid"], "status": "done", "step": len(parts) + 1}
                    await asyncio.to_thread(call, one, "/message", [body], "PATCH")

                publishing = asyncio.create_task(publish_parts())
                async for event in events:
                    assert not isinstance(event, Gap)
                    appends += isinstance(event, Append)
                    message = messages.take(event)
                    if message is not None:
                        text = "".join(parts)
                        assert text.startswith(message.message["text"])
                        if message.status == "done":
                            break
                await publishing
            [whole] = messages.values()
            assert whole.message == {"text": "".join(parts)}
            assert not messages.is_incomplete(whole.uuid)
            assert appends > 1
            assert between.opened > 3


@both
@in_loop
async def test_waiting_can_be_canceled_and_loses_nothing(transport: Transport) -> None:
    with server() as one:
        async with proxy(one.port) as between:
            made = 0

            async def make() -> str:
                nonlocal made
                made += 1
                await asyncio.sleep(0.05)
                return connect(one)

            async with AsyncListener(between.address, make, transports=[transport]) as events:
                seen: list[Event] = []
                canceled = 0

                async def wait() -> None:
                    nonlocal canceled
                    try:
                        seen.append(await asyncio.wait_for(anext(events), 0.001))
                    except asyncio.TimeoutError:
                        canceled += 1

                for sent in range(30):
                    while not any(map(is_opened, seen)) or len(numbers(seen)) < sent:
                        await wait()
                    # Nothing is under way, however slow the machine is.
                    await wait()
                    publish(one, sent)
                assert numbers(seen) == list(range(29))
                assert numbers(await until(events, is_number(29))) == [29]
                assert canceled > 10
            assert (made, between.opened) == (1, 1)


@both
@pytest.mark.parametrize("how", ["async with", "async for", "break"])
@in_loop
async def test_canceling_the_task_closes_the_socket(transport: Transport, how: str) -> None:
    with server() as one:
        async with proxy(one.port) as between:
            is_listening = asyncio.Event()
            before = len(asyncio.all_tasks())

            async def loop(events: AsyncListener) -> None:
                async for event in events:
                    if is_number(1)(event):
                        is_listening.set()
                        if how == "break":
                            break

            async def listen() -> None:
                events = AsyncListener(
                    between.address, conn_id=connect(one), transports=[transport]
                )
                if how == "async with":
                    async with events:
                        await loop(events)
                else:
                    await loop(events)

            task = asyncio.create_task(listen())
            await eventually(lambda: between.open > 0, "a listener")
            publish(one, 1)
            await is_listening.wait()
            if how != "break":
                assert between.open == 1
                task.cancel()
            await asyncio.wait({task})
            assert task.cancelled() == (how != "break")
            await eventually(lambda: between.open == 0, "an end")
            await eventually(lambda: len(asyncio.all_tasks()) == before, "no task")


@both
@in_loop
async def test_closing_ends_a_wait_in_another_task(transport: Transport) -> None:
    with server() as one:
        async with AsyncListener(
            one.address, conn_id=connect(one), transports=[transport]
        ) as events:
            await until(events, is_opened)
            waiting = asyncio.ensure_future(anext(events, None))
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="another task"):
                await anext(events)
            await events.aclose()
            assert await waiting is None
            assert await anext(events, None) is None


@both
@in_loop
async def test_a_program_that_does_not_read_fills_no_memory(transport: Transport) -> None:
    size, count = 64 * 1024, 400
    with server(stored_bytes=4 * 1024 * 1024) as one:
        async with AsyncListener(
            one.address, conn_id=connect(one), transports=[transport]
        ) as events:
            await until(events, is_opened)
            publish(one, 0)
            await until(events, is_number(0))
            tracemalloc.start()
            try:
                for sent in range(0, count, 10):
                    some = range(sent + 1, sent + 11)
                    await asyncio.to_thread(publish, one, *some, padding=size)
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert peak < 6 * 1024 * 1024
            seen = await until(events, is_number(count))
            received = numbers(seen)
            assert received == sorted(set(received))
            assert len(received) < count
            # What is not stored any more is told, and not passed over.
            assert {gap.reason for gap in gaps(seen)} == {"evicted"}


@both
@in_loop
async def test_numbers_that_python_does_not_read_stop_no_listener(transport: Transport) -> None:
    with server() as one:
        async with AsyncListener(
            one.address, conn_id=connect(one), transports=[transport]
        ) as events:
            await until(events, is_opened)
            text = '[{"user": "a", "channel": "news", "message": {"number": %s}}]' % ("9" * 5000)
            call(one, "/message", text)
            publish(one, 2)
            assert numbers(await until(events, is_number(2))) == [float("inf"), 2]


@both
@in_loop
async def test_a_unix_socket_will_do(transport: Transport, tmp_path: Path) -> None:
    with server(host=f"unix:{tmp_path}/push.sock") as one:
        conn_id = connect(one)
        async with AsyncListener(one.address, conn_id=conn_id, transports=[transport]) as events:
            await until(events, is_opened)
            publish(one, 1)
            assert number((await until(events, is_number(1)))[-1]) == 1


@both
@in_loop
async def test_nothing_secret_is_logged(
    transport: Transport, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    shown = ""
    with server() as one:
        conn_id = connect(one)
        events = AsyncListener(
            one.address, conn_id=conn_id, transports=[transport], first_pause=0.01
        )
        async with events:
            await until(events, is_opened)
            publish(one, 1)
            await until(events, is_number(1))
            one.kill()
            seen = await until(
                events, lambda event: isinstance(event, Interrupted) and event.pause > 0.02
            )
            shown = f"{seen!r} {events!r} {caplog.text}"
            for event in seen:
                if isinstance(event, Interrupted):
                    assert event.error.__cause__ is None
                    shown += f"{event.error!r} {event.error}"
    assert "interrupted" in shown.lower()
    assert conn_id not in shown
    assert SECRET not in shown
