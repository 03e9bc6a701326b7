from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from typing import Protocol
from weakref import WeakSet

from ingestion_progress.compression import GzipMember
from ingestion_progress.feed.mailboxes import Mailbox
from ingestion_progress.feed.selections import Selection
from ingestion_progress.frames import KEEPALIVE, Frame, Part, idle_body
from ingestion_progress.metrics import FeedCounts

aborted: WeakSet[asyncio.Task[object]] = WeakSet()
"""Tasks that ended by `Subscriber.abort`."""

SILENCE = Part(body=KEEPALIVE)


class Waiter(Protocol):
    """Whoever takes the bytes: a Future of an iteration takes once, an `Outlet` until the end."""

    def done(self) -> bool: ...
    def set_result(self, result: bytes, /) -> None: ...
    def set_exception(self, exception: Exception, /) -> None: ...


class Subscriber(AsyncIterator[bytes]):
    """One open stream's place in the feed: a mailbox with one slot per job.

    A newer frame replaces an unsent one, so a slow reader skips states and nothing grows.
    The iteration ends after the final frame of a stream of one job; among many jobs it goes on,
    and final frames go out before others. One consumer at a time; no timer and no task.
    """

    __slots__ = (
        "_counts",
        "_goodbye",
        "_is_closed",
        "_is_concluding",
        "_is_ending",
        "_is_sealed",
        "_loop",
        "_member",
        "_unsent",
        "_waiter",
        "ends_at",
        "frames_sent",
        "greeting",
        "has_ended",
        "is_open",
        "is_up_to_date",
        "job_id",
        "last_percent",
        "not_before",
        "reader",
        "ready",
        "resume_id",
        "selection",
    )

    def __init__(
        self,
        job_id: str,
        loop: asyncio.AbstractEventLoop,
        *,
        resume_id: str = "",
        selection: Selection | None = None,
        counts: FeedCounts | None = None,
    ) -> None:
        self.job_id = job_id
        """Empty for a stream of many jobs."""
        self.selection = selection
        """The many jobs; None for a stream of one."""
        self.resume_id = resume_id
        """What the client says it has already."""
        self.ready: asyncio.Future[None] = loop.create_future()
        """Done once the first state is known, or has been waited for long enough."""
        self.is_up_to_date = False
        """The client has the final state: there is nothing to stream."""
        self.is_open = False
        """Somebody has begun to read."""
        self.has_ended = False
        """The final frame was handed out."""
        self.not_before = 0.0
        """Clock time of the feed before which no further state may be sent."""
        self.greeting = b""
        """A line that the block of the first event begins with, where the stream goes on."""
        self.ends_at = math.inf
        """Clock time of the feed when the stream is parted with."""
        self.reader: asyncio.Task[object] | None = None
        """The task that iterates, once it has begun."""
        self.frames_sent = 0
        self.last_percent = 0.0
        self._unsent: Mailbox | None = None  # mostly there is nothing, thousands of times
        self._waiter: Waiter | None = None
        self._goodbye: Part | None = None
        self._member: GzipMember | None = None
        self._is_sealed = False  # takes nothing more
        self._is_closed = False  # has nothing more to hand out
        self._counts = FeedCounts() if counts is None else counts
        self._is_ending = False
        self._is_concluding = False
        self._loop = loop

    def __anext__(self) -> asyncio.Future[bytes]:
        # A bare Future: an Event, a Queue or a wait_for per client costs up to twice as much.
        future: asyncio.Future[bytes] = self._loop.create_future()
        self.attach(future)
        return future

    def attach(self, waiter: Waiter) -> None:
        """Hands out to this one from now on, beginning with what is unsent."""
        self._waiter = waiter
        self.hand_out()

    def hand_out(self) -> None:
        """Gives whoever waits what is due, as much as it takes."""
        # A waiter that was cancelled is done: what is due stays.
        while self._waiter is not None and not self._waiter.done():
            if self._unsent:
                self._waiter.set_result(self._take())
            elif self._is_closed:
                self._waiter.set_exception(StopAsyncIteration())
            elif self._goodbye is not None:
                self._waiter.set_result(self._leave(self._goodbye))
            else:
                return

    def compress(self) -> None:
        """Hands out gzip instead of plain bytes. To be called before the first of them."""
        self._member = GzipMember()

    def open(self) -> bytes:
        """The first bytes of the stream. Where there is no state to send, a comment:
        daphne sends the response's headers with the first byte of its body.
        """
        self.is_open = True
        return self._take() if self._unsent else self._packed(SILENCE)

    def welcome(self, frame: Frame, *, not_before: float = 0.0) -> None:
        """Takes the first state that is known, unless the client has it already."""
        has_it = frame.resume_id != "" and frame.resume_id == self.resume_id
        # An open stream can no longer be answered with "nothing new": it gets its ending.
        if has_it and frame.is_final and not self.ready.done():
            self.is_up_to_date = True
        elif not has_it or frame.is_final:
            self.put(self.job_id, frame)
            self.not_before = not_before
        self.set_ready()

    def set_ready(self) -> None:
        if not self.ready.done():
            self.ready.set_result(None)

    def put(self, job_id: str, frame: Frame) -> None:
        """Hands the frame to whoever waits, or leaves it in the job's slot."""
        if self._is_sealed:
            return
        waiter = self._waiter
        if self._unsent or frame.is_final or waiter is None or waiter.done():
            self._deliver(job_id, frame)
        else:  # what happens for each viewer in each tick; so it is short
            waiter.set_result(self._hand(frame))

    def fill(self, endings: dict[str, Frame], states: dict[str, Frame]) -> None:
        """Takes all that is known of many jobs at once, into a mailbox that is new."""
        if self._is_sealed:
            return
        self._mailbox().fill(endings, states)
        self.hand_out()

    def inform(self, job_id: str, frame: Frame) -> None:
        """`put` for one of the jobs that were named, with what follows from its being final."""
        self.put(job_id, frame)
        selection = self.selection
        if selection is None:
            return
        selection.note(job_id, frame)
        if selection.is_until_idle and selection.is_idle:
            self.conclude(selection.idle_id, is_known=selection.idle_id == selection.last_event_id)
        elif not selection.unanswered:
            self.set_ready()

    def conclude(self, resume_id: str, *, is_known: bool) -> None:
        """Ends a stream of many jobs after all that is unsent, for no job is left; `is_known`:
        the client was told so before.
        """
        if self._is_sealed:
            return
        if is_known and not self.ready.done():
            self.is_up_to_date = True
        self._is_concluding = True
        self._say_goodbye(idle_body(resume_id))

    def _deliver(self, job_id: str, frame: Frame) -> None:
        # The `id` of any other frame says that all ends before it were sent.
        goes_first = frame.is_final and self.selection is not None
        self._counts.conflated += self._mailbox().put(job_id, frame, goes_first=goes_first)
        self.hand_out()

    def _mailbox(self) -> Mailbox:
        if self._unsent is None:
            self._unsent = Mailbox()
        return self._unsent

    @property
    def is_sealed(self) -> bool:
        """Takes nothing more: all that is left is to hand out how it ends."""
        return self._is_sealed

    @property
    def is_parted(self) -> bool:
        """Told to come back later, or about to be told."""
        return self._goodbye is not None

    def part(self, goodbye: bytes) -> None:
        """Ends the stream with these bytes, after a frame that is unsent, before any other."""
        if self._is_sealed:
            return
        if self.selection is not None:
            self._drop_unsent()  # of which there may be much, and the client resumes
        self._say_goodbye(goodbye)

    def _say_goodbye(self, goodbye: bytes) -> None:
        self._goodbye = Part(body=goodbye)
        self._is_sealed = True
        self.set_ready()
        self.hand_out()

    def abort(self) -> None:
        """Cancels a response that does not end because its client takes no bytes."""
        if self.reader is not None:
            aborted.add(self.reader)
            self.reader.cancel()

    def end(self, frame: Frame) -> None:
        """Ends the stream with this frame, whatever else is unsent or would follow."""
        if self._is_sealed:
            return
        self._drop_unsent()
        self._is_ending = self._is_sealed = True
        self._deliver(self.job_id, frame)
        self.set_ready()

    def keep_alive(self) -> None:
        """Sends a comment, if the reader waits: one that has bytes to send is not silent."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(self._packed(SILENCE))

    def close(self) -> None:
        """Ends the iteration; what is unsent is dropped."""
        self._is_closed = self._is_sealed = True
        self.reader = None
        self._drop_unsent()
        self.set_ready()
        self.hand_out()

    def _drop_unsent(self) -> None:
        self._unsent = None

    def _leave(self, goodbye: Part) -> bytes:
        greeting = self._greet() if self.greeting and self._is_concluding else b""
        self._is_closed = True
        self.has_ended = self._is_concluding
        return greeting + self._packed(goodbye)

    def _greet(self) -> bytes:
        greeting, self.greeting = Part(body=self.greeting), b""
        return b"" if self._is_closed else self._packed(greeting)

    def _take(self) -> bytes:
        frame = self._mailbox().take()
        if not self._unsent:
            self._unsent = None
        if self._is_ending or (frame.is_final and self.selection is None):
            self.has_ended = self._is_closed = self._is_sealed = True
        return self._hand(frame)

    def _hand(self, frame: Frame) -> bytes:
        greeting = self._greet() if self.greeting else b""
        sent = frame.body if self._member is None else self._packed(frame)
        self.frames_sent += 1
        self.last_percent = frame.percent
        self._counts.frames += 1
        self._counts.frame_bytes += len(sent)
        return greeting + sent  # where there is none, the very same bytes

    def _packed(self, part: Part) -> bytes:
        """As it goes out: as it is, or as a piece of this client's gzip."""
        if self._member is None:
            return part.body
        packed = self._member.add(part.body, part.deflated)
        return packed + self._member.end() if self._is_closed else packed
