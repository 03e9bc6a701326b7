"""Which batches exist for a request, and who may add a job to one."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest
from django.utils import timezone

from ingestion_progress.auth import batches, tokens
from ingestion_progress.exceptions import BatchNotFound
from ingestion_progress.models import Batch, Job
from ingestion_progress.models.pagination import RowCount

pytestmark = [pytest.mark.django_db, pytest.mark.database]

NOW = timezone.now()


@pytest.fixture(autouse=True)
def own_jobs(settings):
    settings.INGESTION_PROGRESS_PUBLIC = False
    settings.INGESTION_PROGRESS_VISIBLE_JOBS = "ingestion_progress.auth.visibility.own_jobs"


@pytest.fixture
def anna() -> User:
    return User.objects.create_user("anna")


@pytest.fixture
def bert() -> User:
    return User.objects.create_user("bert")


@pytest.fixture
def request_of(rf):
    def make(user: User | None, *, token_of: User | None = None) -> HttpRequest:
        headers = {}
        if token_of:
            text, _ = tokens.issue(None, issuer_id=str(token_of.pk))
            headers["authorization"] = f"Bearer {text}"
        request = rf.get("/", headers=headers)
        request.user = user or AnonymousUser()
        return request

    return make


def batch(name: str, *, owner: User | None = None, age: int = 0) -> Batch:
    at = NOW - timedelta(seconds=age)
    return Batch.objects.create(id=name, owner=owner, created_at=at)


def job(batch_id: str, owner: User | None, *, age: int = 0) -> Job:
    at = NOW - timedelta(seconds=age)
    return Job.objects.create(batch=batch_id, owner=owner, created_at=at)


def found(request: HttpRequest, **options: bool) -> list[str]:
    return [each.pk for each in batches.batches_for(request, **options)]


class TestList:
    def test_without_a_rule_all_batches_are_listed_the_newest_first(self, settings, request_of):
        settings.INGESTION_PROGRESS_VISIBLE_JOBS = ""
        for name, age in (("old", 9), ("b", 5), ("a", 5), ("new", 1)):
            batch(name, age=age)
        assert found(request_of(None)) == ["new", "a", "b", "old"]

    def test_a_user_finds_batches_with_a_visible_job_and_their_own(self, request_of, anna, bert):
        for number, name in enumerate(("joined", "hidden", "empty", "both")):
            batch(name, owner=anna if name in {"empty", "both"} else bert, age=number)
        for name, owner in (("joined", anna), ("both", anna), ("hidden", bert), ("", anna)):
            job(name, owner)
        batch("nobodys")
        assert found(request_of(anna)) == ["joined", "empty", "both"]
        assert found(request_of(bert)) == ["joined", "hidden"]
        assert found(request_of(None)) == []

    def test_a_token_finds_the_batches_of_its_user(self, request_of, anna, bert):
        batch("empty", owner=anna)
        batch("joined")
        job("joined", anna)
        request = request_of(bert, token_of=anna)
        assert set(found(request)) == {"empty", "joined"}
        assert found(request, by_token=False) == []

    def test_of_many_visible_jobs_the_newest_count(self, request_of, monkeypatch, anna):
        monkeypatch.setattr(RowCount, "limit", 1)
        for number, name in enumerate(("new", "old")):
            batch(name, age=number)
            job(name, anna, age=number)
        job("", anna, age=-1)  # in no batch
        assert found(request_of(anna)) == ["new"]


class TestOne:
    @pytest.mark.parametrize("batch_id", ["nobody", "a/b", "hidden"])
    def test_a_batch_that_does_not_exist_for_the_viewer_is_not_found(
        self, request_of, anna, bert, batch_id
    ):
        batch("hidden", owner=bert)
        job("hidden", bert)
        with pytest.raises(BatchNotFound):
            batches.batch_for(request_of(anna), batch_id)

    def test_their_own_batch_and_one_with_a_visible_job_are_found(self, request_of, anna, bert):
        batch("empty", owner=anna)
        batch("joined", owner=bert)
        job("joined", anna)
        for name in ("empty", "joined"):
            assert batches.batch_for(request_of(anna), name).pk == name
        request = request_of(bert, token_of=anna)
        assert batches.batch_for(request, "empty").pk == "empty"
        with pytest.raises(BatchNotFound):
            batches.batch_for(request, "empty", by_token=False)
        batch("by-job")
        job("by-job", anna)
        assert batches.batch_for(request, "by-job").pk == "by-job"
        with pytest.raises(BatchNotFound):
            batches.batch_for(request, "by-job", by_token=False)
        with pytest.raises(BatchNotFound):
            batches.batch_for(request_of(None), "empty")

    def test_a_batch_is_whole_if_all_its_jobs_are_visible(self, settings, request_of, anna, bert):
        mixed, annas = batch("mixed", owner=anna), batch("annas", owner=bert)
        for name, owner in (("mixed", anna), ("mixed", bert), ("annas", anna)):
            job(name, owner)
        assert not batches.is_whole(request_of(anna), mixed)
        assert batches.is_whole(request_of(anna), annas)
        request = request_of(bert, token_of=anna)
        assert batches.is_whole(request, annas)
        assert not batches.is_whole(request, annas, by_token=False)
        settings.INGESTION_PROGRESS_VISIBLE_JOBS = ""
        assert batches.is_whole(request_of(anna), mixed)


class TestJoining:
    def test_without_a_rule_everybody_may_join(self, settings, request_of, bert):
        settings.INGESTION_PROGRESS_VISIBLE_JOBS = ""
        batch("import", owner=bert)
        assert batches.may_join(request_of(None), "import")

    def test_a_user_may_join_what_exists_for_them_and_what_does_not_exist(
        self, request_of, anna, bert
    ):
        batch("own", owner=anna)
        batch("joined", owner=bert)
        job("joined", anna)
        batch("hidden", owner=bert)
        batch("nobodys")
        job("record-less", bert)
        may_join = {
            name: batches.may_join(request_of(anna), name)
            for name in ("new", "own", "joined", "hidden", "nobodys", "record-less")
        }
        assert {name for name, may in may_join.items() if may} == {"new", "own", "joined"}

    def test_a_token_lets_nobody_join(self, request_of, anna, bert):
        batch("own", owner=anna)
        assert not batches.may_join(request_of(bert, token_of=anna), "own")
        request = request_of(bert)
        text, _ = tokens.issue(None)  # of no user: shows all jobs
        request.META["HTTP_AUTHORIZATION"] = f"Bearer {text}"
        assert batches.batch_for(request, "own").pk == "own"
        assert not batches.may_join(request, "own")

    def test_a_visitor_may_join_what_belongs_to_nobody(self, request_of, anna):
        batch("nobodys")
        job("nobodys", None)
        batch("owned", owner=anna)
        batch("mixed")
        job("mixed", None)
        job("mixed", anna)
        may_join = [
            batches.may_join(request_of(None), name) for name in ("nobodys", "owned", "mixed")
        ]
        assert may_join == [True, False, False]
