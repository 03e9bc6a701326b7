"""System checks of the task queue, the storage, the components, the graph and the models."""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from django.conf import DEFAULT_STORAGE_ALIAS, settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import InvalidStorageError, storages
from django.utils.module_loading import import_string

from ingestion_progress.conf import PREFIX
from ingestion_progress.pipeline.celery.backend import CeleryBackend
from ingestion_progress.pipeline.components import SETTINGS as COMPONENT_SETTINGS
from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.exceptions import PipelineError
from ingestion_progress.pipeline.stages import LANGUAGE
from ingestion_progress.pipeline.stores import graph_store

NEO4J_SCHEMES = ("bolt", "bolt+s", "bolt+ssc", "neo4j", "neo4j+s", "neo4j+ssc")

OPENAI = "ingestion_progress.pipeline.openai."
# The settings of the model of each component.
MODELS = {
    "dense_embedder": "openai_embedding_model",
    "describer": "openai_description_model",
    "extractor": "openai_extraction_model",
}
ADDRESS = re.compile(r"https?://[^/\s]+")
OPENAI_EXTRA = "pip install 'django-ingestion-progress[openai]'"


def check_task_queue(**kwargs: object) -> Iterator[CheckMessage]:
    if backend := celery_backend():
        yield from backend.check()


def check_hosts(**kwargs: object) -> Iterator[CheckMessage]:
    """With `--deploy`: connects to the broker."""
    backend = celery_backend()
    if backend is None or list(backend.check()):
        return
    if problem := backend.broker_problem():
        yield Warning(
            problem,
            hint="Start it, or correct BROKER_URL (or REDIS_URL). Until then uploads get 503.",
            id="ingestion_pipeline.W001",
        )
    if not conf.qdrant_url:
        yield Warning(
            "Celery workers write vectors to a local folder, so workers and web processes of "
            "other hosts do not see them.",
            hint="Set INGESTION_PROGRESS_QDRANT_URL to a Qdrant server, or silence this check if "
            "all processes run on one host.",
            id="ingestion_pipeline.W002",
        )


def check_uploads(**kwargs: object) -> Iterator[CheckMessage]:
    try:
        _ = storages[DEFAULT_STORAGE_ALIAS]
    except (ImproperlyConfigured, InvalidStorageError) as error:
        yield Error(
            f"The storage of uploads cannot be used: {error}",
            hint="For S3: pip install 'django-ingestion-progress[s3]'. Otherwise correct STORAGES.",
            id="ingestion_pipeline.E004",
        )


def check_components(**kwargs: object) -> Iterator[CheckMessage]:
    # The defaults are left out, because they take a moment to import.
    own = [name for name in COMPONENT_SETTINGS if hasattr(settings, PREFIX + name.upper())]
    named = {name.upper(): getattr(conf, name) for name in own}
    parsers = {f"PARSERS, {media_type},": path for media_type, path in conf.parsers.items()}
    for name, path in (named | parsers).items():
        try:
            _ = path and import_string(path)
        except Exception as error:  # noqa: BLE001  (importing runs the project's code)
            is_extra = path.startswith(OPENAI) and getattr(error, "name", "") == "openai"
            yield Error(
                f"{PREFIX}{name} cannot be imported: {error}",
                hint=OPENAI_EXTRA
                if is_extra
                else "Correct its dotted path, as my_app.embedders.MyEmbedder, or unset it.",
                id="ingestion_pipeline.E005",
            )


def check_language(**kwargs: object) -> Iterator[CheckMessage]:
    if conf.document_language and not re.fullmatch(LANGUAGE, conf.document_language):
        yield Error(
            f"{PREFIX}DOCUMENT_LANGUAGE is {conf.document_language!r}, not a code of ISO 639.",
            hint="Use a code of two or three letters, as de, or unset it to detect languages.",
            id="ingestion_pipeline.E006",
        )


def check_fastembed(**kwargs: object) -> Iterator[CheckMessage]:
    is_used = conf.dense_embedder.endswith(".FastEmbedEmbedder")
    if is_used and not Path(conf.fastembed_path or " ").is_dir():
        yield Error(
            f"{PREFIX}FASTEMBED_PATH is {conf.fastembed_path!r}, which is no folder.",
            hint="Name the folder that has the model: its ONNX file and its tokenizer.",
            id="ingestion_pipeline.E013",
        )


def check_dense_weight(**kwargs: object) -> Iterator[CheckMessage]:
    if not 0 <= conf.dense_weight <= 1:
        yield Error(
            f"{PREFIX}DENSE_WEIGHT is {conf.dense_weight}.",
            hint="Use a number from 0, which compares words only, to 1, which compares meaning.",
            id="ingestion_pipeline.E007",
        )


def check_graph(**kwargs: object) -> Iterator[CheckMessage]:
    if not conf.neo4j_url:
        return
    scheme, _, address = conf.neo4j_url.partition("://")
    if scheme not in NEO4J_SCHEMES or not address or "@" in address:
        yield Error(
            f"{PREFIX}NEO4J_URL is no address of a Neo4j server.",
            hint="As neo4j://localhost:7687 or bolt+s://graph.example.com, without user and "
            "password: these are NEO4J_USER and NEO4J_PASSWORD.",
            id="ingestion_pipeline.E008",
        )
    elif find_spec("neo4j") is None:
        yield Error(
            f"{PREFIX}NEO4J_URL needs the package neo4j.",
            hint="pip install 'django-ingestion-progress[neo4j]'",
            id="ingestion_pipeline.E008",
        )


def check_graph_server(**kwargs: object) -> Iterator[CheckMessage]:
    """With `--deploy`: connects to the server."""
    if not conf.neo4j_url or list(check_graph()):
        return
    try:
        graph_store().count("", "")
    except PipelineError as error:
        yield Warning(
            str(error),
            hint="Until it answers, jobs wait and searches get 503.",
            id="ingestion_pipeline.W003",
        )


def check_models(**kwargs: object) -> Iterator[CheckMessage]:
    for component, setting in MODELS.items():
        if getattr(conf, component).startswith(OPENAI) and not getattr(conf, setting):
            yield Error(
                f"{PREFIX}{component.upper()} needs the name of a model.",
                hint=f"Set {PREFIX}{setting.upper()} to a model of OPENAI_BASE_URL.",
                id="ingestion_pipeline.E010",
            )
    if conf.openai_base_url and not ADDRESS.match(conf.openai_base_url):
        yield Error(
            f"{PREFIX}OPENAI_BASE_URL is no address of an API.",
            hint="Use a URL such as http://localhost:11434/v1, or unset it.",
            id="ingestion_pipeline.E011",
        )
    for name in ("openai_concurrency", "openai_answer_tokens"):
        if getattr(conf, name) < 1:
            yield Error(
                f"{PREFIX}{name.upper()} must be at least 1.",
                hint="Remove the setting to use the default.",
                id="ingestion_pipeline.E012",
            )


def celery_backend() -> CeleryBackend | None:
    """None if tasks are in another queue, or the task cannot be imported."""
    try:
        backend = import_string(conf.task).get_backend()
    except Exception:  # noqa: BLE001  (importing runs the project's code)
        return None
    return backend if isinstance(backend, CeleryBackend) else None
