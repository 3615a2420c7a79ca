"""`AsyncMessageStream`: a growing message of a program with an event loop."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from ..errors import CallError, StreamError
from .growth import LEAVING, Growth, Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from ..aio import AsyncPush
    from ..answers import Edited, Taken
    from .batch import Batch
    from .opening import Steps

logger = logging.getLogger("channelstream_push")


class AsyncMessageStream:
    """A message that grows while its block runs, as `MessageStream`, sent by a task of the loop."""

    def __init__(self, push: AsyncPush, begin: Callable[[], Steps], pace: Pace, key: str) -> None:
        self._push = push
        self._begin = begin
        self._pace = pace
        self._key = key
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()
        self._opened: Growth | None = None
        self._sender: asyncio.Task[None] | None = None

    @property
    def _growth(self) -> Growth:
        if self._opened is None:
            msg = "the message is not open: write inside of its async with block"
            raise StreamError(msg)
        return self._opened

    @property
    def uuid(self) -> str:
        """The id of the message."""
        return self._growth.uuid

    @property
    def channel(self) -> str | None:
        """The channel of the message; none for a private message."""
        return self._growth.channel

    @property
    def rev(self) -> int:
        """The number of changes of the message, as far as answers have arrived."""
        return self._growth.rev

    @property
    def step(self) -> int:
        """The last step that the server has taken."""
        return self._growth.step

    @property
    def size(self) -> int | None:
        """The size of the payload in bytes of JSON, as far as answers have arrived."""
        return self._growth.size

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
        self._opened = Growth(await self._push.drive(self._begin()), self._pace)
        self._sender = asyncio.create_task(self._send_all(self._opened))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        growth = self._growth
        try:
            if error is not None:
                await self._give_up(growth)
            elif not growth.is_left and not growth.is_over:
                await self.finish()
            elif growth.is_unheard:
                growth.check()
        finally:
            # Only a task that is canceled again, or a server that is away, leaves it running here.
            if self._sender:
                self._sender.cancel()

    async def _give_up(self, growth: Growth) -> None:
        if growth.is_over or growth.is_left:
            return
        growth.end("failed")
        self._wake.set()
        try:
            await asyncio.wait_for(self._until(lambda: growth.is_over), LEAVING)
        except asyncio.TimeoutError:
            why: object = "the server does not answer in time"
        else:
            why = growth.failure
        if why:
            logger.warning("the message %s was not ended as failed: %s", growth.uuid, why)

    async def _send_all(self, growth: Growth) -> None:
        """Send batches until the message ends or an error occurs, in a task of its own."""
        loop = asyncio.get_running_loop()
        try:
            due = loop.time()
            while not growth.is_over:
                await self._woken(lambda: growth.has_orders, None)
                await self._woken(lambda: growth.is_urgent, due - loop.time())
                batch = growth.take()
                due = loop.time() + self._pace.interval
                await self._send(growth, batch)
        # Whatever it is, whoever writes has to know it.
        except Exception as failure:  # noqa: BLE001
            growth.fail(failure)
        except asyncio.CancelledError:
            growth.fail(StreamError("the task of the stream was canceled"))
            raise
        finally:
            self._changed.set()

    async def _woken(self, condition: Callable[[], bool], timeout: float | None) -> None:
        loop = asyncio.get_running_loop()
        end = None if timeout is None else loop.time() + timeout
        while not condition():
            left = None if end is None else end - loop.time()
            if left is not None and left <= 0:
                return
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), left)
            except asyncio.TimeoutError:
                return

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
