"""`manage.py push_doctor`: whether this program can publish, and if not, why."""

from __future__ import annotations

import uuid
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from channelstream_push.address import Address
from channelstream_push.django.checks import check_settings
from channelstream_push.django.conf import Conf
from channelstream_push.errors import CallError, ErrorKind

#: What an operator looks at next.
_HINTS = {
    ErrorKind.CONNECT: "is the server running, and does URL have its host and port?",
    ErrorKind.TIMEOUT: "is there a firewall, or a proxy that does not answer?",
    ErrorKind.SCHEME: "correct the scheme of URL",
    ErrorKind.UNAVAILABLE: "look at the log of the server, and of the proxy before it",
    ErrorKind.BAD_ANSWER: "is there another program at this address?",
}
_BY_STATUS = {
    401: "SECRET is not a secret of this server, or the clocks differ by a minute",
    403: "add the address of this machine to the server's allow_posting_from",
    404: "URL lacks the path that the proxy has for the server, or has one too many",
}


class Command(BaseCommand):
    """Check the settings and ask the server, with a signed request as the program makes them."""

    help = "Check the settings and the way to the push server; changes nothing on it."
    requires_system_checks: list[str] = []  # noqa: RUF012 - as Django has it

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ANN401, ARG002 - as Django has it
        """Print what is good, and fail with what is not."""
        for message in check_settings(None):
            if message.is_serious():
                raise CommandError(message.msg)
            self.stdout.write(f"warning: {message.msg}; {message.hint}")
        conf = Conf.load()
        with conf.make() as push:
            self.stdout.write(f"server: {push.address}")
            if push.proxy:
                self.stdout.write(f"proxy: {push.proxy}")
            self.stdout.write(f"address for pages: {Address.parse(conf.public_url)}")
            try:
                push.info(channels=[])
                self.stdout.write("signature: accepted")
                # Nobody has this id, so that it ends nothing.
                push.disconnect(str(uuid.uuid4()))
                self.stdout.write("requests that change something: accepted")
                version = push.metrics().version
            except CallError as error:
                hint = _BY_STATUS.get(error.status or 0) or _HINTS.get(error.kind)
                msg = f"{error}; {hint}" if hint else str(error)
                raise CommandError(msg) from None
        self.stdout.write(f"version of the server: {version}")
