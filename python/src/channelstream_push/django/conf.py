"""The settings block `CHANNELSTREAM`, and the client that it describes."""

from __future__ import annotations

import difflib
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.utils.module_loading import import_string

from ..address import Address
from ..client import Push
from ..errors import SettingsError
from ..web import impatient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from django.http import HttpRequest

    from ..web import Allowed

NAME: Final = "CHANNELSTREAM"

#: The settings that are those of `Push`, by the names that they have there.
_CLIENT: Final = {
    "SECRET": "secret",
    "SECRET_FILE": "secret_file",
    "SIGN_BODIES": "sign_bodies",
    "TIMEOUT": "timeout",
    "RETRIES": "retries",
    "TLS": "tls",
    "TRUST_ENV": "trust_env",
}
_OWN: Final = ("URL", "PUBLIC_URL", "CHANNELS")


@dataclass(frozen=True, slots=True)
class Conf:
    """The settings, checked."""

    #: The address of the server for this program.
    url: str
    #: The address of the server for pages.
    public_url: str
    #: The setting `CHANNELS`: a function, its path, or none.
    named: object
    #: What the client is made with, which has the secret.
    client: dict[str, Any] = field(repr=False)

    @classmethod
    def load(cls) -> Conf:
        """Read the settings.

        Raises:
            SettingsError: something is wrong with them.
        """
        block = getattr(settings, NAME, None)
        if not isinstance(block, dict) or not block.get("URL"):
            msg = f"{NAME} is a dict with URL and SECRET or SECRET_FILE"
            raise SettingsError(msg)
        for key in block:
            if key not in (*_CLIENT, *_OWN):
                near = difflib.get_close_matches(str(key), (*_CLIENT, *_OWN), 1)
                hint = f"; did you mean {near[0]}?" if near else ""
                msg = f"{NAME} has no setting {key!r}{hint}"
                raise SettingsError(msg)
        url = str(block["URL"])
        public_url = str(block.get("PUBLIC_URL") or url)
        if Address.parse(public_url).socket is not None:
            msg = f"{NAME} needs PUBLIC_URL: pages reach no unix socket"
            raise SettingsError(msg)
        client = {_CLIENT[key]: value for key, value in block.items() if key in _CLIENT}
        return cls(url, public_url, block.get("CHANNELS"), client)

    def channels(self) -> Callable[[HttpRequest], Allowed]:
        """Return the function that says which channels the user of a request may listen to.

        It is imported here and not by `load`: its module may itself ask for the client.

        Raises:
            SettingsError: it cannot be imported, or is no function.
        """
        return _function(self.named)

    def make(self) -> Push:
        """Make a client.

        Raises:
            SettingsError: something is wrong with its settings.
        """
        return Push(self.url, **impatient(self.client))


def _function(value: object) -> Callable[[HttpRequest], Allowed]:
    if value is None:
        return _no_channels
    found = value
    if isinstance(value, str):
        try:
            found = import_string(value)
        except ImportError as error:
            msg = f"{NAME}[{'CHANNELS'!r}] cannot be imported: {error}"
            raise SettingsError(msg) from None
    if not callable(found):
        msg = f"{NAME}[{'CHANNELS'!r}] is a function, or its path"
        raise SettingsError(msg)
    return found


def _no_channels(request: HttpRequest) -> Iterable[str]:  # noqa: ARG001 - as the setting has it
    return ()


class _Current:
    """What the settings say, until they change."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._conf: Conf | None = None
        self._push: Push | None = None

    def conf(self) -> Conf:
        with self._lock:
            return self._loaded()

    def push(self) -> Push:
        with self._lock:
            if self._push is None:
                self._push = self._loaded().make()
            return self._push

    def forget(self) -> None:
        with self._lock:
            push, self._push, self._conf = self._push, None, None
        if push:
            push.close()

    def _loaded(self) -> Conf:
        if self._conf is None:
            self._conf = Conf.load()
        return self._conf


_current: Final = _Current()


def conf() -> Conf:
    """Return the settings.

    Raises:
        SettingsError: something is wrong with them.
    """
    return _current.conf()


def client() -> Push:
    """Return the client of this program.

    Raises:
        SettingsError: something is wrong with the settings.
    """
    return _current.push()


def forget(*, setting: str, **_: object) -> None:
    """Read the settings again if they have changed, as tests change them."""
    if setting == NAME:
        _current.forget()
