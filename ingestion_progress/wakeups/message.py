from __future__ import annotations

import json
import os
import uuid
from collections.abc import Collection
from dataclasses import dataclass

# PostgreSQL refuses 8000 bytes and more.
MAX_BYTES = 7000

_MEMORY = uuid.uuid4().hex[:12]


def this_process() -> str:
    """A name that no other process has; a forked child has one of its own."""
    return f"{_MEMORY}-{os.getpid()}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Hint:
    """What crosses processes: "I have written these jobs"."""

    origin: str
    job_ids: tuple[str, ...] = ()
    """Empty: some that it does not name, because they were too many."""
    ended: tuple[str, ...] = ()
    """Those among them whose last state this is, for which no throttle waits."""

    @classmethod
    def about(cls, job_ids: Collection[str], ended: Collection[str] = ()) -> Hint:
        """A hint of this process that fits into every carrier."""
        hint = cls(origin=this_process(), job_ids=tuple(job_ids), ended=tuple(ended))
        return hint if len(hint.encoded().encode()) <= MAX_BYTES else cls(origin=hint.origin)

    def encoded(self) -> str:
        words = [self.origin, *self.job_ids, self.ended]
        return json.dumps(words, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def decoded(cls, text: str) -> Hint | None:
        """None for what is no hint: others may write to the same channel."""
        try:
            origin, *job_ids, ended = json.loads(text)
            words = (origin, *job_ids, *ended)
        except (TypeError, ValueError):
            return None
        if not isinstance(ended, list) or not all(isinstance(word, str) for word in words):
            return None
        return cls(origin=origin, job_ids=tuple(job_ids), ended=tuple(ended))
