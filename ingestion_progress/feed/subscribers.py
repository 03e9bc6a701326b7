from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from weakref import WeakSet

from ingestion_progress.compression import GzipMember, deflate
from ingestion_progress.feed.selections import Selection
from ingestion_progress.frames import DEFLATED_KEEPALIVE, KEEPALIVE, Frame, idle_body
from ingestion_progress.metrics import FeedCounts

aborted: WeakSet[asyncio.Task[object]] = WeakSet()
"""Tasks that ended by `Subscriber.abort`."""


class Subscriber(AsyncIterator[bytes]):
    """One open stream's place in the feed: a mailbox with one slot per job.

    A newer frame replaces an unsent one, so a slow reader skips states and nothing grows.
    The iteration ends after the final frame of a stream of one job; among many jobs it goes on,
    and final frames go out before others. One consumer at a time; no timer and no task.
    """

    __slots__ = (
        "_counts",
        "_create_future",
        "_endings",
        "_goodbye",
        "_is_closed",
        "_is_concluding",
        "_is_ending",
        "_member",
        "_slots",
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
        """What follows on the first state, where the stream goes on."""
        self.ends_at = math.inf
        """Clock time of the feed when the stream is parted with."""
        self.reader: asyncio.Task[object] | None = None
        """The task that iterates, once it has begun."""
        self.frames_sent = 0
        self.last_percent = 0.0
        self._slots: dict[str, Frame] = {}
        self._endings: dict[str, Frame] = {}
        self._waiter: asyncio.Future[bytes] | None = None
        self._goodbye = b""
        self._member: GzipMember | None = None
        self._is_closed = False
        self._counts = FeedCounts() if counts is None else counts
        self._is_ending = False
        self._is_concluding = False
        self._create_future = loop.create_future

    def __anext__(self) -> asyncio.Future[bytes]:
        # A bare Future: an Event, a Queue or a wait_for per client costs up to twice as much.
        future: asyncio.Future[bytes] = self._create_future()
        if self._slots or self._endings:
            future.set_result(self._take())
        elif self._goodbye and not self._is_closed:
            future.set_result(self._leave())
        elif self._is_closed:
            future.set_exception(StopAsyncIteration())
        else:
            self._waiter = future
        return future

    def compress(self) -> None:
        """Hands out gzip instead of plain bytes. To be called before the first of them."""
        self._member = GzipMember()

    def open(self) -> bytes:
        """The first bytes of the stream. Where there is no state to send, a comment:
        daphne sends the response's headers with the first byte of its body.
        """
        self.is_open = True
        first = self._take() if self._slots or self._endings else self._keepalive()
        if self._is_closed:
            return first
        if self._member is None:
            return first + self.greeting
        return first + self._member.add(self.greeting, deflate(self.greeting))

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
        if self._is_closed or self._is_ending or self._goodbye:
            return
        self._deliver(job_id, frame)

    def fill(self, endings: dict[str, Frame], states: dict[str, Frame]) -> None:
        """Takes all that is known of many jobs at once, into a mailbox that is new."""
        if self._is_closed or self._is_ending or self._goodbye:
            return
        self._endings.update(endings)
        self._slots.update(states)
        if (endings or states) and self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(self._take())

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
        if self._is_closed or self._is_ending or self._goodbye:
            return
        if is_known and not self.ready.done():
            self.is_up_to_date = True
        self._goodbye = idle_body(resume_id)
        self._is_concluding = True
        self.set_ready()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(self._leave())

    def _deliver(self, job_id: str, frame: Frame) -> None:
        if job_id in self._slots or job_id in self._endings:
            self._counts.conflated += 1
        if frame.is_final and self.selection is not None:
            # First: the `id` of any other frame says that all ends before it were sent.
            self._slots.pop(job_id, None)
            self._endings[job_id] = frame
        else:
            self._slots[job_id] = frame
        # A waiter that was cancelled is done: the frame stays in its slot.
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(self._take())

    @property
    def is_parted(self) -> bool:
        """Told to come back later, or about to be told."""
        return bool(self._goodbye)

    def part(self, goodbye: bytes) -> None:
        """Ends the stream with these bytes, after a frame that is unsent, before any other."""
        if self._is_closed or self._is_ending or self._goodbye:
            return
        self._goodbye = goodbye
        if self.selection is not None:
            self._drop_unsent()  # of which there may be much, and the client resumes
        self.set_ready()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(self._leave())

    def abort(self) -> None:
        """Cancels a response that does not end because its client takes no bytes."""
        if self.reader is not None:
            aborted.add(self.reader)
            self.reader.cancel()

    def end(self, frame: Frame) -> None:
        """Ends the stream with this frame, whatever else is unsent or would follow."""
        if self._is_closed or self._is_ending or self._goodbye:
            return
        self._drop_unsent()
        self._is_ending = True
        self._deliver(self.job_id, frame)
        self.set_ready()

    def keep_alive(self) -> None:
        """Sends a comment, if the reader waits: one that has bytes to send is not silent."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(self._keepalive())

    def close(self) -> None:
        """Ends the iteration; what is unsent is dropped."""
        self._is_closed = True
        self.reader = None
        self._drop_unsent()
        self.set_ready()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(StopAsyncIteration())

    def _keepalive(self) -> bytes:
        if self._member is None:
            return KEEPALIVE
        return self._member.add(KEEPALIVE, DEFLATED_KEEPALIVE)

    def _drop_unsent(self) -> None:
        self._slots.clear()
        self._endings.clear()

    def _leave(self) -> bytes:
        self._is_closed = True
        self.has_ended = self._is_concluding
        if self._member is None:
            return self._goodbye
        return self._member.add(self._goodbye, deflate(self._goodbye)) + self._member.end()

    def _take(self) -> bytes:
        slots = self._endings or self._slots
        frame = slots.pop(next(iter(slots)))
        self.frames_sent += 1
        self.last_percent = frame.percent
        if self._is_ending or (frame.is_final and self.selection is None):
            self.has_ended = self._is_closed = True
        sent = frame.body if self._member is None else self._compressed(frame, self._member)
        self._counts.frames += 1
        self._counts.frame_bytes += len(sent)
        return sent

    def _compressed(self, frame: Frame, member: GzipMember) -> bytes:
        sent = member.add(frame.body, frame.deflated)
        return sent + member.end() if self._is_closed else sent
