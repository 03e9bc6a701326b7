"""Quotas: counted once, exactly, for all processes."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError, connection, models
from django.test import Client
from django.utils import timezone

from ingestion_progress.auth import quotas
from ingestion_progress.exceptions import QuotaExceeded
from ingestion_progress.models import Job, QuotaCount
from ingestion_progress.models.clock import database_clock
from tests.support.api import JOBS, refusal
from tests.support.clocks import host_ahead
from tests.support.documents import storage  # noqa: F401

pytestmark = pytest.mark.django_db

NOW = quotas._now
TOKENS = "/api/v1/admin/ingestion/stream-tokens"
LOGIN = ["/login/", "/admin/login/"]


@pytest.fixture(autouse=True)
def moment(monkeypatch):
    """Ten minutes after the begin of this hour, so that no test runs into the next."""
    moment = int(time.time()) // 3600 * 3600 + 600
    monkeypatch.setattr(quotas, "_now", lambda: moment)
    return moment


@pytest.fixture
def request_from(rf):
    def make(address="192.0.2.1", user=None):
        request = rf.post("/", REMOTE_ADDR=address)
        request.user = user or AnonymousUser()
        return request

    return make


@pytest.fixture
def per_address(settings):
    settings.INGESTION_PROGRESS_UPLOADS_PER_HOUR_PER_ADDRESS = 2
    settings.INGESTION_PROGRESS_TOKENS_PER_HOUR_PER_ADDRESS = 2


def log_in(client, url, password, name="ada", **more):
    return client.post(url, {"username": name, "password": password, **more})


class TestCounting:
    def test_hosts_whose_clocks_differ_count_together(
        self, request_from, per_address, moment, monkeypatch
    ):
        here = datetime.fromtimestamp(moment, UTC)
        monkeypatch.setattr(timezone, "now", lambda: here)
        monkeypatch.setattr(database_clock, "_offset_seconds", 0.0)
        monkeypatch.setattr(quotas, "_now", NOW)
        quotas.count(request_from(), quotas.UPLOADS)
        with host_ahead(monkeypatch, 7200):
            quotas.count(request_from("192.0.2.2"), quotas.UPLOADS)  # deletes old counts
            quotas.count(request_from(), quotas.UPLOADS)
        with pytest.raises(QuotaExceeded):
            quotas.count(request_from(), quotas.UPLOADS)

    @pytest.mark.parametrize(
        ("first", "second", "is_same"),
        [
            ("192.0.2.1", "::ffff:192.0.2.1", True),
            ("2001:db8::1", "2001:db8::2", True),
            ("2001:db8::1", "2001:db8:0:1::1", False),
            ("2001:db8::1", "2001:db8::ffff:0:0:1", True),
            ("192.0.2.1", "192.0.2.2", False),
            ("proxy-1", "proxy-2", False),
        ],
    )
    def test_addresses_of_one_customer_count_together(
        self, request_from, per_address, first, second, is_same
    ):
        for _ in range(2):
            quotas.count(request_from(first), quotas.UPLOADS)
        if is_same:
            with pytest.raises(QuotaExceeded):
                quotas.count(request_from(second), quotas.UPLOADS)
        else:
            quotas.count(request_from(second), quotas.UPLOADS)

    def test_0_is_no_limit_and_needs_no_query(
        self, request_from, settings, django_assert_num_queries
    ):
        settings.INGESTION_PROGRESS_UPLOADS_PER_HOUR_PER_USER = 0
        with django_assert_num_queries(0):
            quotas.count(request_from(user=User(pk=5)), quotas.UPLOADS)

    def test_actions_users_and_addresses_are_separate(self, request_from, per_address):
        for _ in range(2):
            quotas.count(request_from(), quotas.UPLOADS)
            quotas.count(request_from(), quotas.TOKENS)
            quotas.count(request_from("192.0.2.2"), quotas.UPLOADS)
        assert QuotaCount.objects.count() == 3

    def test_what_an_address_is_refused_does_not_count_for_the_user(self, request_from, settings):
        settings.INGESTION_PROGRESS_FAILED_LOGINS_PER_HOUR_PER_USER = 3
        settings.INGESTION_PROGRESS_FAILED_LOGINS_PER_HOUR_PER_ADDRESS = 1
        quotas.count(request_from(), quotas.FAILED_LOGINS, "ada")
        for _ in range(5):
            with pytest.raises(QuotaExceeded):
                quotas.count(request_from(), quotas.FAILED_LOGINS, "ada")
        for address in ("192.0.2.2", "192.0.2.3"):
            quotas.count(request_from(address), quotas.FAILED_LOGINS, "ada")
        with pytest.raises(QuotaExceeded):
            quotas.count(request_from("192.0.2.4"), quotas.FAILED_LOGINS, "ada")

    def test_more_is_not_given_back_than_was_counted(self, request_from, per_address):
        request = request_from()
        quotas.count(request, quotas.UPLOADS)
        for _ in range(2):  # what was counted in the hour before is given back too
            quotas.give_back(request, quotas.UPLOADS)
        assert QuotaCount.objects.get().count == 0

    def test_a_look_counts_nothing(self, request_from, per_address):
        quotas.count(request_from(), quotas.UPLOADS)
        for _ in range(2):
            quotas.count(request_from(), quotas.TOKENS)
            quotas.count(request_from("192.0.2.2"), quotas.UPLOADS)
        for _ in range(3):
            quotas.check(request_from(), quotas.UPLOADS)
        quotas.count(request_from(), quotas.UPLOADS)
        with pytest.raises(QuotaExceeded) as refused:
            quotas.check(request_from(), quotas.UPLOADS)
        assert 0 < int(refused.value.headers["Retry-After"]) <= 3600
        assert "the limit is 2 per hour. Try again in" in str(refused.value)

    def test_the_next_window_begins_at_0_and_removes_the_old_one(
        self, request_from, per_address, monkeypatch, moment
    ):
        for _ in range(2):
            quotas.count(request_from(), quotas.UPLOADS)
        hour = timedelta(hours=1)
        QuotaCount.objects.update(expires_at=timezone.now() - hour)
        monkeypatch.setattr(quotas, "_now", lambda: moment + 3600)
        quotas.count(request_from(), quotas.UPLOADS)
        assert [row.count for row in QuotaCount.objects.all()] == [1]

    def test_a_new_count_deletes_a_limited_number_of_old_ones(
        self, request_from, per_address, monkeypatch
    ):
        monkeypatch.setattr(quotas, "PRUNED_AT_ONCE", 2)
        yesterday = timezone.now() - timedelta(days=1)
        QuotaCount.objects.bulk_create(
            QuotaCount(key=f"{n}", expires_at=yesterday) for n in range(5)
        )
        for address in ("192.0.2.1", "192.0.2.2"):
            quotas.count(request_from(address), quotas.UPLOADS)
        assert QuotaCount.objects.filter(expires_at=yesterday).count() == 1

    def test_the_first_two_of_an_hour_at_once_are_both_counted(
        self, request_from, per_address, monkeypatch
    ):
        counts, calls = quotas._counts, []

        def counted_by_another_request_before_the_second_query():
            calls.append(1)
            if len(calls) == 2:
                quotas.count(request_from(), quotas.UPLOADS)
            return counts()

        monkeypatch.setattr(quotas, "_counts", counted_by_another_request_before_the_second_query)
        quotas.count(request_from(), quotas.UPLOADS)
        assert set(QuotaCount.objects.values_list("count", flat=True)) == {2}

    @pytest.mark.parametrize(
        ("name", "spelling"),
        [("ada", " ADA"), ("ada", "\uff21\uff24\uff21"), ("weiß", "WEISS"), ("\ud800", "\ud800")],
    )
    def test_spellings_of_one_user_name_count_together(
        self, request_from, settings, name, spelling
    ):
        settings.INGESTION_PROGRESS_FAILED_LOGINS_PER_HOUR_PER_USER = 1
        quotas.count(request_from(), quotas.FAILED_LOGINS, name)
        with pytest.raises(QuotaExceeded):
            quotas.count(request_from("192.0.2.2"), quotas.FAILED_LOGINS, spelling)

    def test_the_time_to_wait_is_never_too_short(
        self, request_from, per_address, monkeypatch, moment
    ):
        monkeypatch.setattr(quotas, "_now", lambda: moment + 2999.5)
        for _ in range(2):
            quotas.count(request_from(), quotas.UPLOADS)
        with pytest.raises(QuotaExceeded) as refused:
            quotas.count(request_from(), quotas.UPLOADS)
        assert refused.value.headers["Retry-After"] == "1"

    def test_user_names_are_not_stored(self, request_from):
        quotas.count(request_from(), quotas.FAILED_LOGINS, "a-password")
        assert "a-password" not in str(QuotaCount.objects.values())


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_threads_at_once_get_exactly_the_limit(request_from, settings):
    settings.INGESTION_PROGRESS_UPLOADS_PER_HOUR_PER_USER = 10
    old = timezone.now() - timedelta(hours=2)
    QuotaCount.objects.bulk_create(QuotaCount(key=str(n), expires_at=old) for n in range(150))
    permitted, start = [], threading.Barrier(4)

    def work():
        start.wait()
        for _ in range(5):
            try:
                quotas.count(request_from(user=User(pk=5)), quotas.UPLOADS)
            except QuotaExceeded:
                continue
            finally:
                connection.close()
            permitted.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(permitted) == 10
    assert QuotaCount.objects.filter(expires_at__gt=timezone.now()).count() == 1
    assert QuotaCount.objects.filter(expires_at=old).count() <= 50


@pytest.mark.usefixtures("storage", "per_address")
class TestUploads:
    def upload(self, client, bees=1):
        file = SimpleUploadedFile("a.txt", f"{bees} bees make honey.".encode())
        return client.post(JOBS, {"file": file})

    def test_api_answers_429_with_the_time(self, client, settings):
        settings.INGESTION_PROGRESS_PUBLIC = True
        assert [self.upload(client, bees).status_code for bees in (2, 3)] == [201, 201]
        response = self.upload(client)
        error = refusal(response, 429, "too_many_requests")
        assert (
            error.message == "Too many uploads: the limit is 2 per hour. Try again in 50 minutes."
        )
        assert response["Retry-After"] == "3000"
        assert Job.objects.count() == 2

    def test_form_says_so_for_each_file(self, client, settings):
        settings.INGESTION_PROGRESS_PUBLIC = True
        files = [SimpleUploadedFile(f"{n}.txt", f"{n} bees".encode()) for n in range(3)]
        page = client.post("/", {"file": files}, follow=True).content.decode()
        assert page.count("is queued.") == 2
        assert page.count("Too many uploads") == 1

    def test_refused_senders_are_not_counted(self, client, settings):
        settings.INGESTION_PROGRESS_PUBLIC = False
        refusal(self.upload(client), 401, "unauthorized")
        assert not QuotaCount.objects.exists()

    def test_database_that_is_down_is_503(self, client, settings, monkeypatch):
        client.raise_request_exception = False
        settings.INGESTION_PROGRESS_PUBLIC = True

        def fail(*args, **kwargs):
            raise OperationalError

        monkeypatch.setattr(models.QuerySet, "update", fail)
        refusal(self.upload(client), 503, "unavailable")


def test_tokens_of_a_user_are_limited(settings):
    settings.INGESTION_PROGRESS_PUBLIC = False
    settings.INGESTION_PROGRESS_TOKENS_PER_HOUR_PER_USER = 1
    for name, codes in (("ada", [200, 429]), ("ben", [200])):
        user, client = User.objects.create_user(name), Client()
        user.user_permissions.set(Permission.objects.filter(codename="view_job"))
        client.force_login(user)
        answers = [
            client.post(TOKENS, {"jobs": ["a"]}, content_type="application/json") for _ in codes
        ]
        assert [each.status_code for each in answers] == codes
    assert "Retry-After" not in answers[0]


@pytest.mark.parametrize("which", ["", "/some"])
def test_revocations_count_like_tokens(client, settings, which):
    settings.INGESTION_PROGRESS_TOKENS_PER_HOUR_PER_USER = 1
    client.force_login(User.objects.create_user("ada"))
    assert client.delete(TOKENS + which).status_code == 204
    refusal(client.delete(TOKENS + which), 429, "too_many_requests")


@pytest.mark.parametrize("url", LOGIN)
class TestLogins:
    @pytest.fixture(autouse=True)
    def _limits(self, settings):
        settings.INGESTION_PROGRESS_FAILED_LOGINS_PER_HOUR_PER_USER = 2
        settings.INGESTION_PROGRESS_FAILED_LOGINS_PER_HOUR_PER_ADDRESS = 4
        User.objects.create_superuser("ada", password="right")

    def test_failures_for_a_name_are_limited_from_any_address(self, client, url):
        for n, name in enumerate(("ada", " ADA")):
            answer = log_in(client, url, "wrong", name, REMOTE_ADDR=f"192.0.2.{n}")
            assert answer.status_code == 200
        answer = log_in(client, url, "right")
        assert answer.status_code == 429
        assert 0 < int(answer["Retry-After"]) <= 3600
        assert "Too many failed logins: the limit is 2 per hour." in answer.content.decode()
        assert "_auth_user_id" not in client.session

    def test_a_name_without_a_user_gets_the_same_answers(self, client, url):
        answers = [log_in(client, url, "wrong", "nobody") for _ in range(3)]
        assert [each.status_code for each in answers] == [200, 200, 429]

    def test_failures_of_an_address_are_limited_for_all_names(self, client, url):
        answers = [log_in(client, url, "wrong", f"name-{n}") for n in range(5)]
        assert [each.status_code for each in answers] == [200] * 4 + [429]

    def test_successful_logins_do_not_count(self, client, url):
        for _ in range(5):
            assert log_in(client, url, "right", next="/").status_code == 302
            client.logout()
        assert not QuotaCount.objects.filter(count__gt=0).exists()

    def test_a_failure_of_somebody_who_is_logged_in_counts(self, client, url):
        client.force_login(User.objects.create_superuser("ben"))
        answers = [log_in(client, url, "wrong") for _ in range(3)]
        assert [each.status_code for each in answers] == [200, 200, 429]
