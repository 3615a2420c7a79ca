"""Messages that are published when the transaction is committed."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction

from ..errors import PushError
from ..requests import Publish, new_id
from .conf import client

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..client import Push
    from ..requests import Message

logger = logging.getLogger("channelstream_push.django")


def push() -> Push:
    """Return the client that the settings describe, which all threads share.

    Raises:
        SettingsError: something is wrong with the settings.
    """
    return client()


def send(*messages: Message, using: str | None = None) -> list[str]:
    """Publish messages in one request, when the transaction around it is committed.

    Without a transaction they are published at once. What is rolled back is not published. If the
    push server is away then, the data is committed nevertheless: the failure is logged, with the
    ids and without the payloads, and nothing is raised. For whoever has to know, there is
    `push().publish`.

    It waits for the server as long as `TIMEOUT` says. In an async view it is
    `await sync_to_async(send)(...)`.

    Args:
        messages: their payloads are taken as they are now, and may have what `DjangoJSONEncoder`
            knows.
        using: the database whose transaction it is.

    Returns:
        The ids of the messages.

    Raises:
        TypeError: a payload has something in it that JSON has not.
        ValueError: it has a number that JSON has not, or a text that is not Unicode.
        SettingsError: something is wrong with the settings.
    """
    if not messages:
        return []
    push = client()
    taken = [_taken(message) for message in messages]
    request = Publish.of(*taken)
    request.body()

    def publish() -> None:
        try:
            push.call(request)
        except PushError as error:
            # The error says it all, and its stack is that of this function.
            logger.error("%s: %s", _lost(taken), error)  # noqa: TRY400
        except Exception:
            # As `on_commit(robust=True)` has it: what else waits for the commit has no part in it.
            logger.exception(_lost(taken))

    transaction.on_commit(publish, using=using)
    return [str(message.uuid) for message in taken]


def _taken(message: Message) -> Message:
    """Return the message with an id, and with a copy of its payload as plain JSON."""
    payload = message.message
    if payload is not None:
        payload = json.loads(json.dumps(payload, cls=DjangoJSONEncoder, allow_nan=False))
    return replace(message, message=payload, uuid=message.uuid or new_id())


def _lost(messages: Sequence[Message]) -> str:
    channels = len({message.channel for message in messages if message.channel is not None})
    ids = ", ".join(str(message.uuid) for message in messages)
    counts = f"messages: {len(messages)}, channels: {channels}"
    return f"messages were not published ({counts}, ids: {ids})"
