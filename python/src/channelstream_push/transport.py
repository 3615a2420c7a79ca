"""Sends one request and receives its answer, with httpx: in a thread or in an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import threading
import time
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import httpcore
import httpx

from .call import MAX_ANSWER, Answer, Failure
from .errors import PushError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .address import Address
    from .call import Attempt

#: Shorter than the default timeout of a request, so that a failure to connect is reported as such:
#: it proves that nothing was sent.
_CONNECT_TIMEOUT: Final = 5.0
#: Shorter than the server's `head_timeout`, after which it closes an idle TCP connection.
_KEEPALIVE: Final = 15.0
#: What is written in one piece, within the time of the request.
_PIECE: Final = 16 * 1024


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
        _deadline.at = time.monotonic() + attempt.timeout
        try:
            with client.stream(
                attempt.method,
                attempt.url,
                headers=attempt.headers,
                content=attempt.content or None,
                timeout=_timeout(attempt),
            ) as response:
                return _answer(response, _bounded(response.iter_raw()))
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as error:
            return failure_of(error, attempt)
        except RuntimeError:
            if not self._is_closed:
                raise
        finally:
            _deadline.at = None
        # It was closed, by another thread, when the request was about to be sent.
        raise PushError(_CLOSED)

    def close(self) -> None:
        """Close the connections. Later requests are an error."""
        self._is_closed = True
        client = self._clients.pop(os.getpid(), None)
        if client:
            client.close()

    def _client(self) -> httpx.Client:
        if self._is_closed:
            raise PushError(_CLOSED)
        pid = os.getpid()
        client = self._clients.get(pid)
        if client is None:
            # What the parent has opened is the parent's, and its locks may be held for ever.
            for other in self._clients.keys() - {pid}:
                self._clients.pop(other, None)
            transport = _Transport(**self._network.options())
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
        self._is_closed = False

    async def send(self, attempt: Attempt) -> Answer | Failure:
        """Send a request and return its answer, whatever the status."""
        client = self._client()
        try:
            return await asyncio.wait_for(_exchange(client, attempt), attempt.timeout)
        except asyncio.TimeoutError:
            return Failure("timeout")
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as error:
            return failure_of(error, attempt)
        except RuntimeError:
            if not self._is_closed:
                raise
        # It was closed, by another task, when the request was about to be sent.
        raise PushError(_CLOSED)

    async def close(self) -> None:
        """Close the connections of this event loop. Later requests are an error."""
        self._is_closed = True
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client and self._pid == os.getpid():
            await client.aclose()

    def _client(self) -> httpx.AsyncClient:
        if self._is_closed:
            raise PushError(_CLOSED)
        if self._pid != os.getpid():
            self._pid, self._clients = os.getpid(), {}
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            for other in [known for known in list(self._clients) if known.is_closed()]:
                self._clients.pop(other, None)
            transport = httpx.AsyncHTTPTransport(**self._network.options())
            client = self._clients[loop] = httpx.AsyncClient(transport=transport, trust_env=False)
        return client


_CLOSED: Final = "the client is closed"


async def _exchange(client: httpx.AsyncClient, attempt: Attempt) -> Answer | Failure:
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
    # Less than the whole, so that it is known that nothing was sent.
    unsent = timeout * 0.9
    return httpx.Timeout(timeout, connect=min(unsent, _CONNECT_TIMEOUT), pool=unsent)


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
        return Failure("connect", "all connections of the pool are in use")
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


class _Transport(httpx.HTTPTransport):
    """A transport whose operations end with the request's time, however slowly the answer drips.

    httpx has time-outs for single operations alone. That its pool has this backend is not promised,
    which is why the package takes no later httpx than it was tried with.
    """

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - those of Network
        super().__init__(**options)
        self._pool._network_backend = _Backend(self._pool._network_backend)  # noqa: SLF001


class _Deadline(threading.local):
    """When the request of this thread ends."""

    at: float | None = None

    def cut(self, timeout: float | None, late: type[Exception]) -> float | None:
        """Return what is left of a time-out."""
        if self.at is None:
            return timeout
        left = self.at - time.monotonic()
        if left <= 0:
            raise late
        return left if timeout is None else min(timeout, left)


_deadline: Final = _Deadline()


class _Backend(httpcore.NetworkBackend):
    def __init__(self, inner: httpcore.NetworkBackend) -> None:
        self._inner = inner

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        timeout = _deadline.cut(timeout, httpcore.ConnectTimeout)
        stream = self._inner.connect_tcp(host, port, timeout, local_address, socket_options)
        return _Stream(stream)

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        timeout = _deadline.cut(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.connect_unix_socket(path, timeout, socket_options))

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _deadline.cut(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for at in range(0, len(buffer), _PIECE):
            piece = buffer[at : at + _PIECE]
            self._inner.write(piece, _deadline.cut(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        timeout = _deadline.cut(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - as httpcore has it
        return self._inner.get_extra_info(info)
