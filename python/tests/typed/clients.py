"""A program of a user, read by the type checkers alone: calls, streams, listeners and errors.

Each line that they must refuse says so, and what is refused no longer is an error, too.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from typing_extensions import assert_never, assert_type

from channelstream_push import (
    AsyncMessageStream,
    AsyncPush,
    CallError,
    Cancelled,
    ChannelConfig,
    ChannelsInfo,
    ClockSkew,
    Connect,
    Connected,
    Edit,
    ErrorKind,
    HistoryPage,
    InfoOptions,
    Message,
    MessageStream,
    PastMessage,
    Posted,
    Published,
    PublishError,
    Push,
    PushError,
    RetryPolicy,
    StreamError,
    Taken,
)
from channelstream_push import listening as events

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator


def calls(push: Push) -> str:
    configs = {"news": ChannelConfig(store_history=True, history_size=100)}
    assert_type(push.channel_config(configs), ChannelsInfo)
    connected = push.connect(
        "ann",
        channels=["news"],
        user_state={"color": "red", "age": 3, "away": None},
        info=InfoOptions(include_users=True),
    )
    assert_type(connected, Connected)
    assert_type(connected.conn_id, str)
    posted = push.publish(
        Message("editor", {"text": "Hello!", "parts": [1, 2]}, channel="news"),
        Message("editor", None, pm_users=["ann"]),
        idempotency_key="task-1",
    )
    assert_type(posted, list[Posted])
    assert_type(posted[0].timestamp, datetime)
    assert_type(push.append(posted[0].uuid, {"text": "more"}, step=1), Taken)
    push.edit(Edit(posted[0].uuid, {"text": "Hi!"}, channel="news"))
    page = push.history("news", limit=10)
    assert_type(page, HistoryPage)
    assert_type(page.messages, list[PastMessage])
    assert_type(page.messages[0].message, dict[str, Any] | None)
    assert_type(push.disconnect(connected.conn_id), bool)
    assert_type(push.metrics().version, str)
    return connected.conn_id


def many(push: Push) -> int:
    rows: Iterator[Message] = (Message("job", {"n": n}, channel="news") for n in range(3))
    try:
        report = push.publish_all(rows, idempotency_key="job-1")
    except PublishError as error:
        assert_type(error.published, Published)
        assert_type(error.unpublished, tuple[Message, ...])
        return error.position
    return report.messages


def streams(push: Push, parts: Iterator[str]) -> None:
    with push.stream("chat:42", user="bot", cancel_by=["ann"]) as out:
        assert_type(out, MessageStream)
        for part in parts:
            out.write(part)
        out.write(["a source"], "sources")
        assert_type(out.uuid, str)
    with push.resume("an id", "chat:42") as out:
        assert_type(out.size, int | None)


def told(event: events.Event) -> str | None:
    """All kinds of events, which a checker knows to be all."""
    match event:
        case events.Opened():
            return event.transport
        case events.Message() | events.Edit():
            return event.user
        case events.Append() | events.Delete():
            return str(event.uuid)
        case events.Presence() | events.UserStateChange():
            return event.user
        case events.Gap():
            return event.reason
        case events.Interrupted():
            return f"{event.error} {event.pause + 1.5}"
        case events.Ended():
            return event.text
        case events.UnknownEvent():
            return None
        case _:
            assert_never(event)


def listeners(push: Push, cursor: str | None) -> str | None:
    messages = events.Messages()
    with push.listen("robot", channels=["news"], since=cursor) as incoming:
        assert_type(incoming, events.Listener)
        for event in incoming:
            assert_type(messages.take(event), events.Message | None)
            told(event)
        return incoming.cursor


def errors(call: Callable[[], object]) -> float | None:
    try:
        call()
    except CallError as error:
        assert_type(error.kind, ErrorKind)
        assert_type(error.field_errors, dict[str, Any] | None)
        assert_type(error.clock_skew, ClockSkew | None)
        assert_type(error.is_in_doubt, bool)
        return error.retry_after
    except Cancelled as error:
        assert_type(error.args, tuple[Any, ...])
    except (StreamError, PushError):
        raise
    return None


async def in_a_loop(push: AsyncPush, texts: AsyncIterator[str]) -> None:
    assert_type(await push.publish(Message("ann", {"text": "x"}, channel="news")), list[Posted])
    assert_type(await push.connect("ann"), Connected)
    assert_type((await push.history("news")).next, str | None)
    rows = (Message("ann", {"text": text}, channel="news") async for text in texts)
    assert_type(await push.publish_all(rows), Published)
    async with push.stream("chat:42", user="bot") as out:
        assert_type(out, AsyncMessageStream)
        await out.write("Once")
        assert_type(await out.finish(), Taken)
    async with push.listen("robot", channels=["news"], transports=["event_stream"]) as incoming:
        assert_type(incoming, events.AsyncListener)
        async for event in incoming:
            told(event)


def made() -> None:
    with Push("http://127.0.0.1:8000", "secret", retries=RetryPolicy(repeats=1000)) as push:
        assert_type(push, Push)
    Push("unix:/run/push.sock", secret_file="secret.txt", sign_bodies=True)
    Connect("ann", channels=["news"], channel_configs={"news": ChannelConfig()})


async def refused(push: Push, loop: AsyncPush) -> None:
    """What a checker must refuse."""
    push.publish({"user": "ann"})  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    push.connect(channels=["news"])  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    push.history("news", limit="10")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    Message("ann", "text")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    ChannelConfig(True)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    push.publish_all(Message("ann", {}))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    push.nothing()  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    loop.publish(Message("ann", {}))  # type: ignore[unused-coroutine] # pyright: ignore[reportUnusedCoroutine]
    with loop.stream("chat", user="bot"):  # type: ignore[attr-defined] # pyright: ignore[reportGeneralTypeIssues]
        pass
