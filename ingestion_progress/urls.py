"""The URLs of the app, and those that installed apps add before its pages."""

from django.urls import URLPattern, URLResolver, path, re_path

from ingestion_progress import extensions
from ingestion_progress.api.api import build_api
from ingestion_progress.monitoring import health, metrics
from ingestion_progress.streams.views import job_progress, jobs_progress
from ingestion_progress.web import batch_list, batches, job_actions, job_list, selection, views

app_name = "ingestion_progress"
urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", metrics.metrics, name="metrics"),
    *extensions.url_patterns(),
    path("", job_list.job_list, name="job_list"),
    path("selection/", selection.job_selection, name="job_selection"),
    path("jobs/<str:job_id>/", views.job_detail, name="job_detail"),
    path("jobs/<str:job_id>/log.txt", views.job_log, name="job_log"),
    path("jobs/<str:job_id>/cancellation/", job_actions.job_cancellation, name="job_cancellation"),
    path("jobs/<str:job_id>/retry/", job_actions.job_retry, name="job_retry"),
    path("jobs/<str:job_id>/deletion/", job_actions.job_deletion, name="job_deletion"),
    path(
        "jobs/<str:job_id>/errors/<int:error_id>/resolution/",
        job_actions.error_resolution,
        name="job_error_resolution",
    ),
    path("batches/", batch_list.batch_list, name="batch_list"),
    path(
        "batches/<str:batch_id>/cancellation/",
        batches.batch_cancellation,
        name="batch_cancellation",
    ),
    path("batches/<str:batch_id>/retry/", batches.batch_retry, name="batch_retry"),
    path("batches/<str:batch_id>/change/", batches.batch_change, name="batch_change"),
    path("batches/<str:batch_id>/deletion/", batches.batch_deletion, name="batch_deletion"),
    # Any text is an id here, even with a slash or a line break: the stream answers `not_found`.
    re_path(
        r"^api/v1/admin/ingestion/jobs/(?P<job_id>[\s\S]+)/progress\Z",
        job_progress,
        name="job_progress",
    ),
    path("api/v1/admin/ingestion/progress", jobs_progress, name="jobs_progress"),
    # Last, because it answers every path below it.
    path("api/v1/", build_api().urls),
]
