"""Growing payloads, and the messages of channels as they stand."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from channelstream_push.listening import Event, Message, Messages
from channelstream_push.listening.events import parse_item
from channelstream_push.listening.growing import MisfitError, appended

TIME = "2026-01-02T03:04:05"


def uuid(number: int) -> str:
    return str(UUID(int=number))


def posted(number: int, text: str = "", **more: Any) -> Event:
    return parsed(
        type="message", uuid=uuid(number), user="bot", channel="c", message={"text": text},
        timestamp=TIME, **more,
    )  # fmt: skip


def grown(number: int, text: str, begin: int, end: int, **more: Any) -> Event:
    return parsed(
        type="message:append", uuid=uuid(number), channel="c", append={"text": text}, rev=end,
        **{"from": begin}, **more,
    )  # fmt: skip


def parsed(**fields: Any) -> Event:
    event = parse_item(fields).event
    assert event is not None
    return event


@pytest.mark.parametrize(
    ("payload", "append", "result"),
    [
        ({"text": "a"}, {"text": "b"}, {"text": "ab"}),
        (None, {"text": "b", "l": [1]}, {"text": "b", "l": [1]}),
        ({"l": [1]}, {"l": [2, 3]}, {"l": [1, 2, 3]}),
        ({"a": {"b": "x"}}, {"/a/b": "y"}, {"a": {"b": "xy"}}),
        ({"a": {}}, {"/a/b": "y"}, {"a": {"b": "y"}}),
        ({"a": ["x"]}, {"/a/0": "y"}, {"a": ["xy"]}),
        ({"a": ["x"]}, {"/a/1": "y"}, {"a": ["x", "y"]}),
        ({"a": [{"t": "x"}]}, {"/a/0/t": "y"}, {"a": [{"t": "xy"}]}),
        ({"~/": "x"}, {"/~0~1": "y"}, {"~/": "xy"}),
        ({"~1": "x"}, {"/~01": "y"}, {"~1": "xy"}),
        ({"": "x"}, {"/": "y"}, {"": "xy"}),
        ({"a/b": "x"}, {"a/b": "y"}, {"a/b": "xy"}),
        (["x"], {"/0": "y"}, ["xy"]),
        ({"n": 1}, {}, {"n": 1}),
    ],
)
def test_what_is_appended_goes_where_it_belongs(payload: Any, append: Any, result: Any) -> None:
    before = repr(payload)
    assert appended(payload, append) == result
    assert repr(payload) == before


@pytest.mark.parametrize(
    ("payload", "append"),
    [
        ({"text": 1}, {"text": "b"}),
        ({"text": None}, {"text": "b"}),
        ({"text": "a"}, {"text": [1]}),
        ({"l": [1]}, {"l": "b"}),
        ({}, {"/a/b": "y"}),
        ({"a": ["x"]}, {"/a/2": "y"}),
        ({"a": ["x"]}, {"/a/01": "y"}),
        ({"a": ["x"]}, {"/a/-": "y"}),
        ({"a": ["x"]}, {"/a/-1": "y"}),
        ({"a": ["x"]}, {"/a/1/b": "y"}),
        ({"a": ["x"]}, {"/a/\u0660": "y"}),
        ({"a": "x"}, {"/a/b": "y"}),
        ("x", {"text": "y"}),
        ({}, {"/" * 17: "y"}),
    ],
)
def test_what_does_not_fit_is_refused(payload: Any, append: Any) -> None:
    with pytest.raises(MisfitError):
        appended(payload, append)


def test_text_grows_until_its_end() -> None:
    messages = Messages()
    messages.take(posted(1, "", status="open", rev=0))
    messages.take(grown(1, "Hel", 0, 1))
    between = messages.take(grown(1, "lo", 1, 2))
    assert between is not None
    assert (between.message, between.is_growing) == ({"text": "Hello"}, True)
    end = messages.take(grown(1, "!", 2, 3, status="done"))
    assert end is not None
    assert (end.message, end.status, end.rev) == ({"text": "Hello!"}, "done", 3)
    assert messages[end.uuid] == end
    assert not messages.is_incomplete(end.uuid)


def test_what_came_already_changes_nothing() -> None:
    messages = Messages()
    messages.take(posted(1, "abc", status="open", rev=3))
    assert messages.take(grown(1, "c", 2, 3)) is None
    assert messages.take(grown(1, "bc", 1, 3)) is None
    assert messages[UUID(int=1)].message == {"text": "abc"}


def test_what_misses_a_part_is_incomplete_until_it_comes_whole() -> None:
    messages = Messages()
    messages.take(posted(1, "a", status="open", rev=1))
    missing = messages.take(grown(1, "c", 2, 3))
    assert missing is not None
    assert (missing.message, missing.rev) == ({"text": "a"}, 3)
    assert messages.is_incomplete(missing.uuid)
    later = messages.take(grown(1, "d", 3, 4, status="done"))
    assert later is not None
    assert (later.message, later.status) == ({"text": "a"}, "done")
    messages.take(posted(1, "abcd", status="done", rev=4))
    assert not messages.is_incomplete(missing.uuid)
    assert messages[missing.uuid].message == {"text": "abcd"}


def test_an_append_of_another_type_makes_incomplete() -> None:
    messages = Messages()
    messages.take(posted(1, status="open", rev=0))
    messages.take(parsed(
        type="message:append", uuid=uuid(1), channel="c", append={"text": []}, rev=1, **{"from": 0}
    ))  # fmt: skip
    assert messages.is_incomplete(UUID(int=1))


def test_edits_change_what_they_have_and_deletes_remove() -> None:
    messages = Messages()
    messages.take(posted(1, "a", status="open", rev=1))
    messages.take(grown(1, "c", 2, 3))
    edited = messages.take(parsed(
        type="message:edit", uuid=uuid(1), channel="c", message=None, edited=TIME,
        status="open", rev=4,
    ))  # fmt: skip
    assert edited is not None
    assert (edited.message, edited.user, edited.rev) == (None, "bot", 4)
    assert not messages.is_incomplete(edited.uuid)
    renamed = messages.take(parsed(type="message:edit", uuid=uuid(1), channel="c", user="ann"))
    assert renamed is not None
    assert (renamed.user, renamed.rev) == ("ann", 4)
    assert messages.take(parsed(type="message:delete", uuid=uuid(1), channel="c")) is None
    assert len(messages) == 0
    assert messages.take(grown(1, "d", 4, 5)) is None
    assert messages.take(parsed(type="message:edit", uuid=uuid(1), channel="c")) is None


def test_the_oldest_go_beyond_the_limit_and_open_ones_last() -> None:
    messages = Messages(limit=3)
    messages.take(posted(1, status="open", rev=0))
    for number in range(2, 6):
        messages.take(posted(number))
    assert [key.int for key in messages] == [1, 4, 5]
    for number in range(6, 9):
        messages.take(posted(number, status="open", rev=0))
    assert [key.int for key in messages] == [6, 7, 8]
    with pytest.raises(ValueError, match="limit"):
        Messages(limit=0)


def test_a_message_is_shown_and_no_copy_of_it_is_changed() -> None:
    messages = Messages()
    first = messages.take(posted(1, "a", status="open", rev=0))
    messages.take(grown(1, "b", 0, 1))
    assert isinstance(first, Message)
    assert first.message == {"text": "a"}
