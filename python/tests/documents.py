"""The documents, and the code in them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
ADDRESS = "http://127.0.0.1:8000"


def blocks(document: str, language: str) -> list[str]:
    """Return the blocks of a language, in their order."""
    text = (REPOSITORY / document).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def files(document: str) -> dict[str, str]:
    """Return the files that a document shows: the blocks behind "this is `name`:"."""
    text = (REPOSITORY / document).read_text()
    shown = r"\bthis is `([\w/.]+)`:\n\n```\w+\n(.*?)^```$"
    return dict(re.findall(shown, text, re.DOTALL | re.MULTILINE | re.IGNORECASE))


def run(program: str, address: str) -> str:
    """Run a program by itself with the server at this address, and return what it prints."""
    assert ADDRESS in program
    sources = str(REPOSITORY / "python/src")
    path = os.pathsep.join(filter(None, [sources, os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        [sys.executable, "-c", program.replace(ADDRESS, address)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout
