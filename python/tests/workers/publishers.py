"""What the workers of the run do, under gunicorn and under Celery: publish, one message at a time.

The test that starts them says by files in a folder when they go on.
"""

from __future__ import annotations

import os
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celery import Celery

import files_broker
from channelstream_push import Message, Push, RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

FOLDER = Path(os.environ["RUN_FOLDER"])
COUNT = int(os.environ["RUN_COUNT"])
CHANNEL = "run"
#: Longer than the server is away, and shorter than the server knows the keys of requests.
POLICY = RetryPolicy(repeats=100_000, first_pause=0.05, longest_pause=1.0, total=240.0)
#: Where a worker waits until the server was killed, and until it was stopped.
HOLDS = {COUNT * 2 // 3: "killed", COUNT - 1: "stopped"}

push = Push(os.environ["CHANNELSTREAM_URL"], os.environ["CHANNELSTREAM_SECRET"], retries=POLICY)
# Before the fork, so that the parent of the workers has a TCP connection.
push.info(channels=[CHANNEL])

celery = Celery("publishers")
celery.conf.update(
    files_broker.settings(FOLDER),
    worker_prefetch_multiplier=1,
    task_ignore_result=True,
)


def work(label: str) -> None:
    """Publish all messages of a worker, or tell why not."""
    try:
        publish_all(label)
    except BaseException:
        (FOLDER / f"failed-{label}").write_text(traceback.format_exc())
        raise
    (FOLDER / f"done-{label}").touch()


def publish_all(label: str) -> None:
    """Publish the messages of a worker, one after the other."""
    me = f"{os.getpid()}-{threading.get_ident()}"
    (FOLDER / f"ready-{label}").touch()
    wait_for("go")
    for number in range(COUNT):
        if number in HOLDS:
            wait_for(HOLDS[number])
        push.publish(Message(label, {"number": number, "me": me}, channel=CHANNEL))


def wait_for(name: str) -> None:
    """Wait until the test has made a file."""
    while not (FOLDER / name).exists():
        time.sleep(0.01)


@celery.task
def publish(label: str) -> None:
    """Work, under Celery."""
    work(label)


def app(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """Work, under gunicorn."""
    work(environ["PATH_INFO"].strip("/"))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done"]
