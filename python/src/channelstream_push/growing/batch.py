"""What is sent in one request of a growing message, and whether the server has carried it out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ..answers import FINAL, Taken
from ..errors import (
    AppendRefused,
    Cancelled,
    Ended,
    NotGrowing,
    StreamError,
    TakenOver,
    UnknownMessage,
)
from ..requests import Append

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..answers import Edited

#: The size of the pieces of a request, in bytes of JSON. A larger piece is sent alone.
MOST_BYTES: Final = 64 * 1024
#: The number of items of a request.
MOST_ITEMS: Final = 8


@dataclass(frozen=True, slots=True)
class Piece:
    """What goes behind the value of a key: a text, or the items of a list."""

    key: str
    value: str | list[Any]
    #: The bytes of its JSON.
    size: int


@dataclass(frozen=True, slots=True)
class SignOfLife:
    """Nothing is appended, but the publisher lives."""


@dataclass(frozen=True, slots=True)
class End:
    """The message ends, or is left as it is if there is no status."""

    status: str | None


Order = Piece | SignOfLife | End


@dataclass(slots=True)
class Batch:
    """The orders of one request. Pieces for the same key that follow each other are joined."""

    most_bytes: int
    #: Whether each piece is a step of its own.
    is_split: bool
    #: The number of orders in it, and the bytes of its pieces.
    orders: int = 0
    size: int = 0
    end: End | None = None
    _groups: list[list[Piece]] = field(default_factory=list)

    @property
    def is_full(self) -> bool:
        """Whether it takes nothing more."""
        return self.end is not None or self.size >= self.most_bytes

    def takes(self, order: Order) -> bool:
        """Take an order, or return false if it does not fit. An empty batch takes any order."""
        if isinstance(order, End):
            self.end = order
        elif isinstance(order, Piece):
            joins = (
                not self.is_split and bool(self._groups) and _is_like(self._groups[-1][0], order)
            )
            is_large = self.size > 0 and self.size + order.size > self.most_bytes
            if is_large or (not joins and len(self._groups) >= MOST_ITEMS):
                return False
            self.size += order.size
            if joins:
                self._groups[-1].append(order)
            else:
                self._groups.append([order])
        self.orders += 1
        return True

    def requests(self, uuid: str, channel: str | None, step: int) -> list[Append]:
        """Return the items of the request, which come after a step. There may be none to send."""
        status = self.end.status if self.end else None
        items = [
            Append(uuid, {group[0].key: _joined(group)}, channel=channel, step=step + number)
            for number, group in enumerate(self._groups, 1)
        ]
        if status and items:
            last = items[-1]
            items[-1] = Append(uuid, last.append, channel=channel, step=last.step, status=status)
        elif status:
            items.append(Append(uuid, channel=channel, step=step + 1, status=status))
        elif not items and not self.end:
            # It is only a sign of life, which takes no step.
            items.append(Append(uuid, channel=channel))
        return items


def _is_like(one: Piece, other: Piece) -> bool:
    return one.key == other.key and type(one.value) is type(other.value)


def _joined(pieces: list[Piece]) -> str | list[Any]:
    texts = [piece.value for piece in pieces if isinstance(piece.value, str)]
    if texts:
        return "".join(texts)
    return [item for piece in pieces for item in piece.value]


def check(step: int, requests: Sequence[Append], answers: Sequence[Taken | Edited]) -> Taken:
    """Check that the server has carried out these items, and return the answer to the last one.

    Args:
        step: the last step that was known to be taken before.
        requests: the items.
        answers: as many answers.

    Raises:
        StreamError: it has not, or has taken their steps for repeats of another publisher's.
    """
    last_step = max((request.step for request in requests if request.step), default=step)
    end = requests[-1].status
    taken: Taken | None = None
    for request, answer in zip(requests, answers, strict=True):
        # A server that does not know growing messages takes an append for an edit.
        if not isinstance(answer, Taken):
            raise NotGrowing(NOT_GROWING)
        if not answer.taken:
            raise of_refused(answer)
        # In the answers to a repeat, the later items of the request are done, too. A publisher that
        # takes over takes more steps than a request has.
        if not (request.step or step) <= (answer.step or 0) <= last_step:
            raise TakenOver(TAKEN_OVER)
        if answer.is_final and answer.status != end:
            raise ended(answer.status)
        taken = answer
    if taken is None or (end and taken.status != end):
        # The step of the end was taken, and the message has not ended: it was another's step.
        raise TakenOver(TAKEN_OVER)
    return taken


NOT_GROWING: Final = "the message is not one that grows"
TAKEN_OVER: Final = "another publisher has taken over the message"
_UNKNOWN: Final = (
    "the server does not know the message: it was deleted, or the server was restarted"
)


def ended(status: str | None) -> StreamError:
    """Return the error of a message that has ended with a status."""
    if status == "cancelled":
        return Cancelled()
    how = "given up" if status == "failed" else "finished"
    return Ended(f"the message was {how} by another program")


def of_refused(taken: Taken) -> StreamError:
    """Return why the server did not take an item."""
    if taken.status in FINAL:
        return ended(taken.status)
    match taken.reason:
        case "unknown message":
            return UnknownMessage(_UNKNOWN)
        case "not open":
            return NotGrowing(NOT_GROWING)
        case "a step is missing":
            # The steps of a stream have no gaps, so those that are there are not its own.
            return TakenOver(TAKEN_OVER)
    return AppendRefused(f"the server does not append this: {taken.reason or 'no reason given'}")
