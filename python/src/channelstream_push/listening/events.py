"""Events: what a listener receives, typed (contract, sections 7 and 14)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args
from uuid import UUID

from channelstream_push.wire import loads

from .timestamps import parse_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

#: Whatever JSON can say.
Json: TypeAlias = Any

Status: TypeAlias = Literal["open", "stalled", "done", "failed", "cancelled"]
Action: TypeAlias = Literal["joined", "parted"]
Transport: TypeAlias = Literal["websocket", "event_stream"]

#: Why events may be missing. The server reports the first three. `unknown` stands for a reason of
#: a later version. The rest is what a listener assumes of a server that knows no cursors: a TCP
#: connection broke with what was in it, the catch-up is as long as what such a server stores, or
#: the connection had ended and was replaced with a new one.
GapReason: TypeAlias = Literal[
    "evicted", "epoch", "window", "unknown", "broken_transport", "full_catchup", "new_connection"
]

#: Why a listener ended: the server does not know the connection and nobody can make a new one, the
#: connection was ended on purpose, or another listener has taken it over.
EndReason: TypeAlias = Literal["unknown_connection", "disconnected", "superseded"]

_REPORTED_GAPS: Final[tuple[GapReason, ...]] = ("evicted", "epoch", "window")

#: Longer texts are no cursors, and would be sent with each request.
_LONGEST_CURSOR: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerEvent:
    """What the events of a server have in common."""

    #: The id of the message, for a message and what happens to it; otherwise that of the event.
    uuid: UUID
    #: The channel; `None` for what is private.
    channel: str | None
    #: The event was sent earlier, while nobody listened.
    catchup: bool = False
    #: The event as it was sent.
    raw: Mapping[str, Any] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message(ServerEvent):
    """A message was published, or comes again as it is now. It replaces what is known of its id."""

    user: str
    #: The payload: whatever JSON its publisher sent, or `None`.
    message: Any
    timestamp: datetime
    #: When it was edited last, if it arrives as catch-up.
    edited: datetime | None = None
    #: After that the server no longer has it.
    expires_at: datetime | None = None
    #: How far a growing message is; `None` for all others.
    status: Status | None = None
    rev: int | None = None

    @property
    def is_growing(self) -> bool:
        """Whether more of the message may follow."""
        return self.status in ("open", "stalled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit(ServerEvent):
    """A message was edited. What is `None` did not change."""

    user: str | None = None
    #: The whole new payload. `"message" in raw` says whether there is one, if it may be `None`.
    message: Any = None
    timestamp: datetime | None = None
    edited: datetime | None = None
    status: Status | None = None
    rev: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Append(ServerEvent):
    """A message has grown, or its status changed. `Messages` puts it where it belongs."""

    #: What goes behind the value of each key; empty if only the status changed.
    append: Mapping[str, str | list[Any]]
    #: The append counts only if this is the `rev` of the message that is known.
    from_rev: int
    #: The `rev` of the message after it.
    rev: int
    #: The status, if it changed.
    status: Status | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete(ServerEvent):
    """A message was deleted."""


@dataclass(frozen=True, slots=True)
class PresentUser:
    """A user that is in a channel, with its public state."""

    user: str
    state: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence(ServerEvent):
    """A user joined or left a channel."""

    user: str
    action: Action
    timestamp: datetime
    #: Who is present now, if the channel sends such lists.
    users: tuple[PresentUser, ...] = ()
    #: The public state of a user that joined.
    state: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ChangedKey:
    """A public key of a user's state that changed."""

    key: str
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class UserStateChange(ServerEvent):
    """The state of a user changed."""

    user: str
    timestamp: datetime
    #: The whole public state after the change.
    state: Mapping[str, Any]
    changed: tuple[ChangedKey, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownEvent:
    """An event of a kind that this version does not know, or without the fields of its kind."""

    type: str
    channel: str | None
    #: The event as it was sent; an object, as far as servers are known.
    raw: Any


@dataclass(frozen=True, slots=True)
class Gap:
    """Events may be missing here. What depends on all of them has to be loaded again."""

    reason: GapReason
    #: The channel; `None` for private messages, or for all if the server refused the cursor.
    channel: str | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """The listener is connected; catch-up follows."""

    #: Not in the repr: whoever has it can listen.
    conn_id: UUID = field(repr=False)
    transport: Transport


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A transport broke or could not be opened, or no connection could be made."""

    error: Exception
    #: The time in seconds until the next attempt.
    pause: float


@dataclass(frozen=True, slots=True)
class Ended:
    """The listener has ended. Nothing follows."""

    reason: EndReason
    #: What the server says about it, such as the reason of `disconnect_user`.
    text: str = ""


#: What the server reports.
Reported: TypeAlias = (
    Message | Edit | Append | Delete | Presence | UserStateChange | UnknownEvent | Gap
)

#: What a listener yields: what the server reports, and what becomes of the listener itself.
Event: TypeAlias = Reported | Opened | Interrupted | Ended


@dataclass(frozen=True, slots=True)
class Item:
    """An event, or only the place where a listener stands."""

    event: Event | None
    #: The cursor behind it, from a server that knows cursors.
    cursor: str | None = None


class MalformedError(Exception):
    """What was received is not what the protocol says. The text does not repeat it."""


def parse_list(text: str) -> list[Item]:
    """Parse a list of events as a websocket brings it. An empty one is a heartbeat.

    Raises:
        MalformedError: it is no list.
    """
    items = parse_json(text)
    if not isinstance(items, list):
        msg = "no list of events"
        raise MalformedError(msg)
    return [parse_item(item) for item in items]


def parse_json(text: str) -> Json:
    """Parse JSON of any depth and with any numbers.

    Raises:
        MalformedError: it is not JSON, or nested too deeply to be of this server.
    """
    try:
        return loads(text)
    except json.JSONDecodeError as error:
        msg = f"not JSON (at line {error.lineno}, column {error.colno})"
        raise MalformedError(msg) from None
    except RecursionError:
        msg = "JSON that is nested too deeply"
        raise MalformedError(msg) from None


def parse_item(raw: Json, seq: str | None = None) -> Item:
    """Parse one item of what a server sends. `seq` is its cursor, if that is not in the item."""
    if not isinstance(raw, dict):
        return Item(UnknownEvent(type="", channel=None, raw=raw), _cursor(seq))
    cursor = _cursor(seq if seq is not None else raw.get("seq"))
    kind, channel = raw.get("type"), raw.get("channel")
    if kind == "cursor" and cursor is not None:
        return Item(None, cursor)
    if kind == "gap" and isinstance(raw.get("reason"), str) and isinstance(channel, str | None):
        known = (reason for reason in _REPORTED_GAPS if reason == raw["reason"])
        return Item(Gap(next(known, "unknown"), channel), cursor)
    return Item(_event(raw), cursor)


def _cursor(seq: object) -> str | None:
    fits = isinstance(seq, str) and 0 < len(seq) <= _LONGEST_CURSOR and seq.isascii()
    return seq if fits and isinstance(seq, str) and seq.isprintable() else None


def _event(raw: dict[str, Any]) -> Reported:
    fields = _Fields(raw)
    make = _KINDS.get(fields.type)
    try:
        if make is not None:
            return make(fields)
    except _MisfitError:
        pass
    channel = raw.get("channel")
    return UnknownEvent(
        type=fields.type, channel=channel if isinstance(channel, str) else None, raw=raw
    )


class _MisfitError(Exception):
    """A field is not there, or of another type."""


class _Fields:
    """The fields of an event, each read with the type that it must have."""

    __slots__ = ("raw", "type")

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.raw = raw
        kind = raw.get("type")
        self.type = kind if isinstance(kind, str) else ""

    def common(self) -> dict[str, Any]:
        """The fields that all events of a server have."""
        try:
            uuid = UUID(self.text("uuid"))
        except ValueError:
            raise _MisfitError from None
        catchup = self.raw.get("catchup", False)
        if not isinstance(catchup, bool):
            raise _MisfitError
        channel = self.optional_text("channel")
        return {"uuid": uuid, "channel": channel, "catchup": catchup, "raw": self.raw}

    def growth(self) -> dict[str, Any]:
        """How far a message has grown: both fields or none."""
        status, rev = self.status(), self.raw.get("rev")
        if status is None or rev is None:
            return {}
        return {"status": status, "rev": self.number("rev")}

    def status(self) -> Status | None:
        status = self.raw.get("status")
        if status is not None and status not in get_args(Status):
            raise _MisfitError
        return status

    def text(self, key: str) -> str:
        value = self.raw.get(key)
        if not isinstance(value, str):
            raise _MisfitError
        return value

    def optional_text(self, key: str) -> str | None:
        return None if self.raw.get(key) is None else self.text(key)

    def number(self, key: str) -> int:
        value = self.raw.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise _MisfitError
        return value

    def time(self, key: str) -> datetime:
        time = parse_time(self.text(key))
        if time is None:
            raise _MisfitError
        return time

    def optional_time(self, key: str) -> datetime | None:
        return None if self.raw.get(key) is None else self.time(key)

    def object(self, key: str) -> Mapping[str, Any]:
        value = self.raw.get(key)
        if not isinstance(value, dict):
            raise _MisfitError
        return value

    def objects(self, key: str) -> list[_Fields]:
        value = self.raw.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise _MisfitError
        return [_Fields(item) for item in value]


def _message(fields: _Fields) -> Message:
    return Message(
        user=fields.text("user"),
        message=fields.raw.get("message"),
        timestamp=fields.time("timestamp"),
        edited=fields.optional_time("edited"),
        expires_at=fields.optional_time("expires_at"),
        **fields.growth(),
        **fields.common(),
    )


def _edit(fields: _Fields) -> Edit:
    return Edit(
        user=fields.optional_text("user"),
        message=fields.raw.get("message"),
        timestamp=fields.optional_time("timestamp"),
        edited=fields.optional_time("edited"),
        **fields.growth(),
        **fields.common(),
    )


def _append(fields: _Fields) -> Append:
    append = fields.object("append")
    if not all(isinstance(more, str | list) for more in append.values()):
        raise _MisfitError
    return Append(
        append=append,
        from_rev=fields.number("from"),
        rev=fields.number("rev"),
        status=fields.status(),
        **fields.common(),
    )


def _delete(fields: _Fields) -> Delete:
    return Delete(**fields.common())


def _presence(fields: _Fields) -> Presence:
    action: Action | None = fields.object("message").get("action")
    if action is None or action not in get_args(Action):
        raise _MisfitError
    users = fields.objects("users")
    return Presence(
        user=fields.text("user"),
        action=action,
        timestamp=fields.time("timestamp"),
        users=tuple(PresentUser(one.text("user"), one.object("state")) for one in users),
        state=None if fields.raw.get("state") is None else fields.object("state"),
        **fields.common(),
    )


def _user_state_change(fields: _Fields) -> UserStateChange:
    message = _Fields(fields.object("message"))
    changed = message.objects("changed")
    return UserStateChange(
        user=fields.text("user"),
        timestamp=fields.time("timestamp"),
        state=message.object("state"),
        changed=tuple(ChangedKey(one.text("key"), one.raw.get("value")) for one in changed),
        **fields.common(),
    )


_KINDS: Final[Mapping[str, Callable[[_Fields], Reported]]] = {
    "message": _message,
    "message:edit": _edit,
    "message:append": _append,
    "message:delete": _delete,
    "presence": _presence,
    "user_state_change": _user_state_change,
}
