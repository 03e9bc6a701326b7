"""Signed tokens (JWT) that permit their bearer to watch jobs for some minutes, and nothing else.

`{"aud": "ingestion-progress", "exp": 1790000600, "jobs": ["job-1"]}`; `jobs` is a list, or `"*"`
for all. Other services that hold the key may issue them. A token of this site names the user who
issued it in the claim `minted_by`, and permits no more than that user may view. Its claims `jti`
and `iat` are what `revocations` goes by; tokens without them are accepted as well.
"""

import math
import secrets
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import jwt
from django.conf import settings
from django.utils.crypto import salted_hmac
from django.views.decorators.debug import sensitive_variables

from ingestion_progress.conf import conf
from ingestion_progress.exceptions import (
    AccessRefused,
    ErrorCode,
    InvalidTokenRequest,
    TokenKeyMissing,
)
from ingestion_progress.models import clean_job_id
from ingestion_progress.models.clock import database_now

ALL_JOBS = "*"
MAX_JOBS = 50
# The longest header line that common servers and proxies accept.
MAX_LENGTH = 8192
SHARED_KEY_ALGORITHMS = ("HS256", "HS384", "HS512")
ALGORITHMS = (
    *SHARED_KEY_ALGORITHMS,
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"),
)
SALT = "ingestion_progress.auth.tokens"
ISSUER_CLAIM = "minted_by"
# By default PyJWT only warns of shared keys that are shorter than the hash (RFC 7518, 3.2).
JWT = jwt.PyJWT(options={"enforce_minimum_key_length": True})


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamToken:
    """The claims of a token whose signature is valid."""

    jobs: frozenset[str] | None
    """None for all jobs."""
    expires_at: int
    """Unix seconds."""
    issuer_id: str = ""
    """Primary key of the user who issued it; empty for a token of another service."""
    id: str = ""
    """The id by which it can be revoked; empty for a token without one."""
    issued_at: float = 0.0
    """Unix seconds; 0 for a token that does not say."""

    def covers(self, job_id: str) -> bool:
        """The id `""` means all jobs together."""
        return self.jobs is None or job_id in self.jobs


def issue(
    jobs: Iterable[str] | None, *, minutes: float | None = None, issuer_id: str = ""
) -> tuple[str, StreamToken]:
    """A new token as text, and its claims; `None` for all jobs. Jobs need not exist yet.

    Raises InvalidTokenRequest, InvalidJobId, and TokenKeyMissing without a private key.
    """
    life_seconds = (conf.token_minutes if minutes is None else minutes) * 60
    if not 0 < life_seconds <= conf.token_max_minutes * 60:
        raise InvalidTokenRequest(f"A token is valid for up to {conf.token_max_minutes:g} minutes.")
    names = None if jobs is None else sorted({clean_job_id(job_id) for job_id in jobs})
    if names is not None and not 1 <= len(names) <= MAX_JOBS:
        raise InvalidTokenRequest(f"A token names 1 to {MAX_JOBS} jobs, or all jobs.")
    now = time.time()
    claims: dict[str, Any] = {
        "aud": conf.token_audience,
        "exp": math.ceil(now + life_seconds),
        "iat": database_now().timestamp(),  # revocations of other hosts are compared with it
        "jti": secrets.token_hex(16),  # a command line could take a leading "-" for an option
        "jobs": ALL_JOBS if names is None else names,
    }
    if issuer_id:
        claims[ISSUER_CLAIM] = issuer_id
    text = JWT.encode(claims, _signing_key(), algorithm=conf.token_algorithm)
    return text, _read(claims)


@sensitive_variables()
def verify(text: str) -> StreamToken:
    """The token's claims. Raises AccessRefused (TOKEN_EXPIRED, TOKEN_INVALID) without a reason."""
    if len(text) > MAX_LENGTH:
        raise AccessRefused(ErrorCode.TOKEN_INVALID)
    for key in _verifying_keys():
        try:
            claims = JWT.decode(
                text,
                key,
                algorithms=[conf.token_algorithm],
                audience=conf.token_audience,
                # The clocks of hosts differ.
                options={"require": ["exp", "aud"], "verify_iat": False},
            )
            token = _read(claims)
        except jwt.ExpiredSignatureError:
            raise AccessRefused(ErrorCode.TOKEN_EXPIRED) from None
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError):
            continue
        if token.expires_at <= time.time() + conf.token_max_minutes * 60 + 60:
            return token
    raise AccessRefused(ErrorCode.TOKEN_INVALID)


def key_problem() -> str:
    """A sentence about wrong settings of the algorithm or the keys; empty if they are right."""
    algorithm = conf.token_algorithm
    if algorithm not in ALGORITHMS:
        return f"INGESTION_PROGRESS_TOKEN_ALGORITHM must be one of {', '.join(ALGORITHMS)}."
    if not next(_verifying_keys()):
        return f"{algorithm} needs a public key in INGESTION_PROGRESS_TOKEN_PUBLIC_KEY."
    try:
        for key in _verifying_keys():
            method = jwt.get_algorithm_by_name(algorithm)
            if problem := method.check_key_length(method.prepare_key(key)):
                return problem
        if algorithm in SHARED_KEY_ALGORITHMS or conf.token_private_key:
            verify(issue(None)[0])
    except AccessRefused:
        return "The private key and the public key do not belong together."
    except (jwt.PyJWTError, NotImplementedError, ValueError, TypeError) as error:
        return f"The key cannot be used with {algorithm}: {error}"
    return ""


def _read(claims: dict[str, Any]) -> StreamToken:
    """Raises ValueError or TypeError for claims of another kind of token."""
    jobs, issuer_id = claims.get("jobs"), claims.get(ISSUER_CLAIM, "")
    if jobs != ALL_JOBS and not (isinstance(jobs, list) and 1 <= len(jobs) <= MAX_JOBS):
        raise ValueError("jobs")
    if not isinstance(issuer_id, str):
        raise TypeError(ISSUER_CLAIM)
    issued_at = claims.get("iat")
    return StreamToken(
        # `clean_job_id` refuses "", which would mean all jobs.
        jobs=None if jobs == ALL_JOBS else frozenset(clean_job_id(job_id) for job_id in jobs),
        expires_at=int(claims["exp"]),
        issuer_id=issuer_id,
        id=claims.get("jti", ""),
        issued_at=float(issued_at) if isinstance(issued_at, int | float) else 0.0,
    )


def _signing_key() -> str | bytes:
    if conf.token_algorithm in SHARED_KEY_ALGORITHMS:
        return next(_verifying_keys())
    if not conf.token_private_key:
        raise TokenKeyMissing
    return conf.token_private_key


def _verifying_keys() -> Iterator[str | bytes]:
    """The newest first. SECRET_KEY_FALLBACKS stay valid, as for Django's own signatures."""
    if conf.token_algorithm not in SHARED_KEY_ALGORITHMS:
        yield conf.token_public_key
    elif conf.token_key:
        yield conf.token_key
    else:
        for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
            yield salted_hmac(SALT, "key", secret=secret, algorithm="sha512").digest()
