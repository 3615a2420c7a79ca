"""`Place`: a server as a listener reaches it: URLs, headers, TLS, and the proxy before it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from channelstream_push.address import Address
from channelstream_push.transport import Network

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    import httpx

EVENT_STREAM: Final = "GET /sse"
WEBSOCKET: Final = "GET /ws"

_USER_AGENT: Final = "channelstream-push"


@dataclass(frozen=True, slots=True)
class Place:
    """A server as a listener reaches it."""

    address: Address
    #: What httpx makes its transports with. The certificates in it are read once.
    options: Mapping[str, Any] = field(repr=False)
    user_agent: str
    #: The seconds without events and heartbeats after which a TCP connection counts as dead.
    silence: float

    @classmethod
    def of(
        cls,
        server: str | Address | Network,
        *,
        silence: float,
        tls: ssl.SSLContext | None = None,
        trust_env: bool = True,
        user_agent: str | None = None,
    ) -> Place:
        """Return the place at an address, or the one that a client knows.

        Raises:
            SettingsError: the address is none, or the proxy of the environment is not one of HTTP.
        """
        if not isinstance(server, Network):
            address = Address.parse(server) if isinstance(server, str) else server
            server = Network.of(address, tls, 1, trust_env=trust_env)
        return cls(server.address, server.options(), user_agent or _USER_AGENT, silence)

    @property
    def headers(self) -> dict[str, str]:
        """The headers of every request."""
        named = {"User-Agent": self.user_agent}
        credentials = self.address.authorization
        return named if credentials is None else {**named, "Authorization": credentials}

    @property
    def tls(self) -> ssl.SSLContext | None:
        """The certificates, if the server is reached over TLS."""
        tls = self.options["verify"]
        return tls if self.address.is_https and isinstance(tls, ssl.SSLContext) else None

    @property
    def proxy(self) -> str | None:
        """The proxy with its user and password, as `websockets` wants it."""
        proxy: httpx.Proxy | None = self.options["proxy"]
        if proxy is None:
            return None
        place = f"{proxy.url.netloc.decode('ascii')}"
        if proxy.raw_auth is not None:
            user, password = (quote(part, safe="") for part in proxy.raw_auth)
            place = f"{user}:{password}@{place}"
        return f"{proxy.url.scheme}://{place}"

    def event_stream_url(self, conn_id: UUID, since: str | None) -> str:
        """Return the URL of the event stream of a connection. It is secret, as the id is."""
        return self.address.url(f"/sse?{_query(conn_id, since)}")

    def websocket_url(self, conn_id: UUID, since: str | None) -> str:
        """Return the URL of the websocket of a connection. It is secret, as the id is."""
        return "ws" + self.address.url(f"/ws?{_query(conn_id, since)}").removeprefix("http")


def _query(conn_id: UUID, since: str | None) -> str:
    # An empty cursor asks the server to tell one.
    return urlencode({"conn_id": str(conn_id), "since": since or ""})
