"""The groups of errors on a job's page, and the forms that resolve them or open them again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_POST

from ingestion_progress.auth import permissions
from ingestion_progress.models import Job
from ingestion_progress.web.job_errors import attention_view, change_resolution
from ingestion_progress.web.job_parts import Context

if TYPE_CHECKING:
    JobModelAdmin = admin.ModelAdmin[Job]
else:
    JobModelAdmin = object

RESOLUTION = "ingestion_progress_job_error_resolution"


class ErrorGroupForms(JobModelAdmin):
    """A mixin for the ModelAdmin of jobs: the forms that resolve and reopen groups of errors."""

    def has_start_permission(self, request: HttpRequest) -> bool:
        """Django derives this name from the permission that the actions declare."""
        return request.user.has_perm(permissions.START_JOB)

    def may_resolve(self, request: HttpRequest, job: Job) -> bool:
        """May the user resolve groups? The permission is required, also on a public site."""
        return self.has_start_permission(request) and permissions.may_start(request, job.pk)

    def attention(self, job: Job) -> Context:
        def resolution_url(error_id: int) -> str:
            return self._url(RESOLUTION, quote(job.pk), error_id)

        return attention_view(job, resolution_url)

    def get_urls(self) -> list[URLPattern]:
        address = "<path:object_id>/errors/<int:error_id>/resolution/"
        view = self.admin_site.admin_view(require_POST(self.error_resolution))
        # Before Django's own, the last of which takes any path.
        return [path(address, view, name=RESOLUTION), *super().get_urls()]

    def error_resolution(self, request: HttpRequest, object_id: str, error_id: int) -> HttpResponse:
        job: Job | None = self.get_object(request, unquote(object_id))
        if job is None:
            raise Http404
        if not self.may_resolve(request, job):
            raise PermissionDenied
        if done := change_resolution(request, job.pk, error_id):
            LogEntry.objects.log_actions(permissions.user_id_of(request), [job], CHANGE, done)
        return redirect(self._url("ingestion_progress_job_change", quote(job.pk)))

    def _url(self, name: str, *args: Any) -> str:
        return reverse(f"admin:{name}", args=args, current_app=self.admin_site.name)
