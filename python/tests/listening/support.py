"""What the tests of listening share: signed calls, patience, and numbered messages."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import http.client
import json
import socket
import time
from typing import TYPE_CHECKING, Any

from channelstream_push.listening import AsyncListener, Event, Gap, Message, Opened
from channelstream_push.signing import Signed, TimestampSigner
from stage import PATIENCE, SECRET, Server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

SIGNER = TimestampSigner(SECRET)


def in_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a test in an event loop of its own, and end it if it hangs."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def bounded() -> None:
            await asyncio.wait_for(test(*args, **kwargs), PATIENCE * 2)

        asyncio.run(bounded())

    return run


def call(server: Server, path: str, body: Any, method: str = "POST") -> Any:
    """Call the API of the server. A text is the body as it is."""
    content = body if isinstance(body, str) else json.dumps(body)
    signature = SIGNER.sign(Signed(method, path), int(time.time()), "")
    headers = {SIGNER.header: signature, "Content-Type": "application/json"}
    with _connection(server) as connection:
        connection.request(method, path, content.encode(), headers)
        answer = connection.getresponse()
        text = answer.read().decode()
    assert answer.status == 200, f"{path}: {answer.status} {text}"
    # Python reads no integers of more than 4,300 digits.
    return json.loads(text, parse_int=lambda digits: int(digits[:4000]))


@contextlib.contextmanager
def _connection(server: Server) -> Iterator[http.client.HTTPConnection]:
    with contextlib.closing(
        http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    ) as connection:
        if server.address.startswith("unix:"):
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(PATIENCE)
            connection.sock.connect(server.address.removeprefix("unix:"))
        yield connection


def connect(
    server: Server, user: str = "ann", channels: tuple[str, ...] = ("news",), **more: Any
) -> str:
    """Create a connection, and return its id."""
    answer = call(server, "/connect", {"username": user, "channels": channels, **more})
    conn_id: str = answer["conn_id"]
    return conn_id


def publish(server: Server, *numbers: int, channel: str = "news", padding: int = 0) -> None:
    """Publish a message for each number."""
    payloads = ({"number": number, "padding": "x" * padding} for number in numbers)
    messages = [{"user": "editor", "channel": channel, "message": payload} for payload in payloads]
    call(server, "/message", messages)


def number(event: Event) -> int | None:
    """Return the number of a message."""
    return event.message["number"] if isinstance(event, Message) else None


async def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition while the loop goes on."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"never came: {what}"
        await asyncio.sleep(0.005)


async def until(events: AsyncListener, wanted: Callable[[Event], bool]) -> list[Event]:
    """Return the events up to the first one that is wanted."""
    seen: list[Event] = []

    async def wait() -> None:
        async for event in events:
            seen.append(event)
            if wanted(event):
                return
        raise AssertionError(f"the listener ended: {seen}")

    try:
        await asyncio.wait_for(wait(), PATIENCE)
    except asyncio.TimeoutError:
        raise AssertionError(f"it did not come, but {seen}") from None
    return seen


def is_opened(event: Event) -> bool:
    return isinstance(event, Opened)


def is_gap(event: Event) -> bool:
    return isinstance(event, Gap)


def is_number(wanted: int) -> Callable[[Event], bool]:
    return lambda event: number(event) == wanted


def numbers(events: list[Event]) -> list[int]:
    """Return the numbers of all messages."""
    return [event.message["number"] for event in events if isinstance(event, Message)]


def gaps(events: list[Event]) -> list[Gap]:
    return [event for event in events if isinstance(event, Gap)]
