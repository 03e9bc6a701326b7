"""What the doctor concludes from what it saw; the way itself is in `test_doctor`."""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import os
import re
import signal
import socket

import pytest
from django.core.management import CommandError, call_command
from django.db.models.signals import post_save
from rich.console import Console

from ingestion_progress.management.doctor import deliveries, report, resumptions
from ingestion_progress.management.doctor.endpoints import InvalidAddress, hop_behind, public_hop
from ingestion_progress.management.doctor.findings import Check, Finding, Level
from ingestion_progress.management.doctor.http import (
    End,
    Reader,
    Reading,
    Request,
    describe,
)
from ingestion_progress.management.doctor.observations import Observation, lateness
from ingestion_progress.management.doctor.probe_job import MarkedJob
from ingestion_progress.management.doctor.sse import arrivals, has_several_members
from ingestion_progress.management.doctor.verdicts import Verdict, origins
from ingestion_progress.models import Job
from ingestion_progress.tracker.writer import background_writer
from ingestion_progress.wire.gzip import GzipMember, deflate
from tests.support.servers import free_port
from tests.support.tracking import eventually

STREAM = [("Content-Type", "text/event-stream")]
GZIP = ("Content-Encoding", "gzip")
PATH = "/api/v1/admin/ingestion/jobs/job-1/progress"


def state(step: int, at: float) -> tuple[float, bytes]:
    data = json.dumps({"stages": {"examination": {"processed": step}}})
    return at, f"event: pipeline_progress\nid: e-{step}\ndata: {data}\n\n".encode()


def observation(*pieces: tuple[float, bytes], **fields) -> Observation:
    """Of a stream whose steps were written at 0, 1 and 2 seconds."""
    plain = Reading(status=200, headers=STREAM, pieces=list(pieces))
    written = {0: 0.0, 1: 1.0, 2: 2.0}
    hop = public_hop("https://progress.example.org")
    return Observation(hop=hop, greeting=Reading(), plain=plain, written=written, **fields)


def refusal(code: str) -> Reading:
    body = f'event: error\ndata: {{"message": "No.", "code": "{code}"}}\n\n'
    return Reading(status=200, headers=STREAM, pieces=[(1.0, body.encode())])


# Addresses


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://progress.example.org", PATH),
        ("https://progress.example.org/", PATH),
        ("http://10.0.0.7:8000/some/where/", f"/some/where{PATH}"),
    ],
)
def test_path_below_which_the_site_lies_is_kept(url, path):
    assert public_hop(url).stream_path("job-1") == path


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
def test_what_is_not_the_address_of_a_site_is_refused(url):
    with pytest.raises(InvalidAddress):
        public_hop(url)
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
def test_hop_behind_is_asked_as_its_proxy_would(front, host, scheme):
    hop = hop_behind("http://127.0.0.1:8000", public_hop(front))
    assert hop.headers == {"Host": host, "X-Forwarded-Proto": scheme}
    assert not hop.is_public


# Reading


def test_event_arrives_with_the_piece_that_ends_it():
    reading = Reading(
        pieces=[(1.0, b"event: a\nid: 7\nda"), (2.0, b'ta: {"x": 1}\n'), (3.0, b"\n")]
    )
    (event,) = arrivals(reading)
    assert (event.at, event.name, event.id, event.data) == (3.0, "a", "7", {"x": 1})


def test_comments_are_seen_and_retry_is_no_event():
    pieces = [(1.0, b": keepalive\n\nretry: 500\n\n"), (2.0, b"data: no json\r\n\r\n")]
    assert [(event.name, event.data) for event in arrivals(Reading(pieces=pieces))] == [
        (":", {}),
        ("message", {}),
    ]


def test_of_several_gzip_files_the_first_is_read_as_browsers_do():
    packed = [(at, gzip.compress(body)) for at, body in (state(0, 1.0), state(1, 2.0))]
    reading = Reading(headers=[("Content-Encoding", "gzip")], pieces=packed)
    assert len(arrivals(reading)) == 1
    assert has_several_members(reading)


@pytest.mark.parametrize("encoding", ["gzip", "br"])
def test_what_cannot_be_unpacked_has_no_events(encoding):
    reading = Reading(headers=[("Content-Encoding", encoding)], pieces=[state(0, 1.0)])
    assert arrivals(reading) == []
    assert not has_several_members(reading)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_reader_of_a_silent_answer_can_be_stopped(version):
    with socket.create_server(("127.0.0.1", 0)) as server:
        hop = public_hop(f"http://127.0.0.1:{server.getsockname()[1]}")
        reader = Reader(hop, Request(path="/"), idle_seconds=30)
        reader.start()
        peer, _ = server.accept()
        with peer:
            peer.sendall(f"HTTP/{version} 200 OK\r\n\r\nfirst".encode())
            while not reader.reading.pieces:
                assert not reader.wait(0.01)
            reader.stop()
            assert reader.wait(5)
    assert reader.reading.body == b"first"
    assert reader.reading.end is End.NOT_YET  # it was us


def test_answer_without_its_last_chunk_is_cut():
    with socket.create_server(("127.0.0.1", 0)) as server:
        hop = public_hop(f"http://127.0.0.1:{server.getsockname()[1]}")
        reader = Reader(hop, Request(path="/"), idle_seconds=30)
        reader.start()
        peer, _ = server.accept()
        with peer:
            peer.recv(65536)
            peer.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
    assert reader.wait(5)
    assert reader.reading.end is End.CUT


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConnectionRefusedError(), "nothing listens there"),
        (socket.gaierror(), "its name cannot be resolved"),
        (TimeoutError(), "it did not answer in time"),
        (OSError(), "OSError"),
    ],
)
def test_errors_of_connections_have_words(error, text):
    assert describe(error).startswith(text)


# Judging deliveries


def test_later_state_stands_for_one_that_the_throttle_left_out():
    seen = observation(state(0, 0.1), state(2, 2.2))
    late = lateness(seen.plain, seen.written)
    assert late == {0: pytest.approx(0.1), 1: pytest.approx(1.2), 2: pytest.approx(0.2)}
    assert deliveries.buffering(seen).level is Level.OK


@pytest.mark.parametrize(
    ("pieces", "evidence"),
    [
        ([state(0, 9.0), state(1, 9.0), state(2, 9.0)], "came together"),
        ([state(0, 0.1), state(1, 1.1), state(2, 9.0)], "7.0 s after it was written"),
        ([state(0, 0.1), state(1, 1.1)], "1 of 3 states never came"),
    ],
)
def test_late_states_are_buffering(pieces, evidence):
    found = deliveries.buffering(observation(*pieces))
    assert found.level is Level.PROBLEM
    assert evidence in found.evidence


def closed_at(at: float, *pieces: tuple[float, bytes]) -> Observation:
    seen = observation(*pieces)
    seen.plain.end, seen.plain.ended_at = End.CUT, at
    return seen


def test_stream_that_is_closed_early_is_a_timeout_and_not_buffering():
    seen = closed_at(1.9, state(0, 0.1), state(1, 1.1))
    assert deliveries.buffering(seen).level is Level.OK
    found = deliveries.keepalive(seen)
    assert found.level is Level.PROBLEM
    assert "closed after 0.8 s of silence" in found.evidence


def test_parting_by_the_application_is_no_fault_of_a_proxy():
    seen = closed_at(
        2.5, state(0, 0.1), (0.1, b"retry: 4000\n\n"), state(2, 2.1), (2.5, b"retry: 700\n\n")
    )
    assert deliveries.keepalive(seen).level is Level.WARNING


def test_silence_without_a_keepalive_is_a_problem(settings):
    settings.INGESTION_PROGRESS_KEEPALIVE_SECONDS = 1.0
    pieces = [state(0, 0.1), state(1, 1.1), state(2, 2.1)]
    waited = {"silent_since": 3.0, "silence_over_at": 5.5, "completed_at": 5.6}
    assert "no keepalive in 2.5 s" in deliveries.keepalive(observation(*pieces, **waited)).evidence
    pieces.append((4.0, b": keepalive\n\n"))
    assert deliveries.keepalive(observation(*pieces, **waited)).level is Level.OK


def test_states_without_ids_are_counted():
    seen = observation(state(0, 0.1), (1.0, state(1, 1.0)[1].replace(b"id:", b"x:")))
    assert "1 of 2" in deliveries.ids(seen).evidence


@pytest.mark.parametrize(
    ("encoding", "packed", "evidence"),
    [
        ("gzip", [(0.1, gzip.compress(state(step, 0)[1])) for step in range(3)], "of its own"),
        ("gzip", [(9.0, gzip.compress(b"".join(state(n, 0)[1] for n in range(3))))], "9.0 s late"),
        ("gzip", [(0.1, b"garbage")], "unreadable"),
        ("br", [], "br"),
    ],
)
def test_compression_that_hurts_is_a_problem(encoding, packed, evidence):
    seen = observation(state(0, 0.1), state(2, 2.1))
    seen.packed = Reading(headers=[*STREAM, ("Content-Encoding", encoding)], pieces=packed)
    found = deliveries.compression(seen)
    assert found.level is Level.PROBLEM
    assert evidence in found.evidence


@pytest.mark.parametrize(("is_compressed", "level"), [(True, Level.OK), (False, Level.WARNING)])
def test_gzip_is_right_if_it_is_the_applications(settings, is_compressed, level):
    settings.INGESTION_PROGRESS_COMPRESSED = is_compressed
    member, pieces = GzipMember(), []
    for step in range(3):
        at, body = state(step, step + 0.1)
        pieces.append((at, member.add(body, deflate(body))))
    seen = observation(state(0, 0.1), state(2, 2.1))
    seen.packed = Reading(headers=[*STREAM, ("Content-Encoding", "gzip")], pieces=pieces)

    assert deliveries.compression(seen).level is level


def test_compression_that_nobody_asked_for_is_a_problem():
    seen = observation()
    seen.plain.headers = [*STREAM, ("Content-Encoding", "gzip")]
    assert "did not ask" in deliveries.compression(seen).evidence


@pytest.mark.parametrize(
    ("end", "evidence"),
    [(End.NOT_YET, "still open"), (End.CUT, "cut off"), (End.WHOLE, "closed after 0.50 s")],
)
def test_end_of_the_stream_is_the_applications(end, evidence):
    complete = (3.0, b"event: complete\ndata: {}\n\n")
    seen = observation(state(0, 0.1), complete, completed_at=2.9)
    seen.plain.end = end
    seen.plain.ended_at = 0.0 if end is End.NOT_YET else 3.4
    assert evidence in deliveries.ending(seen).evidence


def test_stream_that_never_completes_is_a_problem():
    assert deliveries.ending(observation(state(0, 0.1), completed_at=2.9)).level is Level.PROBLEM


# Between hops

BUFFERING = Check("buffering", "Handed on at once")


def verdict(url: str, *findings: Finding) -> Verdict:
    return Verdict(hop=public_hop(url), server="", via="", findings=findings)


@pytest.mark.parametrize(
    ("inner", "sentence"),
    [
        ([BUFFERING.ok("")], "http://b is right; what answers at http://a"),
        (
            [BUFFERING.problem("", ""), BUFFERING.ok("")],
            "http://c is right; what answers at http://b",
        ),
        ([BUFFERING.problem("", "")] * 2, "at http://c itself"),
        ([BUFFERING.skipped("")], "http://b could not be compared"),
    ],
)
def test_fault_is_where_the_next_hop_is_right(inner, sentence):
    hops = [verdict("http://a", BUFFERING.problem("", ""))]
    hops += [
        verdict(url, found) for url, found in zip(("http://b", "http://c"), inner, strict=False)
    ]
    (said,) = origins(hops)
    assert sentence in said


@pytest.mark.parametrize(
    ("plain", "level", "evidence", "fix"),
    [
        (refusal("too_many_streams"), Level.PROBLEM, "too_many_streams: No.", "MAX_STREAMS"),
        (refusal("of_another_day"), Level.PROBLEM, "of_another_day: No.", "log of the application"),
        (Reading(status=200, headers=[*STREAM, GZIP]), Level.SKIPPED, "compressed", ""),
        (Reading(), Level.PROBLEM, "nothing of it came", "buffering"),
        (Reading(status=404, headers=[("Content-Type", "text/html")]), Level.PROBLEM, "404", "log"),
    ],
    ids=["known refusal", "other refusal", "compressed", "silence", "a page"],
)
def test_job_that_was_not_seen_comes_with_the_reason(plain, level, evidence, fix):
    found = deliveries.job(dataclasses.replace(observation(), plain=plain))
    assert found.level is level
    assert evidence in found.evidence
    assert fix in found.fix


@pytest.mark.parametrize(
    ("resumed", "queried", "level", "evidence"),
    [
        (204, 204, Level.OK, "arrives"),
        (200, 204, Level.PROBLEM, "is lost on the way"),
        (200, 200, Level.PROBLEM, "with the header and with the URL"),
        (0, 0, Level.PROBLEM, "cut off instead of 204"),
    ],
)
def test_return_that_is_not_told_apart_is_a_problem(resumed, queried, level, evidence):
    seen = observation(
        state(1, 1.0),
        resumed=Reading(status=resumed, error="cut off"),
        queried=Reading(status=queried),
    )
    found = resumptions.resume(seen)
    assert found.level is level
    assert evidence in found.evidence
    assert (resumptions.query(seen).level is Level.OK) == (queried == 204)


@pytest.mark.parametrize(
    ("findings", "summary"),
    [
        ([BUFFERING.ok("")], "All is well."),
        ([BUFFERING.warning("", ""), BUFFERING.ok("")], "No problem, 1 warning."),
        ([BUFFERING.problem("", "do so"), BUFFERING.problem("", "")], "2 problems, 0 warnings."),
    ],
)
def test_report_ends_with_how_much_was_found(findings, summary):
    out = io.StringIO()
    report.show([verdict("http://a", *findings)], Console(file=out, width=100))
    assert summary in out.getvalue()


def test_single_hop_is_not_compared():
    assert origins([verdict("http://a", BUFFERING.problem("", ""))]) == []


# Answers of something else, over HTTP


def faults(capsys, url: str, *args: str) -> dict[str, dict[str, str]]:
    with pytest.raises(SystemExit, match="1"):
        call_command("doctor", "--json", url, *args)
    findings = json.loads(capsys.readouterr().out)["hops"][0]["findings"]
    return {found["check"]: found for found in findings if found["level"] == "problem"}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("status", "headers", "fix"),
    [
        (301, {"Location": "https://progress.example.org/x?token=secret"}, "leads to"),
        (400, {}, "ALLOWED_HOSTS"),
        (401, {}, "stream_token"),
        (404, {}, "FORCE_SCRIPT_NAME"),
        (502, {}, "proxy_pass"),
        (200, {}, "Something else"),
        (500, {}, "log"),
    ],
)
def test_answer_of_something_else_comes_with_what_to_set(httpserver, capsys, status, headers, fix):
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
def test_address_with_the_path_of_the_urlconf_is_to_be_given_without(
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
def test_address_where_nothing_listens_is_said(capsys):
    (found,) = faults(capsys, f"http://127.0.0.1:{free_port()}").values()
    assert found["check"] == "reachable"
    assert found["evidence"] == "nothing listens there"


@pytest.mark.django_db
def test_name_that_no_host_can_have_is_said(capsys):
    assert "label empty" in faults(capsys, "https://a..b")["reachable"]["evidence"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.django_db
def test_person_is_told_what_is_being_done(capsys):
    terminal = Terminal()
    with pytest.raises(SystemExit):
        call_command("doctor", f"http://127.0.0.1:{free_port()}", stderr=terminal)
    assert terminal.getvalue() == "… asking each hop for a stream\n"
    assert "✗ Reachable nothing listens there" in capsys.readouterr().out


@pytest.mark.django_db
def test_plain_port_asked_for_tls_is_said(httpserver, capsys):
    url = httpserver.url_for("").replace("http:", "https:")
    assert "no TLS" in faults(capsys, url)["reachable"]["evidence"]


# The marked job


@pytest.mark.django_db(transaction=True)
@pytest.mark.database
def test_interrupt_while_the_job_is_being_started_removes_it():
    def interrupt(**told: object) -> None:
        post_save.disconnect(interrupt, sender=Job)
        os.kill(os.getpid(), signal.SIGINT)
        eventually(lambda: not background_writer._inbox.empty())  # who waited has other wishes

    post_save.connect(interrupt, sender=Job)
    with pytest.raises(KeyboardInterrupt), MarkedJob() as job:
        job.start()
    background_writer.stop()
    assert not Job.objects.exists()
