"""The conformance kit of the server, with both listeners and both clients of this package."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from stage import program

ADAPTER = Path(__file__).with_name("adapter.py")
SOURCE = Path(__file__).parents[2] / "src"

#: What one case may take at a time. Busy machines are slow.
PATIENCE = "60s"


def command() -> str:
    """The command that has the kit, which is built with the server and stands beside it."""
    path = Path(program()).with_name("channelstream")
    assert path.is_file(), f"there is no command beside the server: {path}"
    return str(path)


@pytest.mark.parametrize(
    ("kind", "transports"), [("async", ["websocket", "sse"]), ("sync", ["sse"])]
)
def test_the_client_conforms(kind: str, transports: list[str]) -> None:
    client = f"exec {shlex.join([sys.executable, str(ADAPTER), kind])}"
    chosen = [word for name in transports for word in ("--transport", name)]
    ended = subprocess.run(
        [command(), "conformance", "--client", client, "--patience", PATIENCE, "--json", *chosen],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout, ended.stderr
    report = json.loads(ended.stdout)
    bad = [case for case in report["cases"] if case["status"] != "passed"]
    assert (ended.returncode, bad) == (0, []), json.dumps(bad, indent=1)
    played = {case["transport"] for case in report["cases"]}
    assert played == {*transports, None}
