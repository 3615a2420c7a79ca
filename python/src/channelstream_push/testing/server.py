"""`TestServer`: the server as a process, with a test clock, which always has the same address."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from channelstream_push.errors import PushError

from .program import find_program

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from typing_extensions import Self

#: The well-known default, without which there is no test clock.
SECRET: Final = "secret"  # noqa: S105

#: How long a start may take, in seconds. Machines that run tests are busy.
_PATIENCE: Final = 30.0
_LOG: Final = "server.log"
_LISTENS: Final = re.compile(r"listening on http://127\.0\.0\.1:(\d+);")
#: What the log says if another program has taken the port between two starts.
_TAKEN: Final = "another program listens there already"
#: What ends a server if the program that started it dies, however it does: only then is there
#: an end of the input. In a session of its own, no signal for a terminal or a group reaches it.
_WATCH: Final = ("/bin/sh", "-c", 'read -r _; kill -9 "$1"', "sh")
#: Channels keep their messages, so that tests can ask for them.
_CHANNELS: Final = "[channelstream]\n[channel *]\nstore_history = true\nhistory_size = 1000\n"
#: Those without which there would be no test clock, or nobody would know where the server is.
_FIXED: Final = ("host", "port", "secret", "journal", "test_clock", "log_level", "log_format")


class ServerFailedError(PushError):
    """The server does not start. The text has what it says."""


class TestServer:
    """A server as a process of its own, which begins with nothing at each start.

    ```python
    with TestServer() as server:
        push = Push(server.url, SECRET)
    ```

    The settings are those of the server by their names, such as `gc_conns_after=5`.
    """

    #: For pytest, which would take it for tests.
    __test__ = False

    def __init__(
        self, program: str | os.PathLike[str] | None = None, **settings: str | float
    ) -> None:
        """Find the program; nothing is started yet.

        Raises:
            ServerNotFoundError: there is none.
            ValueError: a setting is not for tests to choose.
        """
        fixed = [name for name in settings if name in _FIXED]
        if fixed:
            raise ValueError(f"a server with a test clock needs its own {', '.join(fixed)}")
        self._program = find_program(program)
        self._settings = settings
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """The address, which stays the same when the server is started anew.

        Raises:
            ServerFailedError: the server was not started yet.
        """
        if not self._port:
            raise ServerFailedError("the server was not started yet")
        return f"http://127.0.0.1:{self._port}"

    @property
    def log(self) -> str:
        """What the server has written since its latest start."""
        if self._folder:
            with contextlib.suppress(FileNotFoundError):
                return (Path(self._folder.name) / _LOG).read_text(errors="replace")
        return ""

    def restart(self) -> None:
        """Start the server, or anew with nothing in it.

        Raises:
            ServerFailedError: it does not start.
        """
        self.stop()
        end = time.monotonic() + _PATIENCE
        while not self._start(end):
            time.sleep(0.05)

    def stop(self) -> None:
        """End the server as a power cut does: it has nothing to keep."""
        process, self._process = self._process, None
        watcher, self._watcher = self._watcher, None
        if process:
            process.kill()
        # Before the process is waited for: from then on its id may be that of another.
        if watcher:
            with watcher:
                watcher.kill()
        if process:
            process.wait()

    def close(self) -> None:
        """End the server for good."""
        self.stop()
        folder, self._folder = self._folder, None
        if folder:
            folder.cleanup()

    def __enter__(self) -> Self:
        try:
            self.restart()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _start(self, end: float) -> bool:
        """Start a process. Return whether it listens, and `False` if another has its port."""
        if not self._folder:
            self._folder = tempfile.TemporaryDirectory(prefix="channelstream-")
        folder = Path(self._folder.name)
        channels = folder / "channels.ini"
        channels.write_text(_CHANNELS)
        with (folder / _LOG).open("wb") as log:
            try:
                process = subprocess.Popen(  # noqa: S603
                    [self._program, "--ini", channels, *self._flags()],
                    env=_without_settings(os.environ),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            except OSError as error:
                problem = f"{self._program} is no program of this machine: {error.strerror}"
                raise ServerFailedError(problem) from None
        self._process = process
        self._watcher = subprocess.Popen(  # noqa: S603
            [*_WATCH, str(process.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while True:
            # Before the log: what has ended writes no more.
            has_ended = process.poll() is not None
            listens = _LISTENS.search(self.log)
            if listens and not has_ended:
                self._port = int(listens[1])
                return True
            is_late = time.monotonic() > end
            if has_ended or is_late:
                said = self.log
                self.stop()
                if _TAKEN in said and not is_late:
                    return False
                problem = "did not start" if has_ended else f"did not listen in {_PATIENCE:.0f} s"
                raise ServerFailedError(f"{self._program} {problem}:\n{said}")
            time.sleep(0.002)

    def _flags(self) -> list[str]:
        settings: dict[str, str | float] = {
            **self._settings,
            "host": "127.0.0.1",
            "port": self._port,
            "test_clock": "true",
            "log_level": "INFO",
        }
        return [f"--{name.replace('_', '-')}={_text(value)}" for name, value in settings.items()]


def _text(value: str | float) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without the settings of another server."""
    return {
        name: text for name, text in environment.items() if not name.startswith("CHANNELSTREAM_")
    }
