"""What the server answers. The names are those of the wire; times without a zone are in UTC."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

#: The values of the state of a user: text, number, boolean or null.
Scalar = str | int | float | bool | None
UserState = dict[str, Any]

#: The status with which a growing message has ended.
FINAL: Final = frozenset({"done", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """The settings of a channel."""

    notify_presence: bool
    broadcast_presence_with_user_lists: bool
    notify_state: bool
    store_history: bool
    history_size: int
    store_frames: bool
    #: This and what follows is there only if it was set.
    frames_size: int | None = None
    append_as_edit: bool | None = None
    history_ttl: int | None = None


@dataclass(frozen=True, slots=True)
class PublishedMessage:
    """A message as the server has it."""

    uuid: str
    user: str
    channel: str | None
    pm_users: list[str]
    exclude_users: list[str]
    no_history: bool
    timestamp: datetime
    edited: datetime | None = None
    message: dict[str, Any] | None = None
    #: When it leaves all histories, if it was published with `expires`.
    expires_at: datetime | None = None
    #: Only of a message that was opened to grow: its status, and the number of its changes.
    status: str | None = None
    rev: int | None = None


@dataclass(frozen=True, slots=True)
class Posted(PublishedMessage):
    """A message as it was published, and what happened to it, which older servers do not tell."""

    #: The number of listeners that it was sent to at once.
    recipients: int | None = None
    #: Whether the history or the stored events keep it.
    stored: bool | None = None
    #: Its place in the order of all events.
    seq: str | None = None
    #: Why it went nowhere: `no address`, `no such channel` or `no such user`.
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class PastMessage(PublishedMessage):
    """A message of a history, as it is now."""

    #: Its place in the order of all events.
    seq: str = ""


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """A page of the history of a channel, oldest first."""

    messages: list[PastMessage]
    #: `since` of the next page; nothing if there are no more.
    next: str | None
    #: Why messages are missing: `evicted` or `epoch`.
    gap: str | None
    #: The place up to which everything was read: `since` for what comes later.
    cursor: str


@dataclass(frozen=True, slots=True)
class ChannelView:
    """A channel: its settings, and as much of its history and users as was asked for."""

    uuid: str
    name: str
    settings: ChannelSettings
    history: list[PublishedMessage]
    last_active: datetime
    total_connections: int
    total_users: int
    users: list[str]
    long_name: str | None = None
    history_length: int | None = None


@dataclass(frozen=True, slots=True)
class UserView:
    """A user, with the state that was asked for."""

    user: str
    state: UserState


@dataclass(frozen=True, slots=True)
class ChannelsInfo:
    """Channels by name, and their users."""

    channels: dict[str, ChannelView]
    users: list[UserView]


@dataclass(frozen=True, slots=True)
class Connected:
    """A new connection. Its id is a secret of its user: whoever has it can listen with it."""

    conn_id: str = field(repr=False)
    username: str
    state: UserState
    public_state: UserState
    channels: list[str]
    channels_info: ChannelsInfo
    #: The place of the new connection in the order of all events.
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The channels of a connection, and those that are new to it."""

    channels: list[str]
    channels_info: ChannelsInfo
    subscribed_to: list[str]


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """The channels of a connection, and those that it has left."""

    channels: list[str]
    channels_info: ChannelsInfo
    unsubscribed_from: list[str]


@dataclass(frozen=True, slots=True)
class Changed:
    """A key of the state of a user that has changed."""

    key: str
    value: Any


@dataclass(frozen=True, slots=True)
class UserStateSet:
    """The state of a user after a change."""

    user_state: UserState
    changed_state: list[Changed]
    public_keys: list[str]


@dataclass(frozen=True, slots=True)
class Taken:
    """What was done with an item that lets a growing message grow, or ends it."""

    uuid: str
    channel: str | None
    #: Whether it is done, now or by an earlier repeat.
    taken: bool
    reason: str | None = None
    #: The number of changes of the message so far.
    rev: int | None = None
    #: `open`, `stalled`, `done`, `failed` or `cancelled`.
    status: str | None = None
    #: The size of the payload in bytes of JSON.
    size: int | None = None
    #: The last step of the publisher, if steps are used.
    step: int | None = None

    @property
    def is_final(self) -> bool:
        """Whether the message has ended."""
        return self.status in FINAL


@dataclass(frozen=True, slots=True)
class Edited:
    """An edit, with its time. Status and rev are there if the message was opened to grow."""

    uuid: str
    channel: str | None
    edited: datetime | None = None
    pm_users: list[str] = field(default_factory=list)
    exclude_users: list[str] = field(default_factory=list)
    no_history: bool = False
    user: str | None = None
    message: dict[str, Any] | None = None
    timestamp: datetime | None = None
    status: str | None = None
    rev: int | None = None


@dataclass(frozen=True, slots=True)
class Deleted:
    """A removal, as it was asked for."""

    uuid: str
    channel: str | None
    pm_users: list[str] = field(default_factory=list)
    exclude_users: list[str] = field(default_factory=list)
    no_history: bool = False


@dataclass(frozen=True, slots=True)
class ChannelsDeleted:
    """Which channels were deleted, and which were not there."""

    deleted: list[str]
    unknown: list[str]


@dataclass(frozen=True, slots=True)
class ChannelEntry:
    """A channel in a list."""

    name: str
    users: int
    connections: int
    last_active: datetime


@dataclass(frozen=True, slots=True)
class ChannelList:
    """A page of the channels; `next` is `after` of the next page."""

    channels: list[ChannelEntry]
    next: str | None


@dataclass(frozen=True, slots=True)
class UserEntry:
    """A user in a list."""

    user: str
    connections: int


@dataclass(frozen=True, slots=True)
class UserList:
    """A page of the users; `next` is `after` of the next page."""

    users: list[UserEntry]
    next: str | None


@dataclass(frozen=True, slots=True)
class UserDisconnected:
    """How many connections of a user were ended, and for how many seconds it is refused."""

    user: str
    connections: int
    refused_for: int


@dataclass(frozen=True, slots=True)
class Reloaded:
    """The settings that have changed, those that need a restart, and what the server warns of."""

    changed: list[str]
    needs_restart: list[str]
    warnings: list[str]


@dataclass(frozen=True, slots=True)
class Metrics:
    """The metrics of a server: each a number, or numbers by label."""

    version: str
    metrics: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AdminUser:
    """A user with its connections, whose ids are its secrets."""

    user: str
    uuid: str
    state: UserState
    connections: list[str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class AdminStats:
    """The whole state of a server."""

    remembered_user_count: int
    unique_user_count: int
    total_connections: int
    total_channels: int
    total_messages: int
    total_unique_messages: int
    channels: dict[str, ChannelView]
    users: list[AdminUser]
    uptime: str
    version: str
