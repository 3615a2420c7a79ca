"""`Reconnector`: the state machine of a listener, which decides what to open and what to report.

It does no IO, reads no clock and draws no random numbers. A driver does what `step` says, and
reports what came of it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from channelstream_push.errors import CallError, ErrorKind

from .events import (
    Append,
    Delete,
    Edit,
    Ended,
    Gap,
    Interrupted,
    Item,
    Message,
    Opened,
    Presence,
    UserStateChange,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from .events import EndReason, Event, Transport

#: A websocket that is closed as normal within so many seconds, without an event and without a
#: reason, was opened for an unknown connection. A listener that lived for longer was not sent from
#: one server to the next in a circle.
AT_ONCE: Final = 2.0

#: After so many websockets in a row that open and deliver nothing, a proxy seems to block them.
MUTE_SOCKETS: Final = 2

#: The seconds for which a blocked transport is not tried again.
BLOCKED_FOR: Final = 600.0

#: The seconds within which a request that was given up may arrive and supersede this listener, and
#: the most requests for which that is assumed. Two listeners must not take turns for long.
LATE: Final = 60.0
MOST_LATE: Final = 5

#: What servers without cursors store for a channel, and for a user (contract, section 8).
STORED_OF_CHANNEL: Final = 100
STORED_OF_USER: Final = 50

#: Close codes with which a server sends its listeners to the next one: going away, restart.
LEAVING: Final = (1001, 1012)
_NORMAL: Final = 1000


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses that double from the first to the longest, each with jitter."""

    first: float = 0.25
    longest: float = 30.0

    def pause(self, failures: int, random: float) -> float:
        """Return the pause after a failure that follows others: from half of it to the whole."""
        # No power of two that a float cannot hold.
        whole = min(self.first * 2.0 ** min(failures, 64), self.longest)
        return whole * (0.5 + 0.5 * random)


@dataclass(frozen=True, slots=True)
class Renew:
    """Make a new connection: report `renewed` or `failed`."""


@dataclass(frozen=True, slots=True)
class Open:
    """Open a transport: report `opened`, or why it is not."""

    transport: Transport
    conn_id: UUID = field(repr=False)
    since: str | None


@dataclass(frozen=True, slots=True)
class Receive:
    """Receive from the transport that is open: report `received`, `closed`, `ended` or `broken`."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait for so many seconds: report `paused`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Over:
    """Nothing is left to do."""


Step: TypeAlias = Renew | Open | Receive | Pause | Over


class Reconnector:
    """What a listener knows, and what it does next."""

    def __init__(
        self,
        *,
        transports: Sequence[Transport],
        backoff: Backoff,
        random: Callable[[], float],
        conn_id: UUID | None,
        can_renew: bool,
        since: str | None,
    ) -> None:
        self._transports = transports
        self._backoff = backoff
        self._random = random
        self._conn_id = conn_id
        self._can_renew = can_renew
        self._items: deque[Item] = deque()
        #: The cursor behind the event that was taken last.
        self.cursor = since
        #: The newest cursor that was received.
        self._since = since
        self._pause: float | None = None
        #: The transport that is open or to be opened.
        self._transport = transports[0]
        self._is_open = False
        #: When a transport is tried again that is blocked.
        self._blocked: dict[Transport, float] = {}
        self._opened_at = 0.0
        self._has_received = False
        self._is_over = False
        #: Since the last list of events or heartbeat.
        self._failures = 0
        self._renewals = 0
        self._mute_sockets = 0
        #: In a row, each from a server on which the listener had not been for long.
        self._departures = 0
        #: Requests that were given up without an answer, and when the last one was.
        self._unanswered = 0
        self._unanswered_at = 0.0
        #: The gap to report after the next `Opened`, or when it turns out that the server tells no
        #: cursors any more.
        self._gap: Gap | None = None
        self._catchup = _Catchup()

    def take(self) -> Event | None:
        """Return the next event, if there is one."""
        while self._items:
            item = self._items.popleft()
            if item.cursor is not None:
                self.cursor = item.cursor
            if item.event is not None:
                return item.event
        return None

    def step(self, now: float) -> Step:
        """Return what to do next, which stays the same until something is reported."""
        if self._is_over:
            return Over()
        if self._pause is not None:
            return Pause(self._pause)
        if self._is_open:
            return Receive()
        if self._conn_id is None:
            return Renew()
        self._transport = self._choose(now)
        return Open(self._transport, self._conn_id, self._since)

    def paused(self) -> None:
        """The pause is over."""
        self._pause = None

    def renewed(self, conn_id: UUID, cursor: str | None) -> None:
        """A connection was made, with the cursor where it begins, if the server told it."""
        self._conn_id = conn_id
        # An older cursor recovers more.
        if self._since is None and cursor:
            self._since = cursor
            self._items.append(Item(None, cursor))

    def opened(self, now: float) -> None:
        """The transport is open."""
        if self._conn_id is None:
            msg = "no transport is opened without a connection"
            raise RuntimeError(msg)
        self._is_open, self._opened_at, self._has_received = True, now, False
        self._catchup = _Catchup()
        self._push(Opened(self._conn_id, self._transport))
        if self._since is None:
            self._report_gap()

    def cursor_refused(self) -> None:
        """The server cannot read the cursor: it is forgotten, and the listener begins anew."""
        self._since = None
        self._gap = Gap("epoch")

    def unknown_connection(self) -> None:
        """The server does not know the connection."""
        self._is_open = False
        if not self._can_renew:
            self._end("unknown_connection")
            return
        self._conn_id = None
        self._gap = Gap("new_connection")
        # The first one follows at once, since the server is reachable. Further ones follow after
        # pauses, in case the server forgets each connection.
        self._renewals += 1
        if self._renewals > 1:
            self._pause = self._backoff.pause(self._renewals - 2, self._random())

    def blocked(self, error: Exception, now: float) -> None:
        """The server, or a proxy before it, does not support the transport."""
        self._give_up(now)
        if len(self._transports) == 1:
            self._interrupted(error)
            return
        self._blocked[self._transport] = now + BLOCKED_FOR
        if all(self._blocked.get(other, now) > now for other in self._transports):
            # None gets through: all have their chance again, after a pause.
            self._blocked.clear()
            self._interrupted(error)

    def failed(self, error: Exception) -> None:
        """A transport could not be opened for now, or no connection be made."""
        self._interrupted(error)

    def mute(self, error: Exception, now: float) -> None:
        """The transport opened, perhaps, and delivered nothing."""
        self._mute_sockets += self._transport == "websocket"
        if self._mute_sockets >= MUTE_SOCKETS:
            self._mute_sockets = 0
            self.blocked(error, now)
        else:
            self._give_up(now)
            self._interrupted(error)

    def received(self, items: Sequence[Item]) -> None:
        """Items arrived; none of them are a heartbeat."""
        self._has_received = True
        self._failures = self._renewals = self._mute_sockets = 0
        for item in items:
            self._since = item.cursor
            if item.cursor is None:
                self._report_gap()
            else:
                # The server has looked at the cursor, and reports what is lost.
                self._gap = None
            self._items.append(item)
            if item.cursor is None and (gap := self._catchup.count(item.event)):
                self._push(gap)

    def closed(self, code: int | None, reason: str, now: float) -> None:
        """The server closed the websocket, or a proxy did, without a code."""
        self._is_open = False
        if code is None:
            # The server always sends a code, so this close is not its own.
            self._missed()
            text = "the websocket was closed without a code"
            self._interrupted(CallError(text, ErrorKind.BAD_ANSWER, is_retryable=True))
        elif code == _NORMAL and reason.startswith("superseded"):
            self._superseded(reason, now)
        elif code == _NORMAL and self._is_unknown(reason, now):
            self.unknown_connection()
        elif code == _NORMAL:
            self._end("disconnected", reason)
        else:
            because = f": {reason}" if reason else ""
            text = f"the server closed the websocket with {code}{because}"
            error = CallError(text, ErrorKind.UNAVAILABLE, is_retryable=True)
            self._left(error, code in LEAVING, now)

    def ended(self, retry: float | None, reason: str, now: float) -> None:
        """The event stream ended in order, after a last `retry` in seconds and a last comment.

        A proxy may end a stream like that, too. If it is the connection that has ended, the next
        stream shows it.
        """
        self._is_open = False
        if retry is not None and retry > _LONGEST_RETRY:
            self._superseded(reason, now)
        else:
            because = f": {reason}" if reason else ""
            text = f"the event stream ended{because}"
            error = CallError(text, ErrorKind.UNAVAILABLE, is_retryable=True)
            self._left(error, retry is not None, now)

    def broken(self, error: Exception, now: float) -> None:
        """The transport broke, or was silent for too long."""
        self._is_open = False
        self._missed()
        if self._has_received:
            self._interrupted(error)
        else:
            self.mute(error, now)

    def finish(self) -> None:
        """The listener is closed."""
        self._is_over = True
        self._is_open = False
        self._items.clear()

    def _choose(self, now: float) -> Transport:
        for transport in self._transports:
            if self._blocked.get(transport, now) <= now:
                return transport
        return self._transports[0]

    def _is_unknown(self, reason: str, now: float) -> bool:
        return not reason and not self._has_received and now - self._opened_at < AT_ONCE

    def _give_up(self, now: float) -> None:
        self._unanswered, self._unanswered_at = min(self._unanswered + 1, MOST_LATE), now

    def _superseded(self, reason: str, now: float) -> None:
        """Another listener took over: somebody else's, or one of this one that comes late."""
        if self._unanswered == 0 or now - self._unanswered_at > LATE:
            self._end("superseded", reason)
            return
        self._unanswered -= 1
        text = (
            "superseded, perhaps by a request of this listener that was given up and arrived late"
        )
        self._interrupted(CallError(text, ErrorKind.UNAVAILABLE, is_retryable=True))

    def _left(self, error: CallError, is_leaving: bool, now: float) -> None:
        """The server sent the listener away: to the next server, or only for now."""
        if not is_leaving:
            self._interrupted(error)
            return
        if now - self._opened_at >= AT_ONCE:
            self._departures = 0
        # The server spreads what it sends away, and another one is there at once. Not so if that
        # one leaves as well.
        if self._departures == 0:
            self._interrupted(error, 0.0)
        else:
            self._interrupted(error, self._backoff.pause(self._departures - 1, self._random()))
        self._departures += 1

    def _interrupted(self, error: Exception, pause: float | None = None) -> None:
        if pause is None:
            asked = getattr(error, "retry_after", None)
            asked = float(asked) if isinstance(asked, int | float) else 0.0
            pause = self._backoff.pause(self._failures, self._random())
            pause = max(pause, min(asked, self._backoff.longest))
            self._failures += 1
        self._pause = pause
        self._push(Interrupted(error, pause))

    def _missed(self) -> None:
        """Note a gap to report. A broken TCP connection is the smallest one."""
        if self._gap is None:
            self._gap = Gap("broken_transport")

    def _report_gap(self) -> None:
        if self._gap is not None:
            self._push(self._gap)
            self._gap = None

    def _push(self, event: Event) -> None:
        # What is reported of a listener that was closed meanwhile is of no interest.
        if not self._is_over:
            self._items.append(Item(event))

    def _end(self, reason: EndReason, text: str = "") -> None:
        self._push(Ended(reason, text))
        self._is_over = True


#: A server that asks not to be called for longer than this has another listener for the connection.
_LONGEST_RETRY: Final = 3600.0


class _Catchup:
    """The number of catch-up events of the channel that arrives, from a server without cursors."""

    def __init__(self) -> None:
        self._channel: str | None = None
        self._count = 0

    def count(self, event: Event | None) -> Gap | None:
        """Count an event. Returns a gap if the catch-up is as long as what the server stores."""
        kinds = Message | Edit | Append | Delete | Presence | UserStateChange
        if not isinstance(event, kinds) or not event.catchup:
            return None
        # Catch-up arrives channel by channel.
        if self._channel != event.channel:
            self._channel, self._count = event.channel, 0
        self._count += 1
        most = STORED_OF_USER if event.channel is None else STORED_OF_CHANNEL
        return Gap("full_catchup", event.channel) if self._count == most else None
