"""`@tracked`: each call of a function is a job."""

from __future__ import annotations

import functools
from collections.abc import Callable
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import Any, ParamSpec, TypeVar, cast

from ingestion_progress.tracker.contexts import TrackedJob

P = ParamSpec("P")
R = TypeVar("R")
Track = Callable[..., TrackedJob]

# These may be computed from the arguments of the call.
COMPUTED = frozenset({"job_id", "document_id", "batch", "owner", "metadata", "about"})


def tracked_by(
    track: Track, document_name: str | Callable[..., str], options: dict[str, Any]
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """The decorator. Raises TypeError for a generator, whose calls return before it runs."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if isgeneratorfunction(function) or isasyncgenfunction(function):
            raise TypeError(f"{function.__qualname__} is a generator; use `with track(…)` in it.")
        name = document_name or function.__name__

        def job_of(*args: P.args, **kwargs: P.kwargs) -> TrackedJob:
            computed = {
                key: value(*args, **kwargs) if key in COMPUTED and callable(value) else value
                for key, value in options.items()
            }
            return track(name(*args, **kwargs) if callable(name) else name, **computed)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            with job_of(*args, **kwargs):
                return function(*args, **kwargs)

        @functools.wraps(function)
        async def acall(*args: P.args, **kwargs: P.kwargs) -> Any:
            async with job_of(*args, **kwargs):
                return await cast("Any", function)(*args, **kwargs)

        return cast("Callable[P, R]", acall) if iscoroutinefunction(function) else call

    return decorate
