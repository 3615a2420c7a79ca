"""The event stream transport, by httpx: once for asyncio, and once for programs without a loop.

The transports of httpx are used without its client, which logs every URL, and so the id of the
connection, by which anybody can listen.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NoReturn

import httpx

from channelstream_push.deadline import AsyncTransport, Deadline, Transport

from .events import Item, MalformedError
from .outcomes import (
    Blocked,
    Broken,
    Failed,
    Mute,
    Outcome,
    StreamEnded,
    UnknownConnection,
    bad_answer,
    in_one_line,
    judge,
    silent,
    text_of,
    unreachable,
)
from .place import EVENT_STREAM
from .sse import Parser

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from uuid import UUID

    from .place import Place

_CONNECT_TIMEOUT: Final = 5.0


class EventStreamChannel:
    """An open event stream."""

    #: A `receive` that is canceled breaks the stream.
    is_cancel_safe = False

    def __init__(
        self, transport: httpx.AsyncHTTPTransport, chunks: AsyncIterator[bytes], silence: float
    ) -> None:
        self._transport = transport
        self._chunks = chunks
        self._silence = silence
        self._parser = Parser()

    async def receive(self) -> list[Item]:
        """Wait for the next events, and return their items.

        Raises:
            Outcome: the stream is over.
        """
        deadline = Deadline(self._silence)
        while True:
            try:
                with deadline.counts():
                    chunk = await anext(self._chunks)
            except StopAsyncIteration:
                raise _ended(self._parser) from None
            except httpx.TransportError as error:
                raise _broken(error, self._silence) from None
            items = _parse(self._parser, chunk)
            if items is not None:
                return items

    async def aclose(self) -> None:
        """Close the TCP connection."""
        await self._transport.aclose()


async def open_event_stream(place: Place, conn_id: UUID, since: str | None) -> EventStreamChannel:
    """Open the event stream of a connection.

    Raises:
        Outcome: it could not be opened.
    """
    transport = AsyncTransport(**place.options)
    try:
        try:
            request = _request(place, conn_id, since)
            with Deadline(place.silence).counts():
                response = await transport.handle_async_request(request)
        except httpx.TransportError as error:
            _not_opened(error, place.silence)
        _check(response, since)
    except BaseException:
        await transport.aclose()
        raise
    return EventStreamChannel(transport, aiter(response.stream), place.silence)  # type: ignore[arg-type]


class SyncEventStreamChannel:
    """An open event stream, which blocks the thread that receives."""

    def __init__(
        self, transport: httpx.HTTPTransport, chunks: Iterator[bytes], silence: float
    ) -> None:
        self._transport = transport
        self._chunks = chunks
        self._silence = silence
        self._parser = Parser()

    def receive(self) -> list[Item]:
        """Wait for the next events, and return their items.

        Raises:
            Outcome: the stream is over.
        """
        deadline = Deadline(self._silence)
        while True:
            try:
                with deadline.counts():
                    chunk = next(self._chunks)
            except StopIteration:
                raise _ended(self._parser) from None
            except httpx.TransportError as error:
                raise _broken(error, self._silence) from None
            items = _parse(self._parser, chunk)
            if items is not None:
                return items

    def close(self) -> None:
        """Close the TCP connection."""
        self._transport.close()


def open_sync_event_stream(
    place: Place, conn_id: UUID, since: str | None
) -> SyncEventStreamChannel:
    """Open the event stream of a connection.

    Raises:
        Outcome: it could not be opened.
    """
    transport = Transport(**place.options)
    try:
        try:
            with Deadline(place.silence).counts():
                response = transport.handle_request(_request(place, conn_id, since))
        except httpx.TransportError as error:
            _not_opened(error, place.silence)
        _check(response, since)
    except BaseException:
        transport.close()
        raise
    return SyncEventStreamChannel(transport, iter(response.stream), place.silence)  # type: ignore[arg-type]


def _request(place: Place, conn_id: UUID, since: str | None) -> httpx.Request:
    headers = {
        **place.headers,
        "Accept": "text/event-stream",
        # Compressed bytes would be of any size.
        "Accept-Encoding": "identity",
        "Cache-Control": "no-store",
    }
    timeout = httpx.Timeout(place.silence, connect=min(place.silence, _CONNECT_TIMEOUT))
    return httpx.Request(
        "GET",
        place.event_stream_url(conn_id, since),
        headers=headers,
        extensions={"timeout": timeout.as_dict()},
    )


def _check(response: httpx.Response, since: str | None) -> None:
    """Raise unless the answer is an event stream."""
    status = response.status_code
    if status == 204:
        raise UnknownConnection
    if status != 200:
        retry_after = response.headers.get("Retry-After")
        raise judge(EVENT_STREAM, status, since, retry_after, time.time())
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != "text/event-stream":
        raise Blocked(bad_answer(EVENT_STREAM, "the answer is not an event stream"))
    if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise Blocked(bad_answer(EVENT_STREAM, "the answer is compressed"))


def _not_opened(error: httpx.TransportError, silence: float) -> NoReturn:
    """Raise what an error means for a stream that was about to be opened."""
    # The request of the error has the id of the connection: nothing of it goes on.
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
        raise Failed(unreachable(EVENT_STREAM, error)) from None
    if isinstance(error, httpx.TimeoutException):
        raise Mute(silent(EVENT_STREAM, silence)) from None
    raise Mute(bad_answer(EVENT_STREAM, f"the answer broke off: {text_of(error)}")) from None


def _broken(error: httpx.TransportError, silence: float) -> Broken:
    """Return what an error means for a stream that was open."""
    if isinstance(error, httpx.TimeoutException):
        return Broken(silent(EVENT_STREAM, silence))
    return Broken(bad_answer(EVENT_STREAM, f"the stream broke off: {text_of(error)}"))


def _ended(parser: Parser) -> Outcome:
    return StreamEnded(parser.retry, in_one_line(parser.comment))


def _parse(parser: Parser, chunk: bytes) -> list[Item] | None:
    try:
        return parser.take(chunk)
    except MalformedError as error:
        raise Broken(bad_answer(EVENT_STREAM, f"an event is malformed: {error}")) from None
