"""The signatures and words of methods that are made of requests, for `help` and editors."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def described(method: F, make: Callable[..., object], words: object = None) -> F:
    """Return a method with the parameters of what it makes, and its words or those of another."""
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    given = inspect.signature(make).parameters.values()
    method.__doc__ = inspect.getdoc(words or make)
    method.__signature__ = inspect.Signature([own, *given])  # type: ignore[attr-defined]
    return method
