"""`{% channelstream %}`: the options of the browser client, as JSON in the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django import template
from django.urls import reverse
from django.utils.html import json_script

from ...web import browser_client, browser_options
from ..conf import conf

if TYPE_CHECKING:
    from django.utils.safestring import SafeString

register = template.Library()


@register.simple_tag
def channelstream(element_id: str = "channelstream") -> SafeString:
    """Write the options of `new ChannelStreamConnection(...)` as JSON into the page.

    It has addresses, and nothing of the user: the page may be cached.
    """
    options = browser_options(conf().public_url, reverse("channelstream_push:connect"))
    return json_script(options, element_id)


@register.simple_tag
def channelstream_client() -> str:
    """Return the address of the browser client, a module that the push server serves."""
    return browser_client(conf().public_url)
