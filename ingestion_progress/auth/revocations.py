"""Stream tokens that were revoked before they expired.

A process reads the revocations at most once a second, all together: verifying a token costs no
query of its own. A revocation is stored as long as one of its tokens could be valid.
"""

import functools
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ingestion_progress.auth import tokens
from ingestion_progress.conf import conf
from ingestion_progress.exceptions import InvalidTokenRequest
from ingestion_progress.models import TokenRevocation
from ingestion_progress.models.clock import database_now
from ingestion_progress.models.ids import MAX_NAME_LENGTH

# A host whose clock is behind that of the database accepts a token for longer.
CLOCK_MARGIN = timedelta(minutes=2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Revocations:
    """What one read of the table found."""

    token_ids: frozenset[str]
    """Never empty ids: those of tokens without one."""
    revoked_at: dict[str, float]
    """By issuer, the Unix seconds until which issued tokens are revoked."""

    def include(self, token: tokens.StreamToken) -> bool:
        if token.id in self.token_ids:
            return True
        revoked_at = self.revoked_at.get(token.issuer_id)  # none for a token without an issuer
        return revoked_at is not None and token.issued_at <= revoked_at


def is_revoked(token: tokens.StreamToken) -> bool:
    """Uses revocations that were read at most a second ago. Raises Django's database errors."""
    return _read(_second()).include(token)


def revoke(text: str) -> None:
    """Revokes a token by its text or by its id (`jti`).

    Raises AccessRefused for a text that is no valid token of this site, and InvalidTokenRequest.
    """
    token = tokens.verify(text) if text.count(".") == 2 else None
    token_id = token.id if token else text
    if not 1 <= len(token_id) <= MAX_NAME_LENGTH or not token_id.isprintable():
        raise InvalidTokenRequest("This token has no id (jti) by which it could be revoked.")
    expires_at = datetime.fromtimestamp(token.expires_at, UTC) if token else _last_expiry()
    _store(TokenRevocation(token_id=token_id, expires_at=expires_at + CLOCK_MARGIN))


def revoke_all_of(issuer_id: str) -> None:
    """Revokes all tokens that the user has got until now."""
    expires_at = _last_expiry() + CLOCK_MARGIN
    _store(TokenRevocation(issuer_id=issuer_id, revoked_at=database_now(), expires_at=expires_at))


def _store(revocation: TokenRevocation) -> None:
    TokenRevocation.objects.filter(expires_at__lt=database_now()).delete()
    revocation.save()
    _read.cache_clear()  # effective in this process at once


@functools.lru_cache(maxsize=1)
def _read(second: int) -> Revocations:
    """One read per second of the monotonic clock."""
    rows = TokenRevocation.objects.filter(expires_at__gt=database_now())
    found = list(rows.order_by("revoked_at"))
    return Revocations(
        token_ids=frozenset(row.token_id for row in found if row.token_id),
        revoked_at={row.issuer_id: row.revoked_at.timestamp() for row in found if row.issuer_id},
    )


def _second() -> int:
    return int(time.monotonic())


def _last_expiry() -> datetime:
    """The latest expiry of a token that is valid now."""
    return database_now() + timedelta(minutes=conf.token_max_minutes)
