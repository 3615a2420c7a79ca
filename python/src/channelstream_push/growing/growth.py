"""What a publisher has written of a growing message, and how far the server is, without IO."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ..answers import Taken
from ..errors import AppendRefused, CallError, Ended, ErrorKind, SettingsError
from ..requests import Append, Change
from ..retry import Backoff
from ..wire import to_json
from .batch import MOST_BYTES, Batch, End, Order, Piece, SignOfLife, check

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..answers import Edited
    from .opening import Begun

#: A publisher that has written more than so many bytes waits.
_MOST_UNSENT: Final = 4 * MOST_BYTES
#: The pauses between calls, each of which has pauses of its own.
_BACKOFF: Final = Backoff(first=0.25, longest=5.0)
#: How long somebody who leaves by an exception waits for the server to take the end.
LEAVING: Final = 5.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How a stream sends; the times are in seconds."""

    #: The time within which pieces are sent together. With 0 each piece is a step of its own.
    interval: float
    #: How long a request is repeated while the server is away, beyond the client's policy.
    patience: float
    #: The largest request that the server takes.
    max_body_size: int

    def __post_init__(self) -> None:
        if not (0 <= self.interval < float("inf") and 0 <= self.patience < float("inf")):
            msg = "interval and patience are finite and not below zero"
            raise SettingsError(msg)


class Growth:
    """A message that grows: its orders, which are sent in batches, and how it has ended."""

    def __init__(self, begun: Begun, pace: Pace) -> None:
        self.uuid: Final = begun.uuid
        self.channel: Final = begun.channel
        self.rev = begun.rev
        self.step = begun.step
        self.size = begun.size
        #: The answer to the end of the message, if this publisher has ended it.
        self.taken: Taken | None = None
        self.failure: Exception | None = None
        #: Whether the end is written, so that nothing may follow.
        self.is_left = False
        #: Whether nothing is sent any more.
        self.is_over = False
        self._pace = pace
        self._orders: deque[Order] = deque()
        self._unsent = 0
        self._given = 0
        self._carried_out = 0
        self._is_reported = False

    def check(self) -> None:
        """Raise the error if nothing more can be written."""
        if self.failure:
            self._is_reported = True
            raise self.failure.with_traceback(None)
        if self.is_left:
            msg = "the message has been ended, or left, by its own publisher"
            raise Ended(msg)

    @property
    def is_unheard(self) -> bool:
        """Whether the stream has failed, and the publisher does not know it yet."""
        return self.failure is not None and not self._is_reported

    @property
    def has_room(self) -> bool:
        """Whether the publisher need not wait."""
        return self._unsent < _MOST_UNSENT or self.is_over

    @property
    def has_orders(self) -> bool:
        """Whether there is anything to send."""
        return bool(self._orders)

    @property
    def is_urgent(self) -> bool:
        """Whether what there is is sent at once, because it fills a request or is the end."""
        return self._unsent >= self._most_bytes or self.is_left

    @property
    def given(self) -> int:
        """The number of orders so far."""
        return self._given

    def has_carried_out(self, orders: int) -> bool:
        """Return whether the server has carried out so many orders, or never will."""
        return self._carried_out >= orders or self.is_over

    def write(self, part: str | Sequence[Any], key: str) -> bool:
        """Take a piece. Return whether the sender has to wake up for it.

        Raises:
            StreamError: nothing more can be written. So does the `CallError` of a request.
            TypeError: it is no text or list, or has something in it that JSON has not.
            ValueError: it is a text that is not Unicode, or has a number that JSON has not.
        """
        self.check()
        if not isinstance(part, str | list | tuple):
            msg = f"a text or a list is appended, not a {type(part).__name__}"
            raise TypeError(msg)
        if not part:
            return False
        content = to_json(part)
        # What is in a list may be changed after this.
        value = part if isinstance(part, str) else json.loads(content)
        return self._order(Piece(key, value, len(key) + len(content)))

    def show_life(self) -> bool:
        """Tell the server that the publisher lives. Return whether the sender has to wake up."""
        self.check()
        return self._order(SignOfLife())

    def end(self, status: str | None) -> None:
        """End the message with a status, or leave it as it is, when all before is sent."""
        self.check()
        self._order(End(status))
        self.is_left = True

    def give_up(self, why: Exception | None = None) -> None:
        """End the message as failed if nothing else has ended it, and tell who writes why."""
        if not self.is_left and not self.is_over:
            self._order(End("failed"))
            self.is_left = True
            self.failure = why

    def _order(self, order: Order) -> bool:
        was_urgent, was_empty = self.is_urgent, not self._orders
        self._orders.append(order)
        self._given += 1
        if isinstance(order, Piece):
            self._unsent += order.size
        return was_empty or (self.is_urgent and not was_urgent)

    def take(self) -> Batch:
        """Return what is sent next."""
        batch = Batch(self._most_bytes, self._pace.interval == 0)
        while self._orders and not batch.is_full and batch.takes(self._orders[0]):
            self._orders.popleft()
        return batch

    def request(self, batch: Batch) -> Change | None:
        """Return the request of a batch; nothing if it has nothing to send."""
        items = batch.requests(self.uuid, self.channel, self.step)
        return Change.of(*items) if items else None

    def settle(self, batch: Batch, request: Change | None, answers: list[Taken | Edited]) -> None:
        """Note the answers to a batch.

        Raises:
            StreamError: the server has not carried it out.
        """
        if request:
            items = [change for change in request.changes if isinstance(change, Append)]
            try:
                taken = check(self.step, items, answers)
            except AppendRefused:
                steps = [one.step or 0 for one in answers if isinstance(one, Taken) and one.taken]
                self.step = max(self.step, *steps, 0)
                raise
            self.rev = self.rev if taken.rev is None else taken.rev
            self.step = self.step if taken.step is None else taken.step
            self.size = self.size if taken.size is None else taken.size
            if batch.end:
                self.taken = taken
        self._carried_out += batch.orders
        self._unsent -= batch.size
        self.is_over = batch.end is not None

    def ending(self, failure: Exception) -> Change | None:
        """Return the request that ends the message as failed after a server refused to append."""
        is_refused = isinstance(failure, AppendRefused) or (
            isinstance(failure, CallError)
            and failure.kind is ErrorKind.REFUSED
            and not failure.is_in_doubt
        )
        if not is_refused:
            return None
        step = self.step + 1
        return Change.of(Append(self.uuid, channel=self.channel, step=step, status="failed"))

    def end_refused(self, request: Change, answers: list[Taken | Edited]) -> None:
        """Note the answer to the request that ends it.

        Raises:
            StreamError: the server has not carried it out.
        """
        items = [change for change in request.changes if isinstance(change, Append)]
        self.taken = check(self.step, items, answers)

    def fail(self, failure: Exception) -> None:
        """Note why the stream is over."""
        self.failure = failure
        self.is_over = True

    def pause(self, error: CallError, failures: int, elapsed: float) -> float | None:
        """Return the pause before a batch is sent again, or nothing if it is not."""
        pause = max(_BACKOFF.pause(failures), error.retry_after or 0.0)
        is_patient = elapsed + pause <= self._pace.patience
        return pause if error.is_retryable and is_patient else None

    @property
    def _most_bytes(self) -> int:
        return min(MOST_BYTES, self._pace.max_body_size // 2)


class Growing:
    """What a stream, of threads or of an event loop, tells of its message."""

    @property
    def _growth(self) -> Growth:
        raise NotImplementedError

    @property
    def uuid(self) -> str:
        """The id of the message."""
        return self._growth.uuid

    @property
    def channel(self) -> str | None:
        """The channel of the message; none for a private message."""
        return self._growth.channel

    @property
    def rev(self) -> int:
        """The number of changes of the message, as far as answers have arrived."""
        return self._growth.rev

    @property
    def step(self) -> int:
        """The last step that the server has taken."""
        return self._growth.step

    @property
    def size(self) -> int | None:
        """The size of the payload in bytes of JSON, as far as answers have arrived."""
        return self._growth.size
