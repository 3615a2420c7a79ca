"""Each call, against the real server."""

from __future__ import annotations

import gc
import uuid
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from channelstream_push import (
    Append,
    CallError,
    Changed,
    ChannelConfig,
    Delete,
    Edit,
    Edited,
    ErrorKind,
    InfoOptions,
    Message,
    PushError,
    RetryPolicy,
    Taken,
)
from stage import SECRET, Server, server

if TYPE_CHECKING:
    from pathlib import Path

    from both import Client, Make

STORING = ChannelConfig(store_history=True)


def test_a_connection_lives(push: Client, name: str) -> None:
    connected = push.connect(
        name,
        channels=[f"{name}-b", f"{name}-a"],
        fresh_user_state={"color": "red"},
        user_state={"age": 7, "away": None},
        state_public_keys=["color"],
        channel_configs={f"{name}-a": ChannelConfig(history_size=3, frames_size=5)},
        info=InfoOptions(include_users=True),
    )
    assert uuid.UUID(connected.conn_id).version == 4
    assert connected.channels == [f"{name}-a", f"{name}-b"]
    assert connected.state == {"color": "red", "age": 7}
    assert connected.public_state == {"color": "red"}
    settings = connected.channels_info.channels[f"{name}-a"].settings
    assert (settings.history_size, settings.frames_size, settings.append_as_edit) == (3, 5, None)
    assert connected.cursor

    subscribed = push.subscribe(uuid.UUID(connected.conn_id), [f"{name}-c"])
    assert subscribed.subscribed_to == [f"{name}-c"]
    unsubscribed = push.unsubscribe(connected.conn_id, [f"{name}-a", "unknown"])
    assert unsubscribed.unsubscribed_from == [f"{name}-a"]
    assert unsubscribed.channels == [f"{name}-b", f"{name}-c"]

    changed = push.user_state(name, {"age": 8}, state_public_keys=["age"])
    assert changed.changed_state == [Changed("age", 8)]
    assert changed.public_keys == ["age"]

    users = push.list_users(prefix=name, connected=True)
    assert [(user.user, user.connections) for user in users.users] == [(name, 1)]
    assert users.next is None
    first = push.list_channels(prefix=name, limit=1)
    assert [channel.name for channel in first.channels] == [f"{name}-a"]
    rest = push.list_channels(prefix=name, after=first.next)
    assert [channel.name for channel in rest.channels] == [f"{name}-b", f"{name}-c"]

    assert push.disconnect(connected.conn_id) is True
    assert push.disconnect(str(uuid.uuid4())) is False


def test_messages_are_published_changed_and_read(push: Client, name: str) -> None:
    push.channel_config({name: STORING})
    own = uuid.uuid4()
    at = datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=timezone.utc)
    posted = push.publish(
        Message("ann", {"text": "Grüße"}, channel=name, uuid=own, timestamp=at),
        Message("ann", {"text": "two", "to": [1, None, 2.5, True]}, channel=name, expires=60),
        Message("ann", {"text": "lost"}, channel=f"{name}-nowhere"),
    )
    assert (posted[0].uuid, posted[0].timestamp, posted[0].stored) == (str(own), at, True)
    assert posted[1].message == {"text": "two", "to": [1, None, 2.5, True]}
    assert posted[1].expires_at
    assert [message.problem for message in posted] == [None, None, "no such channel"]
    assert posted[0].recipients == 0

    edited = push.edit(Edit(own, {"text": "well"}, channel=name))
    assert (edited[0].uuid, edited[0].message) == (str(own), {"text": "well"})
    assert edited[0].edited > at
    deleted = push.delete(Delete(posted[1].uuid, channel=name))
    assert deleted[0].uuid == posted[1].uuid

    page = push.history(name, limit=5)
    assert [message.message for message in page.messages] == [{"text": "well"}]
    assert (page.next, page.gap) == (None, None)
    assert push.history(name, since=page.cursor).messages == []
    info = push.info(channels=[name, "unknown"], include_history_length=True)
    assert list(info.channels) == [name]
    assert info.channels[name].history_length == 1
    assert info.channels[name].history[0].message == {"text": "well"}

    assert push.delete_channels([name, "unknown"]).deleted == [name]
    with pytest.raises(CallError, match="Unknown channel"):
        push.history(name)


def test_a_growing_message_by_single_requests(push: Client, name: str) -> None:
    push.channel_config({name: STORING})
    own = str(uuid.uuid4())
    opening = Message("bot", {"text": ""}, channel=name, uuid=own, status="open", cancel_by=[name])
    assert push.publish(opening)[0].status == "open"
    life, taken, edited = push.change(
        Append(own), Append(own, {"text": "Hello"}, step=1), Edit(own, {"text": "Hi"}, channel=name)
    )
    assert life.taken
    assert isinstance(taken, Taken)
    assert (taken.taken, taken.step, taken.status, taken.is_final) == (True, 1, "open", False)
    assert isinstance(edited, Edited)
    assert edited.status == "open"
    assert push.append(own).status == "open"
    connected = push.connect(name)
    ended = push.cancel(connected.conn_id, own)
    assert (ended.taken, ended.status, ended.is_final) == (True, "cancelled", True)
    late = push.append(own, {"text": "!"}, step=2)
    assert (late.taken, late.status) == (False, "cancelled")


def test_a_user_is_shut_out(push: Client, name: str) -> None:
    push.connect(name)
    gone = push.disconnect_user(name, reason="spam", refuse_for=60)
    assert (gone.connections, gone.refused_for) == (1, 60)
    with pytest.raises(CallError, match="spam") as caught:
        push.connect(name)
    error = caught.value
    assert (error.kind, error.status, error.is_in_doubt) == (ErrorKind.REFUSED, 403, False)
    assert error.retry_after == pytest.approx(60, abs=30)
    push.disconnect_user(name, refuse_for=0)
    push.connect(name)


def test_an_operator_asks(push: Client, name: str) -> None:
    push.connect(name, channels=[name])
    stats = push.admin_stats()
    assert name in stats.channels
    assert name in [user.user for user in stats.users]
    metrics = push.metrics()
    assert metrics.version == stats.version
    assert "listeners" in metrics.metrics
    assert stats.version in push.debug_text()
    assert push.reload().changed == []


def test_fields_that_are_wrong_are_named(push: Client, name: str) -> None:
    with pytest.raises(CallError) as caught:
        push.publish(Message("ann", {}, channel=name), Message("", {}, channel=name))
    error = caught.value
    assert error.field_errors is not None
    assert list(error.field_errors) == ["1"]
    assert "1.user: Length must be between 1 and 512." in str(error)
    assert (error.kind, error.status, error.is_retryable) == (ErrorKind.REFUSED, 422, False)


def test_a_text_in_place_of_a_list_is_refused(push: Client, name: str) -> None:
    with pytest.raises(CallError, match="channels: "):
        push.connect(name, channels="news")


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, b"bytes", object(), "\ud800"])
def test_what_json_does_not_have_is_not_sent(push: Client, name: str, value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        push.publish(Message("ann", {"value": value}, channel=name))


def test_times_and_ids_in_a_payload_are_texts(push: Client, name: str) -> None:
    push.channel_config({name: ChannelConfig()})
    own, at = uuid.uuid4(), datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=1)))
    (posted,) = push.publish(Message("ann", {"own": own, "at": at}, channel=name))
    assert posted.message == {"own": str(own), "at": "2026-01-02T00:00:00+01:00"}


def test_a_wrong_secret_is_refused(make: Make, running: Server) -> None:
    for sign_bodies in (False, True):
        push = make(running.address, "another", sign_bodies=sign_bodies)
        with pytest.raises(CallError) as caught:
            push.info()
        error = caught.value
        assert (error.kind, error.status, error.clock_skew) == (ErrorKind.REFUSED, 401, None)


def test_whole_requests_are_signed(make: Make, name: str) -> None:
    with server(require_signed_bodies="true") as strict:
        push = make(strict.address, SECRET, sign_bodies=True, retries=RetryPolicy(total=60))
        # In the second of its start, the server does not know what counted before.
        push.channel_config({name: STORING})
        push.publish(Message("ann", {"text": "é" * 1000}, channel=name))
        assert len(push.history(name).messages) == 1
        assert push.metrics().version
        with pytest.raises(CallError, match="Unauthorized: ") as caught:
            make(strict.address, SECRET).info()
        assert caught.value.status == 401


# httpcore leaves it to the garbage collector to close a unix socket that nobody answers.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_unix_socket_is_a_server_too(make: Make, tmp_path: Path, name: str) -> None:
    with server(host=f"unix:{tmp_path / 'push.sock'}") as unix:
        push = make(unix.address, SECRET)
        assert push.connect(name).username == name
    with pytest.raises(CallError, match=f"cannot reach {unix.address} for ") as caught:
        make(unix.address, SECRET, retries=RetryPolicy.never()).connect(name)
    assert (caught.value.kind, caught.value.is_in_doubt) == (ErrorKind.CONNECT, False)
    # Here, and not in the next test.
    gc.collect()


def test_a_closed_client_says_so(push: Client) -> None:
    push.info(channels=[])
    push.close()
    with pytest.raises(PushError, match="the client is closed"):
        push.info(channels=[])
