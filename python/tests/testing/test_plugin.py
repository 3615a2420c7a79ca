"""The pytest plugin, in runs of pytest of its own."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from documents import blocks
from stage import program

PLUGIN = "channelstream_push.testing.plugin"
SOURCES = Path(__file__).parents[2] / "src"

Run: TypeAlias = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run of pytest over the text of a test file, with nothing of this one in it."""
    monkeypatch.setenv("PYTHONPATH", str(SOURCES))
    monkeypatch.setenv("CHANNELSTREAM_SERVER", program())

    def run(text: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(text)
        return pytester.runpytest_subprocess("-p", PLUGIN, "-p", "no:cacheprovider", *arguments)

    return run


def test_a_test_sees_what_was_published_and_what_was_heard(run: Run) -> None:
    result = run(
        """
        from channelstream_push import Message, Push
        from channelstream_push.listening import Presence
        from channelstream_push import ChannelConfig

        def code_under_test(url, secret):
            with Push(url, secret) as push:
                push.publish(Message("editor", {"text": "Hello!"}, channel="news"))

        def test_published(push):
            push.channel("news")
            assert push.published("news") == []
            code_under_test(push.url, push.secret)
            [message] = push.published("news")
            assert (message.user, message.message) == ("editor", {"text": "Hello!"})

        def test_heard(push):
            ann, ben = push.listener("ann", "news"), push.listener("ben", "news")
            code_under_test(push.url, push.secret)
            for listener in (ann, ben):
                assert listener.next().message == {"text": "Hello!"}
                assert listener.messages == [{"text": "Hello!"}]

        def test_presence(push):
            push.channel("news", ChannelConfig(notify_presence=True))
            ben = push.listener("ben", "news")
            ann = push.listener("ann", "news")
            assert ben.next(Presence).action == "joined"
            ann.close()
            push.advance(seconds=14)
            assert push.client.info().channels["news"].total_users == 2
            push.advance(seconds=2)
            parted = ben.next(Presence)
            assert (parted.user, parted.action) == ("ann", "parted")

        def test_a_message_expires(push):
            push.channel("news", ChannelConfig(history_ttl=3600))
            code_under_test(push.url, push.secret)
            before = push.published("news")[0].timestamp
            assert push.advance(seconds=3599) > before
            assert len(push.published("news")) == 1
            push.advance(seconds=2)
            assert push.published("news") == []
        """
    )
    result.assert_outcomes(passed=4)


def test_the_tests_of_the_document_pass(run: Run) -> None:
    (shown,) = blocks("docs/testing.md", "python")
    run(shown).assert_outcomes(passed=2)


def test_each_test_has_a_server_with_nothing_in_it_at_the_same_address(run: Run) -> None:
    result = run(
        """
        import datetime
        import pytest

        addresses = set()

        @pytest.mark.parametrize("turn", range(3))
        def test_it(push, push_server, turn):
            addresses.add(push.url)
            assert addresses == {push.url} == {push_server.url}
            assert push.client.info().channels == {}
            now = push.advance(seconds=0)
            assert abs(now - datetime.datetime.now(now.tzinfo)) < datetime.timedelta(hours=1)
            push.listener("ann", "news")
            push.advance(seconds=86400)
        """
    )
    result.assert_outcomes(passed=3)


def test_what_does_not_come_is_an_error_that_says_what_did(run: Run) -> None:
    result = run(
        """
        import pytest
        from channelstream_push import CallError, ChannelConfig, Message
        from channelstream_push.listening import Edit
        from channelstream_push.testing import UnknownChannelError

        def test_it(push):
            with pytest.raises(UnknownChannelError, match="no channel 'nwes': .* push.channel"):
                push.published("nwes")
            push.channel("quiet", ChannelConfig(store_history=False))
            with pytest.raises(ValueError, match="store_history=False"):
                push.published("quiet")
            ann = push.listener("ann", "quiet")
            with pytest.raises(TimeoutError, match="within 0.05 s. What came: nothing at all"):
                ann.next(timeout=0.05)
            push.client.publish(Message("ben", {"n": 1}, channel="quiet"))
            with pytest.raises(TimeoutError, match="Message.*'n': 1"):
                ann.next(Edit, timeout=1)
            assert ann.messages == [{"n": 1}]
            for seconds in (-1, 31536001):
                with pytest.raises(CallError, match="between 0 and"):
                    push.advance(seconds=seconds)
            with pytest.raises(TimeoutError, match="did not come"):
                push.listen("00000000-0000-0000-0000-000000000000", patience=0.2)
            push.client.disconnect(ann.conn_id)
            ann.close()
            assert ann.has_ended
        """
    )
    result.assert_outcomes(passed=1)


def test_a_listener_is_closed_though_others_come(run: Run) -> None:
    result = run(
        """
        def test_it(push):
            ann = push.listener("ann", "news")
            abandon = ann.abandon

            def meanwhile():
                for user in ("ben", "bot"):
                    push.listener(user, "news")
                abandon()

            ann.abandon = meanwhile
            ann.close()
            assert ann.has_ended
            push.advance(seconds=20)
            assert push.client.info().channels["news"].total_users == 2
        """
    )
    result.assert_outcomes(passed=1)


def test_settings_are_those_of_conftest(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import pytest

        @pytest.fixture(scope="session")
        def push_settings():
            return {"gc_conns_after": 300, "strict_requests": True}
        """
    )
    result = run(
        """
        def test_it(push):
            push.listener("ann", "news").close()
            push.advance(seconds=299)
            assert push.client.info().channels["news"].total_users == 1
            push.advance(seconds=1)
            assert push.client.info().channels["news"].total_users == 0
        """
    )
    result.assert_outcomes(passed=1)


ANY = "def test_it(push): pass"


def test_no_server_is_an_error_that_says_how_to_get_one(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CHANNELSTREAM_SERVER")
    monkeypatch.setenv("PATH", "/nowhere")
    result = run(ANY)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*ServerNotFoundError: *is neither in *`pip install channelstream-server`*"]
    )


def test_a_program_that_is_none_is_named(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nchannelstream_server = bin/server\n")
    result = run(ANY)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*ServerNotFoundError: the setting names *bin/server, which is *"])


def test_the_setting_names_the_program(
    run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = pytester.mkdir("bin") / "server"
    link.symlink_to(program())
    monkeypatch.setenv("CHANNELSTREAM_SERVER", "/nowhere")
    pytester.makeini("[pytest]\nchannelstream_server = bin/server\n")
    run(ANY).assert_outcomes(passed=1)


def test_a_server_that_does_not_start_says_why(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import pytest

        @pytest.fixture(scope="session")
        def push_settings():
            return {"gc_conns_after": "soon"}
        """
    )
    result = run(ANY)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*ServerFailedError*did not start*", "*gc_conns_after*"])


def test_the_package_has_the_entry_point() -> None:
    project = (SOURCES.parent / "pyproject.toml").read_text()
    assert f'[project.entry-points.pytest11]\nchannelstream_push = "{PLUGIN}"\n' in project
    assert hasattr(importlib.import_module(PLUGIN), "push")
