"""What tests share: one server for those that do not stop it, and both clients in turn."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

import django_project  # noqa: F401 - before anything else of Django is imported
from both import Client, Make, async_clients, sync_clients
from stage import SECRET, Server, server

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest_plugins = ["pytester"]


@pytest.fixture(scope="session")
def running() -> Iterator[Server]:
    """A server that all tests of this process use, each with names of its own."""
    with server(append_interval="0.01") as stage:
        yield stage


@pytest.fixture(params=["sync", "async"])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """A function that makes clients of one of the two kinds."""
    with (sync_clients if request.param == "sync" else async_clients)() as clients:
        yield clients


@pytest.fixture
def push(make: Make, running: Server) -> Client:
    """A client of the running server."""
    return make(running.address, SECRET)


@pytest.fixture
def name() -> str:
    """A name that no other test has."""
    return f"n{uuid.uuid4().hex[:12]}"
