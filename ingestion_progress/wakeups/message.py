"""The notification that processes send each other."""

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
    """A unique name of this process. A forked child has another one."""
    return f"{_MEMORY}-{os.getpid()}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Notification:
    """A process has written these jobs."""

    origin: str
    job_ids: tuple[str, ...] = ()
    """Empty: some jobs, too many to name."""
    ended: tuple[str, ...] = ()
    """Those that have ended. Their last state is not throttled."""

    @classmethod
    def about(cls, job_ids: Collection[str], ended: Collection[str] = ()) -> Notification:
        """A notification of this process, short enough for every transport."""
        full = cls(origin=this_process(), job_ids=tuple(job_ids), ended=tuple(ended))
        return full if len(full.encoded().encode()) <= MAX_BYTES else cls(origin=full.origin)

    def encoded(self) -> str:
        fields = [self.origin, *self.job_ids, self.ended]
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def decoded(cls, text: str) -> Notification | None:
        """None for other text: the channel may be shared with other programs."""
        try:
            origin, *job_ids, ended = json.loads(text)
            names = (origin, *job_ids, *ended)
        except (TypeError, ValueError):
            return None
        if not isinstance(ended, list) or not all(isinstance(name, str) for name in names):
            return None
        return cls(origin=origin, job_ids=tuple(job_ids), ended=tuple(ended))
