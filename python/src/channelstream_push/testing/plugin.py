"""The pytest plugin: the fixtures `push` and `push_server`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .push import TestPush
from .server import TestServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_INI = "channelstream_server"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the setting that names the program."""
    parser.addini(
        _INI, "The program channelstream-server, if not that of the environment.", default=""
    )


@pytest.fixture(scope="session")
def push_settings() -> Mapping[str, str | float]:
    """Return settings of the server by their names. A `conftest.py` overrides it."""
    return {}


@pytest.fixture(scope="session")
def push_server(
    pytestconfig: pytest.Config, push_settings: Mapping[str, str | float]
) -> Iterator[TestServer]:
    """Return the server of this session. Its address stays the same for all tests."""
    # Relative to the file that says it, and not to where pytest was started.
    named = pytestconfig.getini(_INI)
    program = pytestconfig.rootpath / named if named else None
    with TestServer(program, **push_settings) as server:
        yield server


@pytest.fixture
def push(push_server: TestServer) -> Iterator[TestPush]:
    """Return a server that has nothing in it yet, to publish to, to listen to and to ask."""
    push_server.restart()
    with TestPush(push_server) as push:
        yield push
