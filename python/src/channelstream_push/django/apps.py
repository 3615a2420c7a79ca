"""The app, its checks, and what happens when the settings change."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks
from django.core.signals import setting_changed

from .checks import check_settings
from .conf import forget


class PushConfig(AppConfig):
    """The Django app of channelstream-push."""

    name = "channelstream_push.django"
    label = "channelstream_push"
    verbose_name = "Channelstream"

    def ready(self) -> None:
        """Register the checks."""
        checks.register(check_settings, "channelstream")
        setting_changed.connect(forget, dispatch_uid="channelstream_push")
