"""`@stream_view`: turns a function that admits or refuses a request into a view of a stream."""

import functools
from collections.abc import Callable
from typing import Any

from asgiref.sync import markcoroutinefunction, sync_to_async
from django.contrib.auth.decorators import login_not_required
from django.db import transaction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from ingestion_progress.streams.response import EventStreamResponse

Decide = Callable[..., HttpResponseBase]


class StreamView:
    """A view in two steps: `decide`, in a thread, where it may query the database; and the start
    of the stream, in the event loop.

    Django's handler awaits both. `EventStreams` calls `decide` as a synchronous view behind the
    middleware, and then starts the stream.
    """

    def __init__(self, decide: Decide) -> None:
        self.decide = decide
        functools.update_wrapper(self, decide)
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        decide = sync_to_async(self.decide, thread_sensitive=True)
        response: HttpResponseBase = await decide(request, **kwargs)
        if isinstance(response, EventStreamResponse):
            return await response.begin()
        return response


def stream_view(decide: Decide) -> StreamView:
    """A view that checks permission without Django's decorators, and refuses with JSON."""
    view = transaction.non_atomic_requests(decide)
    view = csrf_exempt(view)  # it only reads
    return StreamView(login_not_required(view))  # an EventSource cannot use a login page
