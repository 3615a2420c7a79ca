"""JSON to values of typed dataclasses, which answers are read as, and back."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime, timezone
from functools import cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Sequence


class WrongAnswerError(ValueError):
    """JSON that is not what the protocol says. The text has the place, and nothing of the JSON."""


def to_json(value: object) -> bytes:
    """Return the JSON of a value. Fields of dataclasses that are none are left out.

    Raises:
        TypeError: it has something in it that JSON has not.
        ValueError: it has a number that JSON has not, a text that is not Unicode, or itself in it.
    """
    text = json.dumps(
        value, default=_plain, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    return text.encode()


def from_json(hint: Any, content: bytes) -> Any:  # noqa: ANN401 - the type is what the hint says
    """Read JSON as a value of the type that a hint describes.

    Raises:
        WrongAnswerError: it is not JSON, or not of this type.
    """
    try:
        value = loads(content)
    except (ValueError, RecursionError):
        problem = "not JSON"
    else:
        return read(hint, value, "")
    raise WrongAnswerError(problem)


def from_each(hint: Any, content: bytes, asked: Sequence[object]) -> Any:  # noqa: ANN401
    """Read a list of JSON that has an item for each one that was asked for.

    Raises:
        WrongAnswerError: it is not JSON, not of this type, or of another length.
    """
    items = from_json(hint, content)
    if len(items) != len(asked):
        msg = "not what the protocol says (it has another number of items)"
        raise WrongAnswerError(msg)
    return items


def loads(content: str | bytes) -> Any:  # noqa: ANN401 - any JSON
    """Parse JSON with any numbers.

    Raises:
        json.JSONDecodeError: it is not JSON.
        UnicodeDecodeError: it is not UTF-8.
        RecursionError: it is nested too deeply.
    """
    try:
        return json.loads(content)
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise
    except ValueError:
        # Python does not read integers of more than 4,300 digits, which a backend may publish.
        return json.loads(content, parse_int=_any_int)


def _any_int(digits: str) -> int | float:
    try:
        return int(digits)
    except ValueError:
        return float(digits)


def read(hint: Any, value: Any, place: str) -> Any:  # noqa: ANN401
    """Read parsed JSON as a value of a type. Keys that a dataclass does not know are passed over.

    Raises:
        WrongAnswerError: it is not of this type.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, UnionType):
        return _read_union(arguments, value, place)
    if origin is list and isinstance(value, list):
        return [read(arguments[0], item, f"{place}[{at}]") for at, item in enumerate(value)]
    if origin is dict and isinstance(value, dict):
        # A key is a name that somebody chose, and is not shown.
        return {key: read(arguments[1], item, f"{place}.*") for key, item in value.items()}
    if is_dataclass(hint) and isinstance(value, dict):
        return _read_object(hint, value, place)
    if hint is datetime and isinstance(value, str):
        return _read_time(value, place)
    if hint is float and type(value) in (int, float):
        return float(value)
    if hint in (str, int, bool) and type(value) is hint:
        return value
    raise _wrong(place)


def _read_union(hints: tuple[Any, ...], value: Any, place: str) -> Any:  # noqa: ANN401
    if value is None and NoneType in hints:
        return None
    return read(next(hint for hint in hints if hint is not NoneType), value, place)


def _read_object(hint: Any, value: dict[str, Any], place: str) -> Any:  # noqa: ANN401
    found: dict[str, Any] = {}
    for name, inner, is_required in _members(hint):
        where = f"{place}.{name}" if place else name
        if name in value:
            found[name] = read(inner, value[name], where)
        elif is_required:
            raise _wrong(where)
    return hint(**found)


@cache
def _members(hint: type) -> tuple[tuple[str, Any, bool], ...]:
    hints = get_type_hints(hint)
    return tuple(
        (
            member.name,
            hints[member.name],
            member.default is MISSING and member.default_factory is MISSING,
        )
        for member in fields(hint)
        if member.init
    )


def _read_time(text: str, place: str) -> datetime:
    try:
        time = datetime.fromisoformat(text.removesuffix("Z"))
    except ValueError:
        time = None
    if time is None:
        raise _wrong(place)
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)


def _wrong(place: str) -> WrongAnswerError:
    return WrongAnswerError(f"not what the protocol says (at {place or 'its top'})")


def _plain(value: object) -> object:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if is_dataclass(value) and type(value).__module__.startswith(__name__.partition(".")[0] + "."):
        own = ((member.name, getattr(value, member.name)) for member in fields(value))
        return {name: inner for name, inner in own if inner is not None}
    msg = f"a {type(value).__name__} has no JSON"
    raise TypeError(msg)
