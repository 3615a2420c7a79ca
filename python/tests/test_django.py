"""The app in a real Django project, against the real server."""

from __future__ import annotations

import io
import json
import logging
import re
from datetime import date
from decimal import Decimal
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import User
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.db import transaction
from django.template import Context, Template
from django.test import Client as Browser
from django.test import RequestFactory, TestCase, override_settings

from channelstream_push import ChannelConfig, Connect, Message, Push, SettingsError
from channelstream_push.django import push, send
from channelstream_push.django.views import connect
from gate import gate, hanging
from stage import PATIENCE, SECRET, Server, server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def _database() -> None:
    call_command("migrate", verbosity=0)


@pytest.fixture
def block(running: Server, _database: None) -> Iterator[dict[str, Any]]:
    block = {"URL": running.address, "SECRET": SECRET, "CHANNELS": "django_project.channels"}
    with override_settings(CHANNELSTREAM=block):
        yield block


@pytest.fixture
def channel(block: dict[str, Any], name: str) -> str:
    assert block
    push().channel_config({name: ChannelConfig(store_history=True)})
    return name


@pytest.fixture
def browser(name: str, block: dict[str, Any]) -> Browser:
    assert block
    browser = Browser()
    browser.force_login(User.objects.create_user(name))
    return browser


def texts(channel: str) -> list[Any]:
    return [(one.message or {}).get("text") for one in push().history(channel).messages]


def message(channel: str, text: Any) -> Message:
    return Message("shop", {"text": text}, channel=channel)


def test_what_is_committed_is_published_then(channel: str) -> None:
    with transaction.atomic():
        ids = send(message(channel, "one"), message(channel, "two"))
        assert texts(channel) == []
    assert texts(channel) == ["one", "two"]
    assert [one.uuid for one in push().history(channel).messages] == ids


def test_a_test_that_never_commits_publishes_all_the_same(channel: str) -> None:
    with transaction.atomic():
        with TestCase.captureOnCommitCallbacks(execute=True):
            send(message(channel, "one"))
            assert texts(channel) == []
        assert texts(channel) == ["one"]
        transaction.set_rollback(True)
    assert texts(channel) == ["one"]


def test_what_is_rolled_back_is_not(channel: str) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        send(message(channel, "never"))
        raise ZeroDivisionError
    send(message(channel, "at once"))
    assert texts(channel) == ["at once"]
    assert send() == []


def test_a_payload_is_as_it_was_and_may_have_what_django_knows(channel: str) -> None:
    payload = {"text": [Decimal("1.50"), date(2026, 1, 2)]}
    with transaction.atomic():
        send(Message("shop", payload, channel=channel))
        payload["text"].append(date(2027, 1, 2))
    assert texts(channel) == [["1.50", "2026-01-02"]]
    with transaction.atomic(), pytest.raises(TypeError):
        send(message(channel, object()))


@pytest.mark.usefixtures("_database")
def test_a_server_that_is_away_does_not_undo_what_is_committed(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with server() as away:
        pass
    with override_settings(CHANNELSTREAM={"URL": away.address, "SECRET": SECRET}):
        with transaction.atomic():
            User.objects.create_user(name)
            (sent,) = send(message("news", "lost"))
    assert User.objects.filter(username=name).exists()
    ((logger, level, text),) = [
        one for one in caplog.record_tuples if one[0].startswith("channelstream_push")
    ]
    assert (logger, level) == ("channelstream_push.django", logging.ERROR)
    assert f"cannot reach {away.address}" in text
    assert sent in text
    assert "(messages: 1, channels: 1, ids: " in text


def test_a_page_does_not_wait_longer_than_the_timeout(
    block: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with gate() as path:
        path.plan.extend([hanging] * 10)
        with override_settings(CHANNELSTREAM={**block, "URL": path.address, "TIMEOUT": 2}):
            send(message("news", "lost"))
        assert len(path.visits) == 1
    assert "no answer to POST /message in time" in caplog.text


def test_an_async_view_sends_in_a_thread(channel: str) -> None:
    async def view() -> list[str]:
        return await sync_to_async(send)(message(channel, "one"))

    sent = async_to_sync(view)()
    assert [one.uuid for one in push().history(channel).messages] == sent


def test_an_error_after_the_commit_does_not_stop_what_else_waits_for_it(
    block: dict[str, Any], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    assert block
    monkeypatch.setattr(Push, "call", fail)
    ran: list[str] = []
    with transaction.atomic():
        send(message("news", "marked"), message("sports", "marked"))
        transaction.on_commit(lambda: ran.append("later"))
    assert ran == ["later"]
    (record,) = [one for one in caplog.records if one.name == "channelstream_push.django"]
    assert record.exc_info
    assert record.exc_info[0] is ZeroDivisionError
    assert "(messages: 2, channels: 2, ids: " in record.getMessage()
    assert "marked" not in caplog.text


def test_the_user_of_the_session_is_connected(browser: Browser, name: str) -> None:
    answer = browser.post("/push/connect", {"username": "admin", "channels": ["all"]})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["username"], body["channels"]) == (name, [f"of-{name}"])
    assert answer["Cache-Control"] == "no-store"
    assert push().list_users(prefix=name).users[0].connections == 1
    assert push().disconnect(body["conn_id"])


def test_what_no_server_takes_is_not_asked_for_again(
    browser: Browser, block: dict[str, Any]
) -> None:
    with override_settings(CHANNELSTREAM={**block, "CHANNELS": lambda _: ["x" * 10_000]}):
        assert browser.post("/push/connect").status_code == 422
    with override_settings(CHANNELSTREAM={**block, "CHANNELS": lambda _: "room"}):
        with pytest.raises(TypeError, match="and not one text"):
            browser.post("/push/connect")


def test_private_state_of_others_is_not_told(browser: Browser, name: str) -> None:
    push().connect(
        f"other-{name}",
        channels=[f"of-{name}"],
        user_state={"hidden": 1, "shown": 2},
        state_public_keys=["shown"],
    )
    users = browser.post("/push/connect").json()["channels_info"]["users"]
    assert {"user": f"other-{name}", "state": {"shown": 2}} in users


def test_only_users_are_connected(block: dict[str, Any]) -> None:
    assert block
    assert Browser().post("/push/connect").status_code == 403
    assert Browser().get("/push/connect").status_code == 405
    strict = Browser(enforce_csrf_checks=True)
    strict.force_login(User.objects.get_or_create(username="csrf")[0])
    assert strict.post("/push/connect").status_code == 403


def test_a_user_who_is_shut_out_is_refused_and_a_server_that_is_away_is_not_shown(
    browser: Browser, name: str
) -> None:
    push().disconnect_user(name, reason="spam", refuse_for=60)
    refused = browser.post("/push/connect")
    assert (refused.status_code, refused.json()) == (403, {"error": "the user may not connect"})
    assert 0 < int(refused["Retry-After"]) <= 60
    with override_settings(CHANNELSTREAM={"URL": "http://127.0.0.1:1", "SECRET": SECRET}):
        away = browser.post("/push/connect")
    assert away.status_code == 503
    assert "127.0.0.1" not in away.content.decode()


def test_the_module_of_the_function_may_use_the_client_when_it_is_imported(
    block: dict[str, Any], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "from channelstream_push.django import push\nclient = push()\n"
    (tmp_path / f"{name}.py").write_text(f"{source}def channels(request): return ['{name}']\n")
    monkeypatch.syspath_prepend(tmp_path)
    request = RequestFactory().post("/push/connect")
    request.user = User(username=name)
    request._dont_enforce_csrf_checks = True  # type: ignore[attr-defined]
    answers: list[Any] = []
    with override_settings(CHANNELSTREAM={**block, "CHANNELS": f"{name}.channels"}):
        # A thread, as one that waits for ever would stop the test.
        thread = Thread(target=lambda: answers.append(connect(request)), daemon=True)
        thread.start()
        thread.join(PATIENCE)
    assert [json.loads(answer.content)["channels"] for answer in answers] == [[name]]


def test_the_application_may_say_all_of_the_connection(
    browser: Browser, block: dict[str, Any], name: str
) -> None:
    wanted = Connect(f"x-{name}", channels=[name], user_state={"a": 1})
    with override_settings(CHANNELSTREAM={**block, "CHANNELS": lambda _: wanted}):
        assert browser.post("/push/connect").json()["username"] == f"x-{name}"


def test_the_tag_has_the_options_of_the_browser_client(block: dict[str, Any]) -> None:
    template = Template("{% load channelstream %}{% channelstream %}{% channelstream_client %}")
    with override_settings(
        CHANNELSTREAM={**block, "PUBLIC_URL": "https://ann:word@push.example/p/"}
    ):
        page = template.render(Context())
    assert "word" not in page
    assert page.endswith("https://push.example/p/static/channelstream/index.js")
    found = re.search(r'<script id="channelstream" type="application/json">(.*)</script>', page)
    assert found
    options = json.loads(found[1])
    assert options["connectUrl"] == "/push/connect"
    assert options["websocketUrl"] == "wss://push.example/p/ws"
    assert options["longPollUrl"] == "https://push.example/p/listen"


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        ({"URL": None}, ["channelstream_push.E001"]),
        ({"URL": "push.example"}, ["channelstream_push.E001"]),
        ({"SECRET": ""}, ["channelstream_push.E001"]),
        ({"TIMEOUTS": 3}, ["channelstream_push.E001"]),
        ({"TIMEOUT": -3}, ["channelstream_push.E001"]),
        ({"TIMEOUT": "5"}, ["channelstream_push.E001"]),
        ({"RETRIES": 3}, ["channelstream_push.E001"]),
        ({"TLS": True}, ["channelstream_push.E001"]),
        ({"SIGN_BODIES": "no"}, ["channelstream_push.E001"]),
        ({"CHANNELS": "no.such.function"}, ["channelstream_push.E001"]),
        ({"CHANNELS": 7}, ["channelstream_push.E001"]),
        ({"URL": "unix:/run/push.sock"}, ["channelstream_push.E001"]),
        ({"URL": "unix:/run/push.sock", "PUBLIC_URL": "https://push.example"}, []),
        ({"SECRET": "secret"}, ["channelstream_push.W001"]),
        ({"URL": "http://push.example"}, ["channelstream_push.W002"]),
        ({"URL": "http://push.example", "SIGN_BODIES": True}, []),
        ({"URL": "https://push.example"}, []),
    ],
)
def test_mistakes_in_the_settings_are_found(
    block: dict[str, Any], changes: dict[str, Any], found: list[str]
) -> None:
    with override_settings(CHANNELSTREAM={**block, **changes}):
        messages = run_checks(tags=["channelstream"])
    assert [message.id for message in messages] == found
    assert SECRET not in str(messages)


def test_a_setting_that_is_misspelled_is_told_its_name(block: dict[str, Any]) -> None:
    with override_settings(CHANNELSTREAM={**block, "SIGN_BODY": True}):
        with pytest.raises(SettingsError, match="; did you mean SIGN_BODIES"):
            push()
    with override_settings(CHANNELSTREAM=None), pytest.raises(SettingsError, match="is a dict"):
        send(message("news", "x"))


def doctor() -> str:
    out = io.StringIO()
    call_command("push_doctor", stdout=out)
    return out.getvalue()


def test_the_doctor_finds_nothing(block: dict[str, Any]) -> None:
    said = doctor()
    assert f"server: {block['URL']}" in said
    assert "signature: accepted" in said
    assert "version of the server: " in said
    assert SECRET not in said


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"SECRET": "another"}, "401 Unauthorized; SECRET is not a secret of this server"),
        ({"URL": "http://127.0.0.1:1"}, "refused; is the server running"),
        ({"URL": "nothing"}, "does not begin with http"),
        ({"URL": None}, "CHANNELSTREAM is a dict"),
    ],
)
def test_the_doctor_says_what_is_wrong(
    block: dict[str, Any], changes: dict[str, Any], problem: str
) -> None:
    with override_settings(CHANNELSTREAM={**block, **changes}):
        with pytest.raises(CommandError, match=problem):
            doctor()


def test_the_doctor_shows_no_password(block: dict[str, Any]) -> None:
    url = block["URL"].replace("//", "//ann:word@")
    with override_settings(CHANNELSTREAM={**block, "URL": url}):
        said = doctor()
    assert f"address for pages: {block['URL']}" in said
    assert "word" not in said


def test_the_doctor_of_a_server_that_takes_nothing_from_here(block: dict[str, Any]) -> None:
    with server(allow_posting_from="10.0.0.1") as strict:
        with override_settings(CHANNELSTREAM={**block, "URL": strict.address}):
            with pytest.raises(CommandError, match="allow_posting_from"):
                doctor()


def test_the_client_is_one_for_all(block: dict[str, Any]) -> None:
    before = push()
    assert push() is before
    with override_settings(CHANNELSTREAM={**block, "TIMEOUT": 3}):
        assert push() is not before
