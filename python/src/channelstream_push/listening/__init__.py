"""Listening: the events of a connection, by an iterator that reconnects by itself.

from channelstream_push import AsyncPush
from channelstream_push.listening import Gap, Message

async with AsyncPush("http://127.0.0.1:8000", "secret") as push:
    async with push.listen("robot", channels=["news"]) as events:
        async for event in events:
            match event:
                case Message():
                    print(event.user, event.message)
                case Gap():
                    print("something may be missing in", event.channel)

* `push.listen` listens for a client, which makes the connections; `listen` and `alisten` are the
  same as functions. `AsyncListener` and `Listener` need no secret: a function of the program makes
  the connections, or asks a backend.
* `events.cursor`, stored after an event is dealt with, is `since` of the next start of the program.
* `Messages` puts edits and appends where they belong: messages as they stand.
* Websockets need the package `websockets`: `pip install 'channelstream-push[websocket]'`. It is an
  extra, because an event stream brings the same events as fast with httpx alone. Where it is there,
  websockets come first, and event streams where a proxy blocks them.
* `Listener` blocks its thread on an event stream. It needs no other thread, queue or event loop,
  and what it does not take waits on the server.
* An event of an unknown kind is an `UnknownEvent`. Malformed bytes are an `Interrupted`.
"""

from __future__ import annotations

from .clients import alisten, listen
from .events import (
    Action,
    Append,
    ChangedKey,
    Delete,
    Edit,
    Ended,
    EndReason,
    Event,
    Gap,
    GapReason,
    Interrupted,
    Message,
    Opened,
    Presence,
    PresentUser,
    ServerEvent,
    Status,
    Transport,
    UnknownEvent,
    UserStateChange,
)
from .listener import AsyncListener
from .messages import Messages
from .settings import HasConnection
from .sync_listener import Listener

__all__ = [
    "Action",
    "Append",
    "AsyncListener",
    "ChangedKey",
    "Delete",
    "Edit",
    "EndReason",
    "Ended",
    "Event",
    "Gap",
    "GapReason",
    "HasConnection",
    "Interrupted",
    "Listener",
    "Message",
    "Messages",
    "Opened",
    "Presence",
    "PresentUser",
    "ServerEvent",
    "Status",
    "Transport",
    "UnknownEvent",
    "UserStateChange",
    "alisten",
    "listen",
]
