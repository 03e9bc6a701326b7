"""Permissions to view and to start jobs, by user, token and CAN_VIEW hook."""

from __future__ import annotations

import time

import pytest
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.http import HttpRequest

from ingestion_progress.auth import permissions, revocations, tokens
from ingestion_progress.exceptions import AccessRefused

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

    def test_empty_header_takes_precedence_too(self, rf):
        request = rf.get("/?token=url", headers={"Authorization": "Bearer "})

        assert permissions.presented_token(request) == ""
        assert "url" not in request.get_full_path()

    def test_spaces_around_the_token_are_no_part_of_it(self, rf):
        request = rf.get("/", headers={"Authorization": "Bearer  header "})

        assert permissions.presented_token(request) == "header"

    def test_the_rest_of_the_url_keeps_its_encoding(self, rf):
        request = rf.get("/?token=secret&b=%E9")
        request.encoding = "latin-1"

        assert permissions.presented_token(request) == "secret"
        assert request.GET["b"] == "é"

    def test_last_token_of_several_in_the_url_counts(self, rf):
        assert permissions.presented_token(rf.get("/?token=a&token=b")) == "b"
        assert permissions.presented_token(rf.get("/")) == ""

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


def test_visitor_who_is_not_logged_in_is_no_user(visitor):
    assert permissions.user_of(visitor(AnonymousUser())) is None
    ada = User(username="ada")
    assert permissions.user_of(visitor(ada)) is ada


class TestGrants:
    @pytest.fixture
    def viewer(self, visitor, django_user_model):
        """A user who may view jobs."""
        user = django_user_model.objects.create_user("ada")
        visitor(user, permission="view_job")
        return django_user_model.objects.get(pk=user.pk)

    def with_token(self, rf, text: str, user=None):
        request = rf.get("/", {"token": text})
        if user is not None:
            request.user = user
        return request

    def test_grant_names_the_user_or_the_issuer_and_the_expiry(self, visitor, viewer, rf):
        text, token = tokens.issue(["a"], issuer_id=str(viewer.pk))
        by_session = permissions.grant_view(visitor(viewer), "a")
        by_token = permissions.grant_view(self.with_token(rf, text), "a")

        assert by_session == permissions.Grant(user_id=str(viewer.pk), expires_at=None)
        assert by_token == permissions.Grant(
            user_id=str(viewer.pk), expires_at=float(token.expires_at)
        )

    def test_public_site_grants_for_ever_and_hides_the_token(self, rf, settings):
        settings.INGESTION_PROGRESS_PUBLIC = True
        request = self.with_token(rf, "no-token")

        assert permissions.grant_view(request, "a") == permissions.Grant()
        assert "no-token" not in request.get_full_path()

    def test_token_takes_precedence_over_the_session(self, viewer, rf):
        request = self.with_token(rf, tokens.issue(["other"])[0], viewer)

        assert not permissions.may_view(request, "a")
        assert permissions.may_view(request, "a", by_token=False)

    def test_me_is_the_user_of_the_token_where_tokens_are_accepted(
        self, viewer, rf, django_user_model
    ):
        ben = django_user_model.objects.create_user("ben")
        text, _ = tokens.issue(None, issuer_id=str(viewer.pk))
        request = self.with_token(rf, text, ben)

        assert permissions.chosen_user_id(request, "me") == viewer.pk
        assert permissions.chosen_user_id(request, "me", by_token=False) == ben.pk
        refused = self.with_token(rf, "nonsense", ben)
        assert permissions.chosen_user_id(refused, "me") is None

    def test_token_counts_only_where_tokens_are_accepted(self, visitor, rf):
        request = self.with_token(rf, tokens.issue(["a"])[0], AnonymousUser())

        assert permissions.may_view(request, "a")
        assert not permissions.may_view(request, "a", by_token=False)

    def test_token_permits_no_more_than_its_issuer_may_view(
        self, viewer, visitor, rf, django_user_model
    ):
        stranger = django_user_model.objects.create_user("eve")
        issuers = {str(viewer.pk): True, str(stranger.pk): False, "4711": False, "no id": False}
        for issuer_id, is_permitted in issuers.items():
            request = self.with_token(rf, tokens.issue(["a"], issuer_id=issuer_id)[0])
            assert permissions.may_view(request, "a") is is_permitted
            assert permissions.recheck([(request, "a")]) == ["" if is_permitted else "forbidden"]

    def test_each_of_many_jobs_is_checked_with_one_query_for_the_issuer(
        self, viewer, rf, settings, monkeypatch, django_assert_num_queries
    ):
        settings.INGESTION_PROGRESS_CAN_VIEW = "tests.support.rules.own_jobs_only"
        text, token = tokens.issue(["ada-1", "ada-2", "ben-1"], issuer_id=str(viewer.pk))
        monkeypatch.setattr(revocations, "_second", lambda: 0)  # read once, here
        assert not revocations.is_revoked(token)
        with django_assert_num_queries(1):
            permissions.grant_view_of_each(self.with_token(rf, text), ["ada-1", "ada-2"])
        for job_ids in (["ada-1", "ben-1"], ["ben-1", "ada-1"]):
            with pytest.raises(AccessRefused):
                permissions.grant_view_of_each(self.with_token(rf, text), job_ids)

    def test_recheck_of_a_token_is_not_about_the_user_who_is_logged_in(
        self, viewer, rf, django_user_model
    ):
        text, _ = tokens.issue(["a"], issuer_id=str(viewer.pk))
        ben = django_user_model.objects.create_user("ben", is_active=False)

        assert permissions.recheck([(self.with_token(rf, text, ben), "a")]) == [""]

    def test_recheck_refuses_a_user_who_is_not_active_any_more_whatever_the_hook_says(
        self, viewer, visitor, settings, caplog
    ):
        settings.INGESTION_PROGRESS_CAN_VIEW = "tests.support.rules.own_jobs_only"
        asked = [(visitor(viewer), "ada-1")]
        assert permissions.recheck(asked) == [""]
        User.objects.update(is_active=False)
        assert permissions.recheck(asked) == ["forbidden"]
        User.objects.all().delete()
        assert permissions.recheck(asked) == ["forbidden"]
        assert "access_rule_failed" not in caplog.text

    def test_recheck_reads_the_issuer_of_many_tokens_once(
        self, viewer, rf, monkeypatch, django_assert_num_queries
    ):
        text, token = tokens.issue(["a"], issuer_id=str(viewer.pk))
        monkeypatch.setattr(revocations, "_second", lambda: 0)  # read once, here
        assert not revocations.is_revoked(token)
        asked = [(self.with_token(rf, text), "a") for _ in range(3)]
        with django_assert_num_queries(2):  # the user, and the permission
            assert permissions.recheck(asked) == [""] * 3

    def test_recheck_answers_in_order_with_the_reason(self, viewer, visitor, rf, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda: 1_000_000_000.0)
            expired, _ = tokens.issue(["a"])
        asked = [
            (self.with_token(rf, expired), "a"),
            (visitor(viewer), "a"),
            (self.with_token(rf, tokens.issue(["b"])[0]), "a"),
            (self.with_token(rf, "nonsense"), "a"),
            (visitor(AnonymousUser()), "a"),
        ]

        assert permissions.recheck(asked) == [
            "token_expired",
            "",
            "forbidden",
            "token_invalid",
            "unauthorized",
        ]


@pytest.mark.parametrize(
    ("setting", "header", "is_permitted"),
    [
        ("secret", "Bearer secret", True),
        ("secret", "Bearer other", False),
        ("secret", "Basic secret", False),
        ("secret", "", False),
        ("", "Bearer ", False),
        ("", "", False),
    ],
)
def test_metrics_need_the_token_of_the_settings(rf, settings, setting, header, is_permitted):
    settings.INGESTION_PROGRESS_METRICS_TOKEN = setting
    request = rf.get("/", headers={"Authorization": header} if header else {})

    assert permissions.has_metrics_token(request) is is_permitted
