"""Many messages: how they are cut into requests, and what is known when one of these fails."""

from __future__ import annotations

import asyncio
import itertools
import json
import pickle
from typing import TYPE_CHECKING, Any

import pytest

from channelstream_push import (
    AsyncPush,
    CallError,
    ChannelConfig,
    ErrorKind,
    Message,
    Published,
    PublishError,
    RetryPolicy,
    SettingsError,
)
from channelstream_push.bulk import Bulk
from gate import cutting, gate, losing, passing, status
from stage import SECRET, Server, server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from both import Client, Make
    from channelstream_push.bulk import Batch
    from gate import Gate

STORING = ChannelConfig(store_history=True, history_size=10_000)
BUSY = '{"outcome": "not_done"}'


@pytest.fixture
def path(running: Server) -> Iterator[Gate]:
    with gate(running.address) as stage:
        yield stage


def numbered(channel: str, count: int, first: int = 0) -> Iterator[Message]:
    """As a program has it: each message is made when it is needed."""
    return (
        Message("ann", {"n": number}, channel=channel) for number in range(first, first + count)
    )


def numbers(push: Client, channel: str) -> list[int]:
    found: list[int] = []
    since = None
    while True:
        page = push.history(channel, since=since, limit=1000)
        found += [message.message["n"] for message in page.messages]
        since = page.next
        if since is None:
            return found


def cut(bulk: Bulk, *messages: Message) -> list[Batch]:
    added = [bulk.add(message) for message in messages]
    return [batch for batch in [*added, bulk.rest()] if batch]


def test_all_arrive_in_their_order_in_few_requests(push: Client, name: str) -> None:
    push.channel_config({name: STORING})
    report = push.publish_all(numbered(name, 2500))
    assert report == Published(messages=2500, requests=3)
    assert numbers(push, name) == list(range(2500))


def test_nothing_is_no_request(make: Make) -> None:
    assert make("http://127.0.0.1:9", SECRET).publish_all([]) == Published()


def test_the_report_tells_what_went_nowhere(push: Client, name: str) -> None:
    push.channel_config({name: STORING})
    report = push.publish_all(
        [
            Message("ann", {"n": 1}, channel=name),
            Message("ann", {"n": 2}),
            Message("ann", {"n": 3}, channel=f"no-{name}"),
            Message("ann", {"n": 4}, pm_users=[f"no-{name}"]),
        ]
    )
    assert report == Published(messages=3, dropped=1, nowhere=2, requests=1)
    assert numbers(push, name) == [1]


def test_a_request_fills_the_servers_bound_and_not_a_byte_more(make: Make, name: str) -> None:
    with server(max_body_size=1000) as small:
        push = make(small.address, SECRET, max_body_size=1000)
        push.channel_config({name: STORING})
        report = push.publish_all(numbered(name, 50))
        assert report.messages == 50
        assert numbers(push, name) == list(range(50))


def test_a_request_has_the_bytes_that_it_may_have() -> None:
    one = Message("a", {}, channel="c", uuid="0" * 36)
    (single,) = cut(Bulk(10_000, None, has_keys=True), one)
    size = len(single.content) - 2
    for most, sizes in [(3 * size + 4, [3, 1]), (3 * size + 3, [2, 2]), (1, [1, 1, 1, 1])]:
        batches = cut(Bulk(most, None, has_keys=True), one, one, one, one)
        assert [len(batch.messages) for batch in batches] == sizes
        assert json.loads(batches[0].content) == [json.loads(single.content)[0]] * sizes[0]


def test_a_request_has_no_more_values_than_the_server_reads(push: Client, name: str) -> None:
    push.channel_config({name: STORING})
    report = push.publish_all(
        Message("ann", {"n": number, "list": [1] * 30_000}, channel=name) for number in range(7)
    )
    assert (report.messages, report.requests) == (7, 3)
    assert numbers(push, name) == list(range(7))


@pytest.mark.parametrize("fault", [losing, cutting])
def test_a_lost_answer_is_fetched_by_its_key(make: Make, path: Gate, name: str, fault: Any) -> None:
    push = make(path.address, SECRET)
    push.channel_config({name: STORING})
    path.plan.extend([passing, fault])
    assert push.publish_all(numbered(name, 2500)).messages == 2500
    assert numbers(push, name) == list(range(2500))


def test_what_failed_is_told_and_going_on_stores_nothing_twice(
    make: Make, path: Gate, name: str
) -> None:
    push = make(path.address, SECRET, retries=RetryPolicy.never())
    push.channel_config({name: STORING})
    messages = numbered(name, 2500)
    path.plan.extend([passing, losing])
    with pytest.raises(
        PublishError, match="1000 messages were accepted, the next 1000 may have"
    ) as caught:
        push.publish_all(messages)
    error = caught.value
    assert (error.position, error.failed, error.is_in_doubt, error.is_retryable) == (
        1000,
        1000,
        True,
        True,
    )
    assert isinstance(error.error, CallError)
    assert error.error.kind is ErrorKind.BAD_ANSWER
    assert [message.message["n"] for message in error.unpublished if message.message] == list(
        range(1000, 2000)
    )
    # The request was carried out, and is recognized.
    report = push.publish_all(itertools.chain(error.unpublished, messages))
    assert report == Published(messages=1500, requests=2)
    assert numbers(push, name) == list(range(2500))


def test_a_message_that_was_looked_at_already_is_not_lost(
    make: Make, path: Gate, name: str
) -> None:
    push = make(path.address, SECRET, retries=RetryPolicy.never(), max_body_size=300)
    push.channel_config({name: STORING})
    messages = numbered(name, 20)
    path.plan.extend([passing, status("503 Service Unavailable", BUSY)])
    with pytest.raises(PublishError, match="were not") as caught:
        push.publish_all(messages)
    error = caught.value
    assert (error.is_in_doubt, error.is_retryable) == (False, True)
    assert len(error.unpublished) == error.failed + 1
    push.publish_all(itertools.chain(error.unpublished, messages))
    assert numbers(push, name) == list(range(20))


def test_a_job_that_is_run_again_publishes_what_is_missing(
    make: Make, path: Gate, name: str
) -> None:
    push = make(path.address, SECRET, retries=RetryPolicy.never())
    push.channel_config({name: STORING})
    path.plan.extend([passing, losing])
    with pytest.raises(PublishError):
        push.publish_all(numbered(name, 2500), idempotency_key=f"job-{name}")
    again = make(path.address, SECRET)
    for _ in range(2):
        report = again.publish_all(numbered(name, 2500), idempotency_key=f"job-{name}")
        assert report == Published(messages=2500, requests=3)
    assert numbers(push, name) == list(range(2500))
    with pytest.raises(PublishError, match="Idempotency-Key belongs to another") as caught:
        push.publish_all(numbered(name, 2500, first=1), idempotency_key=f"job-{name}")
    assert (caught.value.position, caught.value.is_in_doubt) == (0, False)
    assert push.publish_all(numbered(name, 1, first=2500)).messages == 1
    assert numbers(push, name) == list(range(2501))


def test_what_has_no_json_is_told(push: Client, name: str) -> None:
    push.channel_config({name: STORING})
    wrong = Message("ann", {"n": {1, 2}}, channel=name)
    with pytest.raises(PublishError, match="the next 2 were not: a set has no JSON") as caught:
        push.publish_all(itertools.chain(numbered(name, 1001), [wrong]))
    assert isinstance(caught.value.error, TypeError)
    assert (caught.value.position, caught.value.is_retryable) == (1000, False)
    assert caught.value.unpublished[-1].message == wrong.message
    assert numbers(push, name) == list(range(1000))


def test_a_refusal_has_its_place(push: Client, name: str) -> None:
    push.channel_config({name: STORING})
    messages = [*numbered(name, 1001), Message("", {"n": 0}, channel=name)]
    with pytest.raises(PublishError, match="1000 messages were accepted") as caught:
        push.publish_all(messages)
    assert isinstance(caught.value.error, CallError)
    assert list(caught.value.error.field_errors or {}) == ["1"]


def test_the_error_goes_through_a_pickle_and_shows_no_message(make: Make, name: str) -> None:
    push = make("http://127.0.0.1:9", SECRET, retries=RetryPolicy.never())
    with pytest.raises(PublishError) as caught:
        push.publish_all([Message("ann", {"n": "private"}, channel=name)])
    error = caught.value
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error)
    assert copy.unpublished == error.unpublished
    assert (copy.published, copy.failed, copy.error.kind) == (Published(), 1, ErrorKind.CONNECT)
    assert "private" not in str(error) + repr(error)


def test_without_keys_none_is_sent(make: Make, path: Gate, name: str) -> None:
    push = make(path.address, SECRET, idempotency_keys=False)
    push.channel_config({name: STORING})
    push.publish_all(numbered(name, 2))
    assert [visit.header("idempotency-key") for visit in path.visits] == ["", ""]
    assert numbers(push, name) == [0, 1]


def test_a_call_with_a_key_of_its_own_is_carried_out_once(
    make: Make, path: Gate, name: str
) -> None:
    push = make(path.address, SECRET)
    push.channel_config({name: STORING})
    answers = [
        push.publish(Message("ann", {"n": 1}, channel=name), idempotency_key=f"task-{name}")
        for _ in range(2)
    ]
    assert answers[0] == answers[1]
    assert numbers(push, name) == [1]
    assert path.visits[-2].header("idempotency-key") == f'"task-{name}"'
    with pytest.raises(CallError, match="Idempotency-Key belongs to another"):
        push.publish(Message("ann", {"n": 2}, channel=name), idempotency_key=f"task-{name}")


@pytest.mark.parametrize("key", ["", "a b", 'a"', "a\\", "ä", "a" * 256, "a\n"])
def test_a_key_that_cannot_be_sent_is_refused(make: Make, key: str) -> None:
    push = make("http://127.0.0.1:9", SECRET)
    with pytest.raises(SettingsError, match="an idempotency key is"):
        push.publish(Message("ann", {}, channel="news"), idempotency_key=key)
    with pytest.raises(SettingsError, match="an idempotency key is"):
        push.publish_all([], idempotency_key=key)


def test_the_exception_of_the_input_passes_through(push: Client, name: str) -> None:
    push.channel_config({name: STORING})

    def failing() -> Iterator[Message]:
        yield from numbered(name, 1500)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        push.publish_all(failing())
    assert numbers(push, name) == list(range(1000))


def test_a_source_to_wait_for(running: Server, name: str) -> None:
    async def rows() -> AsyncIterator[Message]:
        for message in numbered(name, 1500):
            await asyncio.sleep(0)
            yield message

    async def run() -> tuple[Published, int]:
        async with AsyncPush(running.address, SECRET) as push:
            await push.channel_config({name: STORING})
            report = await push.publish_all(rows())
            page = await push.history(name, limit=1000)
            return report, len(page.messages)

    assert asyncio.run(run()) == (Published(messages=1500, requests=2), 1000)
