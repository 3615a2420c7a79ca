"""The view that connects the user of a session, and gives the page the id to listen with."""

from __future__ import annotations

import logging

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_POST

from ..errors import CallError
from ..web import PRIVATE, connecting, refusal
from .conf import client, conf

logger = logging.getLogger("channelstream_push.django")


@require_POST
@csrf_protect
def connect(request: HttpRequest) -> HttpResponseBase:
    """Connect the user of the session to the channels that `CHANNELSTREAM["CHANNELS"]` allows.

    What the page asks for does not count: the application knows what its user may receive.
    """
    if not request.user.is_authenticated:
        return JsonResponse({"error": "nobody is signed in"}, status=403, headers=PRIVATE)
    wanted = connecting(request.user.get_username(), conf().channels()(request))
    try:
        answer = client().call(wanted)
    except CallError as error:
        logger.warning("a page is not connected: %s", error)
        status, body, headers = refusal(error)
        return JsonResponse(body, status=status, headers=headers)
    return JsonResponse(answer, headers=PRIVATE)
