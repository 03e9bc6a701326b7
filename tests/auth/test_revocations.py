"""Revoked tokens: refused, their streams ended, and forgotten when they have expired."""

from __future__ import annotations

import io
import time
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from ingestion_progress.auth import permissions, revocations, tokens
from ingestion_progress.exceptions import AccessRefused, InvalidTokenRequest
from ingestion_progress.models import TokenRevocation
from ingestion_progress.models.clock import database_clock
from ingestion_progress.tracker import queue_job
from tests.support.api import JOBS, refusal
from tests.support.clocks import host_ahead

pytestmark = [pytest.mark.django_db, pytest.mark.database]

URL = "/api/v1/admin/ingestion/stream-tokens"
KEY = "k" * 32


@pytest.fixture(autouse=True)
def _closed(settings):
    settings.INGESTION_PROGRESS_PUBLIC = False
    settings.INGESTION_PROGRESS_TOKEN_KEY = KEY
    queue_job("a.pdf", job_id="a")
    revocations._read.cache_clear()
    yield
    revocations._read.cache_clear()


@pytest.fixture
def viewer(client):
    user = User.objects.create_user("ada")
    user.user_permissions.set(Permission.objects.filter(codename="view_job"))
    client.force_login(user)
    return user


def issued_by(client):
    answer = client.post(URL, {"jobs": ["a"]}, content_type="application/json")
    assert answer.status_code == 200, answer.content
    return answer.json()


def read(token):
    return Client().get(f"{JOBS}/a", headers={"Authorization": f"Bearer {token}"})


def test_a_token_is_revoked_by_its_id(client, viewer):
    token, other = issued_by(client), issued_by(client)
    assert read(token["token"]).status_code == 200
    assert client.delete(f"{URL}/{token['id']}").status_code == 204
    refusal(read(token["token"]), 401, "token_revoked")
    assert read(other["token"]).status_code == 200


def test_tokens_of_a_host_whose_clock_is_ahead_are_revoked(viewer, monkeypatch):
    with host_ahead(monkeypatch, 30):
        token = tokens.issue(["a"], issuer_id=str(viewer.pk))[0]
    revocations.revoke_all_of(str(viewer.pk))
    refusal(read(token), 401, "token_revoked")


def test_host_whose_clock_is_behind_refuses_what_was_revoked_as_long_as_it_has_not_expired(
    monkeypatch,
):
    text, token = tokens.issue(["a"], minutes=0.5)
    monkeypatch.setattr(database_clock, "_offset_seconds", 90.0)
    revocations.revoke(text)
    assert revocations.is_revoked(token)


def test_host_whose_clock_is_ahead_keeps_and_reads_the_revocations_of_others(monkeypatch):
    text, token = tokens.issue(["a"])
    revocations.revoke(text)
    with host_ahead(monkeypatch, 7200):
        revocations.revoke("another")
        assert revocations.is_revoked(token)
    assert TokenRevocation.objects.count() == 2
    refusal(read(text), 401, "token_revoked")


def test_all_tokens_of_a_user_are_revoked_and_later_ones_are_not(client, viewer):
    first, foreign = issued_by(client), tokens.issue(["a"])[0]
    assert client.delete(URL).status_code == 204
    refusal(read(first["token"]), 401, "token_revoked")
    assert read(issued_by(client)["token"]).status_code == 200
    assert read(foreign).status_code == 200


def test_tokens_between_two_revocations_of_a_user_are_revoked_by_the_second(client, viewer):
    tokens_between = []
    for _ in range(2):
        assert client.delete(URL).status_code == 204
        tokens_between.append(issued_by(client)["token"])
    between, after = tokens_between
    refusal(read(between), 401, "token_revoked")
    assert read(after).status_code == 200


def test_tokens_of_a_user_stay_revoked_until_the_last_of_them_has_expired(viewer, monkeypatch):
    issuer_id = str(viewer.pk)
    token = tokens.issue(["a"], minutes=60, issuer_id=issuer_id)[1]
    revocations.revoke_all_of(issuer_id)
    monkeypatch.setattr(database_clock, "_offset_seconds", 59 * 60.0)
    revocations._read.cache_clear()
    assert revocations.is_revoked(token)


def test_revoking_needs_a_login():
    refusal(Client().delete(URL), 401, "unauthorized")
    refusal(Client().delete(f"{URL}/some"), 401, "unauthorized")
    assert not TokenRevocation.objects.exists()


@pytest.mark.parametrize("by", ["text", "id"])
def test_the_command_revokes_a_token(by):
    text, token = tokens.issue(None)
    assert token.id.isalnum()  # no option of a command line
    out = io.StringIO()
    call_command("stream_token", "--revoke", text if by == "text" else token.id, stdout=out)
    assert "Open streams end within 20 seconds." in out.getvalue()
    refusal(read(text), 401, "token_revoked")


def test_the_command_revokes_all_tokens_of_a_user(client, viewer):
    token = issued_by(client)["token"]
    call_command("stream_token", "--revoke-all-of", "ada", stdout=io.StringIO())
    refusal(read(token), 401, "token_revoked")
    with pytest.raises(CommandError, match="There is no user nobody"):
        call_command("stream_token", "--revoke-all-of", "nobody")


def test_a_text_that_is_no_token_and_a_token_without_an_id_cannot_be_revoked():
    claims = {"aud": "ingestion-progress", "exp": time.time() + 60, "jobs": ["a"]}
    foreign = jwt.encode(claims, KEY, algorithm="HS256")
    with pytest.raises(InvalidTokenRequest, match="has no id"):
        revocations.revoke(foreign)
    with pytest.raises(AccessRefused):
        revocations.revoke(foreign[:-3])
    with pytest.raises(InvalidTokenRequest):
        revocations.revoke("x" * 256)
    assert read(foreign).status_code == 200


def test_a_token_of_another_service_with_an_id_can_be_revoked():
    claims = {"aud": "ingestion-progress", "exp": time.time() + 60, "jobs": ["a"], "jti": "7"}
    revocations.revoke(text := jwt.encode(claims, KEY, algorithm="HS256"))
    refusal(read(text), 401, "token_revoked")
    latest = timezone.now() + timedelta(seconds=61) + revocations.CLOCK_MARGIN
    assert latest - timedelta(seconds=10) < TokenRevocation.objects.get().expires_at < latest


def test_any_number_of_tokens_is_one_query_a_second(rf, monkeypatch, django_assert_num_queries):
    texts = [tokens.issue(["a"])[0] for _ in range(3)]
    requests = [rf.get("/", headers={"Authorization": f"Bearer {text}"}) for text in texts]
    monkeypatch.setattr(revocations, "_second", lambda: 1000)
    with django_assert_num_queries(1):
        assert permissions.recheck([(request, "a") for request in requests]) == [""] * 3
    monkeypatch.setattr(revocations, "_second", lambda: 1001)
    with django_assert_num_queries(1):
        permissions.grant_view(requests[0], "a")


def test_open_streams_of_a_revoked_token_are_refused_by_the_recheck(rf):
    text, token = tokens.issue(["a"])
    request = rf.get("/", headers={"Authorization": f"Bearer {text}"})
    assert permissions.recheck([(request, "a")]) == [""]
    revocations.revoke(token.id)
    assert permissions.recheck([(request, "a")]) == ["token_revoked"]


@pytest.mark.parametrize(
    ("token_id", "issuer_id", "issued_at", "is_revoked"),
    [
        ("known", "", 0.0, True),
        ("other", "7", 100.0, True),  # to the microsecond
        ("other", "7", 100.1, False),
        ("other", "8", 99.0, False),
        ("", "", 0.0, False),
    ],
)
def test_a_revocation_is_about_one_token_or_all_of_a_user_until_then(
    token_id, issuer_id, issued_at, is_revoked
):
    revocations.revoke("known")
    revocations.revoke_all_of("7")
    at = datetime.fromtimestamp(100, UTC)
    TokenRevocation.objects.filter(issuer_id="7").update(revoked_at=at)
    revocations._read.cache_clear()
    token = tokens.StreamToken(
        jobs=None, expires_at=200, id=token_id, issuer_id=issuer_id, issued_at=issued_at
    )
    assert revocations.is_revoked(token) is is_revoked


def test_the_latest_of_several_revocations_of_a_user_counts():
    for seconds in (100, 50):
        TokenRevocation.objects.create(
            issuer_id="7",
            revoked_at=datetime.fromtimestamp(seconds, UTC),
            expires_at=timezone.now() + timedelta(hours=1),
        )
    token = tokens.StreamToken(jobs=None, expires_at=200, issuer_id="7", issued_at=75.0)
    assert revocations.is_revoked(token)


@pytest.mark.parametrize("claims", [{}, {"iat": "soon"}, {"iat": None}])
def test_a_token_that_does_not_say_when_it_was_issued_is_revoked_with_all_of_its_user(
    viewer, claims
):
    issuer_id = str(viewer.pk)
    claims |= {"aud": "ingestion-progress", "exp": time.time() + 60, "jobs": ["a"]}
    text = jwt.encode(claims | {"minted_by": issuer_id}, KEY, algorithm="HS256")
    assert read(text).status_code == 200
    revocations.revoke_all_of(issuer_id)
    refusal(read(text), 401, "token_revoked")


def test_a_revocation_counts_as_long_as_tokens_live_and_hosts_may_differ(settings):
    settings.INGESTION_PROGRESS_TOKEN_MAX_MINUTES = 60
    before = timezone.now()
    revocations.revoke("known")
    revocations.revoke_all_of("7")
    for row in TokenRevocation.objects.all():
        assert row.expires_at >= before + timedelta(minutes=60) + revocations.CLOCK_MARGIN
    token = tokens.StreamToken(jobs=None, expires_at=200, id="known")
    assert revocations.is_revoked(token)
    TokenRevocation.objects.update(expires_at=before)
    revocations._read.cache_clear()
    assert not revocations.is_revoked(token)


def test_any_other_text_is_an_id_unless_it_cannot_be_shown():
    revocations.revoke("a.b.c.d")
    assert TokenRevocation.objects.get().token_id == "a.b.c.d"
    for text in ("", "a\0b", "x" * 256):
        with pytest.raises(InvalidTokenRequest):
            revocations.revoke(text)


def test_expired_revocations_are_removed_by_the_next():
    revocations.revoke("first")
    TokenRevocation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    revocations.revoke("second")
    assert [row.token_id for row in TokenRevocation.objects.all()] == ["second"]
