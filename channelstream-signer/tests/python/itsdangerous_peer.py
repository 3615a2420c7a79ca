"""Answers requests to sign and unsign with the itsdangerous that this interpreter has.

Reads a JSON list of requests from standard input and writes a JSON list of answers.

    request  {"signer": S, "sign": {"value", "timestamp"}}
             {"signer": S, "unsign": {"text", "max_age" or null, "now"}}
    answer   {"text"}, {"value", "timestamp"}, {"refused": name of the exception},
             or null: this version has no list of secrets
    S        what differs from DEFAULTS; secrets are newest first, secrets and salt have one
             character a byte
"""

import hashlib
import json
import sys

from itsdangerous import BadSignature, TimestampSigner


DEFAULTS = {
    "secrets": ["secret"],
    "salt": "itsdangerous.Signer",
    "separator": ".",
    "derivation": "django-concat",
    "digest": "sha1",
}


class FrozenSigner(TimestampSigner):
    """A signer whose clock is set by hand and whose times stay numbers."""

    now = 0

    def get_timestamp(self):
        return self.now

    def timestamp_to_datetime(self, ts):
        return ts


def make_signer(settings):
    settings = {**DEFAULTS, **settings}
    secrets = [secret.encode("latin-1") for secret in reversed(settings["secrets"])]
    if len(secrets) == 1:
        secrets = secrets[0]
    elif not hasattr(TimestampSigner, "secret_key"):
        return None
    return FrozenSigner(
        secrets,
        salt=settings["salt"].encode("latin-1"),
        sep=settings["separator"],
        key_derivation=settings["derivation"],
        digest_method=getattr(hashlib, settings["digest"]),
    )


def answer(request):
    signer = make_signer(request["signer"])
    if signer is None:
        return None
    if "sign" in request:
        signer.now = request["sign"]["timestamp"]
        return {"text": signer.sign(request["sign"]["value"]).decode()}
    asked = request["unsign"]
    signer.now = asked["now"]
    try:
        value, timestamp = signer.unsign(
            asked["text"], max_age=asked["max_age"], return_timestamp=True
        )
    except BadSignature as error:
        return {"refused": type(error).__name__}
    return {"value": value.decode(), "timestamp": timestamp}


if __name__ == "__main__":
    json.dump([answer(request) for request in json.load(sys.stdin)], sys.stdout)
