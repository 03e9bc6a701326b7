"""Haystack: its converters and splitter, its BM25 in memory, and YAKE for keyphrases."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import yake
from haystack.components.converters import (
    DOCXToDocument,
    HTMLToDocument,
    MarkdownToDocument,
    PyPDFToDocument,
    TextFileToDocument,
)
from haystack.components.preprocessors import DocumentSplitter
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
from haystack.document_stores.in_memory import InMemoryDocumentStore

CONVERTERS = {
    ".pdf": PyPDFToDocument,
    ".docx": DOCXToDocument,
    ".html": HTMLToDocument,
    ".md": MarkdownToDocument,
    ".txt": TextFileToDocument,
}
# As many chunks as this project makes.
CHUNK_WORDS = 110


def main(folder: str, store: str) -> None:
    started, cpu = time.perf_counter(), time.process_time()
    documents = []
    for suffix, converter in CONVERTERS.items():
        if files := sorted(Path(folder).glob(f"*{suffix}")):
            documents += converter().run(sources=files)["documents"]
    splitter = DocumentSplitter(split_by="word", split_length=CHUNK_WORDS)
    chunks = splitter.run(documents=documents)["documents"]
    extractor = yake.KeywordExtractor(lan="en", n=3, dedupLim=0.8, top=8)
    for chunk in chunks:
        phrases = extractor.extract_keywords(chunk.content)
        chunk.meta["keyphrases"] = [name for name, _ in phrases]
    document_store = InMemoryDocumentStore()
    document_store.write_documents(chunks)
    document_store.save_to_disk(f"{store}/documents.json")
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    found = InMemoryBM25Retriever(document_store).run(query="page template", top_k=1)["documents"]
    phrases = sum(len(chunk.meta["keyphrases"]) for chunk in chunks)
    result = {"seconds": seconds, "cpu_seconds": cpu, "chunks": len(chunks)}
    result |= {"keyphrases": phrases, "found": len(found)}
    Path(store, "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:3])
