"""The pages for FastAPI and Django, typed: what they show, in a fresh environment and a browser.

Two things stand for others. The wheel of the server would be compiled, so that the program under
test is put where the wheel has it. Both programs take free ports.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

import chromium
from channelstream_push import Push
from documents import REPOSITORY, blocks, files
from stage import free_port, program, until

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The registry may be far, and two programs start on a machine that does much else.
INSTALLING = 1800
STARTING = 120.0
WHEEL = "./deploy/wheel "
#: What the programs say if somebody else took a port in the meantime.
TAKEN = ("another program listens there already", "ddress already in use", "port is already in use")


@dataclass(frozen=True)
class Typed:
    """A folder like a clone, in which the first commands of a page were typed."""

    folder: Path
    files: dict[str, str]
    commands: list[str]


@pytest.fixture(scope="module", params=["fastapi", "django"])
def typed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Typed]:
    document = f"docs/{request.param}.md"
    (shell,) = blocks(document, "sh")
    install, serve = shell.splitlines()[:2], shell.splitlines()[2:]
    assert WHEEL in install[1]
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "python").symlink_to(REPOSITORY / "python")
    run(folder, [install[0], install[1].replace(WHEEL, "")])
    (folder / "venv/bin/channelstream-server").symlink_to(program())
    yield Typed(folder, files(document), serve)
    # pytest keeps the folders of three runs, and this one is large.
    shutil.rmtree(folder / "venv")


def environment(**settings: str) -> dict[str, str]:
    """Return the environment of somebody who has no other one, and no settings of the server."""
    ours = ("CHANNELSTREAM_", "DJANGO_", "PYTHON", "VIRTUAL_ENV")
    env = {key: text for key, text in os.environ.items() if not key.startswith(ours)}
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env["PATH"]])
    return {**env, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONUNBUFFERED": "1", **settings}


def run(folder: Path, commands: list[str]) -> None:
    done = subprocess.run(
        ["bash", "-ec", "\n".join(commands)],
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=INSTALLING,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@dataclass(frozen=True)
class Served:
    """Both programs, which run."""

    page: str
    server: str


@contextlib.contextmanager
def served(typed: Typed) -> Iterator[Served]:
    """Type the other commands, and wait until both programs listen."""
    for _ in range(5):
        with started(typed) as programs:
            if programs:
                yield programs
                return
    pytest.fail("others take each free port")


@contextlib.contextmanager
def started(typed: Typed) -> Iterator[Served | None]:
    """The same, and none if somebody else has taken a port."""
    server, page = str(free_port()), str(free_port())
    for name, text in typed.files.items():
        path = typed.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace(":8000", f":{server}"))
    commands = [line.replace(" 5000", f" {page}") for line in typed.commands]
    output = typed.folder / "output.txt"
    with output.open("wb") as file:
        process = subprocess.Popen(
            ["bash", "-ec", "\n".join(commands)],
            cwd=typed.folder,
            env=environment(CHANNELSTREAM_PORT=server),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    programs = Served(f"http://127.0.0.1:{page}", f"http://127.0.0.1:{server}")

    def said() -> str:
        return output.read_text(errors="replace")

    def is_taken() -> bool:
        return any(text in said() for text in TAKEN)

    def is_decided() -> bool:
        if is_taken():
            return True
        assert process.poll() is None, said()
        return f"listening on {programs.server};" in said() and answers(programs.page)

    try:
        until(is_decided, f"{typed.folder}: two programs that listen", STARTING)
        yield None if is_taken() else programs
    finally:
        # The shell, the server behind it, and all that the application has started.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()


def answers(address: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(address, trust_env=False, timeout=STARTING).status_code == 200
    return False


def test_the_first_message_appears_in_the_page(typed: Typed, tmp_path: Path) -> None:
    with (
        served(typed) as programs,
        Push(programs.server, "secret") as push,
        chromium.browser(tmp_path) as browser,
    ):
        pages = [browser.open(programs.page) for _ in range(2)]
        # From then on the server has what is said, until the page listens.
        until(lambda: connections(push) == 2, "two pages that are connected", STARTING)
        pages[0].run("document.querySelector('input').value = 'Hello!'")
        pages[0].run("document.querySelector('button').click()")
        shown = "[...document.querySelectorAll('li')].map((item) => item.textContent)"
        for page in pages:
            page.until("document.querySelector('li') !== null")
            assert page.run(shown) == ["ann: Hello!"]
        assert pages[0].run("document.querySelector('input').value") == ""
        assert browser.exceptions == []


def test_the_pages_are_as_short_as_they_say() -> None:
    lines = files("docs/fastapi.md")["app.py"].splitlines()
    assert len([line for line in lines if line]) == 10
    for document, count in (("docs/fastapi.md", 4), ("docs/django.md", 5)):
        (shell,) = blocks(document, "sh")
        assert len(shell.splitlines()) == count


def connections(push: Push) -> int:
    found = push.info(channels=["news"]).channels.get("news")
    return found.total_connections if found else 0
