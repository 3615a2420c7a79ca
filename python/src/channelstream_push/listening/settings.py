"""Settings of a listener, and what a program gives it to make connections with."""

from __future__ import annotations

import importlib.util
import random
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable
from uuid import UUID

from channelstream_push.errors import SettingsError

from .reconnector import Backoff, Reconnector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .events import Transport

_TRANSPORTS: Final[tuple[Transport, ...]] = ("websocket", "event_stream")

#: The most seconds of a setting.
_DAY: Final = 86_400.0


@runtime_checkable
class HasConnection(Protocol):
    """The answer to `/connect`, as far as a listener needs it. It may have a `cursor`, too."""

    @property
    def conn_id(self) -> Any:  # noqa: ANN401 - a `UUID` or a text
        """The id of the connection."""


def prepared(
    *,
    conn_id: UUID | str | None,
    can_renew: bool,
    since: str | None,
    transports: Sequence[Transport] | None,
    silence: float,
    first_pause: float,
    longest_pause: float,
) -> Reconnector:
    """Return the state machine of a listener with these settings.

    Raises:
        SettingsError: one of them is not valid, or websockets are wanted and not installed.
    """
    chosen = _available() if transports is None else tuple(dict.fromkeys(transports))
    if not chosen or not set(chosen) <= set(_TRANSPORTS):
        raise SettingsError(f"the transports are some of {', '.join(_TRANSPORTS)}")
    if "websocket" in chosen and "websocket" not in _available():
        raise SettingsError("websockets need: pip install 'channelstream-push[websocket]'")
    if not 0 < silence <= _DAY:
        raise SettingsError("the silence is a number of seconds above zero, and a day at most")
    if not 0 < first_pause <= longest_pause <= _DAY:
        raise SettingsError("the first pause is above zero, and the longest one not shorter")
    if conn_id is None and not can_renew:
        raise SettingsError("a listener needs a connection, or a function that makes one")
    try:
        known = None if conn_id is None else read_connection(conn_id)[0]
    except (TypeError, ValueError) as error:
        raise SettingsError(str(error)) from None
    return Reconnector(
        transports=chosen,
        backoff=Backoff(first_pause, longest_pause),
        random=random.SystemRandom().random,
        conn_id=known,
        can_renew=can_renew,
        since=since or None,
    )


def _available() -> tuple[Transport, ...]:
    if importlib.util.find_spec("websockets") is None:
        return ("event_stream",)
    return _TRANSPORTS


def read_connection(made: HasConnection | UUID | str) -> tuple[UUID, str | None]:
    """Return the id of a connection that a program has made, and the cursor where it begins.

    Raises:
        TypeError: it has no id.
        ValueError: its id is none.
    """
    conn_id = made.conn_id if isinstance(made, HasConnection) else made
    cursor = getattr(made, "cursor", None)
    if isinstance(conn_id, str):
        try:
            conn_id = UUID(conn_id)
        except ValueError:
            conn_id = None
        if conn_id is None:
            raise ValueError("the id of the connection is no UUID")
    if not isinstance(conn_id, UUID):
        raise TypeError(f"a {type(made).__name__} is no connection, and has no conn_id")
    return conn_id, cursor if isinstance(cursor, str) else None
