"""What both clients share: their settings, the table of calls, and how messages begin to grow."""

from __future__ import annotations

import math
import os
import re
import ssl
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final, NoReturn

from .address import Address
from .bulk import Bulk
from .call import Config
from .errors import SettingsError
from .growing.growth import Pace
from .growing.opening import opened, taken_over
from .requests import Message
from .retry import RetryPolicy
from .signing import RequestSigner, TimestampSigner, read_secret
from .transport import Network

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from .growing.opening import Steps
    from .requests import Id

_NAME: Final = "channelstream-push"
#: The server's own `append_interval`, which is about two frames of a screen.
_INTERVAL: Final = 0.04
_PATIENCE: Final = 60.0

#: What a setting may be, and the words for it. Those that come from a file or the environment are
#: easily texts: "no" would count as true.
_KINDS: Final[Mapping[str, tuple[tuple[type, ...], str]]] = {
    "url": ((str,), "a text"),
    "secret_file": ((str, os.PathLike, type(None)), "a path"),
    "sign_bodies": ((bool,), "True or False"),
    "timeout": ((int, float), "a number of seconds"),
    "retries": ((RetryPolicy, type(None)), "a RetryPolicy"),
    "strict": ((bool,), "True or False"),
    "idempotency_keys": ((bool,), "True or False"),
    "user_agent": ((str, type(None)), "a text"),
    "tls": ((ssl.SSLContext, type(None)), "an ssl.SSLContext"),
    "trust_env": ((bool,), "True or False"),
    "max_connections": ((int,), "an integer"),
    "max_body_size": ((int,), "an integer"),
}


class Settings:
    """The settings of a client. What it shows has no secret, and it is not pickled."""

    def __init__(
        self,
        url: str,
        secret: str | bytes | None = None,
        *,
        secret_file: str | Path | None = None,
        sign_bodies: bool = False,
        timeout: float = 10.0,
        retries: RetryPolicy | None = None,
        strict: bool = True,
        idempotency_keys: bool = True,
        user_agent: str | None = None,
        tls: ssl.SSLContext | None = None,
        trust_env: bool = True,
        max_connections: int = 100,
        max_body_size: int = 1024 * 1024,
    ) -> None:
        """Make a client. Nothing is sent yet.

        Args:
            url: the server: `http://127.0.0.1:8000`, `https://example.com/push/`, with a path
                before the server's own or without; or `unix:/run/channelstream.sock`.
            secret: the server's setting `secret`, the newest if there are several.
            secret_file: instead, a file whose first line that is not empty is the secret.
            sign_bodies: sign whole requests, so that nobody who sees a signature can use it again.
                The clocks of both may differ by less than a minute.
            timeout: the seconds that a request may take, to the last byte of its answer.
            retries: when requests are repeated, and how long a call with its repeats may take.
            strict: ask the server to refuse unknown fields, and to tell what happened to messages.
            idempotency_keys: send a key with each call that changes something, by which the server
                recognizes repeats. Without it messages that are in doubt are not repeated,
                not even those with ids, except to open one that grows.
            user_agent: instead of the name of this package.
            tls: whom to trust, instead of the certificates of httpx.
            trust_env: use the proxies of the environment, for servers on other machines.
            max_connections: how many TCP connections to the server may be open at a time.
            max_body_size: the server's setting of this name.

        Raises:
            SettingsError: one of them is not valid.
        """
        _check(
            url=url,
            secret_file=secret_file,
            sign_bodies=sign_bodies,
            timeout=timeout,
            retries=retries,
            strict=strict,
            idempotency_keys=idempotency_keys,
            user_agent=user_agent,
            tls=tls,
            trust_env=trust_env,
            max_connections=max_connections,
            max_body_size=max_body_size,
        )
        address = Address.parse(url)
        secret = _secret(secret, secret_file)
        agent = user_agent or f"{_NAME}/{_version()}"
        if not re.fullmatch(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?", agent):
            msg = "the user agent cannot stand in a header"
            raise SettingsError(msg)
        if not (math.isfinite(timeout) and timeout > 0):
            msg = "the timeout is finite and above zero"
            raise SettingsError(msg)
        if max_connections < 1 or max_body_size < 1:
            msg = "max_connections and max_body_size are above zero"
            raise SettingsError(msg)
        self._network = Network.of(address, tls, max_connections, trust_env=trust_env)
        self._max_body_size = max_body_size
        self._config = Config(
            address=address,
            signer=RequestSigner(secret) if sign_bodies else TimestampSigner(secret),
            timeout=timeout,
            retries=retries or RetryPolicy(),
            strict=strict,
            idempotency_keys=idempotency_keys,
            user_agent=agent,
            proxy=self._network.proxy_shown,
        )
        self._prepare()

    def __init_subclass__(cls) -> None:
        """Give the methods that were made for calls the names that they have in the class."""
        for name, method in vars(cls).items():
            if hasattr(method, "__signature__"):
                method.__name__ = name
                method.__qualname__ = f"{cls.__qualname__}.{name}"

    def _prepare(self) -> None:
        """Make what sends requests."""
        raise NotImplementedError

    @property
    def address(self) -> str:
        """The address of the server, without user and password."""
        return str(self._config.address)

    @property
    def proxy(self) -> str | None:
        """The proxy of the environment that requests go through, without user and password."""
        return self._config.proxy

    def __repr__(self) -> str:
        # Where a setting is refused there is no address yet, and debuggers show what there is.
        address = f" {self.address}" if hasattr(self, "_config") else ""
        return f"<{type(self).__name__}{address}>"

    def __reduce__(self) -> NoReturn:
        msg = f"a {type(self).__name__} is not pickled, because it has a secret"
        raise TypeError(msg)

    def _bulk(self, key: str | None) -> Bulk:
        return Bulk(self._max_body_size, key, has_keys=self._config.idempotency_keys)

    def _pace(self, interval: float, patience: float) -> Pace:
        return Pace(interval, patience, self._max_body_size)


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """How a growing message begins: what `stream` and `resume` of both clients take."""

    #: Makes the requests with which it begins.
    begin: Callable[[], Steps]
    #: The key that is appended to.
    key: str
    #: Interval and patience, in seconds.
    times: tuple[float, float]

    @classmethod
    def opened(
        cls,
        channel: str | None = None,
        *,
        user: str,
        message: Mapping[str, Any] | None = None,
        key: str = "text",
        cancel_by: Sequence[str] = (),
        append_timeout: int | None = None,
        pm_users: Sequence[str] = (),
        exclude_users: Sequence[str] = (),
        no_history: bool = False,
        uuid: Id | None = None,
        interval: float = _INTERVAL,
        patience: float = _PATIENCE,
    ) -> StreamOptions:
        """Open a message that grows while the block of its stream runs.

        Args:
            channel: the channel, which exists; none for a private message.
            user: who publishes.
            message: the payload to begin with, such as the name of the model.
            key: the key of the payload that `write` appends to.
            cancel_by: the users who may cancel the message.
            append_timeout: the seconds of silence after which it is `stalled`.
            pm_users: as in `Message`.
            exclude_users: as in `Message`.
            no_history: as in `Message`.
            uuid: the id of the message.
            interval: the seconds within which pieces are sent together.
            patience: the seconds for which a request is repeated while the server is away.
        """
        opening = Message(
            user,
            {key: ""} if message is None and not key.startswith("/") else message,
            channel=channel,
            pm_users=pm_users,
            exclude_users=exclude_users,
            no_history=no_history,
            uuid=uuid,
            append_timeout=append_timeout,
            cancel_by=cancel_by,
        )
        return cls(lambda: opened(opening), key, (interval, patience))

    @classmethod
    def resumed(
        cls,
        uuid: Id,
        channel: str | None = None,
        *,
        key: str = "text",
        interval: float = _INTERVAL,
        patience: float = _PATIENCE,
    ) -> StreamOptions:
        """Go on with a message that is there and still grows.

        The publisher before learns from its next append that it is no longer the one. `size` of the
        stream, and `step`, say how far the message is.
        """
        return cls(lambda: taken_over(str(uuid), channel), key, (interval, patience))


def _check(**settings: object) -> None:
    for name, value in settings.items():
        kinds, words = _KINDS[name]
        # Python takes True for a number. What the value is may be a secret at the wrong place.
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            msg = f"{name} is {words}, not {_named(value)}"
            raise SettingsError(msg)


def _named(value: object) -> str:
    return "None" if value is None else f"a value of the type {type(value).__name__}"


def _secret(secret: str | bytes | None, file: str | Path | None) -> str | bytes:
    if (secret is None) == (file is None):
        msg = "the client needs a secret to sign requests with: secret or secret_file"
        raise SettingsError(msg)
    found = read_secret(file) if file is not None else secret
    if not found:
        msg = "the secret is empty"
        raise SettingsError(msg)
    return found


def _version() -> str:
    try:
        return version(_NAME)
    except PackageNotFoundError:
        return "unreleased"
