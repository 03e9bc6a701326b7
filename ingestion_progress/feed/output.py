"""What one client receives: frames and messages as plain bytes or as one gzip member."""

from ingestion_progress.feed.counts import FeedCounts
from ingestion_progress.wire.frames import Frame, Message
from ingestion_progress.wire.gzip import GzipMember


class Output:
    """The bytes of one stream, in order, and how many frames it has sent."""

    __slots__ = (
        "_counts", "_is_complete", "_member", "_quiet_since", "_seen_frames", "frames_sent",
        "last_frame", "retry",
    )  # fmt: skip

    def __init__(self, counts: FeedCounts) -> None:
        self.retry = b""
        """A `retry:` line for the block of the first event, unless the stream ends with it."""
        self.frames_sent = 0
        self.last_frame: Frame | None = None
        self._member: GzipMember | None = None
        self._is_complete = False
        self._seen_frames = -1
        self._quiet_since = 0.0
        self._counts = counts

    def compress(self) -> None:
        """Sends gzip instead of plain bytes. To be called before the first of them."""
        self._member = GzipMember()

    def frame(self, frame: Frame) -> bytes:
        if self.retry:
            return self.take_retry() + self.frame(frame)
        sent = frame.body if self._member is None else self.message(frame)
        self.frames_sent += 1
        self.last_frame = frame
        self._counts.frames += 1
        self._counts.frame_bytes += len(sent)
        return sent  # the same object for all, not a copy

    def message(self, message: Message) -> bytes:
        if self._member is None:
            return message.body
        packed = self._member.add(message.body, message.deflated)
        return packed + self._member.end() if self._is_complete else packed

    def last(self, message: Message, *, is_event: bool) -> bytes:
        """The closing message; `is_event`: it comes after a `retry:` that was not sent yet."""
        retry = self.take_retry() if self.retry and is_event else b""
        self.retry, self._is_complete = b"", True
        return retry + (
            self.frame(message) if isinstance(message, Frame) else self.message(message)
        )

    def is_silent(self, clock: float, after_seconds: float, sent_at: float) -> bool:
        """Was no frame sent for this long? True once per interval.

        `sent_at`: when the last frame was sent at the latest, if this call is the first after it.
        """
        if self.frames_sent != self._seen_frames:
            self._seen_frames, self._quiet_since = self.frames_sent, sent_at
        if clock - self._quiet_since < after_seconds:
            return False
        self._quiet_since = clock
        return True

    def take_retry(self) -> bytes:
        line, self.retry = Message(body=self.retry), b""
        return self.message(line)
