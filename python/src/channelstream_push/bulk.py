"""Many messages in bounded requests, without IO, and the report of what was published."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from .errors import CallError, PushError
from .requests import Message, Publish, checked_key, new_id
from .wire import to_json

if TYPE_CHECKING:
    from .answers import Posted

#: The most messages of a request. Larger ones save nothing, and delay those of other clients.
_MOST_MESSAGES: Final = 1000
#: The most values that the server reads in the JSON of a request.
_MOST_VALUES: Final = 100_000
_NO_ADDRESS: Final = "no address"


@dataclass(frozen=True, slots=True)
class Published:
    """The report of publishing many messages."""

    #: The messages that the server accepted.
    messages: int = 0
    #: The messages that it dropped because they had neither a channel nor users.
    dropped: int = 0
    #: The accepted messages to channels or users that do not exist, as far as the server tells.
    nowhere: int = 0
    #: The requests that succeeded.
    requests: int = 0

    def plus(self, answer: list[Posted], sent: int) -> Published:
        """Count the answer to a request with so many messages."""
        problems = [posted.problem for posted in answer]
        # Older servers leave dropped messages out of the answer.
        dropped = problems.count(_NO_ADDRESS) + max(0, sent - len(answer))
        gone = sum(problem not in (None, _NO_ADDRESS) for problem in problems)
        return Published(
            self.messages + sent - dropped,
            self.dropped + dropped,
            self.nowhere + gone,
            self.requests + 1,
        )


class PublishError(PushError):
    """Publishing many messages failed in between; some may have been published.

    All messages before `unpublished` were published. To go on, give `unpublished` to `publish_all`
    again, and what follows it. Its messages have ids now, by which the server recognizes a request
    that it has carried out, and stores nothing twice.
    """

    def __init__(
        self,
        error: Exception,
        published: Published,
        unpublished: tuple[Message, ...],
        failed: int,
    ) -> None:
        is_in_doubt = isinstance(error, CallError) and error.is_in_doubt
        outcome = "may have been" if is_in_doubt else "were not"
        super().__init__(
            f"{published.messages} messages were accepted, the next {failed} {outcome}: {error}"
        )
        #: What went wrong: a `CallError`, or the `TypeError` or `ValueError` of a message that has
        #: no JSON, which is the last one of `unpublished`. The indexes of `field_errors` count from
        #: the first message of `unpublished`.
        self.error: Final = error
        #: The report of the requests before.
        self.published: Final = published
        #: The messages that were taken from the input and are not known to be published, in their
        #: order. Those of the failed request are the first.
        self.unpublished: Final = unpublished
        #: How many messages the failed request had.
        self.failed: Final = failed
        #: Whether the messages of the failed request may have been published nevertheless.
        self.is_in_doubt: Final = is_in_doubt
        #: Whether the same may succeed a little later.
        self.is_retryable: Final = isinstance(error, CallError) and error.is_retryable

    @property
    def position(self) -> int:
        """The position in the input of the first message of `unpublished`."""
        return self.published.messages + self.published.dropped

    def __reduce__(self) -> tuple[Any, ...]:
        """Let the error go through a pickle whole, as job queues and process pools need it."""
        return type(self), (self.error, self.published, self.unpublished, self.failed)


@dataclass(frozen=True, slots=True)
class Batch(Publish):
    """The messages of one request, whose JSON is made."""

    content: bytes = b""

    def body(self) -> bytes:
        """Return the messages as a list."""
        return self.content


class Bulk:
    """Messages on their way into requests, in their order."""

    def __init__(self, max_body_size: int, key: str | None, *, has_keys: bool) -> None:
        """Begin with nothing.

        Args:
            max_body_size: The bytes of a request.
            key: What ids are made from; random ones without it.
            has_keys: Whether requests have keys.

        Raises:
            SettingsError: the key is not valid.
        """
        self.published = Published()
        self._max_body_size = max_body_size
        self._space = None if key is None else uuid.uuid5(uuid.NAMESPACE_OID, checked_key(key))
        self._has_keys = has_keys
        self._count = 0
        self._begin()

    def _begin(self) -> None:
        self._messages: list[Message] = []
        self._parts: list[bytes] = []
        # The brackets of the list, and its own value.
        self._size, self._values = 1, 2

    def add(self, message: Message) -> Batch | None:
        """Take a message. Return the messages before, if they are to be sent now.

        Raises:
            PublishError: the message has something in it that JSON has not.
        """
        if message.uuid is None:
            message = replace(message, uuid=self._id())
        self._count += 1
        try:
            part = to_json(message)
        except (TypeError, ValueError) as error:
            unsent = (*self._messages, message)
            raise PublishError(error, self.published, unsent, len(unsent)) from error
        # At least as many as the server counts, which passes over those in texts.
        values = sum(part.count(mark) for mark in (b"[", b"{", b",")) + 2
        is_full = bool(self._messages) and (
            self._size + len(part) + 1 > self._max_body_size or self._values + values > _MOST_VALUES
        )
        full = self.rest() if is_full else None
        self._messages.append(message)
        self._parts.append(part)
        self._size += len(part) + 1
        self._values += values
        return self.rest() if len(self._messages) >= _MOST_MESSAGES else full

    def rest(self) -> Batch | None:
        """Return the messages that are to be sent, if there are any."""
        if not self._messages:
            return None
        # One message is in one request, so that its id is a key. Whoever sends the same messages
        # again makes the same requests of them.
        key = f"messages-{self._messages[0].uuid}" if self._has_keys else None
        content = b"[" + b",".join(self._parts) + b"]"
        batch = Batch(tuple(self._messages), key, content)
        self._begin()
        return batch

    def count(self, batch: Batch, answer: list[Posted]) -> None:
        """Count the answer to a request."""
        self.published = self.published.plus(answer, len(batch.messages))

    def failed(self, batch: Batch, error: CallError) -> PublishError:
        """Return the error of a request that failed."""
        unpublished = (*batch.messages, *self._messages)
        return PublishError(error, self.published, unpublished, len(batch.messages))

    def _id(self) -> str:
        return str(uuid.uuid5(self._space, str(self._count))) if self._space else new_id()
