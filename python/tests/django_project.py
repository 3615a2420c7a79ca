"""A Django project for tests: its settings, URLs, and the channels of its users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import django
from django.conf import settings
from django.urls import include, path

if TYPE_CHECKING:
    from django.http import HttpRequest

SETTINGS: dict[str, Any] = {
    "SECRET_KEY": "of the tests",
    "DEBUG": False,
    "ALLOWED_HOSTS": ["testserver"],
    "ROOT_URLCONF": "django_project",
    "USE_TZ": True,
    "DATABASES": {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    "INSTALLED_APPS": [
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "channelstream_push.django",
    ],
    "MIDDLEWARE": [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    "TEMPLATES": [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
    "CHANNELSTREAM": {
        "URL": "http://127.0.0.1:1",
        "SECRET": "a secret that is not used",
        "CHANNELS": "django_project.channels",
    },
}

settings.configure(**SETTINGS)
django.setup()

urlpatterns = [path("push/", include("channelstream_push.django.urls"))]


def channels(request: HttpRequest) -> list[str]:
    """Each user has a channel of its own."""
    return [f"of-{request.user.get_username()}"]
