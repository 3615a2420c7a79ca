"""The adapter by which `channelstream conformance` tests this client: `adapter.py async|sync`.

It reads orders from standard input, and writes what the client reports to standard output, as
docs/client-spec.md says.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import urllib.request
from typing import TYPE_CHECKING, Any

from channelstream_push import AsyncPush, CallError, Message, Push
from channelstream_push.errors import PushError
from channelstream_push.listening import (
    Append,
    AsyncListener,
    Delete,
    Edit,
    Ended,
    Event,
    Gap,
    Interrupted,
    Listener,
    Opened,
    Presence,
    Transport,
)
from channelstream_push.listening import Message as Received

if TYPE_CHECKING:
    from collections.abc import Callable

Order = dict[str, Any]

#: The kit's names of the transports.
TRANSPORTS: dict[str, Transport] = {"websocket": "websocket", "sse": "event_stream"}

#: Lines do not mix, whichever thread writes them.
_lock = threading.Lock()


def tell(event: str, **fields: object) -> None:
    with _lock:
        sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
        sys.stdout.flush()


def report(event: Event, cursor: str | None) -> None:
    """Tell what a listener yields."""
    match event:
        case Opened():
            tell("open")
        case Interrupted():
            tell("interrupted", error=str(event.error), pause=event.pause)
        case Ended():
            tell("ended", reason=event.reason)
        case Gap():
            tell("gap", channel=event.channel, reason=event.reason, cursor=cursor)
        case Received() | Edit() | Append() | Delete() | Presence():
            common = {"uuid": str(event.uuid), "channel": event.channel, "catchup": event.catchup}
            kind, fields = fields_of(event)
            tell(kind, **common, **fields, cursor=cursor)
        case _:
            tell("unknown", cursor=cursor)


def fields_of(event: Received | Edit | Append | Delete | Presence) -> tuple[str, Order]:
    match event:
        case Received():
            growth = {"status": event.status, "rev": event.rev}
            return "message", {"user": event.user, "message": event.message, **growth}
        case Edit():
            return "edited", {"message": event.message}
        case Append():
            rev = {"from": event.from_rev, "rev": event.rev, "status": event.status}
            return "appended", {"append": event.append, **rev}
        case Delete():
            return "deleted", {}
        case Presence():
            return "presence", {"user": event.user, "action": event.action}


def connect_at(url: str) -> str:
    """Ask the application for another connection."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, method="POST", data=b"{}"), timeout=10) as answer:
        conn_id: str = json.load(answer)["conn_id"]
        return conn_id


def settings(order: Order) -> dict[str, Any]:
    """What both listeners take."""
    return {
        "conn_id": order["conn_id"],
        "since": order["cursor"],
        **{key: order[key] for key in ("silence", "first_pause", "longest_pause")},
    }


def message_of(order: Order) -> Message:
    message = order["message"]
    return Message(message["user"], message["message"], channel=message["channel"])


def opening(order: Order) -> dict[str, Any]:
    """What opens a growing message."""
    return {key: order["message"][key] for key in ("channel", "user", "message")}


def failed(order: Order, error: PushError) -> None:
    in_doubt = error.is_in_doubt if isinstance(error, CallError) else True
    tell("failed", id=order["id"], in_doubt=in_doubt, error=str(error))


async def run_async() -> None:
    """Follow the orders with the clients for event loops."""
    orders: asyncio.Queue[Order | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    read(lambda order: loop.call_soon_threadsafe(orders.put_nowait, order))
    pushes: dict[str, AsyncPush] = {}
    tasks: set[asyncio.Task[None]] = set()
    while (order := await orders.get()) is not None:
        if order["do"] == "listen":
            tasks.add(asyncio.create_task(listen_async(order)))
        else:
            push = pushes.setdefault(order["url"], AsyncPush(order["url"], order["secret"]))
            try:
                if order["do"] == "grow":
                    async with push.stream(**opening(order)) as growing:
                        for piece in order["pieces"]:
                            await growing.write(piece)
                    tell("published", id=order["id"])
                    continue
                [sent] = await push.publish(message_of(order))
                tell("published", id=order["id"], uuid=str(sent.uuid))
            except PushError as error:
                failed(order, error)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def listen_async(order: Order) -> None:
    url = order["connect_url"]

    async def connect() -> str:
        return await asyncio.to_thread(connect_at, url)

    events = AsyncListener(
        order["url"],
        connect if url else None,
        transports=[TRANSPORTS[name] for name in order["transports"] if name in TRANSPORTS],
        **settings(order),
    )
    async with events:
        async for event in events:
            report(event, events.cursor)


def run_sync() -> None:
    """Follow the orders with the clients for threads."""
    pushes: dict[str, Push] = {}
    has_stopped = threading.Event()

    def follow(order: Order | None) -> None:
        if order is None:
            has_stopped.set()
        elif order["do"] == "listen":
            threading.Thread(target=listen_sync, args=(order,), daemon=True).start()
        else:
            push = pushes.setdefault(order["url"], Push(order["url"], order["secret"]))
            try:
                if order["do"] == "grow":
                    with push.stream(**opening(order)) as growing:
                        for piece in order["pieces"]:
                            growing.write(piece)
                    tell("published", id=order["id"])
                    return
                [sent] = push.publish(message_of(order))
                tell("published", id=order["id"], uuid=str(sent.uuid))
            except PushError as error:
                failed(order, error)

    read(follow)
    has_stopped.wait()


def listen_sync(order: Order) -> None:
    url = order["connect_url"]
    connect = (lambda: connect_at(url)) if url else None
    with Listener(order["url"], connect, **settings(order)) as events:
        for event in events:
            report(event, events.cursor)


def read(follow: Callable[[Order | None], object]) -> None:
    """Follow the orders on standard input in a thread, and `None` at their end."""

    def lines() -> None:
        for line in sys.stdin:
            order = json.loads(line)
            if order["do"] == "stop":
                break
            follow(order)
        follow(None)

    threading.Thread(target=lines, daemon=True).start()


if __name__ == "__main__":
    if sys.argv[1:] == ["async"]:
        asyncio.run(run_async())
    elif sys.argv[1:] == ["sync"]:
        run_sync()
    else:
        sys.exit("usage: adapter.py async|sync")
    # A listener that blocks its thread does not notice the end of the program.
    os._exit(0)
