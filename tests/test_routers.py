"""ProgressRouter keeps the progress tables in their database."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType

from ingestion_progress.models import Job, Stage
from ingestion_progress.routers import ProgressRouter


@pytest.fixture
def router(settings) -> ProgressRouter:
    settings.INGESTION_PROGRESS_DATABASE = "progress"
    return ProgressRouter()


def test_only_progress_models_use_the_progress_database(router):
    assert router.db_for_read(Job) == router.db_for_write(Stage) == "progress"
    assert router.db_for_write(User) is None


def test_each_table_is_migrated_in_one_database(router):
    assert router.allow_migrate("progress", "ingestion_progress") is True
    assert router.allow_migrate("default", "ingestion_progress") is False
    assert router.allow_migrate("progress", "auth") is False
    assert router.allow_migrate("default", "auth") is None


def test_relations_are_allowed_among_progress_models(router):
    assert router.allow_relation(Job(), Stage()) is True
    assert router.allow_relation(User(), ContentType()) is None


def test_a_job_may_have_an_owner_in_another_database(router):
    assert router.allow_relation(Job(), User()) is True
    assert router.db_for_read(User, instance=Job()) == "default"
    assert router.db_for_read(User, instance=User()) is None


def test_default_database_keeps_all_tables(settings):
    settings.INGESTION_PROGRESS_DATABASE = "default"
    assert ProgressRouter().allow_migrate("default", "auth") is None
