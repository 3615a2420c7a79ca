"""System checks of the settings, which `manage.py check` runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 - Django's name

from ..address import Address
from ..errors import SettingsError
from .conf import NAME, Conf

if TYPE_CHECKING:
    from collections.abc import Sequence


def check_settings(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:  # noqa: ANN401, ARG001
    """Check the settings block, and make a client as the program will."""
    try:
        conf = Conf.load()
        conf.channels()
        conf.make().close()
    except SettingsError as error:
        return [Error(str(error), id="channelstream_push.E001")]
    found: list[CheckMessage] = []
    if conf.client.get("secret") in ("secret", b"secret") and not settings.DEBUG:
        text = f"{NAME}['SECRET'] is the default that everybody knows"
        hint = "set the server's setting `secret`, and this one, to a long random text"
        found.append(Warning(text, hint=hint, id="channelstream_push.W001"))
    address = Address.parse(conf.url)
    if not (address.is_https or address.is_loopback or conf.client.get("sign_bodies")):
        text = "requests go to another machine without TLS"
        hint = (
            "whoever sees a signature can send anything for a minute: use https://, or SIGN_BODIES"
        )
        found.append(Warning(text, hint=hint, id="channelstream_push.W002"))
    return found
