"""Ingestions whose graph is in a server that speaks the protocol of Neo4j."""

from __future__ import annotations

import logging
import threading
import time

import pytest
from django.core.checks import Warning  # noqa: A004
from django.db import connections

from ingestion_progress.exceptions import JobSuperseded
from ingestion_progress.models import Job
from ingestion_progress.pipeline.checks import check_graph, check_graph_server
from ingestion_progress.pipeline.documents import editions
from ingestion_progress.pipeline.documents.deletion import delete_document
from ingestion_progress.pipeline.exceptions import (
    GraphRefused,
    GraphStoreBusy,
    GraphStoreUnavailable,
)
from ingestion_progress.pipeline.ingestion import ingest
from ingestion_progress.pipeline.models import Document, Edition, Entity
from ingestion_progress.pipeline.search import search
from ingestion_progress.pipeline.stages import Chunk, Extraction
from ingestion_progress.pipeline.stores import graph_store, neo4j_server
from ingestion_progress.pipeline.stores.neo4j_graph import Neo4jGraph
from tests.pipeline.test_ingestion import ingested, queued
from tests.support.bolt import PASSWORD, BoltServer, empty_server  # noqa: F401
from tests.support.documents import storage  # noqa: F401

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("storage"),
    pytest.mark.once,
]

TEXT = b"The honey bees of the old garden collect nectar. The old garden has a beehive."
ALL = "MATCH (e:Entity) OPTIONAL MATCH (e)-[r]->() RETURN count(DISTINCT e) AS e, count(r) AS r"


def test_a_document_is_ingested_searched_replaced_and_deleted(neo4j: BoltServer, client, settings):
    settings.INGESTION_PROGRESS_PUBLIC = True
    job = ingested(TEXT, "a.txt")
    assert job.status == "succeeded"
    assert Entity.objects.count() == 0
    assert neo4j.run(ALL) == [{"e": job.entities_total, "r": job.relations_total}]
    assert job.neo4j_writes == job.entities_total + job.relations_total > 3
    (hit,) = search("nectar")
    assert hit.entities
    assert hit.relations
    path = f"/api/v1/documents/{job.document_id}"
    shown = client.get(path).json()
    assert (shown["entities"], shown["relations"]) == (job.entities_total, job.relations_total)
    listed = client.get(f"{path}/entities").json()
    assert listed["total"] == len(listed["items"]) == job.entities_total
    newer = ingested(TEXT + b" Wasps make paper.", "a.txt")
    assert neo4j.run(ALL) == [{"e": newer.entities_total, "r": newer.relations_total}]
    delete_document(job.document_id)
    assert neo4j.run(ALL) == [{"e": 0, "r": 0}]


def in_thread(job: Job) -> threading.Thread:
    def work() -> None:
        try:
            ingest(job.pk)
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_an_outage_of_the_server_costs_no_chunk(neo4j: BoltServer):
    job = queued(TEXT, "a.txt")
    assert Neo4jGraph().count("a", "b").entities == 0  # a pooled connection, which breaks
    neo4j.stop()
    try:
        thread = in_thread(job)
        while not Job.objects.filter(pk=job.pk, waiting_for="the graph store").exists():
            time.sleep(0.02)
    finally:
        neo4j.start()
    thread.join()
    job.refresh_from_db()
    assert (job.status, job.attempt, job.error_count) == ("succeeded", 1, 0)
    assert job.waiting_for == ""
    assert neo4j.run(ALL) == [{"e": job.entities_total, "r": job.relations_total}]
    assert job.entities_total > 0


def test_errors_say_which_setting_and_show_no_secret(
    neo4j: BoltServer, settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(neo4j_server, "RETRY_SECONDS", 0.1)
    settings.INGESTION_PROGRESS_NEO4J_PASSWORD = "s3cret-but-wrong"
    with pytest.raises(GraphStoreUnavailable, match="NEO4J_PASSWORD") as refused:
        Neo4jGraph().count("d", "epoch")
    assert not isinstance(refused.value, GraphStoreBusy)
    (warning,) = check_graph_server()
    assert (type(warning), warning.id) == (Warning, "ingestion_pipeline.W003")
    settings.INGESTION_PROGRESS_NEO4J_PASSWORD = PASSWORD
    assert list(check_graph_server()) == []
    settings.INGESTION_PROGRESS_NEO4J_URL = "bolt://127.0.0.1:9"
    with pytest.raises(GraphStoreBusy, match="NEO4J_URL"):
        Neo4jGraph().count("d", "epoch")
    assert "s3cret-but-wrong" not in caplog.text
    assert PASSWORD not in caplog.text


def test_a_value_that_the_server_refuses_is_no_outage(neo4j: BoltServer):
    with pytest.raises(GraphRefused, match="SyntaxError"):
        neo4j_server.read(lambda transaction: transaction.run("RETURN").consume())


def test_a_write_that_was_committed_without_an_answer_is_counted(
    neo4j: BoltServer, monkeypatch: pytest.MonkeyPatch
):
    Document.objects.create(id="d", name="a.txt", size_bytes=1)
    Edition.objects.create(document_id="d", epoch="epoch", job_id="job")
    writer = graph_store().writer("d", "job", "epoch")
    chunk = Chunk(key="c-1", text="")
    writer.write([(chunk, Extraction({"bee": "Bee"}))])
    write = neo4j_server.write

    def broken(work):
        write(work)
        raise GraphStoreBusy

    wasps = [(chunk, Extraction({"wasp": "Wasp", "paper": "paper"}, (("paper", "wasp"),)))]
    with monkeypatch.context() as patched:
        patched.setattr(neo4j_server, "write", broken)
        with pytest.raises(GraphStoreBusy):
            writer.write(wasps)
    writes = writer.write(wasps)
    assert (writes.entities, writes.relations) == (2, 1)


def test_a_write_into_an_edition_that_was_discarded_meanwhile_leaves_nothing(
    neo4j: BoltServer, monkeypatch: pytest.MonkeyPatch
):
    Document.objects.create(id="d", name="a.txt", size_bytes=1)
    Edition.objects.create(document_id="d", epoch="epoch", job_id="job")
    writer = graph_store().writer("d", "job", "epoch")
    write = neo4j_server.write

    def late(work):
        monkeypatch.undo()
        Edition.objects.update(job_id="")
        editions.settle("d", "job", "epoch")
        return write(work)

    monkeypatch.setattr(neo4j_server, "write", late)
    with pytest.raises(JobSuperseded):
        writer.write([(Chunk(key="c-1", text=""), Extraction({"bee": "Bee"}))])
    assert neo4j.run(ALL) == [{"e": 0, "r": 0}]


def test_settings_that_cannot_work_are_errors(settings):
    assert list(check_graph()) == []
    settings.INGESTION_PROGRESS_NEO4J_URL = "http://user:s3cret@localhost:7474"
    (error,) = check_graph()
    assert error.id == "ingestion_pipeline.E008"
    assert "bolt" in error.hint
    assert "s3cret" not in str(error)
