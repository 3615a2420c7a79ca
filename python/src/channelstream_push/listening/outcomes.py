"""Outcomes of opening a transport and of receiving from it, other than success.

Each is an exception, and knows how it is reported to the reconnector.
"""

from __future__ import annotations

from abc import abstractmethod
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from channelstream_push.errors import CallError, ErrorKind, PushError

if TYPE_CHECKING:
    from .reconnector import Reconnector

#: What is repeated of what others say.
_LONGEST_CAUSE: Final = 200


class Outcome(Exception):  # noqa: N818 - most are no errors
    """What came of a step."""

    @abstractmethod
    def report(self, reconnector: Reconnector, now: float) -> None:
        """Report it."""


class CursorRefused(Outcome):
    """The server cannot read the cursor."""

    def report(self, reconnector: Reconnector, now: float) -> None:  # noqa: ARG002
        """Report it."""
        reconnector.cursor_refused()


class UnknownConnection(Outcome):
    """The server does not know the connection."""

    def report(self, reconnector: Reconnector, now: float) -> None:  # noqa: ARG002
        """Report it."""
        reconnector.unknown_connection()


class _Failure(Outcome):
    def __init__(self, error: CallError) -> None:
        super().__init__(str(error))
        self.error = error


class Blocked(_Failure):
    """The server, or a proxy before it, does not support the transport."""

    def report(self, reconnector: Reconnector, now: float) -> None:
        """Report it."""
        reconnector.blocked(self.error, now)


class Failed(_Failure):
    """The transport could not be opened for now."""

    def report(self, reconnector: Reconnector, now: float) -> None:  # noqa: ARG002
        """Report it."""
        reconnector.failed(self.error)


class Mute(_Failure):
    """The TCP connection was opened, and no transport came of it."""

    def report(self, reconnector: Reconnector, now: float) -> None:
        """Report it."""
        reconnector.mute(self.error, now)


class Broken(_Failure):
    """The transport broke, or was silent for too long."""

    def report(self, reconnector: Reconnector, now: float) -> None:
        """Report it."""
        reconnector.broken(self.error, now)


class Closed(Outcome):
    """The server closed the websocket, with a code if it sent one."""

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(code)
        self.code = code
        self.reason = reason

    def report(self, reconnector: Reconnector, now: float) -> None:
        """Report it."""
        reconnector.closed(self.code, self.reason, now)


class StreamEnded(Outcome):
    """The event stream ended in order."""

    def __init__(self, retry: float | None, reason: str) -> None:
        super().__init__(retry)
        self.retry = retry
        self.reason = reason

    def report(self, reconnector: Reconnector, now: float) -> None:
        """Report it."""
        reconnector.ended(self.retry, self.reason, now)


def unreachable(endpoint: str, cause: BaseException) -> CallError:
    """Return the error of a server that cannot be reached."""
    return CallError(
        f"{endpoint}: the server cannot be reached: {text_of(cause)}",
        ErrorKind.CONNECT,
        is_retryable=True,
    )


def silent(endpoint: str, seconds: float) -> CallError:
    """Return the error of a TCP connection that brings nothing any more."""
    text = f"{endpoint} brought nothing for {seconds:g} s"
    return CallError(text, ErrorKind.TIMEOUT, is_retryable=True)


def bad_answer(endpoint: str, how: str) -> CallError:
    """Return the error of an answer that breaks off, or is of another protocol."""
    return CallError(f"{endpoint}: {how}", ErrorKind.BAD_ANSWER, is_retryable=True)


def judge(
    endpoint: str, status: int, since: str | None, retry_after: str | None, now: float
) -> Outcome:
    """Return what a status means that does not open a transport. `now` is the time of day."""
    # Nothing else in the request can be invalid.
    if status == 422 and since is not None:
        return CursorRefused()
    if status in (408, 429) or status >= 500:
        error = CallError(
            f"{endpoint} failed with {status}",
            ErrorKind.UNAVAILABLE,
            status=status,
            is_retryable=True,
            retry_after=parse_retry_after(retry_after, now),
        )
        # A busy server may open the transport later; one that answers 501 never will.
        return Failed(error) if status in (408, 429, 502, 503, 504) else Blocked(error)
    kind = ErrorKind.REFUSED if 300 <= status < 500 else ErrorKind.BAD_ANSWER
    how = "was refused" if kind is ErrorKind.REFUSED else "was answered"
    return Blocked(CallError(f"{endpoint} {how} with {status}", kind, status=status))


def parse_retry_after(text: str | None, now: float) -> float | None:
    """Return the seconds that a `Retry-After` asks for, in either of its forms."""
    if text is None or not text.isascii() or len(text) > 64:
        return None
    if text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None


def text_of(cause: BaseException) -> str:
    """Return what a library says about an error."""
    return in_one_line(str(cause) or type(cause).__name__)


def in_one_line(text: str) -> str:
    """Return what a peer says, not for too long, in a line that is safe for a terminal."""
    line = "".join(letter if letter.isprintable() else " " for letter in text[:_LONGEST_CAUSE])
    return " ".join(line.split())


def in_log(error: Exception) -> str:
    """Return what a log says about an error. What other libraries say may have a secret in it."""
    return in_one_line(str(error)) if isinstance(error, PushError) else type(error).__name__
