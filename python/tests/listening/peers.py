"""Peers that are no servers: each does what it likes with the TCP connections of a listener."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

#: Opens an event stream.
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nretry: 3000\n\n"


class Visitor:
    """One TCP connection to a peer, with the head of the request."""

    def __init__(
        self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.head = head
        self.reader = reader
        self.writer = writer

    @property
    def path(self) -> str:
        return self.head.split(" ")[1]

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def accept(self) -> None:
        """Open a websocket."""
        headers = dict(line.lower().split(": ", 1) for line in self.head.split("\r\n")[1:] if line)
        key = next(
            line.split(": ", 1)[1]
            for line in self.head.split("\r\n")
            if line.lower().startswith("sec-websocket-key")
        )
        assert headers["upgrade"] == "websocket"
        digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        self.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
        )


@contextlib.asynccontextmanager
async def peer(
    behave: Callable[[Visitor], Awaitable[None]], *, speaks_first: bytes = b""
) -> AsyncIterator[tuple[str, list[str]]]:
    """A peer at an address, with the heads of all requests to it so far."""
    heads: list[str] = []
    handlers: set[asyncio.Task[None]] = set()
    served: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.add(asyncio.current_task())
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.write(speaks_first)
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            heads.append(head)
            task = asyncio.ensure_future(behave(Visitor(head, reader, writer)))
            handlers.add(task)
            await asyncio.wait({task})
            handlers.discard(task)
            task.exception()
        writer.transport.abort()
        served.discard(asyncio.current_task())

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}", heads
    finally:
        listener.close()
        while served:
            for task in handlers:
                task.cancel()
            await asyncio.sleep(0)


def frame(payload: bytes, opcode: int = 1, *, fin: bool = True) -> bytes:
    """Return a frame of a websocket, of a server."""
    first = bytes([(0x80 if fin else 0) | opcode])
    if len(payload) < 126:
        return first + bytes([len(payload)]) + payload
    return first + b"\x7f" + len(payload).to_bytes(8, "big") + payload
