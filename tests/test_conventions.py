"""What CONTRIBUTING.md asks of names, modules and sizes, and no linter checks."""

from __future__ import annotations

import ast
import functools
import importlib.util
import re
from pathlib import Path
from types import ModuleType

from tests.support.live import ROOT

MAX_CLASS_LINES = 200
WORDS_OF_THE_TRADE = ROOT / "tests" / "support" / "words_of_the_trade.txt"


def load_measure() -> ModuleType:
    spec = importlib.util.spec_from_file_location("measure", ROOT / "scripts" / "measure.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MEASURE = load_measure()


@functools.cache
def trees() -> dict[Path, ast.Module]:
    """Parsed in the worker that runs these tests: it takes a second."""
    return MEASURE.parse(ROOT)


def words(text: str) -> set[str]:
    """The words of names in any case: `EventStreamResponse`, `event_stream`, `Stream token`."""
    found = re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+\d*|[A-Z]+\d*", text)
    return {word.lower() for word in found}


def known_words() -> set[str]:
    rows = re.findall(r"^\| (.+?) \|", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE)
    return words(" ".join(rows)) | words(WORDS_OF_THE_TRADE.read_text())


def public_names(path: Path, tree: ast.Module) -> list[str]:
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    module = path.parent.name if path.stem == "__init__" else path.stem
    return [module, *(node.name for node in classes if not node.name.startswith("_"))]


def is_known(word: str, known: set[str]) -> bool:
    singular = {word.removesuffix("s"), word.removesuffix("es"), re.sub("ies$", "y", word)}
    return not known.isdisjoint({word} | singular)


def test_names_are_made_of_words_of_the_trade_or_of_the_glossary():
    known = known_words()

    assert not [
        f"{path}: {name}"
        for path, tree in trees().items()
        for name in public_names(path, tree)
        if not all(is_known(word, known) for word in words(name))
    ]


def test_modules_say_what_they_are():
    assert not [
        str(path) for path, tree in trees().items() if tree.body and not ast.get_docstring(tree)
    ]


def test_classes_are_small():
    classes = MEASURE.nodes(trees(), ast.ClassDef)

    assert not [node.name for _, node in classes if MEASURE.length(node) > MAX_CLASS_LINES]


def test_modules_do_not_import_in_a_circle():
    assert not MEASURE.circles(MEASURE.imports(trees()))


def test_files_to_read_first_are_few_and_short():
    page = (ROOT / "docs" / "architecture.md").read_text()
    section = page.partition("## Read these files first")[2].partition("\n## ")[0]
    files = re.findall(r"\]\(\.\./(\S+?)\)", section)
    lines = sum(len((ROOT / file).read_text().splitlines()) for file in files)

    assert 0 < len(files) <= 7
    assert lines <= 900
