"""`AsyncPush`: the client of programs with an event loop of asyncio."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from . import requests as r
from .call import Call, Done
from .described import described
from .errors import CallError, PushError
from .growing import looped
from .growing.looped import AsyncMessageStream
from .listening import clients
from .settings import Settings, StreamOptions
from .transport import CLOSED, Looped

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Sequence
    from types import TracebackType

    from .bulk import Batch, Bulk, Published
    from .growing.opening import Begun, Steps
    from .listening import AsyncListener, Transport
    from .requests import Id, Message, Request

T = TypeVar("T")
P = ParamSpec("P")


def _call(
    make: Callable[P, Request[T]],
) -> Callable[Concatenate[AsyncPush, P], Coroutine[Any, Any, T]]:
    """Return the method that makes such a request and sends it."""

    def method(push: AsyncPush, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        return push.call(make(*args, **kwargs))

    # A request of several items is made by a method of its class, which has the words.
    return described(method, make, getattr(make, "__self__", None))


def _stream(
    make: Callable[P, StreamOptions],
) -> Callable[Concatenate[AsyncPush, P], AsyncMessageStream]:
    """Return the method that makes a stream with such options."""

    def method(push: AsyncPush, /, *args: P.args, **kwargs: P.kwargs) -> AsyncMessageStream:
        options = make(*args, **kwargs)
        return AsyncMessageStream(push, options.begin, push._pace(*options.times), options.key)  # noqa: SLF001

    return described(method, make)


class AsyncPush(Settings):
    """A handle to a server for backends: every request is signed with the secret.

    Make one for the whole program. Each event loop has TCP connections of its own, and so has a
    child of fork. A call is one request, repeated with a fresh signature where that does no harm.

    All calls raise `CallError`, and `TypeError` or `ValueError` for what JSON does not have.
    """

    def _prepare(self) -> None:
        self._looped = Looped(self._network)
        self._streams: set[AsyncMessageStream] = set()

    connect = _call(r.Connect)
    subscribe = _call(r.Subscribe)
    unsubscribe = _call(r.Unsubscribe)
    user_state = _call(r.SetUserState)
    publish = _call(r.Publish.of)
    edit = _call(r.EditMessages.of)
    delete = _call(r.DeleteMessages.of)
    change = _call(r.Change.of)
    append = _call(r.AppendOne)
    cancel = _call(r.Cancel)
    channel_config = _call(r.Configure)
    info = _call(r.Info)
    history = _call(r.ReadHistory)
    list_channels = _call(r.ListChannels)
    list_users = _call(r.ListUsers)
    delete_channels = _call(r.DeleteChannels)
    disconnect = _call(r.Disconnect)
    disconnect_user = _call(r.DisconnectUser)
    reload = _call(r.Reload)
    metrics = _call(r.ReadMetrics)
    admin_stats = _call(r.ReadAdminStats)
    debug_text = _call(r.ReadDebugText)

    stream = _stream(StreamOptions.opened)
    resume = _stream(StreamOptions.resumed)

    async def publish_all(
        self,
        messages: Iterable[Message] | AsyncIterable[Message],
        *,
        idempotency_key: str | None = None,
    ) -> Published:
        """Publish any number of messages, in their order, in as few requests as the server allows.

        Messages without an id receive one. By it a repeat is recognized, within ten minutes (the
        server's `idempotency_window`): it stores nothing twice.

        Args:
            messages: Any iterable, or one of `async for`, of which those are sent that fill a
                request. Only those of one request are in memory. An exception of its own passes
                through.
            idempotency_key: Makes the ids, in place of chance: whoever calls again with the same
                key and the same messages, as a job that is run again does, publishes only what was
                not published yet.

        Raises:
            PublishError: a request failed, after its repeats. It tells what was published.
            SettingsError: the key is not valid.
        """
        bulk = self._bulk(idempotency_key)
        async with contextlib.aclosing(_each(messages)) as each:
            async for message in each:
                await self._publish(bulk, bulk.add(message))
        await self._publish(bulk, bulk.rest())
        return bulk.published

    async def _publish(self, bulk: Bulk, batch: Batch | None) -> None:
        if batch is None:
            return
        try:
            bulk.count(batch, await self.call(batch))
        except CallError as error:
            raise bulk.failed(batch, error) from error

    def listen(
        self,
        user: str | r.Connect | None = None,
        *,
        channels: Sequence[str] = (),
        conn_id: Id | None = None,
        since: str | None = None,
        transports: Sequence[Transport] | None = None,
        silence: float = 15.0,
        first_pause: float = 0.25,
        longest_pause: float = 30.0,
    ) -> AsyncListener:
        """Listen in an event loop: `async with push.listen("robot", channels=["news"]) as events`.

        Args:
            user: For whom a connection is made now, and again when it has ended; or a `Connect`,
                which also has the state of the user and the settings of channels.
            channels: The channels that the user joins.
            conn_id: In place of a user, the id of a connection that is there.
            since: The cursor to go on from: `events.cursor` of an earlier listener.
            transports: Which to try, in this order; see `AsyncListener`.
            silence: The seconds without events and heartbeats after which a TCP connection is dead.
            first_pause: The seconds after a first failure.
            longest_pause: The most seconds between two attempts.

        Raises:
            SettingsError: one of them is not valid.
        """
        return clients.alisten(
            self,
            clients.whom(user, channels, conn_id),
            since=since,
            transports=transports,
            silence=silence,
            first_pause=first_pause,
            longest_pause=longest_pause,
        )

    async def call(self, request: Request[T]) -> T:
        """Send a request, and return what its answer says."""
        call = Call(self._config, request)
        while True:
            outcome = call.settle(await self._looped.send(call.attempt()))
            if isinstance(outcome, Done):
                return outcome.value
            await asyncio.sleep(outcome.seconds)

    async def drive(self, steps: Steps) -> Begun:
        """Send the requests that a message begins with."""
        answer: Any = None
        error: CallError | None = None
        while True:
            try:
                request = steps.throw(error) if error else steps.send(answer)
            except StopIteration as end:
                begun: Begun = end.value
                return begun
            error = None
            try:
                answer = await self.call(request)
            except CallError as failure:
                error = failure

    async def close(self) -> None:
        """Close the connections of this event loop. Later calls are an error.

        Messages that still grow are ended as `failed` before, within five seconds.
        """
        await looped.end(self._streams, PushError(CLOSED))
        await self._looped.close()

    async def __aenter__(self) -> AsyncPush:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


async def _each(
    messages: Iterable[Message] | AsyncIterable[Message],
) -> AsyncGenerator[Message, None]:
    if isinstance(messages, AsyncIterable):
        async for message in messages:
            yield message
    else:
        for message in messages:
            yield message
