"""How a growing message is opened or taken over, without IO: requests go out, answers come in."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from ..answers import Taken
from ..errors import CallError, NotGrowing, Nowhere, TakenOver
from ..requests import Append, Change, Message, Publish, Request, new_id
from .batch import MOST_ITEMS, NOT_GROWING, TAKEN_OVER, ended, of_refused

if TYPE_CHECKING:
    from ..answers import Edited, Posted

#: How often a message is taken over again, because its other publisher took a step in between.
_TAKEOVERS: Final = 10


@dataclass(frozen=True, slots=True)
class Begun:
    """A message that grows, and how far it is."""

    uuid: str
    channel: str | None
    rev: int = 0
    step: int = 0
    size: int | None = None


#: Yields requests, is sent their answers or thrown their `CallError`, and returns the message.
Steps = Generator[Request[Any], Any, Begun]


def opened(message: Message) -> Steps:
    """Open a message.

    Raises:
        StreamError: it is nowhere, or the server does not know growing messages.
        CallError: a request failed.
    """
    uuid = str(message.uuid or new_id())
    message = replace(message, uuid=uuid, status="open")
    try:
        posted: list[Posted] = yield Publish.of(message)
    except CallError as error:
        # The first request was carried out, and its repeat is refused because the message is there.
        if not (error.is_in_doubt and error.status == 422):
            raise
        posted = []
        is_there = True
    else:
        is_there = False
    if is_there:
        return (yield from taken_over(uuid, message.channel))
    if not posted:
        raise NotGrowing(NOT_GROWING)
    if posted[0].problem:
        msg = f"the message went nowhere: {posted[0].problem}"
        raise Nowhere(msg)
    if posted[0].status is None:
        raise NotGrowing(NOT_GROWING)
    return Begun(uuid, message.channel)


def taken_over(uuid: str, channel: str | None) -> Steps:
    """Take a message over, by more steps without a text than a request of another publisher has.

    The server takes the steps of one request together. If it answers the first with that step, all
    are ours; otherwise another publisher took them. Whatever the publisher before sends with these
    steps is not carried out, and by the answer it learns that it is no longer the one.

    Raises:
        StreamError: it does not grow any more, or is taken over by others again and again.
        CallError: a request failed.
    """
    known = _growing((yield Change.of(Append(uuid, channel=channel)))[0])
    for _ in range(_TAKEOVERS):
        before = known.step or 0
        claims = [
            Append(uuid, {}, channel=channel, step=before + number)
            for number in range(1, MOST_ITEMS + 2)
        ]
        answers: list[Taken | Edited] = yield Change.of(*claims)
        taken = [_growing(answer) for answer in answers]
        known = taken[-1]
        if taken[0].step == before + 1:
            step = known.step or before + len(claims)
            return Begun(uuid, known.channel or channel, known.rev or 0, step, known.size)
    raise TakenOver(TAKEN_OVER)


def _growing(answer: Taken | Edited) -> Taken:
    if not isinstance(answer, Taken):
        raise NotGrowing(NOT_GROWING)
    if answer.is_final:
        raise ended(answer.status)
    if not answer.taken:
        raise of_refused(answer)
    return answer
