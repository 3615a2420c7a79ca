"""What the frameworks share: the application's answer to a page that connects."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit
from uuid import UUID

from . import endpoints
from .address import Address
from .errors import CallError, ErrorKind, SettingsError
from .requests import Connect, InfoOptions, Request
from .retry import RetryPolicy
from .wire import from_json

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What a function of an application returns: the names of channels, or all of a connection.
Allowed = Iterable[str] | Connect

#: How many seconds a page waits for the push server. A page that waits for long is reloaded, and
#: gunicorn ends the process after 30.
_TIMEOUT: Final = 6.0

#: The answer to a page of another site.
FOREIGN: Final = {"error": "the page is of another site"}

#: Headers of answers that have a secret of a user in them.
PRIVATE: Final = {"Cache-Control": "no-store"}


def impatient(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a client whose calls, with their repeats, keep no page waiting.

    Without `retries` a call takes no longer than `timeout`.
    """
    given = {"timeout": _TIMEOUT, **options}
    timeout = given["timeout"]
    # What cannot be a timeout, the client refuses by its name.
    is_possible = isinstance(timeout, int | float) and math.isfinite(timeout) and timeout > 0
    if given.get("retries") is None and is_possible:
        given["retries"] = RetryPolicy(total=timeout)
    return given


@dataclass(frozen=True, slots=True)
class PageConnect(Request[dict[str, Any]]):
    """Create a connection for a page, which receives the answer as the server has written it."""

    connect: Connect

    endpoint = endpoints.CONNECT
    answer = dict[str, Any]

    def body(self) -> bytes:
        """Return what connects the user."""
        return self.connect.body()

    def read(self, content: bytes) -> dict[str, Any]:
        """Read the answer, with what is new in it since this package was made."""
        self.connect.read(content)
        answer: dict[str, Any] = from_json(self.answer, content)
        return answer


def connecting(user: object, allowed: Allowed) -> PageConnect:
    """Return the request that connects a user to the channels that the application allows.

    The page sees the public state of other users alone, unless the application says otherwise.

    Raises:
        TypeError: the application has said something that is no user, or no channels.
    """
    if isinstance(allowed, Connect):
        name, channels = _name(allowed.username), _names(allowed.channels)
        return PageConnect(replace(allowed, username=name, channels=channels))
    info = InfoOptions(return_public_state=True)
    return PageConnect(Connect(_name(user), channels=_names(allowed), info=info))


def _name(user: object) -> str:
    """Return the name of a user. Where it is a number, an id of a database, it is its text."""
    if isinstance(user, str):
        return user
    if isinstance(user, int | UUID) and not isinstance(user, bool):
        return str(user)
    msg = f"the user is a text or a number, not a value of the type {type(user).__name__}"
    raise TypeError(msg)


def _names(channels: object) -> tuple[str, ...]:
    if isinstance(channels, Iterable) and not isinstance(channels, str | bytes):
        names = tuple(channels)
        if all(isinstance(name, str) for name in names):
            return names
    msg = "the channels of a user are an iterable of names, such as a list, and not one text"
    raise TypeError(msg)


def known_origins(origins: Iterable[str]) -> tuple[str, ...]:
    """Return origins as browsers write them, without the slash of an address.

    Raises:
        SettingsError: it is one text.
    """
    if isinstance(origins, str):
        msg = "origins is a list of texts such as https://app.example, and not one text"
        raise SettingsError(msg)
    return tuple(origin.rstrip("/").lower() for origin in origins)


class Headers(Protocol):
    """The headers of a request, which are found in any case."""

    def get(self, name: str, /) -> str | None:
        """Return the value of one, if it is there."""


def is_foreign(headers: Headers, origins: Iterable[str] = ()) -> bool:
    """Return whether a page of another site has made a request, which has the user's cookies.

    Browsers tell it by `Sec-Fetch-Site`; where that is missing, by an `Origin` with another host or
    port than `Host`. The schemes are not compared, since a proxy may speak TLS for the application.

    Args:
        headers: those of the request.
        origins: `known_origins` of pages that may connect nevertheless.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site in ("same-origin", "none") or (origin is not None and origin in origins):
        return False
    if origin is None:
        return site == "cross-site"
    return site == "cross-site" or _host(origin) != _host(f"//{headers.get('host') or ''}")


def _host(address: str) -> tuple[str, int | None] | None:
    """Return host and port, which is none if it is that of HTTP or HTTPS."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return None
    # `null` is an origin that says nothing, and it is not that of a request without a host.
    return (parts.hostname or f"no host in {address}", None if port in (80, 443) else port)


def browser_options(public_url: str, connect_url: str) -> dict[str, str]:
    """Return the options of `new ChannelStreamConnection(...)` for pages of the application.

    Args:
        public_url: the address of the push server for pages.
        connect_url: where the application answers pages that connect.

    Raises:
        SettingsError: the address is none, or one that pages cannot reach.
    """
    address = Address.parse(public_url)
    if address.socket is not None:
        msg = "pages reach no unix socket"
        raise SettingsError(msg)
    return {
        "connectUrl": connect_url,
        "websocketUrl": f"ws{address.url('/ws').removeprefix('http')}",
        "eventStreamUrl": address.url("/sse"),
        "longPollUrl": address.url("/listen"),
        "disconnectUrl": address.url("/disconnect"),
        "cancelUrl": address.url("/cancel"),
    }


def browser_client(public_url: str) -> str:
    """Return the address of the browser client, a module that the push server serves."""
    return Address.parse(public_url).url("/static/channelstream/index.js")


def refusal(error: CallError) -> tuple[int, dict[str, Any], Mapping[str, str]]:
    """Return status, body and headers for a page whose connect failed.

    The page tries again after a 503, and gives up after a 403 and a 422. Why it failed is for the
    log.
    """
    if error.status == 422 and error.kind is ErrorKind.REFUSED:
        return 422, {"error": "the application asks for what the push server refuses"}, PRIVATE
    if error.status == 403 and error.kind is ErrorKind.REFUSED:
        return 403, {"error": "the user may not connect"}, _headers(error)
    return 503, {"error": "the push server does not answer"}, _headers(error)


def _headers(error: CallError) -> dict[str, str]:
    if error.retry_after is None or not math.isfinite(error.retry_after):
        return dict(PRIVATE)
    return {**PRIVATE, "Retry-After": str(math.ceil(error.retry_after))}
