"""Whether, when and how often a request is repeated."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import SettingsError

if TYPE_CHECKING:
    from .errors import CallError

# No secret depends on it. After a fork two processes would draw the same without this.
_random = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses that double up to a longest one, each shortened by jitter to no less than half."""

    first: float
    longest: float

    def pause(self, failures: int) -> float:
        """Return the pause in seconds after a failure that follows `failures` others."""
        whole = min(self.first * 2.0 ** min(failures, 1000), self.longest)
        return whole * _random.uniform(0.5, 1.0)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a client repeats a request by itself; all times are in seconds.

    A client repeats requests that may succeed later, and only where a repeat does no harm.
    """

    #: How many requests may follow the first one.
    repeats: int = 3
    #: The pause before the first repeat. Each further one is twice as long, less jitter.
    first_pause: float = 0.1
    #: The longest pause. If the server asks for a longer one, the call fails at once.
    longest_pause: float = 5.0
    #: How long a call may take in total. The first request always has its whole timeout.
    total: float = 30.0

    def __post_init__(self) -> None:
        for value in (self.repeats, self.first_pause, self.longest_pause, self.total):
            if not (math.isfinite(value) and value >= 0):
                msg = "the numbers of a retry policy are finite and not below zero"
                raise SettingsError(msg)

    @classmethod
    def never(cls) -> RetryPolicy:
        """Return a policy without repeats: each call is one request."""
        return cls(repeats=0)

    def pause(self, repeated: int, elapsed: float, error: CallError) -> float | None:
        """Return the pause before the next request, or nothing if the request is not repeated."""
        asked = error.retry_after or 0.0
        if repeated >= self.repeats or not error.is_retryable or asked > self.longest_pause:
            return None
        pause = max(Backoff(self.first_pause, self.longest_pause).pause(repeated), asked)
        return pause if elapsed + pause < self.total else None
