"""Where a server is: an address of HTTP, with a path before the server's own, or a unix socket."""

from __future__ import annotations

import ipaddress
import re
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_to_bytes, urlsplit

from .errors import SettingsError

_UNIX: Final = "unix:"
_SCHEMES: Final = ("http", "https", "ws", "wss")
_BLANK: Final = re.compile(r"[\x00-\x20\x7f]")


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a server. Its text has no user and no password."""

    #: Scheme, host, port and prefix, without a slash at the end; made up for a unix socket.
    base: str
    #: The path of the unix socket, if it is one.
    socket: str | None = None
    #: The value of the header `Authorization`, if the address has a user.
    authorization: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return self.base if self.socket is None else f"{_UNIX}{self.socket}"

    @property
    def is_https(self) -> bool:
        """Whether the server is reached over TLS."""
        return self.base.startswith("https:")

    @property
    def is_loopback(self) -> bool:
        """Whether the server is on this machine, where no proxy reaches it."""
        host = (urlsplit(self.base).hostname or "").rstrip(".")
        if self.socket is not None or host == "localhost" or host.endswith(".localhost"):
            return True
        try:
            ip = ipaddress.ip_address(host)
        except ValueError:
            return False
        mapped = getattr(ip, "ipv4_mapped", None)
        return (mapped or ip).is_loopback or ip.is_unspecified

    def url(self, path: str) -> str:
        """Return the full address of an endpoint."""
        return self.base + path

    @classmethod
    def parse(cls, text: str) -> Address:
        """Parse `http://127.0.0.1:8000`, `https://example.com/push/` or `unix:/run/push.sock`.

        Raises:
            SettingsError: it is none of them. The text does not repeat the address, which may
                have a password.
        """
        if text.startswith(_UNIX):
            return _unix(text.removeprefix(_UNIX))
        scheme, _, rest = text.partition(":")
        scheme = scheme.strip().lower()
        if scheme not in _SCHEMES:
            msg = "the server's address does not begin with http:// or https://"
            raise SettingsError(msg)
        if not rest.startswith("//"):
            msg = f"the server's address lacks a slash: it begins with {scheme}://"
            raise SettingsError(msg)
        if scheme.startswith("ws"):
            http = scheme.replace("ws", "http")
            msg = f"the server's address begins with {http}://, not with {scheme}://"
            raise SettingsError(msg)
        return _http(scheme, rest)


def _unix(path: str) -> Address:
    if not path.startswith("/") or "\0" in path:
        msg = "the path of a unix socket begins with a slash, as in unix:/run/channelstream.sock"
        raise SettingsError(msg)
    return Address("http://localhost", socket=path)


def _http(scheme: str, rest: str) -> Address:
    if _BLANK.search(rest) or "\\" in rest:
        msg = "the server's address has a blank, a control character or a backslash"
        raise SettingsError(msg)
    try:
        parts = urlsplit(f"{scheme}:{rest}")
        host, port = parts.hostname, parts.port
        ascii_host = (host or "").encode("idna").decode() if host and ":" not in host else host
    except ValueError:
        host = ascii_host = port = parts = None
    if parts is None or not host or not ascii_host or not parts.path.isascii():
        msg = "the server's address is no URL"
        raise SettingsError(msg)
    if "?" in rest or "#" in rest:
        msg = "the server's address has a query or a fragment"
        raise SettingsError(msg)
    named = f"[{host}]" if ":" in host else ascii_host
    base = f"{scheme}://{named}{'' if port is None else f':{port}'}{parts.path.rstrip('/')}"
    return Address(base, authorization=_basic(parts.username, parts.password))


def _basic(user: str | None, password: str | None) -> str | None:
    if user is None:
        return None
    credentials = unquote_to_bytes(user) + b":" + unquote_to_bytes(password or "")
    return f"Basic {b64encode(credentials).decode()}"
