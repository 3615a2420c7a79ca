"""`Push`: the client of programs with threads, or with none."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from . import requests as r
from .call import Call, Done
from .described import described
from .errors import CallError
from .growing.stream import MessageStream
from .listening import clients
from .settings import Settings, StreamOptions
from .transport import Threaded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType

    from .bulk import Batch, Bulk, Published
    from .growing.opening import Begun, Steps
    from .listening import Listener
    from .requests import Id, Message, Request

T = TypeVar("T")
P = ParamSpec("P")


def _call(make: Callable[P, Request[T]]) -> Callable[Concatenate[Push, P], T]:
    """Return the method that makes such a request and sends it."""

    def method(push: Push, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return push.call(make(*args, **kwargs))

    # A request of several items is made by a method of its class, which has the words.
    return described(method, make, getattr(make, "__self__", None))


def _stream(
    make: Callable[P, StreamOptions],
) -> Callable[Concatenate[Push, P], MessageStream]:
    """Return the method that makes a stream with such options."""

    def method(push: Push, /, *args: P.args, **kwargs: P.kwargs) -> MessageStream:
        options = make(*args, **kwargs)
        return MessageStream(push, options.begin, push._pace(*options.times), options.key)  # noqa: SLF001

    return described(method, make)


class Push(Settings):
    """A handle to a server for backends: every request is signed with the secret.

    Make one for the whole program. Any thread may use it, before and after a fork. A call is one
    request, repeated with a fresh signature where that does no harm.

    All calls raise `CallError`, and `TypeError` or `ValueError` for what JSON does not have.
    """

    def _prepare(self) -> None:
        self._threaded = Threaded(self._network)

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

    def publish_all(
        self, messages: Iterable[Message], *, idempotency_key: str | None = None
    ) -> Published:
        """Publish any number of messages, in their order, in as few requests as the server allows.

        Messages without an id receive one. By it a repeat is recognized, within ten minutes (the
        server's `idempotency_window`): it stores nothing twice.

        Args:
            messages: Any iterable. Only those of one request are in memory. An exception of its
                own passes through.
            idempotency_key: Makes the ids, in place of chance: whoever calls again with the same
                key and the same messages, as a job that is run again does, publishes only what was
                not published yet.

        Raises:
            PublishError: a request failed, after its repeats. It tells what was published.
            SettingsError: the key is not valid.
        """
        bulk = self._bulk(idempotency_key)
        for message in messages:
            self._publish(bulk, bulk.add(message))
        self._publish(bulk, bulk.rest())
        return bulk.published

    def _publish(self, bulk: Bulk, batch: Batch | None) -> None:
        if batch is None:
            return
        try:
            bulk.count(batch, self.call(batch))
        except CallError as error:
            raise bulk.failed(batch, error) from error

    def listen(
        self,
        user: str | r.Connect | None = None,
        *,
        channels: Sequence[str] = (),
        conn_id: Id | None = None,
        since: str | None = None,
        silence: float = 15.0,
        first_pause: float = 0.25,
        longest_pause: float = 30.0,
    ) -> Listener:
        """Listen in this thread: `with push.listen("robot", channels=["news"]) as events`.

        Args:
            user: For whom a connection is made now, and again when it has ended; or a `Connect`,
                which also has the state of the user and the settings of channels.
            channels: The channels that the user joins.
            conn_id: In place of a user, the id of a connection that is there.
            since: The cursor to go on from: `events.cursor` of an earlier listener.
            silence: The seconds without events and heartbeats after which a TCP connection is dead.
            first_pause: The seconds after a first failure.
            longest_pause: The most seconds between two attempts.

        Raises:
            SettingsError: one of them is not valid.
        """
        return clients.listen(
            self,
            clients.whom(user, channels, conn_id),
            since=since,
            silence=silence,
            first_pause=first_pause,
            longest_pause=longest_pause,
        )

    def call(self, request: Request[T]) -> T:
        """Send a request, and return what its answer says."""
        call = Call(self._config, request)
        while True:
            outcome = call.settle(self._threaded.send(call.attempt()))
            if isinstance(outcome, Done):
                return outcome.value
            time.sleep(outcome.seconds)

    def drive(self, steps: Steps) -> Begun:
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
                answer = self.call(request)
            except CallError as failure:
                error = failure

    def close(self) -> None:
        """Close the connections to the server. Later calls are an error."""
        self._threaded.close()

    def __enter__(self) -> Push:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
