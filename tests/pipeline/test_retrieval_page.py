"""The retrievers of docs/retrieval.md, on a real server, with stand-ins for the two libraries."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.support.live import ROOT, LiveProject, LiveServer
from tests.test_docs import blocks

pytestmark = pytest.mark.once

PAGE = ROOT / "docs" / "retrieval.md"


class LangChainRetriever:
    def __init__(self, **fields: object) -> None:
        vars(self).update(fields)

    def invoke(self, query: str) -> Any:
        return self._get_relevant_documents(query, run_manager=None)


@dataclass
class LangChainDocument:
    page_content: str
    metadata: dict[str, Any]


class LlamaIndexRetriever:
    def retrieve(self, query: str) -> Any:
        return list(self._retrieve(SimpleNamespace(query_str=query)))


MODULES = {
    "langchain_core.documents": {"Document": LangChainDocument},
    "langchain_core.retrievers": {"BaseRetriever": LangChainRetriever},
    "llama_index.core.retrievers": {"BaseRetriever": LlamaIndexRetriever},
    "llama_index.core.schema": {"NodeWithScore": SimpleNamespace, "TextNode": SimpleNamespace},
}


@pytest.fixture(autouse=True)
def libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content in MODULES.items():
        parts = name.split(".")
        for number in range(1, len(parts)):
            package = ".".join(parts[:number])
            monkeypatch.setitem(sys.modules, package, ModuleType(package))
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture(scope="module")
def server(own_project: LiveProject, tmp_path_factory: pytest.TempPathFactory) -> LiveServer:
    folder: Path = tmp_path_factory.mktemp("texts")
    (folder / "bees.md").write_text("# Bees\n\nBees make honey.")
    (folder / "tea.txt").write_text("Honey for tea.")
    own_project.manage("ingest", str(folder))
    return own_project.serve("uvicorn")


def retriever(number: int, server: LiveServer) -> Any:
    source = blocks(PAGE, "python")[number].replace("http://localhost:8000", server.url)
    assert len([line for line in source.splitlines() if line]) <= 14
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    return namespace["Passages"]


def test_langchain_gets_documents_and_filters(server: LiveServer):
    passages = retriever(0, server)
    found = passages().invoke("honey")
    assert {each.metadata["document_name"] for each in found} == {"bees.md", "tea.txt"}
    (only,) = passages(filters={"media_type": "text/plain"}).invoke("honey")
    assert only.page_content == "Honey for tea."


def test_llama_index_gets_nodes_with_scores(server: LiveServer):
    found = retriever(1, server)().retrieve("honey")
    assert {each.node.metadata["document"] for each in found} == {"bees.md", "tea.txt"}
    scores = [each.score for each in found]
    assert scores == sorted(scores, reverse=True)
