from __future__ import annotations

import asyncio
import zlib

import pytest

from ingestion_progress.exceptions import ErrorCode
from ingestion_progress.feed import EndReason, Selection, Subscription
from ingestion_progress.feed.counts import FeedCounts
from ingestion_progress.feed.subscription import Phase, aborted
from ingestion_progress.wire.frames import COMMENT, KEEPALIVE, Message, idle_body, refused_frame
from tests.support.frames import frame, is_current


@pytest.fixture
async def subscriber() -> Subscription:
    return Subscription(Selection.one("job"), asyncio.get_running_loop())


async def test_slow_subscriber_gets_only_the_newest_frame(subscriber):
    for number in range(100):
        subscriber.put("job", frame(number))

    assert await anext(subscriber) == frame(99).body
    assert subscriber.output.frames_sent == 1


async def test_waiting_subscriber_gets_the_same_bytes_object(subscriber):
    waiter = subscriber.__anext__()
    state = frame(1)
    subscriber.put("job", state)

    assert await waiter is state.body


async def test_anext_returns_a_bare_future(subscriber):
    waiter = subscriber.__anext__()

    assert isinstance(waiter, asyncio.Future)
    assert not isinstance(waiter, asyncio.Task)
    waiter.cancel()


async def test_each_job_has_a_separate_slot(subscriber):
    subscriber.put("a", frame(1))
    subscriber.put("b", frame(2))
    subscriber.put("a", frame(3))

    assert [await anext(subscriber), await anext(subscriber)] == [frame(3).body, frame(2).body]


async def test_iteration_ends_after_the_final_frame(subscriber):
    subscriber.put("job", frame(99))
    subscriber.put("job", frame(100, is_final=True))

    assert [body async for body in subscriber] == [frame(100).body]


async def test_final_frame_for_a_waiting_reader_ends_the_iteration(subscriber):
    waiter = subscriber.__anext__()
    subscriber.put("job", frame(100, is_final=True))

    assert await waiter == frame(100).body
    assert subscriber.has_ended
    assert subscriber.output.last_frame.percent == 100
    with pytest.raises(StopAsyncIteration):
        await anext(subscriber)


async def test_frame_after_a_cancelled_wait_is_kept_for_the_next_one(subscriber):
    waiter = asyncio.ensure_future(subscriber.__anext__())
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter

    subscriber.put("job", frame(1))
    subscriber.send_keepalive()

    assert await anext(subscriber) == frame(1).body


async def test_keepalive_is_sent_only_to_a_waiting_reader(subscriber):
    subscriber.send_keepalive()
    waiter = subscriber.__anext__()
    assert not waiter.done()

    subscriber.send_keepalive()

    assert await waiter == KEEPALIVE
    assert subscriber.output.frames_sent == 0


async def test_stream_without_a_state_opens_with_a_comment(subscriber):
    assert subscriber.open() == COMMENT
    assert subscriber.is_open


async def test_closing_ends_a_waiting_iteration(subscriber):
    waiter = subscriber.__anext__()
    subscriber.close()
    subscriber.close()
    subscriber.put("job", frame(1))

    with pytest.raises(StopAsyncIteration):
        await waiter
    assert not subscriber.has_ended


def resuming(last_event_id: str) -> Subscription:
    selection = Selection.one("job", last_event_id=last_event_id)
    return Subscription(selection, asyncio.get_running_loop())


class TestWelcome:
    async def test_client_without_an_id_gets_the_state(self, subscriber):
        subscriber.put("job", frame(1))

        assert subscriber.ready.done()
        assert subscriber.open() == frame(1).body

    @pytest.mark.parametrize("cursor", ["epoch-2", "other-1", "\x00", "epoch-1 ", "9" * 5000])
    async def test_unknown_id_gets_the_full_state(self, cursor):
        subscriber = resuming(cursor)
        subscriber.put("job", frame(1))

        assert subscriber.open() == frame(1).body

    async def test_client_with_the_state_gets_nothing_until_it_changes(self):
        subscriber = resuming("epoch-1")
        subscriber.put("job", frame(1))

        assert subscriber.ready.done()
        assert not is_current(subscriber)
        assert subscriber.open() == COMMENT
        waiter = subscriber.__anext__()
        assert not waiter.done()
        subscriber.put("job", frame(2))
        assert await waiter == frame(2).body

    async def test_client_with_the_final_state_gets_already_current(self):
        subscriber = resuming("epoch-100")
        subscriber.put("job", frame(100, is_final=True))

        assert is_current(subscriber)

    async def test_stream_that_opened_before_the_final_state_was_known_gets_its_ending(self):
        subscriber = resuming("epoch-100")
        subscriber.set_ready()  # the database was away
        assert subscriber.open() == COMMENT
        subscriber.put("job", frame(100, is_final=True))

        assert not is_current(subscriber)
        async with asyncio.timeout(60):
            assert [body async for body in subscriber] == [frame(100, is_final=True).body]


async def test_rotated_stream_ends_between_frames_after_unsent_ones(subscriber):
    subscriber.put("job", frame(1))
    subscriber.end(Message(body=b"retry: 700\n"), EndReason.SHUTDOWN)
    subscriber.put("job", frame(2))

    assert [part async for part in subscriber] == [frame(1).body, b"retry: 700\n"]
    assert not subscriber.has_ended


async def test_waiting_stream_is_rotated_at_once(subscriber):
    waiter = subscriber.__anext__()
    subscriber.end(Message(body=b"retry: 700\n"), EndReason.SHUTDOWN)
    subscriber.end(Message(body=b"retry: 900\n"), EndReason.SHUTDOWN)

    assert await waiter == b"retry: 700\n"
    with pytest.raises(StopAsyncIteration):
        await anext(subscriber)


async def test_rotation_replaces_an_unsent_retry(subscriber):
    subscriber.output.retry = b"retry: 900\n"
    subscriber.end(Message(body=b"retry: 700\n"), EndReason.ROTATION)

    assert [part async for part in subscriber] == [b"retry: 700\n"]


async def test_unsent_final_state_ends_the_stream_instead_of_a_rotation(subscriber):
    subscriber.put("job", frame(1, is_final=True))
    subscriber.end(Message(body=b"retry: 700\n"), EndReason.SHUTDOWN)

    assert [part async for part in subscriber] == [frame(1, is_final=True).body]
    assert subscriber.has_ended


async def test_refused_viewer_gets_the_refusal_and_no_unsent_final_state(subscriber):
    refusal = refused_frame("job", ErrorCode.FORBIDDEN)
    subscriber.put("job", frame(1, is_final=True))
    subscriber.end(refusal, EndReason.REFUSED)

    assert [body async for body in subscriber] == [refusal.body]
    assert subscriber.end_reason is EndReason.REFUSED


class TestStreamOfManyJobs:
    @pytest.fixture
    async def subscriber(self) -> Subscription:
        return Subscription(Selection.active(), asyncio.get_running_loop())

    async def test_end_overtakes_the_unsent_states_of_other_jobs(self, subscriber):
        subscriber.put("a", frame(1))
        subscriber.put("b", frame(2))
        subscriber.put("b", frame(3, is_final=True))

        assert [await anext(subscriber) for _ in "ab"] == [frame(3).body, frame(1).body]

    async def test_refused_viewer_gets_the_refusal_and_no_unsent_state(self, subscriber):
        refusal = refused_frame("", ErrorCode.FORBIDDEN)
        subscriber.put("a", frame(1))
        subscriber.put("b", frame(2, is_final=True))
        subscriber.end(refusal, EndReason.REFUSED)

        assert [body async for body in subscriber] == [refusal.body]
        assert subscriber.has_ended

    async def test_stream_of_named_jobs_is_ready_once_each_of_them_is_known(self):
        subscriber = Subscription(Selection.named("ab"), asyncio.get_running_loop())
        ready = []
        for job_id, state in (("a", frame(1)), ("a", frame(2)), ("b", frame(3, is_final=True))):
            assert subscriber.put(job_id, state)
            ready.append(subscriber.ready.done())

        assert ready == [False, False, True]
        assert not is_current(subscriber)

    @pytest.mark.parametrize("reason", [EndReason.ROTATION, EndReason.SHUTDOWN])
    async def test_client_that_is_to_resume_gets_nothing_that_is_unsent(self, subscriber, reason):
        subscriber.put("a", frame(1))
        subscriber.end(Message(body=b"retry: 700\n"), reason)

        assert [body async for body in subscriber] == [b"retry: 700\n"]
        assert not subscriber.has_ended

    async def test_idle_event_follows_unsent_frames_and_an_unsent_retry_precedes_it(
        self, subscriber
    ):
        subscriber.put("a", frame(1, is_final=True))
        subscriber.end_idle("7", is_known=False)
        assert [body async for body in subscriber] == [frame(1).body, idle_body("7")]
        assert (subscriber.has_ended, subscriber.end_reason) == (True, EndReason.IDLE)
        empty = Subscription(Selection.active(), asyncio.get_running_loop())
        empty.output.retry = b"retry: 700\n"
        empty.end_idle("7", is_known=False)

        assert [body async for body in empty] == [b"retry: 700\n" + idle_body("7")]

    @pytest.mark.parametrize("was_ready", [False, True])
    async def test_known_idle_event_is_sent_only_to_an_open_stream(self, subscriber, was_ready):
        if was_ready:
            subscriber.set_ready()
        subscriber.end_idle("7", is_known=True)

        assert is_current(subscriber) is not was_ready
        assert subscriber.is_ending is was_ready

    async def test_first_states_are_sent_to_a_reader_that_waits(self, subscriber):
        waiter = subscriber.__anext__()
        subscriber.fill({"a": frame(1, is_final=True)}, {"b": frame(2)})

        assert waiter.done()
        assert [await waiter, await anext(subscriber)] == [frame(1).body, frame(2).body]

    async def test_first_states_are_dropped_once_the_stream_ends(self, subscriber):
        subscriber.end(refused_frame("", ErrorCode.FORBIDDEN), EndReason.REFUSED)
        subscriber.fill({}, {"a": frame(1)})

        assert len([body async for body in subscriber]) == 1


class TestPhases:
    async def test_stream_that_ends_before_it_is_read_is_open_once_it_is_read(self, subscriber):
        subscriber.end(Message(body=b"retry: 700\n"), EndReason.SHUTDOWN)
        assert (subscriber.is_open, subscriber.is_ending) == (False, True)
        assert subscriber.open() == COMMENT
        assert (subscriber.is_open, subscriber.phase) == (True, Phase.ENDING)

        assert [body async for body in subscriber] == [b"retry: 700\n"]
        assert subscriber.phase is Phase.CLOSED

    async def test_stream_that_is_read_ends_after_its_last_byte(self, subscriber):
        subscriber.put("job", frame(1))
        assert subscriber.open() == frame(1).body
        assert subscriber.phase is Phase.STREAMING
        subscriber.put("job", frame(2, is_final=True))

        assert (subscriber.phase, subscriber.has_ended) == (Phase.ENDING, False)
        assert [body async for body in subscriber] == [frame(2).body]
        assert (subscriber.phase, subscriber.has_ended) == (Phase.CLOSED, True)

    async def test_refusal_is_the_whole_stream(self, subscriber):
        refusal = refused_frame("job", ErrorCode.FORBIDDEN)
        subscriber.end(refusal, EndReason.REFUSED)

        assert subscriber.ready.done()
        assert subscriber.open() == refusal.body
        assert [body async for body in subscriber] == []

    async def test_first_reason_counts(self, subscriber):
        subscriber.end(Message(body=b"retry: 700\n"), EndReason.ROTATION)
        subscriber.end(refused_frame("job", ErrorCode.FORBIDDEN), EndReason.REFUSED)

        assert subscriber.end_reason is EndReason.ROTATION
        assert not subscriber.put("job", frame(1))
        assert [body async for body in subscriber] == [b"retry: 700\n"]

    async def test_closed_stream_needs_no_state_and_does_not_end(self, subscriber):
        subscriber.put("job", frame(1))
        subscriber.close()
        subscriber.end(refused_frame("job", ErrorCode.FORBIDDEN), EndReason.REFUSED)

        assert subscriber.ready.done()
        assert not subscriber.put("job", frame(2))
        assert (subscriber.end_reason, subscriber.has_ended) == (None, False)
        assert [body async for body in subscriber] == []

    async def test_nobody_waits_for_a_closed_stream(self, subscriber):
        subscriber.close()

        assert subscriber.ready.done()

    async def test_client_needs_no_state_that_it_has(self):
        subscriber = resuming("epoch-1")

        assert not subscriber.put("job", frame(1))
        assert subscriber.put("job", frame(1))  # only its first state may be the known one

    async def test_replaced_frames_are_counted(self):
        counts = FeedCounts()
        loop = asyncio.get_running_loop()
        one = Subscription(Selection.one("job"), loop, counts=counts)
        many = Subscription(Selection.active(), loop, counts=counts)
        for subscriber in (one, many):
            for number in (1, 2):
                subscriber.put("job", frame(number))
            subscriber.put("job", frame(3, is_final=True))

        assert counts.conflated == 4

    async def test_frame_that_was_sent_is_not_replaced_by_the_next(self):
        counts = FeedCounts()
        one = Subscription(Selection.one("job"), asyncio.get_running_loop(), counts=counts)
        for state in (frame(1), frame(2, is_final=True)):
            one.put("job", state)
            assert await anext(one) == state.body

        assert counts.conflated == 0

    async def test_abort_cancels_the_reader_and_marks_it(self, subscriber):
        subscriber.abort()  # nobody reads
        subscriber.reader = task = asyncio.create_task(asyncio.sleep(60))
        subscriber.abort()

        assert task.cancelling()
        assert task in aborted
        subscriber.close()
        assert subscriber.reader is None


class TestCompressed:
    """What a client that takes gzip gets of all that a stream may hand out."""

    @pytest.fixture
    async def compressed(self, subscriber) -> Subscription:
        subscriber.output.compress()
        return subscriber

    @pytest.fixture
    def decoder(self):
        return zlib.decompressobj(wbits=31)

    async def test_compressed_part_is_decoded_when_it_arrives(self, compressed, decoder):
        compressed.output.retry = b"retry: 1234\n"
        compressed.put("job", frame(1))

        assert decoder.decompress(compressed.open()) == b"retry: 1234\n" + frame(1).body
        waiter = compressed.__anext__()
        compressed.send_keepalive()
        assert decoder.decompress(await waiter) == KEEPALIVE
        compressed.put("job", frame(2))
        assert decoder.decompress(await anext(compressed)) == frame(2).body
        assert not decoder.eof

    async def test_frame_is_compressed_once_for_all_streams(self):
        state = frame(1)

        assert state.deflated is state.deflated

    @pytest.mark.parametrize("ending", ["final", "end", "part"])
    async def test_gzip_body_is_complete_at_each_ending(self, compressed, decoder, ending):
        if ending == "part":
            compressed.end(Message(body=b"retry: 99\n"), EndReason.SHUTDOWN)
        elif ending == "end":
            compressed.end(frame(7), EndReason.REFUSED)
        else:
            compressed.put("job", frame(100, is_final=True))

        received = b"".join([decoder.decompress(part) async for part in compressed])

        assert received in {b"retry: 99\n", frame(7).body, frame(100).body}
        assert decoder.eof
