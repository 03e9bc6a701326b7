"""`/healthz` for supervisors that restart processes, `/readyz` for load balancers.

Both are public, so they name the problem but never its cause: no host, no name, no error text.
"""

import functools
from http import HTTPStatus

from django.contrib.auth.decorators import login_not_required
from django.db import DEFAULT_DB_ALIAS, Error, connections, router, transaction
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse

from ingestion_progress.concurrency.worker_thread import SharedCall
from ingestion_progress.exceptions import ErrorCode
from ingestion_progress.feed import get_feed
from ingestion_progress.models import Job

# Load balancers commonly wait 5 s for an answer.
ANSWER_SECONDS = 2.0
HEADERS = {"Cache-Control": "no-store"}


@login_not_required
@transaction.non_atomic_requests
async def healthz(request: HttpRequest) -> JsonResponse:
    """200 while the process responds; restart it when it does not."""
    return JsonResponse({"status": "alive"}, headers=HEADERS)


@login_not_required
@transaction.non_atomic_requests
async def readyz(request: HttpRequest) -> JsonResponse:
    """200 if this process can serve requests; else 503 with the problems. Takes 2 s at most."""
    feed = get_feed()
    codes = [code] if (code := await get_readiness().database_problem()) else []
    if feed.is_failing:
        codes.append(ErrorCode.POLLER_FAILING)
    if feed.is_draining:
        codes.append(ErrorCode.DRAINING)
    if not codes:
        return JsonResponse({"status": "ready"}, headers=HEADERS)
    problems = [{"code": code, "message": code.message} for code in codes]
    return JsonResponse(
        {"status": "unready", "problems": problems},
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        headers=HEADERS,
    )


class Readiness:
    """The state of the databases of this process."""

    def __init__(self) -> None:
        self._call = SharedCall(
            "ingestion-progress-health", self.ask, timeout_seconds=ANSWER_SECONDS
        )
        self._is_migrated = False

    async def database_problem(self) -> ErrorCode | None:
        try:
            return await self._call.result()
        except TimeoutError:
            return ErrorCode.DATABASE_SILENT
        except Error:
            return ErrorCode.DATABASE_UNREACHABLE

    def ask(self) -> ErrorCode | None:
        """The same without a time limit. Raises Django's database errors."""
        aliases = {DEFAULT_DB_ALIAS, router.db_for_write(Job)}
        for alias in aliases:
            with connections[alias].cursor() as cursor:
                cursor.execute("SELECT 1")
        if not self._is_migrated:
            self._is_migrated = all(_is_migrated(alias) for alias in aliases)
        return None if self._is_migrated else ErrorCode.MIGRATIONS_MISSING


def _is_migrated(alias: str) -> bool:
    executor = MigrationExecutor(connections[alias])
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())


@functools.cache
def get_readiness() -> Readiness:
    """One per process, created on first use."""
    return Readiness()
