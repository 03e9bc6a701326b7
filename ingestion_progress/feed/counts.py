"""What the feed of a process counts, for `/metrics`."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class FeedCounts:
    """Written in the thread of the event loop only."""

    frames: int = 0
    frame_bytes: int = 0
    conflated: int = 0
    """Frames that a newer one replaced unsent."""
    polls: int = 0
    poll_seconds: float = 0.0
    """All polls together, the wait for the reading thread included."""
    poll_failures: int = 0
    wakeups: Counter[str] = field(default_factory=Counter)
    """Notifications received, by transport; `local` is a writer in the same process."""
