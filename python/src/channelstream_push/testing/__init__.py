"""Testing: the real server on a free port, with a clock that a test puts ahead.

pytest has it by itself, as the fixture `push`:

def test_news(push):
    ann = push.listener("ann", "news")
    publish_news()  # the code under test, with push.url and push.secret
    assert ann.next().message == {"text": "Hello!"}
    push.advance(seconds=20)
"""

from __future__ import annotations

from .listener import TestListener
from .program import ServerNotFoundError, find_program
from .push import TestPush, UnknownChannelError
from .server import SECRET, ServerFailedError, TestServer

__all__ = [
    "SECRET",
    "ServerFailedError",
    "ServerNotFoundError",
    "TestListener",
    "TestPush",
    "TestServer",
    "UnknownChannelError",
    "find_program",
]
