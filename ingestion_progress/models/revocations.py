"""Stream tokens that are no longer accepted. A row is needed only until its tokens have expired."""

from django.db import models
from django.utils import timezone

from ingestion_progress.models.ids import MAX_NAME_LENGTH


class TokenRevocation(models.Model):
    """Revokes one token (`token_id`), or all that a user got until a moment (`issuer_id`)."""

    token_id = models.CharField(max_length=MAX_NAME_LENGTH, blank=True)
    issuer_id = models.CharField(max_length=MAX_NAME_LENGTH, blank=True)
    revoked_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        verbose_name = "token revocation"

    def __str__(self) -> str:
        return f"token {self.token_id}" if self.token_id else f"tokens of user {self.issuer_id}"
