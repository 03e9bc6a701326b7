from __future__ import annotations

import pytest

from ingestion_progress.pipeline.exceptions import UnreadableImage
from ingestion_progress.pipeline.stages import Picture
from ingestion_progress.pipeline.stages.extraction import KeyphraseExtractor, entity_key
from ingestion_progress.pipeline.stages.image_description import MetadataDescriber

TEXT = (
    "The honey bee collects nectar from flowering plants. Worker bees turn nectar into honey "
    "inside the hive. A queen bee lays eggs.\n\nBeekeepers harvest honey in late summer."
)


def test_entities_are_phrases_and_relations_are_within_a_sentence():
    findings = KeyphraseExtractor().extract(TEXT)
    assert 3 <= len(findings.entities) <= 8
    for key, name in findings.entities.items():
        assert entity_key(name) == key
        assert key in entity_key(TEXT)
    sentences = [entity_key(part) for part in TEXT.replace("\n\n", " ").split(". ")]
    assert findings.relations
    for source, target in findings.relations:
        assert source < target
        assert any(source in sentence and target in sentence for sentence in sentences)
    assert len(set(findings.relations)) == len(findings.relations)


@pytest.mark.parametrize(
    ("language", "text", "related"),
    [
        ("de", "Die Lampe, z. B. im Leuchtturm, brennt.", True),
        ("en", "The Lamp of Dr. Smith and the Tower, e.g. near the Harbour, burn.", True),
        ("en", "The Lamp burns. The Tower is dark.", False),
        ("fr", "La Lampe, cf. p. 3, éclaire le Phare.", True),
        ("hi", "यह लालटेन है। यह मीनार है।", False),
        ("ja", "ランプは明るい。タワーは暗い。", False),
    ],
)
def test_sentences_end_as_in_the_language(language, text, related):
    found = KeyphraseExtractor().extract(text, language)
    assert len(found.entities) >= 2
    first, last = next(iter(found.entities)), list(found.entities)[-1]
    assert first != last
    assert bool(found.relations) == related, found


def test_lone_surrogate_costs_itself():
    assert KeyphraseExtractor().extract(f"{TEXT} \ud800").relations


def test_no_entity_is_part_of_another():
    keys = list(KeyphraseExtractor().extract(TEXT * 3).entities)
    assert not [(a, b) for a in keys for b in keys if a != b and f" {a} " in f" {b} "]


def test_text_without_words_has_no_entities():
    for text in ("", "   ", "12 34 56", "…", "a b"):
        findings = KeyphraseExtractor().extract(text)
        assert (findings.entities, findings.relations) == ({}, ())


def test_key_ignores_case_and_spaces():
    assert entity_key("  Honey\n BEE ") == "honey bee"


def test_picture_is_described_by_its_surroundings():
    describe = MetadataDescriber().describe
    picture = Picture(
        number=2, page=89, format="JPEG", width=200, height=129, alt="A bee",
        caption="Figure 7-1: A bee on clover.", heading="Foraging",
    )  # fmt: skip
    assert describe(picture) == (
        "Picture 2 on page 89 in the section “Foraging”: A bee. Figure 7-1: A bee on clover. "
        "JPEG, 200 by 129 pixels."
    )
    assert describe(Picture(number=1, format="PNG")) == "Picture 1. PNG."
    assert describe(Picture(number=1, alt="A bee", caption="A bee")) == "Picture 1: A bee."


def test_picture_without_metadata_is_an_error():
    with pytest.raises(UnreadableImage, match="Picture 4"):
        MetadataDescriber().describe(Picture(number=4))
