"""What one stream counts, and where its `retry:` line is sent."""

from __future__ import annotations

import pytest

from ingestion_progress.feed.counts import FeedCounts
from ingestion_progress.feed.output import Output
from ingestion_progress.wire.frames import KEEPALIVE, Message
from tests.support.frames import frame

RETRY = b"retry: 1500\n"


@pytest.fixture
def counts() -> FeedCounts:
    return FeedCounts()


@pytest.fixture
def output(counts) -> Output:
    return Output(counts)


@pytest.mark.parametrize("is_compressed", [False, True])
def test_frames_and_their_bytes_are_counted_and_comments_are_not(output, counts, is_compressed):
    if is_compressed:
        output.compress()
    output.message(Message(body=KEEPALIVE))
    sent = [output.frame(frame(1)), output.frame(frame(2))]
    output.last(Message(body=RETRY), is_event=False)

    assert counts.frames == output.frames_sent == 2
    assert counts.frame_bytes == sum(map(len, sent))
    assert output.last_frame == frame(2)


def test_retry_is_sent_once_in_front_of_the_first_frame(output):
    output.retry = RETRY

    assert output.message(Message(body=KEEPALIVE)) == KEEPALIVE
    assert output.frame(frame(1)) == RETRY + frame(1).body
    second = frame(2)
    assert output.frame(second) is second.body
    assert output.last(Message(body=b"event: idle\n\n"), is_event=True) == b"event: idle\n\n"


@pytest.mark.parametrize(("is_event", "sent"), [(True, RETRY), (False, b"")])
def test_unsent_retry_precedes_only_a_closing_event(output, is_event, sent):
    output.retry = RETRY

    assert output.last(frame(9), is_event=is_event) == sent + frame(9).body
    assert output.last_frame == frame(9)


def test_stream_is_silent_once_per_interval_since_its_last_frame(output):
    heard = [output.is_silent(clock, 10, 3.0) for clock in (5.0, 12.9, 13.0, 14.0, 22.9, 23.0)]
    assert heard == [False, False, True, False, False, True]
    output.frame(frame(1))

    assert [output.is_silent(clock, 10, 30.0) for clock in (31.0, 39.9, 40.0)] == [
        False,
        False,
        True,
    ]
