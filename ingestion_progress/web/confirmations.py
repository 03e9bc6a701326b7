"""What a person confirms on the page of a job: in a dialog, or on a separate page.

The dialog needs JavaScript. Without it the page of a job reloads, which would close the dialog.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from ingestion_progress.models import Job

Text = str | Promise


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    name: str
    """What is offered, as in the query of the page."""
    action: str
    """Where the form is sent."""
    button: Text
    title: Text
    text: Text
    keep: Text
    confirm: Text


def confirmations(job: Job, offered: Collection[str], *, has_document: bool) -> list[Confirmation]:
    """The confirmations of the offered actions. `has_document`: the document stays stored when
    the job is deleted.
    """
    known = [_cancellation(job), _deletion(job, has_document=has_document)]
    return [each for each in known if each.name in offered]


def _cancellation(job: Job) -> Confirmation:
    return Confirmation(
        name="cancellation",
        action=reverse("ingestion_progress:job_cancellation", args=[job.pk]),
        button=_("Cancel job…"),
        title=_("Cancel this job?"),
        text=_("It stops after its current item."),
        keep=_("Keep it running"),
        confirm=_("Cancel job"),
    )


def _deletion(job: Job, *, has_document: bool) -> Confirmation:
    text = _("Its progress, errors and log are deleted for good.")
    if has_document:
        text = _(
            "Its progress, errors and log are deleted for good. The document stays searchable."
        )
    return Confirmation(
        name="deletion",
        action=reverse("ingestion_progress:job_deletion", args=[job.pk]),
        button=_("Delete…"),
        title=_("Delete this job?"),
        text=text,
        keep=_("Keep it"),
        confirm=_("Delete job"),
    )
