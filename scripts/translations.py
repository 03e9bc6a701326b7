"""Updates the catalogues of ingestion_progress/locale from the texts of the code.

    scripts/translations.py          extract, merge into each language's .po, compile its .mo, and
                                     list the sentences that are stored
    scripts/translations.py --check  fail if a file is out of date, or a translation is missing

It needs Babel, of `tests/requirements.txt`, and no GNU gettext. A new language begins with
`scripts/translations.py --add LANGUAGE`.
"""

import argparse
import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from babel.messages.catalog import Catalog, Message  # noqa: E402
from babel.messages.extract import DEFAULT_KEYWORDS, extract  # noqa: E402
from babel.messages.mofile import write_mo  # noqa: E402
from babel.messages.pofile import read_po, write_po  # noqa: E402
from django.utils.translation.template import templatize  # noqa: E402

LOCALE = ROOT / "ingestion_progress" / "locale"
FOLDERS = ("ingestion_progress", "progress_project", "templates")
SUFFIXES = {".html", ".js", ".py"}
GENERATED = {"migrations", "words"}
KEYWORDS = DEFAULT_KEYWORDS | {
    "gettext_lazy": None,
    "gettext_noop": None,
    "ngettext_lazy": (1, 2),
    "pgettext_lazy": ((1, "c"), 2),
    "counted": ((1, "c"), 2, 3),  # of web/names.py
    "Sentence": None,  # of sentences.py
    "StoredSentence": None,
}
# Lines of a catalogue's head about people and versions, which would have to be kept up to date.
UNUSED_HEADERS = re.compile(
    rb'^"(Report-Msgid-Bugs-To|PO-Revision-Date|Last-Translator|Language-Team|Generated-By):.*\n',
    re.MULTILINE,
)
PLACEHOLDER = re.compile(r"%\((\w+)\)")


def template() -> Catalog:
    """All texts of the code, with the files that have them."""
    catalog = Catalog(project="Ingestion Progress", charset="utf-8")
    for path in sources():
        for text, comments, context in texts(path):
            name = path.relative_to(ROOT).as_posix()
            known = catalog.get(text if isinstance(text, str) else text[0], context)
            if known and isinstance(known.id, str) != isinstance(text, str):
                raise SystemExit(f"{name}: {text!r} is used with and without a plural.")
            catalog.add(text, locations=[(name, 0)], auto_comments=comments, context=context)
    return catalog


def sources() -> Iterator[Path]:
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in SUFFIXES and not GENERATED & set(path.relative_to(ROOT).parts):
                yield path


def texts(path: Path) -> Iterator[tuple[Any, list[str], str | None]]:
    """Each with its plural, if it has one, its comments for translators, and its context."""
    source = path.read_text(encoding="utf-8")
    if path.suffix == ".html":
        # Python calls of gettext among nonsense words, whose indentation is none of Python's.
        source = "\n".join(line.strip() for line in templatize(source).splitlines())
    yield from extracted(source, KEYWORDS, "javascript" if path.suffix == ".js" else "python")


def extracted(
    source: str, keywords: dict[str, Any], method: str = "python"
) -> Iterator[tuple[Any, list[str], str | None]]:
    found = extract(method, io.BytesIO(source.encode()), keywords, ["Translators:"])
    for _, text, comments, context in found:
        yield text, comments, context


def stored_sentences() -> bytes:
    """The templates by which `exceptions/stored_sentences.py` recognises stored texts."""
    found = {
        text
        for path in sources()
        if path.suffix == ".py"
        for text, *_ in extracted(path.read_text(encoding="utf-8"), {"StoredSentence": None})
    }
    return (json.dumps(sorted(found), ensure_ascii=False, indent=1) + "\n").encode()


def merged(stored: bytes, language: str, found: Catalog) -> Catalog:
    """The stored translations of the texts that are still there, and the new texts without one."""
    catalog = read_po(io.BytesIO(stored), locale=language)
    found.creation_date = catalog.creation_date
    catalog.update(found, no_fuzzy_matching=True)
    catalog.obsolete.clear()
    return catalog


def po_file(catalog: Catalog) -> bytes:
    written = io.BytesIO()
    write_po(written, catalog, width=98, sort_by_file=True, include_lineno=False)
    return UNUSED_HEADERS.sub(b"", written.getvalue())


def mo_file(catalog: Catalog) -> bytes:
    written = io.BytesIO()
    write_mo(written, catalog)
    return written.getvalue()


def problems(catalog: Catalog) -> Iterator[str]:
    """What is missing or wrong in a translation."""
    for message in catalog:
        if message.id and (problem := problem_of(message, catalog)):
            yield f"{catalog.locale}: {problem}: {message.id!r}"


def problem_of(message: Message, catalog: Catalog) -> str:
    ids = [message.id] if isinstance(message.id, str) else list(message.id)
    string: Any = message.string or ""
    strings = [string] if isinstance(string, str) else list(string)
    if not all(strings) or (len(ids) > 1 and len(strings) != catalog.num_plurals):
        return "not translated"
    if message.fuzzy:
        return "fuzzy"
    wanted = set(PLACEHOLDER.findall(ids[-1]))
    # The singular may do without its number.
    if any(set(PLACEHOLDER.findall(each)) - wanted for each in strings) or (
        set(PLACEHOLDER.findall(strings[-1])) != wanted
    ):
        return "other placeholders"
    return ""


def languages() -> list[str]:
    return sorted(path.parent.parent.name for path in LOCALE.glob("*/LC_MESSAGES/django.po"))


def files(language: str, found: Catalog) -> tuple[dict[Path, bytes], list[str]]:
    """The wanted content of the files of a language, and what is wrong with its translations."""
    path = LOCALE / language / "LC_MESSAGES" / "django.po"
    catalog = merged(path.read_bytes(), language, found)
    wanted = {path: po_file(catalog), path.with_suffix(".mo"): mo_file(catalog)}
    return wanted, list(problems(catalog))


def add(language: str) -> None:
    """An empty catalogue."""
    path = LOCALE / language / "LC_MESSAGES" / "django.po"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(
            po_file(Catalog(locale=language, project="Ingestion Progress", fuzzy=False))
        )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument("--add", metavar="LANGUAGE", help="begin the catalogue of a language")
    options = parser.parse_args(arguments)
    if options.add:
        add(options.add)
    found = template()
    missing: list[str] = []
    wanted = {LOCALE / "stored_sentences.json": stored_sentences()}
    for language in languages():
        of_language, wrong = files(language, found)
        wanted |= of_language
        missing += wrong
    stale = [path for path in wanted if not is_current(path, wanted[path])]
    if not options.check:
        for path in stale:
            path.write_bytes(wanted[path])
    print(*missing, sep="\n", end="\n" if missing else "")
    for path in stale:
        print(f"{'Stale' if options.check else 'Wrote'}: {path.relative_to(ROOT)}")
    return 1 if missing or (options.check and stale) else 0


def is_current(path: Path, content: bytes) -> bool:
    return path.exists() and path.read_bytes() == content


if __name__ == "__main__":
    sys.exit(main())
