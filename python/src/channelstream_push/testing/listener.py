"""`TestListener`: the events of a user, which a thread collects while a test goes on."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from channelstream_push.listening import (
    AsyncListener,
    Ended,
    Interrupted,
    Message,
    Opened,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from channelstream_push.client import Push
    from channelstream_push.listening import Event

E = TypeVar("E")

#: How long a listener waits, in seconds, unless a test says otherwise.
PATIENCE: Final = 5.0
#: How long the end of a listener may take, in seconds, from when it is counted.
_SETTLING: Final = 1.0


class TestListener:
    """A user who listens. Events arrive in the background, each once and in order."""

    #: For pytest, which would take it for tests.
    __test__ = False

    def __init__(self, push: Push, url: str, conn_id: str, patience: float = PATIENCE) -> None:
        """Listen with a connection, and wait until the server knows of it.

        Raises:
            TimeoutError: the server does not take the listener in time.
        """
        #: The id of the connection, which disconnects it.
        self.conn_id = conn_id
        self._push = push
        self._url = url
        self._patience = patience
        self._changed = threading.Condition()
        self._events: list[Event] = []
        #: What became of the listener itself.
        self._states: list[Event] = []
        self._read = 0
        self._task: tuple[asyncio.AbstractEventLoop, asyncio.Task[None]] | None = None
        self._is_closed = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._collect()), daemon=True)
        self._thread.start()
        try:
            self._wait(lambda: any(isinstance(state, Opened) for state in self._states), patience)
        except TimeoutError:
            self.abandon()
            raise

    @property
    def events(self) -> list[Event]:
        """All events so far, also those that `next` has returned."""
        with self._changed:
            return list(self._events)

    @property
    def messages(self) -> list[Any]:
        """The payloads of all messages so far."""
        return [event.message for event in self.events if isinstance(event, Message)]

    @property
    def has_ended(self) -> bool:
        """Whether the server has ended the connection, or the test has closed the listener."""
        with self._changed:
            return self._is_closed or any(isinstance(state, Ended) for state in self._states)

    @overload
    def next(self, kind: type[E], *, timeout: float | None = None) -> E: ...
    @overload
    def next(self, kind: None = None, *, timeout: float | None = None) -> Message: ...

    def next(self, kind: type[Any] | None = None, *, timeout: float | None = None) -> Any:
        """Wait for the next message, and return it.

        Args:
            kind: wait for another kind of event, such as `Presence` or `Edit`; `object` is any.
                What comes before it is passed over.
            timeout: the seconds to wait, 5 if absent.

        Raises:
            TimeoutError: it did not come. The text has what did.
        """
        wanted = Message if kind is None else kind
        found: list[Any] = []

        def look() -> bool:
            while not found and self._read < len(self._events):
                event = self._events[self._read]
                self._read += 1
                if isinstance(event, wanted):
                    found.append(event)
            return bool(found)

        self._wait(look, self._patience if timeout is None else timeout)
        return found[0]

    def close(self) -> None:
        """Stop listening, as a browser that closes its page, and wait until the server knows it.

        The user stays in its channels until its connection expires, 15 seconds later:
        `push.advance(seconds=20)`.

        Raises:
            TimeoutError: the server does not notice it.
        """
        if self.has_ended:
            self.abandon()
            return
        before, ended_before = self._counts()
        self.abandon()
        end = time.monotonic() + self._patience
        settled = math.inf
        while True:
            count, ended = self._counts()
            if count < before:
                return
            # Others who come keep the count up. The end is counted all the same, and is carried out
            # in the same moment.
            now = time.monotonic()
            if ended > ended_before:
                settled = min(settled, now + _SETTLING)
            if now > settled:
                return
            if now > end and settled == math.inf:
                raise TimeoutError("the server has not noticed that the listener has left")
            time.sleep(0.002)

    def abandon(self) -> None:
        """Stop listening, without waiting for the server."""
        with self._changed:
            self._is_closed = True
            task = self._task
        if task is not None:
            # The loop may have ended by itself.
            with contextlib.suppress(RuntimeError):
                task[0].call_soon_threadsafe(task[1].cancel)
        self._thread.join()

    def _counts(self) -> tuple[int, int]:
        """Return how many listeners the server has, and how many have ended since its start."""
        metrics = self._push.metrics().metrics
        return metrics["listeners"], sum(metrics["listeners_ended_total"].values())

    async def _collect(self) -> None:
        task = asyncio.current_task()
        with self._changed:
            if task is None or self._is_closed:
                return
            self._task = asyncio.get_running_loop(), task
        listener = AsyncListener(
            self._url,
            conn_id=self.conn_id,
            transports=("event_stream",),
            first_pause=0.05,
            longest_pause=0.5,
        )
        with contextlib.suppress(asyncio.CancelledError):
            async with listener as events:
                async for event in events:
                    self._note(event)

    def _note(self, event: Event) -> None:
        with self._changed:
            is_state = isinstance(event, Opened | Interrupted | Ended)
            (self._states if is_state else self._events).append(event)
            self._changed.notify_all()

    def _wait(self, condition: Callable[[], bool], timeout: float) -> None:
        with self._changed:
            if self._changed.wait_for(condition, timeout):
                return
            came = [*self._events, *(one for one in self._states if not isinstance(one, Opened))]
        shown = "; ".join(map(repr, came)) or "nothing at all"
        raise TimeoutError(f"it did not come within {timeout:g} s. What came: {shown}")
