"""Twenty workers publish together while the server is killed once and restarted once.

Each message is stored and received exactly once, and those of each worker in their order. There are
400 messages; `CHANNELSTREAM_RUN_MESSAGES=20000` makes it a long run.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from channelstream_push import ChannelConfig, Message, Push, RetryPolicy
from channelstream_push.listening import Gap
from channelstream_push.listening import Message as Received
from stage import PATIENCE, SECRET, Server, server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
PATHS = [HERE, HERE.parent, HERE.parents[1] / "src"]
CHANNEL = "run"
#: Processes of gunicorn, threads of another gunicorn, and processes of Celery.
FORKED, THREADS, TASKS = 8, 6, 6
LABELS = [
    *(f"forked-{number}" for number in range(FORKED)),
    *(f"thread-{number}" for number in range(THREADS)),
    *(f"task-{number}" for number in range(TASKS)),
]
COUNT = max(3, int(os.environ.get("CHANNELSTREAM_RUN_MESSAGES", "400")) // len(LABELS))
TOTAL = COUNT * len(LABELS)
#: How long the whole may take, in seconds. Debug builds on busy machines are slow.
LIMIT = 10 * PATIENCE + TOTAL / 10


class Reader(threading.Thread):
    """A listener that goes on behind its cursor after each end of the server."""

    def __init__(self, push: Push) -> None:
        super().__init__(daemon=True)
        self._events = push.listen("reader", channels=[CHANNEL], first_pause=0.1, longest_pause=1.0)
        self.found: list[tuple[str, int]] = []
        self.gaps: list[Gap] = []

    def run(self) -> None:
        with self._events as events:
            for event in events:
                if isinstance(event, Gap):
                    self.gaps.append(event)
                elif isinstance(event, Received):
                    if event.user == "end":
                        return
                    self.found.append((event.user, event.message["number"]))


class Run:
    """The workers, and what they say by files."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder = folder
        self._end = time.monotonic() + LIMIT
        self._processes: list[subprocess.Popen[bytes]] = []
        self._env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, PATHS)),
            "CHANNELSTREAM_URL": address,
            "CHANNELSTREAM_SECRET": SECRET,
            "RUN_FOLDER": str(folder),
            "RUN_COUNT": str(COUNT),
        }

    def start(self, *command: str) -> None:
        number = len(self._processes)
        with (self.folder / f"output-{number}").open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", *command],
                env=self._env,
                cwd=self.folder,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes.append(process)

    def gunicorn(self, name: str, *options: str) -> Path:
        """Start a gunicorn, whose workers are not ended for being long at work."""
        socket = self.folder / f"{name}.sock"
        options = ("--preload", "--timeout", "0", "--bind", f"unix:{socket}", *options)
        self.start("gunicorn", *options, "publishers:app")
        self.until(socket.exists, f"gunicorn {name}")
        return socket

    def celery(self) -> None:
        options = ["--pool", "prefork", "--concurrency", str(TASKS)]
        options += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        self.start("celery", "--app", "publishers:celery", "worker", *options)
        lines = ["from publishers import publish"]
        lines += [f"publish.delay('task-{number}')" for number in range(TASKS)]
        command = [sys.executable, "-c", "\n".join(lines)]
        subprocess.run(command, env=self._env, check=True, timeout=LIMIT)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        while not condition():
            failed = [path.read_text() for path in self.folder.glob("failed-*")]
            assert not failed, f"{len(failed)} workers have failed before: {what}\n{failed[0]}"
            ended = any(process.poll() is not None for process in self._processes)
            assert not ended, f"workers have ended before: {what}\n{self.output}"
            assert time.monotonic() < self._end, f"never came: {what}\n{self.output}"
            time.sleep(0.02)

    def say(self, name: str) -> None:
        """Let workers go on that wait for it."""
        (self.folder / name).touch()

    def has(self, state: str) -> bool:
        return all((self.folder / f"{state}-{label}").exists() for label in LABELS)

    @property
    def output(self) -> str:
        """The newest lines of each program."""
        texts = [path.read_text(errors="replace") for path in self.folder.glob("output-*")]
        return "\n".join(text[-3000:] for text in texts)

    def close(self) -> None:
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE)


@contextlib.contextmanager
def workers(address: str) -> Iterator[Run]:
    """All workers, at work as soon as they are told to."""
    with tempfile.TemporaryDirectory(prefix="run-") as folder:
        run = Run(Path(folder), address)
        requests: list[threading.Thread] = []
        try:
            forked = run.gunicorn("forked", "--workers", str(FORKED))
            threads = run.gunicorn("threads", "--threads", str(THREADS))
            run.celery()
            for label in LABELS[: FORKED + THREADS]:
                socket = forked if label.startswith("forked") else threads
                requests.append(threading.Thread(target=ask, args=(socket, label), daemon=True))
                requests[-1].start()
            run.until(lambda: run.has("ready"), "all workers")
            yield run
        finally:
            run.close()
            for request in requests:
                request.join(PATIENCE)


def ask(socket: Path, label: str) -> None:
    """Give a worker of gunicorn its work. That it fails, the missing file shows."""
    transport = httpx.HTTPTransport(uds=str(socket))
    with contextlib.suppress(httpx.HTTPError), httpx.Client(transport=transport) as client:
        client.post(f"http://gunicorn/{label}", timeout=None)


def journal(folder: Path) -> dict[str, object]:
    """The settings of a server that loses nothing, and a channel that keeps the whole run."""
    return {
        "journal": "file",
        "journal_dir": folder / "journal",
        "stored_bytes": 256 * 1024 * 1024,
    }


def by_worker(found: list[tuple[str, int]]) -> dict[str, list[int]]:
    numbers: defaultdict[str, list[int]] = defaultdict(list)
    for label, number in found:
        numbers[label].append(number)
    return dict(numbers)


def interrupt(run: Run, one: Server, reader: Reader) -> None:
    """Kill the server, and later stop it, while workers publish."""
    run.until(lambda: len(reader.found) >= TOTAL // 3, "a third")
    one.kill()
    run.say("killed")
    one.start()
    run.until(lambda: len(reader.found) >= TOTAL * 2 // 3, "two thirds")
    one.stop()
    run.say("stopped")
    one.start()


def test_each_message_is_there_once_and_in_order(tmp_path: Path) -> None:
    patient = RetryPolicy(repeats=1000, longest_pause=1.0, total=LIMIT)
    with (
        server(**journal(tmp_path)) as one,
        Push(one.address, SECRET, retries=patient) as push,
    ):
        config = ChannelConfig(store_history=True, history_size=2 * TOTAL, frames_size=2 * TOTAL)
        push.channel_config({CHANNEL: config})
        reader = Reader(push)
        reader.start()
        with workers(one.address) as run:
            began = time.monotonic()
            run.say("go")
            interrupt(run, one, reader)
            run.until(lambda: run.has("done"), "all messages")
            took = time.monotonic() - began
        push.publish(Message("end", {}, channel=CHANNEL))
        reader.join(LIMIT)
        assert not reader.is_alive(), f"the listener has {len(reader.found)} of {TOTAL}"
        found, who = history(push)

    whole = {label: list(range(COUNT)) for label in LABELS}
    assert by_worker(found) == whole
    assert by_worker(reader.found) == whole
    assert reader.gaps == []
    # They were twenty at a time, of which six were threads of one process.
    assert len(who) == len(LABELS)
    assert len({one.partition("-")[0] for one in who}) == FORKED + 1 + TASKS
    print(f"{TOTAL} messages of {len(LABELS)} workers in {took:.1f} s")  # noqa: T201


def history(push: Push) -> tuple[list[tuple[str, int]], set[str]]:
    """Return the messages in their order, and the processes and threads that published them."""
    found: list[tuple[str, int]] = []
    who: set[str] = set()
    since = None
    while True:
        page = push.history(CHANNEL, since=since, limit=1000)
        assert page.gap is None
        for one in page.messages:
            if one.user != "end":
                assert one.message
                found.append((one.user, one.message["number"]))
                who.add(one.message["me"])
        since = page.next
        if since is None:
            return found, who
