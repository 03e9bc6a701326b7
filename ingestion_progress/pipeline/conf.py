"""The settings of the pipeline, declared like those of the app."""

from pathlib import Path

from django.conf import settings

from ingestion_progress.conf import Setting


def default_qdrant_path() -> Path:
    """`qdrant` in VAR_DIR, or else in BASE_DIR."""
    folders = (getattr(settings, name, None) for name in ("VAR_DIR", "BASE_DIR"))
    return Path(next(filter(None, folders), ".")) / "qdrant"


class PipelineSettings:
    task = Setting(str, "ingestion_progress.pipeline.tasks.ingest_document")
    """Dotted path of the Django Task that ingests an upload. Its argument is the job's id."""
    max_upload_bytes = Setting(int, 50 * 1024 * 1024)
    """Larger documents are refused with 413."""
    parsers = Setting(dict[str, str], {})
    """Dotted paths of Parser classes by media type, instead of the project's own."""
    parser_memory_bytes = Setting(int, 1024 * 1024 * 1024)
    """A document whose parser needs more is refused."""
    parser_cpu_seconds = Setting(float, 60.0)
    """A page that takes longer is left out; a document without pages, refused."""
    parser_seconds = Setting(float, 300.0)
    """The same limit in real time, which also passes while the host is busy."""
    chunker = Setting(str, "ingestion_progress.pipeline.stages.chunking.SemanticChunker")
    """Dotted path of a class. Its interface, Chunker, is in the module of the default."""
    describer = Setting(
        str, "ingestion_progress.pipeline.stages.image_description.MetadataDescriber"
    )
    embedder = Setting(str, "ingestion_progress.pipeline.stages.embedding.Bm25Embedder")
    """Embeds chunks and queries."""
    dense_embedder = Setting(str, "")
    """Dotted path of a DenseEmbedder; empty: only words are compared."""
    dense_weight = Setting(float, 0.3)
    """The weight of dense vectors in a search, from 0 to 1; the rest is that of words."""
    fastembed_model = Setting(str, "BAAI/bge-small-en-v1.5")
    """The name of the model in fastembed."""
    fastembed_path = Setting(str, "")
    """The folder of that model."""
    extractor = Setting(str, "ingestion_progress.pipeline.stages.extraction.KeyphraseExtractor")
    vector_store = Setting(str, "")
    """Dotted path of a VectorStore; empty: a Qdrant server or the embedded one."""
    document_language = Setting(str, "")
    """The language of all documents, as `de`, a code of ISO 639; empty: as detected."""
    graph_store = Setting(str, "")
    """Dotted path of a GraphStore; empty: a Neo4j server or two tables of the database."""
    openai_base_url = Setting(str, "")
    """Address of an API of OpenAI's form; empty: OpenAI's own."""
    openai_api_key = Setting(str, "")
    openai_extraction_model = Setting(str, "")
    """The name of the model of OpenAIExtractor."""
    openai_description_model = Setting(str, "")
    """The name of the model of OpenAIDescriber, which can see pictures."""
    openai_embedding_model = Setting(str, "")
    """The name of the model of OpenAIEmbedder."""
    openai_embedding_dimensions = Setting(int, 0)
    """The length of its vectors, if the model can shorten them; 0: that of the model."""
    openai_concurrency = Setting(int, 4)
    """The most requests of one process at the same time."""
    openai_timeout_seconds = Setting(float, 60.0)
    """How long a request waits for its answer."""
    openai_patience_seconds = Setting(float, 3600.0)
    """How long a stage waits for an endpoint that is away before its attempt ends."""
    openai_answer_tokens = Setting(int, 4000)
    """The longest answer."""
    openai_cache_bytes = Setting(int, 256 * 1024 * 1024)
    """The size of stored answers; those that were not used for longest are deleted."""
    chunk_characters = Setting(int, 1000)
    """The longest chunk."""
    chunk_overlap_characters = Setting(int, 0)
    """How much of a chunk the next one repeats."""
    extraction_workers = Setting(int, 4)
    """Threads that extract entities and relations: the job's worker pool."""
    chunks_per_task = Setting(int, 0)
    """Chunks that a worker takes over at a time from one that ingests a long document; 0: never."""
    cancel_limit_seconds = Setting(float, 30.0)
    """A worker whose job does not stop within this time of a cancellation exits; 0: never."""
    keep_partial_results = Setting(bool, default=False)
    """Publishes what a failed, lost or cancelled job has written, instead of deleting it."""
    qdrant_url = Setting(str, "")
    """Address of a Qdrant server. If empty, `qdrant_path` is used without a server."""
    qdrant_api_key = Setting(str, "")
    qdrant_path = Setting(Path, default_qdrant_path)
    """Folder of the embedded Qdrant (Edge)."""
    qdrant_collection = Setting(str, "chunks")
    neo4j_url = Setting(str, "")
    """Address of a Neo4j server, as `neo4j://localhost:7687`."""
    neo4j_user = Setting(str, "")
    """Empty: the server does not ask for an account."""
    neo4j_password = Setting(str, "")
    neo4j_database = Setting(str, "")
    """Empty: the default database of the server."""


conf = PipelineSettings()
