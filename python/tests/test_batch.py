"""What is sent in one request of a growing message, and what its answers mean."""

from __future__ import annotations

from typing import Any

import pytest

from channelstream_push import (
    Append,
    AppendRefused,
    CallError,
    Cancelled,
    Ended,
    ErrorKind,
    NotGrowing,
    SettingsError,
    StreamError,
    Taken,
    TakenOver,
    UnknownMessage,
)
from channelstream_push.answers import Edited, Posted
from channelstream_push.growing.batch import Batch, End, Order, Piece, SignOfLife, check
from channelstream_push.growing.growth import Growth, Pace
from channelstream_push.growing.opening import Begun, opened, taken_over
from channelstream_push.requests import Change, Message, Publish

ID = "8e03978e-40d5-43dd-bc93-6894a57f9324"


def piece(value: str | list[Any], key: str = "text") -> Piece:
    return Piece(key, value, 10)


def requests(orders: list[Order], step: int = 0, *, split: bool = False) -> list[Append]:
    batch = Batch(1000, split)
    assert all(batch.takes(order) for order in orders)
    return batch.requests(ID, "c", step)


def item(append: Any = None, step: int | None = None, status: str | None = None) -> Append:
    return Append(ID, append, channel="c", step=step, status=status)


@pytest.mark.parametrize(
    ("orders", "items"),
    [
        ([SignOfLife()], [item()]),
        ([piece("a"), piece("b")], [item({"text": "ab"}, 1)]),
        ([piece(["a"], "x"), piece([1, 2], "x")], [item({"x": ["a", 1, 2]}, 1)]),
        (
            [piece("a"), piece(["b"]), piece("c")],
            [item({"text": "a"}, 1), item({"text": ["b"]}, 2), item({"text": "c"}, 3)],
        ),
        (
            [piece("a"), piece("b", "x"), piece("c")],
            [item({"text": "a"}, 1), item({"x": "b"}, 2), item({"text": "c"}, 3)],
        ),
        ([piece("a"), SignOfLife(), piece("b")], [item({"text": "ab"}, 1)]),
        ([piece("a"), End("done")], [item({"text": "a"}, 1, "done")]),
        ([End("failed")], [item(None, 1, "failed")]),
        ([piece("a"), End(None)], [item({"text": "a"}, 1)]),
        ([End(None)], []),
    ],
)
def test_orders_become_items(orders: list[Order], items: list[Append]) -> None:
    assert requests(orders) == items


def test_steps_go_on_and_split_pieces_are_not_joined() -> None:
    assert requests([piece("a"), piece("b")], 4, split=True) == [
        item({"text": "a"}, 5),
        item({"text": "b"}, 6),
    ]


def test_a_batch_has_bounds() -> None:
    batch = Batch(25, is_split=False)
    assert batch.takes(piece("a"))
    assert batch.takes(piece("b"))
    assert not batch.takes(piece("c"))
    large = Batch(5, is_split=False)
    assert large.takes(piece("a"))
    assert large.is_full
    many = Batch(1000, is_split=False)
    assert all(many.takes(piece("x", str(at))) for at in range(8))
    assert not many.takes(piece("x", "9"))
    assert many.takes(piece("y", "7"))
    assert many.orders == 9


def taken(step: int | None, status: str = "open", **changes: Any) -> Taken:
    return Taken(ID, "c", **{"taken": True, "rev": 1, "status": status, "step": step, **changes})


def refused(reason: str | None, status: str | None = "open") -> Taken:
    return Taken(ID, "c", taken=False, reason=reason, status=status)


TWO = [item({"a": "x"}, 3), item({"b": "y"}, 4)]
LAST = [item({"a": "x"}, 3, "done")]


@pytest.mark.parametrize(
    ("items", "answers"),
    [
        (TWO, [taken(3), taken(4)]),
        # A repeat of what was done.
        (TWO, [taken(4), taken(4)]),
        (LAST, [taken(3, "done")]),
        ([item()], [taken(2)]),
    ],
)
def test_what_was_carried_out_is_taken(items: list[Append], answers: list[Taken]) -> None:
    assert check(2, items, answers) == answers[-1]


@pytest.mark.parametrize(
    ("items", "answers", "error"),
    [
        (TWO, [taken(3), Edited(ID, "c")], NotGrowing),
        (TWO, [taken(13), taken(13)], TakenOver),
        (TWO, [refused("a step is missing"), refused("a step is missing")], TakenOver),
        (TWO, [taken(3), refused(None, "cancelled")], Cancelled),
        (TWO, [taken(3), taken(4, "cancelled")], Cancelled),
        (TWO, [refused(None, "done")] * 2, Ended),
        (TWO, [refused("unknown message", None)] * 2, UnknownMessage),
        (TWO, [refused("not open", None)] * 2, NotGrowing),
        (TWO, [refused("the message would exceed max_growing_size")] * 2, AppendRefused),
        (TWO, [refused(None)] * 2, AppendRefused),
        (LAST, [taken(3, "failed")], Ended),
        # The step was another publisher's, so that the message has not ended.
        (LAST, [taken(3, "open")], TakenOver),
        ([item()], [taken(9)], TakenOver),
    ],
)
def test_what_was_not_carried_out_is_told(
    items: list[Append], answers: list[Any], error: type[StreamError]
) -> None:
    with pytest.raises(error):
        check(2, items, answers)


def growth(**changes: float) -> Growth:
    pace = {"interval": 0.04, "patience": 60.0, "max_body_size": 1_000_000, **changes}
    return Growth(Begun(ID, "c"), Pace(**pace))  # type: ignore[arg-type]


def test_the_sender_wakes_up_for_the_first_piece_and_for_much() -> None:
    grown = growth()
    assert grown.write("a", "text")
    assert not grown.write("b", "text")
    assert not grown.write("", "text")
    assert grown.write("x" * 70_000, "text")
    assert (grown.is_urgent, grown.has_room, grown.given) == (True, True, 3)
    grown.write("x" * 200_000, "text")
    assert not grown.has_room
    first = grown.take()
    assert (first.orders, first.size) == (2, len('text"a"text"b"'))
    grown.settle(first, grown.request(first), [taken(1)])
    assert (grown.step, grown.has_carried_out(2), grown.has_carried_out(3)) == (1, True, False)


def test_a_list_is_as_it_was_when_it_was_written() -> None:
    grown = growth()
    source = {"url": "a"}
    grown.write([source], "sources")
    source["url"] = "changed"
    request = grown.request(grown.take())
    assert request
    assert request.changes == (item({"sources": [{"url": "a"}]}, 1),)


@pytest.mark.parametrize("part", ["\ud800", [float("nan")], [b"x"], 7, {"a": 1}, None, b"x"])
def test_what_cannot_be_appended_is_an_error_where_it_is_written(part: Any) -> None:
    grown = growth()
    with pytest.raises((TypeError, ValueError)):
        grown.write(part, "text")
    assert not grown.has_orders


def test_a_failure_is_told_each_time() -> None:
    grown = growth()
    grown.fail(Cancelled())
    assert grown.is_unheard
    for _ in range(2):
        with pytest.raises(Cancelled):
            grown.write("a", "text")
    assert not grown.is_unheard


def test_nothing_follows_the_end() -> None:
    grown = growth()
    grown.end("done")
    for late in (lambda: grown.write("a", "text"), lambda: grown.end("done"), grown.show_life):
        with pytest.raises(Ended):
            late()


def test_patience_ends() -> None:
    grown = growth(patience=1.0)
    busy = CallError("busy", ErrorKind.UNAVAILABLE, is_retryable=True)
    assert grown.pause(busy, 0, 0.0)
    assert grown.pause(busy, 0, 0.9) is None
    assert grown.pause(busy.replaced(retry_after=2.0), 0, 0.0) is None
    assert grown.pause(busy.replaced(retry_after=0.6), 0, 0.0) == 0.6
    assert grown.pause(busy.replaced(is_retryable=False), 0, 0.0) is None


@pytest.mark.parametrize("changes", [{"interval": -1.0}, {"patience": float("nan")}])
def test_a_pace_has_possible_numbers(changes: Any) -> None:
    with pytest.raises(SettingsError):
        growth(**changes)


def test_a_repeat_that_is_refused_because_the_message_is_there_takes_it_over() -> None:
    steps = opened(Message("bot", {}, channel="c", uuid=ID))
    assert isinstance(next(steps), Publish)
    lost = CallError("there", ErrorKind.REFUSED, status=422, is_in_doubt=True)
    assert steps.throw(lost) == Change.of(item())
    claims: Any = steps.send([taken(None)])
    assert [change.step for change in claims.changes] == list(range(1, 10))
    with pytest.raises(StopIteration) as end:
        steps.send([taken(step) for step in range(1, 10)])
    assert end.value.value == Begun(ID, "c", rev=1, step=9)


def test_a_refusal_that_is_not_in_doubt_is_one() -> None:
    steps = opened(Message("bot", {}, channel="c"))
    next(steps)
    error = CallError("no", ErrorKind.REFUSED, status=422)
    with pytest.raises(CallError) as caught:
        steps.throw(error)
    assert caught.value is error


def test_a_server_that_does_not_know_growing_messages_is_told() -> None:
    for posted in ([], [Posted(ID, "bot", "c", [], [], False, None)]):  # type: ignore[arg-type]
        steps = opened(Message("bot", {}, channel="c"))
        next(steps)
        with pytest.raises(NotGrowing):
            steps.send(posted)


def test_a_message_that_others_take_again_and_again_is_left_to_them() -> None:
    steps = taken_over(ID, "c")
    next(steps)
    request: Any = steps.send([taken(1)])
    with pytest.raises(TakenOver):
        for _ in range(20):
            first = request.changes[0].step
            request = steps.send([taken(first + 50)] * 9)
