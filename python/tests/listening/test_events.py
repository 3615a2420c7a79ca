"""Events out of what servers send."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest

from channelstream_push.listening.events import (
    Append,
    ChangedKey,
    Delete,
    Edit,
    Gap,
    Item,
    MalformedError,
    Message,
    Opened,
    Presence,
    PresentUser,
    UnknownEvent,
    UserStateChange,
    parse_item,
    parse_list,
)
from channelstream_push.listening.timestamps import parse_time

ID = "00000000-0000-0000-0000-000000000007"
UTC = timezone.utc
TIME = "2026-01-02T03:04:05"


def event(**fields: Any) -> Any:
    item = parse_item({"uuid": ID, **fields})
    assert item.cursor is None
    return item.event


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-29T07:24:43.851497", datetime(2026, 11, 29, 7, 24, 43, 851497, UTC)),
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, 0, UTC)),
        ("2026-1-2T3:4", datetime(2026, 1, 2, 3, 4, tzinfo=UTC)),
        ("2026-01-02 03:04:05.5", datetime(2026, 1, 2, 3, 4, 5, 500000, UTC)),
        ("2026-01-02T03:04:05.1234567890", datetime(2026, 1, 2, 3, 4, 5, 123456, UTC)),
        (
            "2024-05-06T07:08+02:30",
            datetime(2024, 5, 6, 7, 8, tzinfo=timezone(timedelta(hours=2, minutes=30))),
        ),
        ("2024-05-06T07:08:00-0100", datetime(2024, 5, 6, 8, 8, tzinfo=UTC)),
    ],
)
def test_times_of_all_forms_have_a_zone(text: str, time: datetime) -> None:
    assert parse_time(text) == time


@pytest.mark.parametrize(
    "text",
    [
        "",
        "today",
        "2026-13-01T00:00",
        "0000-01-01T00:00",
        "2026-01-01T24:00",
        "2026-01-01T00:00+25:00",
        "٢٠٢٦-01-01T00:00",
        "2026-01-01T00:00:00." + "1" * 100,
        "2026-01-01T00:00Z\n",
    ],
)
def test_what_is_no_time_is_none(text: str) -> None:
    assert parse_time(text) is None


def test_every_kind_is_parsed() -> None:
    message = event(
        type="message", user="a", channel="c", message={"n": 1}, timestamp=TIME, catchup=True
    )
    assert isinstance(message, Message)
    assert (message.uuid, message.channel, message.user) == (UUID(ID), "c", "a")
    assert (message.message, message.catchup, message.is_growing) == ({"n": 1}, True, False)
    assert message.timestamp == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    opened = event(
        type="message", user="a", channel=None, timestamp=TIME, status="open", rev=3, edited=None
    )
    assert (opened.status, opened.rev, opened.channel, opened.message) == ("open", 3, None, None)
    assert opened.is_growing
    edit = event(type="message:edit", channel="c", edited=TIME)
    assert isinstance(edit, Edit)
    assert (edit.user, edit.message, edit.timestamp) == (None, None, None)
    append = event(
        type="message:append", channel="c", append={"text": "wö\n", "l": [1]}, rev=5, status="done",
        **{"from": 3},
    )  # fmt: skip
    assert isinstance(append, Append)
    assert (append.append, append.from_rev, append.rev) == ({"text": "wö\n", "l": [1]}, 3, 5)
    assert append.status == "done"
    assert isinstance(event(type="message:delete", channel="c"), Delete)
    presence = event(
        type="presence", user="b", channel="c", timestamp=TIME, message={"action": "joined"},
        users=[{"user": "b", "state": {"k": 1}}], state={"k": 1},
    )  # fmt: skip
    assert isinstance(presence, Presence)
    assert (presence.action, presence.state) == ("joined", {"k": 1})
    assert presence.users == (PresentUser("b", {"k": 1}),)
    change = event(
        type="user_state_change", user="b", channel="c", timestamp=TIME,
        message={"state": {"k": None}, "changed": [{"key": "k", "value": None}]},
    )  # fmt: skip
    assert isinstance(change, UserStateChange)
    assert (change.state, change.changed) == ({"k": None}, (ChangedKey("k", None),))


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "new"},
        {},
        {"type": 7},
        {"type": "message"},
        {"type": "message", "user": "a", "timestamp": "noon"},
        {"type": "message", "user": "a", "timestamp": TIME, "catchup": "yes"},
        {"type": "message", "user": "a", "timestamp": TIME, "status": "paused", "rev": 1},
        {"type": "message", "user": "a", "timestamp": TIME, "status": ["open"], "rev": 1},
        {"type": "message", "user": "a", "timestamp": TIME, "status": "open", "rev": True},
        {"type": "message:append", "append": {"text": 7}, "from": 0, "rev": 1},
        {"type": "message:append", "append": {"text": "7"}, "from": -1, "rev": 1},
        {"type": "presence", "user": "b", "timestamp": TIME, "message": {"action": "danced"}},
        {"type": "presence", "user": "b", "timestamp": TIME, "message": {"action": ["joined"]}},
        {"type": "user_state_change", "user": "b", "timestamp": TIME, "message": {"state": []}},
        {"type": "gap", "reason": 7},
        {"type": "message:delete", "uuid": "no uuid"},
        {"type": "message:delete", "uuid": 7},
    ],
)
def test_unknown_events_are_told_whole(fields: dict[str, Any]) -> None:
    unknown = event(**{"channel": "c", **fields})
    assert isinstance(unknown, UnknownEvent)
    assert unknown.channel == "c"
    assert unknown.raw == {"uuid": ID, "channel": "c", **fields}
    kind = fields.get("type")
    assert unknown.type == (kind if isinstance(kind, str) else "")


def test_what_is_no_object_is_told_too() -> None:
    raws: list[Any] = [7, None, "x", []]
    items = parse_list('[7, null, "x", []]')
    assert [item.event for item in items] == [
        UnknownEvent(type="", channel=None, raw=raw) for raw in raws
    ]


def test_cursors_and_gaps_are_told_apart_from_events() -> None:
    items = parse_list(
        """[{"type": "cursor", "seq": "a-1"},
            {"type": "gap", "channel": "c", "reason": "evicted", "seq": "a-2"},
            {"type": "gap", "reason": "epoch", "seq": "a-3"},
            {"type": "gap", "reason": "of a later version", "seq": "a-4"},
            {"type": "new", "channel": "c", "seq": "a-5"}]"""
    )
    assert [item.cursor for item in items] == ["a-1", "a-2", "a-3", "a-4", "a-5"]
    assert items[0].event is None
    gaps = [item.event for item in items[1:4]]
    assert gaps == [Gap("evicted", "c"), Gap("epoch"), Gap("unknown")]
    assert isinstance(items[4].event, UnknownEvent)


@pytest.mark.parametrize("seq", [None, 7, "", "7" * 65, "a\r\nx: y", "ä-1", ["a-1"]])
def test_a_strange_cursor_is_none(seq: Any) -> None:
    item = parse_item({"type": "cursor", "seq": seq})
    assert item.cursor is None
    assert isinstance(item.event, UnknownEvent)


def test_a_cursor_beside_an_item_counts_before_one_inside() -> None:
    assert parse_item({"type": "cursor", "seq": "a-1"}, "a-2") == Item(None, "a-2")


def test_what_is_no_list_is_malformed_and_not_repeated() -> None:
    for text in ("{}", "", "[", "marked", "[" * 100_000, '{"marked": 1}', "7"):
        with pytest.raises(MalformedError) as raised:
            parse_list(text)
        assert "marked" not in str(raised.value)
    assert parse_list("[]") == []


def test_a_number_that_python_does_not_read_stops_no_listener() -> None:
    text = f'[{{"type": "new", "n": {"9" * 5000}, "m": 12345678901234567890}}]'
    [item] = parse_list(text)
    assert isinstance(item.event, UnknownEvent)
    assert item.event.raw["n"] == float("inf")
    assert item.event.raw["m"] == 12345678901234567890


def test_the_id_of_a_connection_is_in_no_repr() -> None:
    assert ID not in repr(Opened(UUID(ID), "websocket"))
