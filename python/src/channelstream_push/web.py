"""What the frameworks share: the application's answer to a page that connects."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from .address import Address
from .errors import CallError, ErrorKind, SettingsError
from .requests import Connect, InfoOptions
from .wire import from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .answers import Connected

#: Headers of answers that have a secret of a user in them.
PRIVATE: Final = {"Cache-Control": "no-store"}


def connecting(user: str, allowed: Sequence[str] | Connect) -> Connect:
    """Return the request that connects a user to the channels that the application allows.

    The page sees the public state of other users alone, unless the application says otherwise.
    """
    if isinstance(allowed, Connect):
        return allowed
    return Connect(user, channels=allowed, info=InfoOptions(return_public_state=True))


def connected(answer: Connected) -> dict[str, Any]:
    """Return what the page receives, as JSON has it."""
    found: dict[str, Any] = from_json(dict[str, Any], to_json(answer))
    return found


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


def refusal(error: CallError) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Return status, body and headers for a page whose connect failed.

    The page tries again after a 503, and gives up after a 403. Why it failed is for the log.
    """
    if error.status == 403 and error.kind is ErrorKind.REFUSED:
        return 403, {"error": "the user may not connect"}, _headers(error)
    return 503, {"error": "the push server does not answer"}, _headers(error)


def _headers(error: CallError) -> dict[str, str]:
    if error.retry_after is None or not math.isfinite(error.retry_after):
        return dict(PRIVATE)
    return {**PRIVATE, "Retry-After": str(math.ceil(error.retry_after))}
