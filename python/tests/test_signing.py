"""Signatures, against the vectors of the signer crate."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from channelstream_push.errors import SettingsError
from channelstream_push.signing import (
    RequestSigner,
    Signed,
    TimestampSigner,
    read_secret,
)

VECTORS = Path(__file__).parents[2] / "channelstream-signer/tests/vectors"
NONCE = "0123456789abcdef"


def recorded(name: str) -> Any:
    return json.loads((VECTORS / name).read_text())


@pytest.mark.parametrize("name", ["itsdangerous-1.1.0.json", "itsdangerous-2.2.0.json"])
def test_times_are_signed_as_itsdangerous_signs_them(name: str) -> None:
    checked = 0
    for vector in recorded(name):
        # The wire has the defaults alone; further settings are of other users of itsdangerous.
        if "sign" not in vector or set(vector["signer"]) - {"secrets"}:
            continue
        secret = vector["signer"].get("secrets", ["secret"])[0].encode("latin-1")
        answer = vector.get("ours", vector["answer"])
        asked = vector["sign"]
        assert TimestampSigner(secret).sign_at(asked["value"], asked["timestamp"]) == answer["text"]
        checked += 1
    assert checked > 50


def test_requests_are_signed_as_the_signer_crate_signs_them() -> None:
    vectors = recorded("request-v1.json")["signed"]
    # The client has no pipe, which alone takes a body that is not signed.
    vectors = [vector for vector in vectors if vector["body"] is not None]
    assert len(vectors) > 5
    for vector in vectors:
        request = Signed(
            vector["method"], vector["path"], vector["body"].encode(), vector["idempotency_key"]
        )
        signer = RequestSigner(vector["secret"])
        assert signer.sign(request, vector["time"], vector["nonce"]) == vector["header"], vector[
            "why"
        ]


@pytest.mark.parametrize(
    "nonce", ["", "0" * 15, "0" * 65, "0123456789abcde\n", "0123456789abcdefé"]
)
def test_a_bad_nonce_is_refused(nonce: str) -> None:
    with pytest.raises(SettingsError):
        RequestSigner("s").sign(Signed("POST", "/message"), 1, nonce)


@pytest.mark.parametrize("time", [-1, 10**12])
def test_a_time_out_of_bounds_is_refused(time: int) -> None:
    with pytest.raises(SettingsError):
        RequestSigner("s").sign(Signed("POST", "/message"), time, NONCE)


@pytest.mark.parametrize(
    "request_",
    [Signed("PO\nST", "/"), Signed("POST", "/\n"), Signed("POST", "/", idempotency_key="a\nb")],
)
def test_a_line_break_that_would_move_fields_is_refused(request_: Signed) -> None:
    with pytest.raises(SettingsError, match="line break"):
        RequestSigner("s").sign(request_, 1, NONCE)


@pytest.mark.parametrize("secret", [None, 7, ["s"], "\ud800"])
def test_what_is_no_secret_is_refused(secret: Any) -> None:
    for signer in (TimestampSigner, RequestSigner):
        with pytest.raises(SettingsError, match="the secret is"):
            signer(secret)


@pytest.mark.parametrize("signer", [TimestampSigner("marked"), RequestSigner("marked")])
def test_a_signer_shows_no_secret(signer: TimestampSigner | RequestSigner) -> None:
    assert repr(signer) == f"<{type(signer).__name__}>"
    assert not hasattr(signer, "__dict__")
    with pytest.raises(TypeError, match="secret"):
        pickle.dumps(signer)
    assert copy.copy(signer) is copy.deepcopy(signer) is signer


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"one", "one"),
        (b"\n\n  one \ntwo\n", "one"),
        (b"\xef\xbb\xbfone\r\n", "one"),
        ("schlüssel 1\n".encode(), "schlüssel 1"),
    ],
)
def test_the_newest_secret_of_a_file_signs(tmp_path: Path, content: bytes, secret: str) -> None:
    path = tmp_path / "secret.txt"
    path.write_bytes(content)
    assert read_secret(path) == secret


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "it is empty"),
        (b" \n\n", "it is empty"),
        (b"mar\x00ked", "line 1 has a character"),
        (b"one\nmar\x1bked", "line 2 has a character"),
        (b"\xff\xfem\0a\0r\0k\0e\0d\0", "not UTF-8"),
        (b"marked" * 11_000, "larger than 65536 bytes"),
    ],
)
def test_a_bad_file_is_refused_and_not_quoted(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "secret.txt"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=problem) as caught:
        read_secret(path)
    assert "marked" not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"from .*nothing\.txt: No such file"):
        read_secret(tmp_path / "nothing.txt")
