"""What the doctor concludes from a response; `test_doctor` runs it against real servers."""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import os
import re
import signal
import socket
from itertools import filterfalse

import pytest
from django.core.management import CommandError, call_command
from django.db.models.signals import post_save
from rich.console import Console

from ingestion_progress.management.doctor import report
from ingestion_progress.management.doctor.checks import (
    Finding,
    Level,
    delivery,
    ok,
    problem,
    reach,
    skip,
    warning,
)
from ingestion_progress.management.doctor.endpoints import Endpoint
from ingestion_progress.management.doctor.http import Response, ResponseReader, describe
from ingestion_progress.management.doctor.probe_job import STAGE, ProbeJob
from ingestion_progress.management.doctor.report import EndpointReport, origins
from ingestion_progress.management.doctor.run import ProbeResult
from ingestion_progress.management.doctor.sse import events, has_several_members
from ingestion_progress.models import Job
from ingestion_progress.tracker.writer import background_writer
from ingestion_progress.wire.gzip import GzipMember, deflate
from tests.support.servers import free_port
from tests.support.tracking import eventually

STREAM = [("Content-Type", "text/event-stream")]
GZIP = ("Content-Encoding", "gzip")
PATH = "/api/v1/admin/ingestion/jobs/job-1/progress"


def state(step: int, at: float) -> tuple[float, bytes]:
    data = json.dumps({"stages": {STAGE: {"processed": step}}})
    return at, f"event: pipeline_progress\nid: e-{step}\ndata: {data}\n\n".encode()


def result_of(*chunks: tuple[float, bytes], **fields) -> ProbeResult:
    """Of a stream whose steps were written at 0, 1 and 2 seconds."""
    plain = Response(status=200, headers=STREAM, chunks=list(chunks))
    written_at = {0: 0.0, 1: 1.0, 2: 2.0}
    endpoint = Endpoint.parse("https://progress.example.org")
    return ProbeResult(endpoint=endpoint, plain=plain, written_at=written_at, **fields)


def refusal(code: str) -> Response:
    body = f'event: error\ndata: {{"message": "No.", "code": "{code}"}}\n\n'
    return Response(status=200, headers=STREAM, chunks=[(1.0, body.encode())])


# Addresses


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://progress.example.org", PATH),
        ("https://progress.example.org/", PATH),
        ("http://10.0.0.7:8000/some/where/", f"/some/where{PATH}"),
    ],
)
def test_path_of_the_site_is_kept(url, path):
    assert Endpoint.parse(url).stream_path("job-1") == path


@pytest.mark.parametrize(
    "url",
    [
        "progress.example.org",
        "ftp://progress.example.org",
        "https://",
        "https://progress.example.org:port",
        f"https://progress.example.org{PATH}",
        "https://progress.example.org/?token=secret",
        "https://user:secret@progress.example.org",
    ],
)
def test_other_addresses_than_of_a_site_are_refused(url):
    with pytest.raises(CommandError, match="address"):
        call_command("doctor", url)


@pytest.mark.parametrize(
    ("front", "host", "scheme"),
    [
        ("https://progress.example.org", "progress.example.org", "https"),
        ("http://progress.example.org:8080", "progress.example.org:8080", "http"),
        ("https://[::1]", "[::1]", "https"),
    ],
)
def test_endpoint_behind_gets_the_headers_of_a_proxy(front, host, scheme):
    endpoint = Endpoint.parse("http://127.0.0.1:8000", front=Endpoint.parse(front))
    assert endpoint.headers == {"Host": host, "X-Forwarded-Proto": scheme}
    assert not endpoint.is_public


# Reading a response


def test_event_arrives_with_the_chunk_that_ends_it():
    response = Response(
        chunks=[(1.0, b"event: a\nid: 7\nda"), (2.0, b'ta: {"x": 1}\n'), (3.0, b"\n")]
    )
    (event,) = events(response)
    assert (event.at, event.name, event.id, event.data) == (3.0, "a", "7", {"x": 1})


def test_comments_are_events_and_retry_is_none():
    pieces = [(1.0, b": keepalive\n\nretry: 500\n\n"), (2.0, b"data: no json\r\n\r\n")]
    assert [(event.name, event.data) for event in events(Response(chunks=pieces))] == [
        (":", {}),
        ("message", {}),
    ]


def test_only_the_first_gzip_member_is_read_as_in_browsers():
    packed = [(at, gzip.compress(body)) for at, body in (state(0, 1.0), state(1, 2.0))]
    response = Response(headers=[("Content-Encoding", "gzip")], chunks=packed)
    assert len(events(response)) == 1
    assert has_several_members(response)


@pytest.mark.parametrize("encoding", ["gzip", "br"])
def test_body_that_cannot_be_decompressed_has_no_events(encoding):
    response = Response(headers=[("Content-Encoding", encoding)], chunks=[state(0, 1.0)])
    assert events(response) == []
    assert not has_several_members(response)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_reader_of_a_silent_response_can_be_stopped(version):
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = Endpoint.parse(f"http://127.0.0.1:{server.getsockname()[1]}")
        reader = ResponseReader(endpoint, "/", {}, idle_seconds=30)
        with reader as response:
            peer, _ = server.accept()
            with peer:
                peer.sendall(f"HTTP/{version} 200 OK\r\n\r\nfirst".encode())
                eventually(lambda: response.chunks)
                assert reader._thread.is_alive()
                reader.__exit__()
                reader._thread.join(30)
                assert not reader._thread.is_alive()
    assert response.body == b"first"
    assert response.is_open  # we closed it


def test_response_without_its_last_chunk_is_incomplete():
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = Endpoint.parse(f"http://127.0.0.1:{server.getsockname()[1]}")
        reader = ResponseReader(endpoint, "/", {}, idle_seconds=30)
        with reader as response:
            peer, _ = server.accept()
            with peer:
                peer.recv(65536)
                head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                peer.sendall(head + b"5\r\nfirst\r\n")
            eventually(lambda: not response.is_open)
    assert "IncompleteRead" in response.error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConnectionRefusedError(), "nothing listens on this port"),
        (socket.gaierror(), "the host name cannot be resolved"),
        (TimeoutError(), "no answer in time"),
        (OSError(), "OSError"),
    ],
)
def test_connection_errors_are_described(error, text):
    assert describe(error).startswith(text)


# The checks of the stream


def test_later_state_counts_for_one_that_the_throttle_skipped():
    result = result_of(state(0, 0.1), state(2, 2.2))
    delays = result.delays(result.plain)
    assert delays == {0: pytest.approx(0.1), 1: pytest.approx(1.2), 2: pytest.approx(0.2)}
    assert delivery.buffering(result).level is Level.OK


@pytest.mark.parametrize(
    ("pieces", "evidence"),
    [
        ([state(0, 9.0), state(1, 9.0), state(2, 9.0)], "arrived together"),
        ([state(0, 0.1), state(1, 1.1), state(2, 9.0)], "7.0 s after it was written"),
        ([state(0, 0.1), state(1, 1.1)], "1 of 3 states never arrived"),
    ],
)
def test_late_states_are_buffering(pieces, evidence):
    found = delivery.buffering(result_of(*pieces))
    assert found.level is Level.PROBLEM
    assert evidence in found.evidence


def closed_at(at: float, *pieces: tuple[float, bytes]) -> ProbeResult:
    result = result_of(*pieces)
    result.plain.error, result.plain.ended_at = "cut", at
    return result


def test_stream_that_closes_early_is_a_timeout_and_not_buffering():
    result = closed_at(1.9, state(0, 0.1), state(1, 1.1))
    assert delivery.buffering(result).level is Level.OK
    found = delivery.keepalive(result)
    assert found.level is Level.PROBLEM
    assert "closed after 0.8 s of silence" in found.evidence


def test_stream_that_the_application_ends_is_no_fault_of_a_proxy():
    result = closed_at(
        2.5, state(0, 0.1), (0.1, b"retry: 4000\n\n"), state(2, 2.1), (2.5, b"retry: 700\n\n")
    )
    assert delivery.keepalive(result).level is Level.WARNING


def test_silence_without_a_keepalive_is_a_problem(settings):
    settings.INGESTION_PROGRESS_KEEPALIVE_SECONDS = 1.0
    pieces = [state(0, 0.1), state(1, 1.1), state(2, 2.1)]
    settings.INGESTION_PROGRESS_POLL_INTERVAL_SECONDS = 0.2
    waited = {"silent_since": 3.0, "completed_at": 5.8}
    assert "none in 2.7 s" in delivery.keepalive(result_of(*pieces, **waited)).evidence
    pieces.append((4.0, b": keepalive\n\n"))
    assert delivery.keepalive(result_of(*pieces, **waited)).level is Level.OK


def test_states_without_ids_are_counted():
    result = result_of(state(0, 0.1), (1.0, state(1, 1.0)[1].replace(b"id:", b"x:")))
    assert "1 of 2" in delivery.ids(result).evidence


@pytest.mark.parametrize(
    ("encoding", "packed", "evidence"),
    [
        (
            "gzip",
            [(0.1, gzip.compress(state(step, 0)[1])) for step in range(3)],
            "separate gzip member",
        ),
        ("gzip", [(9.0, gzip.compress(b"".join(state(n, 0)[1] for n in range(3))))], "9.0 s late"),
        ("gzip", [(0.1, b"garbage")], "unreadable"),
        ("br", [], "br"),
    ],
)
def test_compression_that_delays_or_loses_events_is_a_problem(encoding, packed, evidence):
    result = result_of(state(0, 0.1), state(2, 2.1))
    result.gzipped = Response(headers=[*STREAM, ("Content-Encoding", encoding)], chunks=packed)
    found = delivery.compression(result)
    assert found.level is Level.PROBLEM
    assert evidence in found.evidence


@pytest.mark.parametrize(("is_compressed", "level"), [(True, Level.OK), (False, Level.WARNING)])
def test_gzip_by_the_application_is_right(settings, is_compressed, level):
    settings.INGESTION_PROGRESS_COMPRESSED = is_compressed
    member, pieces = GzipMember(), []
    for step in range(3):
        at, body = state(step, step + 0.1)
        pieces.append((at, member.add(body, deflate(body))))
    result = result_of(state(0, 0.1), state(2, 2.1))
    result.gzipped = Response(headers=[*STREAM, ("Content-Encoding", "gzip")], chunks=pieces)

    assert delivery.compression(result).level is level


def test_compression_without_a_request_for_it_is_a_problem():
    result = result_of()
    result.plain.headers = [*STREAM, ("Content-Encoding", "gzip")]
    assert "did not ask" in delivery.compression(result).evidence


@pytest.mark.parametrize(
    ("ended_at", "error", "evidence"),
    [(0.0, "", "still open"), (3.4, "reset", "cut off: reset"), (3.4, "", "closed after 0.50 s")],
)
def test_end_of_the_stream_is_reported(ended_at, error, evidence):
    complete = (3.0, b"event: complete\ndata: {}\n\n")
    result = result_of(state(0, 0.1), complete, completed_at=2.9)
    result.plain.ended_at, result.plain.error = ended_at, error
    assert evidence in delivery.ending(result).evidence


def test_stream_that_never_completes_is_a_problem():
    assert delivery.ending(result_of(state(0, 0.1), completed_at=2.9)).level is Level.PROBLEM


# Where a fault arises


def report_of(url: str, *findings: Finding, server: str = "") -> EndpointReport:
    """All findings are of the check of buffering."""
    named = (dataclasses.replace(f, check="buffering", title="Not buffered") for f in findings)
    return EndpointReport(url=url, server=server, via="", findings=tuple(named))


@pytest.mark.parametrize(
    ("inner", "sentence"),
    [
        ([ok("")], "right at http://b, wrong at http://a. Correct the server at http://a,"),
        (
            [problem("", ""), ok("")],
            "right at http://c, wrong at http://b. Correct the server at http://b,",
        ),
        ([problem("", "")] * 2, "wrong at http://c itself"),
        ([skip("")], "http://b could not be compared"),
    ],
)
def test_fault_is_located_where_the_next_endpoint_is_right(inner, sentence):
    reports = [report_of("http://a", problem("", ""))]
    reports += [
        report_of(url, found) for url, found in zip(("http://b", "http://c"), inner, strict=False)
    ]
    (sentence_shown,) = origins(reports)
    assert sentence in sentence_shown


@pytest.mark.parametrize(
    ("plain", "level", "evidence", "fix"),
    [
        (refusal("too_many_streams"), Level.PROBLEM, "too_many_streams: No.", "MAX_STREAMS"),
        (refusal("of_another_day"), Level.PROBLEM, "of_another_day: No.", "log of the application"),
        (Response(status=200, headers=[*STREAM, GZIP]), Level.SKIPPED, "compressed", ""),
        (Response(), Level.PROBLEM, "no event arrived", "buffering"),
        (
            Response(status=404, headers=[("Content-Type", "text/html")]),
            Level.PROBLEM,
            "404",
            "log",
        ),
    ],
    ids=["known refusal", "other refusal", "compressed", "silence", "a page"],
)
def test_job_that_did_not_arrive_is_reported_with_the_reason(plain, level, evidence, fix):
    found = delivery.job(dataclasses.replace(result_of(), plain=plain))
    assert found.level is level
    assert evidence in found.evidence
    assert fix in found.fix


@pytest.mark.parametrize(
    ("resumed", "queried", "level", "evidence"),
    [
        (204, 204, Level.OK, "arrives"),
        (200, 204, Level.PROBLEM, "Last-Event-ID does not arrive: 200"),
        (200, 200, Level.PROBLEM, "with the header and with the URL"),
        (0, 0, Level.PROBLEM, "cut off instead of 204"),
    ],
)
def test_reconnect_that_is_not_answered_by_204_is_a_problem(resumed, queried, level, evidence):
    result = result_of(
        state(1, 1.0),
        resumed_by_header=Response(status=resumed, error="cut off"),
        resumed_by_query=Response(status=queried),
    )
    found = delivery.resume(result)
    assert found.level is level
    assert evidence in found.evidence
    assert (reach.query(result).level is Level.OK) == (queried == 204)


@pytest.mark.parametrize(
    ("findings", "summary"),
    [
        ([ok("")], "Problems: 0, warnings: 0."),
        ([warning("", ""), ok("")], "Problems: 0, warnings: 1."),
        ([problem("", "do so"), problem("", "")], "Problems: 2, warnings: 0."),
    ],
)
def test_report_ends_with_the_number_of_faults(findings, summary):
    out = io.StringIO()
    report.show([report_of("http://a", *findings)], Console(file=out, width=100))
    assert summary in out.getvalue()


def test_no_control_character_of_a_server_reaches_the_terminal():
    out, evil = io.StringIO(), "\x1b[2J\x9b31m\r\nnginx\a"
    reports = [report_of("http://a", problem(evil, evil), server=evil), report_of("http://b")]
    report.show(reports, Console(file=out, width=100))
    assert out.getvalue().count("nginx") == 3
    assert set(filterfalse(str.isprintable, out.getvalue() + report.as_json(reports))) == {"\n"}


def test_single_endpoint_is_not_compared():
    assert origins([report_of("http://a", problem("", ""))]) == []


# Responses that are not the application's


def faults(capsys, url: str, *args: str) -> dict[str, dict[str, str]]:
    with pytest.raises(SystemExit, match="1"):
        call_command("doctor", "--json", url, *args)
    findings = json.loads(capsys.readouterr().out)["hops"][0]["findings"]
    return {found["check"]: found for found in findings if found["level"] == "problem"}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("status", "headers", "fix"),
    [
        (301, {"Location": "https://progress.example.org/x?token=secret"}, "redirects to"),
        (400, {}, "ALLOWED_HOSTS"),
        (401, {}, "stream_token"),
        (404, {}, "FORCE_SCRIPT_NAME"),
        (502, {}, "proxy_pass"),
        (200, {}, "Something else"),
        (500, {}, "log"),
    ],
)
def test_response_of_another_server_is_reported_with_a_remedy(
    httpserver, capsys, status, headers, fix
):
    httpserver.expect_request(re.compile("/")).respond_with_data(
        "<html>", status=status, headers=headers, content_type="text/html"
    )
    (found,) = faults(capsys, httpserver.url_for("/")).values()
    assert found["check"] == "application"
    assert str(status) in found["evidence"]
    assert "secret" not in found["evidence"]
    assert fix in found["fix"]


@pytest.mark.django_db
@pytest.mark.parametrize("prefix", ["", "/below"])
def test_address_with_the_path_of_the_urlconf_gets_the_address_without(
    httpserver, capsys, settings, prefix
):
    settings.ROOT_URLCONF = "tests.support.mounted_urls"
    httpserver.expect_request(re.compile("/")).respond_with_data("<html>", status=404)
    base = httpserver.url_for(prefix)
    (found,) = faults(capsys, f"{base}/progress/").values()
    assert f"below progress/, and the doctor adds that: give {base} instead." in found["fix"]
    (found,) = faults(capsys, base or httpserver.url_for("")).values()
    assert "FORCE_SCRIPT_NAME" in found["fix"]


@pytest.mark.django_db
def test_address_where_nothing_listens_is_reported(capsys):
    (found,) = faults(capsys, f"http://127.0.0.1:{free_port()}").values()
    assert found["check"] == "reachable"
    assert found["evidence"] == "nothing listens on this port"


@pytest.mark.django_db
def test_invalid_host_name_is_reported(capsys):
    assert "label empty" in faults(capsys, "https://a..b")["reachable"]["evidence"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.django_db
def test_steps_are_shown_on_a_terminal(capsys):
    terminal = Terminal()
    with pytest.raises(SystemExit):
        call_command("doctor", f"http://127.0.0.1:{free_port()}", stderr=terminal)
    assert terminal.getvalue() == "… requesting a stream at each address\n"
    assert "✗ Reachable nothing listens on this port" in capsys.readouterr().out


@pytest.mark.django_db
def test_port_without_tls_is_reported(httpserver, capsys):
    url = httpserver.url_for("").replace("http:", "https:")
    assert "no TLS" in faults(capsys, url)["reachable"]["evidence"]


# The probe job


@pytest.mark.django_db(transaction=True)
@pytest.mark.database
def test_interrupt_while_the_job_is_being_started_removes_it():
    def interrupt(**signal_arguments: object) -> None:
        post_save.disconnect(interrupt, sender=Job)
        os.kill(os.getpid(), signal.SIGINT)
        eventually(lambda: not background_writer._inbox.empty())  # the process is leaving the block

    post_save.connect(interrupt, sender=Job)
    with pytest.raises(KeyboardInterrupt), ProbeJob() as job:
        job.start()
    background_writer.stop()
    assert not Job.objects.exists()
