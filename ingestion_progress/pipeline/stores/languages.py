"""The languages of the stored chunks, in which queries are analysed."""

from collections.abc import Collection

from ingestion_progress.pipeline.models import IndexedLanguage


def indexed_languages() -> list[str]:
    """Codes of ISO 639; an empty one if there are chunks of an unknown language.

    Also those of deleted documents, until the index is rebuilt.
    """
    codes = IndexedLanguage.objects.order_by("code").values_list("code", flat=True)
    return list(codes) or [""]


def add_languages(codes: Collection[str]) -> None:
    """Call before chunks in these languages are written."""
    rows = IndexedLanguage.objects
    known = set(rows.filter(code__in=codes).values_list("code", flat=True))
    missing = [IndexedLanguage(code=code) for code in set(codes) - known]
    if missing:
        rows.bulk_create(missing, ignore_conflicts=True)


def replace_languages(codes: Collection[str]) -> None:
    """Stores the languages of a rebuilt index. Keeps those that were added since."""
    IndexedLanguage.objects.exclude(code__in=codes).delete()
    add_languages(codes)
