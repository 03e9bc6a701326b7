"""The candidates: one server process each, started as its documentation says."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from benchmarks.apps import nchan
from benchmarks.apps.frame import JOB_ID

OUR_PATH = f"/api/v1/admin/ingestion/jobs/{JOB_ID}/progress"
OUR_APPLICATION = "progress_project.asgi:application"
INSTRUMENTED = "benchmarks.apps.ours:application"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    name: str
    label: str
    server: str
    app: str
    path: str = "/"
    database: str = ""
    """`postgresql` or `sqlite` if the candidate reads a job that a writer changes; else empty."""
    clients_at_most: int = 1_000_000
    """The most clients that it can serve."""
    is_peer: bool = False
    """This project is compared with it."""

    @property
    def is_ours(self) -> bool:
        return self.name.startswith("ours-")

    def command(self, port: int, *, instrumented: bool = False) -> list[str]:
        app = INSTRUMENTED if self.is_ours and instrumented else self.app
        address = ["--host", "127.0.0.1", "--port", str(port)]
        arguments = {
            "": [app, str(port)],
            "uvicorn": ["uvicorn", *address, "--no-access-log", *self._protocol, app],
            # By default granian serves 1,024 streams.
            "granian": [
                "granian", *address, "--interface", "asginl", "--http", "1",
                "--backpressure", "20000", app
            ],
            "daphne": [
                "ingestion_progress.asgi.servers.daphne", "-v", "0", "-b", "127.0.0.1",
                "-p", str(port), app
            ],
        }[self.server]  # fmt: skip
        return [sys.executable, "-m", *arguments]

    @property
    def _protocol(self) -> list[str]:
        """As docs/deployment.md starts this project on uvicorn."""
        path = "ingestion_progress.asgi.servers.uvicorn:Protocol"
        return ["--http", path] if self.is_ours else []


def _ours(server: str) -> Candidate:
    return Candidate(
        name=f"ours-{server}",
        label=f"this project on {server}",
        server=server,
        app=OUR_APPLICATION,
        path=OUR_PATH,
        database="postgresql",
    )


NCHAN = Candidate(name="nchan", label="nginx + nchan (C)", server="", app="benchmarks.apps.nchan")
BARE = Candidate(name="bare", label="bare asyncio (uvloop)", server="", app="benchmarks.apps.bare")
CANDIDATES = (
    BARE,
    *([NCHAN] if nchan.is_installed() else []),
    Candidate(
        name="raw-uvicorn",
        label="raw ASGI app on uvicorn",
        server="uvicorn",
        app="benchmarks.apps.raw:application",
    ),
    Candidate(
        name="raw-granian",
        label="raw ASGI app on granian",
        server="granian",
        app="benchmarks.apps.raw:application",
    ),
    _ours("uvicorn"),
    _ours("granian"),
    _ours("daphne"),
    Candidate(
        name="fastapi",
        label="FastAPI, a generator per client",
        server="uvicorn",
        app="benchmarks.apps.fastapi_app:app",
        path="/original",
        is_peer=True,
    ),
    Candidate(
        name="fastapi-shared",
        label="FastAPI, encoded once and woken together",
        server="uvicorn",
        app="benchmarks.apps.fastapi_app:app",
        path="/shared",
    ),
    Candidate(
        name="sse-starlette",
        label="sse-starlette",
        server="uvicorn",
        app="benchmarks.apps.sse_starlette_app:app",
        is_peer=True,
    ),
    Candidate(
        name="django-eventstream",
        label="django-eventstream",
        server="uvicorn",
        app="benchmarks.apps.eventstream:application",
        is_peer=True,
    ),
    Candidate(
        name="orm-polling",
        label="each client polls the ORM, 100 clients",
        clients_at_most=100,
        server="uvicorn",
        app="benchmarks.apps.polling:application",
        # One connection per client: PostgreSQL does not have that many.
        database="sqlite",
    ),
)
BY_NAME = {candidate.name: candidate for candidate in CANDIDATES}
PEERS = tuple(candidate.name for candidate in CANDIDATES if candidate.is_peer)
