from __future__ import annotations

import threading

import pytest
from django.db import IntegrityError, connections, transaction

from ingestion_progress.exceptions import JobSuperseded
from ingestion_progress.pipeline.models import Document, Edition, Entity, Relation
from ingestion_progress.pipeline.stages import Chunk, Extraction
from ingestion_progress.pipeline.stores.graph import MAX_MENTIONS, DatabaseGraph

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def document() -> Document:
    return Document.objects.create(id="d", name="bees.md", size_bytes=1)


def graph_of(document_id: str, epoch: str = "epoch") -> DatabaseGraph:
    """The graph of the attempt of the job that may write now."""
    Edition.objects.filter(document_id=document_id).update(is_writable=False)
    Edition.objects.create(document_id=document_id, epoch=epoch, job_id="job")
    return DatabaseGraph(document_id, "job", epoch)


def chunk(number: int) -> Chunk:
    return Chunk(key=f"c-{number}", text="", page=number)


BEES = Extraction({"bee": "Bee", "honey": "honey"}, (("bee", "honey"),))
WASPS = Extraction({"bee": "bees", "wasp": "Wasp"}, (("bee", "wasp"),))


def test_new_rows_are_counted_and_known_rows_get_a_mention(document: Document):
    graph = graph_of("d")
    first, second = graph.write([(chunk(1), BEES)]), graph.write([(chunk(2), WASPS)])
    again = graph.write([(chunk(3), BEES)])
    assert [(w.entities, w.relations) for w in (first, second, again)] == [(2, 1), (1, 1), (0, 0)]
    bee = Entity.objects.get(key="bee")
    assert bee.name == "Bee"
    assert bee.evidence == [{"chunk": f"c-{n}", "page": n} for n in (1, 2, 3)]
    relation = Relation.objects.get(target__key="honey")
    assert str(relation) == "Bee and honey"
    assert relation.evidence == [{"chunk": f"c-{n}", "page": n} for n in (1, 3)]


def test_chunk_that_is_written_again_is_mentioned_once(document: Document):
    graph = graph_of("d")
    graph.write([(chunk(1), BEES)])
    assert graph.write([(chunk(1), BEES)]).entities == 0
    assert [len(row.evidence) for row in Entity.objects.all()] == [1, 1]


def rows() -> set[tuple[str, str, str]]:
    found = [*Entity.objects.all(), *Relation.objects.select_related("source", "target")]
    return {(type(row).__name__, str(row), str(row.evidence)) for row in found}


def test_chunks_that_are_written_together_are_stored_as_one_by_one(
    document: Document, django_assert_max_num_queries
):
    results = [(chunk(number), (BEES, WASPS)[number % 2]) for number in range(40)]
    graph = graph_of("d")
    for result in results:
        graph.write([result])
    apart = rows()
    for model in (Relation, Entity):
        model.objects.all().delete()
    graph = graph_of("d", "next")
    with django_assert_max_num_queries(12):
        first = graph.write(results[:20])
    second = graph.write(results[20:])
    assert rows() == apart
    assert (first.entities, first.relations) == (3, 2)
    assert (second.entities, second.relations) == (0, 0)


def test_attempt_that_is_not_the_writer_is_refused(document: Document):
    graph = graph_of("d")
    graph.write([(chunk(1), BEES)])
    graph_of("d", "next")
    with pytest.raises(JobSuperseded):
        graph.write([(chunk(2), WASPS)])
    assert Entity.objects.count() == 2


def test_next_attempt_continues_the_graph(document: Document):
    graph_of("d").write([(chunk(1), BEES)])
    graph = graph_of("d", "next")
    adopted = graph.adopt(["epoch"])
    assert (adopted.entities, adopted.relations) == (2, 1)
    assert graph.write([(chunk(2), WASPS)]).entities == 1
    assert {row.epoch for row in (*Entity.objects.all(), *Relation.objects.all())} == {"next"}
    assert len(Entity.objects.get(key="bee").evidence) == 2


def test_published_graph_is_copied(document: Document):
    graph_of("d").write([(chunk(1), BEES)])
    Document.objects.update(published_epoch="epoch")
    assert graph_of("d", "next").adopt(["epoch"]).relations == 1
    assert Entity.objects.filter(epoch="epoch").count() == 2
    copy = Relation.objects.get(epoch="next")
    assert copy.source.epoch == copy.target.epoch == "next"


def test_rolled_back_rows_are_not_remembered(document: Document):
    graph = graph_of("d")
    impossible = Extraction({"bee": "Bee"}, (("bee", "bee"),))
    with pytest.raises(IntegrityError), transaction.atomic():
        graph.write([(chunk(1), impossible)])
    assert Entity.objects.count() == 0
    assert graph.write([(chunk(1), BEES)]).entities == 2


def test_mentions_of_an_entity_are_bounded(document: Document):
    graph = graph_of("d")
    for number in range(MAX_MENTIONS + 5):
        graph.write([(chunk(number), Extraction({"bee": "Bee"}))])
    many = [(chunk(number), Extraction({"wasp": "Wasp"})) for number in range(MAX_MENTIONS + 5)]
    graph.write(many)
    assert {len(row.evidence) for row in Entity.objects.all()} == {MAX_MENTIONS}
    assert Entity.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_threads_write_one_graph_without_duplicates():
    Document.objects.create(id="d", name="bees.md", size_bytes=1)
    graph = graph_of("d")
    written: list[int] = []

    def work(first: int) -> None:
        for number in range(first, first + 10):
            keys = [f"k{(number + step) % 7}" for step in range(3)]
            pairs = ((min(keys[:2]), max(keys[:2])),)
            writes = graph.write([(chunk(number), Extraction({key: key for key in keys}, pairs))])
            written.append(writes.entities + writes.relations)
        connections.close_all()

    threads = [threading.Thread(target=work, args=[n * 10]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(written) == Entity.objects.count() + Relation.objects.count()
    assert Entity.objects.count() == 7
