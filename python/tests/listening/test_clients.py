"""`listen` of both clients: for a user, for all that a `Connect` has, and for a connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from channelstream_push import AsyncPush, ChannelConfig, Connect, Message, Push, SettingsError
from channelstream_push.listening import AsyncListener, Listener, Opened
from channelstream_push.listening import Message as Received
from stage import SECRET, Server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def client(running: Server) -> Iterator[Push]:
    with Push(running.address, SECRET) as push:
        yield push


def first_text(events: Listener, client: Push, channel: str, text: str) -> object:
    """Publish when the listener is open, and return the first message that comes."""
    for event in events:
        match event:
            case Opened():
                # Without its channel it would wait for ever.
                assert client.info(channels=[channel]).channels[channel].total_users == 1
                client.publish(Message("editor", {"text": text}, channel=channel))
            case Received():
                return event.message
    raise AssertionError("the listener ended")


async def first_text_async(events: AsyncListener, push: AsyncPush, channel: str) -> object:
    async for event in events:
        match event:
            case Opened():
                info = await push.info(channels=[channel])
                assert info.channels[channel].total_users == 1
                await push.publish(Message("editor", {"text": "async"}, channel=channel))
            case Received():
                return event.message
    raise AssertionError("the listener ended")


def test_a_user_listens_to_channels_and_goes_on_behind_a_cursor(client: Push, name: str) -> None:
    with client.listen(name, channels=[name]) as events:
        assert first_text(events, client, name, "first") == {"text": "first"}
        cursor = events.cursor
    client.publish(Message("editor", {"text": "while away"}, channel=name))
    with client.listen(name, channels=[name], since=cursor) as events:
        assert first_text(events, client, name, "later") == {"text": "while away"}


def test_a_connect_says_more(client: Push, name: str) -> None:
    config = ChannelConfig(store_history=True, history_size=7)
    who = Connect(name, channels=[name], channel_configs={name: config})
    with client.listen(who) as events:
        first_text(events, client, name, "x")
    assert client.info(channels=[name]).channels[name].settings.history_size == 7


def test_a_connection_that_is_there(client: Push, name: str) -> None:
    conn_id = client.connect(name, channels=[name]).conn_id
    with client.listen(conn_id=conn_id) as events:
        assert first_text(events, client, name, "known") == {"text": "known"}
    assert client.disconnect(conn_id)


def test_in_an_event_loop(running: Server, name: str) -> None:
    async def run() -> list[object]:
        async with AsyncPush(running.address, SECRET) as push:
            async with push.listen(name, channels=[name]) as events:
                by_user = await first_text_async(events, push, name)
            conn_id = (await push.connect(name, channels=[name])).conn_id
            async with push.listen(conn_id=conn_id, transports=["event_stream"]) as events:
                by_id = await first_text_async(events, push, name)
            return [by_user, by_id]

    assert asyncio.run(run()) == [{"text": "async"}, {"text": "async"}]


def test_for_whom_is_said_once(client: Push) -> None:
    with pytest.raises(SettingsError, match="a user, or for the connection"):
        client.listen()
    with pytest.raises(SettingsError, match="a user, or for the connection"):
        client.listen("ann", conn_id="x")
    with pytest.raises(SettingsError, match="are its own"):
        client.listen(Connect("ann"), channels=["news"])
    with pytest.raises(SettingsError, match="are its own"):
        client.listen(conn_id="x", channels=["news"])
