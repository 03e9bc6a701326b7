"""`/healthz` and `/readyz`, for whoever restarts processes and sends them requests.

Open to everybody, so they tell what is wrong, and nothing of why: no host, no name, no error text.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import Future
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from django.apps import apps
from django.contrib.auth.decorators import login_not_required
from django.db import DEFAULT_DB_ALIAS, Error, connections, router, transaction
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse

from ingestion_progress.models import Job

if TYPE_CHECKING:
    from ingestion_progress.apps import IngestionProgressConfig

logger = logging.getLogger(__name__)

# Less than the patience of those who ask: load balancers commonly have 5 s.
DATABASE_SECONDS = 2.0

PROBLEMS = {
    "database_unreachable": "The database refuses connections or queries.",
    "database_silent": f"The database has not answered for {DATABASE_SECONDS:g} seconds.",
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
    config = cast("IngestionProgressConfig", apps.get_app_config("ingestion_progress"))
    codes = [code] if (code := await config.readiness.database_problem()) else []
    if config.feed.is_failing:
        codes.append("poller_failing")
    if config.feed.is_draining:
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
    """Asks the databases, once at a time however many ask us: one that never answers holds up
    one thread, which is a daemon, so that it does not hold up the end of the process.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asking: Future[str] | None = None
        self._is_migrated = False

    async def database_problem(self) -> str:
        """A key of PROBLEMS, or an empty string."""
        answer = asyncio.wrap_future(self._ask())
        # Not cancelled when time is up: others may wait for the same answer.
        done, _ = await asyncio.wait({answer}, timeout=DATABASE_SECONDS)
        return answer.result() if done else "database_silent"

    def _ask(self) -> Future[str]:
        with self._lock:
            if self._asking is None or self._asking.done():
                self._asking = Future()
                threading.Thread(
                    target=self._answer,
                    args=(self._asking,),
                    name="ingestion-progress-readiness",
                    daemon=True,
                ).start()
            return self._asking

    def _answer(self, future: Future[str]) -> None:
        future.set_running_or_notify_cancel()  # from here on nobody can cancel it
        try:
            problem = self._problem()
        except Error:
            problem = "database_unreachable"
        except Exception:
            logger.exception("readiness_unknown")
            problem = "database_unreachable"
        finally:
            connections.close_all()  # of this thread
        future.set_result(problem)

    def _problem(self) -> str:
        for alias in {DEFAULT_DB_ALIAS, router.db_for_write(Job)}:
            with connections[alias].cursor() as cursor:
                cursor.execute("SELECT 1")
        if not self._is_migrated:
            self._is_migrated = _is_migrated(router.db_for_write(Job))
        return "" if self._is_migrated else "migrations_missing"


def _is_migrated(alias: str) -> bool:
    executor = MigrationExecutor(connections[alias])
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())
