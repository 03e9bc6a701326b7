"""The object that a task uses for a stage."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from threading import get_ident
from typing import Any, TypeAlias, TypeVar

from ingestion_progress.exceptions import InvalidCount
from ingestion_progress.models.statuses import EventLevel
from ingestion_progress.tracker.buffer import Buffer
from ingestion_progress.tracker.error_messages import kind_of
from ingestion_progress.tracker.keys import Key
from ingestion_progress.tracker.plan import checked_count, checked_counts, clean_text
from ingestion_progress.tracker.reasons import reason_of
from ingestion_progress.tracker.stage_keys import StageKeys
from ingestion_progress.tracker.transitions import StageTransitions

Item = TypeVar("Item")
KeyOf: TypeAlias = Callable[[Item], Key] | bool | None
"""The key of an item. True: the item itself; None: items have no keys."""

MAX_UNIT_LENGTH = 32
MIXED = "Stage {!r}: processed is either set, or counted by keys."


class StageTracker(StageTransitions):
    """One stage of a running job. Thread-safe, and never waits for the database.

    A block starts the stage, completes it on a normal exit, and fails it on an exception, which
    is re-raised. Without a block, the first count starts the stage; a total alone does not.
    """

    def __init__(self, buffer: Buffer, name: str) -> None:
        super().__init__(buffer, name)
        self._advances = buffer.advances[name]
        self._keys = StageKeys(buffer, name)
        # What this tracker has set, with what it has added to the total; 0: unknown.
        self._known = {"processed": 0, "total": 0}
        self._has_grown = False

    # Counts

    def advance(self, n: int = 1, key: Key | None = None) -> None:
        """Adds `n` to the processed items, or one with a key unless it was counted before."""
        if key is not None:
            self._report(key, n)
            return
        if n.__class__ is not int or n < 0:
            checked_count("n", n)
        if not self._is_started:
            self.start()
        self._advances[get_ident()] += n
        if not self._buffer.is_noticed:
            self._buffer.notice()

    def set(
        self,
        *,
        processed: int | None = None,
        total: int | None = None,
        in_flight: int | None = None,
        is_estimate: bool = False,
    ) -> None:
        """Replaces counts, if nobody else counts this stage. `is_estimate`: the total is only
        about right, and is set again when it is known.

        Raises InvalidCount if `processed` would be above the total, as far as this tracker knows
        them, or if it is counted by keys.
        """
        counts = checked_counts(processed=processed, total=total, in_flight=in_flight)
        if "processed" in counts and self._keys.is_used:
            raise InvalidCount(MIXED.format(self.name))
        known = self._known | counts
        if 0 < known["total"] < known["processed"]:
            raise InvalidCount(
                f"Stage {self.name!r}: processed is {known['processed']}, above its total of "
                f"{known['total']}. Set both, or grow the total first."
            )
        if counts.get("processed") or counts.get("in_flight"):
            self.start()
        with self._buffer.change() as changes:
            if "processed" in counts:
                self._advances.take()
            self._known |= counts
            if "total" in counts:
                changes.stages[self.name].total_is_estimate = is_estimate
            for name, value in counts.items():
                changes.stages[self.name].counters[name].set(value)

    def grow(self, n: int) -> None:
        """Adds `n` to the total, which several processes may discover step by step."""
        checked_count("n", n)
        with self._buffer.change() as changes:
            changes.stages[self.name].counters["total"].delta += n
            self._has_grown = True
            if self._known["total"]:
                self._known["total"] += n

    @contextmanager
    def in_flight(self, n: int = 1) -> Iterator[None]:
        """Counts `n` items as in flight during the block. An error that leaves it is one of this
        stage, whatever other blocks it leaves later.
        """
        checked_count("in_flight", n)
        self.start()
        self._add("in_flight", n)
        try:
            yield
        except BaseException as error:
            self._is_origin_of(error)
            raise
        finally:
            self._add("in_flight", -n)

    def iterate(self, items: Iterable[Item], *, key: KeyOf[Item] = None) -> Iterator[Item]:
        """Yields the items; counts each when the next one is requested. Raises JobCancelled.

        If the total is neither set nor grown here, the length of a sized collection is added to
        what was set as processed and becomes the total. With keys, items that are done are left
        out; they are part of the total.
        """
        self.start()
        if isinstance(items, Sized) and not (self._known["total"] or self._has_grown):
            self.set(total=self._known["processed"] + len(items))
        if key:
            self._keys.load()
            for item in items:
                yield from self._unless_done(item, key)
            return
        for item in items:
            self._buffer.raise_if_cancelled()
            yield item
            self.advance()

    async def aiterate(
        self, items: AsyncIterable[Item] | Iterable[Item], *, key: KeyOf[Item] = None
    ) -> AsyncIterator[Item]:
        """`iterate` for async code; takes both kinds of iterables."""
        if key:
            await self._keys.aload()
        if not isinstance(items, AsyncIterable):
            for item in self.iterate(items, key=key):
                yield item
            return
        self.start()
        async for item in items:
            if key:
                for due in self._unless_done(item, key):
                    yield due
                continue
            self._buffer.raise_if_cancelled()
            yield item
            self.advance()

    def is_done(self, key: Key) -> bool:
        """Was this item done by an earlier attempt, or reported here? The first use of a stage
        waits for a query, and may raise ProgressUnavailable.
        """
        self._keys.load()
        return key in self._keys

    def reload_keys(self) -> None:
        """Learns which items other processes have done meanwhile, as `is_done` then tells.

        Waits for a query, and may raise ProgressUnavailable.
        """
        self._keys.reload()

    def record_error(
        self,
        error: str | BaseException,
        *,
        item: str = "",
        kind: str = "",
        key: Key | None = None,
    ) -> None:
        """Counts an item as failed and logs why; the stage continues.

        Errors of one `kind` whose texts differ in numbers and names only become one group. The kind
        of an exception is its class, unless it is given. With a key the item counts as processed
        too, and the next attempt does it again.
        """
        if isinstance(error, BaseException):
            kind = kind or kind_of(error)
            error = reason_of(error)
        if key is None:
            self._add("failed", 1)
        else:
            self._report(key, has_failed=True)
            item = item or str(key)
        self._buffer.log(error, level=EventLevel.ERROR, stage=self.name, item=item, kind=kind)

    def describe(self, *, total: int | None, unit: str) -> None:
        """Sets the total and the unit of what is counted, as far as they are given."""
        if total is not None:
            self.set(total=total)
        if unit:
            with self._buffer.change() as changes:
                changes.stages[self.name].unit = clean_text(unit, MAX_UNIT_LENGTH)

    def _report(self, key: Key, n: int = 1, *, has_failed: bool = False) -> None:
        if n != 1:
            raise InvalidCount(f"n is {n!r}; a key counts as one item.")
        if self._known["processed"]:
            raise InvalidCount(MIXED.format(self.name))
        self.start()
        self._keys.report(key, has_failed=has_failed)

    def _unless_done(self, item: Item, key: Callable[[Item], Key] | bool) -> Iterator[Item]:
        """Yields the item if it is to be done, and reports it afterwards."""
        self._buffer.raise_if_cancelled()
        item_key: Any = key(item) if callable(key) else item
        if item_key not in self._keys:
            yield item
            self.advance(key=item_key)

    def _add(self, counter: str, n: int) -> None:
        with self._buffer.change() as changes:
            changes.stages[self.name].counters[counter].delta += n
