"""Results of a stage that the next attempt of a job need not make again."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Generic

from ingestion_progress.pipeline.retries import patiently
from ingestion_progress.pipeline.stores.results import Result, ResultStore
from ingestion_progress.tracker import JobTracker, StageTracker


class StageResults(Generic[Result]):
    """The results of a stage: stored by an earlier attempt, or made now and stored."""

    def __init__(self, job: JobTracker, stage: StageTracker, store: ResultStore[Result]) -> None:
        self._job, self._stage, self._store = job, stage, store
        self._stored = patiently(job, store.load)

    def each(
        self, indices: Iterable[int], make: Callable[[int], Result | None]
    ) -> Iterator[tuple[int, Result]]:
        """With their indices, in order, without those for which `make` returns None."""
        for index in indices:
            self._job.raise_if_cancelled()
            result = self._stored.get(index) or make(index)
            if result is not None:
                yield index, result
                self._keep(index, result)
        self._write()

    def all(
        self,
        indices: Sequence[int],
        make: Callable[[Sequence[int]], Iterator[tuple[int, Result | None]]],
    ) -> dict[int, Result]:
        """By index, in order. `make` yields those that are not stored as they come."""
        results = {index: self._stored[index] for index in indices if index in self._stored}
        for index, result in results.items():
            self._keep(index, result)
        for index, made in make([index for index in indices if index not in results]):
            if made is not None:
                results[index] = made
                self._keep(index, made)
        self._write()
        return {index: results[index] for index in indices if index in results}

    def _keep(self, index: int, result: Result) -> None:
        if index in self._stored:
            self._stage.advance(key=index)
        elif self._store.add(index, result):
            self._write()

    def _write(self) -> None:
        advance = partial(self._store.write, lambda index: self._stage.advance(key=index))
        patiently(self._job, advance)
