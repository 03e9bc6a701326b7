from __future__ import annotations

import threading

import pytest
from django.db import IntegrityError, connections, transaction

from ingestion_progress.pipeline.models import Document, Entity, Relation
from ingestion_progress.pipeline.stages import Chunk, Extraction
from ingestion_progress.pipeline.stores.graph import MAX_MENTIONS, DatabaseGraph

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def document() -> Document:
    return Document.objects.create(id="d", name="bees.md", size_bytes=1)


def chunk(number: int) -> Chunk:
    return Chunk(key=f"c-{number}", text="", page=number)


BEES = Extraction({"bee": "Bee", "honey": "honey"}, (("bee", "honey"),))
WASPS = Extraction({"bee": "bees", "wasp": "Wasp"}, (("bee", "wasp"),))


def test_new_rows_are_counted_and_known_rows_get_a_mention(document: Document):
    graph = DatabaseGraph("d")
    first, second = graph.write(chunk(1), BEES), graph.write(chunk(2), WASPS)
    again = graph.write(chunk(3), BEES)
    assert [(w.entities, w.relations) for w in (first, second, again)] == [(2, 1), (1, 1), (0, 0)]
    bee = Entity.objects.get(key="bee")
    assert bee.name == "Bee"
    assert bee.evidence == [{"chunk": f"c-{n}", "page": n} for n in (1, 2, 3)]
    relation = Relation.objects.get(target__key="honey")
    assert str(relation) == "Bee and honey"
    assert relation.evidence == [{"chunk": f"c-{n}", "page": n} for n in (1, 3)]


def test_clear_deletes_one_document_in_memory_and_database(document: Document):
    other = Document.objects.create(id="e", name="other.md", size_bytes=1)
    DatabaseGraph("e").write(chunk(1), BEES)
    graph = DatabaseGraph("d")
    graph.write(chunk(1), BEES)
    graph.clear()
    assert Entity.objects.filter(document=document).count() == 0
    assert Relation.objects.filter(document=other).count() == 1
    assert graph.write(chunk(1), BEES).entities == 2


def test_rolled_back_rows_are_not_remembered(document: Document):
    graph = DatabaseGraph("d")
    impossible = Extraction({"bee": "Bee"}, (("bee", "bee"),))
    with pytest.raises(IntegrityError), transaction.atomic():
        graph.write(chunk(1), impossible)
    assert Entity.objects.count() == 0
    assert graph.write(chunk(1), BEES).entities == 2


def test_mentions_of_an_entity_are_bounded(document: Document):
    graph = DatabaseGraph("d")
    for number in range(MAX_MENTIONS + 5):
        graph.write(chunk(number), Extraction({"bee": "Bee"}))
    assert len(Entity.objects.get().evidence) == MAX_MENTIONS


@pytest.mark.django_db(transaction=True)
def test_threads_write_one_graph_without_duplicates():
    Document.objects.create(id="d", name="bees.md", size_bytes=1)
    graph = DatabaseGraph("d")
    written: list[int] = []

    def work(first: int) -> None:
        for number in range(first, first + 10):
            keys = [f"k{(number + step) % 7}" for step in range(3)]
            pairs = ((min(keys[:2]), max(keys[:2])),)
            writes = graph.write(chunk(number), Extraction({key: key for key in keys}, pairs))
            written.append(writes.entities + writes.relations)
        connections.close_all()

    threads = [threading.Thread(target=work, args=[n * 10]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(written) == Entity.objects.count() + Relation.objects.count()
    assert Entity.objects.count() == 7
