"""`AsyncListener`: the events of a connection as an async iterator that reconnects by itself."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import anyio

from .event_stream import open_event_stream
from .events import Interrupted
from .outcomes import Outcome, in_log
from .place import Place
from .reconnector import Open, Over, Pause, Receive, Renew
from .settings import prepared, read_connection

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from types import TracebackType
    from uuid import UUID

    from typing_extensions import Self

    from channelstream_push.address import Address
    from channelstream_push.transport import Network

    from .event_stream import EventStreamChannel
    from .events import Event, Transport
    from .reconnector import Step
    from .settings import HasConnection
    from .websocket import WebsocketChannel

_log = logging.getLogger(__name__)


class AsyncListener:
    """The events of a connection, from now on or from a cursor on.

    ```python
    async with AsyncListener("http://127.0.0.1:8000", connect) as events:
        async for event in events:
            match event:
                case Message():
                    print(event.user, event.message)
                case Gap():
                    await load_again(event.channel)
    ```

    When the TCP connection breaks, or is silent for too long, the listener opens another one after
    a pause, and the server sends the events that were missed. When the connection itself has ended,
    the listener calls `connect` for a new one. With each event the server tells a cursor, at which
    the listener goes on, also with a new connection or another transport. So no event is lost that
    the server still has, none arrives twice, and what is lost is a `Gap`. A program that stores
    `cursor` goes on from there after its own restart.

    Leaving `async with` closes the TCP connection at once; the server then waits some seconds for
    another listener of the connection. Without `async with`, a loop over the listener closes it at
    its end, however it ends.

    Inside `async with`, waiting for the next event can be canceled, as `asyncio.wait_for` does, and
    no event is lost. What a program does not take waits on the server, which has a bound for it.
    What is beyond the bound is a `Gap`.
    """

    def __init__(
        self,
        address: str | Address | Network,
        connect: Callable[[], Awaitable[HasConnection | UUID | str]] | None = None,
        *,
        conn_id: UUID | str | None = None,
        since: str | None = None,
        transports: Sequence[Transport] | None = None,
        silence: float = 15.0,
        first_pause: float = 0.25,
        longest_pause: float = 30.0,
        tls: ssl.SSLContext | None = None,
        trust_env: bool = True,
        user_agent: str | None = None,
    ) -> None:
        """Prepare a listener; nothing is sent yet.

        Args:
            address: Where the server is.
            connect: Makes a connection, when there is none and when the server does not know the
                last one any more. It returns the id, or what has the attributes `conn_id` and
                `cursor`. What it raises is an `Interrupted`, and it is called again after a pause.
            conn_id: A connection that is there already.
            since: The cursor to go on from.
            transports: What to listen by, in order of preference; the next one where a proxy blocks
                the first. By default websockets, if they are installed, and event streams.
            silence: The seconds without events and heartbeats after which a TCP connection counts
                as dead. Three times the server's `heartbeat_interval` are good.
            first_pause: The seconds after a first failure. They double with each further one.
            longest_pause: The most seconds between two attempts.
            tls: Whom to trust, instead of the certificates of httpx.
            trust_env: Use the proxies of the environment, for servers on other machines.
            user_agent: Instead of the name of this package.

        Raises:
            SettingsError: one of them is not valid, or there is neither `connect` nor `conn_id`.
        """
        self._place = Place.of(
            address, silence=silence, tls=tls, trust_env=trust_env, user_agent=user_agent
        )
        self._reconnector = prepared(
            conn_id=conn_id,
            can_renew=connect is not None,
            since=since,
            transports=transports,
            silence=silence,
            first_pause=first_pause,
            longest_pause=longest_pause,
        )
        self._connect = connect
        self._channel: WebsocketChannel | EventStreamChannel | None = None
        #: A step that goes on when waiting for it was canceled.
        self._doing: asyncio.Task[None] | None = None
        self._is_waiting = False
        self._is_entered = False

    @property
    def cursor(self) -> str | None:
        """The cursor behind the event that was returned last, if the server tells any."""
        return self._reconnector.cursor

    async def __aenter__(self) -> Self:
        self._is_entered = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self if self._is_entered else self._until_left()

    async def _until_left(self) -> AsyncIterator[Event]:
        async with self:
            async for event in self:
                yield event

    async def __anext__(self) -> Event:
        if self._is_waiting:
            raise RuntimeError("another task is waiting for the next event")
        self._is_waiting = True
        try:
            while True:
                event = self._reconnector.take()
                if event is not None:
                    if isinstance(event, Interrupted):
                        _log.warning("%s; again in %.1f s", in_log(event.error), event.pause)
                    return event
                step = self._reconnector.step(_now())
                if isinstance(step, Over):
                    await self.aclose()
                    raise StopAsyncIteration
                await self._do(step)
        finally:
            self._is_waiting = False

    async def aclose(self) -> None:
        """Close the listener, which then has no more events."""
        self._reconnector.finish()
        doing, self._doing = self._doing, None
        # A scope of anyio that is canceled cancels at each await.
        with anyio.CancelScope(shield=True):
            try:
                if doing is not None:
                    doing.cancel()
                    await asyncio.wait({doing})
            finally:
                await self._drop()

    async def _do(self, step: Step) -> None:
        if self._doing is None and self._channel is not None and self._channel.is_cancel_safe:
            await self._carry_out(step)
            return
        if self._doing is None:
            self._doing = asyncio.create_task(self._carry_out(step))
        await asyncio.wait({self._doing})
        if self._doing is not None:
            doing, self._doing = self._doing, None
            doing.result()

    async def _carry_out(self, step: Step) -> None:
        reconnector = self._reconnector
        try:
            match step:
                case Renew():
                    await self._renew()
                case Open():
                    self._channel = await self._open(step)
                    reconnector.opened(_now())
                case Receive() if self._channel is not None:
                    reconnector.received(await self._channel.receive())
                case Pause():
                    await asyncio.sleep(step.seconds)
                    reconnector.paused()
                case _:
                    raise RuntimeError("a listener receives without a transport")
        except Outcome as outcome:
            await self._drop()
            outcome.report(reconnector, _now())

    async def _renew(self) -> None:
        if self._connect is None:
            self._reconnector.unknown_connection()
            return
        try:
            conn_id, cursor = read_connection(await self._connect())
        except Exception as error:  # noqa: BLE001 - a program may ask its backend with any library
            self._reconnector.failed(error)
        else:
            self._reconnector.renewed(conn_id, cursor)

    async def _open(self, step: Open) -> WebsocketChannel | EventStreamChannel:
        if step.transport == "event_stream":
            return await open_event_stream(self._place, step.conn_id, step.since)
        # Not needed, and perhaps not installed, where nobody listens by websocket.
        from .websocket import open_websocket

        return await open_websocket(self._place, step.conn_id, step.since)

    async def _drop(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.aclose()


def _now() -> float:
    return asyncio.get_running_loop().time()
