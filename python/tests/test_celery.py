"""The example for Celery, in real workers with processes and with threads."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from channelstream_push import ChannelConfig, Push
from gate import gate, losing, passing
from stage import PATIENCE, SECRET, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TESTS = Path(__file__).parent
PATHS = [str(TESTS), str(TESTS.parent / "examples"), str(TESTS.parent / "src")]
#: The pools, each with several tasks at a time.
POOLS = ["prefork", "threads"]


class Workers:
    """A worker with two tasks at a time, and a program that gives it tasks."""

    def __init__(self, folder: Path, address: str, **more: str) -> None:
        self._folder = folder
        self._env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(PATHS),
            "CHANNELSTREAM_URL": address,
            "CHANNELSTREAM_SECRET": SECRET,
            "CELERY_FOLDER": str(folder),
            **more,
        }

    def give(self, *tasks: str) -> None:
        """Call tasks as a program does that is no worker."""
        lines = ["from celery_project import celery_tasks as tasks"]
        lines += [f"tasks.{task}" for task in tasks]
        command = [sys.executable, "-c", "\n".join(lines)]
        subprocess.run(command, env=self._env, check=True, timeout=4 * PATIENCE)

    @property
    def output(self) -> str:
        return (self._folder / "output").read_text(errors="replace")

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition. Celery itself takes ten seconds to see that a process has died."""
        end = time.monotonic() + 5 * PATIENCE
        while not condition():
            assert time.monotonic() < end, f"never came: {what}\n{self.output}"
            time.sleep(0.05)

    @contextlib.contextmanager
    def running(self, pool: str) -> Iterator[None]:
        command = [sys.executable, "-m", "celery", "--app", "celery_project", "worker"]
        command += ["--pool", pool, "--concurrency", "2", "--loglevel", "INFO"]
        command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        with (self._folder / "output").open("wb") as file:
            process = subprocess.Popen(
                command,
                env=self._env,
                cwd=self._folder,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield
            process.send_signal(signal.SIGTERM)
            assert process.wait(5 * PATIENCE) == 0, self.output
        finally:
            # Its processes as well.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE)
        assert SECRET not in self.output


@pytest.fixture
def client(running: Server, name: str) -> Iterator[Push]:
    with Push(running.address, SECRET) as push:
        push.channel_config({name: ChannelConfig(store_history=True, history_size=1000)})
        yield push


def stored(client: Push, name: str) -> list[tuple[str, str | None]]:
    messages = client.history(name, limit=1000).messages
    return [(str((one.message or {}).get("text")), one.status) for one in messages]


@pytest.mark.parametrize("pool", POOLS)
def test_tasks_publish_and_stream(
    running: Server, client: Push, name: str, tmp_path: Path, pool: str
) -> None:
    workers = Workers(tmp_path, running.address)
    notes = [f"notify.delay({name!r}, 'note {number}')" for number in range(8)]
    bulk = f"notify_all.delay({name!r}, [f'line {{number}}' for number in range(100)])"
    workers.give(*notes, bulk, f"answer.delay({name!r}, 'why?')")
    with workers.running(pool):
        workers.until(lambda: len(stored(client, name)) == 109, "all messages")
        workers.until(lambda: ("You asked: why?", "done") in stored(client, name), "the answer")
    texts = [text for text, status in stored(client, name) if status is None]
    assert sorted(text for text in texts if "note" in text) == [f"note {n}" for n in range(8)]
    assert [text for text in texts if "line" in text] == [f"line {n}" for n in range(100)]


def test_tasks_whose_processes_die_publish_once(
    running: Server, client: Push, name: str, tmp_path: Path
) -> None:
    workers = Workers(tmp_path, running.address, DIES="yes")
    workers.give(
        f"notify.delay({name!r}, 'once')",
        f"notify_all.delay({name!r}, ['one', 'two'])",
        f"answer.delay({name!r}, 'why?')",
    )
    with workers.running("prefork"):
        # The first run of the answer dies in its middle, those of the others behind their end.
        workers.until(lambda: workers.output.count(" succeeded in ") >= 5, "the second runs")
    assert len(list(tmp_path.glob("died-*"))) == 3
    whole = ("You asked: why?", "done")
    found = stored(client, name)
    assert whole in found
    found.remove(whole)
    assert sorted(text for text, _ in found) == ["once", "one", "two"]


@pytest.mark.parametrize("pool", POOLS)
def test_a_task_that_is_in_doubt_is_run_again_and_publishes_once(
    running: Server, client: Push, name: str, tmp_path: Path, pool: str
) -> None:
    with gate(running.address) as path:
        workers = Workers(tmp_path, path.address, IMPATIENT="yes")
        path.plan.extend([losing, losing, passing])
        workers.give(f"notify.delay({name!r}, 'once')")
        with workers.running(pool):
            workers.until(lambda: " succeeded in " in workers.output, "the third run")
        assert len(path.visits) == 3
    assert workers.output.count("Retry in") == 2
    assert stored(client, name) == [("once", None)]


def test_a_task_that_is_refused_is_not_run_again(running: Server, tmp_path: Path) -> None:
    workers = Workers(tmp_path, running.address)
    workers.give("notify.delay('a' * 300_000, 'x')", "notify_all.delay('a' * 300_000, ['x'])")
    with workers.running("prefork"):
        workers.until(lambda: workers.output.count("raised unexpected: ") == 2, "two refusals")
    assert "Retry in" not in workers.output
