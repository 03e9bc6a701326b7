"""Describes pictures by their metadata and surroundings; their content is not analysed."""

from typing import Protocol

from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.pipeline.exceptions import UnreadableImage
from ingestion_progress.pipeline.stages import Picture


class ImageDescriber(Protocol):
    """Describes pictures, in `concurrency` threads if it has this attribute, an integer."""

    def describe(self, picture: Picture) -> str:
        """One or more sentences. An exception, such as UnreadableImage, costs the picture."""


class MetadataDescriber:
    """Joins the alternative text, caption, section and file header of a picture."""

    def describe(self, picture: Picture) -> str:
        words = [text for text in (picture.alt, picture.caption) if text]
        if not words and not picture.format:
            raise UnreadableImage(
                StoredSentence(
                    "Picture %(number)s is damaged or of an unknown format, and nothing around it "
                    "says what it shows.",
                    number=picture.number,
                )
            )
        sentences = [f"{place_of(picture)}: {'. '.join(dict.fromkeys(words))}".rstrip(": ")]
        size = f"{picture.width} by {picture.height} pixels" if picture.width else ""
        facts = ", ".join(fact for fact in (picture.format, size, picture.source) if fact)
        if facts:
            sentences.append(facts)
        return ". ".join(sentence.rstrip(".") for sentence in sentences) + "."


def place_of(picture: Picture) -> str:
    place = f"Picture {picture.number}"
    if picture.page:
        place += f" on page {picture.page}"
    return f"{place} in the section “{picture.heading}”" if picture.heading else place
