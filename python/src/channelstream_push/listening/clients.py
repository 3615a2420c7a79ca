"""Listeners of a client, which makes their connections with the secret that it has."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from channelstream_push.errors import SettingsError
from channelstream_push.requests import Connect, new_id

from .listener import AsyncListener
from .sync_listener import Listener

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from channelstream_push.aio import AsyncPush
    from channelstream_push.answers import Connected
    from channelstream_push.client import Push

    from .events import Transport


def listen(
    push: Push,
    who: Connect | UUID | str,
    *,
    since: str | None = None,
    silence: float = 15.0,
    first_pause: float = 0.25,
    longest_pause: float = 30.0,
) -> Listener:
    """Listen in this thread, over the proxy and with the certificates of the client.

    Args:
        push: The client.
        who: The user and its channels, for whom a connection is made now, and again when it has
            ended; or the id of a connection that is there.
        since: The cursor to go on from.
        silence: See `AsyncListener`, as for the others.
        first_pause: The seconds after a first failure.
        longest_pause: The most seconds between two attempts.

    Raises:
        SettingsError: one of them is not valid.
    """

    def connect() -> Connected:
        return push.call(_anew(who))

    return Listener(
        push._network,  # noqa: SLF001 - the client and its listeners are one package
        connect if isinstance(who, Connect) else None,
        conn_id=None if isinstance(who, Connect) else who,
        since=since,
        silence=silence,
        first_pause=first_pause,
        longest_pause=longest_pause,
        user_agent=push._config.user_agent,  # noqa: SLF001
    )


def alisten(
    push: AsyncPush,
    who: Connect | UUID | str,
    *,
    since: str | None = None,
    transports: Sequence[Transport] | None = None,
    silence: float = 15.0,
    first_pause: float = 0.25,
    longest_pause: float = 30.0,
) -> AsyncListener:
    """Listen in an event loop, over the proxy and with the certificates of the client.

    Args:
        push: The client.
        who: The user and its channels, for whom a connection is made now, and again when it has
            ended; or the id of a connection that is there.
        since: The cursor to go on from.
        transports: See `AsyncListener`, as for the others.
        silence: The seconds without events and heartbeats after which a TCP connection is dead.
        first_pause: The seconds after a first failure.
        longest_pause: The most seconds between two attempts.

    Raises:
        SettingsError: one of them is not valid.
    """

    async def connect() -> Connected:
        return await push.call(_anew(who))

    return AsyncListener(
        push._network,  # noqa: SLF001
        connect if isinstance(who, Connect) else None,
        conn_id=None if isinstance(who, Connect) else who,
        since=since,
        transports=transports,
        silence=silence,
        first_pause=first_pause,
        longest_pause=longest_pause,
        user_agent=push._config.user_agent,  # noqa: SLF001
    )


def whom(
    user: str | Connect | None, channels: Sequence[str], conn_id: UUID | str | None
) -> Connect | UUID | str:
    """Return for whom to listen.

    Raises:
        SettingsError: it is not one of a user and a connection.
    """
    if (user is None) == (conn_id is None):
        raise SettingsError("a listener is for a user, or for the connection conn_id")
    if channels and not isinstance(user, str):
        raise SettingsError("the channels of a Connect, and of a connection, are its own")
    if isinstance(user, str):
        return Connect(user, channels=channels)
    return user or conn_id or ""


def _anew(who: Connect | UUID | str) -> Connect:
    """Return the request with another id, so that no ended connection comes back to life."""
    if not isinstance(who, Connect):
        raise TypeError("a connection is made for a user, not for an id")
    return replace(who, conn_id=new_id())
