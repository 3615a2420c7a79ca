"""What signs requests: over the time alone, or over the whole request (contract §3, §14)."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

from .errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable

TIMESTAMP_HEADER: Final = "x-channelstream-secret"
WHOLE_HEADER: Final = "x-channelstream-signature"

_SALT: Final = b"itsdangerous.Signer" + b"signer"
_PURPOSE: Final = b"channelstream.request.v1"
_NONCE: Final = re.compile(r"[A-Za-z0-9_-]{16,64}", re.ASCII)
_LATEST: Final = 10**12
_LARGEST_FILE: Final = 64 * 1024


class Signer(Protocol):
    """What signs the requests of a client."""

    header: str

    def sign(self, request: Signed, now: int, nonce: str) -> str:
        """Return the value of the header for a request."""


class Signed:
    """What a signature may cover: method, path with its query, key and body."""

    __slots__ = ("body", "idempotency_key", "method", "path")

    def __init__(
        self, method: str, path: str, body: bytes = b"", idempotency_key: str = ""
    ) -> None:
        self.method = method
        self.path = path
        self.body = body
        self.idempotency_key = idempotency_key


class _Secretive:
    """Something with a secret in it, which no output and no pickle shows."""

    __slots__ = ("_key",)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __reduce__(self) -> NoReturn:
        msg = f"a {type(self).__name__} is not pickled, because it has a secret"
        raise TypeError(msg)

    def __copy__(self) -> _Secretive:
        return self

    def __deepcopy__(self, memo: object) -> _Secretive:
        return self


class TimestampSigner(_Secretive):
    """Signs the time, as `TimestampSigner` of itsdangerous does with its defaults.

    Whoever sees such a signature can send anything with it for a minute.
    """

    __slots__ = ()
    header = TIMESTAMP_HEADER

    def __init__(self, secret: str | bytes) -> None:
        self._key = hashlib.sha1(_SALT + as_bytes(secret)).digest()  # noqa: S324 - the wire's own

    def sign_at(self, value: str, now: int) -> str:
        """Return the value with the time, in seconds since 1970, and the signature behind it."""
        time = now.to_bytes((now.bit_length() + 7) // 8 or 1, "big")
        text = f"{value}.{_base64(time)}"
        return f"{text}.{_base64(hmac.digest(self._key, text.encode(), 'sha1'))}"

    def sign(self, request: Signed, now: int, nonce: str) -> str:  # noqa: ARG002 - see Signer
        """Return the value of the header for a request."""
        return self.sign_at(request.path, now)


class RequestSigner(_Secretive):
    """Signs a whole request: method, path, key, body, time and nonce. A signature counts once."""

    __slots__ = ()
    header = WHOLE_HEADER

    def __init__(self, secret: str | bytes) -> None:
        self._key = hmac.digest(as_bytes(secret), _PURPOSE, "sha256")

    def sign(self, request: Signed, now: int, nonce: str) -> str:
        """Return the value of the header for a request. No two requests may have the same nonce.

        Raises:
            SettingsError: method, path or key has a line break; the nonce has other characters than
                `A-Z a-z 0-9 - _` or is not 16 to 64 of them; the time has more than twelve digits.
        """
        if not _NONCE.fullmatch(nonce) or not 0 <= now < _LATEST:
            msg = "the request cannot be signed with this nonce or time"
            raise SettingsError(msg)
        content = hashlib.sha256(request.body).hexdigest()
        fields = (request.method, request.path, request.idempotency_key, content, str(now), nonce)
        if any("\n" in field for field in fields):
            msg = "the request cannot be signed: method, path or key has a line break"
            raise SettingsError(msg)
        text = "\n".join(("v1", *fields))
        signature = hmac.digest(self._key, text.encode(), "sha256").hex()
        return f"v1 t={now},n={nonce},h={content},s={signature}"


def as_bytes(secret: str | bytes) -> bytes:
    """Return the bytes of a secret.

    Raises:
        SettingsError: it is neither a text nor bytes, or a text that is not Unicode.
    """
    if not isinstance(secret, str | bytes):
        msg = f"the secret is a {type(secret).__name__}, not a text"
        raise SettingsError(msg)
    if isinstance(secret, bytes):
        return secret
    # The error of Python has the secret in it, and would be the context of one raised there.
    with contextlib.suppress(UnicodeEncodeError):
        return secret.encode()
    msg = "the secret is not Unicode: it has a surrogate"
    raise SettingsError(msg)


def read_secret(path: str | Path) -> str:
    """Return the newest secret in a file of secrets, which is its first line that is not empty.

    Raises:
        SettingsError: the file cannot be read, is larger than 64 KiB or not UTF-8, or has no secret
            or one with a control character. The text names the file, and nothing that is in it.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        problem = error.strerror or "it cannot be opened"
    else:
        secret, problem = _first_secret(content)
        if secret:
            return secret
    msg = f"the secret cannot be read from {path}: {problem}"
    raise SettingsError(msg)


def _first_secret(content: bytes) -> tuple[str, str]:
    if len(content) > _LARGEST_FILE:
        return "", f"it is larger than {_LARGEST_FILE} bytes"
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return "", "it is not UTF-8"
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        if not line.strip().isprintable():
            return "", f"line {number} has a character that cannot be seen"
    return _first(line.strip() for line in lines), "it is empty"


def _first(texts: Iterable[str]) -> str:
    return next((text for text in texts if text), "")


def _base64(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()
