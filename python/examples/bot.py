"""A bot that listens to a channel and answers every message with one that grows, word by word.

It survives broken TCP connections, restarts of the server, and its own: where it was is in a file.

    python3 -m pip install './python[websocket]'
    python3 python/examples/bot.py news

CHANNELSTREAM_URL and CHANNELSTREAM_SECRET set the address and the secret of the server, and
BOT_CURSOR the file. Ctrl-C ends it, and SIGTERM does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

from channelstream_push import AsyncPush
from channelstream_push.listening import Ended, Gap, Interrupted, Message, Messages, Opened

NAME = "bot"


async def run(channel: str, file: Path) -> None:
    """Answer the messages of a channel until the bot is stopped."""
    url = os.environ.get("CHANNELSTREAM_URL", "http://127.0.0.1:8000")
    secret = os.environ.get("CHANNELSTREAM_SECRET", "secret")
    # Messages of others may grow: they are answered when they are whole.
    messages = Messages()
    async with (
        AsyncPush(url, secret) as push,
        # The listener makes its connection by itself, now and whenever the server has lost it.
        push.listen(NAME, channels=[channel], since=load(file)) as events,
    ):
        async for event in events:
            match event:
                case Opened():
                    print(f"listening by {event.transport}", flush=True)
                case Gap():
                    print(f"something may be missing: {event.reason}", flush=True)
                case Interrupted():
                    print(f"{event.error}; again in {event.pause:.1f} s", flush=True)
                case Ended():
                    print(f"it is over: {event.reason} {event.text}", flush=True)
            message = messages.take(event)
            if message and message.user != NAME and not message.is_growing:
                await answer(push, channel, message)
            # After the answer: who dies in between answers twice rather than never.
            if events.cursor:
                await asyncio.to_thread(store, file, events.cursor)


async def answer(push: AsyncPush, channel: str, message: Message) -> None:
    """Write an answer, as a language model would."""
    said = message.message.get("text", "") if isinstance(message.message, dict) else ""
    async with push.stream(channel, user=NAME) as out:
        for word in f"You said: {said}".split(" "):
            await out.write(f"{word} ")


def load(file: Path) -> str | None:
    """Return where the bot was, if it ever was."""
    return file.read_text().strip() if file.exists() else None


def store(file: Path, cursor: str) -> None:
    """Replace the file as a whole, so that no crash leaves half of it."""
    new = file.with_suffix(".new")
    new.write_text(cursor)
    new.replace(file)


async def main() -> None:
    """Run the bot until Ctrl-C, or until its supervisor ends it."""
    file = Path(os.environ.get("BOT_CURSOR", "bot.cursor"))
    running = asyncio.ensure_future(run(sys.argv[1], file))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await running


if __name__ == "__main__":
    asyncio.run(main())
