"""Signed tokens (JWT) that let their bearer watch jobs for some minutes, and do nothing else.

`{"aud": "ingestion-progress", "exp": 1790000600, "jobs": ["job-1"]}`; `jobs` is a list, or `"*"`
for all. Other services mint them too if they hold the key. Ours name in `minted_by` the user who
asked for one: it is worth no more than what that user may see.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jwt
from django.conf import settings
from django.http import QueryDict
from django.utils.crypto import salted_hmac
from django.views.decorators.debug import sensitive_variables

from ingestion_progress.conf import conf
from ingestion_progress.exceptions import AccessRefused, InvalidTokenRequest, TokenKeyMissing
from ingestion_progress.models import clean_job_id

if TYPE_CHECKING:
    from django.http import HttpRequest

ALL_JOBS = "*"
MAX_JOBS = 50
# What a header line of the usual servers and proxies can hold.
MAX_LENGTH = 8192
# Bytes that a shared key must have: as many as the hash that it keys (RFC 7518, 3.2).
SHARED_KEY_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
ALGORITHMS = (
    *SHARED_KEY_BYTES,
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"),
)
PARAMETER = "token"
SALT = "ingestion_progress.auth.tokens"
# PyJWT only warns of short keys by itself.
JWT = jwt.PyJWT(options={"enforce_minimum_key_length": True})


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamToken:
    """What a token says, once its signature has been checked."""

    jobs: frozenset[str] | None
    """None for all of them."""
    expires_at: int
    """Unix seconds."""
    minted_by: str = ""
    """Primary key of the user who asked for it; empty if nobody of ours did."""

    def covers(self, job_id: str) -> bool:
        """The id `""` stands for all jobs together."""
        return self.jobs is None or job_id in self.jobs


def mint(
    jobs: Iterable[str] | None, *, minutes: float | None = None, minted_by: str = ""
) -> tuple[str, StreamToken]:
    """The token's text and what it says; `None` for all jobs. They need not exist yet.

    Raises InvalidTokenRequest, InvalidJobId, and TokenKeyMissing where only a public key is held.
    """
    life_seconds = (conf.token_minutes if minutes is None else minutes) * 60
    if not 0 < life_seconds <= conf.token_max_minutes * 60:
        raise InvalidTokenRequest(f"A token lives for up to {conf.token_max_minutes:g} minutes.")
    names = None if jobs is None else sorted({clean_job_id(job_id) for job_id in jobs})
    if names is not None and not 1 <= len(names) <= MAX_JOBS:
        raise InvalidTokenRequest(f"A token is for 1 to {MAX_JOBS} jobs, or for all of them.")
    expires_at = math.ceil(time.time() + life_seconds)
    claims: dict[str, Any] = {
        "aud": conf.token_audience,
        "exp": expires_at,
        "jobs": ALL_JOBS if names is None else names,
    }
    if minted_by:
        claims["minted_by"] = minted_by
    text = JWT.encode(claims, _signing_key(), algorithm=conf.token_algorithm)
    return text, _read(claims)


@sensitive_variables()
def verify(text: str) -> StreamToken:
    """Raises AccessRefused with the code `token_expired` or `token_invalid`; never says why."""
    if len(text) > MAX_LENGTH:
        raise AccessRefused("token_invalid")
    for key in _verifying_keys():
        try:
            claims = JWT.decode(
                text,
                key,
                algorithms=[conf.token_algorithm],
                audience=conf.token_audience,
                # When it was issued matters to nobody, and hosts' clocks differ.
                options={"require": ["exp", "aud"], "verify_iat": False},
            )
            token = _read(claims)
        except jwt.ExpiredSignatureError:
            raise AccessRefused("token_expired") from None
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError):
            continue
        if token.expires_at <= time.time() + conf.token_max_minutes * 60 + 60:
            return token
    raise AccessRefused("token_invalid")


def key_problem() -> str:
    """What is wrong with algorithm and keys in the settings, as a sentence; empty if nothing is."""
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
        if algorithm in SHARED_KEY_BYTES or conf.token_private_key:
            verify(mint(None)[0])
    except AccessRefused:
        return "The private key and the public key do not belong together."
    except (jwt.PyJWTError, NotImplementedError, ValueError, TypeError) as error:
        return f"The key cannot be used with {algorithm}: {error}"
    return ""


@sensitive_variables()
def presented(request: HttpRequest) -> str:
    """The token that came with the request, in its header or else its URL; empty without one.

    It is taken out of the URL, for logs and error pages keep URLs: Django's, and that of servers
    which log a request once it was answered.
    """
    taken: str | None = getattr(request, "stream_token", None)
    if taken is None:
        taken = _take_from_url(request)
        request.stream_token = taken  # type: ignore[attr-defined]
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else taken


def _take_from_url(request: HttpRequest) -> str:
    if PARAMETER not in request.GET:
        return ""
    query = request.GET.copy()
    taken = str(query.pop(PARAMETER)[-1])
    request.META["QUERY_STRING"] = query.urlencode()
    request.GET = QueryDict(request.META["QUERY_STRING"], encoding=request.encoding)
    if scope := getattr(request, "scope", None):
        scope["query_string"] = request.META["QUERY_STRING"].encode("ascii")
    return taken


def _read(claims: dict[str, Any]) -> StreamToken:
    """Raises ValueError or TypeError for claims that are not ours."""
    jobs, minted_by = claims.get("jobs"), claims.get("minted_by", "")
    if jobs != ALL_JOBS and not (isinstance(jobs, list) and 1 <= len(jobs) <= MAX_JOBS):
        raise ValueError("jobs")
    if not isinstance(minted_by, str):
        raise TypeError("minted_by")
    return StreamToken(
        # An id is never empty: "" would open what shows all jobs.
        jobs=None if jobs == ALL_JOBS else frozenset(clean_job_id(job_id) for job_id in jobs),
        expires_at=int(claims["exp"]),
        minted_by=minted_by,
    )


def _signing_key() -> str | bytes:
    if conf.token_algorithm in SHARED_KEY_BYTES:
        return next(_verifying_keys())
    if not conf.token_private_key:
        raise TokenKeyMissing
    return conf.token_private_key


def _verifying_keys() -> Iterator[str | bytes]:
    """The newest first; an old `SECRET_KEY` counts for as long as Django's own signatures do."""
    if conf.token_algorithm not in SHARED_KEY_BYTES:
        yield conf.token_public_key
    elif conf.token_key:
        yield conf.token_key
    else:
        for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
            yield salted_hmac(SALT, "key", secret=secret, algorithm="sha512").digest()
