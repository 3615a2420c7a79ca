"""The examples, each as a process of its own with the real server behind it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from channelstream_push import Push
from stage import PATIENCE, SECRET, free_port, server

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parents[1] / "examples"
EXAMPLES = sorted(FOLDER.glob("*_room.py"))


@pytest.fixture(params=EXAMPLES, ids=lambda path: path.stem)
def room(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[httpx.Client, Push]]:
    """A page of the example, and a client of the push server behind it."""
    with server() as stage, Push(stage.address, SECRET) as push:
        address = f"http://127.0.0.1:{free_port()}"
        paths = [str(FOLDER.parent / "src"), os.environ.get("PYTHONPATH", "")]
        env = {
            **os.environ,
            "CHANNELSTREAM_URL": stage.address,
            "CHANNELSTREAM_SECRET": SECRET,
            "PORT": address.rpartition(":")[2],
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        }
        output = tmp_path / "output.txt"
        with output.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, request.param], env=env, stdout=file, stderr=subprocess.STDOUT
            )
        try:
            with httpx.Client(base_url=address, trust_env=False, timeout=PATIENCE) as client:
                end = time.monotonic() + PATIENCE
                while not _answers(client):
                    assert process.poll() is None, output.read_text()
                    assert time.monotonic() < end, output.read_text()
                    time.sleep(0.05)
                yield client, push
        finally:
            process.kill()
            process.wait()
        assert SECRET not in output.read_text()


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/").status_code == 200
    except httpx.TransportError:
        return False


def test_a_room_is_lived_in(room: tuple[httpx.Client, Push]) -> None:
    client, push = room
    page = client.get("/").text
    assert re.search(r'<script id="room" type="application/json">{"client": "http://127', page)
    headers = {"X-CSRFToken": client.cookies.get("csrftoken") or ""}
    for path in ("/push/connect", "/say", "/ask"):
        nobody = client.post(path, data={"text": "x"}, headers=headers)
        assert nobody.status_code == 403, path

    assert client.post("/sign-in", data={"name": "ann"}, headers=headers).is_success
    headers = {"X-CSRFToken": client.cookies.get("csrftoken") or ""}
    connected = client.post("/push/connect", json={"channels": ["other"]}, headers=headers).json()
    assert (connected["username"], connected["channels"]) == ("ann", ["room"])
    assert client.post("/say", data={"text": "Hello!"}, headers=headers).is_success
    assert client.post("/ask", headers=headers).is_success
    found = [(one.user, one.message, one.status) for one in push.history("room").messages]
    assert found == [
        ("ann", {"text": "Hello!"}, None),
        ("bot", {"text": "Once upon a time"}, "done"),
    ]


def test_all_frameworks_have_an_example() -> None:
    assert [path.stem for path in EXAMPLES] == [
        "django_room",
        "fastapi_room",
        "flask_room",
        "pyramid_room",
    ]
