"""`AsyncMessageStream`: a growing message of a program with an event loop."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import anyio

from ..errors import CallError, PushError, StreamError
from .growth import LEAVING, Growing, Growth, Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType

    from ..aio import AsyncPush
    from ..answers import Edited, Taken
    from .batch import Batch
    from .opening import Steps

logger = logging.getLogger("channelstream_push")


class AsyncMessageStream(Growing):
    """A message that grows while its block runs, as `MessageStream`, sent by a task of the loop.

    Whoever writes may be canceled, that task is not: it opens the message, and ends it.
    """

    def __init__(self, push: AsyncPush, begin: Callable[[], Steps], pace: Pace, key: str) -> None:
        self._push = push
        self._begin = begin
        self._pace = pace
        self._key = key
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()
        self._opened: Growth | None = None
        self._sender: asyncio.Task[None] | None = None
        #: What is being sent, and is sent again if that was interrupted.
        self._batch: Batch | None = None
        #: Whether nobody writes any more, and why.
        self._is_abandoned = False
        self._why: Exception | None = None
        #: What ends the task then, and whether it has.
        self._timer: asyncio.TimerHandle | None = None
        self._is_late = False

    @property
    def _growth(self) -> Growth:
        if self._opened is None:
            msg = "the message is not open: write inside of its async with block"
            raise StreamError(msg)
        return self._opened

    async def write(self, part: str | Sequence[Any], key: str | None = None) -> None:
        """Append a text to a text, or a list to a list: of a key, or of a JSON Pointer.

        It is sent a moment later, by a task that runs when this one waits. `flush` waits for the
        answer.

        Raises:
            Cancelled: a reader has canceled the message.
            StreamError: nothing is appended any more, for another reason.
            CallError: a request failed, after its repeats.
            TypeError: it is no text or list, or has something in it that JSON has not.
            ValueError: it is a text that is not Unicode, or has a number that JSON has not.
        """
        growth = self._growth
        await self._until(lambda: growth.has_room)
        if growth.write(part, self._key if key is None else key):
            self._wake.set()

    async def keep_alive(self) -> None:
        """Tell the server that the publisher lives, so that the message is not `stalled`."""
        if self._growth.show_life():
            self._wake.set()

    async def flush(self) -> None:
        """Wait until the server has taken everything that was written."""
        growth = self._growth
        given = growth.given
        await self._until(lambda: growth.has_carried_out(given))
        if growth.failure:
            growth.check()

    async def finish(self, status: str = "done") -> Taken:
        """Send what was written, and end the message: `done`, `failed` or `cancelled`."""
        taken = await self._end(status)
        assert taken is not None, "an end with a status is answered"  # noqa: S101
        return taken

    async def detach(self) -> None:
        """Send what was written, and leave the message open, for a publisher that resumes it."""
        await self._end(None)

    async def _end(self, status: str | None) -> Taken | None:
        growth = self._growth
        growth.end(status)
        self._wake.set()
        await self._until(lambda: growth.is_over)
        if growth.failure:
            growth.check()
        return growth.taken

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def __aenter__(self) -> AsyncMessageStream:
        if self._opened is not None:
            msg = "a message is opened once"
            raise StreamError(msg)
        self._is_abandoned = self._is_late = False
        sender = self._sender = asyncio.create_task(self._run())
        self._push._streams.add(self)  # noqa: SLF001
        sender.add_done_callback(self._ended)
        try:
            await self._until(lambda: self._opened is not None or sender.done())
        except asyncio.CancelledError:
            await self._leave(sender)
            raise
        if self._opened is None:
            sender.result()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        growth, sender = self._growth, self._sender
        try:
            if error is None and not growth.is_left and not growth.is_over:
                await self.finish()
        finally:
            if sender and not growth.is_over:
                await self._leave(sender)
        if error is None and growth.is_unheard:
            growth.check()

    async def _leave(self, sender: asyncio.Task[None]) -> None:
        self.abandon()
        # A scope of anyio cancels at each await. A task that is canceled again leaves the sender
        # to itself.
        with anyio.CancelScope(shield=True):
            await asyncio.wait([sender])

    def abandon(self, why: Exception | None = None) -> None:
        """End the message as failed unless it is ended otherwise, within a short time."""
        growth, sender = self._opened, self._sender
        if sender is None or sender.done() or (growth and growth.is_over):
            return
        if not self._is_abandoned:
            self._is_abandoned, self._why = True, why
            self._timer = sender.get_loop().call_later(LEAVING, self._cut, sender)
        if growth:
            growth.give_up(why)
        self._wake.set()
        self._changed.set()

    def _cut(self, sender: asyncio.Task[None]) -> None:
        self._is_late = True
        sender.cancel()

    def _ended(self, sender: asyncio.Task[None]) -> None:
        self._push._streams.discard(self)  # noqa: SLF001
        if self._timer:
            self._timer.cancel()
            self._timer = None
        failure = None if sender.cancelled() else sender.exception()
        growth = self._opened
        if self._is_abandoned and growth is None and (sender.cancelled() or _is_in_doubt(failure)):
            logger.warning("a message may be open: its opening was canceled")
        elif self._is_abandoned and growth and growth.failure and growth.taken is None:
            why = growth.failure
            logger.warning("the message %s was not ended as failed: %s", growth.uuid, why)
        self._changed.set()

    async def _run(self) -> None:
        """Open the message and send batches until it ends, in a task of its own."""
        growth = self._opened = Growth(await self._push.drive(self._begin()), self._pace)
        self._changed.set()
        if self._is_abandoned:
            growth.give_up(self._why)
        while not growth.is_over:
            try:
                await self._send_all(growth)
            except asyncio.CancelledError:  # noqa: PERF203
                if self._is_late:
                    growth.fail(StreamError("the server does not answer in time"))
                    raise
                # The event loop ends, which cancels all tasks once and waits for them.
                self.abandon(StreamError("the event loop ends"))

    async def _send_all(self, growth: Growth) -> None:
        loop = asyncio.get_running_loop()
        try:
            due = loop.time()
            while not growth.is_over:
                if self._batch is None:
                    await self._woken(lambda: growth.has_orders, None)
                    await self._woken(lambda: growth.is_urgent, due - loop.time())
                    self._batch = growth.take()
                due = loop.time() + self._pace.interval
                await self._send(growth, self._batch)
                self._batch = None
        # Whatever it is, whoever writes has to know it.
        except Exception as failure:  # noqa: BLE001
            await self._end_refused(growth, failure)
            growth.fail(failure)
            self._changed.set()

    async def _end_refused(self, growth: Growth, failure: Exception) -> None:
        request = growth.ending(failure)
        if request:
            try:
                growth.end_refused(request, await self._push.call(request))
            except PushError as error:
                logger.warning("the message %s was not ended as failed: %s", growth.uuid, error)

    async def _woken(self, condition: Callable[[], bool], seconds: float | None) -> None:
        loop = asyncio.get_running_loop()
        end = None if seconds is None else loop.time() + seconds
        while not condition():
            left = None if end is None else end - loop.time()
            if left is not None and left <= 0:
                return
            self._wake.clear()
            # Not `wait_for`, which loses a cancellation in Python 3.10 and 3.11.
            timer = None if left is None else loop.call_later(left, self._wake.set)
            try:
                await self._wake.wait()
            finally:
                if timer:
                    timer.cancel()

    async def _send(self, growth: Growth, batch: Batch) -> None:
        loop = asyncio.get_running_loop()
        request, begun, failures = growth.request(batch), loop.time(), 0
        answers: list[Taken | Edited] = []
        while request:
            try:
                answers = await self._push.call(request)
                break
            except CallError as error:
                pause = growth.pause(error, failures, loop.time() - begun)
                if pause is None:
                    raise
            failures += 1
            await asyncio.sleep(pause)
        growth.settle(batch, request, answers)
        self._changed.set()


def _is_in_doubt(failure: BaseException | None) -> bool:
    return isinstance(failure, CallError) and failure.is_in_doubt


async def end(streams: Iterable[AsyncMessageStream], why: Exception) -> None:
    """End the messages of this event loop that still grow as failed, within a short time."""
    loop = asyncio.get_running_loop()
    senders = []
    for stream in list(streams):
        sender = stream._sender  # noqa: SLF001
        if sender and not sender.done() and sender.get_loop() is loop:
            stream.abandon(why)
            senders.append(sender)
    if senders:
        with anyio.CancelScope(shield=True):
            await asyncio.wait(senders)
