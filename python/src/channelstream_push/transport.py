"""Sends one request and receives its answer, with httpx: in a thread or in an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import httpx

from .call import MAX_ANSWER, Answer, Failure
from .deadline import AsyncTransport, Deadline, Transport
from .errors import PushError, SettingsError
from .room import Room

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .address import Address
    from .call import Attempt

#: Shorter than the default timeout of a request, so that a failure to connect is reported as such:
#: it proves that nothing was sent.
_CONNECT_TIMEOUT: Final = 5.0
#: Shorter than the server's `head_timeout`, after which it closes an idle TCP connection.
_KEEPALIVE: Final = 15.0
#: How long closing waits for requests whose callers were canceled.
_LEFT: Final = 5.0


@dataclass(frozen=True, slots=True)
class Network:
    """How the server is reached."""

    address: Address
    #: The proxy with its user and password, if there is one.
    proxy: httpx.Proxy | None
    tls: ssl.SSLContext | None
    max_connections: int

    @property
    def proxy_shown(self) -> str | None:
        """The address of the proxy without user and password."""
        if self.proxy is None:
            return None
        url = self.proxy.url
        return f"{url.scheme}://{url.netloc.decode('ascii')}"

    @classmethod
    def of(
        cls, address: Address, tls: ssl.SSLContext | None, max_connections: int, *, trust_env: bool
    ) -> Network:
        """Return the way to an address, through the proxy of the environment if it has one.

        Raises:
            SettingsError: the proxy is not one of HTTP.
        """
        proxy = _proxy(address) if trust_env and not address.is_loopback else None
        return cls(address, proxy, tls, max_connections)

    def options(self) -> dict[str, Any]:
        """Return what the transports of httpx, sync and async, are made with."""
        limits = httpx.Limits(
            max_connections=self.max_connections,
            max_keepalive_connections=self.max_connections,
            keepalive_expiry=_KEEPALIVE,
        )
        tls = self.tls or self._default_tls()
        return {
            "verify": tls,
            "limits": limits,
            "proxy": self.proxy,
            "uds": self.address.socket,
            "trust_env": False,
        }

    def _default_tls(self) -> ssl.SSLContext:
        if self.address.is_https:
            return httpx.create_ssl_context()
        # It trusts nobody. A machine without any certificates must not fail where none is needed.
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _proxy(address: Address) -> httpx.Proxy | None:
    parts = urlsplit(address.base)
    proxies = urllib.request.getproxies()
    found = proxies.get(parts.scheme) or proxies.get("all")
    if not found or urllib.request.proxy_bypass(parts.netloc):
        return None
    try:
        return httpx.Proxy(found if "://" in found else f"http://{found}")
    except (ValueError, httpx.InvalidURL):
        problem = "the proxy of the environment is not one of HTTP"
    raise SettingsError(problem)


class Threaded:
    """Sends requests from any thread. A child of fork makes connections of its own."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._clients: dict[int, httpx.Client] = {}
        self._is_closed = False

    def send(self, attempt: Attempt) -> Answer | Failure:
        """Send a request and return its answer, whatever the status."""
        client = self._client()
        try:
            with (
                Deadline(attempt.timeout).counts(),
                client.stream(
                    attempt.method,
                    attempt.url,
                    headers=attempt.headers,
                    content=attempt.content or None,
                    timeout=_timeout(attempt),
                ) as response,
            ):
                return _answer(response, _bounded(response.iter_raw()))
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as error:
            return failure_of(error, attempt)
        except RuntimeError:
            if not self._is_closed:
                raise
        # It was closed, by another thread, when the request was about to be sent.
        raise PushError(CLOSED)

    def close(self) -> None:
        """Close the connections. Later requests are an error."""
        self._is_closed = True
        client = self._clients.pop(os.getpid(), None)
        if client:
            client.close()

    def _client(self) -> httpx.Client:
        if self._is_closed:
            raise PushError(CLOSED)
        pid = os.getpid()
        client = self._clients.get(pid)
        if client is None:
            # What the parent has opened is the parent's, and its locks may be held for ever.
            for other in self._clients.keys() - {pid}:
                self._clients.pop(other, None)
            transport = Transport(**self._network.options())
            client = httpx.Client(transport=transport, trust_env=False)
            # Of two threads that are here at the same time, the first one's counts.
            client = self._clients.setdefault(pid, client)
        return client


class Looped:
    """Sends requests from event loops of asyncio, each of which has connections of its own."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._pid = os.getpid()
        self._clients: dict[asyncio.AbstractEventLoop, httpx.AsyncClient] = {}
        #: They are before the pools, whose own queues take time for each request that has left.
        self._rooms: WeakKeyDictionary[asyncio.AbstractEventLoop, Room] = WeakKeyDictionary()
        #: The requests that go on though their callers were canceled.
        self._left: set[asyncio.Task[Answer | Failure]] = set()
        self._is_closed = False

    async def send(self, attempt: Attempt) -> Answer | Failure:
        """Send a request and return its answer, whatever the status.

        A caller may be canceled, the request is not: httpcore loses connections of its pool if a
        cancellation meets it while it closes one. It goes on in a task of its own, for no longer
        than its time, and sends nothing that it has not sent yet.
        """
        client, deadline = self._client(), Deadline(attempt.timeout)
        room = self._rooms[asyncio.get_running_loop()]
        if not await room.entered(_unsent(attempt)):
            return Failure("connect", _FULL)
        exchange = asyncio.create_task(_exchange(client, attempt, deadline))
        exchange.add_done_callback(lambda _: room.leave())
        try:
            return await asyncio.shield(exchange)
        except RuntimeError:
            if not self._is_closed:
                raise
        finally:
            if not exchange.done():
                deadline.is_left = True
                self._left.add(exchange)
                exchange.add_done_callback(self._left.discard)
        # It was closed, by another task, when the request was about to be sent.
        raise PushError(CLOSED)

    async def close(self) -> None:
        """Close the connections of this event loop. Later requests are an error."""
        self._is_closed = True
        loop = asyncio.get_running_loop()
        client = self._clients.pop(loop, None)
        if client and self._pid == os.getpid():
            left = [exchange for exchange in self._left if exchange.get_loop() is loop]
            if left:
                await asyncio.wait(left, timeout=_LEFT)
            await client.aclose()

    def _client(self) -> httpx.AsyncClient:
        if self._is_closed:
            raise PushError(CLOSED)
        if self._pid != os.getpid():
            self._pid, self._clients = os.getpid(), {}
            self._rooms.clear()
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            for other in [known for known in list(self._clients) if known.is_closed()]:
                self._clients.pop(other, None)
            transport = AsyncTransport(**self._network.options())
            client = self._clients[loop] = httpx.AsyncClient(transport=transport, trust_env=False)
            self._rooms[loop] = Room(self._network.max_connections)
        return client


CLOSED: Final = "the client is closed"
_FULL: Final = "all connections of the pool are in use"


async def _exchange(
    client: httpx.AsyncClient, attempt: Attempt, deadline: Deadline
) -> Answer | Failure:
    try:
        with deadline.counts():
            async with client.stream(
                attempt.method,
                attempt.url,
                headers=attempt.headers,
                content=attempt.content or None,
                timeout=_timeout(attempt),
            ) as response:
                body = bytearray()
                # It is a generator, and is annotated as less.
                async with contextlib.aclosing(response.aiter_raw()) as chunks:  # type: ignore[type-var]
                    async for chunk in chunks:
                        body += chunk
                        if len(body) > MAX_ANSWER:
                            return Failure("too_large")
                return _answer(response, bytes(body))
    except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as error:
        return failure_of(error, attempt)


def _bounded(chunks: Iterable[bytes]) -> bytes | None:
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > MAX_ANSWER:
            return None
    return bytes(body)


def _answer(response: httpx.Response, body: bytes | None) -> Answer | Failure:
    if body is None:
        return Failure("too_large")
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status_code, headers, body)


def _timeout(attempt: Attempt) -> httpx.Timeout:
    timeout = max(attempt.timeout, 0.001)
    unsent = _unsent(attempt)
    return httpx.Timeout(timeout, connect=min(unsent, _CONNECT_TIMEOUT), pool=unsent)


def _unsent(attempt: Attempt) -> float:
    """Return less than the whole time, so that it is known that nothing was sent."""
    return max(attempt.timeout, 0.001) * 0.9


def failure_of(error: Exception, attempt: Attempt) -> Failure:
    """Return an error of httpx as a value.

    The error itself has the request, with its signature, and may quote the answer.
    """
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
        return _unreached(error)
    if isinstance(error, httpx.ProxyError):
        return Failure("connect", "the proxy refused")
    if isinstance(error, httpx.TimeoutException):
        return Failure("timeout")
    if isinstance(error, httpx.RemoteProtocolError) and attempt.url.startswith("http:"):
        # What a port of TLS answers to plain HTTP does not begin with a status line.
        if "illegal status line" in str(error) or "illegal request line" in str(error):
            return Failure("not_http")
        return Failure("broken")
    if isinstance(error, httpx.LocalProtocolError | httpx.UnsupportedProtocol | httpx.InvalidURL):
        return Failure("request", type(error).__name__)
    return Failure("broken", _system(error))


def _unreached(error: httpx.TransportError) -> Failure:
    if isinstance(error, httpx.PoolTimeout):
        return Failure("connect", _FULL)
    if isinstance(error, httpx.ConnectTimeout):
        return Failure("connect", "no connection in time")
    cause = _system(error)
    is_plain = "wrong_version_number" in cause.lower().replace(" ", "_")
    return Failure("not_tls") if is_plain else Failure("connect", cause)


def _system(error: BaseException) -> str:
    """Return the cause of an error in the words of the system."""
    found: BaseException | None = error
    words = ""
    while found is not None:
        if isinstance(found, ssl.SSLCertVerificationError):
            return f"certificate: {found.verify_message}"
        if isinstance(found, ssl.SSLError):
            return str(found.reason or "TLS failed")
        if isinstance(found, OSError) and found.strerror:
            words = found.strerror
        found = found.__cause__ or found.__context__
    return words
