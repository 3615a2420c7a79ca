"""What an append does to the payload of a message, as at the server (contract, section 14)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .events import Json

_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,9}", re.ASCII)

#: The steps that a JSON Pointer may have (contract, section 14).
_MOST_STEPS: Final = 16


class MisfitError(ValueError):
    """What is appended does not fit the payload."""


def appended(payload: Json, append: Mapping[str, str | list[Json]]) -> Json:
    """Return the payload with what is appended. The payload itself stays as it is.

    Raises:
        MisfitError: it does not fit.
    """
    grown = {} if payload is None else payload
    for key, more in append.items():
        grown = _grown(grown, _steps(key), more)
    return grown


def _steps(key: str) -> list[str]:
    if not key.startswith("/"):
        return [key]
    steps = key[1:].split("/")
    if len(steps) > _MOST_STEPS:
        raise MisfitError("a JSON Pointer has too many steps")
    return [step.replace("~1", "/").replace("~0", "~") for step in steps]


def _grown(node: Json, steps: list[str], more: str | list[Json]) -> Json:
    step, rest = steps[0], steps[1:]
    if isinstance(node, list):
        index = int(step) if _INDEX.fullmatch(step) else -1
        # Behind the last there is room for one more, and only for the last step.
        if not 0 <= index < len(node) + (not rest):
            raise MisfitError("there is no such place in a list")
        value = node[index] if index < len(node) else type(more)()
        return [*node[:index], _value(value, rest, more), *node[index + 1 :]]
    if not isinstance(node, dict):
        raise MisfitError("there is no place in a value")
    if step not in node and rest:
        raise MisfitError("there is no such key")
    value = node[step] if step in node else type(more)()
    return {**node, step: _value(value, rest, more)}


def _value(value: Json, rest: list[str], more: str | list[Json]) -> Json:
    if rest:
        return _grown(value, rest, more)
    if isinstance(value, str) and isinstance(more, str):
        return value + more
    if isinstance(value, list) and isinstance(more, list):
        return [*value, *more]
    raise MisfitError("the type differs")
