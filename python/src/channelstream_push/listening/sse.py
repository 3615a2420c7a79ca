"""`Parser`: items out of the bytes of an event stream (WHATWG HTML, section 9.2), without IO."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from .events import Item, MalformedError, parse_item, parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The most bytes of one event, so that a peer cannot fill the memory of this program.
MAX_EVENT: Final = 16 * 1024 * 1024

_LINE_END: Final = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

#: The longest comment that is kept. The server's have at most 123 bytes.
_MAX_COMMENT: Final = 512


class Parser:
    """Reads one event stream. What is not complete when it ends is no event."""

    def __init__(self, max_event: int = MAX_EVENT) -> None:
        self._max_event = max_event
        #: The bytes of the line that is not complete, and how many of all are in the event so far.
        self._pieces: list[bytes] = []
        self._size = 0
        #: A line end may have begun with what was the last byte.
        self._after_return = False
        self._is_first_line = True
        self._id: str | None = None
        self._data: list[str] = []
        self._has_begun = False
        #: What the last block said, if it was no event: the seconds until a return, and a comment.
        self.retry: float | None = None
        self.comment = ""

    def take(self, chunk: bytes) -> list[Item] | None:
        """Take more bytes. Returns the items that are complete with them, or `None`.

        An empty list is a heartbeat.

        Raises:
            MalformedError: an event is too large or not what the protocol says.
        """
        items: list[Item] = []
        is_alive = False
        for line in self._lines(chunk):
            if line.startswith(":"):
                is_alive = True
                self.comment = line[1:].strip()[:_MAX_COMMENT]
            elif line:
                self._field(line)
            else:
                self._size = sum(map(len, self._pieces))
                if (item := self._block()) is not None:
                    items.append(item)
        return items if items or is_alive else None

    def _lines(self, chunk: bytes) -> Iterator[str]:
        if self._after_return and chunk:
            self._after_return = False
            chunk = chunk.removeprefix(b"\n")
        begin = 0
        for end in _LINE_END.finditer(chunk):
            self._add(chunk[begin : end.start()])
            begin = end.end()
            self._after_return = begin == len(chunk) and end[0] == b"\r"
            yield self._line()
        self._add(chunk[begin:])

    def _add(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._max_event:
            msg = f"an event is larger than {self._max_event} bytes"
            raise MalformedError(msg)
        if piece:
            self._pieces.append(piece)

    def _line(self) -> str:
        line = b"".join(self._pieces)
        self._pieces.clear()
        if self._is_first_line:
            self._is_first_line = False
            line = line.removeprefix(_BYTE_ORDER_MARK)
        try:
            return line.decode()
        except UnicodeDecodeError:
            msg = "an event is not UTF-8"
            raise MalformedError(msg) from None

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "id":
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit() and len(value) < 16:
            # The first is a setting; a later one announces the end.
            if self._has_begun:
                self.retry = int(value) / 1000
            self._has_begun = True

    def _block(self) -> Item | None:
        data, seq = self._data, self._id
        self._data, self._id = [], None
        if not data:
            return None
        self.retry, self.comment, self._has_begun = None, "", True
        return parse_item(parse_json("\n".join(data)), seq or "")
