"""django-eventstream as in its README, in one process, with Django's default middleware."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="benchmark",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
        "django_eventstream",
    ],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
)
django.setup()

from django.core.handlers.asgi import ASGIHandler  # noqa: E402  (once there are settings)
from django.urls import include, path  # noqa: E402
from django_eventstream import send_event  # noqa: E402
from django_eventstream.views import get_listener_manager  # noqa: E402

from benchmarks.apps.frame import data  # noqa: E402
from benchmarks.apps.pacing import keep_publishing  # noqa: E402

CHANNEL = "progress"
urlpatterns = [
    path("", include("django_eventstream.urls"), {"channels": [CHANNEL]}),
]
handler = ASGIHandler()
publishing: list[asyncio.Task[None]] = []


def publish() -> None:
    send_event(CHANNEL, "pipeline_progress", data(), json_encode=False)


def has_arrived() -> bool:
    listeners = get_listener_manager().listeners_by_channel.get(CHANNEL, ())
    return not any(listener.channel_items for listener in listeners)


async def application(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Any]
) -> None:
    if scope["type"] != "http":
        return
    if not publishing:
        work = keep_publishing(publish, has_arrived)
        publishing.append(asyncio.get_running_loop().create_task(work))
    await handler(scope, receive, send)
