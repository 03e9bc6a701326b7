"""When a running job will end, as its writer computed it with the newest counts."""

from __future__ import annotations

from django.db import models


class JobForecast(models.Model):
    """Columns of a job. Times instead of durations, which would be wrong a second later."""

    former_jobs = models.PositiveSmallIntegerField(
        default=0,
        db_default=0,
        help_text="Earlier jobs whose times the attempt's forecast uses; 0 for none.",
    )
    likely_end_at = models.DateTimeField(null=True, blank=True, help_text="Empty while unknown.")
    earliest_end_at = models.DateTimeField(null=True, blank=True)
    latest_end_at = models.DateTimeField(
        null=True, blank=True, help_text="80 of 100 jobs end between the earliest and this time."
    )

    is_forecast_by_weights = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Earlier jobs do not show how long a stage takes that runs, or there are none.",
    )

    class Meta:
        abstract = True
