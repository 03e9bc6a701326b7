"""The private names of other libraries, and the versions in which somebody looked at them.

When the first test fails after an upgrade: read what LOOKED_AT names in the new version, run the
suites it names, adapt ingestion_progress/concurrency/compat, and raise the cap in pyproject.toml
and here.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import re
import tomllib
from dataclasses import dataclass
from importlib.metadata import version

import pytest
from packaging.requirements import Requirement

from tests.support.live import ROOT

COMPAT = ROOT / "ingestion_progress" / "concurrency" / "compat"


@dataclass(frozen=True, kw_only=True)
class LookedAt:
    below: str
    """The first version that nobody has looked at: the cap in pyproject.toml."""
    names: tuple[str, ...]
    """`module:name.name`, each of which must exist."""
    sources: dict[str, tuple[str, ...]] | None = None
    """What the source of a module must mention: attributes that only instances have."""
    upgrade: str
    """What to read and to run."""


LOOKED_AT = {
    "asgiref": LookedAt(
        below="3.14",
        names=(
            "asgiref.sync:_restore_context",
            "asgiref.sync:SyncToAsync.threadlocal",
            "asgiref.sync:SyncToAsync.thread_sensitive_context",
            "asgiref.sync:SyncToAsync.context_to_thread_executor",
        ),
        sources={"asgiref.sync": ("main_event_loop_pid", "thread_sensitive_context.get(")},
        upgrade="SyncToAsync.__call__ and thread_handler: what a hop to a thread does to the "
        "context, to `Local` and to the main event loop. tests/concurrency, tests/streams.",
    ),
    "django": LookedAt(
        below="6.2",
        names=(
            "django.core.handlers.asgi:ASGIHandler.read_body",
            "django.core.handlers.asgi:ASGIHandler.create_request",
            "django.core.handlers.asgi:ASGIHandler.send_response",
            "django.core.handlers.asgi:ASGIHandler.load_middleware",
            "django.core.handlers.asgi:ASGIHandler.resolve_request",
            "django.db.models.sql.compiler:SQLCompiler.get_converters",
            "django.db.models.sql.compiler:SQLCompiler.apply_converters",
            "django.db.models:Field.get_col",
        ),
        sources={
            "django.http.response": ("_resource_closers", "_handler_class"),
            "django.utils.log": ("_has_been_logged",),
        },
        upgrade="ASGIHandler.__call__ and handle: what happens around a request. "
        "HttpResponseBase.close. SQLCompiler.results_iter. tests/streams, tests/models.",
    ),
    "django-ninja": LookedAt(
        below="1.8",
        names=(
            "ninja:NinjaAPI.urls",
            "ninja.constants:NOT_SET",
            "ninja.operation:PathView",
            "ninja.openapi.schema:REF_TEMPLATE",
            "ninja.utils:check_csrf",
        ),
        sources={"ninja.router": ("path_operations",), "ninja.operation": ("is_async",)},
        upgrade="NinjaAPI.urls and PathView: which views answer which methods. tests/api.",
    ),
    "daphne": LookedAt(
        below="4.3",
        names=("daphne.cli:CommandLineInterface.server_class", "daphne.server:Server.log_action"),
        sources={
            "daphne.server": ("self.http_factory = HTTPFactory(self)",),
            "daphne.http_protocol": ("def buildProtocol", "WebRequest"),
        },
        upgrade="Server.run and WebRequest. tests/asgi.",
    ),
    "twisted": LookedAt(
        below="27",
        names=(
            "twisted.web.http:HTTPChannel.allHeadersReceived",
            "twisted.web.http:HTTPChannel.allContentReceived",
            "twisted.web.http:HTTPChannel.resetTimeout",
            "twisted.web.http:Request.gotLength",
            "twisted.web.http:Request.handleContentChunk",
        ),
        sources={"twisted.web.http": ("self._command", "self._path", "parsePOSTFormSubmission")},
        upgrade="HTTPChannel: when it sets a time-out, and what it knows before the body. "
        "tests/asgi.",
    ),
    "uvicorn": LookedAt(
        below="0.55",
        names=(
            "uvicorn.protocols.http.auto:AutoHTTPProtocol",
            "uvicorn.protocols.http.httptools_impl:HttpToolsProtocol.on_message_begin",
            "uvicorn.protocols.http.httptools_impl:HttpToolsProtocol.on_headers_complete",
            "uvicorn.protocols.http.flow_control:FlowControl",
        ),
        sources={
            "uvicorn.protocols.http.httptools_impl": (
                "self.chunked_encoding",
                "self.expected_content_length",
                "self.response_complete",
                "self.disconnected",
                "self.cycle",
                "self.connections",
            ),
            "uvicorn.protocols.http.flow_control": ("write_paused",),
        },
        upgrade="RequestResponseCycle.send: what it writes, and what it counts. tests/asgi, "
        "tests/streams/test_recorded_*.py.",
    ),
    "psycopg": LookedAt(
        below="3.4",
        names=("psycopg.pq:PGconn.consume_input", "psycopg.pq:PGconn.notifies"),
        sources={"psycopg._connection_base": ("self.pgconn", "pgconn.notify_handler")},
        upgrade="AsyncConnection.notifies, and who calls notify_handler. tests/wakeups.",
    ),
    "django-tasks-db": LookedAt(
        below="0.14",
        names=(
            "django_tasks_db.management.commands.db_worker:Worker.run",
            "django_tasks_db.management.commands.db_worker:Worker.shutdown",
            "django_tasks_db.management.commands.db_worker:Worker.configure_signals",
        ),
        sources={"django_tasks_db.management.commands.db_worker": ("self.running",)},
        upgrade="Worker: its signals and its loop. tests/pipeline/test_worker.py.",
    ),
}


def requirements() -> list[Requirement]:
    """Everything that pyproject.toml asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras, groups = project["project"]["optional-dependencies"], project["dependency-groups"]
    lists = [project["project"]["dependencies"], *extras.values(), *groups.values()]
    return [Requirement(text) for each in lists for text in each]


@pytest.mark.parametrize("library", LOOKED_AT)
def test_private_names_exist_in_a_version_that_was_checked(library):
    looked_at = LOOKED_AT[library]
    ranges = [each.specifier for each in requirements() if each.name == library]
    assert ranges, f"pyproject.toml does not ask for {library}"
    for caps in ranges:
        assert f"<{looked_at.below}" in str(caps).split(","), looked_at.upgrade
        assert version(library) in caps, looked_at.upgrade

    for address in looked_at.names:
        module, _, path = address.partition(":")
        found = importlib.import_module(module)
        for name in path.split("."):
            assert hasattr(found, name), f"{address} is gone. {looked_at.upgrade}"
            found = getattr(found, name)
    for module, texts in (looked_at.sources or {}).items():
        source = inspect.getsource(importlib.import_module(module))
        for text in texts:
            assert text in source, f"{text} is gone from {module}. {looked_at.upgrade}"


def test_python_can_hide_its_running_event_loop():
    assert callable(asyncio._set_running_loop)


def test_only_compat_uses_private_names():
    modules = [*ROOT.glob("ingestion_progress/**/*.py"), *ROOT.glob("progress_project/**/*.py")]
    imported = re.compile(r"^\s*(from (?!ingestion_progress)\S+ )?import .*\b_[a-z]", re.MULTILINE)
    users = {
        path.relative_to(ROOT).as_posix()
        for path in modules
        if "SLF001" in (source := path.read_text()) or imported.search(source)
    }

    assert users
    assert not [path for path in users if not (ROOT / path).is_relative_to(COMPAT)]
