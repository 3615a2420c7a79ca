"""What a listener does next, in virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from channelstream_push.errors import CallError, ErrorKind
from channelstream_push.listening import Ended, Gap, Interrupted, Opened, UnknownEvent
from channelstream_push.listening.events import Item, parse_item
from channelstream_push.listening.reconnector import (
    BLOCKED_FOR,
    Backoff,
    Open,
    Over,
    Pause,
    Receive,
    Reconnector,
    Renew,
)

if TYPE_CHECKING:
    from channelstream_push.listening import Event, Transport

FIRST, SECOND = UUID(int=1), UUID(int=2)
BOTH: tuple[Transport, ...] = ("websocket", "event_stream")


def listener(
    *,
    transports: tuple[Transport, ...] = BOTH,
    conn_id: UUID | None = FIRST,
    can_renew: bool = True,
    since: str | None = None,
) -> Reconnector:
    return Reconnector(
        transports=transports,
        backoff=Backoff(1.0, 10.0),
        random=lambda: 1.0,
        conn_id=conn_id,
        can_renew=can_renew,
        since=since,
    )


def error(**more: Any) -> CallError:
    return CallError("broken", ErrorKind.UNAVAILABLE, **more)


def events(one: Reconnector) -> list[Event]:
    return list(iter(one.take, None))


def opened(one: Reconnector, transport: Transport, now: float) -> None:
    """Open the transport that is due."""
    step = one.step(now)
    assert isinstance(step, Open)
    assert step.transport == transport
    one.opened(now)


def pause(one: Reconnector, now: float = 0.0) -> float:
    """Take what happened, wait as told, and return for how long."""
    events(one)
    step = one.step(now)
    assert isinstance(step, Pause)
    one.paused()
    return step.seconds


def item(cursor: str | None, number: int = 0) -> Item:
    return Item(UnknownEvent(type="new", channel=None, raw=number), cursor)


def caught_up(channel: str | None) -> Item:
    return parse_item(
        {"type": "message:delete", "uuid": str(FIRST), "channel": channel, "catchup": True}
    )


def test_pauses_double_up_to_the_longest_and_have_jitter() -> None:
    backoff = Backoff(1.0, 10.0)
    assert [backoff.pause(n, 1.0) for n in range(6)] == [1, 2, 4, 8, 10, 10]
    assert [backoff.pause(n, 0.0) for n in range(6)] == [0.5, 1, 2, 4, 5, 5]
    assert backoff.pause(10**9, 0.5) == 7.5


def test_failures_count_until_something_arrives() -> None:
    one = listener()
    pauses = []
    for _ in range(3):
        one.failed(error())
        pauses.append(pause(one))
    opened(one, "websocket", 0)
    one.received([])
    one.broken(error(), 1)
    pauses.append(pause(one))
    assert pauses == [1, 2, 4, 1]


def test_what_the_server_asks_for_counts_up_to_the_longest_pause() -> None:
    one = listener()
    one.failed(error(retry_after=5.0))
    assert pause(one) == 5.0
    one.failed(error(retry_after=7200.0))
    assert pause(one) == 10.0
    one.failed(ValueError("of a program"))
    assert pause(one) == 4.0


def test_a_connection_is_made_first_and_its_cursor_counts() -> None:
    one = listener(conn_id=None)
    assert one.step(0) == Renew()
    one.failed(error())
    assert pause(one) == 1.0
    assert one.step(0) == Renew()
    one.renewed(SECOND, "a-1")
    assert one.step(0) == Open("websocket", SECOND, "a-1")
    assert events(one) == []
    assert one.cursor == "a-1"
    older = listener(conn_id=None, since="a-0")
    older.renewed(SECOND, "a-1")
    assert older.step(0) == Open("websocket", SECOND, "a-0")


def test_the_cursor_is_that_of_what_was_taken() -> None:
    one = listener(since="a-0")
    opened(one, "websocket", 0)
    one.received([item("a-1", 1), Item(None, "a-2"), item("a-3", 3)])
    assert isinstance(one.take(), Opened)
    assert one.cursor == "a-0"
    one.take()
    assert one.cursor == "a-1"
    # The next attempt begins behind all that is here.
    one.broken(error(), 9)
    one.paused()
    assert one.step(9) == Open("websocket", FIRST, "a-3")
    one.take()
    assert one.cursor == "a-3"


@pytest.mark.parametrize("code", [1001, 1012])
def test_a_server_that_leaves_is_left_at_once_but_not_in_a_circle(code: int) -> None:
    one = listener()
    pauses = []
    for now in (100.0, 100.1, 100.2, 200.0, 300.0):
        opened(one, "websocket", now - 0.05 if now < 200 else now - 50)
        one.received([item("a-1")])
        one.closed(code, "the server is shutting down", now)
        pauses.append(pause(one, now))
    assert pauses == [0, 1, 2, 0, 0]


def test_other_closes_are_interruptions() -> None:
    one = listener()
    opened(one, "websocket", 0)
    one.received([item("a-1")])
    one.closed(1008, "reads nothing of what waits for it", 50)
    [*_, interrupted] = events(one)
    assert isinstance(interrupted, Interrupted)
    assert interrupted.pause == 1.0
    assert str(interrupted.error) == (
        "the server closed the websocket with 1008: reads nothing of what waits for it"
    )


def test_a_normal_close_at_once_means_an_unknown_connection() -> None:
    one = listener()
    opened(one, "websocket", 10)
    one.closed(1000, "", 10.5)
    assert one.step(10.5) == Renew()
    one.renewed(SECOND, None)
    opened(one, "websocket", 11)
    one.closed(1000, "", 11.1)
    # The second in a row comes after a pause.
    assert pause(one, 11.1) == 1.0
    assert one.step(13) == Renew()
    alone = listener(can_renew=False)
    opened(alone, "websocket", 10)
    alone.closed(1000, "", 10.5)
    assert events(alone)[-1] == Ended("unknown_connection")
    assert alone.step(11) == Over()


@pytest.mark.parametrize(
    ("received", "reason", "after", "end"),
    [
        (True, "", 1.0, Ended("disconnected")),
        (False, "", 3.0, Ended("disconnected")),
        (False, "spam", 0.1, Ended("disconnected", "spam")),
        (False, "superseded by x", 0.1, Ended("superseded", "superseded by x")),
    ],
)
def test_other_normal_closes_are_the_end(
    *, received: bool, reason: str, after: float, end: Ended
) -> None:
    one = listener()
    opened(one, "websocket", 0)
    if received:
        one.received([])
    one.closed(1000, reason, after)
    assert events(one)[-1] == end
    assert one.step(9) == Over()
    assert one.take() is None


def test_event_streams_end_for_other_reasons() -> None:
    one = listener(transports=("event_stream",))
    opened(one, "event_stream", 0)
    one.received([item("a-1")])
    one.ended(5.0, "the server is shutting down", 90)
    assert pause(one, 90) == 0.0
    opened(one, "event_stream", 91)
    one.received([])
    one.ended(None, "", 200)
    assert pause(one, 200) == 1.0
    one.unknown_connection()
    assert one.step(201) == Renew()
    one.renewed(SECOND, None)
    opened(one, "event_stream", 202)
    one.ended(86400.0, "superseded", 203)
    assert events(one)[-1] == Ended("superseded", "superseded")


def test_a_refused_cursor_is_a_gap_of_everything() -> None:
    one = listener(since="strange")
    assert one.step(0) == Open("websocket", FIRST, "strange")
    one.cursor_refused()
    assert one.step(0) == Open("websocket", FIRST, None)
    opened(one, "websocket", 0)
    assert events(one) == [Opened(FIRST, "websocket"), Gap("epoch")]


def test_a_server_with_cursors_reports_gaps_itself() -> None:
    one = listener(since="a-1")
    opened(one, "websocket", 0)
    one.received([item("a-2")])
    one.broken(error(), 1)
    pause(one)
    opened(one, "websocket", 2)
    one.received([item("a-3")])
    assert [type(event) for event in events(one)] == [Opened, UnknownEvent]


def test_gaps_of_a_server_without_cursors_are_assumed() -> None:
    one = listener()
    opened(one, "websocket", 0)
    one.received([item(None)])
    one.broken(error(), 1)
    pause(one)
    opened(one, "websocket", 2)
    assert events(one) == [Opened(FIRST, "websocket"), Gap("broken_transport")]
    one.received([caught_up("b"), *[caught_up("c")] * 100, *[caught_up(None)] * 50])
    gaps = [(at, event) for at, event in enumerate(events(one)) if isinstance(event, Gap)]
    assert gaps == [(101, Gap("full_catchup", "c")), (152, Gap("full_catchup"))]
    one.unknown_connection()
    one.renewed(SECOND, None)
    opened(one, "websocket", 3)
    assert events(one) == [Opened(SECOND, "websocket"), Gap("new_connection")]


def test_a_server_that_knows_cursors_no_longer_is_noticed() -> None:
    one = listener()
    opened(one, "websocket", 0)
    one.received([item("a-1")])
    one.broken(error(), 1)
    pause(one)
    opened(one, "websocket", 2)
    one.received([item(None, 1)])
    assert [type(event) for event in events(one)] == [Opened, Gap, UnknownEvent]
    assert one.cursor == "a-1"


def test_mute_websockets_give_way_to_event_streams_for_a_while() -> None:
    one = listener()
    opened(one, "websocket", 0)
    one.broken(error(), 15)
    pause(one, 15)
    one.mute(error(), 30)
    assert one.step(30) == Open("event_stream", FIRST, None)
    opened(one, "event_stream", 31)
    one.received([item("a-1")])
    one.broken(error(), 100)
    pause(one)
    assert one.step(101) == Open("event_stream", FIRST, "a-1")
    assert one.step(30 + BLOCKED_FOR) == Open("websocket", FIRST, "a-1")


def test_where_nothing_gets_through_all_are_tried_again_after_a_pause() -> None:
    one = listener()
    one.blocked(error(), 0)
    assert one.step(0) == Open("event_stream", FIRST, None)
    one.blocked(error(), 1)
    assert pause(one, 1) == 1.0
    assert one.step(2) == Open("websocket", FIRST, None)
    alone = listener(transports=("event_stream",))
    alone.blocked(error(), 0)
    assert pause(alone) == 1.0
    assert alone.step(2) == Open("event_stream", FIRST, None)


def test_mute_event_streams_are_interruptions() -> None:
    one = listener(transports=("event_stream",))
    for failures in range(3):
        opened(one, "event_stream", 0)
        one.broken(error(), 1)
        assert pause(one) == 2.0**failures


@pytest.mark.parametrize("transport", BOTH)
def test_an_own_request_that_comes_late_is_not_the_end(transport: Transport) -> None:
    def supersede(one: Reconnector, now: float) -> list[Event]:
        opened(one, transport, now)
        if transport == "websocket":
            one.closed(1000, "superseded by a newer listener", now)
        else:
            one.ended(86400.0, "superseded by a newer listener", now)
        return events(one)

    end = Ended("superseded", "superseded by a newer listener")
    one = listener(transports=(transport,))
    for _ in range(2):
        one.mute(error(), 10)
        pause(one)
    for now in (11, 12):
        assert isinstance(supersede(one, now)[-1], Interrupted)
        one.paused()
    # As many as were given up, and no more.
    assert supersede(one, 13)[-1] == end
    much_later = listener(transports=(transport,))
    much_later.mute(error(), 10)
    pause(much_later)
    assert supersede(much_later, 71)[-1] == end
    # Two listeners do not take turns for long.
    often = listener(transports=(transport,))
    for _ in range(100):
        often.mute(error(), 10)
        pause(often)
    for _ in range(5):
        assert isinstance(supersede(often, 11)[-1], Interrupted)
        often.paused()
    assert supersede(often, 12)[-1] == end


def test_what_is_reported_after_the_end_is_of_no_interest() -> None:
    one = listener()
    opened(one, "websocket", 0)
    assert one.step(0) == Receive()
    one.finish()
    one.broken(error(), 1)
    one.closed(1000, "", 1)
    assert events(one) == []
    assert one.step(2) == Over()


def test_no_id_of_a_connection_is_shown() -> None:
    assert str(FIRST) not in repr(Open("websocket", FIRST, None))
