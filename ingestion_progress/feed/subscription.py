"""One open stream's place in the feed."""

import asyncio
import math
from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator
from enum import Enum
from weakref import WeakSet

from ingestion_progress.feed.counts import FeedCounts
from ingestion_progress.feed.ending import AlreadyCurrent, Ending, EndReason
from ingestion_progress.feed.mailbox import Mailbox
from ingestion_progress.feed.output import Output
from ingestion_progress.feed.selection import Selection
from ingestion_progress.feed.sink import NextBytes, Sink
from ingestion_progress.wire.frames import COMMENT, KEEPALIVE, Frame, Message, idle_body

aborted: WeakSet[asyncio.Task[object]] = WeakSet()
"""Tasks that `Subscription.abort` cancelled."""

COMMENT_MESSAGE = Message(body=COMMENT)
KEEPALIVE_MESSAGE = Message(body=KEEPALIVE)


class Phase(Enum):
    """The state of a subscription, which only moves forward."""

    OPENING = 1
    """The response is not read yet; the first state may be known."""
    STREAMING = 2
    ENDING = 3
    """The closing message is known, and not sent yet."""
    CLOSED = 4


class Subscription(AsyncIterator[bytes]):
    """A mailbox with one slot per job, and the sink that empties it.

    A newer frame replaces an unsent one, so a slow reader skips states and nothing grows. Among
    many jobs, final frames are sent before others. One consumer at a time; no timer and no task.
    """

    __slots__ = (
        "_counts", "_ending", "_is_noting", "_loop", "_sink", "_unsent", "ends_at", "has_ended",
        "is_single", "not_before", "output", "phase", "reader", "ready", "selection",
    )  # fmt: skip

    def __init__(
        self, selection: Selection, loop: AbstractEventLoop, *, counts: FeedCounts | None = None
    ) -> None:
        self.selection = selection
        self.is_single = selection.is_single
        self._is_noting = bool(selection.unanswered)
        """States are noted in the selection; False for most of the time of a stream."""
        self.phase = Phase.OPENING
        self.ready: asyncio.Future[AlreadyCurrent | None] = loop.create_future()
        """Done once the first state is known, or the wait for it is over."""
        self.has_ended = False
        """The closing message was sent, and the client does not reconnect."""
        self.not_before = 0.0
        """Clock time of the feed before which the throttle allows no further state."""
        self.ends_at = math.inf
        """Clock time of the feed at which the stream is rotated."""
        self.reader: asyncio.Task[object] | None = None
        """The task that sends the response, once it has begun."""
        self._unsent: Mailbox | None = None  # mostly nothing is unsent, in thousands of streams
        self._sink: Sink | None = None
        self._ending: Ending | None = None
        self._counts = FeedCounts() if counts is None else counts
        self.output = Output(self._counts)
        self._loop = loop

    @property
    def is_open(self) -> bool:
        """The response is read, or was read."""
        return self.phase is not Phase.OPENING

    @property
    def is_ending(self) -> bool:
        """It accepts no more states: at most the closing message is left to send."""
        return self._ending is not None or self.phase is Phase.CLOSED

    @property
    def end_reason(self) -> EndReason | None:
        return self._ending.reason if self._ending else None

    def __anext__(self) -> asyncio.Future[bytes]:
        future = NextBytes(loop=self._loop)  # an Event, a Queue or a wait_for costs twice as much
        self.attach(future)
        return future

    def attach(self, sink: Sink) -> None:
        """Writes to this sink from now on, beginning with what is unsent."""
        self._sink = sink
        self.flush()

    def flush(self) -> None:
        """Writes what is unsent until the sink is busy."""
        while self._sink is not None and not self._sink.is_busy:
            if self._unsent:
                self._sink.write(self.output.frame(self._take()))
            elif self.phase is Phase.CLOSED:
                sink, self._sink = self._sink, None
                sink.close()
            elif self._ending is not None:
                self._sink.write(self._close_with(self._ending))
            else:
                return

    def open(self) -> bytes:
        """The first bytes of the stream."""
        # Without a state a comment: daphne sends the headers with the first byte of the body.
        ending = self._ending
        if self.phase is Phase.OPENING:
            self.phase = Phase.STREAMING if ending is None else Phase.ENDING
        if self._unsent:
            return self.output.frame(self._take())
        if ending is not None and isinstance(ending.message, Frame):
            return self._close_with(ending)
        return self.output.message(COMMENT_MESSAGE)

    def set_ready(self, answer: AlreadyCurrent | None = None) -> None:
        if not self.ready.done():
            self.ready.set_result(answer)

    def put(self, job_id: str, frame: Frame) -> bool:
        """Sends or stores the newest state of a job. False: the client does not need it."""
        sink = self._sink
        if frame.is_final or self._is_noting:
            return self._put_and_note(job_id, frame)
        if self._unsent or sink is None or sink.is_busy:  # as it is from the closing message on
            return self._store(job_id, frame)
        sink.write(self.output.frame(frame))  # the hot path: once per viewer and tick
        return True

    def fill(self, ends: dict[str, Frame], states: dict[str, Frame]) -> None:
        """Stores the first states of many jobs at once in a new mailbox."""
        if not self.is_ending:
            self._mailbox().fill(ends, states)
            self.flush()

    def end_idle(self, cursor: str, *, is_known: bool) -> None:
        """Ends a stream of many jobs, after its unsent frames, because none of them is active.
        `is_known`: the client has received this end before.
        """
        if is_known and not self.ready.done():
            self.set_ready(AlreadyCurrent())
        else:
            self.end(Message(body=idle_body(cursor)), EndReason.IDLE)

    def end(self, message: Message, reason: EndReason) -> None:
        """Ends the stream with this message. The first reason counts, except that a refusal also
        replaces an unsent final state.
        """
        is_refused_late = reason is EndReason.REFUSED and self.end_reason is EndReason.COMPLETED
        if self.phase is Phase.CLOSED or not (self._ending is None or is_refused_late):
            return
        # A stream of many jobs drops what is unsent: its client resumes.
        if reason is not EndReason.IDLE and not (reason.is_temporary and self.selection.is_single):
            self._unsent = None
        self._ending = Ending(message, reason)
        if self.phase is Phase.STREAMING:
            self.phase = Phase.ENDING
        self.set_ready()
        self.flush()

    def abort(self) -> None:
        """Cancels a response that does not end because its client does not read."""
        if self.reader is not None:
            aborted.add(self.reader)
            self.reader.cancel()

    def keep_alive(self, clock: float, after_seconds: float, sent_at: float) -> None:
        """Sends a keep-alive if no frame was sent for this long; `sent_at` as in `Output`."""
        if self.output.is_silent(clock, after_seconds, sent_at):
            self.send_keepalive()

    def send_keepalive(self) -> None:
        """Sends a keep-alive, unless the sink is busy: then it still has bytes to send."""
        if self._sink is not None and not self._sink.is_busy:
            self._sink.write(self.output.message(KEEPALIVE_MESSAGE))

    def close(self) -> None:
        """Ends the iteration; what is unsent is dropped."""
        self.phase = Phase.CLOSED
        self.reader = self._unsent = None
        self.set_ready()
        self.flush()

    def _put_and_note(self, job_id: str, frame: Frame) -> bool:
        if self.is_ending:
            return False
        selection = self.selection
        is_current = job_id in selection.unanswered and selection.has(frame)
        selection.note(job_id, frame)
        self._is_noting = bool(selection.unanswered or selection.ended)
        # Too late for a 204 once the stream is open: it gets the final state.
        if is_current and frame.is_final and not self.ready.done():
            self.set_ready(AlreadyCurrent())
        elif not is_current or frame.is_final:
            self._store(job_id, frame)
        if selection.is_until_idle and selection.is_idle:
            cursor = selection.idle_cursor
            self.end_idle(cursor, is_known=cursor == selection.last_event_id)
        elif not selection.unanswered:
            self.set_ready()
        return not is_current

    def _store(self, job_id: str, frame: Frame) -> bool:
        if self.is_ending:
            return False
        if frame.is_final and self.selection.is_single:
            self._counts.conflated += self._unsent is not None
            self.end(frame, EndReason.COMPLETED)
            return True
        # The cursor of any other frame says that all ends before it were sent.
        self._counts.conflated += self._mailbox().put(job_id, frame, goes_first=frame.is_final)
        self.flush()
        return True

    def _mailbox(self) -> Mailbox:
        if self._unsent is None:
            self._unsent = Mailbox()
        return self._unsent

    def _take(self) -> Frame:
        frame = self._mailbox().take()
        if not self._unsent:
            self._unsent = None
        return frame

    def _close_with(self, ending: Ending) -> bytes:
        self.phase, self.has_ended = Phase.CLOSED, not ending.reason.is_temporary
        return self.output.last(ending.message, is_event=ending.reason is EndReason.IDLE)
