"""Frames that say nothing but which one they are, for what only hands them on."""

from __future__ import annotations

from ingestion_progress.frames import Frame


def frame(number: int, *, is_final: bool = False) -> Frame:
    return Frame(
        body=f"data: {number}\n\n".encode(),
        resume_id=f"epoch-{number}",
        percent=float(number),
        is_final=is_final,
    )
