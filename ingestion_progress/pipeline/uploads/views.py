"""The list of jobs with a form for uploads."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext
from django.views.decorators.http import require_http_methods

from ingestion_progress.auth import permissions, quotas
from ingestion_progress.exceptions import IngestionProgressError
from ingestion_progress.models import new_job_id
from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.exceptions import AlreadyIngested
from ingestion_progress.pipeline.uploads.media_types import EXTENSIONS, FOLDER_EXTENSIONS, KINDS
from ingestion_progress.pipeline.uploads.receive import receive
from ingestion_progress.pipeline.uploads.rules import rules
from ingestion_progress.tracker.metadata import metadata_of
from ingestion_progress.web import formatting, views
from ingestion_progress.web.job_list import job_list as list_of_jobs


@require_http_methods(["GET", "HEAD", "POST"])
def job_list(request: HttpRequest) -> HttpResponse:
    """The page of the app, with the form if the user may start jobs."""
    if request.method == "POST":
        return upload(request)
    context = {
        # The list of a batch has no form, because an upload would not join that batch.
        "may_upload": not request.GET.get("batch") and rules.may_upload(request),
        "upload_url": reverse("ingestion_progress:api:jobs"),
        "upload_extensions": ",".join(EXTENSIONS),
        "upload_formats": [
            (kind.description.translated(), kind.extensions) for kind in KINDS.values()
        ],
        "folder_extensions": ",".join(FOLDER_EXTENSIONS),
        "max_upload_bytes": conf.max_upload_bytes,
        "max_upload": formatting.file_size(conf.max_upload_bytes),
    }
    return list_of_jobs(request, "ingestion_pipeline/job_list.html", context)


def upload(request: HttpRequest) -> HttpResponse:
    """Handles the form without JavaScript: a job and a message for each file."""
    if not (permissions.may_view(request, "", by_token=False) and rules.may_upload(request)):
        return views.refusal(request)
    files = request.FILES.getlist("file")
    batch = new_job_id() if len(files) > 1 else None
    name = gettext("%(number)s documents") % {"number": len(files)}
    if not files:
        messages.error(request, gettext("Choose at least one document."), fail_silently=True)
    for file in files:
        try:
            quotas.count(request, quotas.UPLOADS)
            job = receive(
                file,
                batch=batch,
                batch_name=name,
                owner=permissions.user_of(request),
                metadata=metadata_of(request.POST.get("metadata", "")),
                visible=permissions.visible_jobs(request, by_token=False),
                skips_known=True,
            )
        except AlreadyIngested as known:
            messages.info(request, known.translated(), fail_silently=True)
        except IngestionProgressError as refused:
            messages.error(request, refused.translated(), fail_silently=True)
        else:
            text = gettext("%(name)s is queued.") % {"name": job.document_name}
            messages.success(request, text, fail_silently=True)
    return redirect("ingestion_progress:job_list")
