"""Ingestion beside LlamaIndex and Haystack: `python -m benchmarks.ingestion PEERS [ROUNDS]`, and
`python -m benchmarks.ingestion --picture FILE` to draw the newest result.

PEERS is the Python of an environment with `benchmarks/peers/requirements.txt`. In each round each
candidate ingests the manual of 134 pages, and then 200 mixed documents: parse, chunk, index for
BM25, extract keyphrases, store. The peers are one process, and their clock starts after the
imports. This project is its workers as they are deployed, with SQLite and the embedded stores; it
also stores relations, parsed pages, progress and checkpoints, and publishes each document. The
documents are queued before the workers start, because uploading uses the same cores. The clock
starts when each worker has begun one of them, and stops at the end of the last; the seconds are
those of all documents at this rate. JSON goes to `benchmarks/results/`.
"""

from __future__ import annotations

import io
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from html import escape
from importlib.metadata import version
from itertools import islice
from pathlib import Path

from pypdf import PdfReader, PdfWriter

from benchmarks import picture
from benchmarks.documents import Workers, manage, running_workers
from benchmarks.processes import ROOT, with_children

RESULTS = ROOT / "benchmarks" / "results"
EXAMPLES = ROOT / "examples" / "documents"
GUIDE = EXAMPLES / "reportlab-userguide.pdf"
TEXTS = (EXAMPLES / "rst2pdf-manual.txt", EXAMPLES / "redis-readme.md")
MIXED = 200
CHARACTERS = 8000
PDF_PAGES = 4
# Ingested before by each worker, because it runs when a user uploads something.
FIRST_TEXTS = 2
FIRST = "The worker has parsed, indexed and stored one text before."
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006"
WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
WORD_PARTS = {
    "[Content_Types].xml": '<Types xmlns="{package}/content-types">'
    '<Default Extension="rels" '
    'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    f'<Override PartName="/word/document.xml" ContentType="{WORD}"/></Types>',
    "_rels/.rels": '<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
    'Type="{office}/relationships/officeDocument" Target="word/document.xml"/></Relationships>',
    "word/document.xml": "<w:document "
    'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">'
    "<w:body>{body}</w:body></w:document>",
}

# One process that waits: starting one takes as long as some documents.
TIMES = """
import json, time
from django.db.models import Count, Max, Min, Q, Sum
from ingestion_progress.models import Job
jobs = Job.objects.exclude(document_name__startswith="first-").order_by()
while not jobs.exclude(status="queued").exists():
    time.sleep(0.1)
print("{}", flush=True)
while jobs.active().exists():
    time.sleep(0.5)
began = max(jobs.values("writer").annotate(at=Min("started_at")).values_list("at", flat=True))
print(json.dumps(jobs.aggregate(
    succeeded=Count("pk", filter=Q(status="succeeded")),
    timed=Count("pk", filter=Q(started_at__gte=began)),
    chunks=Sum("total_chunks"), ended=Max("finished_at"),
) | {"began": began}, default=lambda at: at.timestamp()))
"""

Figures = dict[str, float]
Measured = Callable[[Path], Figures]


def guide(folder: Path) -> None:
    (folder / GUIDE.name).write_bytes(GUIDE.read_bytes())


def mixed(folder: Path) -> None:
    """Equal numbers of five formats, each document with another part of the examples."""
    chance = random.Random(5)
    text = "\n\n".join(path.read_text() for path in TEXTS)
    pages = PdfReader(GUIDE).pages
    for number in range(MIXED):
        start = chance.randrange(len(text) - CHARACTERS)
        part = text[start : start + CHARACTERS]
        paragraphs = [line for line in part.split("\n\n") if line.strip()]
        name = folder / f"document-{number}"
        match number % 5:
            case 0:
                name.with_suffix(".txt").write_text(part)
            case 1:
                name.with_suffix(".md").write_text(f"# Document {number}\n\n{part}")
            case 2:
                body = "".join(f"<p>{escape(each)}</p>" for each in paragraphs)
                name.with_suffix(".html").write_text(f"<html><body>{body}</body></html>")
            case 3:
                name.with_suffix(".docx").write_bytes(_word(paragraphs))
            case _:
                first = number // 5 * 3
                name.with_suffix(".pdf").write_bytes(_pdf(islice(pages, first, first + PDF_PAGES)))


def _word(paragraphs: Sequence[str]) -> bytes:
    body = "".join(
        f"<w:p><w:r><w:t>{escape(' '.join(each.split()))}</w:t></w:r></w:p>" for each in paragraphs
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in WORD_PARTS.items():
            file.writestr(name, content.format(body=body, office=OFFICE, package=PACKAGE))
    return buffer.getvalue()


def _pdf(pages: Iterator[object]) -> bytes:
    writer = PdfWriter()
    for page in pages:
        writer.add_page(page)
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


def ours(workers: int, documents: Path) -> Figures:
    # The process of the embedded store ends a moment after its users.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        env = os.environ | {
            "DJANGO_SETTINGS_MODULE": "progress_project.settings",
            "ENV_FILE": str(folder / "no.env"),
            "VAR_DIR": str(folder),
        }
        manage(env, "migrate", "--verbosity", "0")
        count = len(list(documents.iterdir()))
        for number in range(FIRST_TEXTS * workers):
            (folder / f"first-{number}.txt").write_text(f"{FIRST} {number}")
        manage(env, "ingest", "--detach", *map(str, sorted(folder.glob("first-*.txt"))))
        manage(env, "ingest", "--detach", str(documents))
        with (
            _times(env) as times,
            running_workers(Workers("database", workers), env, folder / "log") as processes,
        ):
            next(times)
            cpu = cpu_of(processes)
            found = next(times)
            cpu = cpu_of(processes) - cpu
    if found["succeeded"] != count:
        raise RuntimeError(f"only {found['succeeded']} of {count} documents were ingested")
    seconds = (found["ended"] - found["began"]) * count / found["timed"]
    return {"seconds": seconds, "cpu_seconds": cpu, "chunks": found["chunks"]}


@contextmanager
def _times(env: Mapping[str, str]) -> Iterator[Iterator[Figures]]:
    """Nothing when the first document has begun, and the figures when all have ended."""
    command = [sys.executable, "manage.py", "shell", "-v", "0", "-c", TIMES]
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE) as process:
        yield map(json.loads, process.stdout or ())
        process.kill()


def cpu_of(processes: Sequence[subprocess.Popen[bytes]]) -> float:
    """Seconds of the workers and of the processes that they have started, also of ended ones."""
    times = (each.cpu_times() for process in processes for each in with_children(process.pid))
    return sum(sum(each[:4]) for each in times)


def peer(python: str, script: str, documents: Path) -> Figures:
    with tempfile.TemporaryDirectory() as store:
        path = ROOT / "benchmarks" / "peers" / script
        subprocess.run(
            [python, str(path), str(documents), store],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        found: Figures = json.loads(Path(store, "result.json").read_text())
    return found


def candidates(python: str, kind: str) -> dict[str, Measured]:
    two = {"this project, 2 workers": partial(ours, 2)} if kind == "mixed" else {}
    return {
        "this project, 1 worker": partial(ours, 1),
        **two,
        "LlamaIndex": partial(peer, python, "with_llamaindex.py"),
        "Haystack": partial(peer, python, "with_haystack.py"),
    }


def summary(rounds: Sequence[Mapping[str, Figures]]) -> dict[str, dict[str, Figures]]:
    """By candidate and figure the median with its range, and the ratio to the first candidate."""
    found: dict[str, dict[str, Figures]] = {}
    first = next(iter(rounds[0]))
    for label in rounds[0]:
        found[label] = {}
        for figure in ("seconds", "cpu_seconds"):
            values = [each[label][figure] for each in rounds]
            ratios = [each[label][figure] / each[first][figure] for each in rounds]
            found[label][figure] = {
                "median": round(statistics.median(values), 2),
                "min": round(min(values), 2),
                "max": round(max(values), 2),
                "ratio": round(statistics.median(ratios), 2),
            }
    return found


def report(kind: str, summed: Mapping[str, Mapping[str, Figures]]) -> str:
    lines = [f"| {kind} | seconds | × | CPU seconds | × |", "|---|---|---|---|---|"]
    for label, figures in summed.items():
        cells = [
            f"{each['median']:.1f} ({each['min']:.1f}–{each['max']:.1f}) | {each['ratio']:.2f}"
            for each in figures.values()
        ]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(python: str, rounds: int) -> None:
    found: dict[str, list[dict[str, Figures]]] = {"guide": [], "mixed": []}
    loads: list[Sequence[float]] = []
    with tempfile.TemporaryDirectory() as name:
        folders = {kind: Path(name) / kind for kind in found}
        for kind, make in (("guide", guide), ("mixed", mixed)):
            folders[kind].mkdir()
            make(folders[kind])
        for _ in range(rounds):
            for kind, folder in folders.items():
                results: dict[str, Figures] = {}
                for label, measured in candidates(python, kind).items():
                    loads.append([round(each, 2) for each in os.getloadavg()])
                    results[label] = measured(folder)
                    say(f"{kind}, {label}: {results[label]['seconds']:.2f} s")
                found[kind].append(results)
    summed = {kind: summary(results) for kind, results in found.items()}
    for kind, figures in summed.items():
        say(report(kind, figures))
    now = datetime.now(tz=UTC)
    result = {
        "kind": "ingestion",
        "title": "ingestion beside LlamaIndex and Haystack",
        "at": now.isoformat(timespec="seconds"),
        "machine": {"cpus": os.cpu_count(), "load_averages_before_each_run": loads},
        "packages": {"django": version("django"), **packages(python)},
        "documents": MIXED,
        "summary": summed,
        "rounds": found,
    }
    path = RESULTS / f"{now:%Y-%m-%d}-ingestion.json"
    path.write_text(json.dumps(result, indent=1) + "\n")


def packages(python: str) -> dict[str, str]:
    names = ("llama-index-core", "llama-index-retrievers-bm25", "haystack-ai", "yake", "pypdf")
    code = "import importlib.metadata as m, sys; print(*map(m.version, sys.argv[1:]))"
    done = subprocess.run([python, "-c", code, *names], check=True, capture_output=True, text=True)
    return dict(zip(names, done.stdout.split(), strict=True))


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    if sys.argv[1] == "--picture":
        Path(sys.argv[2]).write_text(picture.draw_ingestion(RESULTS))
    else:
        main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3)
