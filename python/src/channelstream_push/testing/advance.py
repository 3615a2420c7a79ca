"""`POST /test/advance`: the call that lets time pass on a server with a test clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from channelstream_push.endpoints import Endpoint
from channelstream_push.requests import Request


@dataclass(frozen=True, slots=True)
class Advanced:
    """How late it is on the server."""

    now: datetime


@dataclass(frozen=True, slots=True)
class Advance(Request[Advanced]):
    """Let time pass on a server with a test clock."""

    seconds: float

    #: The server does not look for a key here.
    endpoint = Endpoint("POST", "/test/advance", asks=True)
    answer = Advanced

    @property
    def doubles(self) -> bool:
        """Whether a repeat lets the time pass twice."""
        return True
