"""For Pyramid: one client for the application as `request.push`, and the answer to pages."""

from __future__ import annotations

import difflib
import logging
from typing import TYPE_CHECKING, Any, Final

from pyramid.security import NO_PERMISSION_REQUIRED
from pyramid.settings import asbool, aslist

from .client import Push
from .errors import CallError, SettingsError
from .retry import RetryPolicy
from .web import (
    FOREIGN,
    PRIVATE,
    connecting,
    impatient,
    is_foreign,
    known_origins,
    refusal,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pyramid.config import Configurator
    from pyramid.request import Request

_PREFIX: Final = "channelstream."
logger = logging.getLogger("channelstream_push.pyramid")


def _seconds(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        msg = f"{_PREFIX}timeout is a number of seconds"
        raise SettingsError(msg) from None


#: The settings that are those of `Push`, and how their text is read.
_CLIENT: Final[Mapping[str, Callable[[Any], Any]]] = {
    "secret": lambda value: value,
    "secret_file": lambda value: value,
    "sign_bodies": asbool,
    "timeout": _seconds,
}
_OWN: Final = ("url", "retries", "user", "channels", "origins")


def includeme(config: Configurator) -> None:
    """Add `request.push` and the route `channelstream_connect`, for `config.include`.

    The settings, of the ini file or of the `Configurator`:

    * `channelstream.url`, and `channelstream.secret` or `channelstream.secret_file`.
    * `channelstream.sign_bodies` and `channelstream.timeout`, as those of `Push`.
    * `channelstream.retries`: a `RetryPolicy`, or its dotted name.
    * `channelstream.channels`: a function, or its dotted name, that returns for a request the
      channels that its user may listen to, or a `Connect`. What the page asks for does not count.
    * `channelstream.user`: one that returns the user of a request, or none if nobody is signed in,
      instead of `request.authenticated_userid`.
    * `channelstream.origins`: those of pages of other sites that may connect.

    Pages connect by `POST /push/connect`, below the `route_prefix` if there is one.

    Raises:
        SettingsError: something is wrong with the settings.
    """
    own = _settings(config.registry.settings)
    options = {key: read(own[key]) for key, read in _CLIENT.items() if own.get(key)}
    retries = _found(config, own, "retries")
    if not isinstance(retries, RetryPolicy | None):
        msg = f"{_PREFIX}retries is a RetryPolicy, or its dotted name"
        raise SettingsError(msg)
    push = Push(str(own.get("url") or ""), **impatient({"retries": retries, **options}))
    user = _function(config, own, "user") or _signed_in
    channels = _function(config, own, "channels") or _no_channels
    origins = known_origins(aslist(own.get("origins") or ()))

    def client(_: Request) -> Push:
        return push

    def connect(request: Request) -> dict[str, Any]:
        if is_foreign(request.headers, origins):
            return _answer(request, 403, FOREIGN, PRIVATE)
        name = user(request)
        if name is None or name == "":
            return _answer(request, 403, {"error": "nobody is signed in"}, PRIVATE)
        try:
            answer = push.call(connecting(name, channels(request)))
        except CallError as error:
            logger.warning("a page is not connected: %s", error)
            return _answer(request, *refusal(error))
        return _answer(request, 200, answer, PRIVATE)

    config.add_request_method(client, "push", property=True)
    config.add_route("channelstream_connect", "/push/connect")
    # Who may connect is said here. The default of the application would be about its own pages.
    config.add_view(
        connect,
        route_name="channelstream_connect",
        request_method="POST",
        renderer="json",
        permission=NO_PERMISSION_REQUIRED,
    )


def _settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings without their prefix."""
    own = {
        key.removeprefix(_PREFIX): value
        for key, value in settings.items()
        if key.startswith(_PREFIX)
    }
    known = (*_CLIENT, *_OWN)
    for key in own:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"; did you mean {_PREFIX}{near[0]}?" if near else ""
            msg = f"there is no setting {_PREFIX}{key}{hint}"
            raise SettingsError(msg)
    return own


def _function(
    config: Configurator, own: Mapping[str, Any], key: str
) -> Callable[[Request], Any] | None:
    found = _found(config, own, key)
    if found is not None and not callable(found):
        msg = f"{_PREFIX}{key} is a function, or its dotted name"
        raise SettingsError(msg)
    function: Callable[[Request], Any] | None = found
    return function


def _found(config: Configurator, own: Mapping[str, Any], key: str) -> Any:  # noqa: ANN401
    """Return what a setting is, or what its dotted name means."""
    value = own.get(key)
    if not value:
        return None
    try:
        return config.maybe_dotted(value)
    except (ImportError, AttributeError) as error:
        msg = f"{_PREFIX}{key} cannot be imported: {error}"
        raise SettingsError(msg) from None


def _signed_in(request: Request) -> object:
    return request.authenticated_userid


def _no_channels(_: Request) -> tuple[str, ...]:
    return ()


def _answer(
    request: Request, status: int, body: dict[str, Any], headers: Mapping[str, str]
) -> dict[str, Any]:
    request.response.status_int = status
    request.response.headers.update(headers)
    return body
