"""`TestPush`: what a test asks of the server that its code pushes to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from channelstream_push.client import Push
from channelstream_push.errors import PushError
from channelstream_push.requests import ChannelConfig

from .advance import Advance
from .listener import PATIENCE, TestListener
from .server import SECRET

if TYPE_CHECKING:
    from datetime import datetime
    from types import TracebackType

    from typing_extensions import Self

    from channelstream_push.answers import PastMessage

    from .server import TestServer


class UnknownChannelError(PushError, LookupError):
    """There is no such channel, so that what is published to it goes nowhere."""


class TestPush:
    """A server that has nothing in it yet, for one test."""

    #: For pytest, which would take it for tests.
    __test__ = False

    def __init__(self, server: TestServer) -> None:
        """Ask a server that runs."""
        #: The address of the server, for the code under test.
        self.url = server.url
        #: The secret of the server, for the code under test.
        self.secret = SECRET
        #: A client with all calls.
        self.client = Push(server.url, SECRET, trust_env=False)
        self._server = server
        self._listeners: list[TestListener] = []

    @property
    def log(self) -> str:
        """What the server has logged."""
        return self._server.log

    def channel(self, name: str, config: ChannelConfig | None = None) -> None:
        """Create a channel, or change its settings. Messages to it are kept for `published`."""
        self.client.channel_config({name: config or ChannelConfig()})

    def published(self, channel: str) -> list[PastMessage]:
        """Return the messages of a channel, oldest first, as they are now.

        Each has `user`, `message` (the payload), `uuid` and `timestamp`. Deleted and expired ones
        are not among them.

        Raises:
            UnknownChannelError: there is no such channel.
            ValueError: the code under test said that the channel keeps no messages.
        """
        info = self.client.info(channels=[channel])
        if channel not in info.channels:
            raise UnknownChannelError(
                f"there is no channel {channel!r}: a message to it goes nowhere. A user who "
                f"connects to it creates it, or push.channel({channel!r})"
            )
        if not info.channels[channel].settings.store_history:
            raise ValueError(f"{channel!r} has store_history=False: ask a push.listener instead")
        messages: list[PastMessage] = []
        since: str | None = None
        while True:
            page = self.client.history(channel, since=since, limit=1000)
            messages += page.messages
            if page.next is None:
                return messages
            since = page.next

    def listener(self, user: str, *channels: str, patience: float = PATIENCE) -> TestListener:
        """Connect a user to channels, which are created if new, and listen. It is listening now.

        Raises:
            CallError: the server refuses it.
        """
        conn_id = self.client.connect(user, channels=channels).conn_id
        return self.listen(conn_id, patience=patience)

    def listen(self, conn_id: str, *, patience: float = PATIENCE) -> TestListener:
        """Listen with a connection that the code under test has made.

        Raises:
            TimeoutError: the server does not know it.
        """
        listener = TestListener(self.client, self.url, conn_id, patience)
        self._listeners.append(listener)
        return listener

    def advance(self, *, seconds: float) -> datetime:
        """Let time pass on the server: what is due by then happens now, and listeners are told.

        Connections without a listener end after 15 seconds, users are forgotten after a day,
        channels after three; messages expire, and growing ones stall. Heartbeats and the time-outs
        of requests go by the clock of the machine.

        Returns:
            How late it is on the server.

        Raises:
            CallError: it is less than nothing, or more than a year.
        """
        return self.client.call(Advance(seconds)).now

    def close(self) -> None:
        """Close the listeners and the client."""
        for listener in self._listeners:
            listener.abandon()
        self.client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
