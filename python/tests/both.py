"""`Push` and `AsyncPush` behind one face, so that each test is about both."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any

from channelstream_push import AsyncPush, Push

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from types import TracebackType

    from channelstream_push.growing.looped import AsyncMessageStream


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def close(self) -> None:
        # As asyncio.run ends: what a library has left half read is closed first.
        self.run(self.loop.shutdown_asyncgens())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


class Blocking:
    """An `AsyncPush` whose methods block."""

    def __init__(self, push: AsyncPush, loop: Loop) -> None:
        self._push = push
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._push, name)
        if name in ("stream", "resume"):
            return lambda *args, **kwargs: BlockingStream(found(*args, **kwargs), self._loop)
        if not callable(found):
            return found
        return _blocking(found, self._loop)


class BlockingStream:
    """An `AsyncMessageStream` whose methods block."""

    def __init__(self, stream: AsyncMessageStream, loop: Loop) -> None:
        self._stream = stream
        self._loop = loop

    def __enter__(self) -> BlockingStream:
        self._loop.run(self._stream.__aenter__())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.run(self._stream.__aexit__(kind, error, traceback))

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._stream, name)
        return _blocking(found, self._loop) if callable(found) else found


def _blocking(method: Callable[..., Any], loop: Loop) -> Callable[..., Any]:
    async def awaited(*args: Any, **kwargs: Any) -> Any:
        return await method(*args, **kwargs)

    return lambda *args, **kwargs: loop.run(awaited(*args, **kwargs))


#: What a test is given: it has the methods of `Push`.
Client = Any
Make = Any


@contextlib.contextmanager
def sync_clients() -> Iterator[Make]:
    with contextlib.ExitStack() as stack:
        yield lambda *args, **options: stack.enter_context(Push(*args, **options))


@contextlib.contextmanager
def async_clients() -> Iterator[Make]:
    loop = Loop()
    opened: list[AsyncPush] = []

    def make(*args: Any, **options: Any) -> Client:
        opened.append(AsyncPush(*args, **options))
        return Blocking(opened[-1], loop)

    try:
        yield make
    finally:
        for push in opened:
            loop.run(push.close())
        loop.close()
