"""`TestServer`: a process that begins with nothing, at the same address."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from channelstream_push import Push
from channelstream_push.testing import (
    SECRET,
    ServerFailedError,
    ServerNotFoundError,
    TestPush,
    TestServer,
    find_program,
)
from stage import program, until


@pytest.fixture(autouse=True)
def _named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHANNELSTREAM_SERVER", program())


def test_a_restart_leaves_nothing_but_the_address() -> None:
    with TestServer() as server, Push(server.url, SECRET) as push:
        push.connect("ann", channels=["news"])
        url = server.url
        server.restart()
        assert server.url == url
        assert push.info().channels == {}


def test_settings_of_another_server_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in [("SECRET", "mine"), ("HOST", "0.0.0.0"), ("TEST_CLOCK", "false")]:
        monkeypatch.setenv(f"CHANNELSTREAM_{name}", text)
    with TestServer() as server, TestPush(server) as push:
        push.advance(seconds=1)


def test_settings_without_which_there_is_no_test_clock_are_refused() -> None:
    with pytest.raises(ValueError, match="needs its own host, secret"):
        TestServer(host="0.0.0.0", secret="mine", gc_conns_after=1)


def test_a_server_that_was_not_started_has_no_address() -> None:
    server = TestServer()
    with pytest.raises(ServerFailedError, match="not started yet"):
        _ = server.url
    server.close()


def test_a_port_that_another_program_has_for_a_moment_is_waited_for() -> None:
    with TestServer() as server:
        port = int(server.url.rpartition(":")[2])
        server.stop()
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", port))
            other.listen()
            restart = threading.Thread(target=server.restart)
            restart.start()
            while "another program listens there already" not in server.log:
                assert restart.is_alive()
                time.sleep(0.001)
        restart.join(30)
        assert not restart.is_alive()
        with TestPush(server) as push:
            push.advance(seconds=1)


def test_the_program_of_the_environment_comes_before_that_of_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = program()
    monkeypatch.delenv("CHANNELSTREAM_SERVER")
    scripts, path = tmp_path / "scripts", tmp_path / "path"
    for folder in (scripts, path):
        folder.mkdir()
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(scripts))
    monkeypatch.setenv("PATH", str(path))
    with pytest.raises(ServerNotFoundError, match="pip install channelstream-server"):
        find_program()
    (path / "channelstream-server").symlink_to(real)
    assert find_program() == path / "channelstream-server"
    (scripts / "channelstream-server").symlink_to(real)
    assert find_program() == scripts / "channelstream-server"
    assert find_program(real).samefile(real)


def test_a_program_of_another_machine_is_an_error(tmp_path: Path) -> None:
    other = tmp_path / "channelstream-server"
    other.write_bytes(b"\x7fELF of another machine")
    other.chmod(0o755)
    with pytest.raises(ServerFailedError, match=f"{other} is no program of this machine: Exec"):
        with TestServer(other):
            pass


PROGRAM = """
import signal, time
from channelstream_push.testing import TestServer

# Tests that run behind nohup inherit that it is ignored.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
with TestServer() as server:
    server.restart()
    print(server.url, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_no_server_is_left_behind(number: signal.Signals) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout
        url = process.stdout.readline().strip()
        port = int(url.rpartition(":")[2])
        assert listens(port)
        # A terminal that is closed tells all of its programs.
        (os.killpg if number == signal.SIGHUP else os.kill)(process.pid, number)
    until(lambda: not listens(port), "the end of the server")


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("name", ["", "nothing", "text"])
def test_a_name_of_no_program_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "text").write_text("no program")
    with pytest.raises(ServerNotFoundError, match=r"the setting names .*, which is no program"):
        find_program(tmp_path / name)
