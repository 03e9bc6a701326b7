"""The order in which a stream of many jobs sends what is unsent."""

from __future__ import annotations

import pytest

from ingestion_progress.feed.mailbox import Mailbox
from tests.support.frames import frame


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


def taken(mailbox: Mailbox) -> list[float]:
    """All that is unsent, by the numbers of the frames."""
    numbers = []
    while mailbox:
        numbers.append(mailbox.take().percent)
    return numbers


def test_oldest_job_is_first_and_a_newer_state_keeps_its_place(mailbox):
    conflated = [mailbox.put(job, frame(n), goes_first=False) for n, job in enumerate("aba")]

    assert conflated == [False, False, True]
    assert taken(mailbox) == [2, 1]


def test_end_replaces_the_state_of_its_job_and_goes_first(mailbox):
    mailbox.put("a", frame(1), goes_first=False)
    mailbox.put("b", frame(2), goes_first=False)

    assert mailbox.put("b", frame(3), goes_first=True)
    assert taken(mailbox) == [3, 1]


def test_ends_keep_their_order(mailbox):
    for number, job in enumerate("abc"):
        assert not mailbox.put(job, frame(number), goes_first=True)

    assert taken(mailbox) == [0, 1, 2]


def test_state_of_the_next_attempt_follows_an_unsent_end(mailbox):
    mailbox.put("a", frame(1), goes_first=True)

    assert mailbox.put("a", frame(2), goes_first=False)
    assert taken(mailbox) == [1, 2]


def test_first_states_follow_the_ends_that_were_missed(mailbox):
    mailbox.fill({"a": frame(1)}, {"b": frame(2)})

    assert taken(mailbox) == [1, 2]
