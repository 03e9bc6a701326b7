"""The addresses of the app, and those that installed apps add in front of its pages."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path, re_path

from ingestion_progress import extensions
from ingestion_progress.api.api import build_api
from ingestion_progress.monitoring import health
from ingestion_progress.monitoring.views import metrics
from ingestion_progress.streams.views import job_progress, jobs_progress
from ingestion_progress.web import views

app_name = "ingestion_progress"
urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
    *extensions.url_patterns(),
    path("", views.job_list, name="job_list"),
    path("jobs/<str:job_id>/", views.job_detail, name="job_detail"),
    path("jobs/<str:job_id>/cancellation/", views.job_cancellation, name="job_cancellation"),
    # Anything is an id here, a slash or a line break too: the stream says that no job has it.
    re_path(
        r"^api/v1/admin/ingestion/jobs/(?P<job_id>[\s\S]+)/progress\Z",
        job_progress,
        name="job_progress",
    ),
    path("api/v1/admin/ingestion/progress", jobs_progress, name="jobs_progress"),
    # Last: it answers everything below it, with 404 if need be.
    path("api/v1/", build_api().urls),
]
