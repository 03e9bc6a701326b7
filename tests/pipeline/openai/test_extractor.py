"""What is taken from the answer of a model."""

from __future__ import annotations

from ingestion_progress.pipeline.models import MAX_KEY_LENGTH
from ingestion_progress.pipeline.openai.extractor import (
    MAX_ENTITIES,
    MAX_RELATIONS,
    MAX_TYPE_LENGTH,
    FoundRelation,
    Passage,
    extraction_of,
)


def passage(*entities, relations=()):
    stated = [
        FoundRelation(source=source, type=kind, target=target) for source, kind, target in relations
    ]
    return extraction_of(Passage(entities=list(entities), relations=stated))


def test_names_that_differ_in_case_or_spaces_are_one_entity():
    found = passage(
        "Acme  Ltd", "acme ltd", " Ada\n", relations=[("ADA", " works  for", "ACME LTD")]
    )
    assert found.entities == {"acme ltd": "Acme Ltd", "ada": "Ada"}
    assert found.relations == (("acme ltd", "ada"),)
    assert found.types == {("ada", "acme ltd"): "works for"}


def test_both_directions_of_a_pair_are_one_relation_with_two_types():
    found = passage(
        "a", "b", relations=[("b", "owns", "a"), ("a", "owes", "b"), ("a", "likes", "b")]
    )
    assert found.relations == (("a", "b"),)
    assert found.types == {("b", "a"): "owns", ("a", "b"): "owes"}


def test_relations_to_unknown_entities_or_to_themselves_are_left_out():
    found = passage("a", "", " ", relations=[("a", "is", "a"), ("a", "sees", "c"), ("", "is", "a")])
    assert (found.entities, found.relations, found.types) == ({"a": "a"}, (), {})


def test_what_a_model_invents_without_end_is_bounded():
    names = [f"name {number}" for number in range(100)]
    pairs = [(a, "x" * 500, b) for a in names for b in names]
    found = passage("x" * 999, *names, relations=pairs)
    assert len(found.entities) == MAX_ENTITIES
    assert len(found.types) == MAX_RELATIONS
    assert max(map(len, found.types.values())) == MAX_TYPE_LENGTH
    assert max(map(len, found.entities.values())) <= MAX_KEY_LENGTH


def test_letters_that_databases_refuse_are_left_out():
    assert passage("a\0b \ud800").entities == {"ab ?": "ab ?"}
