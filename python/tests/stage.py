"""The real server as a process of its own, on a free port of loopback."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECRET = "a secret that no output may show"
#: Beyond this a condition is not met any more. Debug builds on busy machines are slow.
PATIENCE = 30.0


def program() -> str:
    """The server under test. Without one nothing can be said, so that a missing one is an error."""
    path = os.environ.get("CHANNELSTREAM_SERVER")
    assert path, "CHANNELSTREAM_SERVER names no server: cargo xtask python does"
    assert Path(path).is_file(), f"CHANNELSTREAM_SERVER names no file: {path}"
    return path


def until(condition: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
    """Wait for a condition."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, f"never came: {what}"
        time.sleep(0.01)


class Server:
    """A server that can die and come back at the same address."""

    def __init__(self, **settings: object) -> None:
        self._settings = {"secret": SECRET, "admin_secret": SECRET, "log_level": "INFO", **settings}
        self._output = tempfile.NamedTemporaryFile(prefix="channelstream-", suffix=".log")  # noqa: SIM115
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def address(self) -> str:
        host = str(self._settings.get("host", "127.0.0.1"))
        scheme = "https" if "tls_cert" in self._settings else "http"
        return host if host.startswith("unix:") else f"{scheme}://127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        return Path(self._output.name).read_text(errors="replace")

    def start(self) -> Server:
        """Start it; at first on a free port, later on the same."""
        if self.port or self.address.startswith("unix:"):
            return self._start()
        for attempt in range(5):
            self.port = free_port()
            with contextlib.suppress(ServerEnded):
                return self._start()
            assert attempt < 4, f"the server does not start\n{self.output}"
        raise AssertionError

    def _start(self) -> Server:
        # Nothing but what is given here: every variable of that prefix is a setting.
        env = {
            key: text for key, text in os.environ.items() if not key.startswith("CHANNELSTREAM_")
        }
        env |= {"CHANNELSTREAM_HOST": "127.0.0.1", "CHANNELSTREAM_PORT": str(self.port)}
        env |= {f"CHANNELSTREAM_{key.upper()}": str(text) for key, text in self._settings.items()}
        self._process = subprocess.Popen(
            [program()],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )
        until(self._answers, "a server that answers")
        return self

    def _answers(self) -> bool:
        assert self._process
        if self._process.poll() is not None:
            raise ServerEnded(self.output)
        if self.address.startswith("unix:"):
            with socket.socket(socket.AF_UNIX) as client:
                return client.connect_ex(self.address.removeprefix("unix:")) == 0
        # Not the proxy of the environment. Whose certificate it is, the tests check.
        tls = urllib.request.HTTPSHandler(context=ssl._create_unverified_context())
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), tls)
        with (
            contextlib.suppress(OSError),
            opener.open(f"{self.address}/healthz", timeout=5) as answer,
        ):
            return bool(answer.status == 200)
        return False

    def kill(self) -> None:
        """End it as a power cut does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it as an operator does."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(number)
        if self._process:
            self._process.wait(PATIENCE)
        self._process = None

    def close(self) -> None:
        self.kill()
        self._output.close()


class ServerEnded(Exception):  # noqa: N818
    """The server ended while it started: perhaps somebody else took the port."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def server(**settings: object) -> Iterator[Server]:
    """A server that runs inside the block."""
    stage = Server(**settings)
    try:
        yield stage.start()
    finally:
        stage.close()
