from __future__ import annotations

import threading
import tracemalloc
from itertools import pairwise

import pytest
from django.db import IntegrityError, connections, transaction

from ingestion_progress.exceptions import JobSuperseded
from ingestion_progress.pipeline.models import Document, Edition, Entity, Relation
from ingestion_progress.pipeline.stages import Chunk, Extraction
from ingestion_progress.pipeline.stores import graph_store
from ingestion_progress.pipeline.stores.database_graph import DatabaseGraphWriter
from ingestion_progress.pipeline.stores.graph import MAX_MENTIONS, GraphStore, GraphWriter
from tests.support.bolt import empty_server  # noqa: F401

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture(params=["database", pytest.param("neo4j", marks=pytest.mark.once)])
def store(request: pytest.FixtureRequest) -> GraphStore:
    """Each test of the contract runs with each store."""
    if request.param == "neo4j":
        request.getfixturevalue("neo4j")
    return graph_store()


@pytest.fixture
def document() -> Document:
    return Document.objects.create(id="d", name="bees.md", size_bytes=1)


def claimed(document_id: str, epoch: str) -> None:
    """As `editions.claim`: from now on this attempt of the job may write."""
    Edition.objects.filter(document_id=document_id).update(is_writable=False)
    Edition.objects.create(document_id=document_id, epoch=epoch, job_id="job")


def writer_of(store: GraphStore, document_id: str = "d", epoch: str = "epoch") -> GraphWriter:
    claimed(document_id, epoch)
    return store.writer(document_id, "job", epoch)


def graph_of(document_id: str, epoch: str = "epoch") -> DatabaseGraphWriter:
    claimed(document_id, epoch)
    return DatabaseGraphWriter(document_id, "job", epoch)


def chunk(number: int) -> Chunk:
    return Chunk(key=f"c-{number}", text="", page=number or None)


BEES = Extraction({"bee": "Bee", "honey": "honey"}, (("bee", "honey"),))
WASPS = Extraction({"bee": "bees", "wasp": "Wasp"}, (("bee", "wasp"),))
ALL = {"offset": 0, "limit": 100}


def content(store: GraphStore, document_id: str = "d", epoch: str = "epoch") -> list[tuple]:
    """Names and pages of what mentions them."""
    entities = store.entities(document_id, epoch, **ALL)
    relations = store.relations(document_id, epoch, **ALL)
    return [(each.name, [m["page"] for m in each.mentions]) for each in entities] + [
        (f"{each.source} and {each.target}", [m["page"] for m in each.mentions])
        for each in relations
    ]


def test_new_rows_are_counted_and_known_rows_get_a_mention(document: Document, store: GraphStore):
    writer = writer_of(store)
    first, second = writer.write([(chunk(1), BEES)]), writer.write([(chunk(2), WASPS)])
    again = writer.write([(chunk(3), BEES), (chunk(0), WASPS)])
    assert [(w.entities, w.relations) for w in (first, second, again)] == [(2, 1), (1, 1), (0, 0)]
    assert store.count("d", "epoch") == first + second
    assert content(store) == [
        ("Bee", [1, 2, 3, None]),
        ("honey", [1, 3]),
        ("Wasp", [2, None]),
        ("Bee and honey", [1, 3]),
        ("Bee and Wasp", [2, None]),
    ]
    assert store.entities("d", "epoch", offset=1, limit=1)[0].mentions == [
        {"chunk": "c-1", "page": 1},
        {"chunk": "c-3", "page": 3},
    ]
    assert [each.target for each in store.relations("d", "epoch", offset=1, limit=5)] == ["Wasp"]


def test_chunk_that_is_written_again_is_mentioned_once(document: Document, store: GraphStore):
    writer = writer_of(store)
    writer.write([(chunk(1), BEES)])
    assert writer.write([(chunk(1), BEES)]).entities == 0
    assert content(store) == [("Bee", [1]), ("honey", [1]), ("Bee and honey", [1])]


def test_chunks_that_are_written_together_are_stored_as_one_by_one(
    document: Document, store: GraphStore, django_assert_max_num_queries
):
    results = [(chunk(number), (BEES, WASPS)[number % 2]) for number in range(40)]
    writer = writer_of(store)
    for result in results:
        writer.write([result])
    writer = writer_of(store, epoch="next")
    with django_assert_max_num_queries(12):
        first = writer.write(results[:20])
    second = writer.write(results[20:])
    assert content(store, epoch="next") == content(store)
    assert (first.entities, first.relations) == (3, 2)
    assert (second.entities, second.relations) == (0, 0)


def test_attempt_that_is_not_the_writer_is_refused(document: Document, store: GraphStore):
    writer = writer_of(store)
    writer.write([(chunk(1), BEES)])
    claimed("d", "next")
    with pytest.raises(JobSuperseded):
        writer.write([(chunk(2), WASPS)])
    assert store.count("d", "epoch").entities == 2


def test_next_attempt_continues_the_graph(document: Document, store: GraphStore):
    writer_of(store).write([(chunk(1), BEES)])
    writer = writer_of(store, epoch="next")
    adopted = writer.adopt(["epoch"])
    assert (adopted.entities, adopted.relations) == (2, 1)
    assert writer.adopt([]) == adopted
    assert writer.write([(chunk(2), WASPS)]).entities == 1
    assert content(store, epoch="next")[0] == ("Bee", [1, 2])


def test_published_graph_is_copied(document: Document, store: GraphStore):
    writer_of(store).write([(chunk(1), BEES), (chunk(2), WASPS)])
    Document.objects.update(published_epoch="epoch")
    before = content(store)
    assert writer_of(store, epoch="next").adopt(["epoch"]).relations == 2
    assert content(store, epoch="next") == content(store) == before


def test_mentions_are_bounded(document: Document, store: GraphStore):
    writer = writer_of(store)
    many = [(chunk(number), Extraction({"wasp": "Wasp"})) for number in range(1, MAX_MENTIONS + 5)]
    writer.write(many)
    writer.write([(chunk(0), Extraction({"wasp": "Wasp"}))])
    assert content(store) == [("Wasp", list(range(1, MAX_MENTIONS + 1)))]


def test_chunks_know_what_they_mention(document: Document, store: GraphStore):
    Document.objects.create(id="other", name="bees.md", size_bytes=1)
    for document_id in ("d", "other"):
        writer_of(store, document_id).write([(chunk(1), BEES), (chunk(2), WASPS)])
    places = [("d", "epoch", "c-1"), ("other", "epoch", "c-2"), ("d", "next", "c-2")]
    found = store.mentioned(places)
    assert [sorted(found.entities.get(place, [])) for place in places] == [
        ["Bee", "honey"],
        ["Bee", "Wasp"],
        [],
    ]
    assert [found.relations.get(place, []) for place in places] == [
        [("Bee", "", "honey")],
        [("Bee", "", "Wasp")],
        [],
    ]
    assert store.mentioned([]).entities == {}


def test_types_of_relations_are_kept_for_each_chunk_and_in_both_directions(
    document: Document, store: GraphStore
):
    names = {"bee": "Bee", "honey": "honey"}
    makes = Extraction(names, (("bee", "honey"),), {("bee", "honey"): "makes"})
    both = Extraction(
        names, (("bee", "honey"),), {("honey", "bee"): "feeds", ("bee", "honey"): "eats"}
    )
    writer = writer_of(store)
    writer.write([(chunk(1), makes), (chunk(2), BEES)])
    writer.write([(chunk(3), both), (chunk(4), makes)])
    for epoch in ("epoch", "next"):
        if epoch == "next":
            assert writer_of(store, epoch=epoch).adopt(["epoch"]).relations == 1
        (relation,) = store.relations("d", epoch, **ALL)
        assert relation.statements == [
            ("Bee", "makes", "honey"),
            ("Bee", "eats", "honey"),
            ("honey", "feeds", "Bee"),
        ]
        places = [("d", epoch, f"c-{number}") for number in (2, 3)]
        found = store.mentioned(places)
        assert [found.relations[place] for place in places] == [
            [("Bee", "", "honey")],
            [("Bee", "eats", "honey"), ("honey", "feeds", "Bee")],
        ]


def test_one_edition_or_all_of_a_document_are_discarded(document: Document, store: GraphStore):
    Document.objects.create(id="other", name="bees.md", size_bytes=1)
    writer_of(store, "other").write([(chunk(1), BEES)])
    for epoch in ("one", "two", "three"):
        writer_of(store, epoch=epoch).write([(chunk(1), BEES)])
    store.discard("d", "one")
    counts = [store.count("d", epoch).relations for epoch in ("one", "two", "three")]
    assert counts == [0, 1, 1]
    store.discard("d")
    store.discard("d")
    assert [store.count("d", epoch).entities for epoch in ("two", "three")] == [0, 0]
    assert store.count("other", "epoch").relations == 1


def test_rolled_back_rows_are_not_remembered(document: Document):
    graph = graph_of("d")
    impossible = Extraction({"bee": "Bee"}, (("bee", "bee"),))
    with pytest.raises(IntegrityError), transaction.atomic():
        graph.write([(chunk(1), impossible)])
    assert Entity.objects.count() == 0
    assert graph.write([(chunk(1), BEES)]).entities == 2


def test_relations_of_copies_are_between_copies(document: Document):
    graph_of("d").write([(chunk(1), BEES)])
    Document.objects.update(published_epoch="epoch")
    graph_of("d", "next").adopt(["epoch"])
    copy = Relation.objects.get(epoch="next")
    assert copy.source.epoch == copy.target.epoch == "next"
    assert str(copy) == "Bee and honey"


@pytest.mark.django_db(transaction=True)
def test_threads_write_one_graph_without_duplicates(store: GraphStore):
    Document.objects.create(id="d", name="bees.md", size_bytes=1)
    claimed("d", "epoch")
    written: list[int] = []

    def work(first: int) -> None:
        writer = shared if first % 20 else store.writer("d", "job", "epoch")
        for number in range(first, first + 10):
            keys = [f"k{(number + step) % 7}" for step in range(3)]
            pairs = ((min(keys[:2]), max(keys[:2])),)
            writes = writer.write([(chunk(number), Extraction({key: key for key in keys}, pairs))])
            written.append(writes.entities + writes.relations)
        connections.close_all()

    shared = store.writer("d", "job", "epoch")
    threads = [threading.Thread(target=work, args=[n * 10]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stored = store.count("d", "epoch")
    assert sum(written) == stored.entities + stored.relations
    assert stored.entities == 7


def test_what_is_written_does_not_stay_in_memory(document: Document):
    """Of a document of any length, a writer holds one batch."""
    writer = graph_of("d")

    def peak(first: int, batches: int) -> int:
        tracemalloc.start()
        for batch in range(first, first + batches):
            names = {f"bee-{batch}-{n}": f"Bee {batch} {n}" for n in range(100)}
            writer.write([(chunk(batch), Extraction(names, tuple(pairwise(sorted(names)))))])
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(0, 2)
    short = peak(2, 5)
    assert peak(7, 40) < 2 * short


def test_most_mentioned_are_first_on_request(document: Document, store: GraphStore):
    writer = writer_of(store)
    writer.write([(chunk(1), BEES), (chunk(2), WASPS)])
    writer.write([(chunk(3), WASPS)])

    def names(**order: bool) -> list[str]:
        return [each.name for each in store.entities("d", "epoch", **ALL, **order)]

    def pairs(**order: bool) -> list[tuple[str, str]]:
        found = store.relations("d", "epoch", **ALL, **order)
        return [(each.source, each.target) for each in found]

    assert names() == ["Bee", "honey", "Wasp"]
    assert names(most_mentioned_first=True) == ["Bee", "Wasp", "honey"]
    assert pairs() == [("Bee", "honey"), ("Bee", "Wasp")]
    assert pairs(most_mentioned_first=True) == [("Bee", "Wasp"), ("Bee", "honey")]
