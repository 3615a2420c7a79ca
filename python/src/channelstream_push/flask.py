"""The Flask extension: one client for the application, and the answer to pages that connect."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from flask import Blueprint, Response, current_app, jsonify, request

from .client import Push
from .errors import CallError
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
    from collections.abc import Callable, Iterable, Mapping

    from flask import Flask

    from .web import Allowed

_NAME: Final = "channelstream_push"
logger = logging.getLogger("channelstream_push.flask")


class FlaskPush:
    """The extension, for one application or several.

    The settings are `CHANNELSTREAM_URL`, `CHANNELSTREAM_SECRET` or `CHANNELSTREAM_SECRET_FILE`, and
    `CHANNELSTREAM_SIGN_BODIES`, `CHANNELSTREAM_TIMEOUT` and `CHANNELSTREAM_RETRIES` (a
    `RetryPolicy`), in `app.config`.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        user: Callable[[], Any] | None = None,
        channels: Callable[[Any], Allowed] | None = None,
        url_prefix: str = "/push",
        origins: Iterable[str] = (),
    ) -> None:
        """Make the extension.

        Args:
            app: the application; or `init_app` is called later.
            user: returns the user of the request, a name or an id, or none if nobody is signed in.
                With it the extension answers `POST /push/connect`.
            channels: returns the channels that a user may listen to. What the page asks for does
                not count.
            url_prefix: what stands before `/connect`.
            origins: those of pages of other sites that may connect.
        """
        self._user = user
        self._channels = channels or (lambda _: ())
        self._url_prefix = url_prefix
        self._origins = known_origins(origins)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Make the client of an application.

        Raises:
            SettingsError: something is wrong with the settings.
        """
        own = app.config.get_namespace("CHANNELSTREAM_")
        known = ("secret", "secret_file", "sign_bodies", "timeout", "retries")
        options = {key: own[key] for key in known if own.get(key) is not None}
        app.extensions[_NAME] = Push(own.get("url") or "", **impatient(options))
        if self._user:
            blueprint = Blueprint(_NAME, __name__, url_prefix=self._url_prefix)
            blueprint.post("/connect")(self._connect)
            app.register_blueprint(blueprint)

    @property
    def push(self) -> Push:
        """The client of the current application, which all threads share."""
        push: Push = current_app.extensions[_NAME]
        return push

    def _connect(self) -> tuple[Response, int, Mapping[str, str]]:
        if is_foreign(request.headers, self._origins):
            return jsonify(FOREIGN), 403, PRIVATE
        user = self._user() if self._user else None
        if not user:
            return jsonify(error="nobody is signed in"), 403, PRIVATE
        try:
            answer = self.push.call(connecting(user, self._channels(user)))
        except CallError as error:
            logger.warning("a page is not connected: %s", error)
            status, body, headers = refusal(error)
            return jsonify(body), status, headers
        return jsonify(answer), 200, PRIVATE
