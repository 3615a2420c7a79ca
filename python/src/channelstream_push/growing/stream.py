"""`MessageStream`: a growing message of a program with threads."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any

from ..errors import CallError, PushError, StreamError
from .growth import LEAVING, Growing, Growth, Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from ..answers import Edited, Taken
    from ..client import Push
    from .batch import Batch
    from .opening import Steps

logger = logging.getLogger("channelstream_push")


class MessageStream(Growing):
    """A message that grows while its block runs.

    The first piece is sent at once. What is written while a request is under way, or within a short
    time, is sent together by a thread of the stream. Writing waits only while much is unsent.

    Each request counts the steps of the message, and the server takes each step once. So a request
    whose answer did not arrive is repeated without doubling text.

    At the end of the block the message is `done`; after an exception, and after an append that the
    server refuses, `failed`.
    """

    def __init__(self, push: Push, begin: Callable[[], Steps], pace: Pace, key: str) -> None:
        self._push = push
        self._begin = begin
        self._pace = pace
        self._key = key
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._opened: Growth | None = None

    @property
    def _growth(self) -> Growth:
        if self._opened is None:
            msg = "the message is not open: write inside of its with block"
            raise StreamError(msg)
        if self._pid != os.getpid():
            msg = "the message belongs to the process that opened it"
            raise StreamError(msg)
        return self._opened

    def write(self, part: str | Sequence[Any], key: str | None = None) -> None:
        """Append a text to a text, or a list to a list: of a key, or of a JSON Pointer.

        It is sent a moment later. `flush` waits for the answer.

        Raises:
            Cancelled: a reader has canceled the message.
            StreamError: nothing is appended any more, for another reason.
            CallError: a request failed, after its repeats.
            TypeError: it is no text or list, or has something in it that JSON has not.
            ValueError: it is a text that is not Unicode, or has a number that JSON has not.
        """
        growth = self._growth
        with self._changed:
            if not growth.has_room:
                self._changed.wait_for(lambda: growth.has_room)
            if growth.write(part, self._key if key is None else key):
                self._changed.notify_all()

    def keep_alive(self) -> None:
        """Tell the server that the publisher lives, so that the message is not `stalled`."""
        growth = self._growth
        with self._changed:
            if growth.show_life():
                self._changed.notify_all()

    def flush(self) -> None:
        """Wait until the server has taken everything that was written."""
        growth = self._growth
        with self._changed:
            given = growth.given
            self._changed.wait_for(lambda: growth.has_carried_out(given))
            if growth.failure:
                growth.check()

    def finish(self, status: str = "done") -> Taken:
        """Send what was written, and end the message: `done`, `failed` or `cancelled`."""
        taken = self._end(status)
        assert taken is not None, "an end with a status is answered"  # noqa: S101
        return taken

    def detach(self) -> None:
        """Send what was written, and leave the message open, for a publisher that resumes it."""
        self._end(None)

    def _end(self, status: str | None) -> Taken | None:
        growth = self._growth
        with self._changed:
            growth.end(status)
            self._changed.notify_all()
            self._changed.wait_for(lambda: growth.is_over)
            if growth.failure:
                growth.check()
            return growth.taken

    def __enter__(self) -> MessageStream:
        if self._opened is not None:
            msg = "a message is opened once"
            raise StreamError(msg)
        self._pid = os.getpid()
        self._opened = Growth(self._push.drive(self._begin()), self._pace)
        threading.Thread(target=self._send_all, name="channelstream-stream", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._pid != os.getpid():
            return
        growth = self._growth
        if error is not None:
            self._give_up(growth)
        elif not growth.is_left and not growth.is_over:
            self.finish()
        elif growth.is_unheard:
            growth.check()

    def _give_up(self, growth: Growth) -> None:
        with self._changed:
            if growth.is_over or growth.is_left:
                return
            growth.end("failed")
            self._changed.notify_all()
            self._changed.wait_for(lambda: growth.is_over, LEAVING)
            if growth.taken is None:
                why = growth.failure or "the server does not answer in time"
                logger.warning("the message %s was not ended as failed: %s", growth.uuid, why)

    def _send_all(self) -> None:
        """Send batches until the message ends or an error occurs, in a thread of its own."""
        growth = self._growth
        try:
            due = time.monotonic()
            while not growth.is_over:
                with self._changed:
                    self._changed.wait_for(lambda: growth.has_orders)
                    left = max(0.0, due - time.monotonic())
                    self._changed.wait_for(lambda: growth.is_urgent, left)
                    batch = growth.take()
                due = time.monotonic() + self._pace.interval
                self._send(growth, batch)
        # Whatever it is, whoever writes has to know it.
        except Exception as failure:  # noqa: BLE001
            self._end_refused(growth, failure)
            with self._changed:
                growth.fail(failure)
                self._changed.notify_all()

    def _end_refused(self, growth: Growth, failure: Exception) -> None:
        request = growth.ending(failure)
        if request:
            try:
                growth.end_refused(request, self._push.call(request))
            except PushError as error:
                logger.warning("the message %s was not ended as failed: %s", growth.uuid, error)

    def _send(self, growth: Growth, batch: Batch) -> None:
        request, begun, failures = growth.request(batch), time.monotonic(), 0
        answers: list[Taken | Edited] = []
        while request:
            try:
                answers = self._push.call(request)
                break
            except CallError as error:
                pause = growth.pause(error, failures, time.monotonic() - begun)
                if pause is None:
                    raise
            failures += 1
            time.sleep(pause)
        with self._changed:
            growth.settle(batch, request, answers)
            self._changed.notify_all()
