"""`Listener`: the events of a connection for programs without an event loop."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from .event_stream import open_sync_event_stream
from .events import Interrupted
from .outcomes import Outcome, in_log
from .place import Place
from .reconnector import Open, Over, Pause, Receive, Renew
from .settings import prepared, read_connection

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from uuid import UUID

    from typing_extensions import Self

    from channelstream_push.address import Address
    from channelstream_push.transport import Network

    from .event_stream import SyncEventStreamChannel
    from .events import Event
    from .reconnector import Step
    from .settings import HasConnection

_log = logging.getLogger(__name__)


class Listener:
    """The events of a connection, by an event stream, in the thread that iterates over them.

    It does what `AsyncListener` does, and calls a function that makes connections:

    ```python
    with Listener("http://127.0.0.1:8000", connect) as events:
        for event in events:
            ...
    ```

    It has no thread of its own. A signal such as Ctrl-C interrupts it as it does any other waiting.
    """

    def __init__(
        self,
        address: str | Address | Network,
        connect: Callable[[], HasConnection | UUID | str] | None = None,
        *,
        conn_id: UUID | str | None = None,
        since: str | None = None,
        silence: float = 15.0,
        first_pause: float = 0.25,
        longest_pause: float = 30.0,
        tls: ssl.SSLContext | None = None,
        trust_env: bool = True,
        user_agent: str | None = None,
    ) -> None:
        """Prepare a listener; nothing is sent yet. The arguments are those of `AsyncListener`.

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
            transports=("event_stream",),
            silence=silence,
            first_pause=first_pause,
            longest_pause=longest_pause,
        )
        self._connect = connect
        self._channel: SyncEventStreamChannel | None = None

    @property
    def cursor(self) -> str | None:
        """The cursor behind the event that was returned last, if the server tells any."""
        return self._reconnector.cursor

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        while True:
            event = self._reconnector.take()
            if event is not None:
                if isinstance(event, Interrupted):
                    _log.warning("%s; again in %.1f s", in_log(event.error), event.pause)
                return event
            step = self._reconnector.step(time.monotonic())
            if isinstance(step, Over):
                self.close()
                raise StopIteration
            self._carry_out(step)

    def close(self) -> None:
        """Close the listener, which then has no more events."""
        self._reconnector.finish()
        self._drop()

    def _carry_out(self, step: Step) -> None:
        reconnector = self._reconnector
        try:
            match step:
                case Renew():
                    self._renew()
                case Open():
                    self._channel = open_sync_event_stream(self._place, step.conn_id, step.since)
                    reconnector.opened(time.monotonic())
                case Receive() if self._channel is not None:
                    reconnector.received(self._channel.receive())
                case Pause():
                    time.sleep(step.seconds)
                    reconnector.paused()
                case _:
                    raise RuntimeError("a listener receives without a transport")
        except Outcome as outcome:
            self._drop()
            outcome.report(reconnector, time.monotonic())

    def _renew(self) -> None:
        if self._connect is None:
            self._reconnector.unknown_connection()
            return
        try:
            conn_id, cursor = read_connection(self._connect())
        except Exception as error:  # noqa: BLE001 - a program may ask its backend with any library
            self._reconnector.failed(error)
        else:
            self._reconnector.renewed(conn_id, cursor)

    def _drop(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()
