"""Client of the channelstream push server: signed, typed calls and growing messages.

from channelstream_push import Message, Push

push = Push("http://127.0.0.1:8000", "secret")
push.publish(Message("editor", {"text": "Hello!"}, channel="news"))

with push.stream("chat:42", user="bot", cancel_by=["ann"]) as out:
    for part in model():
        out.write(part)
"""

from .aio import AsyncPush
from .answers import (
    AdminStats,
    AdminUser,
    Changed,
    ChannelEntry,
    ChannelList,
    ChannelsDeleted,
    ChannelSettings,
    ChannelsInfo,
    ChannelView,
    Connected,
    Deleted,
    Edited,
    HistoryPage,
    Metrics,
    PastMessage,
    Posted,
    PublishedMessage,
    Reloaded,
    Subscribed,
    Taken,
    Unsubscribed,
    UserDisconnected,
    UserEntry,
    UserList,
    UserStateSet,
    UserView,
)
from .bulk import Published, PublishError
from .client import Push
from .errors import (
    AppendRefused,
    CallError,
    Cancelled,
    ClockSkew,
    Ended,
    ErrorKind,
    NotGrowing,
    Nowhere,
    PushError,
    SettingsError,
    StreamError,
    TakenOver,
    UnknownMessage,
)
from .growing.looped import AsyncMessageStream
from .growing.stream import MessageStream
from .requests import Append, ChannelConfig, Connect, Delete, Edit, InfoOptions, Message
from .retry import RetryPolicy

__all__ = [
    "AdminStats",
    "AdminUser",
    "Append",
    "AppendRefused",
    "AsyncMessageStream",
    "AsyncPush",
    "CallError",
    "Cancelled",
    "Changed",
    "ChannelConfig",
    "ChannelEntry",
    "ChannelList",
    "ChannelSettings",
    "ChannelView",
    "ChannelsDeleted",
    "ChannelsInfo",
    "ClockSkew",
    "Connect",
    "Connected",
    "Delete",
    "Deleted",
    "Edit",
    "Edited",
    "Ended",
    "ErrorKind",
    "HistoryPage",
    "InfoOptions",
    "Message",
    "MessageStream",
    "Metrics",
    "NotGrowing",
    "Nowhere",
    "PastMessage",
    "Posted",
    "PublishError",
    "Published",
    "PublishedMessage",
    "Push",
    "PushError",
    "Reloaded",
    "RetryPolicy",
    "SettingsError",
    "StreamError",
    "Subscribed",
    "Taken",
    "TakenOver",
    "UnknownMessage",
    "Unsubscribed",
    "UserDisconnected",
    "UserEntry",
    "UserList",
    "UserStateSet",
    "UserView",
]
