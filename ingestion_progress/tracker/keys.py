"""Keys of items: what identifies an item of a stage in each attempt."""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

# Per stage: beyond these limits, keys count but are not remembered.
MAX_KEY_RANGES = 10_000
MAX_TEXT_KEYS = 10_000
MAX_FAILED_KEYS = 10_000
# Longer text is remembered as its hash, so that 10,000 keys stay small.
MAX_KEY_LENGTH = 200

Key: TypeAlias = int | str


def stored_key(key: object) -> Key:
    """The key as it is remembered. Raises TypeError unless it is an integer or text."""
    if isinstance(key, str):
        if len(key) <= MAX_KEY_LENGTH and key.isprintable():
            return key
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
        return f"sha256:{digest}"
    if isinstance(key, int) and not isinstance(key, bool):
        return key
    raise TypeError(f"The key is {key!r}; it must be an integer or text, such as str(…) of it.")


@dataclass(frozen=True, slots=True)
class KeyCounts:
    """How many of the reported keys count."""

    new: int = 0
    forgotten: int = 0
    """How many of the new ones are beyond the limits: the next attempt does their items again."""
    failed: int = 0
    """How many of the new ones have failed."""

    def __add__(self, other: KeyCounts) -> KeyCounts:
        return KeyCounts(self.new + other.new, self.forgotten + other.forgotten)


KNOWN = KeyCounts()
ONE = KeyCounts(1)


class KeySet:
    """A set of keys of bounded size: integers as ranges, and text. Not thread-safe."""

    def __init__(self, ranges: Iterable[Sequence[int]] = (), texts: Iterable[str] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in ranges:
            self._firsts.append(first)
            self._lasts.append(last)
        # A dict keeps the order.
        self._texts = dict.fromkeys(texts)

    @property
    def ranges(self) -> list[list[int]]:
        """Sorted pairs of first and last; they neither overlap nor touch."""
        return [list(pair) for pair in zip(self._firsts, self._lasts, strict=True)]

    @property
    def texts(self) -> list[str]:
        return list(self._texts)

    def __bool__(self) -> bool:
        return bool(self._firsts or self._texts)

    def __len__(self) -> int:
        return sum(self._lasts) - sum(self._firsts) + len(self._firsts) + len(self._texts)

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, int):
            return key in self._texts
        position = bisect_left(self._lasts, key)
        return position < len(self._firsts) and self._firsts[position] <= key

    def add(self, key: Key) -> KeyCounts:
        if isinstance(key, str):
            return self._add_text(key)
        if self._lasts and key == self._lasts[-1] + 1:  # the usual case
            self._lasts[-1] = key
            return ONE
        return self._add_range(key, key)

    def update(self, other: KeySet) -> KeyCounts:
        added = KNOWN
        for first, last in zip(other._firsts, other._lasts, strict=True):
            added += self._add_range(first, last)
        for text in other._texts:
            added += self._add_text(text)
        return added

    def without(self, keys: Collection[Key]) -> KeySet:
        """A copy without these keys."""
        copy = KeySet(self.ranges, self._texts)
        for key in keys:
            if key in copy:
                copy._remove(key)
        return copy

    def _add_text(self, text: str) -> KeyCounts:
        if text in self._texts:
            return KNOWN
        if len(self._texts) >= MAX_TEXT_KEYS:
            return KeyCounts(1, 1)
        self._texts[text] = None
        return ONE

    def _add_range(self, first: int, last: int) -> KeyCounts:
        """Merges the range with those that it overlaps or touches."""
        start = bisect_left(self._lasts, first - 1)
        end = bisect_right(self._firsts, last + 1)
        new = last - first + 1
        if start < end:
            new -= sum(self._overlaps(start, end, first, last))
            first = min(first, self._firsts[start])
            last = max(last, self._lasts[end - 1])
        elif len(self._firsts) >= MAX_KEY_RANGES:
            return KeyCounts(new, new)
        self._firsts[start:end] = [first]
        self._lasts[start:end] = [last]
        return ONE if new == 1 else KeyCounts(new)

    def _overlaps(self, start: int, end: int, first: int, last: int) -> Iterator[int]:
        for position in range(start, end):
            common = min(last, self._lasts[position]) - max(first, self._firsts[position]) + 1
            yield max(0, common)

    def _remove(self, key: Key) -> None:
        if isinstance(key, str):
            del self._texts[key]
            return
        position = bisect_left(self._lasts, key)
        first, last = self._firsts[position], self._lasts[position]
        pieces = [(first, key - 1), (key + 1, last)]
        kept = [piece for piece in pieces if piece[0] <= piece[1]]
        self._firsts[position : position + 1] = [piece[0] for piece in kept]
        self._lasts[position : position + 1] = [piece[1] for piece in kept]
