"""Clients in threads, event loops and children of fork; their settings; that no secret gets out."""

from __future__ import annotations

import asyncio
import copy
import inspect
import logging
import os
import pickle
import ssl
import subprocess
import threading
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from channelstream_push import (
    AsyncPush,
    CallError,
    ChannelConfig,
    ErrorKind,
    Message,
    Push,
    PushError,
    RetryPolicy,
    SettingsError,
)
from gate import Visit, gate, losing, passing, status
from stage import PATIENCE, SECRET, Server, server, until

if TYPE_CHECKING:
    from pathlib import Path

    from both import Make

CLIENTS = [Push, AsyncPush]


def test_threads_share_a_client(running: Server, name: str) -> None:
    with Push(running.address, SECRET, max_connections=4) as push:
        push.channel_config({name: ChannelConfig(store_history=True, history_size=500)})
        failures: list[Exception] = []

        def publish() -> None:
            try:
                for _ in range(20):
                    push.publish(Message("ann", {"text": "x"}, channel=name))
            except PushError as error:
                failures.append(error)

        threads = [threading.Thread(target=publish) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert len(push.history(name, limit=1000).messages) == 320


def test_a_child_of_fork_has_connections_of_its_own(running: Server, name: str) -> None:
    with Push(running.address, SECRET) as push:
        push.channel_config({name: ChannelConfig(store_history=True, history_size=500)})
        children = []
        for _ in range(4):
            child = os.fork()
            if child == 0:
                try:
                    for _ in range(20):
                        push.publish(Message("child", {}, channel=name))
                    os._exit(7)
                finally:
                    os._exit(1)
            children.append(child)
        for _ in range(20):
            push.publish(Message("parent", {}, channel=name))
        for child in children:
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        # The connections of the parent are as they were.
        assert len(push.history(name, limit=1000).messages) == 100


def test_a_client_goes_from_loop_to_loop(running: Server, name: str) -> None:
    push = AsyncPush(running.address, SECRET)

    async def main() -> str:
        try:
            return (await push.connect(name)).username
        finally:
            await push._looped._clients[asyncio.get_running_loop()].aclose()

    assert [asyncio.run(main()) for _ in range(3)] == [name] * 3
    assert len(push._looped._clients) == 1


def test_connections_are_kept_and_bounded(running: Server) -> None:
    async def main() -> int:
        async with AsyncPush(running.address, SECRET, max_connections=3) as push:
            before = (await push.metrics()).metrics["tcp_connections"]
            await asyncio.gather(*(push.info(channels=[]) for _ in range(50)))
            after = (await push.metrics()).metrics["tcp_connections"]
            assert isinstance(before, int | float)
            return int(after - before)

    assert asyncio.run(main()) <= 2


def test_a_full_pool_is_not_in_doubt(make: Make, running: Server) -> None:
    release = threading.Event()

    def held(visit: Visit) -> None:
        assert release.wait(PATIENCE)
        passing(visit)

    with gate(running.address) as path:
        path.plan.append(held)
        push = make(path.address, SECRET, max_connections=1, retries=RetryPolicy.never())
        patient = threading.Thread(target=lambda: push.info(channels=[]))
        patient.start()
        until(lambda: bool(path.visits), "the request that is held")
        push._config.timeout = 2.0
        with pytest.raises(CallError, match="all connections of the pool are in use") as caught:
            push.publish(Message("ann", {}, channel="news"))
        release.set()
        patient.join()
    assert (caught.value.kind, caught.value.is_in_doubt) == (ErrorKind.CONNECT, False)


def test_a_client_that_is_closed_in_the_middle_says_so(running: Server) -> None:
    push = Push(running.address, SECRET)
    client = push._threaded._client()
    push.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(push._threaded, "_client", lambda: client)
        with pytest.raises(PushError, match="the client is closed"):
            push.info()

    async def main() -> None:
        apush = AsyncPush(running.address, SECRET)
        inner = apush._looped._client()
        await apush.close()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(apush._looped, "_client", lambda: inner)
            with pytest.raises(PushError, match="the client is closed"):
                await apush.info()

    asyncio.run(main())


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "needs a secret"),
        ({"secret": ""}, "the secret is empty"),
        ({"secret": "s", "secret_file": "/dev/null"}, "secret or secret_file"),
        ({"secret": "s", "timeout": 0}, "timeout"),
        ({"secret": "s", "timeout": float("nan")}, "timeout"),
        ({"secret": "s", "user_agent": "two\nlines"}, "user agent"),
        ({"secret": "s", "user_agent": "ä"}, "user agent"),
        ({"secret": "s", "max_connections": 0}, "max_connections"),
        ({"secret": "s", "max_body_size": 0}, "max_body_size"),
        ({"secret": "s", "max_body_size": 1.5}, "max_body_size is an integer, not a value of"),
        ({"secret": "s", "max_connections": True}, "max_connections is an integer"),
        ({"secret": "s", "timeout": "5"}, "timeout is a number of seconds, not a value of .* str"),
        ({"secret": "s", "timeout": None}, "timeout is a number of seconds, not None"),
        ({"secret": "s", "retries": 3}, "retries is a RetryPolicy"),
        ({"secret": "s", "tls": True}, "tls is an ssl.SSLContext"),
        ({"secret": "s", "tls": "/etc/ca.pem"}, "tls is an ssl.SSLContext"),
        ({"secret": "s", "user_agent": 5}, "user_agent is a text"),
        ({"secret": "s", "sign_bodies": "no"}, "sign_bodies is True or False"),
        ({"secret": "s", "strict": 1}, "strict is True or False"),
        ({"secret": "s", "idempotency_keys": None}, "idempotency_keys is True or False"),
        ({"secret": "s", "trust_env": "false"}, "trust_env is True or False"),
        ({"secret_file": 5}, "secret_file is a path"),
    ],
)
def test_settings_are_checked(client: Any, options: dict[str, Any], problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        client("http://push.example", **options)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_refused_setting_shows_no_secret(client: Any) -> None:
    for options in ({"secret": "marked\ud800"}, {"secret": "marked", "timeout": "marked"}):
        with pytest.raises(SettingsError) as caught:
            client("http://push.example", **options)
        error: BaseException | None = caught.value
        while error:
            assert "marked" not in f"{error!r} {vars(error)}"
            error = error.__cause__ or error.__context__
        frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
        halves = [one for frame in frames for one in [frame.f_locals.get("self")] if one]
        assert repr(halves[0]) == f"<{client.__name__}>"


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_shows_no_secret_and_is_not_pickled(client: Any) -> None:
    push = client("http://ann:marked@push.example/x", "marked")
    assert repr(push) == f"<{client.__name__} http://push.example/x>"
    for way in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="secret"):
            way(push)


def test_a_secret_file_signs(make: Make, running: Server, tmp_path: Path, name: str) -> None:
    path = tmp_path / "secret.txt"
    path.write_text(f"\n{SECRET}\nan older one\n")
    assert make(running.address, secret_file=path).connect(name).username == name


def test_no_log_and_no_error_has_a_secret(
    make: Make,
    running: Server,
    name: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All that is logged and shown of good and bad calls, at the lowest level, is searched."""
    monkeypatch.setenv("HTTP_PROXY", "http://ann:word@proxy.invalid:3128")
    shown: list[str] = []
    signatures: list[str] = []
    conn_ids: list[str] = []
    for sign_bodies in (False, True):
        with gate(running.address) as path, caplog.at_level(logging.DEBUG):
            address = path.address.replace("://", "://ann:word@")
            policy = RetryPolicy(repeats=1, first_pause=0)
            push = make(address, SECRET, sign_bodies=sign_bodies, retries=policy)
            conn_ids.append(push.connect(name, channels=[name]).conn_id)
            echo = "x-channelstream-secret: marked"
            for act in (losing, status("403 Forbidden", echo), status("401 Unauthorized", echo)):
                path.plan.extend([act, act])
                with pytest.raises(CallError) as caught:
                    push.info()
                shown.append("".join(traceback.format_exception(caught.value)))
                shown.append(repr(caught.value) + repr(vars(caught.value)))
                assert caught.value.__context__ is None
            path.plan.append(status("200 OK", f'{{"channels": "{SECRET}"}}'))
            with pytest.raises(CallError) as caught:
                push.info()
            shown.append("".join(traceback.format_exception(caught.value)))
            for visit in path.visits:
                signatures += [
                    visit.header(f"x-channelstream-{kind}") for kind in ("secret", "signature")
                ]
    secrets = {SECRET, *conn_ids, "word", "YW5uOndvcmQ", "marked", *filter(None, signatures)}
    assert len(secrets) > 12
    everything = caplog.text + "".join(shown)
    assert "cannot" in everything or "refused" in everything
    assert [secret for secret in secrets if secret in everything] == []


def test_the_proxy_of_the_environment_is_used_but_not_for_this_machine(
    monkeypatch: pytest.MonkeyPatch, make: Make, running: Server
) -> None:
    with gate() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.address.replace("://", "://ann:word@"))
        monkeypatch.setenv("NO_PROXY", "direct.invalid")
        monkeypatch.delenv("REQUEST_METHOD", raising=False)
        assert make(running.address, SECRET).proxy is None
        assert make("http://direct.invalid", SECRET).proxy is None
        assert make("http://push.invalid", SECRET, trust_env=False).proxy is None
        push = make("http://push.invalid", SECRET, retries=RetryPolicy.never())
        proxy.plan.append(status("200 OK", '{"channels": {}, "users": []}'))
        assert push.info().channels == {}
        assert proxy.visits[0].request.startswith(b"POST http://push.invalid/info HTTP/1.1\r\n")
        assert proxy.visits[0].header("proxy-authorization") == "Basic YW5uOndvcmQ="
        proxy.plan.append(status("403 Forbidden"))
        with pytest.raises(CallError, match=f"through the proxy {proxy.address} of the") as caught:
            push.info()
        assert caught.value.proxy == proxy.address
        monkeypatch.setenv("HTTP_PROXY", "ftp://ann:word@proxy")
        with pytest.raises(SettingsError, match="is not one of HTTP") as wrong:
            make("http://push.invalid", SECRET)
        assert "word" not in str(wrong.value)


def test_tls_trusts_whom_it_is_told_to(make: Make, tmp_path: Path, name: str) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    words = f"openssl req -x509 -newkey rsa:2048 -nodes -keyout {key} -out {cert} -days 2"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*words.split(), *names], check=True, capture_output=True)
    with server(tls_cert=str(cert), tls_key=str(key)) as secure:
        own = ssl.create_default_context(cafile=str(cert))
        assert make(secure.address, SECRET, tls=own).connect(name).username == name
        with pytest.raises(CallError, match="certificate: self-signed certificate") as caught:
            make(secure.address, SECRET, retries=RetryPolicy.never()).connect(name)
        assert caught.value.is_in_doubt is False
        plain = secure.address.replace("https:", "http:")
        with pytest.raises(CallError, match="use https://"):
            make(plain, SECRET).connect(name)


def test_both_clients_have_the_same_calls() -> None:
    def calls(client: type) -> dict[str, Any]:
        return {
            key: inspect.signature(method)
            for key, method in vars(client).items()
            if callable(method) and not key.startswith("_") and key != "drive"
        }

    assert calls(Push).keys() == calls(AsyncPush).keys()
    # These differ in what they take from an event loop, and give to it.
    for key in ("publish_all", "listen"):
        sync, asynchronous = calls(Push)[key].parameters, calls(AsyncPush)[key].parameters
        assert list(sync) == [name for name in asynchronous if name != "transports"]
    for key in calls(Push).keys() - {"call", "close", "publish_all", "listen"}:
        assert calls(Push)[key] == calls(AsyncPush)[key]
        assert getattr(Push, key).__doc__
        assert getattr(AsyncPush, key).__qualname__ == f"AsyncPush.{key}"
    assert (Push.resume.__doc__ or "").startswith("Go on with a message")
    assert "`problem` of its answer says so" in (Push.publish.__doc__ or "")
