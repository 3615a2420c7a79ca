"""`Messages`: the messages of channels as they stand, after posts, edits, appends and deletes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from .events import Append, Delete, Edit, Message
from .growing import MisfitError, appended

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from .events import Event


class Messages(Mapping["UUID", Message]):
    """Keeps the messages that a listener receives, by id and oldest first, and lets them grow.

    ```python
    messages = Messages()
    async for event in events:
        message = messages.take(event)
        if message is not None and message.status == "done":
            print(message.message["text"])
    ```

    A growing message is incomplete from an append that does not fit, because others before it are
    missing, until it comes whole again. Nothing is put where it does not belong.
    """

    def __init__(self, *, limit: int = 1000) -> None:
        """Keep at most so many messages. Beyond that the oldest go, and open ones last."""
        if limit < 1:
            msg = "the limit of messages is not above zero"
            raise ValueError(msg)
        self._limit = limit
        self._messages: dict[UUID, Message] = {}
        self._incomplete: set[UUID] = set()

    def take(self, event: Event) -> Message | None:
        """Take an event, and return the message that it changed as it is now.

        Returns `None` for a delete, for what is no event of a message, for a message that is not
        kept, and for what has changed nothing.
        """
        match event:
            case Message():
                return self._keep(event)
            case Edit():
                return self._edit(event)
            case Append():
                return self._append(event)
            case Delete():
                self._drop(event.uuid)
            case _:
                pass
        return None

    def is_incomplete(self, uuid: UUID) -> bool:
        """Return true if parts of a message may be missing."""
        return uuid in self._incomplete

    def __getitem__(self, uuid: UUID) -> Message:
        return self._messages[uuid]

    def __iter__(self) -> Iterator[UUID]:
        return iter(self._messages)

    def __len__(self) -> int:
        return len(self._messages)

    def _keep(self, message: Message) -> Message:
        self._incomplete.discard(message.uuid)
        is_new = message.uuid not in self._messages
        self._messages[message.uuid] = message
        if is_new and len(self._messages) > self._limit:
            oldest = next((u for u, m in self._messages.items() if not m.is_growing), None)
            self._drop(next(iter(self._messages)) if oldest is None else oldest)
        return message

    def _edit(self, event: Edit) -> Message | None:
        known = self._messages.get(event.uuid)
        if known is None:
            return None
        changes = {
            name: getattr(event, name)
            for name in ("user", "timestamp", "edited", "status", "rev")
            if getattr(event, name) is not None
        }
        if "message" in event.raw:
            changes["message"] = event.message
            self._incomplete.discard(event.uuid)
        self._messages[event.uuid] = message = replace(known, **changes)
        return message

    def _append(self, event: Append) -> Message | None:
        known = self._messages.get(event.uuid)
        if known is None or (known.rev is not None and event.rev <= known.rev):
            return None
        if event.uuid in self._incomplete or known.rev != event.from_rev:
            payload = None
        else:
            try:
                payload = appended(known.message, event.append)
            except MisfitError:
                payload = None
        if payload is None:
            self._incomplete.add(event.uuid)
            payload = known.message
        status = event.status or known.status
        self._messages[event.uuid] = message = replace(
            known, message=payload, rev=event.rev, status=status
        )
        return message

    def _drop(self, uuid: UUID) -> None:
        self._messages.pop(uuid, None)
        self._incomplete.discard(uuid)
