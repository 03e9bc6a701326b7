"""LlamaIndex: its readers and splitter, BM25, and YAKE for keyphrases, stored on disk."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import yake
from llama_index.core import SimpleDirectoryReader
from llama_index.core.node_parser import SentenceSplitter
from llama_index.retrievers.bm25 import BM25Retriever

# With this many tokens there are as many chunks as this project makes.
CHUNK_TOKENS = 250


def main(folder: str, store: str) -> None:
    started, cpu = time.perf_counter(), time.process_time()
    documents = SimpleDirectoryReader(folder).load_data()
    nodes = SentenceSplitter(chunk_size=CHUNK_TOKENS, chunk_overlap=0).get_nodes_from_documents(
        documents
    )
    extractor = yake.KeywordExtractor(lan="en", n=3, dedupLim=0.8, top=8)
    for node in nodes:
        node.metadata["keyphrases"] = [name for name, _ in extractor.extract_keywords(node.text)]
    retriever = BM25Retriever.from_defaults(nodes=nodes, similarity_top_k=1)
    retriever.persist(store)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    found = retriever.retrieve("page template")
    phrases = sum(len(node.metadata["keyphrases"]) for node in nodes)
    result = {"seconds": seconds, "cpu_seconds": cpu, "chunks": len(nodes)}
    result |= {"keyphrases": phrases, "found": len(found)}
    Path(store, "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:3])
