"""The example of a bot, as it is written."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from channelstream_push import Message, Push
from channelstream_push.listening import Listener, Messages, listen
from channelstream_push.requests import Connect
from stage import SECRET, Server, server, until

if TYPE_CHECKING:
    from collections.abc import Iterator

BOT = Path(__file__).parents[2] / "examples" / "bot.py"


@contextlib.contextmanager
def bot(
    one: Server, folder: Path, output: Path, end: signal.Signals
) -> Iterator[subprocess.Popen[bytes]]:
    """The bot as a program of its own, which a signal ends."""
    environment = {
        **os.environ,
        "CHANNELSTREAM_URL": one.address,
        "CHANNELSTREAM_SECRET": SECRET,
        "BOT_CURSOR": str(folder / "cursor"),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, str(BOT), "news"], env=environment, stdout=file, stderr=file
        )
    try:
        yield process
        process.send_signal(end)
        assert process.wait(30) == 0, output.read_text()
    finally:
        process.kill()
        process.wait(30)


def answers_of(events: Listener, messages: Messages, count: int) -> list[str]:
    """Return the next answers of the bot, when they are whole."""
    found: list[str] = []
    for event in events:
        message = messages.take(event)
        if message and message.user == "bot" and message.status == "done":
            found.append(message.message["text"])
            if len(found) == count:
                return found
    raise AssertionError(f"the listener ended: {found}")


def test_a_bot_answers_and_goes_on_after_its_restart(tmp_path: Path) -> None:
    with (
        server() as one,
        Push(one.address, SECRET) as push,
        listen(push, Connect("ann", channels=["news"])) as events,
    ):
        messages = Messages()
        next(events)

        def say(text: str) -> None:
            push.publish(Message("ann", {"text": text}, channel="news"))

        with bot(one, tmp_path, tmp_path / "first", signal.SIGINT):
            until(lambda: "listening by" in (tmp_path / "first").read_text(), "a bot")
            say("hello there")
            assert answers_of(events, messages, 1) == ["You said: hello there "]
            say("how are you?")
            assert answers_of(events, messages, 1) == ["You said: how are you? "]
            # All events are in one order: where this listener is, the bot will be.
            until(lambda: (tmp_path / "cursor").read_text() == events.cursor, "the last cursor")
        say("are you away?")
        with bot(one, tmp_path, tmp_path / "second", signal.SIGTERM):
            assert answers_of(events, messages, 1) == ["You said: are you away? "]
        for output in ("first", "second"):
            assert (tmp_path / output).read_text().splitlines() == ["listening by websocket"]
