"""The key by which tabs of one browser recognise the same viewer."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from django.contrib.auth.models import AnonymousUser

from ingestion_progress.auth.viewers import viewer_key

pytestmark = pytest.mark.django_db


@pytest.fixture
def key_of(rf):
    def key_of(user=None, session_key=None):
        request = rf.get("/")
        request.user = user or AnonymousUser()
        request.session = SimpleNamespace(session_key=session_key)
        return viewer_key(request)

    return key_of


def test_each_login_has_a_key_that_does_not_tell_the_session(key_of, django_user_model, settings):
    settings.INGESTION_PROGRESS_PUBLIC = False
    ada, ben = map(django_user_model.objects.create_user, ["ada", "ben"])
    keys = [key_of(ada, "session-1"), key_of(ben, "session-1"), key_of(ada, "session-2")]

    assert key_of(ada, "session-1") == keys[0]
    assert len({*keys}) == 3
    assert not any("session" in key for key in keys)


def test_unknown_viewers_share_streams_only_if_these_are_public(key_of, rf, settings):
    settings.INGESTION_PROGRESS_PUBLIC = True
    assert key_of() == viewer_key(rf.get("/")) != ""
    assert key_of(session_key="session-1") != key_of()

    settings.INGESTION_PROGRESS_PUBLIC = False
    assert key_of() == viewer_key(rf.get("/")) == ""
