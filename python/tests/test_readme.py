"""The programs of the README, each run by itself against the real server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stage import Server, server

if TYPE_CHECKING:
    from collections.abc import Iterator

README = Path(__file__).parents[1] / "README.md"
PROGRAMS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
PRINTED = [
    "editor {'text': 'Hello!'}",
    "",
    "",
    "editor {'text': 'Read all about it!'}",
    "2500 messages in 3 requests",
    "the request is wrong: {'0': {'user': [",
]


@pytest.fixture(scope="module")
def default() -> Iterator[Server]:
    with server(secret="secret") as stage:
        yield stage


def run(program: str, address: str) -> str:
    assert "http://127.0.0.1:8000" in program
    path = os.pathsep.join(filter(None, ["src", os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        [sys.executable, "-c", program.replace("http://127.0.0.1:8000", address)],
        cwd=README.parent,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_programs_run_in_their_order(default: Server) -> None:
    assert len(PROGRAMS) == len(PRINTED)
    for program, printed in zip(PROGRAMS, PRINTED, strict=True):
        assert printed in run(program, default.address)
