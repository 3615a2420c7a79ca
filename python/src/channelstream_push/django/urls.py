"""The URLs of the app: `path("push/", include("channelstream_push.django.urls"))`."""

from __future__ import annotations

from django.urls import path

from .views import connect

app_name = "channelstream_push"
urlpatterns = [path("connect", connect, name="connect")]
