"""Growing messages, against the real server."""

from __future__ import annotations

import asyncio
import os
import threading
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from channelstream_push import (
    AppendRefused,
    AsyncPush,
    CallError,
    Cancelled,
    ChannelConfig,
    Ended,
    ErrorKind,
    Message,
    NotGrowing,
    Nowhere,
    PublishedMessage,
    Push,
    RetryPolicy,
    StreamError,
    TakenOver,
    UnknownMessage,
)
from gate import Visit, cutting, gate, losing, passing, status
from stage import PATIENCE, SECRET, Server, server, until

if TYPE_CHECKING:
    from pathlib import Path

    from both import Client, Make

STORING = ChannelConfig(store_history=True, history_size=100)


@pytest.fixture
def channel(push: Client, name: str) -> str:
    push.channel_config({name: STORING})
    return name


def message(push: Client, channel: str, uuid: str) -> PublishedMessage:
    found = [past for past in push.history(channel).messages if past.uuid == uuid]
    (one,) = found
    assert isinstance(one, PublishedMessage)
    return one


def test_a_message_grows_and_is_done(push: Client, channel: str) -> None:
    with push.stream(channel, user="bot", message={"text": "", "model": "small"}) as out:
        for part in ("Once ", "", "upon ", "ä ", "time"):
            out.write(part)
        out.write([{"url": "a"}], "sources")
        out.write([{"url": "b"}], key="sources")
        out.write("x", "/parts")
        out.flush()
        grown = message(push, channel, out.uuid)
        assert (grown.status, out.channel) == ("open", channel)
        assert grown.message == {
            "text": "Once upon ä time",
            "model": "small",
            "sources": [{"url": "a"}, {"url": "b"}],
            "parts": "x",
        }
        assert out.size == len(str(grown.message).replace(": ", ":").replace(", ", ",").encode())
    done = message(push, channel, out.uuid)
    assert (done.status, done.message) == ("done", grown.message)
    assert (out.rev, out.step) == (done.rev, done.rev)
    with pytest.raises(Ended):
        out.write("late")


def test_pieces_are_rolled_up(push: Client, channel: str) -> None:
    with push.stream(channel, user="bot") as out:
        for number in range(3000):
            out.write(f"{number} ")
    grown = message(push, channel, out.uuid)
    assert grown.message == {"text": "".join(f"{number} " for number in range(3000))}
    assert out.step < 1500


def test_each_piece_is_a_step_without_an_interval(push: Client, channel: str) -> None:
    with push.stream(channel, user="bot", interval=0) as out:
        for _ in range(20):
            out.write("x")
        out.flush()
        assert out.step == 20


def test_much_is_written_as_fast_as_the_server_takes_it(push: Client, channel: str) -> None:
    with push.stream(channel, user="bot") as out:
        for _ in range(30):
            out.write("x" * 30_000)
    assert message(push, channel, out.uuid).message == {"text": "x" * 900_000}


def test_the_first_piece_is_sent_at_once(push: Client, channel: str) -> None:
    with push.stream(channel, user="bot", interval=3600) as out:
        out.write("first")
        until(lambda: bool(out.rev == 1), "an answer to the first piece")
        out.write("second")
    assert message(push, channel, out.uuid).message == {"text": "firstsecond"}


def test_an_exception_ends_it_as_failed_and_goes_on(push: Client, channel: str) -> None:
    with pytest.raises(ZeroDivisionError), push.stream(channel, user="bot") as out:
        out.write("half")
        raise ZeroDivisionError
    failed = message(push, channel, out.uuid)
    assert (failed.status, failed.message) == ("failed", {"text": "half"})


def test_a_generator_that_is_closed_ends_it_as_failed(running: Server, channel: str) -> None:
    with Push(running.address, SECRET) as push:
        ids = []

        def answer() -> Any:
            with push.stream(channel, user="bot") as out:
                ids.append(out.uuid)
                for part in ("one ", "two ", "three "):
                    out.write(part)
                    yield part

        words = answer()
        next(words)
        words.close()
        failed = message(push, channel, ids[0])
        assert (failed.status, failed.message) == ("failed", {"text": "one "})


def test_a_reader_cancels(push: Client, channel: str, name: str) -> None:
    connected = push.connect(name)
    with pytest.raises(Cancelled), push.stream(channel, user="bot", cancel_by=[name]) as out:
        out.write("one")
        out.flush()
        push.cancel(connected.conn_id, out.uuid)
        until(lambda: bool(out.write("more")), "nothing: it raises")
    assert message(push, channel, out.uuid).status == "cancelled"


def test_a_cancel_that_the_publisher_has_not_seen_is_told_at_the_end(
    push: Client, channel: str, name: str
) -> None:
    connected = push.connect(name)
    with pytest.raises(Cancelled), push.stream(channel, user="bot", cancel_by=[name]) as out:
        out.write("one")
        out.flush()
        push.cancel(connected.conn_id, out.uuid)


def test_a_cancel_that_the_publisher_has_handled_is_not_told_again(
    push: Client, channel: str, name: str
) -> None:
    connected = push.connect(name)
    with push.stream(channel, user="bot", cancel_by=[name]) as out:
        push.cancel(connected.conn_id, out.uuid)
        out.write("one")
        with pytest.raises(Cancelled):
            out.flush()
    assert message(push, channel, out.uuid).status == "cancelled"


def test_a_publisher_that_lives_is_not_stalled(push: Client, channel: str) -> None:
    with push.stream(channel, user="bot", append_timeout=2) as out:
        out.keep_alive()
        out.flush()
        until(lambda: message(push, channel, out.uuid).status == "stalled", "a stalled message")
        out.keep_alive()
        out.flush()
        assert message(push, channel, out.uuid).status == "open"


def test_another_program_goes_on(push: Client, channel: str) -> None:
    with push.stream(channel, user="bot") as first:
        first.write("one ")
        first.detach()
    with push.resume(first.uuid, channel) as second:
        assert second.size == len('{"text":"one "}')
        second.write("two")
    assert message(push, channel, first.uuid).message == {"text": "one two"}
    with pytest.raises(Ended, match="finished by another program"), push.resume(first.uuid):
        pass
    with pytest.raises(UnknownMessage), push.resume(str(uuid.uuid4()), channel):
        pass


def test_who_is_replaced_learns_it(push: Client, channel: str) -> None:
    with pytest.raises(TakenOver), push.stream(channel, user="bot") as first:
        first.write("one ")
        first.flush()
        with push.resume(first.uuid) as second:
            first.write("lost")
            with pytest.raises(TakenOver):
                first.flush()
            second.write("two")
        first.write("lost")
    assert message(push, channel, first.uuid).message == {"text": "one two"}


def test_what_is_nowhere_does_not_grow(push: Client, channel: str) -> None:
    with pytest.raises(Nowhere, match="no such channel"), push.stream(f"{channel}-x", user="bot"):
        pass
    (posted,) = push.publish(Message("ann", {"text": "x"}, channel=channel))
    with pytest.raises(NotGrowing), push.resume(posted.uuid, channel):
        pass


def test_a_private_message_grows(push: Client, name: str) -> None:
    push.connect(name)
    with push.stream(user="bot", pm_users=[name]) as out:
        out.write("psst")
        assert out.channel is None


def test_what_the_server_does_not_append_is_told(push: Client, channel: str) -> None:
    with pytest.raises(AppendRefused, match="type of text differs"):
        with push.stream(channel, user="bot", message={"text": [1]}) as out:
            out.write("x")
    assert message(push, channel, out.uuid).status == "failed"


def test_a_message_is_opened_once_and_written_inside(push: Client, channel: str) -> None:
    out = push.stream(channel, user="bot")
    with pytest.raises(StreamError, match="is not open"):
        out.write("x")
    with out, pytest.raises(StreamError, match="opened once"), out:
        pass


@pytest.mark.parametrize("fault", [losing, cutting])
def test_a_lost_answer_doubles_nothing(
    make: Make, push: Client, running: Server, channel: str, fault: Any
) -> None:
    with gate(running.address) as path:
        through = make(path.address, SECRET, idempotency_keys=False, retries=RetryPolicy.never())
        with through.stream(channel, user="bot") as out:
            for part in ("one ", "two ", "three "):
                path.plan.append(fault)
                out.write(part)
                out.flush()
            path.plan.append(fault)
    done = message(push, channel, out.uuid)
    assert (done.status, done.message, done.rev) == ("done", {"text": "one two three "}, 4)


def test_an_opening_whose_answer_is_lost_is_taken_over(
    make: Make, push: Client, running: Server, channel: str
) -> None:
    with gate(running.address) as path:
        through = make(path.address, SECRET, idempotency_keys=False)
        path.plan.append(losing)
        with through.stream(channel, user="bot") as out:
            out.write("once")
    assert message(push, channel, out.uuid).message == {"text": "once"}


def test_a_server_that_dies_and_comes_back_goes_on(make: Make, tmp_path: Path, name: str) -> None:
    with server(journal="file", journal_dir=str(tmp_path / "journal")) as mortal:
        push = make(mortal.address, SECRET, retries=RetryPolicy.never())
        push.channel_config({name: STORING})
        with push.stream(name, user="bot") as out:
            out.write("before ")
            out.flush()
            mortal.kill()
            out.write("while ")
            back = threading.Thread(target=mortal.start)
            back.start()
            out.write("after")
            back.join()
        assert message(push, name, out.uuid).message == {"text": "before while after"}


def test_a_server_that_forgot_the_message_ends_it(make: Make, name: str) -> None:
    with server() as mortal:
        push = make(mortal.address, SECRET)
        push.channel_config({name: STORING})
        with pytest.raises(UnknownMessage), push.stream(name, user="bot") as out:
            mortal.kill()
            mortal.start()
            out.write("x")


def test_patience_has_an_end(make: Make, running: Server, channel: str) -> None:
    with gate(running.address) as path:
        push = make(path.address, SECRET, retries=RetryPolicy.never())
        with pytest.raises(CallError) as caught:
            with push.stream(channel, user="bot", patience=0) as out:
                path.plan.append(status("503 Service Unavailable"))
                out.write("x")
        assert caught.value.kind is ErrorKind.UNAVAILABLE
        with pytest.raises(CallError):
            out.write("later")


def test_leaving_by_an_exception_does_not_wait_for_a_server_that_is_away(
    make: Make, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("channelstream_push.growing.stream.LEAVING", 0.1)
    monkeypatch.setattr("channelstream_push.growing.looped.LEAVING", 0.1)
    with server() as mortal:
        push = make(mortal.address, SECRET)
        push.channel_config({name: STORING})
        # The patience of the stream is a minute, which a test does not have.
        with pytest.raises(ZeroDivisionError), push.stream(name, user="bot") as out:
            mortal.kill()
            raise ZeroDivisionError
    assert f"{out.uuid} was not ended as failed: the server does not answer" in caplog.text


def test_a_client_that_is_closed_ends_its_streams(make: Make, running: Server, name: str) -> None:
    push = make(running.address, SECRET)
    push.channel_config({name: STORING})
    with (
        pytest.raises(Exception, match="the client is closed"),
        push.stream(name, user="bot") as out,
    ):
        push.close()
        out.write("x")


def test_threads_write_to_one_message(running: Server, channel: str) -> None:
    with Push(running.address, SECRET) as push, push.stream(channel, user="bot") as out:

        def write() -> None:
            for _ in range(500):
                out.write("x")

        threads = [threading.Thread(target=write) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        out.finish()
        assert message(push, channel, out.uuid).message == {"text": "x" * 4000}


def test_a_child_of_fork_does_not_write_and_does_not_end_it(running: Server, channel: str) -> None:
    with Push(running.address, SECRET) as push:
        with push.stream(channel, user="bot") as out:
            out.write("parent")
            out.flush()
            child = os.fork()
            if child == 0:
                try:
                    out.write("child")
                except StreamError:
                    out.__exit__(None, None, None)
                    os._exit(7)
                finally:
                    os._exit(1)
            _, code = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(code) == 7
        assert message(push, channel, out.uuid).message == {"text": "parent"}


def test_a_task_that_is_canceled_ends_it_as_failed(running: Server, channel: str) -> None:
    async def main() -> PublishedMessage:
        async with AsyncPush(running.address, SECRET) as push:
            written = asyncio.Event()

            async def publish() -> None:
                async with push.stream(channel, user="bot") as out:
                    await out.write("half")
                    written.set()
                    await asyncio.sleep(3600)

            task = asyncio.create_task(publish())
            await written.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            (past,) = (await push.history(channel)).messages
            return past

    failed = asyncio.run(main())
    assert (failed.status, failed.message) == ("failed", {"text": "half"})


def test_many_streams_of_one_loop_grow_beside_each_other(running: Server, channel: str) -> None:
    async def main() -> list[str]:
        async with AsyncPush(running.address, SECRET) as push:

            async def publish(number: int) -> str:
                async with push.stream(channel, user="bot") as out:
                    for _ in range(20):
                        await out.write(f"{number} ")
                        await asyncio.sleep(0)
                return out.uuid

            ids = await asyncio.gather(*(publish(number) for number in range(20)))
            past = {one.uuid: one.message for one in (await push.history(channel)).messages}
            return [(past[uuid] or {})["text"] for uuid in ids]

    assert asyncio.run(main()) == [f"{number} " * 20 for number in range(20)]


def test_writing_does_not_wait_for_the_request_that_is_under_way(
    make: Make, push: Client, running: Server, channel: str
) -> None:
    answered = threading.Event()

    def held(visit: Visit) -> None:
        assert answered.wait(PATIENCE)
        passing(visit)

    with gate(running.address) as path:
        path.plan.extend([passing, held])
        with make(path.address, SECRET).stream(channel, user="bot") as out:
            out.write("first ")
            until(lambda: len(path.visits) == 2, "the request of the first piece")
            for _ in range(1000):
                out.write("x")
            assert out.step == 0
            answered.set()
        # The opening, the first piece, all that was written meanwhile, and the end.
        assert 3 <= len(path.visits) <= 4
    assert message(push, channel, out.uuid).message == {"text": "first " + "x" * 1000}


def test_a_writer_waits_while_much_is_unsent(
    make: Make, push: Client, running: Server, channel: str
) -> None:
    answered, written = threading.Event(), threading.Semaphore(0)

    def held(visit: Visit) -> None:
        assert answered.wait(PATIENCE)
        passing(visit)

    def write(out: Any) -> None:
        for _ in range(30):
            out.write("x" * 30_000)
            written.release()

    with gate(running.address) as path:
        path.plan.extend([passing, held])
        with make(path.address, SECRET).stream(channel, user="bot") as out:
            writer = threading.Thread(target=write, args=(out,))
            writer.start()
            # These are the first 256 KiB.
            for _ in range(9):
                assert written.acquire(timeout=PATIENCE)
            # This is longer than the interval within which pieces are sent, 40 ms.
            assert not written.acquire(timeout=0.5)
            answered.set()
            writer.join()
    assert message(push, channel, out.uuid).message == {"text": "x" * 900_000}
