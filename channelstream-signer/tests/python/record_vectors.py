"""Writes the vectors that tests/vectors holds, as the installed itsdangerous answers them.

    pip install itsdangerous==1.1.0
    python record_vectors.py > ../vectors/itsdangerous-1.1.0.json

A vector is a request and its answer (see itsdangerous_peer.py). Where this crate differs on
purpose, "ours" is what it answers instead and "why" says the reason.
"""

import base64
import hashlib
import hmac
import json
import sys

from itsdangerous_peer import answer, make_signer

NOW = 1700000000
DEFAULT = {}
ALL_BYTES = bytes(range(256)).decode("latin-1")
VALUES = ["/connect", "", "a.b.c", ".", "with space", "\u017c\u00f3\u0142w \U0001f422", "x" * 200]
TIMES = [1, 255, 256, NOW, 2**31, 2**32, 2**63 - 1, 2**64 - 1]


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signers():
    yield DEFAULT
    for derivation in ["django-concat", "concat", "hmac", "none"]:
        for digest in ["sha1", "sha256", "sha384", "sha512"]:
            yield dict(DEFAULT, derivation=derivation, digest=digest)
            yield dict(DEFAULT, derivation=derivation, digest=digest, secrets=["s" * 200])
    for separator in [":", "!", "--.--", "..", ".a", "/", "+", "\u00fc"]:
        yield dict(DEFAULT, separator=separator)
    for secret in ["", "\x00", ALL_BYTES]:
        yield dict(DEFAULT, secrets=[secret])
    for salt in ["", "other", ALL_BYTES]:
        yield dict(DEFAULT, salt=salt)
    yield dict(DEFAULT, secrets=["new", "old"])


def sealed(signed, settings=DEFAULT):
    """The text with a right signature, whatever the text is."""
    signer = make_signer(settings)
    return signed + "." + signer.get_signature(signed).decode()


def reference_javascript(timestamp, secret="secret", value="channelstream"):
    """What the browser client of Channelstream 0.7.1 sends: one '=' is taken off, and only the
    first '+' and the first '/' are replaced."""

    def strip(data):
        text = base64.b64encode(data).decode()
        return text.replace("=", "", 1).replace("+", "-", 1).replace("/", "_", 1)

    key = hashlib.sha1(b"itsdangerous.Signersigner" + secret.encode()).digest()
    signed = value + "." + strip(timestamp.to_bytes(4, "big"))
    return signed + "." + strip(hmac.new(key, signed.encode(), hashlib.sha1).digest())


def odd_texts():
    """Texts to unsign with the default signer, with what is different about them here."""
    good = sealed("/connect." + b64(NOW.to_bytes(4, "big")))
    value, timestamp, signature = good.rsplit(".", 2)
    refused = {"refused": "BadTimeSignature"}

    for text in [good, "", ".", "..", "...", "/connect", value + "." + timestamp, "." + good]:
        yield text, None, None
    # Every part changed, cut or missing.
    for text in [
        "/Connect." + timestamp + "." + signature,
        value + "." + "ZVPxAQ" + "." + signature,
        value + "." + timestamp + "=" + "." + signature,
        value + "." + timestamp + "." + "A" + signature[1:],
        value + "." + timestamp + "." + signature[:-1],
        value + "." + timestamp + "." + signature[:-2],
        value + "." + timestamp + ".",
        value + "." + timestamp + "." + signature + "AAAA",
        value + "." + timestamp + "." + b64(b"\0" * 200),
        value + ".." + signature,
        value + "." + signature,
        good + ".",
        good.replace("=", "") + " .x",
    ]:
        yield text, None, None
    # The bytes of the signature count, not the way they are written.
    for text in [good + "=", good + "==", good + "===", sealed("/connect." + timestamp + "==")]:
        yield text, None, None
    for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_":
        yield good[:-1] + last, None, None
    for second in range(NOW, NOW + 120):
        text = sealed("/connect." + b64(second.to_bytes(4, "big")))
        head, last = text.rsplit(".", 1)
        if "-" in last and "_" in last:
            yield head + "." + last.replace("-", "+").replace("_", "/"), None, None
            yield head + "." + last.replace("-", "+"), None, None
        text = reference_javascript(second)
        if "+" in text or "/" in text:
            yield text, None, None
    # Times that are genuine, but odd.
    yield sealed("/connect"), None, None
    yield sealed(""), None, None
    yield sealed("/connect.AA"), None, None
    yield sealed("/connect.AAAAAGVT8QA"), None, None
    yield sealed("/connect.AAAAAAAAAAAA"), None, None
    yield sealed("/connect.____________"), None, None
    yield sealed("/connect.__________8"), None, None
    yield sealed("/connect.//////////8="), None, None
    yield sealed("/connect.A"), None, None
    yield sealed("/connect.ZVPxAR"), None, None
    why = "foreign characters in base64 are refused"
    yield value + "." + timestamp + "." + signature[:5] + " \n" + signature[5:], refused, why
    yield value + "." + timestamp + "." + signature[:5] + "\u00e9" + signature[5:], refused, why
    yield good + "=AAAA", refused, why
    yield sealed("/connect."), refused, "a timestamp has at least one byte"
    yield sealed("."), refused, "a timestamp has at least one byte"


def ages():
    """Texts signed some time before NOW or after it, with an age limit."""
    for age in [0, 59, 60, 61, 10**6]:
        yield NOW - age, 60, None
    yield NOW, 0, None
    yield NOW - 1, 0, None
    for timestamp in [NOW + 2, NOW + 3600, 2**63 - 1, 2**64 - 1]:
        yield timestamp, 60, "times in the future are accepted, as in 1.1.0"
    yield 1, 2**64 - 1, None


def requests():
    for settings in signers():
        signer = make_signer(settings)
        for value in VALUES if settings is DEFAULT else VALUES[:3]:
            for timestamp in TIMES if settings is DEFAULT else [NOW]:
                request = {"signer": settings, "sign": {"value": value, "timestamp": timestamp}}
                yield request, None, None
                if signer is not None:
                    text = answer(request)["text"]
                    unsign = {"text": text, "max_age": None, "now": NOW}
                    yield {"signer": settings, "unsign": unsign}, None, None
    for text, ours, why in odd_texts():
        unsign = {"text": text, "max_age": None, "now": NOW}
        yield {"signer": DEFAULT, "unsign": unsign}, ours, why
    for timestamp, max_age, why in ages():
        signer = make_signer(DEFAULT)
        signer.now = timestamp
        unsign = {"text": signer.sign("/connect").decode(), "max_age": max_age, "now": NOW}
        ours = {"value": "/connect", "timestamp": timestamp} if why else None
        yield {"signer": DEFAULT, "unsign": unsign}, ours, why
    for secret in ["new", "old", "older", "unknown"]:
        text = answer({"signer": dict(DEFAULT, secrets=[secret]),
                       "sign": {"value": "/connect", "timestamp": NOW}})["text"]
        unsign = {"text": text, "max_age": 60, "now": NOW}
        settings = dict(DEFAULT, secrets=["new", "old", "older"])
        yield {"signer": settings, "unsign": unsign}, None, None


def vectors():
    for request, ours, why in requests():
        answered = answer(request)
        if answered is None:
            continue
        vector = dict(request, answer=answered)
        if why:
            vector.update(ours=ours, why=why)
        yield vector


if __name__ == "__main__":
    lines = (json.dumps(vector) for vector in vectors())
    sys.stdout.write("[\n" + ",\n".join(lines) + "\n]\n")
