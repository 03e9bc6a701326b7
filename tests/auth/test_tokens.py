"""Stream tokens: issued and verified."""

from __future__ import annotations

import time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from django.core.management import CommandError, call_command

from ingestion_progress.auth import tokens
from ingestion_progress.exceptions import (
    AccessRefused,
    InvalidJobId,
    InvalidTokenRequest,
    TokenKeyMissing,
)

KEY = "k" * 32


def signed(key=KEY, algorithm="HS256", headers=None, **claims):
    """A token of another service; a claim that is None is omitted."""
    claims = {"aud": "ingestion-progress", "exp": time.time() + 60, "jobs": ["a"]} | claims
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, key, algorithm=algorithm, headers=headers)


def code_of(text):
    with pytest.raises(AccessRefused) as refused:
        tokens.verify(text)
    return refused.value.code


def pem_pair(private):
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    secret = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return secret.decode(), public.decode()


@pytest.fixture
def shared_key(settings):
    settings.INGESTION_PROGRESS_TOKEN_KEY = KEY


class TestIssuing:
    def test_token_is_for_the_named_jobs_and_ten_minutes(self):
        token = tokens.verify(tokens.issue(["a", "b"])[0])

        assert token.covers("a")
        assert token.covers("b")
        assert not token.covers("c")
        assert not token.covers("")
        assert 598 < token.expires_at - time.time() <= 601

    def test_token_for_all_jobs_covers_their_list_too(self):
        token = tokens.verify(tokens.issue(None)[0])

        assert token.covers("anything")
        assert token.covers("")

    def test_token_names_its_issuer(self):
        assert tokens.verify(tokens.issue(["a"], issuer_id="7")[0]).issuer_id == "7"

    @pytest.mark.parametrize("minutes", [0, -1, 61, float("nan"), float("inf")])
    def test_lifetime_is_limited(self, minutes):
        with pytest.raises(InvalidTokenRequest):
            tokens.issue(["a"], minutes=minutes)

    @pytest.mark.parametrize("jobs", [[], [str(n) for n in range(51)]])
    def test_number_of_jobs_is_limited(self, jobs):
        with pytest.raises(InvalidTokenRequest):
            tokens.issue(jobs)

    def test_longest_life_and_most_jobs_are_permitted(self):
        jobs = [str(n) for n in range(50)]
        text, claims = tokens.issue([*jobs, *jobs], minutes=60)

        assert tokens.verify(text) == claims
        assert claims.jobs == set(jobs)
        assert 3598 < claims.expires_at - time.time() <= 3601

    def test_token_without_an_issuer_has_no_such_claim(self):
        assert "minted_by" not in jwt.decode(
            tokens.issue(["a"])[0], options={"verify_signature": False}
        )

    @pytest.mark.parametrize("job_id", ["", "a/b", "a\n"])
    def test_invalid_job_id_is_refused(self, job_id):
        with pytest.raises(InvalidJobId):
            tokens.issue([job_id])


class TestVerifying:
    @pytest.fixture(autouse=True)
    def _key(self, shared_key):
        pass

    def test_token_of_another_service_with_the_key_is_valid(self):
        assert tokens.verify(signed()).covers("a")
        assert tokens.verify(signed(jobs="*")).covers("b")

    def test_token_may_live_a_minute_longer_than_one_of_this_site(self):
        assert tokens.verify(signed(exp=time.time() + 3600 + 50)).covers("a")
        assert code_of(signed(exp=time.time() + 3600 + 70)) == "token_invalid"

    def test_clock_of_the_issuer_may_be_ahead(self):
        assert tokens.verify(signed(iat=time.time() + 600)).covers("a")

    def test_token_longer_than_a_header_line_is_invalid(self):
        text, _ = tokens.issue([f"{n:0200}" for n in range(50)])

        assert len(text) > 8192
        assert code_of(text) == "token_invalid"
        assert tokens.verify(tokens.issue([f"{n:0100}" for n in range(50)])[0])

    def test_expired_token_is_reported_as_expired(self):
        assert code_of(signed(exp=time.time() - 1)) == "token_expired"

    @pytest.mark.parametrize(
        "claims",
        [
            {"aud": "somebody-else"},
            {"aud": None},
            {"exp": None},
            {"exp": time.time() + 86400},
            {"exp": "soon"},
            {"exp": float("inf")},
            {"nbf": time.time() + 86400},  # the suite may take minutes
            {"jobs": None},
            {"jobs": []},
            {"jobs": "a"},
            {"jobs": [""]},
            {"jobs": [1]},
            {"jobs": {"a": 1}},
            {"jobs": [str(n) for n in range(51)]},
            {"minted_by": 7},
        ],
    )
    def test_token_with_wrong_claims_is_invalid(self, claims):
        assert code_of(signed(**claims)) == "token_invalid"

    @pytest.mark.parametrize("text", ["", "a", "a.b.c", "é.é.é", "x" * 9000])
    def test_text_that_is_not_a_token_is_invalid(self, text):
        assert code_of(text) == "token_invalid"

    def test_token_signed_with_another_key_is_invalid(self):
        assert code_of(signed(key="z" * 32)) == "token_invalid"

    def test_the_token_does_not_choose_the_algorithm(self):
        assert code_of(signed(key="", algorithm="none")) == "token_invalid"
        assert code_of(signed(key="k" * 64, algorithm="HS512")) == "token_invalid"

    def test_short_key_is_an_error_not_a_warning(self, settings):
        settings.INGESTION_PROGRESS_TOKEN_KEY = "short"
        with pytest.raises(jwt.InvalidKeyError):
            tokens.issue(["a"])

    def test_token_signed_with_a_fallback_secret_is_valid(self, settings):
        settings.INGESTION_PROGRESS_TOKEN_KEY = ""
        text, _ = tokens.issue(["a"])
        settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
        settings.SECRET_KEY = "a new one"

        assert tokens.verify(text).covers("a")
        settings.SECRET_KEY_FALLBACKS = []
        assert code_of(text) == "token_invalid"


class TestKeyProblem:
    @pytest.mark.parametrize(
        ("algorithm", "key", "public", "problem"),
        [
            ("HS256", KEY, "", ""),
            ("HS256", "", "", ""),
            ("HS512", KEY, "", "64"),
            ("none", KEY, "", "must be one of HS256, "),
            ("ES256", "", "", "needs a public key"),
            ("ES256", "", "no PEM", "cannot be used with ES256"),
        ],
    )
    def test_it_names_what_is_wrong(self, settings, algorithm, key, public, problem):
        settings.INGESTION_PROGRESS_TOKEN_ALGORITHM = algorithm
        settings.INGESTION_PROGRESS_TOKEN_KEY = key
        settings.INGESTION_PROGRESS_TOKEN_PUBLIC_KEY = public

        found = tokens.key_problem()
        assert problem in found
        assert bool(found) is bool(problem)


class TestTwoKeys:
    @pytest.fixture(params=["ES256", "RS256"])
    def pair(self, request, settings):
        settings.INGESTION_PROGRESS_TOKEN_ALGORITHM = request.param
        private = (
            ec.generate_private_key(ec.SECP256R1())
            if request.param == "ES256"
            else rsa.generate_private_key(65537, 2048)
        )
        secret, public = pem_pair(private)
        settings.INGESTION_PROGRESS_TOKEN_PUBLIC_KEY = public
        settings.INGESTION_PROGRESS_TOKEN_PRIVATE_KEY = secret
        assert tokens.key_problem() == ""
        return secret, public, request.param

    def test_private_key_signs_and_public_key_verifies(self, pair):
        assert tokens.verify(tokens.issue(["a"])[0]).covers("a")

    def test_tokens_are_verified_without_the_private_key(self, pair, settings):
        settings.INGESTION_PROGRESS_TOKEN_PRIVATE_KEY = ""

        assert tokens.key_problem() == ""
        assert tokens.verify(signed(key=pair[0], algorithm=pair[2])).covers("a")
        with pytest.raises(TokenKeyMissing):
            tokens.issue(["a"])

    def test_public_key_is_not_accepted_as_a_shared_key(self, pair):
        forged = jwt.PyJWT().encode  # PyJWT refuses to sign with a PEM, an attacker does not
        with pytest.raises(jwt.InvalidKeyError):
            forged({}, pair[1], algorithm="HS256")
        assert code_of(signed(algorithm="HS256")) == "token_invalid"

    def test_keys_that_do_not_belong_together_are_a_problem(self, pair, settings):
        other = pem_pair(ec.generate_private_key(ec.SECP256R1()))
        if pair[2] == "RS256":
            other = pem_pair(rsa.generate_private_key(65537, 2048))
        settings.INGESTION_PROGRESS_TOKEN_PRIVATE_KEY = other[0]

        assert "belong together" in tokens.key_problem()

    def test_short_rsa_key_is_a_problem(self, settings):
        _, public = pem_pair(rsa.generate_private_key(65537, 1024))
        settings.INGESTION_PROGRESS_TOKEN_ALGORITHM = "RS256"
        settings.INGESTION_PROGRESS_TOKEN_PUBLIC_KEY = public

        assert "2048" in tokens.key_problem()


class TestCommand:
    def test_it_prints_a_token_and_nothing_else(self, capsys):
        call_command("stream_token", "a", "b", minutes=5)

        token = tokens.verify(capsys.readouterr().out.strip())
        assert token.jobs == {"a", "b"}
        assert 298 < token.expires_at - time.time() <= 301

    def test_token_for_all_jobs_needs_the_option_all(self, capsys):
        call_command("stream_token", "--all")

        assert tokens.verify(capsys.readouterr().out.strip()).jobs is None

    @pytest.mark.parametrize("args", [(), ("a", "--all"), ("a/b",), ("a", "--minutes", "1000")])
    def test_wrong_arguments_are_an_error(self, args):
        with pytest.raises(CommandError):
            call_command("stream_token", *args)
