"""What goes wrong: settings, calls and growing messages. No text has a secret or a signature."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What is wrong with each field of a request: texts, or the fields of what is in the field.
FieldErrors = dict[str, Any]

#: How many field errors a text has, and how many characters of each.
_SHOWN: Final = 5
_LONGEST: Final = 300
#: How many characters the text of an error of a call has.
_LONGEST_TEXT: Final = 3000


class PushError(Exception):
    """The base of all errors of this package."""


class SettingsError(PushError, ValueError):
    """The settings are not valid for a client, or the values not valid for a request."""


class ErrorKind(Enum):
    """The kind of an error of a call, by which a program can decide."""

    #: The server could not be reached. Nothing was sent.
    CONNECT = "connect"
    #: The answer did not arrive completely in time. The request may have been carried out.
    TIMEOUT = "timeout"
    #: The server refused the request with a 4xx, or with a redirect, as the admin endpoints do.
    #: Nothing was carried out, and the same request will be refused again.
    REFUSED = "refused"
    #: The server, or a proxy before it, failed or is busy: a 5xx, 408 or 429. The request may
    #: succeed later.
    UNAVAILABLE = "unavailable"
    #: The answer broke off, is too large, or violates the protocol. The request may have been
    #: carried out.
    BAD_ANSWER = "bad_answer"
    #: The address has https for a port that speaks plain HTTP, or http for one that speaks TLS.
    #: Nothing was carried out.
    SCHEME = "scheme"


@dataclass(frozen=True, slots=True)
class ClockSkew:
    """The difference between this machine's clock and the server's."""

    #: The seconds by which this machine's clock is ahead of the server's; below zero if behind.
    ahead: float

    def __str__(self) -> str:
        return f"{abs(self.ahead):.0f} s {'ahead' if self.ahead > 0 else 'behind'}"


class CallError(PushError):
    """A call failed. Programs decide by the attributes; the text is for people and may change."""

    def __init__(
        self,
        text: str,
        kind: ErrorKind,
        *,
        status: int | None = None,
        field_errors: FieldErrors | None = None,
        is_retryable: bool = False,
        is_in_doubt: bool = False,
        is_settled: bool = False,
        attempts: int = 1,
        retry_after: float | None = None,
        clock_skew: ClockSkew | None = None,
        proxy: str | None = None,
    ) -> None:
        super().__init__(_shown(text))
        #: The kind of the error.
        self.kind: Final = kind
        #: The status of the answer, if there was one and it was not a success.
        self.status: Final = status
        #: What is wrong with each field of the request, if the server reported it with a 422.
        self.field_errors: Final = field_errors
        #: Whether the same request may succeed a little later.
        self.is_retryable: Final = is_retryable
        #: Whether the request may have been carried out nevertheless, at the last attempt or an
        #: earlier one. If false, it certainly was not.
        self.is_in_doubt: Final = is_in_doubt
        #: Whether the server answers for all attempts, because it recognized them by their key.
        self.is_settled: Final = is_settled
        #: How often the request was sent.
        self.attempts: Final = attempts
        #: The seconds that the server asks to wait before the next request.
        self.retry_after: Final = retry_after
        #: The difference of the clocks, if the signature was refused and this is the likely cause.
        self.clock_skew: Final = clock_skew
        #: The proxy of the environment that the request went through, without user and password.
        self.proxy: Final = proxy

    def __reduce__(self) -> tuple[Any, ...]:
        """Let the error go through a pickle whole, as job queues and process pools need it."""
        return _restore, (type(self), str(self), self._attributes())

    def _attributes(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def replaced(self, text: str | None = None, **changes: object) -> CallError:
        """Return the error with another text or other attributes."""
        return _restore(type(self), text or str(self), {**self._attributes(), **changes})


def _shown(text: str) -> str:
    """Return a text in one line that a terminal shows as it is, whatever an answer has in it."""
    shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    return shown if len(shown) <= _LONGEST_TEXT else f"{shown[:_LONGEST_TEXT]}…"


def _restore(kind: type[CallError], text: str, attributes: dict[str, Any]) -> CallError:
    return kind(text, **attributes)


class StreamError(PushError):
    """A growing message is over for this publisher, whose later calls raise the same again."""


class Cancelled(StreamError):  # noqa: N818 - an outcome rather than an error
    """A reader, or another program, has canceled the message."""

    def __init__(self, text: str = "the message was canceled") -> None:
        super().__init__(text)


class Ended(StreamError):  # noqa: N818
    """Another program has ended the message otherwise, or this one has left it."""


class UnknownMessage(StreamError):  # noqa: N818
    """The server does not know the message: it was deleted, or the server was restarted since."""


class NotGrowing(StreamError):  # noqa: N818
    """The message was not opened as one that grows, or the server does not know such messages."""


class Nowhere(StreamError):  # noqa: N818
    """There is no such channel or user, so that the message is nowhere."""


class TakenOver(StreamError):  # noqa: N818
    """Another publisher goes on with the message."""


class AppendRefused(StreamError):  # noqa: N818
    """The server does not append this; the message is as it was before."""


def is_field_errors(errors: Mapping[str, Any]) -> bool:
    """Return whether an object has the form of field errors: by name, lists of texts or objects."""
    waiting: list[Any] = [errors]
    while waiting:
        value = waiting.pop()
        if not isinstance(value, dict) or not value:
            return False
        inner = [item for item in value.values() if not _are_texts(item)]
        waiting.extend(inner)
    return True


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def summary(errors: Mapping[str, Any]) -> str:
    """Return the first field errors by path: `0.user: Not a valid UUID`."""
    texts: list[str] = []
    more = 0
    waiting: list[tuple[str, Any]] = [("", errors)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict):
            inner = [(f"{path}.{key}" if path else str(key), value[key]) for key in value]
            waiting.extend(reversed(inner))
        elif len(texts) < _SHOWN:
            texts.append(f"{path}: {' '.join(value)}"[:_LONGEST])
        else:
            more += 1
    return "; ".join(texts) + (f"; and {more} more" if more else "")
