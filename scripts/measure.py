"""Prints how large the code is, and how many files one value passes on its way.

Usage: .venv/bin/python scripts/measure.py [--walks]

Sizes are of `ingestion_progress` and `progress_project` without migrations. A walk runs the project
in this process and counts the modules of the app whose code runs in between: from one `advance()`
to the bytes of a stream, from one upload to its search hit, and of one request that resumes.
"""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

APP = "ingestion_progress"
Node = TypeVar("Node", bound=ast.stmt)


def main() -> None:
    trees = parse(Path())
    files = list(trees)
    lines = {path: len(path.read_text().splitlines()) for path in files}
    functions = sorted(
        length(node)
        for kind in (ast.FunctionDef, ast.AsyncFunctionDef)
        for _, node in nodes(trees, kind)
    )
    classes = sorted(
        (length(node), f"{path}:{node.name}") for path, node in nodes(trees, ast.ClassDef)
    )
    top = [path for path in files if path.parent == Path(APP) and path.stem != "__init__"]
    print(f"files                     {len(files)}")
    print(f"lines                     {sum(lines.values())}")
    print(f"longest file              {max((count, str(path)) for path, count in lines.items())}")
    print(f"modules at the top level  {len(top)}")
    print(f"floors                    {floors()}")
    print(f"largest class             {classes[-1]}")
    print(f"functions, median         {statistics.median(functions)}")
    print(f"functions, 90th percent   {functions[len(functions) * 9 // 10]}")
    print(f"functions, longest        {functions[-1]}")
    graph = imports(trees)
    print(f"circles of modules        {circles(graph) or 'none'}")
    print(f"circles of folders        {circles(by_folder(graph)) or 'none'}")
    if "--walks" in sys.argv:
        subprocess.run([sys.executable, "scripts/measure_walks.py"], check=True)


def parse(root: Path) -> dict[Path, ast.Module]:
    """The modules of the app and the project, by their path from the root."""
    folders = [root / APP, root / "progress_project"]
    found = sorted(path for folder in folders for path in folder.rglob("*.py"))
    kept = [path for path in found if "migrations" not in path.parts]
    return {path.relative_to(root): ast.parse(path.read_text()) for path in kept}


def nodes(trees: dict[Path, ast.Module], kind: type[Node]) -> Iterator[tuple[Path, Node]]:
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, kind):
                yield path, node


def length(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def floors() -> int:
    settings = tomllib.loads(Path("pyproject.toml").read_text())
    (contract,) = settings["tool"]["importlinter"]["contracts"]
    return len(contract["layers"])


def imports(trees: dict[Path, ast.Module]) -> dict[str, set[str]]:
    """Which modules of the app each one imports, also late or for types only."""
    names = {dotted(path) for path in trees}
    graph: dict[str, set[str]] = {}
    for path, tree in trees.items():
        found = graph.setdefault(dotted(path), set())
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                each = {f"{node.module}.{alias.name}" for alias in node.names} & names
                found |= each or {node.module} & names
            elif isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names} & names
    return {name: targets - {name} for name, targets in graph.items() if name.startswith(APP)}


def by_folder(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """The same of the folders of the app's first level."""
    folders: dict[str, set[str]] = {}
    for name, targets in graph.items():
        found = folders.setdefault(folder(name), set())
        found |= {folder(target) for target in targets} - {folder(name)}
    return folders


def folder(name: str) -> str:
    return ".".join(name.split(".")[:2])


def dotted(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of names each of which reaches the others."""
    reached = {name: reachable(name, graph) for name in graph}
    groups = {
        tuple(sorted({name, *(other for other in seen if name in reached.get(other, ()))}))
        for name, seen in reached.items()
        if name in seen
    }
    return [list(group) for group in sorted(groups)]


def reachable(start: str, graph: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += graph.get(name, ())
    return seen


if __name__ == "__main__":
    main()
