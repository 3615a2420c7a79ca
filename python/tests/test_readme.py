"""The programs of the README, each run by itself against the real server."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from django.core.checks import run_checks
from django.test import override_settings

from documents import blocks, run
from stage import Server, server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

*PROGRAMS, DJANGO, FLASK = blocks("python/README.md", "python")
PRINTED = [
    "editor {'text': 'Hello!'}",
    "",
    "",
    "editor {'text': 'Read all about it!'}",
    "2500 messages in 3 requests",
    "the request is wrong: {'0': {'user': [",
]
#: A page of the Flask application: nobody, and then somebody who is signed in.
VISIT = """
browser = app.test_client()
print(browser.post("/push/connect").status_code)
with browser.session_transaction() as own:
    own["user"] = "ann"
print(browser.post("/push/connect").get_json()["channels"], browser.post("/say").status_code)
"""


@pytest.fixture(scope="module")
def default() -> Iterator[Server]:
    with server(secret="secret") as stage:
        yield stage


def test_the_programs_run_in_their_order(default: Server) -> None:
    assert len(PROGRAMS) == len(PRINTED)
    for program, printed in zip(PROGRAMS, PRINTED, strict=True):
        assert printed in run(program, default.address)


def test_the_flask_application_answers_pages(default: Server) -> None:
    assert run(FLASK + VISIT, default.address) == "403\n['news'] 200\n"


def test_the_settings_of_django_pass_its_checks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {}
    exec(DJANGO, settings)
    assert settings["INSTALLED_APPS"] == [..., "channelstream_push.django"]
    block = settings["CHANNELSTREAM"]
    # What an application of that name has, and its operator.
    secret = tmp_path / "secret"
    secret.write_text("a long random text")
    secret.chmod(0o600)
    assert block.pop("SECRET_FILE")
    package, _, function = block["CHANNELS"].rpartition(".")
    module = ModuleType(package)
    setattr(module, function, lambda _: ["news"])
    monkeypatch.setitem(sys.modules, package.partition(".")[0], ModuleType("shop"))
    monkeypatch.setitem(sys.modules, package, module)
    with override_settings(CHANNELSTREAM={**block, "SECRET_FILE": str(secret)}):
        assert run_checks(tags=["channelstream"]) == []
