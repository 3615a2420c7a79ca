"""How a server is reached: proxies of the environment, and what shows nothing of them."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from channelstream_push.address import Address
from channelstream_push.errors import SettingsError
from channelstream_push.listening import AsyncListener, Opened, Transport
from channelstream_push.listening.place import Place
from channelstream_push.transport import Network
from listening.support import connect, in_loop, is_number, is_opened, publish, until
from stage import server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

both = pytest.mark.parametrize("transport", ["websocket", "event_stream"])


def test_the_proxy_of_the_environment_is_for_other_machines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://marked:m%40rked@proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "near.example")
    far = Place.of("https://push.example.com", silence=1)
    assert far.proxy == "http://marked:m%40rked@proxy.example:3128"
    assert far.tls is not None
    assert "marked" not in repr(far)
    assert Place.of("https://push.example.com", silence=1, trust_env=False).proxy is None
    for address in ("https://127.0.0.1", "https://near.example", "unix:/run/push.sock"):
        assert Place.of(address, silence=1).proxy is None


def test_an_address_without_tls_needs_no_certificates() -> None:
    assert Place.of("http://push.example.com", silence=1, trust_env=False).tls is None


@in_loop
async def test_without_the_package_event_streams_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "websockets", None)
    monkeypatch.delitem(sys.modules, "channelstream_push.listening.websocket", raising=False)
    with server() as one:
        conn_id = connect(one)
        with pytest.raises(SettingsError, match="pip install"):
            AsyncListener(one.address, conn_id=conn_id, transports=["websocket", "event_stream"])
        async with AsyncListener(one.address, conn_id=conn_id) as events:
            [opened] = await until(events, is_opened)
            assert isinstance(opened, Opened)
            assert opened.transport == "event_stream"


@contextlib.asynccontextmanager
async def forward_proxy() -> AsyncIterator[tuple[int, list[str]]]:
    """A proxy as companies have them: with CONNECT, or with whole URLs."""
    heads: list[str] = []
    writers: list[asyncio.StreamWriter] = []
    served: set[asyncio.Task[None] | None] = set()

    async def pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(4096):
                sink.write(data)
        sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        heads.append(head)
        served.add(asyncio.current_task())
        method, target, _ = head.split(" ", 2)
        host, _, port = target.removeprefix("http://").partition("/")[0].partition(":")
        from_server, to_server = await asyncio.open_connection(host, int(port))
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            to_server.write(head.replace(f"http://{host}:{port}", "", 1).encode())
        writers.extend((to_server, writer))
        await asyncio.gather(pass_on(reader, to_server), pass_on(from_server, writer))
        served.discard(asyncio.current_task())

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1], heads
    finally:
        listener.close()
        for writer in writers:
            writer.transport.abort()
        while served:  # noqa: ASYNC110 - a few turns of the loop
            await asyncio.sleep(0)


@both
@in_loop
async def test_a_proxy_gets_its_password_and_the_events_through(transport: Transport) -> None:
    with server() as one:
        async with forward_proxy() as (port, heads):
            proxy = httpx.Proxy(f"http://ann:p%40ss@127.0.0.1:{port}")
            network = Network(Address.parse(one.address), proxy, None, 1)
            async with AsyncListener(
                network, conn_id=connect(one), transports=[transport]
            ) as events:
                await until(events, is_opened)
                publish(one, 1)
                await until(events, is_number(1))
        [head] = heads
        assert head.startswith("CONNECT" if transport == "websocket" else "GET http://127.0.0.1")
        assert "proxy-authorization: basic yw5uonbac3m=" in head.lower()
