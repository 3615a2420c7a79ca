"""Items out of the bytes of an event stream, however they are cut."""

from __future__ import annotations

import random

import pytest

from channelstream_push.listening.events import Gap, Item, MalformedError, UnknownEvent
from channelstream_push.listening.sse import Parser

STREAM = (
    "retry: 3000\n\n"
    'id: a-1\nevent: cursor\ndata: {"type":"cursor"}\n\n'
    'id: a-2\nevent: new\ndata: {"type":"new","text":"äöü€😀"}\n\n'
    ":\n\n"
    'id: a-3\nevent: gap\ndata: {"type":"gap","channel":"c","reason":"evicted"}\n\n'
).encode()
ITEMS = [
    Item(None, "a-1"),
    Item(UnknownEvent(type="new", channel=None, raw={"type": "new", "text": "äöü€😀"}), "a-2"),
    Item(Gap("evicted", "c"), "a-3"),
]


def items_of(*chunks: bytes) -> list[Item]:
    parser = Parser()
    return [item for chunk in chunks for item in parser.take(chunk) or []]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_items_are_the_same_however_the_bytes_are_cut(end: bytes) -> None:
    stream = STREAM.replace(b"\n", end)
    assert items_of(stream) == ITEMS
    assert items_of(*(stream[i : i + 1] for i in range(len(stream)))) == ITEMS
    for seed in range(50):
        cuts = sorted(random.Random(seed).sample(range(len(stream)), 9))
        pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
        assert items_of(*pieces) == ITEMS


def test_a_comment_is_a_heartbeat_and_other_lines_are_none() -> None:
    parser = Parser()
    assert parser.take(b"retry: 3000\n\n") is None
    assert parser.take(b":") is None
    assert parser.take(b"\n") == []
    assert parser.take(b"\n") is None
    assert parser.take(b"event: x\nunknown: y\nid\n") is None


def test_what_is_not_complete_is_no_event() -> None:
    parser = Parser()
    assert parser.take(b'id: a-1\ndata: {"type":"cursor"}\n') is None
    assert parser.take(b"\n") == [Item(None, "a-1")]


def test_data_of_several_lines_and_a_mark_before_all() -> None:
    chunk = b'\xef\xbb\xbfid: a-1\ndata: {"type":\ndata:"cursor"}\n\n'
    assert items_of(chunk) == [Item(None, "a-1")]


def test_an_event_without_an_id_has_no_cursor_even_inside() -> None:
    [item] = items_of(b'data: {"type":"new","seq":"a-9"}\n\n')
    assert item.cursor is None


def test_the_end_says_why() -> None:
    parser = Parser()
    parser.take(STREAM)
    assert (parser.retry, parser.comment) == (None, "")
    parser.take(b": superseded by a newer listener\n\nretry: 86400000\n\n")
    assert (parser.retry, parser.comment) == (86400.0, "superseded by a newer listener")
    # Another event shows that it was no end.
    parser.take(b'id: a-9\ndata: {"type":"cursor"}\n\n')
    assert (parser.retry, parser.comment) == (None, "")


@pytest.mark.parametrize("retry", [b"", b"x", b"-1", b"1e9", "٣".encode(), b"9" * 400])
def test_a_strange_retry_is_none(retry: bytes) -> None:
    parser = Parser()
    parser.take(b"retry: 3000\n\nretry: " + retry + b"\n\n")
    assert parser.retry is None


@pytest.mark.parametrize(
    "endless",
    [b"data: " + b"x" * 400, b"data: x\n" * 50, b"x" * 400, b": \n" * 200, b"id: a\n" * 100],
)
def test_an_endless_event_is_refused(endless: bytes) -> None:
    parser = Parser(max_event=300)
    with pytest.raises(MalformedError, match="larger than 300 bytes"):
        parser.take(endless)
    parser = Parser(max_event=300)
    with pytest.raises(MalformedError, match="larger than 300 bytes"):
        take_singly(parser, endless)


def take_singly(parser: Parser, data: bytes) -> None:
    for byte in data:
        parser.take(bytes([byte]))


def test_many_events_are_not_endless() -> None:
    parser = Parser(max_event=100)
    block = b'id: a-1\ndata: {"type":"cursor"}\n\n'
    for _ in range(100):
        assert parser.take(block * 10 + b":\n\n") == [Item(None, "a-1")] * 10


@pytest.mark.parametrize("data", [b"marked", b"\xff", b"{"])
def test_a_malformed_event_is_not_repeated(data: bytes) -> None:
    with pytest.raises(MalformedError) as raised:
        Parser().take(b"id: a-1\ndata: " + data + b"\n\n")
    assert "marked" not in str(raised.value)
