from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from ingestion_progress.models import Job, Stage
from ingestion_progress.routers import ProgressRouter


@pytest.fixture
def router(settings) -> ProgressRouter:
    settings.INGESTION_PROGRESS_DATABASE = "progress"
    return ProgressRouter()


def test_progress_goes_to_its_own_database_and_nothing_else_does(router):
    assert router.db_for_read(Job) == router.db_for_write(Stage) == "progress"
    assert router.db_for_write(User) is None


def test_each_table_is_made_in_one_place_only(router):
    assert router.allow_migrate("progress", "ingestion_progress") is True
    assert router.allow_migrate("default", "ingestion_progress") is False
    assert router.allow_migrate("progress", "auth") is False
    assert router.allow_migrate("default", "auth") is None


def test_relations_stay_among_progress_rows(router):
    assert router.allow_relation(Job(), Stage()) is True
    assert router.allow_relation(Job(), User()) is None


def test_without_a_database_of_its_own_nothing_is_held_back(settings):
    settings.INGESTION_PROGRESS_DATABASE = "default"
    assert ProgressRouter().allow_migrate("default", "auth") is None
