"""One call without IO: its signed requests, what their answers mean, and its repeats."""

from __future__ import annotations

import http
import time
import uuid
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar

from .errors import CallError, ClockSkew, ErrorKind, is_field_errors, summary
from .signing import Signed
from .wire import WrongAnswerError, from_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .address import Address
    from .endpoints import Endpoint
    from .requests import Request
    from .retry import RetryPolicy
    from .signing import Signer

T = TypeVar("T")

#: The largest answer in bytes, so that the peer cannot fill the memory.
MAX_ANSWER: Final = 64 * 1024 * 1024
_PREFERENCES: Final = "handling=strict, return=representation"
_REPLAYED: Final = "idempotency-replayed"
#: A server is trusted to know a key for this time, which is half of its default.
_KNOWN_FOR: Final = 300.0
#: A signature is valid for 60 s. A smaller skew may be the cause already: requests take time.
_SMALLEST_SKEW: Final = 55.0
#: The messages of the server are shorter. Longer ones are somebody else's.
_LONGEST_MESSAGE: Final = 300
_MOST_DIGITS: Final = 12

#: The answers of nginx, Go and Apache to plain HTTP at a port of TLS.
_AT_TLS_PORT: Final = (
    b"The plain HTTP request was sent to HTTPS port",
    b"Client sent an HTTP request to an HTTPS server",
    b"speaking plain HTTP to an SSL-enabled server port",
)


class Clock:
    """The clocks of this machine, which tests replace."""

    def now(self) -> float:
        """Return the seconds since 1970."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds of a clock that nobody sets."""
        return time.monotonic()


@dataclass(slots=True)
class Config:
    """What all calls of a client share."""

    address: Address
    signer: Signer
    timeout: float
    retries: RetryPolicy
    strict: bool
    idempotency_keys: bool
    user_agent: str
    #: The proxy that requests go through, without user and password.
    proxy: str | None = None
    clock: Clock = field(default_factory=Clock)
    #: Whether the newest answer to a request with a key shows that the server knows keys.
    server_knows_keys: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """A request to send now. What it shows has no signature."""

    method: str
    url: str
    headers: dict[str, str] = field(repr=False)
    content: bytes = field(repr=False)
    timeout: float


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer. The names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that could not be sent, or whose answer could not be received."""

    what: Literal["connect", "timeout", "broken", "too_large", "not_http", "not_tls", "request"]
    #: The cause in the words of the system, without anything that was sent or received.
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """The call has succeeded."""

    value: T


@dataclass(frozen=True, slots=True)
class Pause:
    """The request is to be repeated after these seconds."""

    seconds: float


class Call(Generic[T]):
    """A call: `attempt` gives a request, `settle` says what becomes of its answer.

    Raises:
        TypeError: the request has something in it that JSON has not.
        ValueError: it has a number that JSON has not, or a text that is not Unicode.
    """

    def __init__(self, config: Config, request: Request[T]) -> None:
        self._config = config
        self._request = request
        self._body = request.body()
        has_key = config.idempotency_keys and not request.endpoint.asks
        key = request.key or (str(uuid.uuid4()) if has_key else "")
        self._key = f'"{key}"' if key else ""
        self._begun = config.clock.monotonic()
        self._timeout = config.timeout
        self._repeated = 0
        self._in_doubt = False

    def attempt(self) -> Attempt:
        """Return the next request, signed now."""
        config, endpoint = self._config, self._request.endpoint
        signed = Signed(endpoint.method, endpoint.path, self._body, self._key)
        headers = {
            "accept": "application/json",
            # Nothing is decompressed, so that a small answer does not become a large one.
            "accept-encoding": "identity",
            "user-agent": config.user_agent,
            config.signer.header: config.signer.sign(
                signed, int(config.clock.now()), uuid.uuid4().hex
            ),
        }
        if config.strict:
            headers["prefer"] = _PREFERENCES
        if self._key:
            headers["idempotency-key"] = self._key
        if self._body:
            headers["content-type"] = "application/json"
        if config.address.authorization:
            headers["authorization"] = config.address.authorization
        url = config.address.url(endpoint.path)
        left = self._config.retries.total - self._elapsed()
        timeout = min(self._timeout, left) if self._repeated else self._timeout
        return Attempt(endpoint.method, url, headers, self._body, timeout)

    def settle(self, outcome: Answer | Failure) -> Done[T] | Pause:
        """Return the value of the answer, or the pause before the request is repeated.

        Raises:
            CallError: the call has failed.
        """
        read = self._read(outcome)
        if isinstance(read, Done):
            return read
        return self._after(read)

    def _after(self, error: CallError) -> Pause:
        settled = error.is_settled
        error = error.replaced(
            text=self._with_proxy(error),
            attempts=self._repeated + 1,
            is_in_doubt=error.is_in_doubt or (self._in_doubt and not settled),
            proxy=self._config.proxy if _may_be_proxys(error) else None,
        )
        self._in_doubt = error.is_in_doubt
        pause = self._config.retries.pause(self._repeated, self._elapsed(), error)
        if pause is None:
            raise error
        is_once = (
            bool(self._key)
            and self._config.server_knows_keys
            and self._elapsed() + pause < _KNOWN_FOR
        )
        doubles = self._request.doubles if self._key else self._request.doubles_without_key
        if self._in_doubt and doubles and not is_once:
            raise error
        self._repeated += 1
        return Pause(pause)

    def _with_proxy(self, error: CallError) -> str:
        if self._config.proxy and _may_be_proxys(error):
            return f"{error} (through the proxy {self._config.proxy} of the environment)"
        return str(error)

    def _read(self, outcome: Answer | Failure) -> Done[T] | CallError:
        endpoint = self._request.endpoint
        if isinstance(outcome, Failure):
            return _failure(endpoint, self._config.address, outcome)
        is_success = 200 <= outcome.status < 300
        replayed = _REPLAYED in outcome.headers
        # An answer that is not a success may be a proxy's, or precede the look at the key.
        if self._key and (replayed or is_success):
            self._config.server_knows_keys = replayed
        if not is_success:
            return _refusal(endpoint, outcome, self._config.clock.now())
        try:
            return Done(self._request.read(outcome.body))
        except WrongAnswerError as error:
            problem = str(error)
        text = f"the answer to {endpoint} is {problem}"
        return CallError(text, ErrorKind.BAD_ANSWER, is_in_doubt=True)

    def _elapsed(self) -> float:
        return self._config.clock.monotonic() - self._begun


def _may_be_proxys(error: CallError) -> bool:
    return error.field_errors is None and error.clock_skew is None


def _failure(endpoint: Endpoint, address: Address, failure: Failure) -> CallError:
    unreached = f"cannot reach {address} for {endpoint}"
    cause = f": {failure.cause}" if failure.cause else ""
    match failure.what:
        case "connect":
            return CallError(unreached + cause, ErrorKind.CONNECT, is_retryable=True)
        case "timeout":
            text = f"no answer to {endpoint} in time"
            return CallError(text, ErrorKind.TIMEOUT, is_retryable=True, is_in_doubt=True)
        case "not_tls":
            text = f"{unreached}: this port speaks plain HTTP; use http://"
            return CallError(text, ErrorKind.SCHEME)
        case "not_http":
            text = f"{unreached}: this port does not answer in plain HTTP; if it speaks TLS, use https://"
            return CallError(text, ErrorKind.SCHEME)
        case "too_large":
            text = f"the answer to {endpoint} is larger than {MAX_ANSWER} bytes"
            return CallError(text, ErrorKind.BAD_ANSWER, is_in_doubt=True)
        case "request":
            return CallError(f"cannot make the request {endpoint}{cause}", ErrorKind.REFUSED)
        case "broken":
            text = f"the answer to {endpoint} broke off{cause}"
            return CallError(text, ErrorKind.BAD_ANSWER, is_retryable=True, is_in_doubt=True)


def _refusal(endpoint: Endpoint, answer: Answer, now: float) -> CallError:
    """Return the error of an answer whose status is not a success."""
    status = answer.status
    if status == 400 and any(text in answer.body for text in _AT_TLS_PORT):
        text = f"{endpoint}: this port speaks TLS; use https://"
        return CallError(text, ErrorKind.SCHEME, status=status)
    is_busy = status in (408, 429)
    if is_busy:
        kind, how = ErrorKind.UNAVAILABLE, "was put off"
    elif 300 <= status < 500:
        kind, how = ErrorKind.REFUSED, "was refused"
    elif 500 <= status < 600:
        kind, how = ErrorKind.UNAVAILABLE, "failed"
    else:
        kind, how = ErrorKind.BAD_ANSWER, "was answered"
    body = _object(answer.body)
    is_done_perhaps = kind is ErrorKind.BAD_ANSWER or (
        kind is ErrorKind.UNAVAILABLE and not is_busy and body.get("outcome") != "not_done"
    )
    is_bad_signature = status == 401 and body.get("request") == "Bad Signature"
    skew = _skew(answer, now) if is_bad_signature else None
    field_errors = body if status == 422 and is_field_errors(body) else None
    text = f"{endpoint} {how} with {status}{_phrase(status)}"
    if skew:
        text += f": signature refused; this machine's clock is {skew}"
    message = body.get("reason") if is_bad_signature else _message(body, status)
    if field_errors:
        text += f": {summary(field_errors)}"
    elif isinstance(message, str) and len(message) <= _LONGEST_MESSAGE:
        text += f": {message}"
    return CallError(
        text,
        kind,
        status=status,
        field_errors=field_errors,
        is_retryable=is_busy or status in (502, 503, 504),
        is_in_doubt=is_done_perhaps,
        is_settled=_REPLAYED in answer.headers,
        retry_after=_retry_after(answer, now),
        clock_skew=skew,
    )


def _object(body: bytes) -> dict[str, Any]:
    """Return the object that a body is; an empty one if it is none, and then not the server's."""
    try:
        found: dict[str, Any] = from_json(dict[str, Any], body)
    except WrongAnswerError:
        return {}
    return found


def _message(body: dict[str, Any], status: int) -> object:
    """Return the server's message. Answers in another form may contain anything."""
    code = body.get("code")
    is_servers = isinstance(code, str) and code.startswith(str(status))
    return body.get("message") if is_servers else None


def _phrase(status: int) -> str:
    try:
        return f" {http.HTTPStatus(status).phrase}"
    except ValueError:
        return ""


def _skew(answer: Answer, now: float) -> ClockSkew | None:
    theirs = _date(answer.headers.get("date", ""))
    if theirs is None or abs(now - theirs) < _SMALLEST_SKEW:
        return None
    return ClockSkew(now - theirs)


def _retry_after(answer: Answer, now: float) -> float | None:
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:_MOST_DIGITS]) if len(text) <= _MOST_DIGITS else float("inf")
    at = _date(text)
    return None if at is None else max(0.0, at - now)


def _date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
