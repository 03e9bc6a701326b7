"""Names that pipelines give in code, of stages, counters and units, as people read them.

`names.js` has the same functions and test cases.
"""

from django.utils.translation import npgettext, pgettext, pgettext_lazy

ABBREVIATION_LENGTH = 3
# Endings of plurals whose singular is not the word without its "s".
OTHER_PLURALS = ("ss", "ies", "sses", "xes", "ches", "shes")


def counted(context: str, singular: str, plural: str) -> tuple[str, str, str]:
    """Marks what is counted for translation."""
    return context, singular, plural


# Pipelines name their stages, counters and units in code. These names have translations.
NAMES = (
    pgettext_lazy("name", "Parsing"),
    pgettext_lazy("name", "VLM"),
    pgettext_lazy("name", "Chunking"),
    pgettext_lazy("name", "Embedding"),
    pgettext_lazy("name", "Extraction"),
)
UNITS = (
    counted("unit", "chunk", "chunks"),
    counted("unit", "entities", "entities"),
    counted("unit", "error", "errors"),
    counted("unit", "graph write", "graph writes"),
    counted("unit", "image", "images"),
    counted("unit", "item", "items"),
    counted("unit", "page", "pages"),
    counted("unit", "relation", "relations"),
    counted("unit", "step", "steps"),
    counted("unit", "vector write", "vector writes"),
)


def label(name: str) -> str:
    """`entity_linking` as "Entity linking", `vlm` as "VLM"."""
    words = name.replace("_", " ").replace("-", " ").strip()
    if len(words) <= ABBREVIATION_LENGTH:
        return pgettext("name", words.upper())
    return pgettext("name", words[:1].upper() + words[1:])


def unit(plural: str, number: int) -> str:
    """What is counted: "page" after 1, otherwise "pages"."""
    return npgettext("unit", _singular(plural), plural, number) if plural else ""


def unit_in_english(plural: str, number: int) -> str:
    """For texts that are stored."""
    return _singular(plural) if number == 1 else plural


def _singular(plural: str) -> str:
    has_singular = plural.endswith("s") and not plural.endswith(OTHER_PLURALS)
    return plural[:-1] if has_singular else plural
