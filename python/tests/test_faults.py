"""What networks and proxies do to calls: answers that are lost, cut, endless or not there."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from channelstream_push import CallError, ChannelConfig, ErrorKind, Message, RetryPolicy, transport
from gate import (
    ENDLESS_BODY,
    ENDLESS_HEAD,
    answering,
    cutting,
    flooding,
    gate,
    hanging,
    losing,
    status,
)
from stage import SECRET, Server, server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from both import Client, Make
    from gate import Act, Gate, Visit

STORING = ChannelConfig(store_history=True)
BUSY = '{"outcome": "not_done"}'


@pytest.fixture
def path(running: Server) -> Iterator[Gate]:
    with gate(running.address) as stage:
        yield stage


def texts(push: Client, channel: str) -> list[str]:
    return [message.message["text"] for message in push.history(channel).messages]


@pytest.mark.parametrize("fault", [losing, cutting])
def test_a_lost_answer_is_fetched_by_its_key(make: Make, path: Gate, name: str, fault: Act) -> None:
    push = make(path.address, SECRET)
    push.channel_config({name: STORING})
    path.plan.append(fault)
    (posted,) = push.publish(Message("ann", {"text": "once"}, channel=name))
    assert posted.stored
    assert texts(push, name) == ["once"]
    keys = [visit.header("idempotency-key") for visit in path.visits[1:3]]
    assert keys[0]
    assert keys[0] == keys[1]


@pytest.mark.parametrize("own", [None, "8e03978e-40d5-43dd-bc93-6894a57f9324"])
@pytest.mark.parametrize("fault", [losing, cutting])
def test_without_keys_the_error_says_that_it_is_in_doubt(
    make: Make, path: Gate, name: str, fault: Act, own: str | None
) -> None:
    push = make(path.address, SECRET, idempotency_keys=False)
    push.channel_config({name: STORING})
    path.plan.append(fault)
    with pytest.raises(CallError, match="broke off") as caught:
        push.publish(Message("ann", {"text": "once"}, channel=name, uuid=own))
    error = caught.value
    assert (error.kind, error.is_in_doubt, error.attempts) == (ErrorKind.BAD_ANSWER, True, 1)
    assert texts(push, name) == ["once"]


@pytest.mark.parametrize("line", ["429 Too Many Requests", "503 Service Unavailable"])
def test_a_busy_server_is_asked_again_when_it_says(make: Make, path: Gate, line: str) -> None:
    push = make(path.address, SECRET)
    path.plan.append(status(line, BUSY, "Retry-After: 0\n"))
    push.info(channels=[])
    assert len(path.visits) == 2
    path.plan.append(status(line, BUSY, "Retry-After: 60\n"))
    with pytest.raises(CallError) as caught:
        push.publish(Message("ann", {}, channel="news"))
    error = caught.value
    assert (error.kind, error.retry_after) == (ErrorKind.UNAVAILABLE, 60.0)
    assert (error.is_in_doubt, error.attempts) == (False, 1)


@pytest.mark.parametrize("fault", [ENDLESS_HEAD, ENDLESS_BODY, hanging])
def test_an_answer_that_does_not_end_is_late(make: Make, path: Gate, fault: Act) -> None:
    path.plan.append(fault)
    push = make(path.address, SECRET, timeout=0.5, retries=RetryPolicy.never())
    with pytest.raises(CallError, match="no answer to POST /message in time") as caught:
        push.publish(Message("ann", {}, channel="news"))
    assert (caught.value.kind, caught.value.is_in_doubt) == (ErrorKind.TIMEOUT, True)


def test_an_answer_that_is_too_large_is_not_read(
    make: Make, path: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "MAX_ANSWER", 1_000_000)
    path.plan.append(flooding)
    with pytest.raises(CallError, match="is larger than") as caught:
        make(path.address, SECRET).info()
    assert (caught.value.kind, caught.value.attempts) == (ErrorKind.BAD_ANSWER, 1)


def test_a_compressed_answer_is_not_unpacked(make: Make, path: Gate) -> None:
    path.plan.append(status("200 OK", "\x1f\x0b", "Content-Encoding: gzip\n"))
    with pytest.raises(CallError, match="is not JSON"):
        make(path.address, SECRET).info()


def test_a_redirect_is_not_followed(make: Make, path: Gate) -> None:
    path.plan.append(status("302 Found", "", f"Location: {path.address}/other\n"))
    with pytest.raises(CallError, match="302 Found") as caught:
        make(path.address, SECRET).info()
    assert caught.value.kind is ErrorKind.REFUSED
    assert len(path.visits) == 1


@pytest.mark.parametrize("fault", [answering(""), answering("HTTP/1.1 200 OK\nContent-Le")])
def test_an_answer_that_is_none_has_broken_off(make: Make, path: Gate, fault: Act) -> None:
    path.plan.append(fault)
    with pytest.raises(CallError, match="broke off") as caught:
        make(path.address, SECRET, retries=RetryPolicy.never()).info()
    assert caught.value.is_retryable


def test_a_wrong_scheme_is_told(make: Make, path: Gate, running: Server, name: str) -> None:
    with pytest.raises(CallError, match="speaks plain HTTP; use http://") as caught:
        make(running.address.replace("http:", "https:"), SECRET).connect(name)
    assert (caught.value.kind, caught.value.attempts) == (ErrorKind.SCHEME, 1)
    path.plan.append(answering("\x15\x03\x01 no HTTP\n"))
    with pytest.raises(CallError, match="if it speaks TLS, use https://") as caught:
        make(path.address, SECRET).connect(name)
    assert caught.value.kind is ErrorKind.SCHEME


def test_nobody_there_is_not_in_doubt(make: Make, name: str) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unheard.getsockname()[1]}"
        push = make(address, SECRET, retries=RetryPolicy(repeats=1, first_pause=0))
        with pytest.raises(CallError, match=f"cannot reach {address} for ") as caught:
            push.connect(name)
    error = caught.value
    assert (error.kind, error.is_in_doubt, error.attempts) == (ErrorKind.CONNECT, False, 2)
    assert "refused" in str(error) or "failed" in str(error)


def test_a_server_that_dies_and_comes_back_goes_on(make: Make, tmp_path: Path, name: str) -> None:
    with server(journal="file", journal_dir=str(tmp_path / "journal")) as mortal:
        push = make(mortal.address, SECRET, retries=RetryPolicy(repeats=50, longest_pause=0.2))
        connected = push.connect(name, channels=[name], channel_configs={name: STORING})
        push.publish(Message("ann", {"text": "before"}, channel=name))
        mortal.kill()
        mortal.start()
        # The TCP connections of the pool are those of the server that is gone.
        push.publish(Message("ann", {"text": "after"}, channel=name))
        assert texts(push, name) == ["before", "after"]
        assert push.disconnect(connected.conn_id)


def test_a_server_that_dies_with_the_request_gives_the_first_answer(
    make: Make, tmp_path: Path, name: str
) -> None:
    with (
        server(journal="file", journal_dir=str(tmp_path / "journal")) as mortal,
        gate(mortal.address) as path,
    ):
        push = make(path.address, SECRET, retries=RetryPolicy(repeats=5, longest_pause=0.2))
        push.channel_config({name: STORING})

        def dying(visit: Visit) -> None:
            losing(visit)
            mortal.kill()
            mortal.start()

        path.plan.append(dying)
        push.publish(Message("ann", {"text": "once"}, channel=name))
        assert texts(push, name) == ["once"]
        assert len(path.visits) == 4
