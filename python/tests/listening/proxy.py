"""A proxy between listener and server that cuts, stalls, splits, or blocks websockets."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

#: `stalling` forwards nothing and keeps all open, `no_upgrade` removes the request for a websocket,
#: and `mute_sockets` forwards the head of a websocket and nothing after it.
Mode: TypeAlias = Literal["honest", "splitting", "stalling", "no_upgrade", "mute_sockets"]


@dataclass
class _Direction:
    """One direction of a TCP connection."""

    is_up: bool
    passed: int = 0
    is_socket: bool = False


class Proxy:
    """What it does to TCP connections counts for those that are open, too."""

    def __init__(self, port: int) -> None:
        self.mode: Mode = "honest"
        #: Each TCP connection is cut after so many bytes from the server.
        self.cut_after: int | None = None
        #: How many TCP connections were opened to it.
        self.opened = 0
        #: How many are open.
        self.open = 0
        self.to = port
        self._changed = asyncio.Event()
        self._ways: set[asyncio.Task[None]] = set()
        self.port = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def turn(self, mode: Mode = "honest", cut_after: int | None = None) -> None:
        self.mode, self.cut_after = mode, cut_after
        self._changed.set()
        self._changed = asyncio.Event()

    async def serve(
        self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        self.opened += 1
        self.open += 1
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self.to)
        except OSError:
            pass
        else:
            ways = {
                asyncio.create_task(self._pass(from_client, to_server, is_up=True)),
                asyncio.create_task(self._pass(from_server, to_client, is_up=False)),
            }
            self._ways |= ways
            # Both directions end when the first one ends.
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.wait(ways)
            self._ways -= ways
            to_server.transport.abort()
        # What was passed on before a cut arrives.
        to_client.close()
        self.open -= 1

    async def _pass(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_up: bool
    ) -> None:
        state = _Direction(is_up=is_up)
        with contextlib.suppress(OSError):
            while data := await source.read(16 * 1024):
                while self.mode == "stalling":
                    await self._changed.wait()
                passing, is_cut = self._change(data, state)
                step = 1 if self.mode == "splitting" else len(passing) or 1
                for begin in range(0, len(passing), step):
                    sink.write(passing[begin : begin + step])
                    await sink.drain()
                    await asyncio.sleep(0)
                if is_cut:
                    return

    def _change(self, data: bytes, state: _Direction) -> tuple[bytes, bool]:
        """Return what is passed on, and whether the TCP connection is cut behind it."""
        if self.mode == "no_upgrade" and state.is_up:
            data = data.replace(b"Upgrade: ", b"X-Nothing: ")
        if self.mode == "mute_sockets" and not state.is_up:
            if state.is_socket:
                return b"", False
            if data.startswith(b"HTTP/1.1 101"):
                state.is_socket = True
                data = data[: data.index(b"\r\n\r\n") + 4]
        if self.cut_after is None or state.is_up:
            return data, False
        rest = self.cut_after - state.passed
        state.passed += len(data)
        return data[: max(rest, 0)], state.passed >= self.cut_after

    async def stop(self) -> None:
        for way in self._ways:
            way.cancel()
        while self.open:  # noqa: ASYNC110 - a few turns of the loop
            await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def proxy(port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[Proxy]:
    """A proxy before the server at a port, that runs inside the block, and may speak TLS."""
    one = Proxy(port)
    listener = await asyncio.start_server(one.serve, "127.0.0.1", 0, ssl=tls)
    one.port = listener.sockets[0].getsockname()[1]
    try:
        yield one
    finally:
        listener.close()
        await one.stop()
        await listener.wait_closed()
