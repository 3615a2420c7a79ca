"""A real browser, which is told what to do over the DevTools protocol."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import time
from typing import TYPE_CHECKING, Any

from websockets.sync.client import ClientConnection, connect

from stage import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Beyond this nothing comes any more. A browser on a busy machine takes its time.
PATIENCE = 120.0
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--no-proxy-server",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
]


class Browser:
    """A browser that runs, and what its pages have complained about."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        #: Exceptions that no script has caught.
        self.exceptions: list[Any] = []
        #: What the browser says of what it loads.
        self.log: list[Any] = []

    def open(self, url: str) -> Page:
        """Open a page at an address."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for method in ("Runtime.enable", "Log.enable"):
            self.call(method, session)
        failed = self.call("Page.navigate", session, url=url).get("errorText")
        assert not failed, f"{url}: {failed}"
        return Page(self, session)

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Carry out a method of the protocol."""
        call = {"id": next(self._numbers), "method": method, "params": params}
        self._socket.send(json.dumps({**call, "sessionId": session} if session else call))
        while True:
            told = json.loads(self._socket.recv(PATIENCE))
            if told.get("id") == call["id"]:
                assert "error" not in told, told
                found: dict[str, Any] = told["result"]
                return found
            if told["method"] == "Runtime.exceptionThrown":
                self.exceptions.append(told["params"])
            elif told["method"] == "Log.entryAdded":
                self.log.append(told["params"])


class Page:
    """A page of a browser."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session

    def run(self, script: str) -> Any:
        """Return the value of a script."""
        options = {"returnByValue": True, "userGesture": True}
        answer = self._browser.call("Runtime.evaluate", self._session, expression=script, **options)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, script: str) -> None:
        """Wait until the value of a script is true."""
        end = time.monotonic() + PATIENCE
        while not self.run(script):
            if time.monotonic() > end:
                shown = self.run("document.documentElement.outerHTML")
                said = [*self._browser.exceptions, *self._browser.log]
                msg = f"never true: {script}\n{said}\n{shown}"
                raise AssertionError(msg)
            time.sleep(0.05)


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser that runs inside the block. What it writes goes into the folder."""
    program = os.environ.get("CHANNELSTREAM_CHROMIUM", "chromium")
    place = folder / "DevToolsActivePort"
    with (folder / "chromium.log").open("wb") as log:
        process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={folder}"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def listens() -> bool:
        assert process.poll() is None, (folder / "chromium.log").read_text()
        return place.exists() and place.read_text().count("\n") == 1

    try:
        until(listens, "a browser that listens", PATIENCE)
        port, path = place.read_text().split("\n")
        with connect(f"ws://127.0.0.1:{port}{path}", proxy=None, max_size=None) as socket:
            yield Browser(socket)
    finally:
        # All its processes, as they have one group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()
