"""The tasks of the example with a broker of files, and a process that dies where a test says."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import celery_tasks
from celery.signals import task_postrun
from celery_tasks import app

import files_broker
from channelstream_push import Push, RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(os.environ["CELERY_FOLDER"])

app.conf.update(files_broker.settings(FOLDER))
if "IMPATIENT" in os.environ:
    # Nothing is repeated within a run, so that the task is run again.
    celery_tasks.push = Push(
        os.environ["CHANNELSTREAM_URL"],
        os.environ["CHANNELSTREAM_SECRET"],
        retries=RetryPolicy.never(),
    )
_model = celery_tasks.model


def die_once(what: str) -> None:
    """End this process as the system does that is out of memory, if the test says so."""
    if "DIES" in os.environ:
        try:
            (FOLDER / f"died-{what}").touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


@task_postrun.connect
def _ran(task: Any, **_: Any) -> None:
    """Die when the task has published, before the broker knows that it is done."""
    if task.name != celery_tasks.answer.name:
        die_once(task.name)


def _dying_model(question: str) -> Iterator[str]:
    for number, part in enumerate(_model(question)):
        if number == 2:
            die_once("while answering")
        yield part


celery_tasks.model = _dying_model
