"""The methods and paths of the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A method and a path below the server's address."""

    method: str
    path: str
    #: A question changes nothing, so that its repeats need no key.
    asks: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


CONNECT: Final = Endpoint("POST", "/connect")
SUBSCRIBE: Final = Endpoint("POST", "/subscribe")
UNSUBSCRIBE: Final = Endpoint("POST", "/unsubscribe")
USER_STATE: Final = Endpoint("POST", "/user_state")
MESSAGE: Final = Endpoint("POST", "/message")
MESSAGE_EDIT: Final = Endpoint("PATCH", "/message")
MESSAGE_DELETE: Final = Endpoint("DELETE", "/message")
CANCEL: Final = Endpoint("POST", "/cancel")
CHANNELS_DELETE: Final = Endpoint("DELETE", "/channels")
CHANNEL_CONFIG: Final = Endpoint("POST", "/channel_config")
INFO: Final = Endpoint("POST", "/info", asks=True)
DISCONNECT: Final = Endpoint("POST", "/disconnect")
DISCONNECT_USER: Final = Endpoint("POST", "/disconnect_user")
RELOAD: Final = Endpoint("POST", "/reload", asks=True)
LIST_CHANNELS: Final = Endpoint("POST", "/list_channels", asks=True)
LIST_USERS: Final = Endpoint("POST", "/list_users", asks=True)
HISTORY: Final = Endpoint("POST", "/history", asks=True)
ADMIN_STATS: Final = Endpoint("POST", "/admin/admin.json", asks=True)
METRICS: Final = Endpoint("GET", "/admin/stats.json", asks=True)
DEBUG: Final = Endpoint("GET", "/admin/debug", asks=True)
