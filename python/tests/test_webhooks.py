"""The check of docs/webhooks.md: what is genuine, and that nothing a stranger sends raises."""

from __future__ import annotations

import base64
import hmac
import time
from typing import Any

import pytest

from documents import blocks

KEY = b"k" * 24
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
BODY = b'{"type": "test"}'


def is_genuine(headers: dict[str, str], body: bytes = BODY) -> bool:
    shown: dict[str, Any] = {}
    exec(blocks("docs/webhooks.md", "python")[0], shown)
    found: bool = shown["is_genuine"](SECRET, headers, body)
    return found


def signed(webhook_id: str = "msg_1", at: float | None = None) -> dict[str, str]:
    timestamp = str(int(time.time() if at is None else at))
    content = f"{webhook_id}.{timestamp}.".encode() + BODY
    signature = base64.b64encode(hmac.digest(KEY, content, "sha256")).decode()
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{signature}",
    }


def test_what_the_server_signs_is_genuine() -> None:
    assert is_genuine(signed())
    headers = signed()
    headers["webhook-signature"] = f"v1,b2xk {headers['webhook-signature']} v1,\u00e9"
    assert is_genuine(headers)


def test_another_body_another_time_or_another_id_is_not() -> None:
    assert not is_genuine(signed(), b"{}")
    assert not is_genuine(signed(at=time.time() - 400))
    assert not is_genuine(signed(at=time.time() + 400))
    assert not is_genuine({**signed(), "webhook-id": "msg_2"})


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize("text", [None, "", "x", "v1,\u00e9", "\u0661", "\udce9", "9" * 5000, "-1"])
def test_nothing_that_a_stranger_sends_raises(name: str, text: str | None) -> None:
    headers = {key: value for key, value in signed().items() if key != name}
    assert not is_genuine(headers if text is None else {**headers, name: text})
