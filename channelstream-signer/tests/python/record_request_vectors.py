"""Writes tests/vectors/request-v1.json, with nothing but the standard library.

    python3 tests/python/record_request_vectors.py > tests/vectors/request-v1.json

It is a second implementation of the scheme, beside the one in Rust.
"""

import hashlib
import hmac
import json

PURPOSE = b"channelstream.request.v1"
NONCE = "0123456789abcdef"
TIME = 1700000000


def vector(why, secret="secret", method="POST", path="/message", idempotency_key="",
           body="[]", time=TIME, nonce=NONCE):
    """One signed request, with every intermediate value; a body of None is not signed."""
    key = hmac.digest(secret.encode(), PURPOSE, "sha256")
    content = "-" if body is None else hashlib.sha256(body.encode()).hexdigest()
    text = "\n".join(["v1", method, path, idempotency_key, content, str(time), nonce])
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    return {
        "why": why,
        "secret": secret,
        "method": method,
        "path": path,
        "idempotency_key": idempotency_key,
        "body": body,
        "time": time,
        "nonce": nonce,
        "key": key.hex(),
        "text": text,
        "header": f"v1 t={time},n={nonce},h={content},s={signature}",
    }


def main():
    signed = [
        vector("a message", body='[{"channel":"news","message":{"text":"Hello!"}}]'),
        vector("no body", method="GET", path="/info", body=""),
        vector("a query", path="/disconnect?conn_id=2b6f0cc9-04d1-4b1b-9b1a-2b1d5c8d7e11", body=""),
        vector("an empty query", path="/info?", body=""),
        vector("a path that is percent-encoded is signed as it is sent", path="/%6dessage"),
        vector("an idempotency key, as the header has it", idempotency_key='"8e03978e-40d5"'),
        vector("a body that is not signed", path="/message/stream?channel=c&user=u", body=None),
        vector("a body beyond ASCII", body='{"text":"gr\u00fc\u00df dich \U0001f44b"}'),
        vector("a body with line breaks", body="\n\n"),
        vector("a secret beyond ASCII", secret="gr\u00fc\u00df dich"),
        vector("a secret longer than a block of SHA-256", secret="long " * 40),
        vector("the shortest nonce with every kind of character", nonce="aZ09-_aZ09-_aZ09"),
        vector("the longest nonce", nonce="n" * 64),
        vector("the beginning of time", time=0),
        vector("the latest time", time=999999999999),
    ]
    good = signed[0]["header"]
    parts = dict(part.split("=") for part in good[3:].split(","))

    def header(version="v1", blank=" ", **changes):
        fields = {**parts, **changes}
        return f"{version}{blank}" + ",".join(f"{name}={value}" for name, value in fields.items())

    upper = {name: parts[name].upper() for name in "hs"}
    malformed = {
        "nothing": "",
        "a version alone": "v1",
        "another version": header(version="v2"),
        "a version in capitals": header(version="V1"),
        "two blanks": header(blank="  "),
        "a blank before it": " " + good,
        "a blank behind it": good + " ",
        "a field behind it": good + ",x=1",
        "the fields in another order": "v1 n={n},t={t},h={h},s={s}".format(**parts),
        "blanks between fields": good.replace(",", ", "),
        "a field twice": good.replace(",n=", f",n={NONCE},n="),
        "a field is missing": good.split(",s=")[0],
        "the fields in quotes": header(n=f'"{NONCE}"'),
        "two headers as one": f"{good}, {good}",
        "an empty time": header(t=""),
        "a time with a sign": header(t="+1700000000"),
        "a negative time": header(t="-1700000000"),
        "a time with a fraction": header(t="1700000000.0"),
        "a time with an exponent": header(t="17e8"),
        "a time with leading zeros": header(t="01700000000"),
        "a time of two zeros": header(t="00"),
        "a time in hexadecimal": header(t="0x6553f100"),
        "a time with a blank": header(t=" 1700000000"),
        "a time with separators": header(t="1_700_000_000"),
        "a time in other digits": header(t="\u0661\u0667\u0660\u0660"),
        "a time of thirteen digits": header(t="1000000000000"),
        "a time over 64 bits": header(t="18446744073709551616"),
        "an empty nonce": header(n=""),
        "a nonce that is too short": header(n="n" * 15),
        "a nonce that is too long": header(n="n" * 65),
        "a huge nonce": header(n="n" * 5000),
        "a nonce with a blank": header(n="0123456789 abcdef"),
        "a nonce with a comma": header(n="0123456789,abcdef"),
        "a nonce with an equals sign": header(n="0123456789abcdef="),
        "a nonce with a dot": header(n="0123456789.abcdef"),
        "a nonce beyond ASCII": header(n="0123456789abcdef\u00e9"),
        "a nonce with a zero byte": header(n="0123456789abcdef\0"),
        "a hash in capitals": header(h=upper["h"]),
        "a hash that is too short": header(h=parts["h"][:-1]),
        "a hash that is too long": header(h=parts["h"] + "0"),
        "an empty hash": header(h=""),
        "two hyphens as a hash": header(h="--"),
        "a hash in base64": header(h="47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
        "a signature in capitals": header(s=upper["s"]),
        "a signature that is too short": header(s=parts["s"][:-1]),
        "a signature that is too long": header(s=parts["s"] + "0"),
        "an empty signature": header(s=""),
        "a signature of other letters": header(s="g" * 64),
        "a signature beyond ASCII": header(s="\u00e9" * 32),
    }
    flipped = parts["s"][:-1] + ("0" if parts["s"][-1] != "0" else "1")
    mismatched = {
        "another time": header(t="1700000001"),
        "another nonce": header(n="0123456789abcdeg"),
        "another hash": header(h=hashlib.sha256(b"").hexdigest()),
        "no hash": header(h="-"),
        "one other digit": header(s=flipped),
        "a signature of zeros": header(s="0" * 64),
        "another secret": vector("", secret="another", body=signed[0]["body"])["header"],
    }
    document = {"signed": signed, "malformed": malformed, "mismatched": mismatched}
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
