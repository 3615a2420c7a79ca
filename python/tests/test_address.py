"""Addresses of servers: what they are joined to, what is refused, what is shown."""

from __future__ import annotations

import pytest

from channelstream_push.address import Address
from channelstream_push.errors import SettingsError


@pytest.mark.parametrize(
    ("text", "joined"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/message"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000/message"),
        ("http://127.0.0.1:8000//", "http://127.0.0.1:8000/message"),
        ("https://a.example/push", "https://a.example/push/message"),
        ("https://a.example/push/", "https://a.example/push/message"),
        ("HTTPS://A.example/a%20b/c/", "https://a.example/a%20b/c/message"),
        ("http://[::1]:8000/", "http://[::1]:8000/message"),
        ("http://bücher.example", "http://xn--bcher-kva.example/message"),
        ("http://ann:pass%40word@a.example", "http://a.example/message"),
    ],
)
def test_addresses_are_joined_whatever_they_end_in(text: str, joined: str) -> None:
    assert Address.parse(text).url("/message") == joined


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "does not begin with http"),
        ("127.0.0.1:8000", "does not begin with http"),
        ("ftp://marked:marked@host/", "does not begin with http"),
        ("http:/host", "lacks a slash: it begins with http://"),
        ("http:marked", "lacks a slash"),
        ("ws://marked", "begins with http://, not with ws://"),
        ("wss://marked", "begins with https://, not with wss://"),
        ("http://", "is no URL"),
        ("http://marked:marked@host:99999", "is no URL"),
        ("http://[marked", "is no URL"),
        ("http://host/märked", "is no URL"),
        ("http://host/?secret=marked", "a query or a fragment"),
        ("http://host/#marked", "a query or a fragment"),
        ("http://host?", "a query or a fragment"),
        ("http://host/mar\nked", "a control character"),
        ("http://marked\\@host", "a backslash"),
        ("unix:marked.sock", "begins with a slash"),
        ("unix:", "begins with a slash"),
    ],
)
def test_bad_addresses_are_refused_and_not_repeated(text: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem) as caught:
        Address.parse(text)
    assert "marked" not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_password_is_sent_and_not_shown() -> None:
    address = Address.parse("https://ann:pass%40word@a.example:8443/push/")
    assert address.authorization == "Basic YW5uOnBhc3NAd29yZA=="
    assert str(address) == "https://a.example:8443/push"
    assert "word" not in repr(address)
    assert Address.parse("http://a.example").authorization is None


def test_a_unix_socket_is_a_path() -> None:
    address = Address.parse("unix:/run/push.sock")
    assert (address.socket, str(address)) == ("/run/push.sock", "unix:/run/push.sock")
    assert address.is_loopback
    assert not address.is_https


@pytest.mark.parametrize(
    ("text", "loopback"),
    [
        ("http://127.0.0.1:8000", True),
        ("http://127.9.9.9", True),
        ("http://[::1]:8000/push", True),
        ("http://[::ffff:127.0.0.1]", True),
        ("http://0.0.0.0:8000", True),
        ("https://user:password@localhost", True),
        ("https://LOCALHOST.:8000", True),
        ("http://push.localhost", True),
        ("http://10.0.0.1", False),
        ("http://[2001:db8::1]", False),
        ("http://localhost.example.com", False),
        ("http://notlocalhost", False),
        ("http://127.0.0.1.example.com", False),
    ],
)
def test_loopback_is_this_machine(text: str, loopback: bool) -> None:
    assert Address.parse(text).is_loopback == loopback
