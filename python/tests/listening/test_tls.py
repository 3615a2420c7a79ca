"""Listeners over TLS."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from channelstream_push import AsyncPush
from channelstream_push.errors import CallError, ErrorKind
from channelstream_push.listening import AsyncListener, Event, Interrupted, Transport, alisten
from channelstream_push.requests import Connect
from listening.proxy import proxy
from listening.support import connect, in_loop, is_number, is_opened, publish, until
from stage import SECRET, server

both = pytest.mark.parametrize("transport", ["websocket", "event_stream"])

#: Certificates for tests, valid until 2126.
FOLDER = Path(__file__).parents[3] / "channelstream-client/tests/it/tls"


def served() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(FOLDER / "server.pem", FOLDER / "server.key")
    return context


def is_interrupted(event: Event) -> bool:
    return isinstance(event, Interrupted)


@both
@in_loop
async def test_the_certificates_of_a_client_are_those_of_its_listeners(
    transport: Transport,
) -> None:
    trusted = ssl.create_default_context(cafile=FOLDER / "ca.pem")
    with server() as one:
        async with (
            proxy(one.port, served()) as between,
            AsyncPush(f"https://localhost:{between.port}", SECRET, tls=trusted) as push,
            alisten(push, Connect("ann", channels=["news"]), transports=[transport]) as events,
        ):
            await until(events, is_opened)
            publish(one, 1)
            await until(events, is_number(1))


@both
@in_loop
async def test_a_certificate_that_is_not_trusted_is_told(transport: Transport) -> None:
    with server() as one:
        async with proxy(one.port, served()) as between:
            for address, said in (
                (f"https://localhost:{between.port}", "certificate verify failed"),
                (f"http://localhost:{between.port}", ""),
                (f"https://localhost:{one.port}", ""),
            ):
                conn_id = connect(one)
                async with AsyncListener(
                    address, conn_id=conn_id, transports=[transport], first_pause=0.01
                ) as events:
                    [*_, event] = await until(events, is_interrupted)
                assert isinstance(event, Interrupted)
                assert isinstance(event.error, CallError)
                assert event.error.kind in (ErrorKind.CONNECT, ErrorKind.BAD_ANSWER)
                assert said in str(event.error)
                assert conn_id not in str(event.error)
