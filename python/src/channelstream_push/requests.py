"""What a backend asks of the server: one dataclass for each call, which knows how it is answered.

The names are those of the wire. What is none is not sent, so that the server's default counts.
"""

from __future__ import annotations

import re
import uuid as uuids
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from . import answers, endpoints
from .errors import SettingsError
from .wire import WrongAnswerError, from_each, from_json, read, to_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from .answers import Scalar
    from .endpoints import Endpoint

T = TypeVar("T")

#: An id, as a text or as a value.
Id = str | uuids.UUID


def new_id() -> str:
    """Return a new random id."""
    return str(uuids.uuid4())


def checked_key(key: str) -> str:
    """Return an idempotency key.

    Raises:
        SettingsError: it cannot stand in a header.
    """
    if not re.fullmatch(r"[!#-\[\]-~]{1,255}", key):
        msg = "an idempotency key is 1 to 255 visible ASCII characters, no quotes or backslashes"
        raise SettingsError(msg)
    return key


class Request(Generic[T]):
    """A call of the server, answered by a `T`."""

    __slots__ = ()
    endpoint: ClassVar[Endpoint]
    #: The type of the answer.
    answer: ClassVar[Any]

    def body(self) -> bytes:
        """Return the body of the request; empty for none."""
        return to_json(self)

    @property
    def key(self) -> str | None:
        """The key by which the server recognizes repeats; none for a new one of each call."""
        return None

    def read(self, content: bytes) -> T:
        """Read the body of the answer.

        Raises:
            WrongAnswerError: it is not what the protocol says.
        """
        value: T = from_json(self.answer, content)
        return value

    @property
    def doubles(self) -> bool:
        """Whether carrying it out twice does the work twice, on a server without keys."""
        return False

    @property
    def doubles_without_key(self) -> bool:
        """The same of a request that has no key, by which a server could recognize a repeat."""
        return self.doubles


@dataclass(frozen=True, slots=True)
class ChannelConfig:
    """Some settings of a channel. For the others the defaults of the channel count."""

    _: KW_ONLY
    #: Send an event when a user joins or leaves the channel, with the users present or without.
    notify_presence: bool | None = None
    broadcast_presence_with_user_lists: bool | None = None
    #: Send an event when the state of a user in the channel changes.
    notify_state: bool | None = None
    #: Keep messages, and how many of them.
    store_history: bool | None = None
    history_size: int | None = None
    #: Store events for clients that are away for a moment, and how many of them.
    store_frames: bool | None = None
    frames_size: int | None = None
    #: Send `message:edit` with the whole payload of a growing message instead of appends.
    append_as_edit: bool | None = None
    #: The seconds after which messages and stored events leave the channel; 0 for never.
    history_ttl: int | None = None


@dataclass(frozen=True, slots=True)
class InfoOptions:
    """What an answer tells of channels."""

    _: KW_ONLY
    #: All if absent.
    channels: Sequence[str] | None = None
    exclude_channels: Sequence[str] | None = None
    include_history: bool | None = None
    include_history_length: bool | None = None
    include_users: bool | None = None
    #: The public state of users instead of the whole.
    return_public_state: bool | None = None


@dataclass(frozen=True, slots=True)
class Connect(Request[answers.Connected]):
    """Create a connection for a user, who is created if new, and join channels with it.

    Give `conn_id` of the answer to the browser, which listens with it. It is a secret of its user.
    """

    username: str
    _: KW_ONLY
    channels: Sequence[str] = ()
    #: A new one is made here, so that a repeat does not create a second connection.
    conn_id: Id = field(default_factory=new_id, repr=False)
    #: The state of a user that is new.
    fresh_user_state: Mapping[str, Scalar] | None = None
    #: The keys of the state to set.
    user_state: Mapping[str, Scalar] | None = None
    #: The keys of the state that others see; none if absent.
    state_public_keys: Sequence[str] | None = None
    #: The settings of channels that are new.
    channel_configs: Mapping[str, ChannelConfig] | None = None
    info: InfoOptions | None = None

    endpoint = endpoints.CONNECT
    answer = answers.Connected


@dataclass(frozen=True, slots=True)
class Subscribe(Request[answers.Subscribed]):
    """Add a connection to channels, which are created if new."""

    conn_id: Id = field(repr=False)
    channels: Sequence[str]
    _: KW_ONLY
    channel_configs: Mapping[str, ChannelConfig] | None = None
    info: InfoOptions | None = None

    endpoint = endpoints.SUBSCRIBE
    answer = answers.Subscribed


@dataclass(frozen=True, slots=True)
class Unsubscribe(Request[answers.Unsubscribed]):
    """Remove a connection from channels; those that it is not in are passed over."""

    conn_id: Id = field(repr=False)
    channels: Sequence[str]
    _: KW_ONLY
    info: InfoOptions | None = None

    endpoint = endpoints.UNSUBSCRIBE
    answer = answers.Unsubscribed


@dataclass(frozen=True, slots=True)
class SetUserState(Request[answers.UserStateSet]):
    """Set keys of the state of a user, and which of them others see."""

    user: str
    user_state: Mapping[str, Scalar]
    _: KW_ONLY
    #: Unchanged if absent.
    state_public_keys: Sequence[str] | None = None

    endpoint = endpoints.USER_STATE
    answer = answers.UserStateSet


@dataclass(frozen=True, slots=True)
class Message:
    """A message to a channel, to some users of a channel, or to users wherever they are."""

    user: str
    message: Mapping[str, Any] | None
    _: KW_ONLY
    channel: str | None = None
    pm_users: Sequence[str] = ()
    exclude_users: Sequence[str] = ()
    no_history: bool = False
    #: An id of its own lets receivers recognize a repeat.
    uuid: Id | None = None
    timestamp: datetime | None = None
    #: The seconds after which it is in no history.
    expires: int | None = None
    #: `open` for a message that grows; the other two are for such a message.
    status: str | None = None
    append_timeout: int | None = None
    cancel_by: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Publish(Request[list[answers.Posted]]):
    """Send messages, in this order and in one request.

    A message to a channel or user that does not exist is not an error, since nobody was there to
    receive it: `problem` of its answer says so.
    """

    messages: tuple[Message, ...]
    idempotency_key: str | None = None

    endpoint = endpoints.MESSAGE
    answer = list[answers.Posted]

    @classmethod
    def of(cls, *messages: Message, idempotency_key: str | None = None) -> Publish:
        """Send messages, in this order and in one request.

        Args:
            messages: What is sent.
            idempotency_key: Up to 255 visible ASCII characters, the same for the same messages: for
                ten minutes (the server's `idempotency_window`) another call with it, in this
                program or another, publishes nothing and returns the first answer.

        Raises:
            SettingsError: the key is not valid.
        """
        return cls(messages, None if idempotency_key is None else checked_key(idempotency_key))

    @property
    def key(self) -> str | None:
        """The key that the caller has chosen."""
        return self.idempotency_key

    def body(self) -> bytes:
        """Return the messages as a list."""
        return to_json(self.messages)

    def read(self, content: bytes) -> list[answers.Posted]:
        """Read the answers, one for each message."""
        posted: list[answers.Posted] = from_each(self.answer, content, self.messages)
        return posted

    @property
    def doubles(self) -> bool:
        """Whether a repeat cannot be recognized by the ids."""
        return any(message.uuid is None for message in self.messages)

    @property
    def doubles_without_key(self) -> bool:
        """Whether a repeat is stored again: ids are unique only of messages that grow."""
        return self.doubles or any(message.status != "open" for message in self.messages)


@dataclass(frozen=True, slots=True)
class Edit:
    """The change of a message that was published before, found by its id and address."""

    uuid: Id
    message: Mapping[str, Any] | None = None
    _: KW_ONLY
    channel: str | None = None
    pm_users: Sequence[str] = ()
    exclude_users: Sequence[str] = ()
    no_history: bool = False
    user: str | None = None
    timestamp: datetime | None = None
    edited: datetime | None = None


@dataclass(frozen=True, slots=True)
class Append:
    """More of a growing message, or its end. Without both it shows that the publisher lives."""

    uuid: Id
    #: Texts and lists, each for the value of a key or of a JSON Pointer such as `/parts/0/text`.
    append: Mapping[str, str | Sequence[Any]] | None = None
    _: KW_ONLY
    channel: str | None = None
    #: `done`, `cancelled` or `failed`.
    status: str | None = None
    #: The publisher's own count of items, from 1. An item with a step is taken once.
    step: int | None = None


@dataclass(frozen=True, slots=True)
class Change(Request[list["answers.Taken | answers.Edited"]]):
    """Change messages, in this order and in one request: edits, and items of growing messages.

    An item that the server does not take is no error; `taken` of its answer is false.
    """

    changes: tuple[Edit | Append, ...]

    endpoint = endpoints.MESSAGE_EDIT

    @classmethod
    def of(cls, *changes: Edit | Append) -> Change:
        """Change messages, in this order and in one request."""
        return cls(changes)

    def body(self) -> bytes:
        """Return the changes as a list. An append that is empty says that the publisher lives."""
        return to_json([_showing_life(change) for change in self.changes])

    def read(self, content: bytes) -> list[answers.Taken | answers.Edited]:
        """Read the answers, one for each change."""
        items = from_each(list[dict[str, Any]], content, self.changes)
        kinds = [answers.Taken if "taken" in item else answers.Edited for item in items]
        return [
            read(kind, item, f"[{at}]")
            for at, (kind, item) in enumerate(zip(kinds, items, strict=True))
        ]

    @property
    def doubles(self) -> bool:
        """Whether an append would be appended twice."""
        return any(
            isinstance(change, Append) and bool(change.append) and change.step is None
            for change in self.changes
        )


@dataclass(frozen=True, slots=True)
class AppendOne(Append, Request[answers.Taken]):
    """Let a growing message grow, or end it. Without both it shows that the publisher lives.

    If the server does not take it, `taken` of the answer is false.
    """

    endpoint = endpoints.MESSAGE_EDIT

    def body(self) -> bytes:
        """Return the item as a list of one."""
        return Change.of(self).body()

    def read(self, content: bytes) -> answers.Taken:
        """Read the answer to the one item."""
        (answer,) = Change.of(self).read(content)
        if not isinstance(answer, answers.Taken):
            msg = "not that of an append"
            raise WrongAnswerError(msg)
        return answer

    @property
    def doubles(self) -> bool:
        """Whether it would be appended twice."""
        return Change.of(self).doubles


def _showing_life(change: Edit | Append) -> Edit | Append:
    if isinstance(change, Append) and change.append is None and change.status is None:
        return replace(change, append={})
    return change


@dataclass(frozen=True, slots=True)
class EditMessages(Request[list[answers.Edited]]):
    """Change messages that were published before, where they are stored, and notify the listeners.

    The answer does not say whether a message was found.
    """

    edits: tuple[Edit, ...]

    endpoint = endpoints.MESSAGE_EDIT
    answer = list[answers.Edited]

    @classmethod
    def of(cls, *edits: Edit) -> EditMessages:
        """Change messages that were published before."""
        return cls(edits)

    def body(self) -> bytes:
        """Return the edits as a list."""
        return to_json(self.edits)

    def read(self, content: bytes) -> list[answers.Edited]:
        """Read the answers, one for each edit."""
        edited: list[answers.Edited] = from_each(self.answer, content, self.edits)
        return edited


@dataclass(frozen=True, slots=True)
class Delete:
    """The removal of a message that was published before."""

    uuid: Id
    _: KW_ONLY
    channel: str | None = None
    pm_users: Sequence[str] = ()
    exclude_users: Sequence[str] = ()
    no_history: bool = False


@dataclass(frozen=True, slots=True)
class DeleteMessages(Request[list[answers.Deleted]]):
    """Remove messages that were published before, and notify the listeners."""

    deletes: tuple[Delete, ...]

    endpoint = endpoints.MESSAGE_DELETE
    answer = list[answers.Deleted]

    @classmethod
    def of(cls, *deletes: Delete) -> DeleteMessages:
        """Remove messages that were published before."""
        return cls(deletes)

    def body(self) -> bytes:
        """Return the removals as a list."""
        return to_json(self.deletes)

    def read(self, content: bytes) -> list[answers.Deleted]:
        """Read the answers, one for each removal."""
        deleted: list[answers.Deleted] = from_each(self.answer, content, self.deletes)
        return deleted


@dataclass(frozen=True, slots=True)
class Cancel(Request[answers.Taken]):
    """Cancel a growing message for the user of a connection, whom its publisher allowed to."""

    conn_id: Id = field(repr=False)
    uuid: Id

    endpoint = endpoints.CANCEL
    answer = answers.Taken


@dataclass(frozen=True, slots=True)
class Configure(Request[answers.ChannelsInfo]):
    """Set all settings of channels, which are created if new.

    What a config leaves out returns to the channel's default. Without a config, a channel that is
    there stays as it is.
    """

    channels: Mapping[str, ChannelConfig | None]

    endpoint = endpoints.CHANNEL_CONFIG
    answer = answers.ChannelsInfo

    def body(self) -> bytes:
        """Return the settings by the names of channels."""
        return to_json(dict(self.channels))


@dataclass(frozen=True, slots=True)
class Info(InfoOptions, Request[answers.ChannelsInfo]):
    """Ask for channels, their users and histories. Unknown channels are left out."""

    endpoint = endpoints.INFO
    answer = answers.ChannelsInfo

    def body(self) -> bytes:
        """Return the options in their place."""
        return b'{"info":' + to_json(self) + b"}"


@dataclass(frozen=True, slots=True)
class ReadHistory(Request[answers.HistoryPage]):
    """Read a page of the history of a channel, oldest first."""

    channel: str
    _: KW_ONLY
    #: Only messages behind this place: `next` of the page before, or the cursor of any event.
    since: str | None = None
    #: At most 1000; 100 if absent.
    limit: int | None = None

    endpoint = endpoints.HISTORY
    answer = answers.HistoryPage


@dataclass(frozen=True, slots=True)
class ListChannels(Request[answers.ChannelList]):
    """List channels by name, a page at a time."""

    _: KW_ONLY
    #: Only names behind this one: `next` of the page before.
    after: str | None = None
    prefix: str | None = None
    #: At most 1000; 100 if absent.
    limit: int | None = None

    endpoint = endpoints.LIST_CHANNELS
    answer = answers.ChannelList


@dataclass(frozen=True, slots=True)
class ListUsers(Request[answers.UserList]):
    """List users by name, a page at a time."""

    _: KW_ONLY
    #: Only names behind this one: `next` of the page before.
    after: str | None = None
    prefix: str | None = None
    #: At most 1000; 100 if absent.
    limit: int | None = None
    #: Only users with a connection.
    connected: bool | None = None

    endpoint = endpoints.LIST_USERS
    answer = answers.UserList


@dataclass(frozen=True, slots=True)
class DeleteChannels(Request[answers.ChannelsDeleted]):
    """Delete channels with their history and stored events; all members leave."""

    channels: Sequence[str]

    endpoint = endpoints.CHANNELS_DELETE
    answer = answers.ChannelsDeleted


@dataclass(frozen=True, slots=True)
class Disconnect(Request[bool]):
    """End a connection; its listener is closed within a second. Whether it was known."""

    conn_id: Id = field(repr=False)

    endpoint = endpoints.DISCONNECT
    answer = bool


@dataclass(frozen=True, slots=True)
class DisconnectUser(Request[answers.UserDisconnected]):
    """End all connections of a user at once, and refuse new ones for a while."""

    user: str
    _: KW_ONLY
    #: For the user, at most 123 characters.
    reason: str | None = None
    #: Seconds; 0 lets the user in again; unchanged if absent.
    refuse_for: int | None = None

    endpoint = endpoints.DISCONNECT_USER
    answer = answers.UserDisconnected


@dataclass(frozen=True, slots=True)
class Reload(Request[answers.Reloaded]):
    """Let the server read its settings again. If anything is wrong with them, nothing changes."""

    endpoint = endpoints.RELOAD
    answer = answers.Reloaded


class _Bare:
    """A request without a body."""

    __slots__ = ()

    def body(self) -> bytes:
        return b""


@dataclass(frozen=True, slots=True)
class ReadMetrics(_Bare, Request[answers.Metrics]):
    """Read the metrics of the server, such as `listeners`. This costs it nearly nothing."""

    endpoint = endpoints.METRICS
    answer = answers.Metrics


@dataclass(frozen=True, slots=True)
class ReadAdminStats(_Bare, Request[answers.AdminStats]):
    """Read the whole state of the server. With many channels the answer is large."""

    endpoint = endpoints.ADMIN_STATS
    answer = answers.AdminStats


@dataclass(frozen=True, slots=True)
class ReadDebugText(_Bare, Request[str]):
    """Read the metrics as text; the version is in its first line."""

    endpoint = endpoints.DEBUG

    def read(self, content: bytes) -> str:
        """Return the text."""
        return content.decode(errors="replace")
