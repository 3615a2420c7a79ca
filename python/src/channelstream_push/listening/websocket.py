"""The websocket transport, by the package `websockets`."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import unquote

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    WebSocketException,
)
from websockets.frames import Frame
from websockets.version import version

from .events import Item, MalformedError, parse_list
from .outcomes import (
    Blocked,
    Broken,
    Closed,
    Failed,
    Mute,
    bad_answer,
    in_one_line,
    judge,
    silent,
    text_of,
    unreachable,
)
from .place import WEBSOCKET
from .sse import MAX_EVENT

if TYPE_CHECKING:
    from uuid import UUID

    from websockets.protocol import Event

    from .place import Place

#: The frames that wait for a program that does not read. Beyond that the socket is not read.
_MAX_FRAMES: Final = 16

#: The most pieces of one message. The server sends each in one.
_MAX_PIECES: Final = 1024

#: The seconds for closing in order.
_CLOSE_TIMEOUT: Final = 1.0

_TOO_LARGE: Final = 1009
_NO_CODE: Final = 1005

# The package logs URLs, which allow to listen. This logger is nobody's child and says nothing.
_SILENT_LOGGER: Final = logging.Logger(__name__, logging.CRITICAL + 1)  # noqa: LOG001


class _Connection(ClientConnection):
    """A connection on which only answers to pings and closes are sent."""

    #: Whether a message came in more pieces than any proxy makes of one.
    is_endless = False
    _is_closing = False
    _pieces = 0

    def process_event(self, event: Event) -> None:
        """Give up a peer that never ends a message. Before version 17 the package has no bound."""
        if self.response is not None and isinstance(event, Frame):
            self._pieces = 0 if event.fin else self._pieces + 1
            if self._pieces > _MAX_PIECES:
                self.is_endless = True
                self.transport.abort()
                return
        super().process_event(event)

    def data_received(self, data: bytes) -> None:
        """Give up a peer that does not close the TCP connection after a close."""
        super().data_received(data)
        if self.protocol.close_expected() and not self._is_closing:
            self._is_closing = True
            # A peer that has broken the protocol gets no time.
            time = 0.0 if self.protocol.close_rcvd is None else _CLOSE_TIMEOUT
            self.loop.call_later(time, self.transport.abort)

    def pause_writing(self) -> None:
        """Give up a peer that sends pings and reads no pongs, which would fill the memory."""
        self.transport.abort()


class _Connect(connect):
    """Follows no redirect, which would show the id of the connection to wherever it leads."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Let the answer be what it is."""
        return exc


class WebsocketChannel:
    """An open websocket."""

    #: A `receive` that is canceled loses nothing.
    is_cancel_safe = True

    def __init__(self, socket: _Connection, silence: float) -> None:
        self._socket = socket
        self._silence = silence
        self._is_silent = False

    async def receive(self) -> list[Item]:
        """Wait for the next message, and return its items.

        Raises:
            Outcome: the websocket is over.
        """
        loop = asyncio.get_running_loop()
        while True:
            # Not `wait_for`, which loses a cancellation in Python 3.10 and 3.11.
            watchdog = loop.call_later(self._silence, self._give_up)
            try:
                message = await self._socket.recv()
            except ConnectionClosed as closed:
                raise self._over(closed) from None
            finally:
                watchdog.cancel()
            # A message of bytes has no meaning.
            if isinstance(message, str):
                try:
                    return parse_list(message)
                except MalformedError as error:
                    raise Broken(bad_answer(WEBSOCKET, f"a message is {error}")) from None

    async def aclose(self) -> None:
        """Close the TCP connection at once.

        A close frame would end the connection of the server, which waits some seconds for another
        listener otherwise.
        """
        self._socket.transport.abort()

    def _give_up(self) -> None:
        self._is_silent = True
        self._socket.transport.abort()

    def _over(self, closed: ConnectionClosed) -> Broken | Closed:
        if closed.rcvd is not None and closed.rcvd_then_sent is not False:
            code = None if closed.rcvd.code == _NO_CODE else closed.rcvd.code
            return Closed(code, in_one_line(closed.rcvd.reason))
        if self._socket.is_endless:
            return Broken(bad_answer(WEBSOCKET, "a message has too many pieces"))
        if closed.sent is not None and closed.sent.code == _TOO_LARGE:
            return Broken(bad_answer(WEBSOCKET, f"a message is larger than {MAX_EVENT} bytes"))
        if self._is_silent:
            return Broken(silent(WEBSOCKET, self._silence))
        if closed.sent is not None:
            return Broken(bad_answer(WEBSOCKET, f"not the protocol: {text_of(closed)}"))
        return Broken(bad_answer(WEBSOCKET, "the websocket broke off"))


async def open_websocket(place: Place, conn_id: UUID, since: str | None) -> WebsocketChannel:
    """Open the websocket of a connection.

    Raises:
        Outcome: it could not be opened.
    """
    way: dict[str, Any] = {}
    if place.address.socket is not None:
        way = {"unix": True, "path": place.address.socket}
    elif place.tls is not None:
        way = {"ssl": place.tls}
    headers = place.headers
    user_agent = headers.pop("User-Agent")
    try:
        socket = await _Connect(
            place.websocket_url(conn_id, since),
            additional_headers=headers,
            user_agent_header=user_agent,
            proxy=_proxy(place),
            compression=None,
            open_timeout=place.silence,
            close_timeout=_CLOSE_TIMEOUT,
            # The server sends heartbeats.
            ping_interval=None,
            max_size=MAX_EVENT,
            max_queue=_MAX_FRAMES,
            logger=_SILENT_LOGGER,
            create_connection=_Connection,
            **way,
        )
    except (TimeoutError, asyncio.TimeoutError):
        # Some proxies let an upgrade hang.
        raise Blocked(silent(WEBSOCKET, place.silence)) from None
    except InvalidStatus as error:
        answer = error.response
        retry_after = answer.headers.get("Retry-After")
        raise judge(WEBSOCKET, answer.status_code, since, retry_after, time.time()) from None
    except InvalidMessage:
        raise Mute(bad_answer(WEBSOCKET, "the answer is not HTTP, or broke off")) from None
    except InvalidHandshake as error:
        text = f"the answer is not that of a websocket server ({type(error).__name__})"
        raise Blocked(bad_answer(WEBSOCKET, text)) from None
    except WebSocketException as error:
        # The package cannot use this proxy. Its text may have a password.
        raise Blocked(bad_answer(WEBSOCKET, type(error).__name__)) from None
    except (OSError, ImportError) as error:
        raise Failed(unreachable(WEBSOCKET, error)) from None
    return WebsocketChannel(cast("_Connection", socket), place.silence)


def _proxy(place: Place) -> str | None:
    """Return the proxy in the form that the package reads: before 17.2 it decodes nothing."""
    decodes = tuple(map(int, version.split(".")[:2])) >= (17, 2)
    return place.proxy if place.proxy is None or decodes else unquote(place.proxy)
