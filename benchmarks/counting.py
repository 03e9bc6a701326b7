"""What one count costs beside tqdm: `python -m benchmarks.counting [ROUNDS]`.

Both count in the same loop, in alternation. tqdm draws nothing, and the tracker writes nothing:
what is measured is what the task's own threads wait for. The ratio is of medians. tqdm is not in
the lock file: install it first.
"""

from __future__ import annotations

import io
import statistics
import sys
import threading
import time
from collections.abc import Callable

COUNTS = 400_000
THREADS = (1, 8)


class IdleWriter:
    def notice(self, buffer: object, *, is_urgent: bool = False) -> None:
        pass


def nanoseconds(count: Callable[[int], object], threads: int) -> float:
    """Per count, with so many threads that share the counts."""

    def loop() -> None:
        for _ in range(COUNTS // threads):
            count(1)

    all_threads = [threading.Thread(target=loop) for _ in range(threads)]
    began = time.perf_counter()
    for thread in all_threads:
        thread.start()
    for thread in all_threads:
        thread.join()
    return (time.perf_counter() - began) / COUNTS * 1e9


def advance() -> Callable[[int], object]:
    from ingestion_progress.tracker.buffer import Buffer
    from ingestion_progress.tracker.plan import Attempt
    from ingestion_progress.tracker.stages import StageTracker

    attempt = Attempt(job_id="job", epoch="e", document_id="d", stage_names=("one",))
    return StageTracker(Buffer(attempt, IdleWriter()), "one").advance


def update() -> Callable[[int], object]:
    from tqdm import tqdm

    return tqdm(total=10**12, file=io.StringIO()).update


def main(rounds: int) -> None:
    for threads in THREADS:
        ours, theirs = advance(), update()
        costs = [(nanoseconds(ours, threads), nanoseconds(theirs, threads)) for _ in range(rounds)]
        mine, other = (statistics.median(each) for each in zip(*costs, strict=True))
        print(
            f"{threads} threads: advance {mine:.0f} ns, tqdm.update {other:.0f} ns, "
            f"{mine / other:.2f} ×"
        )


if __name__ == "__main__":
    import django

    django.setup()
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
