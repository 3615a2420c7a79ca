"""Tasks for Celery that publish, each message once, however often a task is run.

    cargo run --release -p channelstream-server        # the push server, in another terminal
    python3 -m pip install ./python 'celery[redis]'
    cd python/examples
    celery --app celery_tasks worker                   # or: --pool threads
    python3 celery_tasks.py                            # gives a worker something to do

CHANNELSTREAM_URL and CHANNELSTREAM_SECRET name another push server, CELERY_BROKER_URL another
broker.

* `push` is made once, at the import. Each process of a prefork worker has TCP connections of its
  own, whether it was made before the fork or after it, and the threads of a worker share them.
* A task is run again after an error, and if its process dies (`acks_late` and
  `reject_on_worker_lost`). It may have published by then. Its id is the idempotency key, so that
  the server stores nothing twice.
* The server knows a key for ten minutes (`idempotency_window`). All runs of a task together, with
  their pauses, take less.
"""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from celery import Celery, Task

from channelstream_push import (
    CallError,
    Cancelled,
    ChannelConfig,
    Edit,
    Message,
    PublishError,
    Push,
    RetryPolicy,
)

ROOM = "room"

app = Celery("celery_tasks", broker=os.environ.get("CELERY_BROKER_URL", "redis://127.0.0.1:6379/0"))
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    # A task is of use while its users are there.
    task_ignore_result=True,
)

push = Push(
    os.environ.get("CHANNELSTREAM_URL", "http://127.0.0.1:8000"),
    os.environ.get("CHANNELSTREAM_SECRET", "secret"),
    # A restart of the push server is waited for within the task.
    retries=RetryPolicy(repeats=1000, longest_pause=1.0, total=60.0),
)


class PushTask(Task[Any, Any]):
    """A task that is run again if that may help: five times, within eight minutes."""

    max_retries = 5

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Run the task."""
        try:
            return self.run(*args, **kwargs)
        except (CallError, PublishError) as error:
            if not (error.is_retryable or error.is_in_doubt):
                raise
            raise self.retry(exc=error, countdown=2**self.request.retries) from error


@app.task(bind=True, base=PushTask)
def notify(self: PushTask, channel: str, text: str) -> None:
    """Publish a message."""
    message = Message("shop", {"text": text}, channel=channel)
    push.publish(message, idempotency_key=f"notify-{self.request.id}")


@app.task(bind=True, base=PushTask)
def notify_all(self: PushTask, channel: str, texts: list[str]) -> None:
    """Publish many messages, in their order."""
    messages = (Message("shop", {"text": text}, channel=channel) for text in texts)
    push.publish_all(messages, idempotency_key=f"notify-all-{self.request.id}")


@app.task(bind=True, base=PushTask)
def answer(self: PushTask, channel: str, question: str) -> None:
    """Write an answer that grows."""
    # After an error the message has failed, and the next run writes another. If the process of an
    # earlier run has died, its message is still open: this run goes on with it, from its beginning.
    uuid = str(uuid5(NAMESPACE_OID, f"answer-{self.request.id}-{self.request.retries}"))
    before = push.append(uuid, channel=channel).status
    if before in ("done", "cancelled", "failed"):
        return
    out = push.resume(uuid, channel) if before else push.stream(channel, user="bot", uuid=uuid)
    with suppress(Cancelled), out:
        if before:
            push.edit(Edit(uuid, {"text": ""}, channel=channel))
        for part in model(question):
            out.write(part)


def model(question: str) -> Iterator[str]:
    """Stand in for a language model."""
    for word in ("You ", "asked: ", question):
        time.sleep(0.1)
        yield word


if __name__ == "__main__":
    push.channel_config({ROOM: ChannelConfig(store_history=True)})
    notify.delay(ROOM, "Hello!")
    notify_all.delay(ROOM, ["one", "two", "three"])
    answer.delay(ROOM, "why?")
