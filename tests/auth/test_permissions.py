"""Permissions to view and to start jobs, by user, token and CAN_VIEW hook."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.http import HttpRequest

from ingestion_progress.auth import permissions, tokens

pytestmark = pytest.mark.django_db


@pytest.fixture
def visitor(rf, settings):
    """Makes a request of a user to a site that is not public."""
    settings.INGESTION_PROGRESS_PUBLIC = False

    def make(user=None, *, permission: str = ""):
        request = rf.get("/")
        if permission:
            user.user_permissions.add(Permission.objects.get(codename=permission))
        if user is not None:
            request.user = user
        return request

    return make


def test_public_site_permits_everything(rf, settings):
    settings.INGESTION_PROGRESS_PUBLIC = True

    assert permissions.may_view(rf.get("/"), "job")
    assert permissions.may_start(rf.get("/"))


@pytest.mark.parametrize("user", [None, AnonymousUser()])
def test_anonymous_request_gets_401(visitor, user):
    request = visitor(user)

    assert not permissions.may_view(request, "job")
    assert not permissions.may_start(request)
    assert permissions.refusal_code(request).status == 401


def test_user_without_permission_gets_403(visitor, django_user_model):
    request = visitor(django_user_model.objects.create_user("ada"))

    assert not permissions.may_view(request, "job")
    assert permissions.refusal_code(request).status == 403


def test_viewing_and_starting_need_separate_permissions(visitor, django_user_model):
    viewer = visitor(django_user_model.objects.create_user("ada"), permission="view_job")
    starter = visitor(django_user_model.objects.create_user("ben"), permission="start_job")

    assert permissions.may_view(viewer, "job")
    assert not permissions.may_start(viewer)
    assert permissions.may_start(starter)
    assert not permissions.may_view(starter, "job")


def test_inactive_user_is_refused_despite_permissions(visitor, django_user_model):
    user: User = django_user_model.objects.create_superuser("ada", is_active=False)

    assert not permissions.may_view(visitor(user), "job")


class TestCanViewHook:
    @pytest.fixture(autouse=True)
    def _hooked(self, settings):
        settings.INGESTION_PROGRESS_CAN_VIEW = "tests.support.rules.own_jobs_only"

    def test_it_decides_for_each_job(self, visitor, django_user_model):
        request = visitor(django_user_model.objects.create_user("ada"))

        assert permissions.may_view(request, "ada-1")
        assert not permissions.may_view(request, "ben-1")
        assert not permissions.may_view(request, "")

    def test_it_replaces_the_permission(self, visitor, django_user_model):
        request = visitor(django_user_model.objects.create_user("ada"), permission="view_job")

        assert not permissions.may_view(request, "ben-1")

    def test_it_decides_on_a_public_site_too(self, visitor, settings):
        request = visitor(AnonymousUser())
        settings.INGESTION_PROGRESS_PUBLIC = True

        assert not permissions.is_open()
        assert not permissions.may_view(request, "ada-1")

    def test_it_gets_the_request(self, rf, settings):
        settings.INGESTION_PROGRESS_CAN_VIEW = "tests.support.rules.asked_in_person"

        assert permissions.may_view(rf.get("/", headers={"X-Job": "a"}), "a")
        assert not permissions.may_view(rf.get("/"), "a")

    def test_job_that_may_not_be_viewed_may_not_be_changed(self, visitor, django_user_model):
        request = visitor(django_user_model.objects.create_user("ada"), permission="start_job")

        assert permissions.may_start(request)
        assert permissions.may_start(request, "ada-1")
        assert not permissions.may_start(request, "ben-1")

    def test_it_does_not_permit_starting(self, visitor, django_user_model):
        request = visitor(django_user_model.objects.create_user("ada"))

        assert not permissions.may_start(request, "ada-1")

    @pytest.mark.parametrize("is_active", [True, False])
    def test_token_is_valid_while_its_issuer_is_active(self, rf, django_user_model, is_active):
        issuer = django_user_model.objects.create_user("ada", is_active=is_active)
        token, _ = tokens.issue(["ada-1"], issuer_id=str(issuer.pk))

        assert permissions.may_view(rf.get("/", {"token": token}), "ada-1") is is_active


class TestPresentedToken:
    def test_header_takes_precedence_over_the_url(self, rf):
        request = rf.get("/?token=url", headers={"Authorization": "bearer header"})

        assert permissions.presented_token(request) == "header"

    def test_another_scheme_is_no_token(self, rf):
        assert (
            permissions.presented_token(rf.get("/", headers={"Authorization": "Basic abc"})) == ""
        )

    @pytest.mark.parametrize("factory", ["rf", "async_rf"])
    def test_token_is_removed_from_the_url(self, request, factory):
        asked: HttpRequest = request.getfixturevalue(factory).get("/jobs/?a=1&token=secret&b=é")

        assert permissions.presented_token(asked) == "secret"
        assert permissions.presented_token(asked) == "secret"
        assert "secret" not in asked.get_full_path()
        assert "secret" not in repr(asked)
        assert dict(asked.GET) == {"a": ["1"], "b": ["é"]}
        assert b"secret" not in getattr(asked, "scope", {}).get("query_string", b"")
