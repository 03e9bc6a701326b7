"""Counts of uploads, tokens and failed logins, in windows of time."""

from django.db import models


class QuotaCount(models.Model):
    """How often a user or an address did something in one window; pruned after the window."""

    key = models.CharField(
        max_length=64, primary_key=True, help_text="A hash of action, user or address, and window."
    )
    count = models.PositiveIntegerField(default=0)
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        verbose_name = "quota count"

    def __str__(self) -> str:
        return f"{self.count} until {self.expires_at:%H:%M}"
