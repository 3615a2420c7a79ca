"""A call without IO: what requests have, what answers mean, when they are repeated."""

from __future__ import annotations

import json
import pickle
from datetime import datetime, timezone
from http import HTTPStatus
from typing import Any

import pytest

from channelstream_push import CallError, ErrorKind, Message, RetryPolicy, SettingsError
from channelstream_push import requests as r
from channelstream_push.address import Address
from channelstream_push.answers import Posted
from channelstream_push.call import Answer, Call, Clock, Config, Done, Failure, Pause
from channelstream_push.errors import summary
from channelstream_push.signing import RequestSigner, TimestampSigner
from channelstream_push.wire import WrongAnswerError, from_json, to_json

NOW = 1_700_000_000.0
DATE = "Tue, 14 Nov 2023 22:13:20 GMT"
POSTED = to_json(
    [Posted("1", "ann", "news", [], [], False, datetime.fromtimestamp(NOW, timezone.utc))]
)


class Stopped(Clock):
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> float:
        return NOW + self.passed

    def monotonic(self) -> float:
        return self.passed


def config(**changes: Any) -> Config:
    settings: dict[str, Any] = {
        "address": Address.parse("http://push.example/prefix"),
        "signer": TimestampSigner("marked"),
        "timeout": 10.0,
        "retries": RetryPolicy(),
        "strict": True,
        "idempotency_keys": True,
        "user_agent": "tests",
        "clock": Stopped(),
    }
    return Config(**{**settings, **changes})


def publish(*, with_id: bool = False) -> r.Publish:
    return r.Publish.of(
        Message("ann", {"text": "x"}, channel="news", uuid="1" if with_id else None)
    )


def answer(status: int, body: str | bytes = b"", **headers: str) -> Answer:
    content = body.encode() if isinstance(body, str) else body
    return Answer(status, {key.replace("_", "-"): text for key, text in headers.items()}, content)


def error_of(call: Call[Any], outcome: Answer | Failure) -> CallError:
    with pytest.raises(CallError) as caught:
        call.settle(outcome)
    return caught.value


def never(**changes: Any) -> Config:
    return config(retries=RetryPolicy.never(), **changes)


def test_a_request_is_signed_anew_and_keeps_its_key_and_body() -> None:
    shared = config(signer=RequestSigner("marked"))
    call = Call(shared, publish())
    first = call.attempt()
    assert isinstance(call.settle(Failure("connect")), Pause)
    second = call.attempt()
    assert first.content == second.content
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert first.headers["x-channelstream-signature"] != second.headers["x-channelstream-signature"]
    assert (first.method, first.url) == ("POST", "http://push.example/prefix/message")


def test_headers_say_what_is_wanted() -> None:
    headers = Call(config(), publish()).attempt().headers
    assert headers["prefer"] == "handling=strict, return=representation"
    assert headers["x-channelstream-secret"].startswith("/message.ZVPxAA.")
    assert headers["accept-encoding"] == "identity"
    bare = Call(config(strict=False, idempotency_keys=False), publish()).attempt().headers
    assert not {"prefer", "idempotency-key"} & bare.keys()
    assert "idempotency-key" not in Call(config(), r.Info()).attempt().headers
    assert "content-type" not in Call(config(), r.ReadMetrics()).attempt().headers
    user = config(address=Address.parse("http://ann:word@push.example"))
    assert Call(user, r.Info()).attempt().headers["authorization"] == "Basic YW5uOndvcmQ="


def test_nothing_that_is_shown_has_a_signature() -> None:
    attempt = Call(config(signer=RequestSigner("marked")), publish()).attempt()
    for shown in (repr(attempt), repr(config())):
        assert "marked" not in shown
        assert "v1 t=" not in shown


@pytest.mark.parametrize(
    ("status", "kind", "retryable", "in_doubt"),
    [
        (101, ErrorKind.BAD_ANSWER, False, True),
        (302, ErrorKind.REFUSED, False, False),
        (401, ErrorKind.REFUSED, False, False),
        (404, ErrorKind.REFUSED, False, False),
        (408, ErrorKind.UNAVAILABLE, True, False),
        (422, ErrorKind.REFUSED, False, False),
        (429, ErrorKind.UNAVAILABLE, True, False),
        (500, ErrorKind.UNAVAILABLE, False, True),
        (502, ErrorKind.UNAVAILABLE, True, True),
        (503, ErrorKind.UNAVAILABLE, True, True),
        (504, ErrorKind.UNAVAILABLE, True, True),
        (700, ErrorKind.BAD_ANSWER, False, True),
    ],
)
def test_statuses_have_kinds(status: int, kind: ErrorKind, retryable: bool, in_doubt: bool) -> None:
    error = error_of(Call(never(), publish()), answer(status))
    assert (error.kind, error.status) == (kind, status)
    assert (error.is_retryable, error.is_in_doubt) == (retryable, in_doubt)
    assert (error.field_errors, error.clock_skew, error.attempts) == (None, None, 1)


@pytest.mark.parametrize(
    ("failure", "kind", "retryable", "in_doubt", "text"),
    [
        (
            Failure("connect", "Connection refused"),
            ErrorKind.CONNECT,
            True,
            False,
            "cannot reach http://push.example/prefix for POST /message: Connection refused",
        ),
        (Failure("timeout"), ErrorKind.TIMEOUT, True, True, "no answer to POST /message in time"),
        (
            Failure("broken"),
            ErrorKind.BAD_ANSWER,
            True,
            True,
            "the answer to POST /message broke off",
        ),
        (Failure("too_large"), ErrorKind.BAD_ANSWER, False, True, "is larger than 67108864 bytes"),
        (Failure("not_http"), ErrorKind.SCHEME, False, False, "use https://"),
        (Failure("not_tls"), ErrorKind.SCHEME, False, False, "use http://"),
        (
            Failure("request"),
            ErrorKind.REFUSED,
            False,
            False,
            "cannot make the request POST /message",
        ),
    ],
)
def test_failures_have_kinds(
    failure: Failure, kind: ErrorKind, retryable: bool, in_doubt: bool, text: str
) -> None:
    error = error_of(Call(never(), publish()), failure)
    assert (error.kind, error.is_retryable, error.is_in_doubt) == (kind, retryable, in_doubt)
    assert text in str(error)


@pytest.mark.parametrize(
    ("body", "in_doubt"),
    [
        ('{"message": "full", "outcome": "not_done"}', False),
        ('{"message": "stopped", "outcome": "unknown"}', True),
        ('{"message": "full"}', True),
        ('["not_done"]', True),
        ("<html>not_done</html>", True),
        ("", True),
    ],
)
def test_what_was_not_done_is_not_in_doubt(body: str, in_doubt: bool) -> None:
    error = error_of(Call(never(), publish()), answer(503, body))
    assert (error.is_retryable, error.is_in_doubt) == (True, in_doubt)


def test_the_servers_message_is_in_the_text_and_nobody_elses() -> None:
    plain = "POST /message was refused with 413"

    def text(body: str) -> str:
        return str(error_of(Call(never(), publish()), answer(413, body)))

    assert text('{"message": "too large", "code": "413 Too Large"}').endswith(": too large")
    long = json.dumps({"message": "x" * 301, "code": "413 x"})
    nested = "[" * 100_000
    for body in ("", "<html>", '{"message": "x"}', '{"message": "x", "code": 413}', long, nested):
        assert text(body).startswith(plain)
        assert ": " not in text(body)


def test_field_errors_are_in_the_text_by_path() -> None:
    body = '{"0": {"user": ["One.", "Two."], "pm_users": {"3": ["Three."]}}}'
    error = error_of(Call(never(), publish()), answer(422, body))
    assert str(error).endswith(": 0.user: One. Two.; 0.pm_users.3: Three.")
    assert error.field_errors == json.loads(body)
    assert summary({str(n): ["No."] for n in range(7)}).endswith("; 4: No.; and 2 more")
    assert summary({"x": ["y" * 1000]}) == "x: " + "y" * 297


def test_a_text_is_one_line_without_what_moves_a_terminal() -> None:
    hostile = "a\nERROR b\r\x1b[31m\u202e\ud800\u2028 \u00fc \U0001f600"
    for status, body in (
        (413, {"message": hostile, "code": "413 x"}),
        (422, {hostile: [hostile]}),
        (401, {"request": "Bad Signature", "reason": hostile}),
    ):
        error = error_of(Call(never(), publish()), answer(status, json.dumps(body)))
        assert str(error).isprintable()
        assert "a\\nERROR b\\r\\x1b[31m\\u202e\\ud800\\u2028 \u00fc \U0001f600" in str(error)
        assert str(error.replaced(attempts=2)) == str(error)
    assert len(str(CallError("x" * 100_000, ErrorKind.REFUSED))) < 4000


def test_what_is_no_field_errors_is_left_out() -> None:
    for body in (
        "{}",
        "[]",
        '{"x": {}}',
        '{"x": "marked"}',
        '{"x": [{"y": "marked"}]}',
        '{"x": 1}',
    ):
        error = error_of(Call(never(), publish()), answer(422, body))
        assert error.field_errors is None
        assert str(error).endswith(f"422 {HTTPStatus(422).phrase}")
    deep = '{"x": ' * 900 + '["No."]' + "}" * 900
    assert error_of(Call(never(), publish()), answer(422, deep)).field_errors


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("9" * 5000, float("inf")),
        ("Tue, 14 Nov 2023 22:13:29 GMT", 9.0),
        ("Tue, 14 Nov 2023 22:13:00 GMT", 0.0),
        ("-1", None),
        ("soon", None),
        ("\u0661", None),
        ("", None),
        ("Tue, 99 Nov 2023 22:13:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float | None) -> None:
    error = error_of(Call(never(), publish()), answer(503, retry_after=text))
    assert error.retry_after == seconds


@pytest.mark.parametrize(
    ("passed", "skew"),
    [(0, None), (54, None), (-54, None), (95, "95 s ahead"), (-70, "70 s behind")],
)
def test_a_skew_of_the_clocks_is_told_if_it_matters(passed: float, skew: str | None) -> None:
    shared = never()
    shared.clock = clock = Stopped()
    clock.passed = passed
    body = '{"request": "Bad Signature", "reason": "it is old"}'
    error = error_of(Call(shared, publish()), answer(401, body, date=DATE))
    assert (str(error.clock_skew) if error.clock_skew else None) == skew
    assert str(error).endswith(": it is old")
    proxys = error_of(Call(shared, publish()), answer(401, "<html>", date=DATE))
    assert proxys.clock_skew is None


def test_what_may_be_done_twice_is_repeated_only_with_a_key_that_is_known() -> None:
    shared = config()
    assert error_of(Call(shared, publish()), Failure("broken")).is_in_doubt
    assert isinstance(Call(shared, publish(with_id=True)).settle(Failure("broken")), Pause)
    assert isinstance(Call(shared, publish()).settle(Failure("connect")), Pause)
    assert isinstance(Call(shared, publish()).settle(answer(429)), Pause)

    done = Call(shared, publish()).settle(answer(200, POSTED, idempotency_replayed="false"))
    assert isinstance(done, Done)
    assert isinstance(Call(shared, publish()).settle(Failure("broken")), Pause)
    # A proxy's error tells nothing about the server behind it.
    Call(shared, publish(with_id=True)).settle(answer(502))
    assert shared.server_knows_keys
    # The server was replaced by one that does not know keys.
    Call(shared, publish()).settle(answer(200, POSTED))
    assert error_of(Call(shared, publish()), Failure("broken")).is_in_doubt


def test_without_a_key_a_message_is_not_repeated_by_its_id() -> None:
    keyless = config(idempotency_keys=False)
    assert error_of(Call(keyless, publish(with_id=True)), Failure("broken")).is_in_doubt
    assert isinstance(Call(keyless, publish(with_id=True)).settle(Failure("connect")), Pause)
    # The server refuses to open a message that is there.
    opening = r.Publish.of(Message("ann", {}, channel="news", uuid="1", status="open"))
    assert isinstance(Call(keyless, opening).settle(Failure("broken")), Pause)


def test_a_key_is_trusted_for_five_minutes() -> None:
    clock = Stopped()
    shared = config(clock=clock, retries=RetryPolicy(repeats=100, total=1000))
    shared.server_knows_keys = True
    call = Call(shared, publish())
    assert isinstance(call.settle(Failure("broken")), Pause)
    clock.passed = 300
    assert error_of(call, Failure("broken")).is_in_doubt


def test_doubt_of_an_earlier_attempt_stays_unless_the_server_answers_for_all() -> None:
    for headers, in_doubt in (({}, True), ({"idempotency_replayed": "true"}, False)):
        call = Call(config(), publish(with_id=True))
        assert isinstance(call.settle(Failure("broken")), Pause)
        error = error_of(call, answer(422, '{"x": ["No."]}', **headers))
        assert (error.is_in_doubt, error.attempts) == (in_doubt, 2)


def test_the_total_time_and_the_asked_pause_are_bounds() -> None:
    clock = Stopped()
    call = Call(config(clock=clock), publish())
    assert call.settle(answer(503, '{"outcome": "not_done"}', retry_after="3")) == Pause(3.0)
    clock.passed = 25.0
    assert call.attempt().timeout == 5.0
    error = error_of(call, answer(503, '{"outcome": "not_done"}', retry_after="6"))
    assert (error.retry_after, error.attempts) == (6.0, 2)
    clock.passed = 29.9
    assert error_of(call, Failure("connect")).kind is ErrorKind.CONNECT


def test_repeats_are_counted_and_pauses_grow_with_jitter() -> None:
    pauses = []
    for _ in range(40):
        call = Call(config(), publish())
        outcomes = [call.settle(Failure("connect")) for _ in range(3)]
        pauses.append([outcome.seconds for outcome in outcomes if isinstance(outcome, Pause)])
        assert error_of(call, Failure("connect")).attempts == 4
    for at, whole in enumerate((0.1, 0.2, 0.4)):
        drawn = [pause[at] for pause in pauses]
        assert all(whole / 2 <= pause <= whole for pause in drawn)
        assert len(set(drawn)) > 1


def test_the_proxy_is_named_unless_the_answer_is_the_servers() -> None:
    shared = never(proxy="http://proxy:3128")
    error = error_of(Call(shared, publish()), answer(403))
    assert error.proxy == "http://proxy:3128"
    assert str(error).endswith(" (through the proxy http://proxy:3128 of the environment)")
    servers = error_of(Call(shared, publish()), answer(422, '{"x": ["No."]}'))
    assert (servers.proxy, "proxy" in str(servers)) == (None, False)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "nothing",
        "{}",
        "[1]",
        '[{"uuid": 1}]',
        "[" * 100_000,
        b"\xff",
        '{"marked": 1}',
        '[{"uuid": "marked"}]',
        "9" * 5000,
    ],
)
def test_an_answer_in_another_form_is_an_error_that_does_not_quote_it(body: str | bytes) -> None:
    error = error_of(Call(never(), publish()), answer(200, body))
    assert (error.kind, error.is_in_doubt) == (ErrorKind.BAD_ANSWER, True)
    assert "marked" not in str(error)
    assert error.__context__ is None


@pytest.mark.parametrize(
    "request_",
    [
        publish(),
        r.EditMessages.of(r.Edit("1")),
        r.DeleteMessages.of(r.Delete("1")),
        r.Change.of(r.Append("1")),
    ],
)
def test_an_answer_of_another_length_is_an_error(request_: r.Request[Any]) -> None:
    error = error_of(Call(never(), request_), answer(200, "[]"))
    assert (error.kind, error.is_in_doubt) == (ErrorKind.BAD_ANSWER, True)
    assert "another number of items" in str(error)


def test_an_append_that_is_answered_as_an_edit_is_an_error() -> None:
    body = '[{"uuid": "1", "channel": null}]'
    error = error_of(Call(never(), r.AppendOne("1", {"text": "x"})), answer(200, body))
    assert str(error).endswith("is not that of an append")
    assert r.AppendOne("1", {"text": "x"}).doubles
    assert not r.AppendOne("1", {"text": "x"}, step=1).doubles


def test_plain_http_at_a_port_of_tls_is_told() -> None:
    nginx = "<center>The plain HTTP request was sent to HTTPS port</center>"
    error = error_of(Call(config(), publish()), answer(400, nginx))
    assert (error.kind, error.status) == (ErrorKind.SCHEME, 400)


def test_errors_go_through_a_pickle() -> None:
    error = error_of(Call(never(), publish()), answer(422, '{"x": ["No."]}', retry_after="2"))
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), vars(copy)) == (str(error), vars(error))


@pytest.mark.parametrize(
    "changes",
    [
        {"repeats": -1},
        {"total": float("nan")},
        {"first_pause": float("inf")},
        {"longest_pause": -0.1},
    ],
)
def test_a_policy_has_possible_numbers(changes: Any) -> None:
    with pytest.raises(SettingsError):
        RetryPolicy(**changes)


def test_a_number_of_very_many_digits_does_not_hide_the_answer() -> None:
    long = b"9" * 5000
    read = from_json(dict[str, Any], b'{"n": -' + long + b', "text": "there"}')
    assert read == {"n": float("-inf"), "text": "there"}
    for broken in (b'{"n": ' + long, b'{"n": "\xff"}'):
        with pytest.raises(WrongAnswerError):
            from_json(dict[str, Any], broken)
