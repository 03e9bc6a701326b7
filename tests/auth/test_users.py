"""Users of many open streams, read some hundred at a time."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission

from ingestion_progress.auth import users

pytestmark = pytest.mark.django_db


def test_a_user_model_with_its_own_rule_decides_about_each_user(django_user_model, monkeypatch):
    ada = django_user_model.objects.create_user("ada")
    ada.user_permissions.add(Permission.objects.get(codename="view_job"))
    assert users.may_view_jobs(users.read([str(ada.pk)])[str(ada.pk)])
    monkeypatch.setattr(django_user_model, "has_perm", lambda self, permission, obj=None: False)
    assert not users.may_view_jobs(users.read([str(ada.pk)])[str(ada.pk)])


def test_users_of_a_manager_that_knows_no_permissions_are_asked_one_by_one(
    django_user_model, monkeypatch
):
    ada, ben = map(django_user_model.objects.create_user, ["ada", "ben"])
    ada.user_permissions.add(Permission.objects.get(codename="view_job"))
    monkeypatch.setattr(django_user_model, "objects", django_user_model._base_manager)
    found = users.read([str(ada.pk), str(ben.pk)])
    assert users.may_view_jobs(found[str(ada.pk)])
    assert not users.may_view_jobs(found[str(ben.pk)])


@pytest.mark.parametrize("is_first", [True, False])
def test_a_query_decides_only_if_the_first_backend_is_that_of_the_models(
    django_user_model, settings, is_first
):
    backends = [users.MODEL_BACKEND, "django.contrib.auth.backends.AllowAllUsersModelBackend"]
    settings.AUTHENTICATION_BACKENDS = backends if is_first else backends[::-1]
    ada = django_user_model.objects.create_user("ada")
    ada.user_permissions.add(Permission.objects.get(codename="view_job"))
    (found,) = users.read([str(ada.pk)]).values()
    assert found.is_job_viewer is is_first
    assert users.may_view_jobs(found)


def test_users_of_every_batch_are_read_with_their_permission(
    django_user_model, monkeypatch, django_assert_num_queries
):
    monkeypatch.setattr(users, "BATCH_SIZE", 2)
    everyone = [django_user_model.objects.create_user(name) for name in ("ada", "ben", "eve")]
    everyone[2].user_permissions.add(Permission.objects.get(codename="view_job"))
    with django_assert_num_queries(4):
        found = users.read(str(user.pk) for user in everyone)

    assert {key: user.is_job_viewer for key, user in found.items()} == {
        str(user.pk): user.username == "eve" for user in everyone
    }
