"""`/healthz` and `/readyz`, for whoever restarts processes and sends them requests.

Open to everybody, so they tell what is wrong, and nothing of why: no host, no name, no error text.
"""

from __future__ import annotations

import functools
from http import HTTPStatus

from django.contrib.auth.decorators import login_not_required
from django.db import DEFAULT_DB_ALIAS, Error, connections, router, transaction
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse

from ingestion_progress.concurrency.questions import ANSWER_SECONDS, Question
from ingestion_progress.feed import get_feed
from ingestion_progress.models import Job

PROBLEMS = {
    "database_unreachable": "The database refuses connections or queries.",
    "database_silent": f"The database has not answered for {ANSWER_SECONDS:g} seconds.",
    "migrations_missing": "The database lacks migrations: run manage.py migrate.",
    "poller_failing": "The progress of jobs cannot be read at present.",
    "draining": "This process is about to end.",
}
HEADERS = {"Cache-Control": "no-store"}


@login_not_required
@transaction.non_atomic_requests
async def healthz(request: HttpRequest) -> JsonResponse:
    """The process answers. Restart it if this does not."""
    return JsonResponse({"status": "alive"}, headers=HEADERS)


@login_not_required
@transaction.non_atomic_requests
async def readyz(request: HttpRequest) -> JsonResponse:
    """200 where requests are welcome; else 503 with what is wrong, in two seconds at the latest."""
    feed = get_feed()
    codes = [code] if (code := await get_readiness().database_problem()) else []
    if feed.is_failing:
        codes.append("poller_failing")
    if feed.is_draining:
        codes.append("draining")
    if not codes:
        return JsonResponse({"status": "ready"}, headers=HEADERS)
    problems = [{"code": code, "message": PROBLEMS[code]} for code in codes]
    return JsonResponse(
        {"status": "unready", "problems": problems},
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        headers=HEADERS,
    )


class Readiness:
    """What this process can say about its databases."""

    def __init__(self) -> None:
        self._question = Question(self.ask)
        self._is_migrated = False

    async def database_problem(self) -> str:
        """A key of PROBLEMS, or an empty string."""
        try:
            return await self._question.answer()
        except TimeoutError:
            return "database_silent"
        except Error:
            return "database_unreachable"

    def ask(self) -> str:
        """The same, as long as it may take. Raises Django's database errors."""
        aliases = {DEFAULT_DB_ALIAS, router.db_for_write(Job)}
        for alias in aliases:
            with connections[alias].cursor() as cursor:
                cursor.execute("SELECT 1")
        if not self._is_migrated:
            self._is_migrated = all(_is_migrated(alias) for alias in aliases)
        return "" if self._is_migrated else "migrations_missing"


def _is_migrated(alias: str) -> bool:
    executor = MigrationExecutor(connections[alias])
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())


@functools.cache
def get_readiness() -> Readiness:
    """The process's own, made on first use."""
    return Readiness()
