"""Creates users who may watch, each with a session: `python -m benchmarks.viewers COUNT`.

Prints the header that the browser of each user would send, as a line of HTTP.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import django
from django.db import transaction


def headers(count: int) -> Iterator[str]:
    """Signs in this many users, whose group has the permission; creates those that are missing."""
    from django.conf import settings
    from django.contrib.auth.models import Group, Permission, User
    from django.test import Client

    group, _ = Group.objects.get_or_create(name="viewers")
    group.permissions.add(
        Permission.objects.get(content_type__app_label="ingestion_progress", codename="view_job")
    )
    for number in range(count):
        user, _ = User.objects.get_or_create(username=f"viewer-{number}")
        user.groups.add(group)
        browser = Client()
        browser.force_login(user)
        yield f"Cookie: {settings.SESSION_COOKIE_NAME}={browser.session.session_key}"


if __name__ == "__main__":
    django.setup()
    with transaction.atomic():
        for header in headers(int(sys.argv[1])):
            print(header, end="\r\n")
