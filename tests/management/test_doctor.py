"""The doctor as users run it: on a real daphne, behind correct and faulty nginx."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.core.management import call_command

from ingestion_progress.testing import synchronous_tracking
from tests.support.live import ROOT, LiveProject, LiveServer
from tests.support.nginx import Certificate, needs_nginx, nginx
from tests.support.servers import free_port

pytestmark = pytest.mark.once

QUICK = {
    "KEEPALIVE_SECONDS": "1",
    "THROTTLE_SECONDS": "0.5",
    "POLL_INTERVAL_SECONDS": "0.1",
    "PUBLIC": "false",
}
# By fault: the documented lines of nginx that are replaced to cause it.
FAULTY = {
    "buffering": {
        "proxy_buffering off;": "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;",
        "proxy_http_version 1.1;": "",
    },
    "compression": {
        "gzip off;": "gzip on; gzip_min_length 0; gzip_types text/event-stream; gzip_proxied any;"
        "proxy_hide_header Content-Encoding;",
    },
    "compression, buffered": {
        "gzip off;": "gzip on; gzip_min_length 0; gzip_types text/event-stream; gzip_proxied any;"
        "proxy_hide_header Content-Encoding;",
        "proxy_buffering off;": "proxy_ignore_headers X-Accel-Buffering;",
    },
    "keepalive": {"proxy_read_timeout 60s;": "proxy_read_timeout 850ms;"},
    "resume": {'Connection "";': 'Connection ""; proxy_set_header Last-Event-ID "";'},
    "query": {"proxy_cache off;": 'set $args "";'},
    "headers": {"proxy_cache off;": "expires 5m;"},
    "errors": {
        "location / {": "location / { proxy_intercept_errors on; error_page 404 /missing.html;"
    },
    "application": {"proxy_pass http://progress;\n": "return 302 https://elsewhere.example/;\n"},
}
# Differences from the documentation that viewers do not notice.
HARMLESS = {
    "gzip where the application has compressed already": {
        "gzip off;": "gzip on; gzip_min_length 0; gzip_types text/event-stream; gzip_proxied any;"
    },
    "HTTP/1.0 to the application": {"proxy_http_version 1.1;": ""},
    "nothing but X-Accel-Buffering": {"proxy_buffering off;": ""},
}
PROBE_JOBS = """
    import json
    from ingestion_progress.models import Job
    print(json.dumps(Job.objects.filter(pk__startswith="doctor-").count()))
"""
WAIT_FOR_ONE = """
    import json, time
    from ingestion_progress.models import Job
    deadline = time.monotonic() + 30
    jobs = Job.objects.filter(pk__startswith="doctor-", status="running")
    while not (found := jobs.exists()) and time.monotonic() < deadline:
        time.sleep(0.02)
    print(json.dumps(found))
"""


@dataclass(frozen=True)
class Output:
    code: int
    text: str
    errors: str

    def findings(self, endpoint: int = 0) -> dict[str, dict[str, str]]:
        found = json.loads(self.text)["hops"][endpoint]["findings"]
        return {finding["check"]: finding for finding in found}

    def faults(self, endpoint: int = 0) -> dict[str, str]:
        """Level by check: warnings and problems only."""
        findings = self.findings(endpoint).values()
        levels = {finding["check"]: finding["level"] for finding in findings}
        return {check: level for check, level in levels.items() if level in {"warning", "problem"}}


def doctor(project: LiveProject, *args: str, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "manage.py", "doctor", *args],
        cwd=ROOT,
        env=project.env | QUICK | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output_of(process: subprocess.Popen[str]) -> Output:
    text, errors = process.communicate(timeout=60)
    return Output(process.returncode, text, errors)


@pytest.fixture(scope="module")
def wsgi(sqlite_project: LiveProject) -> LiveServer:
    """Django's own `runserver`, which speaks WSGI; still starting."""
    port = free_port()
    command = [sys.executable, "manage.py", "runserver", "--noreload", f"127.0.0.1:{port}"]
    process = sqlite_project.spawn(*command, DJANGO_SETTINGS_MODULE="tests.support.settings_wsgi")
    return LiveServer(f"http://127.0.0.1:{port}", process, sqlite_project)


@pytest.fixture(scope="module")
def server(sqlite_project: LiveProject) -> Iterator[LiveServer]:
    live = sqlite_project.serve("daphne", **QUICK)
    yield live
    live.process.terminate()
    live.process.wait(30)


@pytest.fixture(scope="module")
def results(wsgi: LiveServer, server: LiveServer, tmp_path_factory) -> dict[str, Output]:
    """All runs at once, because they mostly wait."""
    wsgi.wait_until_ready()
    folder: Path = tmp_path_factory.mktemp("nginx")
    certificate = Certificate.make(folder)
    with ExitStack() as stack:

        def site(number: int, changes: dict[str, str], **options) -> str:
            at = folder / str(number)
            return stack.enter_context(nginx(at, server.url, changes=changes, **options))

        urls = [site(number, changes) for number, changes in enumerate(CASES.values())]
        behind = [option for url in urls[1:] for option in ("--behind", url)]
        right, app = site(100, {}, certificate=certificate), ("--behind", server.url)
        buffered = site(101, FAULTY["buffering"])
        started = {
            "cases": doctor(server.project, "--json", urls[0], *behind),
            "right": doctor(
                server.project, "--json", right, *app, SSL_CERT_FILE=str(certificate.certificate)
            ),
            "untrusted": doctor(server.project, "--json", right),
            "behind": doctor(server.project, "--quick", buffered, *app, COLUMNS="200"),
            "no tables": doctor(server.project, server.url, DATABASE_URL=f"sqlite:///{folder}/x"),
            "no database": doctor(server.project, server.url, DATABASE_URL="sqlite:////no/x"),
            "wsgi": doctor(server.project, "--json", wsgi.url, "--behind", wsgi.url),
        }
        return {name: output_of(process) for name, process in started.items()}


CASES = FAULTY | HARMLESS


@needs_nginx
def test_documented_nginx_with_tls_passes_all_checks(results):
    right = results["right"]
    assert right.code == 0, right.text + right.errors
    for hop in (0, 1):
        levels = {name: found["level"] for name, found in right.findings(hop).items()}
        assert set(levels.values()) == {"ok"}, right.text
        assert {"buffering", "keepalive", "resume", "query", "ending"} <= levels.keys()
    assert "HTTP/2" in right.findings()["http_version"]["evidence"]
    assert "removed by a proxy" in right.findings()["headers"]["evidence"]
    assert json.loads(right.text)["origins"] == []


@needs_nginx
@pytest.mark.parametrize(
    ("case", "faults", "fix"),
    [
        ("buffering", {"buffering": "problem"}, "proxy_buffering off"),
        ("compression", {"compression": "problem"}, "gzip off"),
        ("compression, buffered", {"compression": "problem"}, "gzip off"),
        ("keepalive", {"keepalive": "problem"}, "proxy_read_timeout"),
        ("resume", {"resume": "problem"}, "proxy_set_header Last-Event-ID"),
        ("query", {"query": "problem"}, "proxy_pass"),
        ("headers", {"headers": "problem"}, "expires"),
        ("errors", {"errors": "problem"}, "proxy_intercept_errors off"),
        ("application", {"application": "problem"}, "address"),
        *((case, {}, "") for case in HARMLESS),
    ],
)
def test_each_fault_is_found_and_no_other(results, case, faults, fix):
    hop = list(CASES).index(case)
    seen = results["cases"].faults(hop)
    seen.pop("http_version", None)  # the first hop is the public one, here without TLS
    assert seen == faults, results["cases"].findings(hop)
    for check in faults:
        assert fix in results["cases"].findings(hop)[check]["fix"]
    assert results["cases"].code == 1


@needs_nginx
def test_fault_is_located_between_two_endpoints(results):
    text = results["behind"].text
    assert results["behind"].code == 1
    assert re.search(r"✗ Not buffered +.*\(allowed: 1\.6 s\)", text)
    assert re.search(
        r"Not buffered: right at http://127\.0\.0\.1:\d+, wrong at .*\. "
        r"Correct the server at .*, or one between the two\.",
        text,
    )
    assert "- Keep-alive" in text
    assert "Server: nginx" in text


@needs_nginx
def test_untrusted_certificate_is_named(results):
    assert results["untrusted"].faults() == {"reachable": "problem"}
    assert "self-signed" in results["untrusted"].findings()["reachable"]["evidence"]


@needs_nginx
def test_wsgi_is_a_fault_of_the_server_itself(results):
    assert results["wsgi"].faults(1) == {"application": "problem"}
    assert "WSGI" in results["wsgi"].findings()["application"]["evidence"]
    assert "itself" in json.loads(results["wsgi"].text)["origins"][0]


@needs_nginx
def test_no_run_leaves_a_job_or_a_traceback(results, sqlite_project):
    assert sqlite_project.ask(PROBE_JOBS) == 0
    errors = {result.errors for name, result in results.items() if not name.startswith("no ")}
    assert errors == {""}


@needs_nginx
def test_unusable_database_is_reported(results):
    assert "manage.py migrate" in results["no tables"].errors
    assert "does not answer: unable to open" in results["no database"].errors
    assert "Traceback" not in results["no tables"].errors + results["no database"].errors


@pytest.mark.parametrize(
    ("numbers", "code"),
    [
        ([signal.SIGINT], 130),
        ([signal.SIGTERM], 143),
        ([signal.SIGHUP], 129),
        # Two at once, as from a session that ends.
        ([signal.SIGSTOP, signal.SIGHUP, signal.SIGTERM, signal.SIGCONT], 129),
    ],
)
def test_interrupt_removes_the_job(server, numbers, code):
    process = doctor(server.project, server.url, KEEPALIVE_SECONDS="60")
    assert server.project.ask(WAIT_FOR_ONE)
    for number in numbers:
        process.send_signal(number)
    interrupted = output_of(process)
    assert interrupted.code == code
    assert interrupted.errors == ""
    assert server.project.ask(PROBE_JOBS) == 0


@pytest.mark.django_db
def test_site_with_another_database_is_found(server, settings, capsys):
    settings.INGESTION_PROGRESS_PUBLIC = False
    token = server.project.manage("stream_token", "--all").strip()
    with synchronous_tracking(), pytest.raises(SystemExit, match="1"):
        call_command("doctor", "--json", "--quick", f"--token={token}", server.url)
    seen = Output(1, capsys.readouterr().out, "")
    assert seen.faults() == {"http_version": "warning", "job": "problem"}
    assert "another database" in seen.findings()["job"]["fix"]


@pytest.mark.django_db
def test_token_of_other_keys_is_found(server, capsys):
    with pytest.raises(SystemExit, match="1"):
        call_command("doctor", "--json", server.url)
    seen = Output(1, capsys.readouterr().out, "")
    assert "SECRET_KEY" in seen.findings()["application"]["fix"]
