"""Peers that lie, never end, never read and never close."""

from __future__ import annotations

import asyncio
import tracemalloc
from uuid import UUID

import pytest

from channelstream_push.errors import CallError, ErrorKind
from channelstream_push.listening import (
    AsyncListener,
    Ended,
    Event,
    Interrupted,
    Opened,
    Transport,
    UnknownEvent,
)
from listening.peers import STREAM, Visitor, frame, peer
from listening.support import eventually, in_loop, until

both = pytest.mark.parametrize("transport", ["websocket", "event_stream"])

ID = UUID("6f9c0d3e-52b1-4a57-8a3c-0d6a1f4b7e29")
MIB = 1024 * 1024

#: The answer of something that does not know the key.
UPGRADED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: AAAA\r\n\r\n"
)


def listen(address: str, *transports: Transport, **more: float) -> AsyncListener:
    settings = {"first_pause": 0.01, "longest_pause": 0.02, "silence": 5.0, **more}
    return AsyncListener(address, conn_id=ID, transports=transports or None, **settings)  # type: ignore[arg-type]


def is_interrupted(event: Event) -> bool:
    return isinstance(event, Interrupted)


async def first_error(events: AsyncListener) -> CallError:
    """Return the first error, which shows nothing of the connection."""
    [*_, event] = await until(events, is_interrupted)
    assert isinstance(event, Interrupted)
    assert isinstance(event.error, CallError)
    assert str(ID) not in f"{event!r} {event.error!r} {event.error} {vars(event.error)}"
    assert str(event.error).isprintable()
    return event.error


@pytest.mark.parametrize(
    ("answer", "websocket", "stream"),
    [
        (b"220 mail.example.com ESMTP\r\n", "is not HTTP", "broke off"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "is not HTTP", "broke off"),
        (b"", "is not HTTP", "broke off"),
        (b"HTTP/1.1 200 OK\r\n", "is not HTTP", "broke off"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n<>",
            "was answered with 200",
            "not an event stream",
        ),
        (
            UPGRADED,
            "not that of a websocket server",
            "broke off",
        ),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "with 404", "with 404"),
        (b"HTTP/1.1 501 No\r\nContent-Length: 0\r\n\r\n", "with 501", "with 501"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * MIB, "is not HTTP", "broke off"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 100_000, "is not HTTP", "broke off"),
        (b"HTTP/1.1 200 \x1b[31m\r\nA\x1b: b\r\n\r\n", "is not HTTP", "broke off"),
        (
            STREAM.replace(b"Content-Type", b"Content-Encoding: gzip\r\nContent-Type"),
            "was answered with 200",
            "is compressed",
        ),
    ],
)
@both
@in_loop
async def test_an_answer_of_another_protocol_is_an_interruption(
    transport: Transport, answer: bytes, websocket: str, stream: str
) -> None:
    async def behave(visitor: Visitor) -> None:
        visitor.send(answer)

    async with peer(behave) as (address, _), listen(address, transport) as events:
        error = await first_error(events)
        assert (websocket if transport == "websocket" else stream) in str(error)
        # It goes on trying.
        await first_error(events)


@both
@in_loop
async def test_a_redirect_is_not_followed(transport: Transport) -> None:
    async def lure(visitor: Visitor) -> None:
        visitor.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with peer(lure) as (elsewhere, visits):

        async def behave(visitor: Visitor) -> None:
            scheme = "ws" if transport == "websocket" else "http"
            target = f"{scheme}{elsewhere.removeprefix('http')}{visitor.path}"
            head = f"HTTP/1.1 307 Elsewhere\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n"
            visitor.send(head.encode())

        async with peer(behave) as (address, heads), listen(address, transport) as events:
            error = await first_error(events)
            assert (error.status, error.kind) == (307, ErrorKind.REFUSED)
            await first_error(events)
            assert len(heads) == 2
        assert visits == []


@both
@in_loop
async def test_a_busy_server_says_when_to_come_back(transport: Transport) -> None:
    async def behave(visitor: Visitor) -> None:
        visitor.send(b"HTTP/1.1 503 No\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n")

    async with (
        peer(behave) as (address, _),
        listen(address, transport, longest_pause=3) as events,
    ):
        [*_, event] = await until(events, is_interrupted)
        assert isinstance(event, Interrupted)
        assert isinstance(event.error, CallError)
        assert (event.error.retry_after, event.pause) == (7.0, 3.0)


@pytest.mark.parametrize(
    "begin",
    [b"\x81\x7f\x00\x00\x01\x00\x00\x00\x00\x00", frame(b"[" + b" " * MIB, fin=False)],
    ids=["a length of a TiB", "fragments"],
)
@in_loop
async def test_an_endless_message_fills_no_memory(begin: bytes) -> None:
    async def behave(visitor: Visitor) -> None:
        visitor.accept()
        visitor.send(begin)
        while True:
            visitor.send(frame(b" " * MIB, 0, fin=False))
            await visitor.writer.drain()

    async with peer(behave) as (address, _), listen(address, "websocket") as events:
        tracemalloc.start()
        try:
            error = await first_error(events)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert error.kind is ErrorKind.BAD_ANSWER
        assert "larger than 16777216 bytes" in str(error)
        assert peak < 60 * MIB


@in_loop
async def test_a_message_of_endless_pieces_without_bytes_is_refused() -> None:
    async def behave(visitor: Visitor) -> None:
        visitor.accept()
        visitor.send(frame(b"", fin=False))
        while True:
            visitor.send(frame(b"", 0, fin=False) * 99)
            await visitor.writer.drain()

    # It never falls silent.
    async with peer(behave) as (address, _), listen(address, "websocket", silence=60) as events:
        assert "too many pieces" in str(await first_error(events))


@in_loop
async def test_an_endless_event_fills_no_memory() -> None:
    async def behave(visitor: Visitor) -> None:
        visitor.send(STREAM)
        while True:
            visitor.send(b"data: " + b"x" * 65536)
            await visitor.writer.drain()

    async with peer(behave) as (address, _), listen(address, "event_stream") as events:
        tracemalloc.start()
        try:
            error = await first_error(events)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert "larger than 16777216 bytes" in str(error)
        assert peak < 60 * MIB


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (frame(b"{}"), "no list of events"),
        (frame(b"marked"), "not JSON"),
        (frame(b"[" * 100_000), "nested too deeply"),
        (frame(b"\xff"), "not the protocol"),
        (frame(b"[]", 5), "not the protocol"),
        (b"\xc1\x02[]", "not the protocol"),
        (frame(b"x" * 126, 9), "not the protocol"),
    ],
)
@in_loop
async def test_a_message_that_is_malformed_is_an_interruption(bad: bytes, said: str) -> None:
    async def behave(visitor: Visitor) -> None:
        visitor.accept()
        visitor.send(frame(b"[]") + bad)
        await visitor.reader.read()

    async with peer(behave) as (address, _), listen(address, "websocket") as events:
        error = await first_error(events)
        assert said in str(error)
        assert "marked" not in str(error)


@in_loop
async def test_what_has_no_meaning_is_passed_over() -> None:
    async def behave(visitor: Visitor) -> None:
        visitor.accept()
        visitor.send(frame(b"[1]", 2) + frame(b"x", 9) + frame(b"x", 10) + frame(b"[7]"))
        await visitor.reader.read()

    async with peer(behave) as (address, _), listen(address, "websocket") as events:
        seen = await until(events, lambda event: isinstance(event, UnknownEvent))
        assert seen == [Opened(ID, "websocket"), UnknownEvent(type="", channel=None, raw=7)]


@in_loop
async def test_a_peer_that_pings_and_reads_nothing_fills_no_memory() -> None:
    async def behave(visitor: Visitor) -> None:
        visitor.accept()
        visitor.send(frame(b"[]"))
        visitor.reader._transport.pause_reading()  # type: ignore[attr-defined]
        while True:
            visitor.send(frame(b"x" * 100, 9) * 500)
            await visitor.writer.drain()

    # Without a bound nothing would end this in time.
    async with peer(behave) as (address, _), listen(address, "websocket", silence=600) as events:
        assert str(await first_error(events)) == "GET /ws: the websocket broke off"


@in_loop
async def test_a_peer_that_closes_and_stays_is_left() -> None:
    async def behave(visitor: Visitor) -> None:
        visitor.accept()
        visitor.send(frame(b"[]") + frame((1001).to_bytes(2, "big") + b"go \x1b[31m", 8))
        await visitor.reader.read()
        await asyncio.Event().wait()

    # Nothing else would end the wait in time.
    async with (
        peer(behave) as (address, heads),
        listen(address, "websocket", silence=600) as events,
    ):
        error = await first_error(events)
        assert str(error) == "the server closed the websocket with 1001: go [31m"
        await eventually(lambda: len(heads) == 1, "one visit")
        await first_error(events)
        assert len(heads) == 2


@in_loop
async def test_a_close_without_a_code_is_not_the_server_s() -> None:
    async def behave(visitor: Visitor) -> None:
        visitor.accept()
        visitor.send(frame(b"[]") + frame(b"", 8))
        await visitor.reader.read()

    async with peer(behave) as (address, _), listen(address, "websocket") as events:
        assert str(await first_error(events)) == "the websocket was closed without a code"


@both
@in_loop
async def test_a_peer_that_never_answers_is_left(transport: Transport) -> None:
    async def behave(_: Visitor) -> None:
        await asyncio.Event().wait()

    async with peer(behave) as (address, _), listen(address, transport, silence=0.2) as events:
        error = await first_error(events)
        assert error.kind is ErrorKind.TIMEOUT
        await first_error(events)


@both
@in_loop
async def test_nobody_is_pestered(transport: Transport) -> None:
    async def behave(_: Visitor) -> None:
        return

    async with (
        peer(behave) as (address, heads),
        listen(address, transport, first_pause=0.05, longest_pause=0.4) as events,
    ):
        pauses: list[float] = []
        while sum(pauses) < 1.5:
            [event] = await until(events, is_interrupted)
            assert isinstance(event, Interrupted)
            pauses.append(event.pause)
        assert 0.2 <= max(pauses) <= 0.4
        assert len(heads) == len(pauses) < 15


@in_loop
async def test_a_server_that_forgets_each_connection_is_not_asked_all_the_time() -> None:
    async def behave(visitor: Visitor) -> None:
        visitor.send(b"HTTP/1.1 204 No Content\r\n\r\n")

    calls: list[float] = []
    async with peer(behave) as (address, _):

        async def connect() -> UUID:
            calls.append(asyncio.get_running_loop().time())
            return ID

        events = AsyncListener(
            address, connect, transports=["event_stream"], first_pause=0.1, longest_pause=10
        )
        async with events:
            waiting = asyncio.ensure_future(anext(events))
            await eventually(lambda: len(calls) == 5, "connections")
            waiting.cancel()
            await asyncio.wait({waiting})
    # At once, and then after at least half of 0.1, 0.2 and 0.4 s.
    assert calls[4] - calls[1] >= 0.35


@in_loop
async def test_an_address_with_a_password_sends_it_and_shows_it_nowhere() -> None:
    async def behave(visitor: Visitor) -> None:
        if visitor.path.startswith("/push/ws"):
            visitor.send(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")
        else:
            visitor.send(b"HTTP/1.1 204 No\r\n\r\n")

    async with peer(behave) as (address, heads):
        events = listen(address.replace("//", "//marked:marked@") + "/push/")
        assert "marked" not in repr(events)
        assert [event async for event in events] == [Ended("unknown_connection")]
        assert [head.split(" ")[1].split("?")[0] for head in heads] == ["/push/ws", "/push/sse"]
        for head in heads:
            assert "authorization: basic bwfya2vkom1hcmtlza==" in head.lower()
            assert "user-agent: channelstream-push" in head.lower()
