"""The HTML page with the list of batches, the newest first, and forms that rename them.

It is complete without JavaScript; `job-list.js` requests it again to keep it up to date.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

from ingestion_progress.auth import permissions
from ingestion_progress.auth.batches import batches_for
from ingestion_progress.auth.viewers import viewer_key
from ingestion_progress.conf import conf
from ingestion_progress.models import Batch
from ingestion_progress.models.pagination import ListPage
from ingestion_progress.web.recent_batches import rows_of
from ingestion_progress.web.views import refusal

PAGE_SIZE = 20
# What the script requests.
PARTS = "ingestion_progress/partials/batches.html"


@require_safe
@vary_on_headers("X-Requested-With")
def batch_list(request: HttpRequest) -> HttpResponse:
    """`cursor` leads to older batches."""
    if not permissions.may_view(request, "", by_token=False):
        return refusal(request)
    page, cursor = _read(request)
    rows = rows_of(permissions.jobs_for(request, by_token=False), page.rows)
    url = reverse("ingestion_progress:batch_list")
    # With a rule it is a query for each batch whether the user may change it: see its own page.
    may_rename = permissions.visible_jobs(request, by_token=False) is None
    context = {
        "rows": rows,
        "older_cursor": page.next_cursor,
        "is_newest": not cursor,
        "is_active": any(row["is_active"] for row in rows),
        "may_rename": may_rename and permissions.may_start(request),
        "poll_url": f"{url}?{urlencode({'cursor': cursor})}" if cursor else url,
        "stream_url": reverse("ingestion_progress:jobs_progress"),
        "viewer_key": viewer_key(request),
        "keepalive_seconds": f"{conf.keepalive_seconds:g}",
    }
    is_refresh = request.headers.get("X-Requested-With") == "fetch"
    return render(request, PARTS if is_refresh else "ingestion_progress/batch_list.html", context)


def _read(request: HttpRequest) -> tuple[ListPage[Batch], str]:
    """The page and its cursor; an invalid one is that of the first page."""
    batches, cursor = batches_for(request, by_token=False), request.GET.get("cursor", "")
    try:
        return ListPage.read(batches, limit=PAGE_SIZE, cursor=cursor), cursor
    except ValueError:
        return ListPage.read(batches, limit=PAGE_SIZE), ""
